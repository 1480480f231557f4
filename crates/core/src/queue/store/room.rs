//! Room in memory: what is forgotten because the disk has it, and what gives way.

use std::collections::BinaryHeap;

use super::Store;
use crate::config::Overflow;
use crate::queue::Record;
use crate::tally::DropReason;

/// What is read of a lane ahead of its turn, at least: room for two of the largest payloads and one on its way.
const LEAST_AHEAD: u64 = 320 << 10;

/// The part of what waits of a topic that stays in memory when the rest is left to the disk.
const KEPT: u64 = 8;

impl Store {
    /// Whether memory is short: three quarters of it are taken.
    pub fn is_pressed(&self) -> bool {
        self.used + self.reserved() > self.bound / 4 * 3
    }

    pub(super) fn lacks_room(&self, record: &Record) -> bool {
        self.used + self.reserved() + record.size() > self.bound
    }

    /// Bytes of a lane that are read ahead of its turn at most.
    pub(super) fn ahead(&self) -> u64 {
        (self.bound / 8).max(LEAST_AHEAD)
    }

    /// Bytes that are kept free for what is to be read from the disk.
    pub(super) fn reserved(&self) -> u64 {
        let with_gap = self.lanes.iter().filter(|lane| lane.queues.has_gaps());
        with_gap.map(|lane| self.ahead().saturating_sub(lane.queues.sums().ahead)).sum()
    }

    /// Makes room for `newcomer` as the overflow policy says: of the lowest lane, the topic that takes the most gives
    /// its oldest. Drops nothing, and returns false, if that is not possible.
    pub(super) fn make_room(&mut self, newcomer: &Record) -> bool {
        if self.overflow == Overflow::DropNewest {
            return false;
        }
        let own_lane = newcomer.route.priority as usize;
        let may_go: u64 = self.lanes[own_lane..].iter().map(|lane| lane.queues.sums().may_give_way).sum();
        if self.used + self.reserved() - may_go + newcomer.size() > self.bound {
            return false;
        }
        for index in (own_lane..self.lanes.len()).rev() {
            while self.lacks_room(newcomer) {
                let lane = &mut self.lanes[index];
                let Some(topic) = lane.queues.largest() else { break };
                let oldest = lane.queues.get_mut(topic).and_then(|mut queue| queue.give_way());
                lane.tidy_place(topic);
                let Some(oldest) = oldest else { break };
                self.forget_waiting(&oldest, DropReason::Overflow);
            }
        }
        true
    }

    /// Gives memory free of what is on the disk too, if memory is more than half full: of the lowest lanes first, and
    /// there of the topics that take the most.
    pub fn evict(&mut self) {
        for index in (0..self.lanes.len()).rev() {
            if self.used + self.reserved() <= self.bound / 2 {
                continue;
            }
            let topics = self.lanes[index].queues.evictable();
            let mut by_size: BinaryHeap<_> = topics.map(|(topic, queue)| (queue.evictable(), topic)).collect();
            while self.used + self.reserved() > self.bound / 2
                && let Some((evictable, topic)) = by_size.pop()
            {
                let Some(mut queue) = self.lanes[index].queues.get_mut(topic) else { break };
                let evicted = queue.evict(evictable / KEPT);
                by_size.push((queue.evictable(), topic));
                drop(queue);
                if evicted == 0 {
                    break;
                }
                self.used -= evicted;
                // Nothing waits for others in front of a gap.
                self.lanes[index].join_round(topic);
            }
        }
    }
}
