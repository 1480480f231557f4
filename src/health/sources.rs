//! Where health looks.

use std::sync::Arc;

use tokio::sync::watch;

use super::{BehindState, ConfigurationState, Requests, Topics};
use iot_bridge_core::queue::Queue;
use iot_bridge_core::uplink::UplinkState;

/// What the stages leave for whoever looks at them. Nobody who does can stop one.
#[derive(Debug, Clone)]
pub struct Sources {
    pub configuration: Arc<ConfigurationState>,
    pub topics: Arc<Topics>,
    pub requests: Arc<Requests>,
    pub queue: Arc<Queue>,
    /// Whether more is offered than may leave, as [`Balance`](super::Balance) judges.
    pub behind: Arc<BehindState>,
    pub uplink: watch::Receiver<UplinkState>,
}
