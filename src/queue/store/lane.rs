//! One lane: the topics in it, which take turns.
//!
//! The round is by bytes (deficit round robin, Shreedhar and Varghese 1995): each turn gives a topic credit for a few
//! small records, and a topic with larger ones waits until its credit is enough. So neither a flood of small records
//! nor huge ones delay another topic by more than a turn of each.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::LeaseId;
use super::flow::Flow;
use crate::queue::record::TopicKey;
use crate::queue::{Record, Route};

/// Bytes that a topic's turn is worth: a small record or two. AWS IoT Core takes a hundred publishes a second, so ten of
/// another topic's in between are a tenth of a second.
const TURN: u64 = 512;

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
    /// Whether a record of a topic that `wanted` accepts can be leased.
    pub fn has_next(&self, wanted: &dyn Fn(&Route) -> bool) -> bool {
        self.round.iter().filter_map(|key| self.flows.get(key)).any(|flow| wanted(&flow.route))
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

    /// Takes the next record in turn of the topics that `wanted` accepts. Answers where it is. What has expired on the way to it is `dropped`.
    pub fn lease(
        &mut self,
        id: LeaseId,
        now: Instant,
        wanted: &dyn Fn(&Route) -> bool,
        dropped: &mut Vec<Record>,
    ) -> Option<(TopicKey, u64, Record)> {
        for flow in self.flows.values_mut() {
            flow.is_passed_over = !wanted(&flow.route);
        }
        if !self.has_next(wanted) {
            return None;
        }
        let mut fruitless = 0;
        loop {
            if fruitless > self.round.len() {
                self.skip_turns();
                fruitless = 0;
            }
            let key = *self.round.front()?;
            let flow = self.flows.get_mut(&key)?;
            if flow.is_passed_over {
                self.round.rotate_left(1);
                continue;
            }
            flow.drop_expired_head(now, dropped);
            let Some(size) = flow.peek().map(Record::size) else {
                self.leave_round();
                if !self.has_next(wanted) {
                    return None;
                }
                continue;
            };
            if flow.credit < size {
                flow.credit += TURN;
                self.round.rotate_left(1);
                fruitless += 1;
                continue;
            }
            flow.credit -= size;
            let (admission, record) = flow.lease(id)?;
            if flow.peek().is_none() {
                self.leave_round();
            }
            return Some((key, admission, record));
        }
    }

    /// Nobody has credit enough: all get that of the turns that would pass until somebody has.
    fn skip_turns(&mut self) {
        let missing = |flow: &Flow| Some(flow.peek()?.size().saturating_sub(flow.credit) / TURN);
        let flows = self.round.iter().filter_map(|key| self.flows.get(key)).filter(|flow| !flow.is_passed_over);
        let turns = flows.filter_map(missing).min().unwrap_or(0);
        for key in &self.round {
            if let Some(flow) = self.flows.get_mut(key).filter(|flow| !flow.is_passed_over) {
                flow.credit += turns * TURN;
            }
        }
    }

    /// The topic whose turn it is has nothing more.
    fn leave_round(&mut self) {
        if let Some(flow) = self.round.pop_front().and_then(|key| self.flows.get_mut(&key)) {
            flow.in_round = false;
            // Nobody saves credit for later.
            flow.credit = 0;
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

    /// Counts the topics of which something is on the disk only.
    pub fn count_gaps(&mut self) {
        self.gaps = self.flows.values().filter(|flow| flow.gap.is_some()).count();
    }

    pub fn rewind(&mut self) {
        let keys: Vec<_> = self.flows.iter().filter(|(_, flow)| flow.leased > 0).map(|(key, _)| *key).collect();
        for key in keys {
            if let Some(flow) = self.flows.get_mut(&key) {
                flow.rewind();
            }
            self.join_round(key);
        }
    }

    /// Sum of a figure of all topics.
    pub fn sum(&self, figure: impl Fn(&Flow) -> u64) -> u64 {
        self.flows.values().map(figure).sum()
    }
}
