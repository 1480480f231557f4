//! How much is in the queue.

use crate::config::Priority;
use crate::tally::TopicCounters;

/// How much is in the queue, by lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// High, normal and low, in this order.
    pub lanes: [LaneFigures; 3],
    /// The configured bound of all bytes in memory together.
    pub bound: u64,
    /// `None` without a disk.
    pub disk: Option<DiskFigures>,
}

/// How it stands with the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskFigures {
    /// Bytes of all files, in whole blocks.
    pub bytes: u64,
    /// The configured bound of them.
    pub bound: u64,
    /// Bytes of the segments of each lane.
    pub lanes: [u64; 3],
    /// Bytes of the files that are set aside, because they can't be read.
    pub set_aside: u64,
    /// What keeps the disk from working, in words.
    pub trouble: Option<String>,
}

impl Figures {
    /// Records that wait, in memory and on the disk.
    pub fn queued(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.queued + lane.queued_on_disk).sum()
    }

    /// Records that wait on the disk only.
    pub fn queued_on_disk(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.queued_on_disk).sum()
    }

    /// Records, waiting or leased, that are in memory only.
    pub fn memory_only(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.memory_only).sum()
    }

    /// Records that are leased.
    pub fn in_flight(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.in_flight).sum()
    }

    /// Bytes of all records in memory, waiting and leased, their bookkeeping included.
    pub fn bytes(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.queued_bytes + lane.in_flight_bytes).sum()
    }

    /// The lane of `priority`.
    pub fn lane(&self, priority: Priority) -> LaneFigures {
        self.lanes[priority as usize]
    }
}

/// How much is in one lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LaneFigures {
    /// Records that wait in memory.
    pub queued: u64,
    /// Bytes of the records that wait in memory, their bookkeeping included.
    pub queued_bytes: u64,
    /// Records that wait on the disk only.
    pub queued_on_disk: u64,
    /// Records, waiting or leased, that are not on the disk: what a power cut would take.
    pub memory_only: u64,
    /// Records that are leased.
    pub in_flight: u64,
    /// Bytes of the records that are leased, their bookkeeping included.
    pub in_flight_bytes: u64,
    /// When the lane's oldest record, waiting or leased, was received from DDS: nanoseconds since 1970.
    pub oldest_received_ns: Option<i64>,
}

/// What has become of a topic's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    pub received: u64,
    /// Left on the disk by an earlier process.
    pub recovered: u64,
    /// Held back by the topic's configuration, for whatever reason.
    pub shaped: u64,
    /// For whatever reason.
    pub dropped: u64,
    pub queued: u64,
    pub in_flight: u64,
    pub acknowledged: u64,
}

impl Account {
    /// To be called under the queue's lock: then all but `received` and what ends before admission stand still.
    pub(super) fn read(counters: &TopicCounters) -> Self {
        let (shaped, dropped) = (counters.shaped_in_all(), counters.dropped_in_all());
        let (queued, in_flight) = (counters.queued(), counters.in_flight());
        let acknowledged = counters.acknowledged();
        // Read last, because a message is counted as received before anything else: so the sum is never short.
        Account {
            received: counters.received(),
            recovered: counters.recovered(),
            shaped,
            dropped,
            queued,
            in_flight,
            acknowledged,
        }
    }

    /// Messages counted as received that reception still has in hand: neither shaped away nor dropped nor admitted yet.
    /// While the ROS thread rests, these are the messages of open windows.
    pub fn in_reception(&self) -> u64 {
        let elsewhere = self.shaped + self.dropped + self.queued + self.in_flight + self.acknowledged;
        (self.received + self.recovered).saturating_sub(elsewhere)
    }
}
