//! What holds of the store between any two calls, for tests.

use std::time::Instant;

use super::topic_queue::{Entry, State, TopicQueue};
use super::topic_queues::Sums;
use super::{Place, Store};
use crate::queue::Record;

/// What of a topic is durable, as the store knows it.
#[derive(Debug)]
pub struct Durable {
    pub ros: String,
    /// Records that are in memory too, waiting or leased.
    pub in_memory: Vec<Record>,
    /// How many are on the disk only.
    pub on_disk_only: u64,
}

impl Store {
    /// Panics unless all figures are what the records say, and the order of the numbers is that of the records.
    pub fn check(&self) {
        let queues = || self.lanes.iter().flat_map(|lane| lane.queues.values());
        queues().for_each(check_queue);
        let bytes = |queue: &TopicQueue| entries(queue).filter_map(Entry::record).map(Record::size).sum::<u64>();
        assert_eq!(self.used, queues().map(bytes).sum::<u64>(), "bytes in memory");
        assert!(self.used <= self.bound, "{} bytes in memory", self.used);
        for lane in &self.lanes {
            let with_gap = lane.queues.values().filter(|queue| queue.gap.is_some());
            assert_eq!(lane.queues.with_gap().count(), with_gap.count());
            let sum = lane.queues.values().map(Sums::of).fold(Sums::default(), |sum, of| Sums {
                memory_only: sum.memory_only + of.memory_only,
                ahead: sum.ahead + of.ahead,
                wanted_ahead: sum.wanted_ahead + of.wanted_ahead,
                may_give_way: sum.may_give_way + of.may_give_way,
            });
            assert_eq!(lane.queues.sums(), sum, "figures of all topics");
            let most = lane.queues.values().map(TopicQueue::may_give_way).max().unwrap_or(0);
            let largest =
                lane.queues.largest().and_then(|topic| lane.queues.get(&topic)).map_or(0, TopicQueue::may_give_way);
            assert_eq!(largest, most, "the topic that gives way first");
            let passed_over = lane.queues.values().filter(|queue| queue.gap.is_some() && queue.is_passed_over).count();
            assert_eq!(lane.queues.passed_over().count(), passed_over);
            let evictable: u64 = lane.queues.values().map(TopicQueue::evictable).sum();
            assert_eq!(lane.queues.evictable().map(|(_, queue)| queue.evictable()).sum::<u64>(), evictable);
            let undone = lane.queues.values().filter_map(TopicQueue::first_undone).min();
            assert_eq!(lane.queues.first_undone(), undone, "the first that is not done");
            let recorded = lane.queues.recorded();
            let to_record = lane.queues.iter().filter(|(_, queue)| queue.done() > queue.recorded.max(recorded));
            let mut to_record: Vec<_> = to_record.map(|(topic, queue)| (*topic, queue.done())).collect();
            to_record.sort_unstable();
            assert_eq!(lane.queues.to_record().collect::<Vec<_>>(), to_record, "what the ledger does not know");
            for queue in lane.queues.values() {
                assert_eq!(queue.in_round, lane.in_round().any(|other| std::ptr::eq(other, queue)));
                assert!(!queue.in_round || queue.lingers_until.is_none(), "a topic lingers in the round");
                let waits = queue.peek().is_some() && !queue.in_round;
                assert_eq!(queue.lingers_until.is_some(), waits, "a topic waits outside of the round");
                assert!(!waits || queue.waits_for_others() == queue.lingers_until, "a topic lingers too long");
            }
            assert_eq!(
                lane.lingering().count(),
                lane.queues.values().filter(|queue| queue.lingers_until.is_some()).count()
            );
        }
        assert!(
            self.leased.len() as u64 <= queues().map(|queue| queue.leased).sum::<u64>(),
            "a lease without a record"
        );
    }

