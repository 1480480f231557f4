//! One lane: the topics in it, which take turns.
//!
//! The round is by what a publish costs (deficit round robin, Shreedhar and Varghese 1995, with the debt instead of the
//! credit carried on). Each turn is worth a publish of [`TURN`] bytes. A smaller one costs as much, because publishes are
//! scarce too; after a larger one, or a batch, a topic lets as many turns pass as it had bytes. So neither a flood of
//! small records nor huge ones delay another topic by more than a publish of each.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::LeaseId;
use super::flow::Flow;
use crate::queue::record::TopicKey;
use crate::queue::{Record, Route};

/// Bytes that a topic's turn is worth. AWS IoT Core takes 100 publishes and 512 KiB a second: a publish takes a hundredth
/// of a second of the one quota, and about as much of the other with so many bytes.
const TURN: u64 = 5 << 10;

/// What a publish of `bytes` costs.
fn cost(bytes: u64) -> i64 {
    bytes.max(TURN) as i64
}

#[derive(Debug)]
pub(super) struct Lane {
    pub flows: HashMap<TopicKey, Flow>,
    /// Topics of which a record can be leased, the next one first.
    round: VecDeque<TopicKey>,
    /// What is not on the disk yet, in the order of admission; some of it may be done already.
    unwritten: VecDeque<(TopicKey, u64)>,
    /// What is being written.
    writing: Vec<(TopicKey, u64)>,
    /// When `unwritten` is so long, what is done is taken out.
    tidy_at: usize,
    /// Topics of which something is on the disk only.
    pub gaps: usize,
    next_admission: u64,
}

/// Records that were left on the disk count as admitted before all others.
const FIRST_ADMISSION: u64 = 1 << 48;

/// Shorter lists are not worth looking through.
const LEAST_TIDY: usize = 1024;

impl Default for Lane {
    fn default() -> Self {
        Lane {
            flows: HashMap::new(),
            round: VecDeque::new(),
            unwritten: VecDeque::new(),
            writing: Vec::new(),
            tidy_at: LEAST_TIDY,
            gaps: 0,
            next_admission: FIRST_ADMISSION,
        }
    }
}

impl Lane {
    /// Whether a topic that `ready` accepts has a record.
    pub fn has_next(&self, ready: &dyn Fn(&Flow) -> bool) -> bool {
        self.in_round().any(ready)
    }

    /// The topics of which a record can be leased.
    pub fn in_round(&self) -> impl Iterator<Item = &Flow> {
        self.round.iter().filter_map(|key| self.flows.get(key))
    }

    pub fn is_empty(&self) -> bool {
        self.flows.values().all(|flow| flow.leased == 0 && flow.waiting() == 0 && flow.gap.is_none())
    }

    pub fn flow(&mut self, route: &Arc<Route>) -> &mut Flow {
        self.flows.entry(route.topic()).or_insert_with(|| Flow::new(route.clone()))
    }

    /// Puts a record behind all others of its topic. `writes` says whether it may be for the disk.
    pub fn push(&mut self, record: Record, writes: bool) {
        let (key, admission) = (record.route.topic(), self.next_admission);
        self.next_admission += 1;
        let route = record.route.clone();
        self.flow(&route).push(admission, record);
        if writes {
            self.unwritten.push_back((key, admission));
            if self.unwritten.len() >= self.tidy_at {
                self.tidy_unwritten();
            }
        }
        self.join_round(key);
    }

