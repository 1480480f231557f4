//! The topics of a lane, and what is asked of all of them at each admission and lease: kept as it changes, not looked
//! for.

use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::topic_queue::TopicQueue;
use crate::queue::Route;
use crate::topics::{TopicId, TopicMap};

/// Figures of all topics of a lane together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// Records, waiting or leased, that are not on the disk.
    pub memory_only: u64,
    /// Bytes in memory that are sent before a gap is read.
    pub ahead: u64,
    /// Those of them that somebody wants now.
    pub wanted_ahead: u64,
    /// Bytes that could give way to others.
    pub may_give_way: u64,
}

impl Sums {
    pub fn of(queue: &TopicQueue) -> Sums {
        let ahead = if queue.gap.is_some() { queue.front_bytes() } else { 0 };
        let wanted_ahead = if queue.is_passed_over { 0 } else { ahead };
        Sums { memory_only: queue.memory_only, ahead, wanted_ahead, may_give_way: queue.may_give_way() }
    }

    fn replace(&mut self, before: Sums, after: Sums) {
        self.memory_only = self.memory_only - before.memory_only + after.memory_only;
        self.ahead = self.ahead - before.ahead + after.ahead;
        self.wanted_ahead = self.wanted_ahead - before.wanted_ahead + after.wanted_ahead;
        self.may_give_way = self.may_give_way - before.may_give_way + after.may_give_way;
    }
}

/// The topics of a lane; reads are those of a map.
#[derive(Debug, Default)]
pub(super) struct TopicQueues {
    queues: TopicMap<TopicQueue>,
    totals: Totals,
}

#[derive(Debug, Default)]
struct Totals {
    sums: Sums,
    /// How often a topic was changed.
    #[cfg(test)]
    changes: u64,
    /// Topics of which something is on the disk only.
    with_gap: BTreeSet<TopicId>,
    /// Those of them that nobody wants now.
    passed_over: BTreeSet<TopicId>,
    /// Topics of which something may be given free, because the disk has it too.
    evictable: BTreeSet<TopicId>,
    /// Topics of which something could give way, and how many bytes: the most last.
    by_size: BTreeSet<(u64, TopicId)>,
    /// Topics of which something is not done that is on the disk, or on its way there, with its lowest number.
    undone: BTreeSet<(u64, TopicId)>,
    /// The number below which the ledger knows all of the lane as done.
    recorded: u64,
    /// Topics of which more is done than the ledger knows.
    to_record: BTreeSet<TopicId>,
}

/// A topic before it is changed.
#[derive(Debug, Clone, Copy)]
struct Before {
    sums: Sums,
    first_undone: Option<u64>,
}

impl Before {
    fn of(queue: &TopicQueue) -> Before {
        Before { sums: Sums::of(queue), first_undone: queue.first_undone() }
    }
}

impl Totals {
    /// `queue` was as `before` says.
    fn note(&mut self, topic: TopicId, Before { sums: before, first_undone }: Before, queue: &TopicQueue) {
        #[cfg(test)]
        {
            self.changes += 1;
        }
        self.note_done(topic, first_undone, queue);
        let after = Sums::of(queue);
        self.sums.replace(before, after);
        if before.may_give_way != after.may_give_way {
            self.by_size.remove(&(before.may_give_way, topic));
            if after.may_give_way > 0 {
                self.by_size.insert((after.may_give_way, topic));
            }
        }
        let has_gap = queue.gap.is_some();
        put(&mut self.with_gap, topic, has_gap);
        put(&mut self.passed_over, topic, has_gap && queue.is_passed_over);
        put(&mut self.evictable, topic, queue.has_evictable());
    }

    /// `before` was the lowest number of `queue` that was not done.
    fn note_done(&mut self, topic: TopicId, before: Option<u64>, queue: &TopicQueue) {
        let after = queue.first_undone();
        if before != after {
            before.map(|number| self.undone.remove(&(number, topic)));
            self.undone.extend(after.map(|number| (number, topic)));
        }
        let is_to_record = self.is_to_record(queue);
        put(&mut self.to_record, topic, is_to_record);
    }

    fn is_to_record(&self, queue: &TopicQueue) -> bool {
        queue.done() > queue.recorded.max(self.recorded)
    }
}

/// Sees to it that `topic` is in `set`, or is not.
fn put(set: &mut BTreeSet<TopicId>, topic: TopicId, is_in: bool) {
    if is_in {
        set.insert(topic);
    } else if !set.is_empty() {
        set.remove(&topic);
    }
}

/// A topic that may change. What it adds to the figures of all is put right when this is dropped.
pub(super) struct Changing<'a> {
    topic: TopicId,
    queue: &'a mut TopicQueue,
    totals: &'a mut Totals,
    before: Before,
}

impl TopicQueues {
    /// The figures of all topics.
    pub fn sums(&self) -> Sums {
        self.totals.sums
    }

