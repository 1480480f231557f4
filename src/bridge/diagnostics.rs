//! Publishing `/diagnostics`.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use crate::health::diagnostics::{PERIOD, TOPIC, TYPE, serialize};
use crate::health::{ONCE_A_MINUTE, Repeat, Reporter};
use crate::ros::{Node, Publisher};

/// Publishes how the bridge is, once a second, until it is dropped. Where ROS has no `diagnostic_msgs` that is said,
/// and there are no diagnostics.
pub(super) async fn publish(node: Arc<Node>, name: String, reporter: Arc<Reporter>) {
    let publisher = match Publisher::create(&node, TOPIC, TYPE) {
        Ok(publisher) => Arc::new(publisher),
        Err(error) => {
            tracing::warn!("{TOPIC} is not published: {error}.");
            return;
        }
    };
    // The publisher keeps the node as long as it needs it.
    drop(node);
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failed = Repeat::default();
    loop {
        ticks.tick().await;
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
