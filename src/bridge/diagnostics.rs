//! Publishing `/diagnostics`.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::health::diagnostics::{PERIOD, TOPIC, TYPE, serialize};
use crate::health::{ONCE_A_MINUTE, Repeat, Reporter};
use crate::ros::{Node, Publisher};

/// Publishes how the bridge is, once a second, until it is dropped. Where ROS has no `diagnostic_msgs` that is said,
/// and there are no diagnostics.
pub(super) async fn publish(mut node: watch::Receiver<Arc<Node>>, name: String, reporter: Arc<Reporter>) {
    let create = |node: &mut watch::Receiver<Arc<Node>>| {
        let node = Arc::clone(&node.borrow_and_update());
        Publisher::create(&node, TOPIC, TYPE).map(Arc::new)
    };
    let mut publisher = match create(&mut node) {
        Ok(publisher) => publisher,
        Err(error) => {
            tracing::warn!("{TOPIC} is not published: {error}.");
            return;
        }
    };
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failed = Repeat::default();
    loop {
        ticks.tick().await;
        if node.has_changed().unwrap_or_default() {
            match create(&mut node) {
                Ok(new) => publisher = new,
                Err(error) => {
                    tracing::warn!("{TOPIC} is published as before the robot's addresses have changed: {error}.")
                }
            }
        }
        let message = serialize(&reporter.report(), &name);
        // DDS may wait for a slow subscriber; the uplink must not.
        let publishing = spawn_blocking({
            let publisher = Arc::clone(&publisher);
            move || publisher.publish(&message)
        });
        if let Ok(Err(error)) = publishing.await
            && failed.due(Instant::now(), ONCE_A_MINUTE).is_some()
        {
            tracing::warn!("{TOPIC} could not be published: {error}.");
        }
    }
}
