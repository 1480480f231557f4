//! The decoders that are in use: topics of one type share one.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use super::plan::Plan;
use super::{Decoder, Schema, Selection, SelectionError};

/// Shorter lists are not worth looking through.
const LEAST_TIDY: usize = 64;

/// What a decoder is made of, as long as somebody has one.
#[derive(Debug)]
struct InUse {
    schema: Weak<Schema>,
    selection: Selection,
    plan: Weak<Plan>,
}

/// The decoders that are in use, by the name of their type. What nobody decodes with any more is forgotten.
#[derive(Debug, Default)]
pub struct Decoders {
    /// A type has one for each selection that is made of it, and may have several definitions, where its package was
    /// exchanged.
    by_name: HashMap<String, Vec<InUse>>,
    /// When there are so many types, those that nobody uses are taken out.
    tidy_at: usize,
}

impl Decoders {
    /// The decoder for what `selection` wants of messages of the type that `schema` describes.
    ///
    /// # Errors
    /// As of [`Decoder::select`].
    pub fn select(&mut self, schema: Arc<Schema>, selection: &Selection) -> Result<Decoder, SelectionError> {
        if self.by_name.len() >= self.tidy_at {
            self.by_name.retain(|_, known| known.iter().any(|known| known.plan.strong_count() > 0));
            self.tidy_at = (2 * self.by_name.len()).max(LEAST_TIDY);
        }
        let known = self.by_name.entry(schema.name.clone()).or_default();
        known.retain(|known| known.plan.strong_count() > 0);
        let same = |known: &Arc<Schema>| Arc::ptr_eq(known, &schema) || *known == schema;
        // Equal definitions are one, whatever is selected of them.
        let in_use = known.iter().filter_map(|known| Some((known.schema.upgrade()?, known)));
        let mut equal = in_use.filter(|(known, _)| same(known)).peekable();
        let schema = equal.peek().map_or_else(|| Arc::clone(&schema), |(known, _)| Arc::clone(known));
        let of_selection = equal.find(|(_, known)| known.selection == *selection);
        if let Some((schema, plan)) = of_selection.and_then(|(schema, known)| Some((schema, known.plan.upgrade()?))) {
            return Ok(Decoder { schema, plan, digits: selection.digits });
        }
        let decoder = Decoder::select(schema, selection)?;
        known.push(InUse {
            schema: Arc::downgrade(&decoder.schema),
            selection: selection.clone(),
            plan: Arc::downgrade(&decoder.plan),
        });
        Ok(decoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Count, Field, Kind};
    use crate::config::FieldPath;

    fn schema(name: &str, kind: Kind) -> Arc<Schema> {
        Arc::new(Schema { name: name.into(), fields: vec![Field { name: "data".into(), kind, count: Count::One }] })
    }

    /// A thousand topics of one type have one plan and one schema; another definition of the name has its own, and so has
    /// each selection; and what
    /// nobody uses is forgotten.
    #[test]
    fn topics_of_a_type_share_its_plan() {
        let (mut decoders, all) = (Decoders::default(), Selection::default());
        let of_topics: Vec<_> =
            (0..1000).map(|_| decoders.select(schema("a_msgs/msg/Number", Kind::F64), &all).unwrap()).collect();
        assert!(of_topics.iter().all(|decoder| Arc::ptr_eq(&decoder.plan, &of_topics[0].plan)));
        assert!(of_topics.iter().all(|decoder| Arc::ptr_eq(&decoder.schema, &of_topics[0].schema)));
        let other = decoders.select(schema("a_msgs/msg/Number", Kind::F32), &all).unwrap();
        assert!(!Arc::ptr_eq(&other.plan, &of_topics[0].plan));
        let data = Selection { fields: vec![FieldPath::parse("data").unwrap()], ..Selection::default() };
        let [selected, again] = [(); 2].map(|()| {
            let decoder = decoders.select(schema("a_msgs/msg/Number", Kind::F64), &data).unwrap();
            assert!(Arc::ptr_eq(&decoder.schema, &of_topics[0].schema));
            decoder
        });
        assert!(Arc::ptr_eq(&selected.plan, &again.plan) && !Arc::ptr_eq(&selected.plan, &of_topics[0].plan));
        drop((of_topics, other, selected, again));
        for number in 0..1000 {
            decoders.select(schema(&format!("b_msgs/msg/Number{number}"), Kind::F64), &all).unwrap();
        }
        assert!(decoders.by_name.len() <= LEAST_TIDY, "{} types", decoders.by_name.len());
    }
}