    /// Takes the next record in turn of the topics that `wanted` accepts and that do not linger. Returns where it is, and
    /// the route to send it by. What has expired on the way to it is `dropped`.
    pub fn lease(
        &mut self,
        id: LeaseId,
        (now, lingers): (Instant, bool),
        wanted: &dyn Fn(&Route) -> bool,
        dropped: &mut Vec<Record>,
    ) -> Option<(TopicKey, u64, Record, Arc<Route>)> {
        if self.gaps > 0 {
            // What is read from the disk is asked for by the same.
            for flow in self.flows.values_mut() {
                flow.is_passed_over = !wanted(&flow.route);
            }
        }
        let ready = |flow: &Flow| wanted(&flow.route) && flow.is_ripe(now, lingers);
        // Topics without credit that have had their turn, and of how many.
        let mut fruitless = (0, 0);
        loop {
            // Looked for once: topics that linger may be thousands.
            let position = self.round.iter().position(|key| self.flows.get(key).is_some_and(&ready))?;
            self.round.rotate_left(position);
            if fruitless.0 > 0 && fruitless.0 >= fruitless.1 {
                self.skip_turns(&ready);
                fruitless = (0, 0);
            }
            let key = *self.round.front()?;
            let flow = self.flows.get_mut(&key)?;
            flow.drop_expired_head(now, dropped);
            let Some(bytes) = flow.peek().map(|record| record.payload.len() as u64) else {
                self.leave_round();
                continue;
            };
            if !ready(flow) {
                self.round.rotate_left(1);
                continue;
            }
            if flow.credit <= 0 {
                flow.credit += TURN as i64;
            }
            if flow.credit <= 0 {
                if fruitless.0 == 0 {
                    fruitless.1 = self.in_round().filter(|flow| ready(flow)).count();
                }
                self.round.rotate_left(1);
                fruitless.0 += 1;
                continue;
            }
            flow.credit -= cost(bytes);
            let is_spent = flow.credit <= 0;
            let (admission, record) = flow.lease(id)?;
            let route = flow.sends_by(&record).clone();
            if flow.peek().is_none() {
                self.leave_round();
            } else if is_spent {
                self.round.rotate_left(1);
            }
            return Some((key, admission, record, route));
        }
    }

    /// Takes more records of the topic `key`, to travel with one whose lease is `id` and that is the last leased of the
    /// topic: those that follow it and of which, and of the route to send it by, `takes` is true. `bytes` are in the publish so far. Answers them, and the
    /// last one's admission. What has expired is `dropped`.
    pub fn lease_more(
        &mut self,
        key: TopicKey,
        id: LeaseId,
        (now, bytes): (Instant, u64),
        mut takes: impl FnMut(&Record, &Arc<Route>) -> bool,
        dropped: &mut Vec<Record>,
    ) -> Option<(Vec<Record>, u64)> {
        let flow = self.flows.get_mut(&key)?;
        let (mut records, mut last, mut more) = (Vec::new(), None, 0);
        loop {
            flow.drop_expired_head(now, dropped);
            if !flow.peek().is_some_and(|record| takes(record, flow.sends_by(record))) {
                break;
            }
            let Some((admission, record)) = flow.lease(id) else { break };
            more += record.payload.len() as u64;
            last = Some(admission);
            records.push(record);
        }
        flow.credit -= cost(bytes + more) - cost(bytes);
        if flow.peek().is_none() && flow.in_round {
            flow.leave_round();
            // Where a lease leaves it.
            if self.round.pop_front_if(|front| *front == key).is_none()
                && self.round.pop_back_if(|back| *back == key).is_none()
            {
                self.round.retain(|other| *other != key);
            }
        }
        Some((records, last?))
    }

    /// Nobody has credit enough: all get that of the turns that would pass until somebody has.
    fn skip_turns(&mut self, ready: &dyn Fn(&Flow) -> bool) {
        let missing = |flow: &Flow| flow.credit.min(0).unsigned_abs() / TURN;
        let turns = self.in_round().filter(|flow| ready(flow)).map(missing).min().unwrap_or(0);
        for key in &self.round {
            if let Some(flow) = self.flows.get_mut(key).filter(|flow| ready(flow)) {
                flow.credit += (turns * TURN) as i64;
            }
        }
    }

