//! Topics of which nothing is left are forgotten, so that no list of them only grows.
//!
//! The lane needs a topic as long as it has records of it, and as long as the ledger does not know that all of them are
//! done: of a topic that is not there it would say nothing, and the next process would send again what it finds. Beyond
//! that whoever makes records of it wants it kept, for its place in the round. Records of a topic whose priority has
//! changed come to another lane: the one where they came before forgets it once it is empty.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::lane::Lane;
use super::topic_queue::TopicQueue;
use super::{Mode, Store};
use crate::config::Priority;
use crate::queue::disk::LANES;
use crate::topics::TopicId;

/// How often it is looked for them.
const APART: Duration = Duration::from_secs(1);

/// A table for fewer topics is not worth shrinking.
const LEAST: usize = 64;

impl TopicQueue {
    /// Whether nobody would miss it in `lane`, of which the ledger knows all numbers below `recorded` as done.
    fn is_unused(&self, lane: Priority, recorded: u64) -> bool {
        let is_empty = self.front.is_empty() && self.back.is_empty() && self.gap.is_none() && !self.in_round;
        is_empty
            && (self.route.priority != lane || self.has_its_routes_alone())
            && self.numbered <= self.recorded.max(recorded)
    }

    /// Whether nobody else has its routes, and so nobody makes records with them.
    fn has_its_routes_alone(&self) -> bool {
        let own = [Some(&self.route), self.in_force.as_ref()];
        let own = || own.into_iter().flatten();
        own().all(|route| Arc::strong_count(route) == own().filter(|other| Arc::ptr_eq(other, route)).count())
    }
}

impl Lane {
    fn forget_unused(&mut self, own: Priority, mut forgotten: impl FnMut(TopicId)) {
        let recorded = self.queues.recorded();
        self.queues.retain(|topic, queue| {
            let is_unused = queue.is_unused(own, recorded);
            if is_unused {
                forgotten(topic);
            }
            !is_unused
        });
        if self.queues.capacity() > 4 * self.queues.len().max(LEAST) {
            self.queues.shrink_to(2 * self.queues.len());
        }
    }
}

impl Store {
    /// Forgets the topics that nobody would miss, if it is time to look for them.
    pub fn forget_unused(&mut self, now: Instant) {
        if self.looked_for_unused.is_some_and(|looked| now.saturating_duration_since(looked) < APART) {
            return;
        }
        self.looked_for_unused = Some(now);
        let has_disk = self.mode != Mode::Memory;
        for (priority, lane) in LANES.into_iter().zip(&mut self.lanes) {
            lane.forget_unused(priority, |topic| {
                if has_disk {
                    self.forgotten.push((priority, topic));
                }
            });
        }
    }

    /// The topics that were forgotten since the last call, by lane, and are not there again.
    pub fn take_forgotten(&mut self) -> Vec<(Priority, TopicId)> {
        let mut forgotten = std::mem::take(&mut self.forgotten);
        forgotten.retain(|(lane, topic)| !self.lanes[*lane as usize].queues.contains_key(topic));
        forgotten
    }

    /// How often a topic was changed, of all lanes.
    #[cfg(test)]
    pub fn changes(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.queues.changes()).sum()
    }

    /// How many topics are known, of all lanes.
    #[cfg(test)]
    pub fn topics(&self) -> usize {
        self.lanes.iter().map(|lane| lane.queues.len()).sum()
    }
}
