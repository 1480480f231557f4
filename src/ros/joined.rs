//! Where the bridge is in the ROS graph: in one context, and for a while in the one before as well.
//!
//! A context made anew finds the nodes that start after the robot's addresses have changed, and those of other machines.
//! It does not always find the robot's own nodes that are there already: they announce the addresses that there were when
//! they started, and a context of today can't answer them there. The context before goes on receiving from them. So it
//! stays until the new one has found every publisher that it knows.

use std::ffi::CStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::context::Node;
use super::error::RosError;
use super::graph::{self, Publisher};

/// How long a context has to find its publishers before the one before may go.
const DISCOVERY: Duration = Duration::from_secs(10);

/// The nodes of the bridge, which have the same name.
pub(super) struct Joined {
    node: Arc<Node>,
    /// That of the context before, and when the new one was made.
    before: Option<(Arc<Node>, Instant)>,
}

/// The publishers of a topic.
pub(super) struct Found {
    pub(super) publishers: Vec<Publisher>,
    /// The context before is not needed for any of them.
    pub(super) by_one: bool,
}

impl Joined {
    pub(super) fn new(node: Arc<Node>) -> Joined {
        Joined { node, before: None }
    }

    /// Goes on with `node`, beside the one so far. One from before that ends.
    pub(super) fn again(&mut self, node: Arc<Node>, now: Instant) {
        self.before = Some((std::mem::replace(&mut self.node, node), now));
    }

    /// The node of today.
    pub(super) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Leaves the context before, unless it is younger than a discovery.
    pub(super) fn leave_before(&mut self, now: Instant) {
        self.before.take_if(|(_, since)| now >= *since + DISCOVERY);
    }

    /// The publishers of `topic` that either context has found.
    pub(super) fn publishers(&self, topic: &CStr) -> Result<Found, RosError> {
        let mut publishers = graph::publishers(&self.node, topic)?;
        let Some((before, since)) = &self.before else { return Ok(Found { publishers, by_one: true }) };
        let own = publishers.len();
        for publisher in graph::publishers(before, topic)? {
            if !publishers.iter().any(|found| found.id == publisher.id) {
                publishers.push(publisher);
            }
        }
        let by_one = publishers.len() == own && since.elapsed() >= DISCOVERY;
        Ok(Found { publishers, by_one })
    }
}
