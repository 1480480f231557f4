//! The disk worker's side of the store: which records go to the disk and come back from there.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::Store;
use super::topic_queues::TopicQueues;
use crate::config::Priority;
use crate::queue::{Record, Route};
use crate::tally::DropReason;
use crate::topics::{TopicId, TopicMap};

/// When records are written to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Never.
    Memory,
    /// While there is no link, or not enough memory.
    Spill,
    /// Always, unless they are acknowledged before their turn comes. No more than `window` publishes, of one record or
    /// a batch, are in flight or done without the disk knowing it.
    Always { window: usize },
}

/// What of a lane is done.
#[derive(Debug, Default, Clone)]
pub struct Done {
    /// All numbers below.
    pub below: u64,
    /// Of these topics also more, which the ledger does not know yet: all numbers below the one that stands with them.
    pub topics: Vec<(TopicId, u64)>,
}

/// Records of a lane that the disk gives up.
#[derive(Debug)]
pub struct Gone {
    pub numbers: Range<u64>,
    /// Those of them that were on the disk only, by topic.
    pub counts: Vec<(Arc<Route>, u64)>,
    pub reason: DropReason,
}

impl Store {
    /// The link has come, or gone.
    pub fn set_link(&mut self, up: bool) {
        self.link_is_up = up;
    }

    /// The disk has failed, or works again.
    pub fn set_disk_works(&mut self, works: bool) {
        self.disk_works = works;
        self.arrivals += 1;
    }

    /// Since when something should be written and is not; `None` if nothing should.
    pub fn to_write_since(&self, closing: bool) -> Option<Instant> {
        let writes = match self.mode {
            Mode::Memory => false,
            Mode::Spill => !self.link_is_up || closing || self.is_pressed(),
            Mode::Always { .. } => true,
        };
        self.unwritten_since.filter(|_| writes && self.memory_only() > 0)
    }

