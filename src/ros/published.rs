//! What others publish: for whoever looks at all of the graph.

use super::context::Node;
use super::discovery;
use super::error::RosError;
use super::graph;
use super::silence::Silence;
use iot_bridge_core::config::{Durability, Reliability};

/// A topic that somebody publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Absolute name.
    pub name: String,
    /// `package/msg/Name`, in order; several if publishers differ.
    pub type_names: Vec<String>,
    pub publishers: usize,
    /// What all publishers offer; `None` if they differ.
    pub reliability: Option<Reliability>,
    pub durability: Option<Durability>,
}

/// The topics that discovery has found to be published, in the order of their names: without hidden ones, those of each node
/// (`/rosout`, `/parameter_events`), and those that only the node with the full name `own` publishes.
///
/// # Errors
/// rcl's own.
pub fn published(node: &Node, own: &str) -> Result<Vec<Published>, RosError> {
    let mut found = Vec::new();
    for name in graph::named(node)? {
        let publishers = graph::publishers_of_nodes(node, &graph::topic_name(&name)?)?;
        if publishers.iter().all(|(_, node)| node == own) {
            continue;
        }
        let mut type_names: Vec<String> = publishers.iter().map(|(publisher, _)| publisher.type_name.clone()).collect();
        type_names.sort_unstable();
        type_names.dedup();
        let reliability = common(publishers.iter().map(|(publisher, _)| match publisher.reliable {
            true => Reliability::Reliable,
            false => Reliability::BestEffort,
        }));
        let durability = common(publishers.iter().map(|(publisher, _)| match publisher.transient_local {
            true => Durability::TransientLocal,
            false => Durability::Volatile,
        }));
        found.push(Published { name, type_names, publishers: publishers.len(), reliability, durability });
    }
    Ok(found)
}

/// Why there is nothing: a sentence without its full stop.
///
/// # Errors
/// rcl's own.
pub fn why_nothing(node: &Node) -> Result<String, RosError> {
    Ok(match graph::other_nodes(node)? {
        0 => Silence::Alone { domain: graph::domain(node), discovery: discovery::description() }.sentence(""),
        _ => "Other nodes are there, and none publishes a topic".to_owned(),
    })
}

/// What all of `values` are.
fn common<T: PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::super::domain;
    use super::super::publisher::Publisher;
    use super::*;

    /// Others' topics are found with their types; hidden ones and the bridge's own are left out.
    #[test]
    fn the_topics_of_others_are_found() {
        domain::enter();
        let [own, other] = ["iot_bridge", "robot"].map(|name| Arc::new(Node::create(name, "/here").unwrap()));
        let publish = |node: &Arc<Node>, topic, r#type| Publisher::create(node, topic, r#type).unwrap();
        let _publishers = [
            publish(&own, "/own", "std_msgs/msg/Empty"),
            publish(&own, "/shared", "std_msgs/msg/Empty"),
            publish(&other, "/shared", "std_msgs/msg/String"),
            publish(&other, "/other", "std_msgs/msg/String"),
            publish(&other, "/other", "std_msgs/msg/String"),
            publish(&other, "/_hidden/topic", "std_msgs/msg/String"),
        ];
        let deadline = Instant::now() + Duration::from_secs(60);
        let found = loop {
            let found = published(&own, "/here/iot_bridge").unwrap();
            if found.iter().map(|topic| topic.publishers).sum::<usize>() == 4 {
                break found;
            }
            assert!(Instant::now() < deadline, "{found:?}");
            thread::sleep(Duration::from_millis(20));
        };
        let [other, shared] = &found[..] else { panic!("{found:?}") };
        assert_eq!((&*other.name, &*other.type_names), ("/other", &["std_msgs/msg/String".to_owned()][..]));
        assert_eq!((other.reliability, other.durability), (Some(Reliability::Reliable), Some(Durability::Volatile)));
        assert_eq!((&*shared.name, shared.publishers, shared.type_names.len()), ("/shared", 2, 2));
    }
}
