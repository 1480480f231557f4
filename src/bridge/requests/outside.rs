//! What handlers reach.

use std::cell::RefCell;
use std::sync::Arc;

use tokio::sync::{Notify, watch};

use super::replies::Replies;
use crate::bridge::remote::{Desk, FromCloud, ToCloud};
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
    desk: Option<RefCell<Desk>>,
}

impl Outside {
    pub(super) fn new(
        thing: String,
        queue: Arc<Queue>,
        topics: Arc<Topics>,
        nodes: watch::Receiver<Vec<Arc<Node>>>,
        reports: Arc<Reports>,
        desk: Option<Desk>,
    ) -> Outside {
        let waker = desk.as_ref().map(|desk| Arc::clone(&desk.waker)).unwrap_or_default();
        let desk = desk.map(RefCell::new);
        Outside { replies: Replies::new(queue, topics), reports, thing, nodes, waker, desk }
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

    /// Tells the keeper of the configuration what has come.
    pub(super) fn tell_keeper(&self, event: FromCloud) {
        if let Some(desk) = &self.desk {
            // It is gone when the process stops.
            let _ = desk.borrow().from_cloud.send(event);
        }
    }

    /// What it has for the cloud next.
    pub(super) fn to_cloud(&self) -> Option<ToCloud> {
        self.desk.as_ref()?.borrow_mut().to_cloud.try_recv().ok()
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