    /// Records that are in memory only.
    pub fn memory_only(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.queues.sums().memory_only).sum()
    }

    /// Whether nothing may be leased before the ledger is written. A disk that fails holds nothing up: then more may
    /// come again after a restart.
    pub fn waits_for_ledger(&self) -> bool {
        match self.mode {
            Mode::Always { window } => {
                let unrecorded = self.unrecorded_leases;
                self.disk_works && unrecorded > 0 && self.leased.len() + unrecorded >= window
            }
            Mode::Memory | Mode::Spill => false,
        }
    }

    /// Leases that have ended for good, since the start.
    pub fn finished(&self) -> u64 {
        self.finished
    }

    /// Forgets what is done of `lane` unless `keep` says otherwise.
    fn retain_unrecorded(&mut self, lane: Priority, keep: impl Fn(&TopicQueues, u64, TopicId) -> bool) {
        let (leases, queues) = (&mut self.unrecorded_leases, &self.lanes[lane as usize].queues);
        self.unrecorded[lane as usize].retain(|number, done| {
            let keeps = keep(queues, *number, done.topic);
            *leases -= usize::from(!keeps && done.ends_lease);
            keeps
        });
    }

    /// Takes what is to be written next of `lane`: about `bytes`, numbered from `first` on.
    pub fn begin_write(&mut self, lane: Priority, first: u64, bytes: u64) -> Vec<Record> {
        self.lanes[lane as usize].begin_write(first, bytes)
    }

    /// Of what was begun at the number `first`, the first `written` records are on the disk. The others are not and
    /// will be written again.
    pub fn end_write(&mut self, lane: Priority, first: u64, written: usize, now: Instant) {
        self.lanes[lane as usize].end_write(first, written);
        // Numbers that were never used: what was acknowledged under them meanwhile is not on the disk.
        let used = first + written as u64;
        self.retain_unrecorded(lane, |_, number, _| number < used);
        self.unwritten_since = (self.memory_only() > 0).then_some(now);
        self.evict();
    }

    /// Whether something is to be read of `lane`: not for each record by itself.
    pub fn has_to_read(&self, lane: Priority) -> bool {
        let queues = &self.lanes[lane as usize].queues;
        queues.has_wanted_gaps() && queues.sums().wanted_ahead <= self.ahead() / 4
    }

    /// What is to be read of `lane` next: the numbers, and about how many bytes.
    pub fn wants_read(&self, lane: Priority) -> Option<(Range<u64>, u64)> {
        if !self.has_to_read(lane) {
            return None;
        }
        let own = &self.lanes[lane as usize];
        // What nobody wants is put back before anything is read.
        let (target, held) = (self.ahead() / 2, own.queues.sums().wanted_ahead);
        let gaps = own.queues.with_gap().filter(|queue| !queue.is_passed_over).filter_map(|queue| queue.gap.as_ref());
        let numbers = gaps.map(|gap| gap.numbers.clone());
        let numbers = numbers.reduce(|all, gap| all.start.min(gap.start)..all.end.max(gap.end))?;
        Some((numbers, target - held))
    }

    /// Gives the memory free of what was read of `lane` and nobody wants now.
    pub fn unread(&mut self, lane: Priority) {
        let own = &mut self.lanes[lane as usize];
        let passed_over: Vec<_> = own.queues.passed_over().collect();
        for topic in passed_over {
            let freed = own.queues.get_mut(topic).map_or(0, |mut queue| queue.unread());
            if freed > 0 {
                self.used -= freed;
                own.tidy_place(topic);
            }
        }
    }

    /// Puts in what was read of `lane` from the number `start` on; `next` is where to go on.
    pub fn end_read(&mut self, lane: Priority, (start, next): (u64, u64), records: Vec<(u64, Record)>, now: Instant) {
        let own = &mut self.lanes[lane as usize];
        // The others have nothing to read.
        let topics: Vec<TopicId> = own.queues.with_gap().map(|queue| queue.route.topic.id).collect();
        for (number, record) in records {
            let topic = record.route.topic.id;
            // What is in memory too, or done, is not missed; nor is what has older ones that were not read.
            let Some(mut queue) = own.queues.get_mut(topic) else { continue };
            if !queue.misses(number) || !queue.is_read_from(start) || queue.is_passed_over {
                continue;
            }
            if record.expires <= now {
                queue.read_expired(number);
                record.route.counters.leave_queue();
                let route = record.route.clone();
                self.lost_while_reading.push((route, 1, DropReason::Expired));
                continue;
            }
            self.used += record.size();
            let expires = record.expires;
            self.earliest_expiry = Some(self.earliest_expiry.map_or(expires, |earliest| earliest.min(expires)));
            queue.read_back(number, record);
            drop(queue);
            own.join_round(topic);
        }
        for &topic in &topics {
            let Some(mut queue) = own.queues.get_mut(topic) else { continue };
            let is_read = !queue.is_passed_over && queue.is_read_from(start);
            let lost = if is_read { queue.read_up_to(next) } else { 0 };
            if lost > 0 {
                queue.route.counters.leave_queue_by(lost);
                self.lost_while_reading.push((queue.route.clone(), lost, DropReason::Damaged));
            }
        }
        self.after_gaps_changed(lane, topics);
    }

    /// Counts what was lost, and lets those of `topics` into the round whose gap is closed.
    fn after_gaps_changed(&mut self, lane: Priority, topics: Vec<TopicId>) {
        self.arrivals += 1;
        let own = &mut self.lanes[lane as usize];
        // Without its gap one may wait for others again.
        own.tidy_round();
        topics.into_iter().for_each(|topic| own.join_round(topic));
        for (route, records, reason) in std::mem::take(&mut self.lost_while_reading) {
            self.lose_all(&route, records, reason);
        }
    }

    /// Records of an earlier process wait on the disk: so many of each topic, with numbers from the one that stands
    /// with them to `next`. Only once, and before anything of `lane` is on the disk or
    /// leased.
    pub fn recover(&mut self, lane: Priority, next: u64, records: Vec<(Arc<Route>, u64, u64)>, oldest: Option<i64>) {
        let own = &mut self.lanes[lane as usize];
        for (route, count, first) in records {
            route.counters.recover(count);
            own.queues.of(&route).recover(first..next, count, oldest);
        }
        own.tidy_round();
    }

    /// What of `lane` has the number `from` or a higher one is not on the disk any more: what is in memory too will be
    /// written again, the rest is lost, and counted.
    pub fn forget(&mut self, lane: Priority, from: u64, now: Instant) {
        for (route, lost) in self.lanes[lane as usize].forget(from) {
            route.counters.leave_queue_by(lost);
            self.lost_while_reading.push((route, lost, DropReason::Damaged));
        }
        self.retain_unrecorded(lane, |_, number, _| number < from);
        self.lanes[lane as usize].queues.forget_recorded();
        if self.memory_only() > 0 {
            self.unwritten_since.get_or_insert(now);
        }
        self.after_gaps_changed(lane, self.lanes[lane as usize].queues.keys().copied().collect());
    }

    /// What of `lane` is done, if the next number is `next`. It costs what has changed since the ledger was written: no other
    /// topic is looked at.
    pub fn done(&self, lane: Priority, next: u64) -> Done {
        let queues = &self.lanes[lane as usize].queues;
        let below = queues.first_undone().map_or(next, |number| number.min(next));
        let topics = queues.to_record().map(|(topic, done)| (topic, done.min(next)));
        Done { below, topics: topics.filter(|(_, done)| *done > below).collect() }
    }

    /// Whether it is known that the ledger says what `done` does.
    pub fn is_recorded(&self, lane: Priority, done: &Done) -> bool {
        done.topics.is_empty() && done.below <= self.lanes[lane as usize].queues.recorded()
    }

    /// The disk knows as done what `done` says.
    pub fn recorded(&mut self, lane: Priority, done: &Done) {
        self.arrivals += 1;
        self.lanes[lane as usize].queues.record(done.below, &done.topics);
        self.retain_unrecorded(lane, |queues, number, topic| number >= queues.recorded_of(topic));
    }

    /// Numbers of `lane` that are leased.
    pub fn leased_numbers(&self, lane: Priority) -> BTreeSet<u64> {
        let leased = self.leased.values().filter(|leased| leased.lane == lane as usize);
        let queues = leased.map(|leased| leased.topic).collect::<BTreeSet<_>>();
        let queues = queues.iter().filter_map(|topic| self.lanes[lane as usize].queues.get(topic));
        let entries = queues.flat_map(|queue| queue.front.iter().take(queue.next));
        entries.filter(|entry| entry.record().is_some()).filter_map(|entry| entry.place.number()).collect()
    }

    /// Where the numbers of `lane` are that are on the disk only, by topic.
    pub fn gaps(&self, lane: Priority) -> TopicMap<Range<u64>> {
        let with_gap = self.lanes[lane as usize].queues.with_gap();
        with_gap.filter_map(|queue| Some((queue.route.topic.id, queue.gap.as_ref()?.numbers.clone()))).collect()
    }

    /// Drops the records that the disk gives up, which were counted when the gaps were `gaps`. Returns false, and does
    /// nothing, if one of them has been leased or read since.
    pub fn give_up(&mut self, lane: Priority, gone: Gone, gaps: &TopicMap<Range<u64>>) -> bool {
        let is_leased = self.leased_numbers(lane).range(gone.numbers.clone()).next().is_some();
        if is_leased || self.gaps(lane) != *gaps {
            return false;
        }
        let mut dropped = Vec::new();
        let own = &mut self.lanes[lane as usize];
        own.queues.for_each_mut(|_, queue| dropped.extend(queue.drop_numbers(&gone.numbers)));
        for (route, records) in gone.counts {
            let records = own.queues.get_mut(route.topic.id).map_or(0, |mut queue| queue.give_up(records));
            route.counters.leave_queue_by(records);
            if records > 0 {
                self.lost_while_reading.push((route, records, gone.reason));
            }
        }
        own.queues.for_each_mut(|_, queue| {
            let starts_there = queue.gap.as_ref().is_some_and(|gap| gone.numbers.contains(&gap.numbers.start));
            let is_empty = queue.gap.as_ref().is_some_and(|gap| gap.records == 0);
            if starts_there || is_empty {
                let lost = queue.read_up_to(if starts_there { gone.numbers.end } else { 0 });
                if lost > 0 {
                    queue.route.counters.leave_queue_by(lost);
                    self.lost_while_reading.push((queue.route.clone(), lost, DropReason::Damaged));
                }
            }
        });
        own.tidy_round();
        for record in dropped {
            self.forget_waiting(&record, gone.reason);
        }
        self.after_gaps_changed(lane, self.lanes[lane as usize].queues.keys().copied().collect());
        true
    }

    /// Whether nothing is leased.
    pub fn nothing_leased(&self) -> bool {
        self.leased.is_empty()
    }
}