    /// The topic whose turn it is has nothing more.
    fn leave_round(&mut self) {
        if let Some(flow) = self.round.pop_front().and_then(|key| self.flows.get_mut(&key)) {
            flow.leave_round();
        }
    }

    /// The topic takes part in the round if it has something.
    pub fn join_round(&mut self, key: TopicKey) {
        if let Some(flow) = self.flows.get_mut(&key)
            && !flow.in_round
            && flow.peek().is_some()
        {
            flow.in_round = true;
            self.round.push_back(key);
        }
    }

    /// Takes topics out of the round that have nothing any more.
    pub fn tidy_round(&mut self) {
        self.round.retain(|key| {
            let Some(flow) = self.flows.get_mut(key) else { return false };
            flow.in_round = flow.peek().is_some();
            flow.in_round
        });
    }

    /// Takes out of the list of what is not on the disk what is done.
    fn tidy_unwritten(&mut self) {
        self.unwritten.retain(|(key, admission)| {
            self.flows
                .get_mut(key)
                .and_then(|flow| flow.entry(*admission))
                .is_some_and(|entry| entry.record().is_some())
        });
        self.tidy_at = (2 * self.unwritten.len()).max(LEAST_TIDY);
    }

    /// Takes what is to be written next, about `bytes`, numbered from `first` on.
    pub fn begin_write(&mut self, first: u64, bytes: u64) -> Vec<Record> {
        let (mut records, mut taken) = (Vec::new(), 0);
        while taken < bytes
            && let Some((key, admission)) = self.unwritten.pop_front()
        {
            let number = first + records.len() as u64;
            if let Some(record) = self.flows.get_mut(&key).and_then(|flow| flow.begin_write(admission, number)) {
                taken += record.size();
                records.push(record);
                self.writing.push((key, admission));
            }
        }
        records
    }

    /// The first `written` records of what was being written are on the disk. The others are not, and are written
    /// again.
    pub fn end_write(&mut self, written: usize) {
        let writing = std::mem::take(&mut self.writing);
        for (index, (key, admission)) in writing.iter().enumerate() {
            if let Some(flow) = self.flows.get_mut(key) {
                flow.end_write(*admission, index < written);
            }
        }
        for token in writing.into_iter().skip(written).rev() {
            self.unwritten.push_front(token);
        }
    }

    /// What has the number `from` or a higher one is not on the disk any more. Answers, by topic, what was only there.
    pub fn forget(&mut self, from: u64) -> Vec<(Arc<Route>, u64)> {
        let flows = self.flows.values_mut();
        let lost = flows.map(|flow| (flow.route.clone(), flow.forget(from))).filter(|(_, lost)| *lost > 0).collect();
        let entries = self.flows.iter().flat_map(|(key, flow)| flow.unwritten().map(|admission| (*key, admission)));
        let mut unwritten: Vec<_> = entries.collect();
        unwritten.sort_unstable_by_key(|(_, admission)| *admission);
        self.unwritten = unwritten.into();
        lost
    }

    /// Counts the topics of which something is on the disk only.
    pub fn count_gaps(&mut self) {
        self.gaps = self.flows.values().filter(|flow| flow.gap.is_some()).count();
    }

    /// Takes all leases back of the topics that `which` names. Each record is shown to `taken_back`.
    pub fn rewind(&mut self, which: impl Fn(TopicKey) -> bool, mut taken_back: impl FnMut(&Record)) {
        let leased = self.flows.iter().filter(|(key, flow)| flow.leased > 0 && which(**key));
        let keys: Vec<_> = leased.map(|(key, _)| *key).collect();
        for key in keys {
            if let Some(flow) = self.flows.get_mut(&key) {
                flow.rewind(&mut taken_back);
            }
            self.join_round(key);
        }
    }

    /// Sum of a figure of all topics.
    pub fn sum(&self, figure: impl Fn(&Flow) -> u64) -> u64 {
        self.flows.values().map(figure).sum()
    }
}
