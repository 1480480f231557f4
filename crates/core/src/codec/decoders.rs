//! The decoders that are in use: topics of one type share one.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use super::plan::Plan;
use super::{Decoder, Schema, SchemaError};

/// Shorter lists are not worth looking through.
const LEAST_TIDY: usize = 64;

/// What a decoder is made of, as long as somebody has one.
type InUse = (Weak<Schema>, Weak<Plan>);

/// The decoders that are in use, by the name of their type. What nobody decodes with any more is forgotten.
#[derive(Debug, Default)]
pub struct Decoders {
    /// A type may have several definitions, where its package was exchanged.
    by_name: HashMap<String, Vec<InUse>>,
    /// When there are so many types, those that nobody uses are taken out.
    tidy_at: usize,
}

impl Decoders {
    /// The decoder for messages of the type that `schema` describes.
    ///
    /// # Errors
    /// As of [`Decoder::new`].
    pub fn get(&mut self, schema: Arc<Schema>) -> Result<Decoder, SchemaError> {
        if self.by_name.len() >= self.tidy_at {
            self.by_name.retain(|_, known| known.iter().any(|(_, plan)| plan.strong_count() > 0));
            self.tidy_at = (2 * self.by_name.len()).max(LEAST_TIDY);
        }
        let known = self.by_name.entry(schema.name.clone()).or_default();
        known.retain(|(_, plan)| plan.strong_count() > 0);
        let in_use = known.iter().filter_map(|(schema, plan)| Some((schema.upgrade()?, plan.upgrade()?)));
        let same = |known: &Arc<Schema>| Arc::ptr_eq(known, &schema) || *known == schema;
        if let Some((schema, plan)) = in_use.into_iter().find(|(known, _)| same(known)) {
            return Ok(Decoder { schema, plan });
        }
        let decoder = Decoder::new(schema)?;
        known.push((Arc::downgrade(&decoder.schema), Arc::downgrade(&decoder.plan)));
        Ok(decoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Count, Field, Kind};

    fn schema(name: &str, kind: Kind) -> Arc<Schema> {
        Arc::new(Schema { name: name.into(), fields: vec![Field { name: "data".into(), kind, count: Count::One }] })
    }

    /// A thousand topics of one type have one plan and one schema; another definition of the name has its own; and what
    /// nobody uses is forgotten.
    #[test]
    fn topics_of_a_type_share_its_plan() {
        let mut decoders = Decoders::default();
        let of_topics: Vec<_> =
            (0..1000).map(|_| decoders.get(schema("a_msgs/msg/Number", Kind::F64)).unwrap()).collect();
        assert!(of_topics.iter().all(|decoder| Arc::ptr_eq(&decoder.plan, &of_topics[0].plan)));
        assert!(of_topics.iter().all(|decoder| Arc::ptr_eq(&decoder.schema, &of_topics[0].schema)));
        let other = decoders.get(schema("a_msgs/msg/Number", Kind::F32)).unwrap();
        assert!(!Arc::ptr_eq(&other.plan, &of_topics[0].plan));
        drop((of_topics, other));
        for number in 0..1000 {
            decoders.get(schema(&format!("b_msgs/msg/Number{number}"), Kind::F64)).unwrap();
        }
        assert!(decoders.by_name.len() <= LEAST_TIDY, "{} types", decoders.by_name.len());
    }
}
