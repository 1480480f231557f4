//! The keeper's side of the store: which records go to the disk and come back from there.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::lane::{Gap, Place};
use super::{Entry, Store};
use crate::config::Priority;
use crate::health::DropReason;
use crate::queue::losses::Loss;
use crate::queue::{Record, Route};

/// When records are written to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Never.
    Memory,
    /// While there is no link, or not enough memory.
    Spill,
    /// Always, unless they are acknowledged before their turn comes. No more than `window` records are in flight or
    /// done without the disk knowing it.
    Always { window: usize },
}

/// What is kept of a lane in memory before a gap, at least: room for two of the largest payloads and one on its way.
const LEAST_AHEAD: u64 = 320 << 10;

/// Records that are to be written, in their order.
#[derive(Debug)]
pub struct Batch {
    pub records: Vec<Record>,
}

/// Records of a lane that the disk gives up.
#[derive(Debug)]
pub struct Gone {
    pub numbers: Range<u64>,
    /// Those of them that were not in memory, by route.
    pub counts: Vec<(Arc<Route>, u64)>,
    /// Where the gap began when they were counted.
    pub gap_start: Option<u64>,
    pub reason: DropReason,
}

impl Store {
    /// The link has come, or gone.
    pub fn set_link(&mut self, up: bool) {
        self.link_is_up = up;
    }

    /// Since when something should be written and is not; nothing, if nothing should.
    pub fn to_write_since(&self, closing: bool) -> Option<Instant> {
        let writes = match self.mode {
            Mode::Memory => false,
            Mode::Spill => !self.link_is_up || closing || self.is_pressed(),
            Mode::Always { .. } => true,
        };
        self.unwritten_since.filter(|_| writes && self.lanes.iter().any(|lane| lane.memory_only > 0))
    }

    /// Whether memory is short: three quarters of it are taken.
    pub fn is_pressed(&self) -> bool {
        (self.used + self.reserved()) > self.bound / 4 * 3
    }

    /// Whether nothing may be leased before the ledger is written.
    pub fn waits_for_ledger(&self) -> bool {
        match self.mode {
            Mode::Always { window } => self.leased.len() + self.unrecorded() >= window && self.unrecorded() > 0,
            Mode::Memory | Mode::Spill => false,
        }
    }

    /// Records that are done without the disk knowing it.
    fn unrecorded(&self) -> usize {
        self.done_unrecorded.iter().map(|lane| lane.len()).sum()
    }

    /// Takes what is to be written next of `lane`: about `bytes`, numbered from `first` on.
    pub fn begin_write(&mut self, lane: Priority, first: u64, bytes: u64) -> Batch {
        let (mut records, mut taken) = (Vec::new(), 0);
        let own = &mut self.lanes[lane as usize];
        let leased = self.leased.values_mut().filter(|entry| entry.record.route.priority == lane);
        for entry in leased.chain(&mut own.front).chain(&mut own.back).filter(|entry| entry.place == Place::Memory) {
            if taken >= bytes {
                break;
            }
            taken += entry.record.size();
            entry.place = Place::Writing(first + records.len() as u64);
            records.push(entry.record.clone());
        }
        own.memory_only -= records.len() as u64;
        Batch { records }
    }

    /// Of the batch that was begun at the number `first`, the first `written` records are on the disk. The others are
    /// not and will be written again.
    pub fn end_write(&mut self, lane: Priority, first: u64, written: u64, now: Instant) {
        let own = &mut self.lanes[lane as usize];
        let leased = self.leased.values_mut().filter(|entry| entry.record.route.priority == lane);
        for entry in leased.chain(&mut own.front).chain(&mut own.back) {
            if let Place::Writing(number) = entry.place {
                let on_disk = number < first + written;
                entry.place = if on_disk { Place::Disk(number) } else { Place::Memory };
                own.memory_only += u64::from(!on_disk);
            }
        }
        // Numbers that were never used: what was acknowledged under them meanwhile is not on the disk.
        self.done_unrecorded[lane as usize].split_off(&(first + written));
        let left = self.lanes.iter().any(|lane| lane.memory_only > 0);
        self.unwritten_since = left.then_some(now);
        self.evict();
    }

    /// Gives memory free of what is on the disk too, as far as that is needed.
    pub fn evict(&mut self) {
        let keep = self.ahead() / 2;
        for index in (0..self.lanes.len()).rev() {
            let pressed = self.used + self.reserved() > self.bound / 2;
            self.used -= self.lanes[index].evict(keep, pressed);
        }
    }

    /// Bytes of a lane that are read ahead of a gap at most.
    fn ahead(&self) -> u64 {
        (self.bound / 8).max(LEAST_AHEAD)
    }

    /// Bytes that are kept free for what is to be read from the disk.
    pub(super) fn reserved(&self) -> u64 {
        let with_gap = self.lanes.iter().filter(|lane| lane.gap.is_some());
        with_gap.map(|lane| self.ahead().saturating_sub(lane.front_bytes + lane.leased_bytes)).sum()
    }

    /// What is to be read of `lane` next: the numbers, and about how many bytes.
    pub fn wants_read(&self, lane: Priority) -> Option<(Range<u64>, u64)> {
        let own = &self.lanes[lane as usize];
        let numbers = own.gap.as_ref()?.numbers.clone();
        let target = self.ahead() / 2;
        let held = own.front_bytes + own.leased_bytes;
        // Not for each record by itself.
        (held <= target / 2).then(|| (numbers, target - held))
    }

