//! What holds of the store between any two calls, for tests.

use std::time::Instant;

use super::flow::{Entry, Flow, State};
use super::flows::Sums;
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
        let flows = || self.lanes.iter().flat_map(|lane| lane.flows.values());
        flows().for_each(check_flow);
        let bytes = |flow: &Flow| entries(flow).filter_map(Entry::record).map(Record::size).sum::<u64>();
        assert_eq!(self.used, flows().map(bytes).sum::<u64>(), "bytes in memory");
        assert!(self.used <= self.bound, "{} bytes in memory", self.used);
        for lane in &self.lanes {
            let with_gap = lane.flows.values().filter(|flow| flow.gap.is_some());
            assert_eq!(lane.flows.with_gap().count(), with_gap.count());
            let sum = lane.flows.values().map(Sums::of).fold(Sums::default(), |sum, of| Sums {
                memory_only: sum.memory_only + of.memory_only,
                ahead: sum.ahead + of.ahead,
                wanted_ahead: sum.wanted_ahead + of.wanted_ahead,
                may_give_way: sum.may_give_way + of.may_give_way,
            });
            assert_eq!(lane.flows.sums(), sum, "figures of all topics");
            let most = lane.flows.values().map(Flow::may_give_way).max().unwrap_or(0);
            let largest = lane.flows.largest().and_then(|topic| lane.flows.get(&topic)).map_or(0, Flow::may_give_way);
            assert_eq!(largest, most, "the topic that gives way first");
            let passed_over = lane.flows.values().filter(|flow| flow.gap.is_some() && flow.is_passed_over).count();
            assert_eq!(lane.flows.passed_over().count(), passed_over);
            let evictable: u64 = lane.flows.values().map(Flow::evictable).sum();
            assert_eq!(lane.flows.evictable().map(|(_, flow)| flow.evictable()).sum::<u64>(), evictable);
            for flow in lane.flows.values() {
                assert_eq!(flow.in_round, lane.in_round().any(|other| std::ptr::eq(other, flow)));
                assert!(!flow.in_round || flow.lingers_until.is_none(), "a topic lingers in the round");
                let waits = flow.peek().is_some() && !flow.in_round;
                assert_eq!(flow.lingers_until.is_some(), waits, "a topic waits outside of the round");
                assert!(!waits || flow.waits_for_others() == flow.lingers_until, "a topic lingers too long");
            }
            assert_eq!(
                lane.lingering().count(),
                lane.flows.values().filter(|flow| flow.lingers_until.is_some()).count()
            );
        }
        assert!(self.leased.len() as u64 <= flows().map(|flow| flow.leased).sum::<u64>(), "a lease without a record");
    }

    /// Whether a record can be leased at `now`, as each topic by itself says, unless the ledger is waited for.
    pub fn is_ready(&self, now: Instant) -> bool {
        let flows = || self.lanes.iter().flat_map(|lane| lane.flows.values());
        flows().any(|flow| flow.peek().is_some() && flow.waits_for_others().is_none_or(|when| when <= now))
    }

    /// What is durable, by topic.
    pub fn durable(&self) -> Vec<Durable> {
        let durable = self.lanes.iter().flat_map(|lane| lane.flows.values()).map(|flow| Durable {
            ros: flow.route.ros.clone(),
            in_memory: entries(flow).filter(|e| e.place.is_durable()).filter_map(|e| e.record().cloned()).collect(),
            on_disk_only: flow.gap.as_ref().map_or(0, |gap| gap.records),
        });
        durable.collect()
    }
}

fn entries(flow: &Flow) -> impl Iterator<Item = &Entry> {
    flow.front.iter().chain(&flow.back)
}

fn check_flow(flow: &Flow) {
    let sum = |which: &dyn Fn(&Entry) -> bool| {
        let records = entries(flow).filter(|entry| which(entry)).filter_map(Entry::record);
        records.fold((0, 0), |(count, bytes), record| (count + 1, bytes + record.size()))
    };
    let is_waiting = |entry: &Entry| entry.waiting().is_some();
    assert_eq!(sum(&is_waiting), (flow.waiting(), flow.waiting_bytes), "what waits");
    assert_eq!(sum(&|entry| matches!(entry.state, State::Leased(..))), (flow.leased, flow.leased_bytes), "leased");
    assert_eq!(sum(&|entry| !entry.place.is_durable()).0, flow.memory_only, "in memory only");
    assert_eq!(sum(&|entry| is_waiting(entry) && entry.place.is_durable()).1, flow.on_disk_bytes, "on the disk too");
    let is_unwritten = |entry: &Entry| is_waiting(entry) && entry.place == Place::Memory;
    assert_eq!(sum(&is_unwritten).1, flow.unwritten_bytes, "neither on the disk nor on its way there");
    assert!(flow.gap.is_none() || !flow.front.iter().any(is_unwritten), "before a gap and not on the disk");
    let front: u64 = flow.front.iter().filter_map(Entry::record).map(Record::size).sum();
    assert_eq!(front, flow.front_bytes(), "bytes of the front");
    assert!(flow.gap.is_some() || flow.back.is_empty(), "a back without a gap");
    assert!(flow.back.iter().all(is_waiting), "leased from behind a gap");
    let first = flow.front.iter().position(is_waiting).unwrap_or(flow.front.len());
    assert_eq!(first, flow.next, "the next to be leased");
    assert!(entries(flow).map(|entry| entry.admission).is_sorted_by(|one, other| one < other), "admissions");
    let numbers = |entries: &std::collections::VecDeque<Entry>| -> Vec<u64> {
        entries.iter().filter_map(|entry| entry.place.number()).collect()
    };
    let mut all = numbers(&flow.front);
    if let Some(gap) = &flow.gap {
        assert!(gap.records > 0 && !gap.numbers.is_empty(), "an empty gap: {gap:?}");
        assert!(flow.front.back().is_none_or(|entry| entry.admission < gap.next_admission));
        assert!(flow.back.front().is_none_or(|entry| entry.admission >= gap.next_admission + gap.records));
        all.extend([gap.numbers.start, gap.numbers.end - 1]);
        all.dedup();
    }
    all.extend(numbers(&flow.back));
    assert!(all.is_sorted_by(|one, other| one < other), "numbers: {all:?}");
    let places: Vec<u8> = entries(flow)
        .filter(|entry| entry.record().is_some())
        .map(|entry| match entry.place {
            Place::Disk(_) => 0,
            Place::Writing(_) => 1,
            Place::Memory => 2,
        })
        .collect();
    assert!(places.is_sorted(), "the disk does not hold the oldest: {places:?}");
}
