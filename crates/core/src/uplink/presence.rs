//! The retained message that tells whether the bridge is connected.
//!
//! `online` is published as the first publish of each connection, `offline` as the last one before DISCONNECT, and the
//! broker publishes `offline` as the connection's last will if it ends in any other way. None of these is a record: the
//! queue does not know of them.

use std::sync::Arc;

use bytes::Bytes;

use crate::config::{LastWill, Mqtt, Priority, Qos};
use crate::queue::Route;
use crate::topics::Topic;

/// The two messages.
#[derive(Debug)]
pub(super) struct Presence {
    pub route: Arc<Route>,
    pub online: Bytes,
    pub offline: Bytes,
}

impl Presence {
    /// As configured, if it is.
    pub fn new(mqtt: &Mqtt) -> Option<Self> {
        let presence = mqtt.presence.as_ref()?;
        let route = Route {
            topic: Topic::of_the_bridge(&presence.topic),
            qos: Qos::AtLeastOnce,
            retain: true,
            priority: Priority::High,
            packing: Default::default(),
        };
        Some(Presence {
            route: Arc::new(route),
            online: Bytes::copy_from_slice(presence.online.as_bytes()),
            offline: Bytes::copy_from_slice(presence.offline.as_bytes()),
        })
    }
}

/// What the broker publishes if the connection ends without DISCONNECT.
pub(super) fn last_will(mqtt: &Mqtt) -> Option<LastWill> {
    mqtt.last_will.clone().or_else(|| {
        let presence = mqtt.presence.as_ref()?;
        Some(LastWill {
            topic: presence.topic.clone(),
            payload: presence.offline.clone(),
            qos: Qos::AtLeastOnce,
            retain: true,
        })
    })
}