    /// Whether a record can be leased at `now`, as each topic by itself says, unless the ledger is waited for.
    pub fn is_ready(&self, now: Instant) -> bool {
        let queues = || self.lanes.iter().flat_map(|lane| lane.queues.values());
        queues().any(|queue| queue.peek().is_some() && queue.waits_for_others().is_none_or(|when| when <= now))
    }

    /// What is durable, by topic.
    pub fn durable(&self) -> Vec<Durable> {
        let durable = self.lanes.iter().flat_map(|lane| lane.queues.values()).map(|queue| Durable {
            ros: queue.route.ros.clone(),
            in_memory: entries(queue).filter(|e| e.place.is_durable()).filter_map(|e| e.record().cloned()).collect(),
            on_disk_only: queue.gap.as_ref().map_or(0, |gap| gap.records),
        });
        durable.collect()
    }
}

fn entries(queue: &TopicQueue) -> impl Iterator<Item = &Entry> {
    queue.front.iter().chain(&queue.back)
}

fn check_queue(queue: &TopicQueue) {
    let sum = |which: &dyn Fn(&Entry) -> bool| {
        let records = entries(queue).filter(|entry| which(entry)).filter_map(Entry::record);
        records.fold((0, 0), |(count, bytes), record| (count + 1, bytes + record.size()))
    };
    let is_waiting = |entry: &Entry| entry.waiting().is_some();
    assert_eq!(sum(&is_waiting), (queue.waiting(), queue.waiting_bytes), "what waits");
    assert_eq!(sum(&|entry| matches!(entry.state, State::Leased(..))), (queue.leased, queue.leased_bytes), "leased");
    assert_eq!(sum(&|entry| !entry.place.is_durable()).0, queue.memory_only, "in memory only");
    assert_eq!(sum(&|entry| is_waiting(entry) && entry.place.is_durable()).1, queue.on_disk_bytes, "on the disk too");
    let is_unwritten = |entry: &Entry| is_waiting(entry) && entry.place == Place::Memory;
    assert_eq!(sum(&is_unwritten).1, queue.unwritten_bytes, "neither on the disk nor on its way there");
    assert!(queue.gap.is_none() || !queue.front.iter().any(is_unwritten), "before a gap and not on the disk");
    let front: u64 = queue.front.iter().filter_map(Entry::record).map(Record::size).sum();
    assert_eq!(front, queue.front_bytes(), "bytes of the front");
    assert!(queue.gap.is_some() || queue.back.is_empty(), "a back without a gap");
    assert!(queue.back.iter().all(is_waiting), "leased from behind a gap");
    let first = queue.front.iter().position(is_waiting).unwrap_or(queue.front.len());
    assert_eq!(first, queue.next, "the next to be leased");
    assert!(entries(queue).map(|entry| entry.admission).is_sorted_by(|one, other| one < other), "admissions");
    let numbers = |entries: &std::collections::VecDeque<Entry>| -> Vec<u64> {
        entries.iter().filter_map(|entry| entry.place.number()).collect()
    };
    let mut all = numbers(&queue.front);
    if let Some(gap) = &queue.gap {
        assert!(gap.records > 0 && !gap.numbers.is_empty(), "an empty gap: {gap:?}");
        assert!(queue.front.back().is_none_or(|entry| entry.admission < gap.next_admission));
        assert!(queue.back.front().is_none_or(|entry| entry.admission >= gap.next_admission + gap.records));
        all.extend([gap.numbers.start, gap.numbers.end - 1]);
        all.dedup();
    }
    all.extend(numbers(&queue.back));
    assert!(all.is_sorted_by(|one, other| one < other), "numbers: {all:?}");
    let places: Vec<u8> = entries(queue)
        .filter(|entry| entry.record().is_some())
        .map(|entry| match entry.place {
            Place::Disk(_) => 0,
            Place::Writing(_) => 1,
            Place::Memory => 2,
        })
        .collect();
    assert!(places.is_sorted(), "the disk does not hold the oldest: {places:?}");
}
