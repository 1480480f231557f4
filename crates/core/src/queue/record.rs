//! What the queue holds.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::config::{Encoding, Priority, Qos};
use crate::packing::Packing;
use crate::topics::Topic;

/// Bytes that a record is counted with beside its payload: its place in a lane (112 bytes, and half of that again,
/// because a `VecDeque` doubles when it grows and so is three quarters full on average), the shared part of its
/// [`Bytes`] and what an allocator adds to each allocation.
pub const RECORD_OVERHEAD: u64 = 192;

/// One publish, complete: from its admission to its PUBACK the queue is its only owner.
#[derive(Debug, Clone)]
pub struct Record {
    pub route: Arc<Route>,
    /// Without spare capacity: only its length is counted.
    pub payload: Bytes,
    /// When DDS handed the message to the bridge, nanoseconds since 1970.
    pub received_ns: i64,
    /// When the queue drops it unsent.
    pub expires: Instant,
}

impl Record {
    /// Bytes that the record takes of the queue's bound.
    pub fn size(&self) -> u64 {
        self.payload.len() as u64 + RECORD_OVERHEAD
    }

    /// Whether it may be sent by `newer`, a route of its topic that came into force after it was admitted.
    pub(super) fn may_go_by(&self, newer: &Route) -> bool {
        let Route { qos, retain, packing, .. } = &*self.route;
        (qos, retain) == (&newer.qos, &newer.retain) && packing.may_become(&newer.packing, self.payload.len())
    }
}

/// What all records of a topic have in common, until its configuration changes.
///
/// It dereferences to its topic, so that a route has the topic's names and counters.
#[derive(Debug)]
pub struct Route {
    /// Records of the same topic stay in order, also of another process and of before a change of the configuration.
    pub topic: Arc<Topic>,
    pub qos: Qos,
    pub retain: bool,
    pub priority: Priority,
    /// How records become payloads of publishes.
    pub packing: Packing,
}

impl Deref for Route {
    type Target = Topic;

    fn deref(&self) -> &Topic {
        &self.topic
    }
}

impl Route {
    /// Whether records of this and of `other` stay in order.
    pub fn is_same_topic(&self, other: &Route) -> bool {
        self.topic.id == other.topic.id
    }

    /// The MQTT topic of what is compressed as `encoding` says, or not at all.
    pub fn mqtt_of(&self, encoding: Option<Encoding>) -> &str {
        let other = encoding.and_then(|_| self.mqtt_compressed());
        other.unwrap_or(&self.mqtt)
    }

    /// The MQTT topic of what is compressed, if that is another one.
    pub fn mqtt_compressed(&self) -> Option<&str> {
        self.packing.compression.as_ref()?.topic.as_deref()
    }

    /// Whether a record of `other`, which is of the same topic, may be in one publish with one of this.
    pub(super) fn goes_with(self: &Arc<Self>, other: &Arc<Route>) -> bool {
        let same = |one: &Route, other: &Route| {
            (&one.mqtt, one.qos, one.retain) == (&other.mqtt, other.qos, other.retain)
                && one.packing.goes_with(&other.packing)
        };
        Arc::ptr_eq(self, other) && self.packing.batch.is_some() || same(self, other)
    }
}
