//! What the bridge stands on, whatever its topics and what the cloud may ask.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::watch;

use super::recovery::Recovery;
use super::stopping;
use crate::health::Topics;
use crate::ros::Node;
use iot_bridge_core::config::Settings;
use iot_bridge_core::queue::{DiskThread, Queue};
use iot_bridge_core::tally::Heartbeat;
use iot_bridge_core::uplink::{Renewal, Uplink, UplinkState};

pub(super) struct Ground {
    pub queue: Arc<Queue>,
    pub disk_thread: Option<DiskThread>,
    /// It does nothing yet.
    pub uplink: Uplink,
    pub uplink_pulse: Arc<Heartbeat>,
    pub uplink_state: watch::Receiver<UplinkState>,
    pub renewal: Renewal,
    pub node: Node,
}

impl Ground {
    /// Opens the queue, and makes what needs no topic. Records on the disk are counted as those of the topics of `registry`.
    ///
    /// Returns `None` if `stop` ends before the queue is open; the disk is as it was then.
    ///
    /// # Errors
    /// When there can be no connection with the files that `[aws]` names, no node, or no thread for the disk.
    pub async fn lay(
        settings: &Settings,
        registry: Arc<Topics>,
        stop: Pin<&mut impl Future<Output = &'static str>>,
    ) -> anyhow::Result<Option<Ground>> {
        let mut recovery = Recovery::start(settings, registry);
        let (queue, disk_thread) = tokio::select! {
            opened = recovery.end() => opened?,
            reason = stop => {
                stopping(Some(reason));
                recovery.stop().await;
                return Ok(None);
            }
        };
        let uplink_pulse = Arc::new(Heartbeat::new());
        let (aws, mqtt) = (settings.aws.clone(), settings.mqtt.clone());
        let (uplink, uplink_state) = Uplink::new(aws, mqtt, Arc::clone(&queue), Arc::clone(&uplink_pulse))?;
        let renewal = uplink.renewal().await;
        let node = Node::create(&settings.ros.node_name, &settings.ros.namespace)?;
        Ok(Some(Ground { queue, disk_thread, uplink, uplink_pulse, uplink_state, renewal, node }))
    }
}
