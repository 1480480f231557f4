//! The topics of a lane, and what is asked of all of them at each admission and lease: kept as it changes, not looked
//! for.

use std::collections::{BTreeSet, HashMap};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::topic_queue::TopicQueue;
use crate::queue::Route;
use crate::topics::TopicId;

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
    queues: HashMap<TopicId, TopicQueue>,
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
}

impl Totals {
    /// `queue` was as `before` says.
    fn note(&mut self, topic: TopicId, before: Sums, queue: &TopicQueue) {
        #[cfg(test)]
        {
            self.changes += 1;
        }
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
    before: Sums,
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

    pub fn get_mut(&mut self, topic: TopicId) -> Option<Changing<'_>> {
        let queue = self.queues.get_mut(&topic)?;
        let before = Sums::of(queue);
        Some(Changing { topic, queue, totals: &mut self.totals, before })
    }

    /// The topic of `route`, which is new if there is none.
    pub fn of(&mut self, route: &Arc<Route>) -> Changing<'_> {
        let topic = route.topic.id;
        let queue = self.queues.entry(topic).or_insert_with(|| TopicQueue::new(route.clone()));
        let before = Sums::of(queue);
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
            let before = Sums::of(queue);
            change(topic, &mut Changing { topic, queue, totals: &mut self.totals, before });
        }
    }
}

impl Deref for TopicQueues {
    type Target = HashMap<TopicId, TopicQueue>;

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
