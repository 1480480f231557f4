//! What topics offer and what leaves of it, from what they have counted at two moments.

use std::sync::Arc;
use std::time::Duration;

use crate::health::TopicHealth;
use crate::health::topic::Sending;
use iot_bridge_core::tally::{DropReason, TopicCounters};

/// Reasons for which a record ends that has been in the queue, or would have been if there had been room.
const QUEUED: [DropReason; 5] =
    [DropReason::Overflow, DropReason::Expired, DropReason::Damaged, DropReason::Poison, DropReason::Refused];

/// How much of a topic has passed up to a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Passed {
    /// Records that came for the queue, whether it had room or not.
    pub admitted: u64,
    /// Records that are with the connection or were acknowledged.
    pub sent: u64,
    pub publishes: u64,
    /// Of MQTT packets.
    pub bytes: u64,
}

impl Passed {
    pub fn of(counters: &TopicCounters) -> Passed {
        let sent = counters.acknowledged() + counters.in_flight();
        let dropped: u64 = QUEUED.iter().map(|reason| counters.dropped(*reason)).sum();
        Passed {
            admitted: (counters.queued() + sent + dropped).saturating_sub(counters.recovered()),
            sent,
            publishes: counters.publishes(),
            bytes: counters.published_bytes(),
        }
    }

    /// How much has passed since `before`.
    pub fn since(self, before: Passed) -> Passed {
        Passed {
            admitted: self.admitted.saturating_sub(before.admitted),
            sent: self.sent.saturating_sub(before.sent),
            publishes: self.publishes.saturating_sub(before.publishes),
            bytes: self.bytes.saturating_sub(before.bytes),
        }
    }
}

/// Publishes and their bytes in a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Flow {
    pub publishes: f64,
    pub bytes: f64,
}

impl Flow {
    /// The part that is `of` another, the larger one of publishes and bytes; 0 of nothing.
    pub fn share(self, of: Flow) -> f64 {
        let part = |own: f64, of: f64| if of > 0.0 { own / of } else { 0.0 };
        part(self.publishes, of.publishes).max(part(self.bytes, of.bytes))
    }
}

impl std::iter::Sum for Flow {
    fn sum<I: Iterator<Item = Flow>>(flows: I) -> Flow {
        flows.fold(Flow::default(), |sum, flow| Flow {
            publishes: sum.publishes + flow.publishes,
            bytes: sum.bytes + flow.bytes,
        })
    }
}

/// What one topic offers in a second.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Offer {
    pub ros: String,
    pub sending: Sending,
    pub records: f64,
    /// Records in a publish, as seen; at least 1.
    pub per_publish: f64,
    /// Bytes of MQTT packets that a record takes, as seen; 0 if none was.
    pub bytes_each: f64,
}

impl Offer {
    /// Of `topic`, of which `passed` in `time`, and `ever` since the start.
    pub fn of(topic: &Arc<TopicHealth>, passed: Passed, ever: Passed, time: Duration) -> Offer {
        let seen = if passed.publishes > 0 && passed.sent > 0 { passed } else { ever };
        let part = |all: u64, of: u64| if of > 0 { all as f64 / of as f64 } else { 0.0 };
        Offer {
            ros: topic.ros.clone(),
            sending: topic.sending,
            records: passed.admitted as f64 / time.as_secs_f64(),
            per_publish: part(seen.sent, seen.publishes).max(1.0),
            bytes_each: part(seen.bytes, seen.sent),
        }
    }

    pub fn flow(&self) -> Flow {
        self.flow_of(self.records)
    }

    /// What `records` in a second would be.
    pub fn flow_of(&self, records: f64) -> Flow {
        Flow { publishes: records / self.per_publish, bytes: records * self.bytes_each }
    }
}
