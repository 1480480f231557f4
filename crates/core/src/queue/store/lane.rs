//! One lane: the topics in it, which take turns.
//!
//! The round is by what a publish costs (deficit round robin, Shreedhar and Varghese 1995, with the debt instead of the
//! credit carried on). Each turn is worth a publish of [`TURN`] bytes. A smaller one costs as much, because publishes
//! are scarce too; after a larger one, or a batch, a topic lets as many turns pass as it had bytes. So neither a flood
//! of small records nor huge ones delay another topic by more than a publish of each.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::LeaseId;
use super::topic_queue::TopicQueue;
use super::topic_queues::TopicQueues;
use crate::queue::{Record, Route};
use crate::topics::TopicId;

/// Bytes that a topic's turn is worth. AWS IoT Core takes 100 publishes and 512 KiB a second: a publish takes a
/// hundredth of a second of the one quota, and about as much of the other with so many bytes.
const TURN: u64 = 5 << 10;

/// What a publish of `bytes` costs.
fn cost(bytes: u64) -> i64 {
    bytes.max(TURN) as i64
}

#[derive(Debug)]
pub(super) struct Lane {
    pub queues: TopicQueues,
    places: Places,
    /// What is not on the disk yet, in the order of admission; some of it may be done already.
    unwritten: VecDeque<(TopicId, u64)>,
    /// What is being written.
    writing: Vec<(TopicId, u64)>,
    /// When `unwritten` is so long, what is done is taken out.
    tidy_at: usize,
}

/// Where the topics of a lane stand.
#[derive(Debug)]
struct Places {
    /// Topics of which a record can be leased, the next one first.
    round: VecDeque<TopicId>,
    /// Topics whose records wait for others to travel with, and until when, the first one first.
    lingering: BTreeSet<(Instant, TopicId)>,
    /// Whether records do so.
    lingers: bool,
}

impl Places {
    /// `queue` takes part in the round if it has something that does not wait for others. If it does, it comes into the round
    /// when that time is over.
    fn join(&mut self, topic: TopicId, queue: &mut TopicQueue) {
        if queue.in_round {
            return;
        }
        let waits = queue.waits_for_others().filter(|_| self.lingers);
        if waits != queue.lingers_until {
            if let Some(before) = std::mem::replace(&mut queue.lingers_until, waits) {
                self.lingering.remove(&(before, topic));
            }
            self.lingering.extend(waits.map(|when| (when, topic)));
        }
        if waits.is_none() && queue.peek().is_some() {
            queue.in_round = true;
            self.round.push_back(topic);
        }
    }

    /// `queue` has nothing more, or what is left waits for others.
    fn leave(&mut self, topic: TopicId, queue: &mut TopicQueue) {
        // Where a lease leaves it.
        if self.round.pop_front_if(|front| *front == topic).is_none()
            && self.round.pop_back_if(|back| *back == topic).is_none()
        {
            self.round.retain(|other| *other != topic);
        }
        queue.leave_round();
        self.join(topic, queue);
    }

    /// Whether the next record of `queue` may be leased at `now`: it waits for no others, or not any more.
    fn is_ready(&self, queue: &TopicQueue, now: Instant) -> bool {
        queue.peek().is_some() && (!self.lingers || queue.waits_for_others().is_none_or(|when| when <= now))
    }
}

/// Shorter lists are not worth looking through.
const LEAST_TIDY: usize = 1024;

impl Default for Lane {
    fn default() -> Self {
        Lane {
            queues: TopicQueues::default(),
            places: Places { round: VecDeque::new(), lingering: BTreeSet::new(), lingers: true },
            unwritten: VecDeque::new(),
            writing: Vec::new(),
            tidy_at: LEAST_TIDY,
        }
    }
}

impl Lane {
    /// Whether a record of a topic that `wanted` accepts can be leased at `now`.
    pub fn has_next(&mut self, now: Instant, wanted: &dyn Fn(&Route) -> bool) -> bool {
        self.want_again(wanted);
        let ripe = self.places.lingering.iter().take_while(|(when, _)| *when <= now).map(|(_, topic)| topic);
        let ripe = ripe.filter_map(|topic| self.queues.get(topic));
        let in_round = self.in_round().filter(|queue| self.places.is_ready(queue, now));
        let has_next = in_round.chain(ripe).any(|queue| wanted(&queue.route));
        if !has_next {
            self.pass_over(self.places.round.len(), wanted);
        }
        has_next
    }