    /// How often a topic was changed.
    #[cfg(test)]
    pub fn changes(&self) -> u64 {
        self.totals.changes
    }

    /// Whether something is on the disk only.
    pub fn has_gaps(&self) -> bool {
        !self.totals.with_gap.is_empty()
    }

    /// The topics of which something is on the disk only.
    pub fn with_gap(&self) -> impl Iterator<Item = &TopicQueue> {
        self.totals.with_gap.iter().filter_map(|topic| self.queues.get(topic))
    }

    /// Whether something is on the disk only that somebody wants now.
    pub fn has_wanted_gaps(&self) -> bool {
        self.totals.with_gap.len() > self.totals.passed_over.len()
    }

    /// The topics of which something is on the disk only and that nobody wants now.
    pub fn passed_over(&self) -> impl Iterator<Item = TopicId> {
        self.totals.passed_over.iter().copied()
    }

    /// The topics of which something may be given free, because the disk has it too.
    pub fn evictable(&self) -> impl Iterator<Item = (TopicId, &TopicQueue)> {
        self.totals.evictable.iter().filter_map(|topic| Some((*topic, self.queues.get(topic)?)))
    }

    /// The topic that could give the most way to others.
    pub fn largest(&self) -> Option<TopicId> {
        self.totals.by_size.last().map(|(_, topic)| *topic)
    }

    /// The lowest number of all topics that is not done, if one is on the disk or on its way there.
    pub fn first_undone(&self) -> Option<u64> {
        self.totals.undone.first().map(|(number, _)| *number)
    }

    /// The topics of which more is done than the ledger knows, and the number below which all of each is.
    pub fn to_record(&self) -> impl Iterator<Item = (TopicId, u64)> {
        self.totals.to_record.iter().filter_map(|topic| Some((*topic, self.queues.get(topic)?.done())))
    }

    /// The number below which the ledger knows all of the lane as done.
    pub fn recorded(&self) -> u64 {
        self.totals.recorded
    }

    /// The number below which the ledger knows all of `topic` as done.
    pub fn recorded_of(&self, topic: TopicId) -> u64 {
        self.queues.get(&topic).map_or(0, |queue| queue.recorded).max(self.totals.recorded)
    }

    /// The ledger knows as done all below the number `below`, and of each of `topics` all below the one beside it.
    pub fn record(&mut self, below: u64, topics: &[(TopicId, u64)]) {
        self.totals.recorded = below;
        for (topic, done) in topics {
            if let Some(queue) = self.queues.get_mut(topic) {
                queue.recorded = queue.recorded.max(*done);
            }
        }
        let mut to_record = std::mem::take(&mut self.totals.to_record);
        to_record.retain(|topic| self.queues.get(topic).is_some_and(|queue| self.totals.is_to_record(queue)));
        self.totals.to_record = to_record;
    }

    /// The ledger knows nothing, as far as anybody knows.
    pub fn forget_recorded(&mut self) {
        self.totals.recorded = 0;
        self.for_each_mut(|_, queue| queue.recorded = 0);
    }

    pub fn get_mut(&mut self, topic: TopicId) -> Option<Changing<'_>> {
        let queue = self.queues.get_mut(&topic)?;
        let before = Before::of(queue);
        Some(Changing { topic, queue, totals: &mut self.totals, before })
    }

    /// The topic of `route`, which is new if there is none.
    pub fn of(&mut self, route: &Arc<Route>) -> Changing<'_> {
        let topic = route.topic.id;
        let queue = self.queues.entry(topic).or_insert_with(|| TopicQueue::new(route.clone()));
        let before = Before::of(queue);
        Changing { topic, queue, totals: &mut self.totals, before }
    }

    /// Forgets the topics that `keeps` does not keep, of which there is nothing, neither in memory nor on the disk.
    pub fn retain(&mut self, mut keeps: impl FnMut(TopicId, &TopicQueue) -> bool) {
        self.queues.retain(|topic, queue| keeps(*topic, queue));
    }

    /// Gives memory free that more than `least` topics would take.
    pub fn shrink_to(&mut self, least: usize) {
        self.queues.shrink_to(least);
    }

    /// Changes every topic.
    pub fn for_each_mut(&mut self, mut change: impl FnMut(TopicId, &mut TopicQueue)) {
        for (&topic, queue) in &mut self.queues {
            let before = Before::of(queue);
            change(topic, &mut Changing { topic, queue, totals: &mut self.totals, before });
        }
    }
}

impl Deref for TopicQueues {
    type Target = TopicMap<TopicQueue>;

    fn deref(&self) -> &Self::Target {
        &self.queues
    }
}

impl Deref for Changing<'_> {
    type Target = TopicQueue;

    fn deref(&self) -> &TopicQueue {
        self.queue
    }
}

impl DerefMut for Changing<'_> {
    fn deref_mut(&mut self) -> &mut TopicQueue {
        self.queue
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.totals.note(self.topic, self.before, self.queue);
    }
}
