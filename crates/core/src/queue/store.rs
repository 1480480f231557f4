//! The records themselves: three lanes of topics, and the leases. Single-threaded and without a clock of its own.
//!
//! Knows which records are on the disk, but not how they get there: that is [`spill`]'s side of it, for the disk
//! worker.

#[cfg(any(test, feature = "fuzzing"))]
#[cfg_attr(not(test), allow(dead_code, reason = "the tests use all of it"))]
mod check;
mod entry;
mod lane;
mod room;
mod spill;
mod topic_queue;
mod topic_queues;
mod unused;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use rustc_hash::FxHashMap;

use super::disk::clock::{Shift, shifted};
use super::figures::{Figures, LaneFigures};
use super::losses::Loss;
use super::mark::{Mark, Since};
use super::record::{Record, Route};
use crate::config::{Overflow, Priority};
use crate::tally::{DropReason, TopicCounters};
use crate::topics::TopicId;
use lane::Lane;
#[cfg(any(test, feature = "fuzzing"))]
use topic_queue::Place;
use topic_queue::{Gap, TopicQueue};

pub use spill::Mode;
pub(super) use spill::{Done, Gone};

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
    leased: BTreeMap<LeaseId, Leased>,
    /// Bytes of all records in memory, waiting and leased.
    used: u64,
    next_admission: u64,
    next_lease: u64,
    arrivals: u64,
    finished: u64,
    /// No record that waits in memory expires before this; `None` if none waits.
    earliest_expiry: Option<Instant>,
    /// What was dropped since `take_losses`, each reason once.
    losses: Vec<Loss>,
    /// What the disk has not given back, until it is counted.
    lost_while_reading: Vec<(Arc<Route>, u64, DropReason)>,
    /// Since when a record is in memory only.
    unwritten_since: Option<Instant>,
    link_is_up: bool,
    disk_works: bool,
    /// What is done and the disk does not know as done, by lane and number.
    unrecorded: [FxHashMap<u64, Unrecorded>; 3],
    /// Leases that have ended of which something is in `unrecorded`.
    unrecorded_leases: usize,
    looked_for_unused: Option<Instant>,
    /// Topics of which the disk worker has not heard yet that they are.
    forgotten: Vec<(Priority, TopicId)>,
}

/// Records that were left on the disk count as admitted before all others.
const FIRST_ADMISSION: u64 = 1 << 48;

/// The records of one lease: of a topic, one after the other.
#[derive(Debug, Clone, Copy)]
struct Leased {
    lane: usize,
    topic: TopicId,
    /// Admissions of the first and the last; those of other leases are not between.
    first: u64,
    last: u64,
    /// Of all payloads.
    bytes: u64,
}

