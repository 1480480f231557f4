//! Where the bridge is in the ROS graph: in one context, and for a while in those before as well.
//!
//! A context made anew finds the nodes that start after the robot's addresses have changed, and those of other machines.
//! It does not always find the robot's own nodes that are there already: they announce the addresses that there were when
//! they started, and a context of today can't answer them there. The context that was made at these addresses goes on
//! receiving from them. So each stays until the others have found every publisher of the wanted topics that it knows.

use std::ffi::CStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::context::Node;
use super::error::RosError;
use super::graph::{self, Owner, Publisher};
use super::subscription::PublisherId;

/// How long a context has to find its publishers before those before it may go.
const DISCOVERY: Duration = Duration::from_secs(10);

/// Contexts before that are kept at most: each is a participant of DDS. Of more, the second goes: with the oldest most of
/// the robot's nodes have started.
const EARLIER: usize = 3;

/// The nodes of the bridge, which have the same name.
pub(super) struct Joined {
    node: Arc<Node>,
    /// When that was made.
    since: Instant,
    /// Those of the contexts before, the oldest first.
    before: Vec<Arc<Node>>,
}

/// The publishers of a topic.
pub(super) struct Found {
    /// Those that any context has found.
    pub(super) publishers: Vec<Publisher>,
    /// The contexts before that know one of them which no other does.
    pub(super) needed: Vec<Arc<Node>>,
    /// The contexts before in which subscriptions may stay: those, and all while the newest looks for its publishers.
    pub(super) kept: Vec<Arc<Node>>,
}

impl Joined {
    pub(super) fn new(node: Arc<Node>, now: Instant) -> Joined {
        Joined { node, since: now, before: Vec::new() }
    }

    /// Goes on with `node`, beside those so far.
    pub(super) fn again(&mut self, node: Arc<Node>, now: Instant) {
        self.since = now;
        self.before.push(std::mem::replace(&mut self.node, node));
        if self.before.len() > EARLIER {
            self.before.remove(1);
        }
    }

    /// The node of today.
    pub(super) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// All nodes, that of today last.
    pub(super) fn nodes(&self) -> Vec<Arc<Node>> {
        self.before.iter().chain([&self.node]).cloned().collect()
    }

    /// Leaves the contexts before that are not `needed`, unless that of today is younger than a discovery. Returns whether
    /// there were any.
    pub(super) fn leave(&mut self, now: Instant, needed: impl Fn(&Arc<Node>) -> bool) -> bool {
        let count = self.before.len();
        if now >= self.since + DISCOVERY {
            self.before.retain(needed);
        }
        self.before.len() < count
    }

    /// Whether there is none but that of today.
    pub(super) fn is_alone(&self) -> bool {
        self.before.is_empty()
    }

    /// The publishers of `topic`.
    pub(super) fn publishers(&self, topic: &CStr) -> Result<Found, RosError> {
        let mut publishers = graph::publishers(&self.node, topic)?;
        let ids = |publishers: &[Publisher]| publishers.iter().map(|publisher| publisher.id).collect::<Vec<_>>();
        let today = ids(&publishers);
        let mut known = Vec::new();
        for node in &self.before {
            let found = graph::publishers(node, topic)?;
            known.push(ids(&found));
            for publisher in found {
                match publishers.iter_mut().find(|found| found.id == publisher.id) {
                    // The context that it is of knows its node before the others do.
                    Some(found) if found.owner == Owner::Unknown => found.owner = publisher.owner,
                    Some(_) => {}
                    None => publishers.push(publisher),
                }
            }
        }
        let needed: Vec<_> = needed(&today, &known).into_iter().map(|at| Arc::clone(&self.before[at])).collect();
        let kept = if self.since.elapsed() < DISCOVERY { self.before.clone() } else { needed.clone() };
        Ok(Found { publishers, needed, kept })
    }
}

/// Positions in `before` without which a publisher would be known to nobody, where `today` and each of `before` are who
/// knows whom.
fn needed(today: &[PublisherId], before: &[Vec<PublisherId>]) -> Vec<usize> {
    let mut needed: Vec<usize> = (0..before.len()).collect();
    for at in 0..before.len() {
        let others = || needed.iter().filter(|other| **other != at).flat_map(|other| &before[*other]);
        if before[at].iter().all(|id| today.contains(id) || others().any(|other| other == id)) {
            needed.retain(|other| *other != at);
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    use super::super::domain;
    use super::super::publisher::Publisher as OwnPublisher;
    use super::*;

    fn ids<const N: usize>(ids: [u8; N]) -> Vec<PublisherId> {
        ids.map(|id| [id; _]).to_vec()
    }

    #[test]
    fn who_knows_a_publisher_that_no_other_knows_is_needed() {
        for (today, before, wanted) in [
            (ids([1]), vec![], vec![]),
            (ids([1, 2]), vec![ids([1])], vec![]),
            (ids([2]), vec![ids([1, 2])], vec![0]),
            // The second change of address: nodes that began at the first one, at the second one, at the third one.
            (ids([3]), vec![ids([1]), ids([2])], vec![0, 1]),
            (ids([3]), vec![ids([1]), ids([])], vec![0]),
            // One of two that know the same.
            (ids([3]), vec![ids([1]), ids([1, 2])], vec![1]),
            (ids([3]), vec![ids([1, 2]), ids([1]), ids([2])], vec![1, 2]),
        ] {
            assert_eq!(needed(&today, &before), wanted, "{today:?}, {before:?}");
        }
    }

    /// Of too many contexts, the oldest stays.
    #[test]
    fn contexts_are_bounded() {
        let now = Instant::now();
        let node = || Arc::new(Node::create("iot_bridge", "").unwrap());
        let first = node();
        let mut joined = Joined::new(Arc::clone(&first), now);
        for _ in 0..EARLIER + 2 {
            joined.again(node(), now);
        }
        assert_eq!(joined.before.len(), EARLIER);
        assert!(Arc::ptr_eq(&joined.before[0], &first));
        assert!(!joined.leave(now, |_| false));
        assert!(joined.leave(now + DISCOVERY, |node| Arc::ptr_eq(node, &first)));
        assert_eq!(joined.nodes().len(), 2);
    }

    /// A context made anew finds the bridge's own publishers in the context before, and is told of their node a little later: they
    /// are the bridge's own all the time.
    #[test]
    fn own_publishers_are_known_in_every_context() {
        domain::enter();
        let node = || Arc::new(Node::create("iot_bridge", "").unwrap());
        let (first, begun) = (node(), Instant::now());
        let _publisher = OwnPublisher::create(&first, "/own", "std_msgs/msg/Empty").unwrap();
        let mut was_unknown = false;
        while !was_unknown {
            let mut joined = Joined::new(Arc::clone(&first), begun);
            joined.again(node(), begun);
            loop {
                assert!(begun.elapsed() < Duration::from_secs(60), "the context of today does not know the node");
                let today = graph::publishers(joined.node(), c"/own").unwrap();
                let all = joined.publishers(c"/own").unwrap().publishers;
                assert_eq!(all.iter().map(|publisher| publisher.owner).collect::<Vec<_>>(), [Owner::Bridge]);
                match today.first().map(|publisher| publisher.owner) {
                    Some(Owner::Bridge) => break,
                    Some(Owner::Unknown) => was_unknown = true,
                    _ => {}
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}
