//! Publishing `/diagnostics`.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::health::Reporter;
use crate::health::diagnostics::{PERIOD, TOPIC, TYPE, serialize};
use crate::ros::{NoPublisher, Node, Publisher, RosError};
use iot_bridge_core::tally::{ONCE_A_MINUTE, Repeat, ticks};

/// Publishes how the bridge is, once a second while anybody subscribes to it, until it is dropped. Where ROS has no
/// `diagnostic_msgs` that is said, and there are no diagnostics.
pub(super) async fn publish(nodes: watch::Receiver<Vec<Arc<Node>>>, name: String, reporter: Arc<Reporter>) {
    let mut publishers = Publishers::default();
    let first = nodes.borrow().clone();
    if let Err(error) = publishers.follow(&first, create) {
        tracing::warn!("{TOPIC} is not published: {error}.");
        return;
    }
    drop(first);
    let mut ticks = ticks(PERIOD);
    let (mut failed, mut not_followed) = (Repeat::default(), Repeat::default());
    loop {
        ticks.tick().await;
        let now = Instant::now();
        let current = nodes.borrow().clone();
        if let Err(error) = publishers.follow(&current, create)
            && not_followed.due(now, ONCE_A_MINUTE).is_some()
        {
            tracing::warn!("{TOPIC} is published as before the robot's addresses have changed: {error}.");
        }
        drop(current);
        // A report is work that grows with the topics.
        if !publishers.are_heard() {
            continue;
        }
        let message = serialize(&reporter.report(), &name);
        // DDS may wait for a slow subscriber; the uplink must not.
        let publishing = spawn_blocking({
            let publishers = publishers.clone();
            move || publishers.publish(&message)
        });
        if let Ok(Err(error)) = publishing.await
            && failed.due(now, ONCE_A_MINUTE).is_some()
        {
            tracing::warn!("{TOPIC} could not be published: {error}.");
        }
    }
}

fn create(node: &Arc<Node>) -> Result<Publisher, NoPublisher> {
    Publisher::create(node, TOPIC, TYPE)
}

/// A publisher in each context of the bridge: the robot's own nodes may be reached in one before only. Who is reached in two
/// gets each message twice.
#[derive(Clone, Default)]
struct Publishers(Vec<(Arc<Node>, Arc<Publisher>)>);

impl Publishers {
    /// Has a publisher for each of `nodes` and no others. When one can't be created, those so far stay.
    fn follow(
        &mut self,
        nodes: &[Arc<Node>],
        create: impl Fn(&Arc<Node>) -> Result<Publisher, NoPublisher>,
    ) -> Result<(), NoPublisher> {
        for node in nodes {
            if !self.0.iter().any(|(one, _)| Arc::ptr_eq(one, node)) {
                self.0.push((Arc::clone(node), Arc::new(create(node)?)));
            }
        }
        self.0.retain(|(one, _)| nodes.iter().any(|node| Arc::ptr_eq(one, node)));
        Ok(())
    }

    /// Whether anybody subscribes to one of them, or rcl can't tell.
    fn are_heard(&self) -> bool {
        self.0.iter().any(|(_, publisher)| publisher.subscriptions().map_or(true, |count| count > 0))
    }

    /// Publishes with all of them.
    ///
    /// # Errors
    /// rcl's own, when one fails. The others have published all the same.
    fn publish(&self, message: &[u8]) -> Result<(), RosError> {
        let mut published = Ok(());
        for (_, publisher) in &self.0 {
            published = publisher.publish(message).and(published);
        }
        published
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As long as an earlier node is there, it is published there, too. A publisher that could not be created is tried again.
    #[test]
    fn each_node_has_a_publisher() {
        let [first, second] = [(); 2].map(|()| Arc::new(Node::create("iot_bridge", "").unwrap()));
        let both = [Arc::clone(&first), Arc::clone(&second)];
        let mut publishers = Publishers::default();
        publishers.follow(&both[..1], create).unwrap();
        let fails = |node: &Arc<Node>| Publisher::create(node, "no name", TYPE);
        assert!(publishers.follow(&both[1..], fails).is_err());
        let has = |publishers: &Publishers, node| publishers.0.iter().filter(|(one, _)| Arc::ptr_eq(one, node)).count();
        assert_eq!((has(&publishers, &first), has(&publishers, &second)), (1, 0));
        publishers.follow(&both, create).unwrap();
        publishers.follow(&both, create).unwrap();
        assert_eq!((has(&publishers, &first), has(&publishers, &second)), (1, 1));
        publishers.follow(&both[1..], create).unwrap();
        assert_eq!((has(&publishers, &first), has(&publishers, &second)), (0, 1));
        assert!(!publishers.are_heard(), "nobody subscribes to it");
    }
}
