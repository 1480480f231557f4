//! The records themselves: three lanes and the leases. Single-threaded and without a clock of its own.
//!
//! Knows which records are on the disk, but not how they get there: that is [`spill`]'s side of it, for the keeper.

mod lane;
mod spill;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::figures::{Figures, LaneFigures};
use super::losses::Loss;
use super::record::Record;
use crate::config::Overflow;
use crate::health::DropReason;
use lane::{Entry, Lane, Place};

pub(super) use spill::Gone;
pub use spill::Mode;

/// Names one lease. Never given twice, so that the acknowledgement of a lease taken back means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(u64);

/// A record lent to the uplink.
#[derive(Debug, Clone)]
pub struct Lease {
    pub id: LeaseId,
    pub record: Record,
}

#[derive(Debug)]
pub(super) struct Store {
    /// Most bytes of all records in memory together.
    bound: u64,
    overflow: Overflow,
    mode: Mode,
    /// Indexed by priority: high, normal, low.
    lanes: [Lane; 3],
    /// In the order of leasing, which within a lane is the order of admission.
    leased: BTreeMap<LeaseId, Entry>,
    /// Bytes of all records in memory, waiting and leased.
    used: u64,
    next_lease: u64,
    /// No record that waits in memory expires before this; nothing, if none waits.
    earliest_expiry: Option<Instant>,
    /// What was dropped since `take_losses`, indexed by reason.
    losses: [Option<Loss>; DropReason::ALL.len()],
    /// Since when a record is in memory only.
    unwritten_since: Option<Instant>,
    link_is_up: bool,
    /// Numbers that are done and that the disk does not know as done.
    done_unrecorded: [BTreeSet<u64>; 3],
}

impl Store {
    pub fn new(bound: u64, overflow: Overflow, mode: Mode) -> Self {
        Store {
            bound,
            overflow,
            mode,
            lanes: Default::default(),
            leased: BTreeMap::new(),
            used: 0,
            next_lease: 0,
            earliest_expiry: None,
            losses: Default::default(),
            unwritten_since: None,
            link_is_up: false,
            done_unrecorded: Default::default(),
        }
    }

    /// Whether a record could be leased.
    pub fn has_next(&self) -> bool {
        !self.waits_for_ledger() && self.lanes.iter().any(|lane| !lane.front.is_empty())
    }

    /// Whether nothing waits, in memory or on the disk, and nothing is leased.
    pub fn is_empty(&self) -> bool {
        self.leased.is_empty() && self.lanes.iter().all(|lane| lane.front.is_empty() && lane.gap.is_none())
    }

    pub fn admit(&mut self, record: Record, now: Instant) -> bool {
        for lane in 0..self.lanes.len() {
            self.drop_expired_head(lane, now);
        }
        if record.expires <= now {
            self.lose(record, DropReason::Expired);
            return false;
        }
        if self.lacks_room(&record) {
            self.evict();
        }
        if self.lacks_room(&record) && !self.make_room(&record) {
            self.lose(record, DropReason::Overflow);
            return false;
        }
        self.used += record.size();
        self.note_expiry(record.expires);
        self.unwritten_since.get_or_insert(now);
        record.route.counters.enter_queue();
        self.lanes[record.route.priority as usize].push_back(Entry { record, place: Place::Memory });
        true
    }

    pub fn lease(&mut self, now: Instant) -> Option<Lease> {
        if self.waits_for_ledger() {
            return None;
        }
        for index in 0..self.lanes.len() {
            self.drop_expired_head(index, now);
            let lane = &mut self.lanes[index];
            if let Some(entry) = lane.pop_front() {
                let record = entry.record.clone();
                lane.leased += 1;
                lane.leased_bytes += record.size();
                lane.memory_only += u64::from(entry.place == Place::Memory);
                record.route.counters.leave_queue();
                record.route.counters.enter_flight();
                let id = LeaseId(self.next_lease);
                self.next_lease += 1;
                self.leased.insert(id, entry);
                return Some(Lease { id, record });
            }
        }
        None
    }

    /// The record leased as `id` has arrived.
    pub fn acknowledge(&mut self, id: LeaseId) -> bool {
        let record = self.end_lease(id);
        record.inspect(|record| record.route.counters.count_acknowledged()).is_some()
    }

    /// The record leased as `id` is dropped for `reason`.
    pub fn discard(&mut self, id: LeaseId, reason: DropReason) -> bool {
        self.end_lease(id).map(|record| self.lose(record, reason)).is_some()
    }