    /// Topics that were passed over and that `wanted` accepts now are passed over no more.
    fn want_again(&mut self, wanted: &dyn Fn(&Route) -> bool) {
        let is_wanted = |topic: &TopicId| self.queues.get(topic).is_some_and(|queue| wanted(&queue.route));
        let again: Vec<_> = self.queues.passed_over().filter(is_wanted).collect();
        for topic in again {
            if let Some(mut queue) = self.queues.get_mut(topic) {
                queue.is_passed_over = false;
            }
        }
    }

    /// Of the next `topics` of the round those that `wanted` does not accept are passed over: what they have on the
    /// disk stays there. The others are not asked for, so that a lease costs the same beside any number of them.
    fn pass_over(&mut self, topics: usize, wanted: &dyn Fn(&Route) -> bool) {
        for topic in self.places.round.iter().take(topics) {
            let has_gap = |queue: &TopicQueue| queue.gap.is_some() && !queue.is_passed_over;
            if self.queues.get(topic).is_some_and(|queue| has_gap(queue) && !wanted(&queue.route))
                && let Some(mut queue) = self.queues.get_mut(*topic)
            {
                queue.is_passed_over = true;
            }
        }
    }

    /// When the first of the records ripens that wait for others, of topics that `wanted` accepts.
    pub fn ripens(&self, wanted: &dyn Fn(&Route) -> bool) -> Option<Instant> {
        let mut lingering = self.places.lingering.iter();
        let first = lingering.find(|(_, topic)| self.queues.get(topic).is_some_and(|queue| wanted(&queue.route)))?;
        Some(first.0)
    }

    /// From now on no record waits for others to travel with.
    pub fn stop_lingering(&mut self) {
        self.places.lingers = false;
        for (_, topic) in std::mem::take(&mut self.places.lingering) {
            if let Some(mut queue) = self.queues.get_mut(topic) {
                queue.lingers_until = None;
            }
            self.join_round(topic);
        }
    }

    /// The topics of which a record can be leased.
    pub fn in_round(&self) -> impl Iterator<Item = &TopicQueue> {
        self.places.round.iter().filter_map(|topic| self.queues.get(topic))
    }

