//! The running bridge: every stage wired to the next.

mod reception;

use std::future::Future;
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::watch;

use crate::config::Settings;
use crate::health::{Heartbeat, TopicHealth, Watched, systemd};
use crate::queue::Queue;
use crate::ros::{self, Node, RosThread};
use crate::uplink::{self, Uplink};
use crate::{health, queue};

pub use reception::{Reception, wanted};

/// Runs the bridge until `stop` ends, then stops it in the order of the data's way: reception, then the uplink, which
/// sends what it can in a bounded time.
///
/// # Errors
/// When ROS can't be started or its thread dies. A broker that can't be reached is no error.
pub async fn run(settings: Settings, stop: impl Future<Output = &'static str>) -> anyhow::Result<()> {
    let topics: Vec<_> = settings.topics.iter().map(|topic| Arc::new(TopicHealth::new(&topic.ros))).collect();
    let queue = Arc::new(Queue::new(&settings.queue));
    let (ros_pulse, uplink_pulse) = (Arc::new(Heartbeat::new()), Arc::new(Heartbeat::new()));

    let node = Node::create(&settings.ros.node_name, &settings.ros.namespace).context("ROS can't be started")?;
    let reception = Reception::new(&settings, &topics, Arc::clone(&queue), Arc::clone(&ros_pulse));
    let wanted = settings.topics.iter().map(wanted).collect();
    let ros = ros::spawn(node, wanted, reception).context("ROS can't be started")?;
    todo!()
}