/// A number that is done.
#[derive(Debug, Clone, Copy)]
struct Unrecorded {
    topic: TopicId,
    /// It is the last of its lease.
    ends_lease: bool,
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
            next_admission: FIRST_ADMISSION,
            next_lease: 0,
            arrivals: 0,
            finished: 0,
            earliest_expiry: None,
            losses: Vec::new(),
            lost_while_reading: Vec::new(),
            unwritten_since: None,
            link_is_up: false,
            disk_works: true,
            unrecorded: Default::default(),
            unrecorded_leases: 0,
            looked_for_unused: None,
            forgotten: Vec::new(),
        }
    }

    /// Whether a record of a topic that `wanted` accepts could be leased at `now`.
    pub fn has_next(&mut self, now: Instant, wanted: &dyn Fn(&Route) -> bool) -> bool {
        !self.waits_for_ledger() && self.lanes.iter_mut().any(|lane| lane.has_next(now, wanted))
    }

    /// When the first of the records ripens that wait for others, of topics that `wanted` accepts.
    pub fn ripens(&self, wanted: &dyn Fn(&Route) -> bool) -> Option<Instant> {
        self.lanes.iter().filter_map(|lane| lane.ripens(wanted)).min()
    }

    /// From now on no record waits for others to travel with.
    pub fn stop_lingering(&mut self) {
        self.lanes.iter_mut().for_each(Lane::stop_lingering);
        self.arrivals += 1;
    }

    /// Rises whenever it may be that a record can be leased that could not before.
    pub fn arrivals(&self) -> u64 {
        self.arrivals
    }

    /// Whether nothing waits, in memory or on the disk, and nothing is leased.
    pub fn is_empty(&self) -> bool {
        self.lanes.iter().all(Lane::is_empty)
    }

    pub fn admit(&mut self, record: Record, now: Instant) -> bool {
        if record.expires <= now {
            self.lose(&record, DropReason::Expired);
            return false;
        }
        if self.lacks_room(&record) {
            self.expire(now);
            self.evict();
        }
        if self.lacks_room(&record) && !self.make_room(&record) {
            self.lose(&record, DropReason::Overflow);
            return false;
        }
        self.arrivals += 1;
        self.used += record.size();
        self.note_expiry(record.expires);
        self.unwritten_since.get_or_insert(now);
        let admission = self.next_admission;
        self.next_admission += 1;
        record.route.counters.enter_queue();
        record.route.counters.note_admitted(admission);
        let writes = self.mode != Mode::Memory;
        self.lanes[record.route.priority as usize].push(admission, record, now, writes);
        true
    }

    /// Lends the next record of a topic that `wanted` accepts.
    pub fn lease(&mut self, now: Instant, wanted: &dyn Fn(&Route) -> bool) -> Option<Lease> {
        self.lease_of(self.lanes.len(), now, wanted)
    }

    /// As [`lease`](Store::lease), from the lanes above that of `priority`.
    pub fn lease_above(&mut self, priority: Priority, now: Instant, wanted: &dyn Fn(&Route) -> bool) -> Option<Lease> {
        self.lease_of(priority as usize, now, wanted)
    }

    /// As [`lease`](Store::lease), from the first `lanes` lanes.
    fn lease_of(&mut self, lanes: usize, now: Instant, wanted: &dyn Fn(&Route) -> bool) -> Option<Lease> {
        if self.waits_for_ledger() {
            return None;
        }
        let (id, mut expired) = (LeaseId(self.next_lease), Vec::new());
        let found = self.lanes.iter_mut().take(lanes).enumerate().find_map(|(lane, own)| {
            let (topic, first, record, route) = own.lease(id, now, wanted, &mut expired)?;
            Some((Leased { lane, topic, first, last: first, bytes: record.payload.len() as u64 }, record, route))
        });
        for record in expired {
            self.forget_waiting(&record, DropReason::Expired);
        }
        let (leased, mut record, route) = found?;
        record.route.counters.leave_queue();
        record.route.counters.enter_flight();
        self.next_lease += 1;
        self.leased.insert(id, leased);
        record.route = route;
        Some(Lease { id, record })
    }

    /// Lends more under the lease `id`, which is the last that was given of its topic: records that follow, as long as
    /// `takes` says so.
    pub fn lease_more(
        &mut self,
        id: LeaseId,
        now: Instant,
        takes: impl FnMut(&Record, &Arc<Route>) -> bool,
    ) -> Vec<Record> {
        let Some(leased) = self.leased.get(&id).copied() else { return Vec::new() };
        let is_last = |other: &Leased| other.topic == leased.topic && other.lane == leased.lane;
        if self.leased.range(id..).skip(1).any(|(_, other)| is_last(other)) {
            return Vec::new();
        }
        let mut expired = Vec::new();
        let more = self.lanes[leased.lane].lease_more(leased.topic, id, (now, leased.bytes), takes, &mut expired);
        for record in expired {
            self.forget_waiting(&record, DropReason::Expired);
        }
        let Some((records, last)) = more else { return Vec::new() };
        for record in &records {
            record.route.counters.leave_queue();
            record.route.counters.enter_flight();
        }
        let bytes = leased.bytes + records.iter().map(|record| record.payload.len() as u64).sum::<u64>();
        self.leased.insert(id, Leased { last, bytes, ..leased });
        records
    }

    /// `route` is in force for its topic: also what was admitted before goes by it, if it can.
    pub fn put_in_force(&mut self, route: &Arc<Route>) {
        let topic = route.topic.id;
        for mut queue in self.lanes.iter_mut().filter_map(|lane| lane.queues.get_mut(topic)) {
            queue.in_force = Some(route.clone());
            // Who leases is asked by the topics that the records go to from now on.
            queue.route = route.clone();
        }
    }

    /// What is leased as `id` has arrived.
    pub fn acknowledge(&mut self, id: LeaseId) -> bool {
        let records = self.end_lease(id);
        records.iter().for_each(|record| record.route.counters.count_acknowledged());
        !records.is_empty()
    }

    /// As [`acknowledge`](Store::acknowledge), by the broker itself.
    pub fn confirm(&mut self, id: LeaseId) -> bool {
        if let Some(Leased { lane, topic, last, .. }) = self.leased.get(&id)
            && let Some(queue) = self.lanes[*lane].queues.get(topic)
        {
            queue.route.counters.note_confirmed(*last);
        }
        self.acknowledge(id)
    }

    /// This moment in the order of admissions.
    pub fn mark(&self) -> Mark {
        Mark(self.next_admission)
    }

    /// What has become, since `mark`, of the records of the topics with these counters.
    pub fn since<'a>(&self, mark: Mark, topics: impl Iterator<Item = &'a TopicCounters>) -> Vec<Since> {
        let is_older = |queue: &TopicQueue| queue.oldest_admission().is_some_and(|oldest| oldest < mark.0);
        let (mut older, mut is_behind) = (HashSet::new(), false);
        for lane in &self.lanes {
            let mut has_older = false;
            for queue in lane.queues.values() {
                let own = is_older(queue);
                has_older |= own;
                // Of what is leased it was the turn.
                if own || is_behind && queue.leased == 0 {
                    older.insert(Arc::as_ptr(&queue.route.counters));
                }
            }
            is_behind |= has_older;
        }
        let since = |counters: &TopicCounters| Since {
            admitted: counters.newest_admitted() >= mark.0,
            confirmed: counters.newest_confirmed() >= mark.0,
            has_older: older.contains(&std::ptr::from_ref(counters)),
        };
        topics.map(since).collect()
    }

    /// What is leased as `id` is dropped for `reason`.
    pub fn discard(&mut self, id: LeaseId, reason: DropReason) -> bool {
        let records = self.end_lease(id);
        records.iter().for_each(|record| self.lose(record, reason));
        !records.is_empty()
    }

    fn end_lease(&mut self, id: LeaseId) -> Vec<Record> {
        let Some(Leased { lane, topic, first, last, .. }) = self.leased.remove(&id) else { return Vec::new() };
        let Some(mut queue) = self.lanes[lane].queues.get_mut(topic) else { return Vec::new() };
        let ended = queue.finish(first..=last, id);
        drop(queue);
        let mut last_number = None;
        for (record, place) in &ended {
            self.used -= record.size();
            record.route.counters.leave_flight();
            if let Some(number) = place.number() {
                self.unrecorded[lane].insert(number, Unrecorded { topic, ends_lease: false });
                last_number = Some(number);
            }
        }
        if let Some(last) = last_number.and_then(|number| self.unrecorded[lane].get_mut(&number)) {
            last.ends_lease = true;
            self.unrecorded_leases += 1;
        }
        self.finished += u64::from(!ended.is_empty());
        ended.into_iter().map(|(record, _)| record).collect()
    }

    /// Takes all leases back. Returns how many records that are.
    pub fn requeue(&mut self) -> usize {
        self.take_back(|_| true)
    }

    /// Takes all leases of a topic back.
    pub fn requeue_topic(&mut self, topic: TopicId) -> usize {
        self.take_back(|other| other == topic)
    }

    fn take_back(&mut self, which: impl Fn(TopicId) -> bool) -> usize {
        let leased = self.leased.extract_if(.., |_, leased| which(leased.topic));
        // Those leased last come first into the round: a connection is closed over the oldest that is in flight, if at all.
        let mut known = HashSet::new();
        let topics = leased.map(|(_, leased)| (leased.lane, leased.topic)).filter(|topic| known.insert(*topic));
        let topics: Vec<_> = topics.collect();
        let topics = topics.into_iter().rev();
        let mut taken_back = 0;
        for (lane, topic) in topics {
            self.lanes[lane].requeue(topic, |record| {
                taken_back += 1;
                record.route.counters.leave_flight();
                record.route.counters.enter_queue();
                let earliest = self.earliest_expiry.map_or(record.expires, |earliest| earliest.min(record.expires));
                self.earliest_expiry = Some(earliest);
            });
        }
        self.arrivals += 1;
        taken_back
    }

    /// Drops every record that waits in memory and has expired. Looks at them only if one can have.
    pub fn expire(&mut self, now: Instant) {
        if self.earliest_expiry.is_none_or(|earliest| earliest > now) {
            return;
        }
        let (mut earliest, mut expired) = (None::<Instant>, Vec::new());
        for lane in &mut self.lanes {
            lane.queues.for_each_mut(|_, queue| {
                queue.drop_expired(now, &mut expired);
                earliest = earliest.into_iter().chain(queue.earliest_expiry()).min();
            });
            lane.tidy_round();
        }
        self.earliest_expiry = earliest;
        for record in expired {
            self.forget_waiting(&record, DropReason::Expired);
        }
    }

    /// The clocks have moved against each other: records expire earlier by the time for which the machine was
    /// suspended, which an [`Instant`] does not count, and were received when the time of day says so that is right
    /// now.
    pub fn shift(&mut self, by: Shift) {
        for lane in &mut self.lanes {
            lane.queues.for_each_mut(|_, queue| queue.shift(by));
            // What lingers does so until earlier.
            lane.tidy_round();
        }
        self.earliest_expiry = self.earliest_expiry.and_then(|earliest| shifted(earliest, -by.suspended));
    }

    /// What was dropped since the last call, each reason once.
    pub fn take_losses(&mut self) -> impl Iterator<Item = Loss> {
        self.losses.drain(..)
    }

    pub fn figures(&self) -> Figures {
        let lanes = std::array::from_fn(|index| {
            let lane: &Lane = &self.lanes[index];
            let oldest = lane.queues.values().filter_map(|queue: &TopicQueue| {
                let in_memory = queue.front.iter().find_map(|entry| entry.record()).map(|record| record.received_ns);
                in_memory.or(queue.gap.as_ref().and_then(|gap| gap.oldest_received_ns))
            });
            LaneFigures {
                queued: lane.sum(TopicQueue::waiting),
                queued_bytes: lane.sum(|queue| queue.waiting_bytes),
                queued_on_disk: lane.sum(|queue| queue.gap.as_ref().map_or(0, |gap: &Gap| gap.records)),
                memory_only: lane.sum(|queue| queue.memory_only),
                in_flight: lane.sum(|queue| queue.leased),
                in_flight_bytes: lane.sum(|queue| queue.leased_bytes),
                oldest_received_ns: oldest.min(),
            }
        });
        Figures { lanes, bound: self.bound, disk: None }
    }

    /// Counts `record`, which waited and is out of its lane, as dropped.
    fn forget_waiting(&mut self, record: &Record, reason: DropReason) {
        self.used -= record.size();
        record.route.counters.leave_queue();
        self.lose(record, reason);
    }

    fn lose(&mut self, record: &Record, reason: DropReason) {
        self.lose_all(&record.route, 1, reason);
    }

    /// Counts `records` of `route` as dropped.
    fn lose_all(&mut self, route: &Arc<Route>, records: u64, reason: DropReason) {
        route.counters.count_dropped_by(reason, records);
        match self.losses.iter_mut().find(|loss| loss.reason == reason) {
            Some(loss) => loss.records += records,
            None => self.losses.push(Loss { reason, records, route: route.clone() }),
        }
    }

    fn note_expiry(&mut self, expires: Instant) {
        self.earliest_expiry = Some(self.earliest_expiry.map_or(expires, |earliest| earliest.min(expires)));
    }
}