    /// Puts in what was read from the start of the gap of `lane`, whose numbers were `numbers` then; `next` is where to
    /// go on.
    pub fn end_read(
        &mut self,
        lane: Priority,
        numbers: &Range<u64>,
        next: u64,
        records: Vec<(u64, Record)>,
        now: Instant,
    ) {
        let own = &mut self.lanes[lane as usize];
        let Some(gap) = own.gap.as_mut().filter(|gap| gap.numbers.start == numbers.start) else { return };
        gap.numbers.start = next;
        let mut entries = Vec::with_capacity(records.len());
        for (number, record) in records {
            // More than were counted can only be there if the disk has changed under us.
            if gap.take(&record.route, 1) == 1 {
                gap.oldest_received_ns = Some(record.received_ns);
                entries.push(Entry { record, place: Place::Disk(number) });
            }
        }
        for entry in entries {
            self.used += entry.record.size();
            let expires = entry.record.expires;
            own.front_bytes += entry.record.size();
            own.front.push_back(entry);
            self.earliest_expiry = Some(self.earliest_expiry.map_or(expires, |earliest| earliest.min(expires)));
        }
        self.drop_expired_head(lane as usize, now);
        self.close_gap_at_end(lane);
    }

    /// Closes the gap of `lane` if all of it has been read. What should have been in it and was not is lost.
    fn close_gap_at_end(&mut self, lane: Priority) {
        let own = &mut self.lanes[lane as usize];
        let at_end = own.gap.as_ref().is_some_and(|gap| gap.numbers.is_empty());
        if at_end && let Some(gap) = own.close_gap() {
            for (route, records) in gap.into_counts() {
                route.counters.leave_queue_by(records);
                self.lose_all(&route, records, DropReason::Damaged);
            }
        }
    }

    /// Records of an earlier process wait on the disk. Only for a lane of which nothing is leased or on the disk.
    pub fn recover(
        &mut self,
        lane: Priority,
        numbers: Range<u64>,
        records: Vec<(Arc<Route>, u64)>,
        oldest: Option<i64>,
    ) {
        let own = &mut self.lanes[lane as usize];
        if records.is_empty() {
            return;
        }
        let mut gap = Gap::new(numbers, oldest);
        for (route, count) in records {
            route.counters.recover(count);
            gap.add(&route, count);
        }
        own.back = std::mem::take(&mut own.front);
        own.back_bytes = std::mem::take(&mut own.front_bytes);
        own.gap = Some(gap);
    }

    /// The lowest number of `lane` that is not done; `next` if all are.
    pub fn done(&self, lane: Priority, next: u64) -> u64 {
        let own = &self.lanes[lane as usize];
        let leased = self.leased.values().filter(|entry| entry.record.route.priority == lane);
        let leased = leased.filter_map(|entry| entry.place.number()).min();
        let front = own.front.iter().find_map(|entry| entry.place.number());
        let gap = own.gap.as_ref().map(|gap| gap.numbers.start);
        let back = own.back.iter().find_map(|entry| entry.place.number());
        [leased, front, gap, back].into_iter().flatten().min().unwrap_or(next)
    }

    /// The disk knows as done what is below `done`.
    pub fn recorded(&mut self, done: [u64; 3]) {
        for (lane, done) in self.done_unrecorded.iter_mut().zip(done) {
            *lane = lane.split_off(&done);
        }
    }

    /// Numbers of `lane` that are leased.
    pub fn leased_numbers(&self, lane: Priority) -> Range<u64> {
        let leased = self.leased.values().filter(|entry| entry.record.route.priority == lane);
        let numbers = leased.filter_map(|entry| entry.place.number());
        numbers.fold(0..0, |range, number| match range.is_empty() {
            true => number..number + 1,
            false => range.start.min(number)..range.end.max(number + 1),
        })
    }

    /// Where the gap of `lane` begins.
    pub fn gap_start(&self, lane: Priority) -> Option<u64> {
        self.lanes[lane as usize].gap.as_ref().map(|gap| gap.numbers.start)
    }

    /// Drops the records that the disk gives up. Answers false, and does nothing, if one of them has been leased or
    /// read since they were counted.
    pub fn give_up(&mut self, lane: Priority, gone: Gone) -> bool {
        let leased = self.leased_numbers(lane);
        let is_leased = leased.start < gone.numbers.end && gone.numbers.start < leased.end;
        if is_leased || self.gap_start(lane) != gone.gap_start {
            return false;
        }
        let own = &mut self.lanes[lane as usize];
        let entries = own.extract(|entry| matches!(entry.place, Place::Disk(number) if gone.numbers.contains(&number)));
        for entry in entries {
            self.forget_waiting(entry, gone.reason);
        }
        let own = &mut self.lanes[lane as usize];
        if let Some(gap) = &mut own.gap {
            let lost: Vec<_> = gone.counts.into_iter().map(|(route, count)| (gap.take(&route, count), route)).collect();
            if gone.numbers.contains(&gap.numbers.start) {
                gap.numbers.start = gone.numbers.end.min(gap.numbers.end);
            }
            for (records, route) in lost.into_iter().filter(|(records, _)| *records > 0) {
                route.counters.leave_queue_by(records);
                self.lose_all(&route, records, gone.reason);
            }
        }
        self.close_gap_at_end(lane);
        true
    }

    /// Counts `records` of `route` as dropped.
    pub(super) fn lose_all(&mut self, route: &Arc<Route>, records: u64, reason: DropReason) {
        route.counters.count_dropped_by(reason, records);
        match &mut self.losses[reason as usize] {
            Some(loss) => loss.records += records,
            slot => *slot = Some(Loss { reason, records, route: route.clone() }),
        }
    }

    /// Whether nothing is leased.
    pub fn nothing_leased(&self) -> bool {
        self.leased.is_empty()
    }
}