    fn end_lease(&mut self, id: LeaseId) -> Option<Record> {
        let Entry { record, place } = self.leased.remove(&id)?;
        self.used -= record.size();
        let index = record.route.priority as usize;
        let lane = &mut self.lanes[index];
        lane.leased -= 1;
        lane.leased_bytes -= record.size();
        lane.memory_only -= u64::from(place == Place::Memory);
        record.route.counters.leave_flight();
        if let Some(number) = place.number() {
            self.done_unrecorded[index].insert(number);
        }
        Some(record)
    }

    pub fn rewind(&mut self) -> usize {
        let leased = std::mem::take(&mut self.leased);
        let rewound = leased.len();
        for entry in leased.into_values().rev() {
            let record = &entry.record;
            self.note_expiry(record.expires);
            record.route.counters.leave_flight();
            record.route.counters.enter_queue();
            let lane = &mut self.lanes[record.route.priority as usize];
            lane.leased -= 1;
            lane.leased_bytes -= record.size();
            lane.memory_only -= u64::from(entry.place == Place::Memory);
            lane.push_front(entry);
        }
        rewound
    }

    /// Drops every record that waits in memory and has expired. Looks at them only if one can have.
    pub fn sweep(&mut self, now: Instant) {
        if self.earliest_expiry.is_none_or(|earliest| earliest > now) {
            return;
        }
        self.earliest_expiry = None;
        for index in 0..self.lanes.len() {
            let mut earliest = None::<Instant>;
            let expired = self.lanes[index].extract(|Entry { record, place }| {
                // What is being written is dropped when that is done.
                let gone = record.expires <= now && !matches!(place, Place::Writing(_));
                if !gone {
                    earliest = Some(earliest.map_or(record.expires, |earliest| earliest.min(record.expires)));
                }
                gone
            });
            for entry in expired {
                self.forget_waiting(entry, DropReason::Expired);
            }
            if let Some(earliest) = earliest {
                self.note_expiry(earliest);
            }
        }
    }

    /// What was dropped since the last call, by reason.
    pub fn take_losses(&mut self) -> [Option<Loss>; DropReason::ALL.len()] {
        std::mem::take(&mut self.losses)
    }

    pub fn figures(&self) -> Figures {
        let mut lanes = std::array::from_fn(|index| {
            let lane: &Lane = &self.lanes[index];
            let first = lane.front.front().map(|entry| entry.record.received_ns);
            let on_disk = lane.gap.as_ref();
            LaneFigures {
                queued: lane.waiting(),
                queued_bytes: lane.waiting_bytes(),
                queued_on_disk: on_disk.map_or(0, lane::Gap::records),
                memory_only: lane.memory_only,
                in_flight: lane.leased,
                in_flight_bytes: lane.leased_bytes,
                oldest_received_ns: first.or(on_disk.and_then(|gap| gap.oldest_received_ns)),
            }
        });
        for Entry { record, .. } in self.leased.values() {
            let lane: &mut LaneFigures = &mut lanes[record.route.priority as usize];
            lane.oldest_received_ns =
                Some(lane.oldest_received_ns.map_or(record.received_ns, |oldest| oldest.min(record.received_ns)));
        }
        Figures { lanes, bound: self.bound, disk: None }
    }

    fn lacks_room(&self, record: &Record) -> bool {
        self.used + self.reserved() + record.size() > self.bound
    }

    /// Makes room for `newcomer` as the overflow policy says. Drops nothing, and answers false, if that is not
    /// possible.
    fn make_room(&mut self, newcomer: &Record) -> bool {
        if self.overflow == Overflow::DropNewest {
            return false;
        }
        let own_lane = newcomer.route.priority as usize;
        let may_go: u64 = self.lanes[own_lane..].iter().map(Lane::may_give_way).sum();
        if self.used + self.reserved() - may_go + newcomer.size() > self.bound {
            return false;
        }
        for index in (own_lane..self.lanes.len()).rev() {
            while self.lacks_room(newcomer) {
                let Some(oldest) = self.lanes[index].give_way() else { break };
                self.forget_waiting(oldest, DropReason::Overflow);
            }
        }
        true
    }

    fn drop_expired_head(&mut self, index: usize, now: Instant) {
        while self.lanes[index].front.front().is_some_and(|entry| entry.record.expires <= now) {
            let Some(entry) = self.lanes[index].pop_front() else { return };
            self.forget_waiting(entry, DropReason::Expired);
        }
    }

    /// Counts `entry`, already out of its lane, as dropped.
    fn forget_waiting(&mut self, entry: Entry, reason: DropReason) {
        self.used -= entry.record.size();
        entry.record.route.counters.leave_queue();
        self.lose(entry.record, reason);
    }

    fn lose(&mut self, record: Record, reason: DropReason) {
        self.lose_all(&record.route, 1, reason);
    }

    fn note_expiry(&mut self, expires: Instant) {
        self.earliest_expiry = Some(self.earliest_expiry.map_or(expires, |earliest| earliest.min(expires)));
    }
}