    /// The topics that linger.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn lingering(&self) -> impl Iterator<Item = TopicId> {
        self.places.lingering.iter().map(|(_, topic)| *topic)
    }

    pub fn is_empty(&self) -> bool {
        self.queues.values().all(|queue| queue.leased == 0 && queue.waiting() == 0 && queue.gap.is_none())
    }

    /// Puts a record, admitted at `now` as `admission`, behind all others of its topic. `writes` says whether it may be for
    /// the disk.
    pub fn push(&mut self, admission: u64, record: Record, now: Instant, writes: bool) {
        let topic = record.route.topic.id;
        let mut queue = self.queues.of(&record.route.clone());
        queue.push(admission, record, now);
        self.places.join(topic, &mut queue);
        drop(queue);
        if writes {
            self.unwritten.push_back((topic, admission));
            if self.unwritten.len() >= self.tidy_at {
                self.tidy_unwritten();
            }
        }
    }

    /// Takes the next record in turn of the topics that `wanted` accepts and that do not linger. Returns where it is,
    /// and the route to send it by. What has expired on the way to it is `dropped`.
    pub fn lease(
        &mut self,
        id: LeaseId,
        now: Instant,
        wanted: &dyn Fn(&Route) -> bool,
        dropped: &mut Vec<Record>,
    ) -> Option<(TopicId, u64, Record, Arc<Route>)> {
        self.want_again(wanted);
        while let Some(&(when, topic)) = self.places.lingering.first()
            && when <= now
        {
            self.places.lingering.pop_first();
            if let Some(mut queue) = self.queues.get_mut(topic) {
                (queue.lingers_until, queue.in_round) = (None, true);
                self.places.round.push_back(topic);
            }
        }
        // Topics without credit that have had their turn, and of how many.
        let mut fruitless = (0, 0);
        loop {
            let is_wanted = |topic: &TopicId| self.queues.get(topic).is_some_and(|queue| wanted(&queue.route));
            let position = self.places.round.iter().position(is_wanted);
            self.pass_over(position.unwrap_or(self.places.round.len()), wanted);
            self.places.round.rotate_left(position?);
            if fruitless.0 > 0 && fruitless.0 >= fruitless.1 {
                self.skip_turns(wanted);
                fruitless = (0, 0);
            }
            let topic = *self.places.round.front()?;
            let mut queue = self.queues.get_mut(topic)?;
            queue.drop_expired_head(now, dropped);
            // What has expired may have been what others waited for.
            if !self.places.is_ready(&queue, now) {
                self.places.leave(topic, &mut queue);
                continue;
            }
            let bytes = queue.peek().map(|record| record.payload.len() as u64)?;
            if queue.credit <= 0 {
                queue.credit += TURN as i64;
            }
            if queue.credit <= 0 {
                drop(queue);
                if fruitless.0 == 0 {
                    fruitless.1 = self.in_round().filter(|queue| wanted(&queue.route)).count();
                }
                self.places.round.rotate_left(1);
                fruitless.0 += 1;
                continue;
            }
            queue.credit -= cost(bytes);
            let is_spent = queue.credit <= 0;
            let (admission, record) = queue.lease(id)?;
            let route = queue.sends_by(&record).clone();
            if !self.places.is_ready(&queue, now) {
                self.places.leave(topic, &mut queue);
            } else if is_spent {
                self.places.round.rotate_left(1);
            }
            return Some((topic, admission, record, route));
        }
    }

    /// Takes more records of the topic `topic`, to travel with one whose lease is `id` and that is the last leased of
    /// the topic: those that follow it and of which, and of the route to send it by, `takes` is true. `bytes` are in
    /// the publish so far. Returns them, and the last one's admission. What has expired is `dropped`.
    pub fn lease_more(
        &mut self,
        topic: TopicId,
        id: LeaseId,
        (now, bytes): (Instant, u64),
        mut takes: impl FnMut(&Record, &Arc<Route>) -> bool,
        dropped: &mut Vec<Record>,
    ) -> Option<(Vec<Record>, u64)> {
        let mut queue = self.queues.get_mut(topic)?;
        let (mut records, mut last, mut more) = (Vec::new(), None, 0);
        loop {
            queue.drop_expired_head(now, dropped);
            if !queue.peek().is_some_and(|record| takes(record, queue.sends_by(record))) {
                break;
            }
            let Some((admission, record)) = queue.lease(id) else { break };
            more += record.payload.len() as u64;
            last = Some(admission);
            records.push(record);
        }
        queue.credit -= cost(bytes + more) - cost(bytes);
        if queue.in_round && !self.places.is_ready(&queue, now) {
            self.places.leave(topic, &mut queue);
        } else {
            self.places.join(topic, &mut queue);
        }
        Some((records, last?))
    }

    /// Nobody has credit enough: all get that of the turns that would pass until somebody has.
    fn skip_turns(&mut self, wanted: &dyn Fn(&Route) -> bool) {
        let missing = |queue: &TopicQueue| queue.credit.min(0).unsigned_abs() / TURN;
        let turns = self.in_round().filter(|queue| wanted(&queue.route)).map(missing).min().unwrap_or(0);
        for topic in &self.places.round {
            if let Some(mut queue) = self.queues.get_mut(*topic).filter(|queue| wanted(&queue.route)) {
                queue.credit += (turns * TURN) as i64;
            }
        }
    }

    /// As [`Places::join`].
    pub fn join_round(&mut self, topic: TopicId) {
        if self.queues.get(&topic).is_some_and(|queue| !queue.in_round)
            && let Some(mut queue) = self.queues.get_mut(topic)
        {
            self.places.join(topic, &mut queue);
        }
    }

    /// As [`tidy_round`](Lane::tidy_round), if `topic` alone has lost records.
    pub fn tidy_place(&mut self, topic: TopicId) {
        if let Some(mut queue) = self.queues.get_mut(topic).filter(|queue| queue.in_round) {
            queue.in_round = queue.peek().is_some() && !(self.places.lingers && queue.waits_for_others().is_some());
            let stays = queue.in_round;
            drop(queue);
            if !stays && let Some(place) = self.places.round.iter().position(|other| *other == topic) {
                self.places.round.remove(place);
            }
        }
        self.join_round(topic);
    }

    /// Puts topics where they belong that have lost records: out of the round, or of those that linger.
    pub fn tidy_round(&mut self) {
        let mut others: Vec<_> = self.places.lingering.iter().map(|(_, topic)| *topic).collect();
        self.places.round.retain(|topic| {
            let Some(mut queue) = self.queues.get_mut(*topic) else { return false };
            queue.in_round = queue.peek().is_some() && !(self.places.lingers && queue.waits_for_others().is_some());
            if !queue.in_round {
                others.push(*topic);
            }
            queue.in_round
        });
        others.into_iter().for_each(|topic| self.join_round(topic));
    }

    /// Takes out of the list of what is not on the disk what is done.
    fn tidy_unwritten(&mut self) {
        self.unwritten.retain(|(topic, admission)| {
            self.queues
                .get(topic)
                .and_then(|queue| queue.entry(*admission))
                .is_some_and(|entry| entry.record().is_some())
        });
        self.tidy_at = (2 * self.unwritten.len()).max(LEAST_TIDY);
    }

    /// Takes what is to be written next, about `bytes`, numbered from `first` on.
    pub fn begin_write(&mut self, first: u64, bytes: u64) -> Vec<Record> {
        let (mut records, mut taken) = (Vec::new(), 0);
        while taken < bytes
            && let Some((topic, admission)) = self.unwritten.pop_front()
        {
            let number = first + records.len() as u64;
            if let Some(record) = self.queues.get_mut(topic).and_then(|mut queue| queue.begin_write(admission, number))
            {
                taken += record.size();
                records.push(record);
                self.writing.push((topic, admission));
            }
        }
        records
    }

    /// The first `written` records of what was being written are on the disk. The others are not, and are written
    /// again.
    pub fn end_write(&mut self, first: u64, written: usize) {
        let writing = std::mem::take(&mut self.writing);
        let used = first + written as u64;
        for (index, (topic, admission)) in writing.iter().enumerate() {
            if let Some(mut queue) = self.queues.get_mut(*topic) {
                let on_disk = index < written;
                queue.end_write(*admission, on_disk);
                if !on_disk {
                    queue.numbered = queue.numbered.min(used);
                }
            }
        }
        for token in writing.into_iter().skip(written).rev() {
            self.unwritten.push_front(token);
        }
    }

    /// What has the number `from` or a higher one is not on the disk any more. Returns, by topic, what was only there.
    pub fn forget(&mut self, from: u64) -> Vec<(Arc<Route>, u64)> {
        let mut lost = Vec::new();
        self.queues.for_each_mut(|_, queue| lost.push((queue.route.clone(), queue.forget(from))));
        lost.retain(|(_, lost)| *lost > 0);
        let entries =
            self.queues.iter().flat_map(|(topic, queue)| queue.unwritten().map(|admission| (*topic, admission)));
        let mut unwritten: Vec<_> = entries.collect();
        unwritten.sort_unstable_by_key(|(_, admission)| *admission);
        self.unwritten = unwritten.into();
        lost
    }

    /// Takes all leases of `topic` back. Each record is shown to `taken_back`.
    pub fn requeue(&mut self, topic: TopicId, taken_back: impl FnMut(&Record)) {
        if let Some(mut queue) = self.queues.get_mut(topic) {
            queue.requeue(taken_back);
        }
        self.join_round(topic);
    }

    /// Sum of a figure of all topics.
    pub fn sum(&self, figure: impl Fn(&TopicQueue) -> u64) -> u64 {
        self.queues.values().map(figure).sum()
    }
}
