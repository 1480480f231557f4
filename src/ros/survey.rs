//! What the graph calls the wanted topics, and those that somebody looks for: asked once for all of them, and compared with
//! what it said before.
//!
//! Who publishes a topic is asked topic by topic, and the RMW looks at every publisher there is to answer. So that is
//! asked only where something may have changed: a name or its types here, and a match, a refusal or a topic that is not
//! settled ([`super::topic`]).

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::context::Node;
use super::error::RosError;
use super::graph;

/// How a topic stands in the graph, whoever reads or writes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Named {
    /// Of its types, in every context; 0 where there is no such topic.
    digest: u64,
    /// It has several types, so that a publisher of either may come and go unseen.
    pub(super) is_mixed: bool,
}

impl Named {
    /// Whether somebody reads or writes it.
    pub(super) fn is_there(self) -> bool {
        self.digest != 0
    }

    /// The context `context` has these types for it.
    fn add(&mut self, context: usize, types: &[&CStr]) {
        let mut hasher = DefaultHasher::new();
        (self.digest, context, types).hash(&mut hasher);
        self.digest = hasher.finish().max(1);
        self.is_mixed |= types.len() > 1;
    }
}

/// How each of `topics` stands in the graph, as the contexts of `nodes` see it; and others, if they are of `interest`.
///
/// # Errors
/// rcl's own.
pub(super) fn named<'a>(
    nodes: &[Arc<Node>],
    topics: impl ExactSizeIterator<Item = &'a CStr>,
    interest: Option<impl Fn(&CStr) -> bool>,
) -> Result<(Vec<Named>, HashMap<CString, Named>), RosError> {
    let mut others: HashMap<CString, Named> = HashMap::new();
    let mut named = vec![Named::default(); topics.len()];
    // Several may be of one name.
    let mut places: HashMap<&CStr, Vec<usize>> = HashMap::with_capacity(topics.len());
    for (place, name) in topics.enumerate() {
        places.entry(name).or_default().push(place);
    }
    for (context, node) in nodes.iter().enumerate() {
        graph::topics(node, |name, types| {
            if let Some(places) = places.get(name) {
                places.iter().for_each(|place| named[*place].add(context, types));
            } else if let Some(other) = others.get_mut(name) {
                other.add(context, types);
            } else if interest.as_ref().is_some_and(|interest| interest(name)) {
                others.entry(name.to_owned()).or_default().add(context, types);
            }
        })?;
    }
    Ok((named, others))
}
