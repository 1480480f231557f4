//! The records themselves: three lanes and the leases. Single-threaded and without a clock of its own.

mod select;

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use super::figures::{Figures, LaneFigures};
use super::losses::Loss;
use super::record::Record;
use crate::config::Overflow;
use crate::health::DropReason;

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
    /// Most bytes of all records together.
    bound: u64,
    overflow: Overflow,
    /// Indexed by priority: high, normal, low.
    lanes: [Lane; 3],
    /// In the order of leasing, which within a lane is the order of admission.
    leased: BTreeMap<LeaseId, Record>,
    /// Bytes of all records, waiting and leased.
    used: u64,
    next_lease: u64,
    /// No waiting record expires before this; nothing, if none waits.
    earliest_expiry: Option<Instant>,
    /// What was dropped since `take_losses`, indexed by reason.
    losses: [Option<Loss>; DropReason::ALL.len()],
}

#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Record>,
    waiting_bytes: u64,
    leased: u64,
    leased_bytes: u64,
}

impl Store {
    pub fn new(bound: u64, overflow: Overflow) -> Self {
        Store {
            bound,
            overflow,
            lanes: Default::default(),
            leased: BTreeMap::new(),
            used: 0,
            next_lease: 0,
            earliest_expiry: None,
            losses: Default::default(),
        }
    }

    /// Whether no record waits.
    pub fn is_idle(&self) -> bool {
        self.lanes.iter().all(|lane| lane.waiting.is_empty())
    }

    /// Records that are leased.
    pub fn leased(&self) -> usize {
        self.leased.len()
    }

    pub fn admit(&mut self, record: Record, now: Instant) -> bool {
        for lane in 0..self.lanes.len() {
            self.drop_expired_head(lane, now);
        }
        if record.expires <= now {
            self.lose(record, DropReason::Expired);
            return false;
        }
        if self.lacks_room(&record) && !self.make_room(&record) {
            self.lose(record, DropReason::Overflow);
            return false;
        }
        self.used += record.size();
        self.note_expiry(record.expires);
        record.route.counters.enter_queue();
        let lane = &mut self.lanes[record.route.priority as usize];
        lane.waiting_bytes += record.size();
        lane.waiting.push_back(record);
        true
    }

    pub fn lease(&mut self, now: Instant) -> Option<Lease> {
        for index in 0..self.lanes.len() {
            self.drop_expired_head(index, now);
            if let Some(record) = self.lanes[index].waiting.pop_front() {
                return Some(self.begin_lease(index, record));
            }
        }
        None
    }

    /// Lends `record`, which has left its lane.
    fn begin_lease(&mut self, index: usize, record: Record) -> Lease {
        let lane = &mut self.lanes[index];
        lane.waiting_bytes -= record.size();
        lane.leased += 1;
        lane.leased_bytes += record.size();
        record.route.counters.leave_queue();
        record.route.counters.enter_flight();
        let id = LeaseId(self.next_lease);
        self.next_lease += 1;
        self.leased.insert(id, record.clone());
        Lease { id, record }
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
        let record = self.leased.remove(&id)?;
        self.used -= record.size();
        let lane = &mut self.lanes[record.route.priority as usize];
        lane.leased -= 1;
        lane.leased_bytes -= record.size();
        record.route.counters.leave_flight();
        Some(record)
    }

    pub fn rewind(&mut self) -> usize {
        let leased = std::mem::take(&mut self.leased);
        let rewound = leased.len();
        for record in leased.into_values().rev() {
            self.note_expiry(record.expires);
            record.route.counters.leave_flight();
            record.route.counters.enter_queue();
            let lane = &mut self.lanes[record.route.priority as usize];
            lane.leased -= 1;
            lane.leased_bytes -= record.size();
            lane.waiting_bytes += record.size();
            lane.waiting.push_front(record);
        }
        rewound
    }

    /// Drops every waiting record that has expired. Looks at them only if one can have.
    pub fn sweep(&mut self, now: Instant) {
        if self.earliest_expiry.is_none_or(|earliest| earliest > now) {
            return;
        }
        self.earliest_expiry = None;
        for index in 0..self.lanes.len() {
            let (mut expired, mut earliest) = (Vec::new(), None::<Instant>);
            self.lanes[index].waiting.retain(|record| {
                let keep = record.expires > now;
                if keep {
                    earliest = Some(earliest.map_or(record.expires, |earliest| earliest.min(record.expires)));
                } else {
                    expired.push(record.clone());
                }
                keep
            });
            for record in expired {
                self.forget_waiting(index, &record);
                self.lose(record, DropReason::Expired);
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
            LaneFigures {
                queued: lane.waiting.len() as u64,
                queued_bytes: lane.waiting_bytes,
                in_flight: lane.leased,
                in_flight_bytes: lane.leased_bytes,
                oldest_received_ns: lane.waiting.front().map(|record| record.received_ns),
            }
        });
        for record in self.leased.values() {
            let lane: &mut LaneFigures = &mut lanes[record.route.priority as usize];
            lane.oldest_received_ns =
                Some(lane.oldest_received_ns.map_or(record.received_ns, |oldest| oldest.min(record.received_ns)));
        }
        Figures { lanes, bound: self.bound }
    }

    fn lacks_room(&self, record: &Record) -> bool {
        self.used + record.size() > self.bound
    }

    /// Makes room for `newcomer` as the overflow policy says. Drops nothing, and answers false, if that is not
    /// possible.
    fn make_room(&mut self, newcomer: &Record) -> bool {
        if self.overflow == Overflow::DropNewest {
            return false;
        }
        let own_lane = newcomer.route.priority as usize;
        let may_go: u64 = self.lanes[own_lane..].iter().map(|lane| lane.waiting_bytes).sum();
        if self.used - may_go + newcomer.size() > self.bound {
            return false;
        }
        for index in (own_lane..self.lanes.len()).rev() {
            while self.lacks_room(newcomer) {
                let Some(oldest) = self.lanes[index].waiting.pop_front() else { break };
                self.forget_waiting(index, &oldest);
                self.lose(oldest, DropReason::Overflow);
            }
        }
        true
    }

    fn drop_expired_head(&mut self, index: usize, now: Instant) {
        while let Some(record) = self.lanes[index].waiting.pop_front_if(|record| record.expires <= now) {
            self.forget_waiting(index, &record);
            self.lose(record, DropReason::Expired);
        }
    }

    /// Takes `record`, already out of its lane, out of the figures.
    fn forget_waiting(&mut self, index: usize, record: &Record) {
        self.used -= record.size();
        self.lanes[index].waiting_bytes -= record.size();
        record.route.counters.leave_queue();
    }

    fn lose(&mut self, record: Record, reason: DropReason) {
        record.route.counters.count_dropped(reason);
        let slot = &mut self.losses[reason as usize];
        match slot {
            Some(loss) => loss.records += 1,
            None => *slot = Some(Loss { reason, records: 1, route: record.route }),
        }
    }

    fn note_expiry(&mut self, expires: Instant) {
        self.earliest_expiry = Some(self.earliest_expiry.map_or(expires, |earliest| earliest.min(expires)));
    }
}
