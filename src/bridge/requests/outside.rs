//! What handlers reach.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use super::replies::Replies;
use crate::bridge::reports::Reports;
use crate::health::Topics;
use crate::ros::Node;
use iot_bridge_core::queue::Queue;

/// What lies outside of a handler.
pub(in crate::bridge) struct Outside {
    /// Replies, feedback and updates of shadows.
    pub replies: Replies,
    /// What ROS topics say that shadows report.
    pub reports: Arc<Reports>,
    thing: String,
    nodes: watch::Receiver<Vec<Arc<Node>>>,
    waker: Arc<Notify>,
}

impl Outside {
    pub(super) fn new(
        thing: String,
        queue: Arc<Queue>,
        topics: Arc<Topics>,
        nodes: watch::Receiver<Vec<Arc<Node>>>,
        reports: Arc<Reports>,
    ) -> Outside {
        Outside { replies: Replies::new(queue, topics), reports, thing, nodes, waker: Arc::default() }
    }

    /// The thing's name; [`UNNAMED`](iot_bridge_core::config::UNNAMED) as long as provisioning has not given it.
    pub fn thing(&self) -> &str {
        &self.thing
    }

    /// The node, the last one; those before it are in earlier contexts, in which some of the robot's nodes may be reached
    /// that are not in the last one, after its addresses have changed.
    pub fn nodes(&self) -> Vec<Arc<Node>> {
        self.nodes.borrow().clone()
    }

    /// Wakes the thread, so that [`turn`](super::Handler::turn) is called: for callbacks of ROS, from any thread.
    pub fn waker(&self) -> Arc<Notify> {
        Arc::clone(&self.waker)
    }

    /// The thing has got its name.
    pub(super) fn name_thing(&mut self, name: String) {
        self.thing = name;
    }

    /// Ready when the nodes are others.
    pub(super) async fn nodes_changed(&mut self) {
        if self.nodes.changed().await.is_err() {
            std::future::pending().await
        }
    }
}
