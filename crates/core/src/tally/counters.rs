//! Counters of one topic.
//!
//! They always add up: received + recovered = shaped (by reason) + dropped (by reason) + queued + in flight + acknowledged.
//! `queued` and `in_flight` are written by the queue alone, under its lock; `Queue::account` reads them all at one moment.

use std::sync::atomic::{AtomicU64, Ordering};

use super::ShapedReason;

/// Why a message ended before its PUBACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum DropReason {
    /// The queue was full.
    Overflow,
    /// It grew older than `max_age`.
    Expired,
    /// The disk did not give it back.
    Damaged,
    /// Its payload is over the 131072 bytes that AWS IoT Core takes.
    TooLarge,
    /// Its CDR does not fit its type.
    Malformed,
    /// Messages of its type can't be forwarded as the topic is configured, which is said when the type is known; or its
    /// publisher has another definition of the type than the one that is sourced; or the
    /// name that provisioning gives the thing makes an MQTT topic that AWS IoT Core does not take.
    Unsupported,
    /// The connection was closed again and again while it alone was in flight.
    Poison,
    /// The broker, speaking MQTT 5, said that it does not take it.
    Refused,
}

impl DropReason {
    /// All reasons, in the order of their discriminants.
    pub const ALL: [DropReason; 8] = [
        DropReason::Overflow,
        DropReason::Expired,
        DropReason::Damaged,
        DropReason::TooLarge,
        DropReason::Malformed,
        DropReason::Unsupported,
        DropReason::Poison,
        DropReason::Refused,
    ];

    /// The label in metrics, status and log.
    pub fn label(self) -> &'static str {
        match self {
            DropReason::Overflow => "overflow",
            DropReason::Expired => "expired",
            DropReason::Damaged => "damaged",
            DropReason::TooLarge => "too_large",
            DropReason::Malformed => "malformed",
            DropReason::Unsupported => "unsupported",
            DropReason::Poison => "poison",
            DropReason::Refused => "refused",
        }
    }
}

/// Counters of one topic, since the start of the process.
#[derive(Debug, Default)]
pub struct TopicCounters {
    received: AtomicU64,
    recovered: AtomicU64,
    acknowledged: AtomicU64,
    shaped: [AtomicU64; ShapedReason::ALL.len()],
    dropped: [AtomicU64; DropReason::ALL.len()],
    lost_in_dds: AtomicU64,
    incompatible: AtomicU64,
    queued: AtomicU64,
    in_flight: AtomicU64,
    publishes: AtomicU64,
    published_bytes: AtomicU64,
    newest_admitted: AtomicU64,
    newest_confirmed: AtomicU64,
}

impl TopicCounters {
    /// A message was taken from DDS.
    pub fn count_received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    /// A record was acknowledged (QoS 1) or handed to the connection (QoS 0).
    pub fn count_acknowledged(&self) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    /// A message does not travel, because of `reason`; nothing is lost.
    pub fn count_shaped(&self, reason: ShapedReason) {
        self.count_shaped_by(reason, 1);
    }

    /// `count` messages do not travel, because of `reason`; nothing is lost.
    pub fn count_shaped_by(&self, reason: ShapedReason, count: u64) {
        self.shaped[reason as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// A message ended for `reason`. Returns how many have, this one included.
    pub fn count_dropped(&self, reason: DropReason) -> u64 {
        self.count_dropped_by(reason, 1)
    }

    /// `count` messages ended for `reason`. Returns how many have, these included.
    pub fn count_dropped_by(&self, reason: DropReason, count: u64) -> u64 {
        self.dropped[reason as usize].fetch_add(count, Ordering::Relaxed) + count
    }

    /// At least `count` messages are missing that never reached the bridge. They are not part of `received`.
    pub fn count_lost_in_dds(&self, count: u64) {
        self.lost_in_dds.fetch_add(count, Ordering::Relaxed);
    }

    /// DDS refused `count` publishers because of their QoS.
    pub fn count_incompatible(&self, count: u64) {
        self.incompatible.fetch_add(count, Ordering::Relaxed);
    }

    /// A publish whose packet has `bytes` was handed to the connection. One that is repeated after a lost
    /// connection counts again: it costs again.
    pub fn count_published(&self, bytes: u64) {
        self.publishes.fetch_add(1, Ordering::Relaxed);
        self.published_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The queue holds a record more that waits.
    pub fn enter_queue(&self) {
        self.queued.fetch_add(1, Ordering::Relaxed);
    }

    /// The queue has admitted a record as the `number`th of the process. Each number is higher than those before.
    pub fn note_admitted(&self, number: u64) {
        self.newest_admitted.store(number, Ordering::Relaxed);
    }

    /// The broker has acknowledged the record that was admitted as the `number`th.
    pub fn note_confirmed(&self, number: u64) {
        self.newest_confirmed.fetch_max(number, Ordering::Relaxed);
    }

    /// The number of the newest record that was admitted; 0 if none was.
    pub fn newest_admitted(&self) -> u64 {
        self.newest_admitted.load(Ordering::Relaxed)
    }

    /// The number of the newest record that the broker has acknowledged by a PUBACK that says success; 0 if it has none. What
    /// was sent with QoS 0 has no PUBACK.
    pub fn newest_confirmed(&self) -> u64 {
        self.newest_confirmed.load(Ordering::Relaxed)
    }

    /// The queue holds a record less that waits.
    pub fn leave_queue(&self) {
        self.leave_queue_by(1);
    }

    /// The queue holds `count` records less that wait.
    pub fn leave_queue_by(&self, count: u64) {
        self.queued.fetch_sub(count, Ordering::Relaxed);
    }

    /// The queue holds `count` records that an earlier process has left on the disk.
    pub fn recover(&self, count: u64) {
        self.recovered.fetch_add(count, Ordering::Relaxed);
        self.queued.fetch_add(count, Ordering::Relaxed);
    }

    /// Records that an earlier process has left on the disk.
    pub fn recovered(&self) -> u64 {
        self.recovered.load(Ordering::Relaxed)
    }

    /// A record that waited is with the uplink.
    pub fn enter_flight(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// A record is with the uplink no more.
    pub fn leave_flight(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Records that wait in the queue.
    pub fn queued(&self) -> u64 {
        self.queued.load(Ordering::Relaxed)
    }

    /// Records that the uplink has taken and nobody has acknowledged.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// All messages that ended before their PUBACK, whatever the reason.
    pub fn dropped_in_all(&self) -> u64 {
        DropReason::ALL.iter().map(|&reason| self.dropped(reason)).sum()
    }

    /// All messages that do not travel because the configuration says so, whatever of it.
    pub fn shaped_in_all(&self) -> u64 {
        ShapedReason::ALL.iter().map(|&reason| self.shaped(reason)).sum()
    }

    pub fn shaped(&self, reason: ShapedReason) -> u64 {
        self.shaped[reason as usize].load(Ordering::Relaxed)
    }

    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize].load(Ordering::Relaxed)
    }

    pub fn lost_in_dds(&self) -> u64 {
        self.lost_in_dds.load(Ordering::Relaxed)
    }

    pub fn incompatible(&self) -> u64 {
        self.incompatible.load(Ordering::Relaxed)
    }

    pub fn publishes(&self) -> u64 {
        self.publishes.load(Ordering::Relaxed)
    }

    pub fn published_bytes(&self) -> u64 {
        self.published_bytes.load(Ordering::Relaxed)
    }
}
