//! Finds the publish over which the broker closes the connection.
//!
//! MQTT 3.1.1 has no word for a publish that the broker does not take: AWS IoT Core closes the connection over a topic
//! that the thing's policy does not allow, without saying over which of those in flight. Sent again on each connection,
//! that one would block all others for ever. Nor does it say whether the topic is at fault, which then has to wait, or
//! one record of it, which then has to be dropped.
//!
//! Each topic that is under suspicion stands for itself. What is acknowledged of one topic says nothing of
//! another, and what was acknowledged once says nothing of now: policies change while the bridge runs.
//!
//! ```text
//!   closed early, with several publishes in flight
//!        │
//!        ▼
//!   Suspect ─── from now on one publish at a time ───── acknowledged ──► cleared
//!        │
//!        │  closed twice while it was in flight alone, three times if it was acknowledged of late
//!        ▼
//!   PassingOver ── its oldest record stays back, the one behind it is sent alone ── acknowledged ──┐
//!        │                                                                                         ▼
//!        │  closed as well, or there is none                           Accused: the topic is fine, and its oldest
//!        ▼                                                             record is tried again, alone
//!   Aside ── waits, and its oldest record is tried again alone,            │             │
//!        ▲   ever more rarely ── acknowledged ──► cleared                  │             └─ acknowledged ──► cleared
//!        │             │                                                   │
//!        │             └─ closed ──► PassingOver                           └─ closed over it five times in all ──► poison
//! ```
//!
//! What happens to a topic in each state ([`topic::Standing`]):
//!
//! | event | `Suspect` | `PassingOver` | `Accused` | `Aside` |
//! | --- | --- | --- | --- | --- |
//! | closed over it alone | twice: `Aside`; if it was acknowledged of late, the third time: `PassingOver`, or `Aside` where no single record was closed over | `Aside`, twice as long | the fifth time over one record: that is poison | `PassingOver` |
//! | the record that failed is acknowledged | cleared | cleared | cleared | cleared |
//! | another one is | cleared | `Accused` | the same | `Accused` |
//! | there is no record behind | the same | `Aside` | the same | the same |
//! | refused in words | `Aside` | `Aside` | the third time: poison | `Aside`; the third time over one record `PassingOver` |
//! | nothing is heard of it for two hours | forgotten | forgotten | forgotten | forgotten |
//!
//! For example, record 7 of `odom` is one that the broker does not take, and 7, 8 and 9 are in flight when it closes the
//! connection, for the second time in a row: `odom` is a `Suspect`. 7 is sent alone and closed over, three times: `PassingOver`. 8
//! is sent alone and acknowledged: `Accused`. 7 is closed over twice more, five times in all: it is dropped, and 9 follows.
//! Were `odom` forbidden, 8 would be closed over too: `Aside` for 30 s, then 7 again and 8 again, `Aside` for 60 s, and so on
//! up to an hour; nothing is dropped.
//!
//! So a record is dropped only when the broker closes the connection over it again and again *and* takes the one behind
//! it. A record that was passed over without being at fault arrives behind that one. That is the price of a search which links
//! alone have begun, and why a topic that works is given one close more: a restart of the broker and a link that is cut right
//! after it are two.
//!
//! A batch counts as many records, of which one may be at fault: its records go one by one from then on.
//!
//! In MQTT 5 a broker may refuse in words, and the connection stands. Then there is nothing to find out about the topic:
//! it is set aside at once, and tried again as rarely, but beside the others. What is not said to be for want of
//! permission may be the record's fault, which is found out in the same way. Only a reply that is forbidden in words is dropped:
//! a sender chooses its topic, and it is of no use later.
//!
//! A close proves little by itself: links break, and another client with the same client id closes connections too. So:
//!
//! - Topics that were acknowledged of late are suspects only after [`CROWDED`] early closes in a row.
//! - Setting a topic aside loses nothing: its records wait in the queue for as long as that keeps them.
//! - A record under suspicion that is acknowledged after all shows that connections are closed for other reasons. Each
//!   such record makes it take a close more to call one poison, up to [`DOUBT`].
//! - While another client seems to close the connections, it takes as many closes more to call a record poison, and one
//!   more to set a topic aside.

mod topic;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use super::early_close::SHORT;
use crate::queue::Route;
use topic::{Outcome, Topic};

/// Early closes in a row after which topics are suspects that were acknowledged of late.
const CROWDED: u32 = 2;

/// Closes with a publish of a topic alone in flight, without an acknowledgement of that topic between them, after which
/// it is the topic's turn to be looked at: its oldest record is passed over.
const FORBIDDEN: u32 = 2;

/// Closes more that it takes for a topic that was acknowledged of late: the order of its records is at stake.
const PROVEN: u32 = 1;

/// Closes with a record alone in flight after which it is poison, if the one behind it was acknowledged.
const POISON: u32 = 5;

/// Refusals in words after which a record is poison, if the one behind it was acknowledged. No other client and no link
/// can be the reason, so it takes fewer. After so many the one behind it is sent, and the next refusal is the last.
const POISON_IN_WORDS: u32 = 3;

/// Most closes more that it takes because of records that were suspected wrongly.
const DOUBT: u32 = 5;

/// How long a topic is set aside at first, and at most. Each trial that fails doubles the time.
const ASIDE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(3600));

/// Most records that are passed over, but for one.
const DEEPEST: u32 = 9;

/// A topic of which nothing was heard for so long is forgotten: nobody publishes to it any more. Longer than any topic
/// that has records is set aside.
pub(super) const FORGOTTEN: Duration = Duration::from_secs(2 * 3600);

/// Topics of replies of which something is remembered, at most; then those of which nothing was heard for longest are
/// forgotten. A sender chooses the response topic of each request. All other topics are configured.
const MOST_REPLIES: usize = 500;

/// How often to look for what may be forgotten.
const EXPIRE: Duration = Duration::from_secs(60);

/// What is known of the topics, over all connections. Topics are MQTT topics.
#[derive(Debug)]
pub(super) struct Suspects {
    /// A connection that is closed before this is closed early.
    stable_after: Duration,
    /// Early closes in a row, with several publishes in flight.
    closes: u32,
    /// One publish at a time, while any topic is a suspect.
    searching: bool,
    /// When a publish to the topic was last acknowledged by the broker.
    worked: HashMap<String, Instant>,
    /// The same of the topics of replies.
    replies_worked: HashMap<String, Instant>,
    /// Topics under suspicion.
    topics: BTreeMap<String, Topic>,
    /// Records under suspicion that were acknowledged after all, since a connection was last stable.
    innocent: u32,
    /// Topics whose records go in publishes of their own for so many, because the connection was closed over a batch. By
    /// the topic of the route, and when that was found.
    singly: BTreeMap<String, (usize, Instant)>,
    expired: Option<Instant>,
}

/// What tells a record from its neighbours: when DDS handed it over, in nanoseconds since 1970, and its length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordId {
    pub received_ns: i64,
    pub bytes: usize,
}

/// A publish without an acknowledgement when the connection was closed.
#[derive(Debug, Clone, Copy)]
pub(super) struct InFlight<'a> {
    pub topic: &'a str,
    /// The topic of its route, and how many records it has; `None` if the queue does not know of it (any more).
    pub batch: Option<(&'a str, usize)>,
    /// The record, if it is a single one.
    pub record: Option<RecordId>,
    /// Whether it is a reply.
    pub is_reply: bool,
}

/// How the broker has closed the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Close {
    /// How long the connection had stood.
    pub lasted: Duration,
    /// Whether another client seems to have the same client id, which closes connections too.
    pub contested: bool,
}

/// What follows from a close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The broker does not take publishes to this topic. It is tried again after `wait`.
    SetAside { topic: String, wait: Duration },
    /// The one record that was in flight will never be taken.
    Poison,
}

impl Suspects {
    pub fn new(stable_after: Duration) -> Self {
        Suspects {
            stable_after,
            closes: 0,
            searching: false,
            worked: HashMap::new(),
            replies_worked: HashMap::new(),
            topics: BTreeMap::new(),
            innocent: 0,
            singly: BTreeMap::new(),
            expired: None,
        }
    }

    /// The topics under suspicion that publishes of `route` go to.
    fn topics_of(&self, route: &Route) -> impl Iterator<Item = &Topic> {
        let topics = [Some(&*route.mqtt), route.mqtt_compressed()];
        topics.into_iter().flatten().filter_map(|topic| self.topics.get(topic))
    }

    /// Whether publishes of `route` may be sent at `now`, to whichever of its topics they go.
    pub fn permit_route(&self, route: &Route, now: Instant) -> bool {
        self.topics.is_empty() || self.topics_of(route).all(|topic| topic.permits(now))
    }

    /// Whether a publish of `route` has to be in flight alone, because the close that may follow says something of it.
    pub fn is_trial_of(&self, route: &Route) -> bool {
        self.topics_of(route).any(Topic::is_trial)
    }

    /// Whether publishes to `topic` are trials.
    pub fn is_trial(&self, topic: &str) -> bool {
        self.topics.get(topic).is_some_and(Topic::is_trial)
    }

    /// How many records of `route`, of which `oldest` is the oldest, stay back for now, so that the one behind them is sent
    /// first. One at first, and one more with each trial, should there be several that the broker does not take.
    pub fn passes_over(&self, route: &Route, oldest: Option<RecordId>) -> usize {
        let is_it = |topic: &&Topic| topic.is_passing_over() && oldest.is_some() && topic.failed.0 == oldest;
        self.topics_of(route).find(is_it).map_or(0, |topic| 1 + topic.times_aside.min(DEEPEST) as usize)
    }

    /// Whether what was passed over of `route` still stays back.
    pub fn is_passing_over(&self, route: &Route) -> bool {
        self.topics_of(route).any(Topic::is_passing_over)
    }

    /// There is no record behind the one of `route` that stays back.
    pub fn has_no_other(&mut self, route: &Route, now: Instant) -> Option<Verdict> {
        let topics = [Some(&*route.mqtt), route.mqtt_compressed()];
        let is_it = |name: &&str| self.topics.get(*name).is_some_and(Topic::is_passing_over);
        let name = topics.into_iter().flatten().find(is_it)?;
        let outcome = self.topics.get_mut(name)?.set_aside(now);
        self.conclude(name, outcome)
    }

    /// Whether the records of `route` have to go in publishes of their own: those of a batch that was closed over, and
    /// while one record is tried. A batch that is only suspected is tried as it was; its records alone may be too short to
    /// be compressed, and would go to another topic.
    pub fn goes_singly(&self, route: &Route) -> bool {
        let tries_record = |topic: &Topic| !topic.is_suspect() && topic.failed.0.is_some();
        self.singly.contains_key(&route.mqtt) || self.topics_of(route).any(tries_record)
    }

    /// A publish of the route to `topic` was taken.
    pub fn has_gone(&mut self, topic: &str) {
        if let Some((left, _)) = self.singly.get_mut(topic) {
            *left -= 1;
            if *left == 0 {
                self.singly.remove(topic);
            }
        }
    }

    /// The broker says that it does not take a batch of `records` of `route` as it is. They go one by one from now on.
    pub fn go_singly(&mut self, route: &Route, records: usize, now: Instant) {
        let (left, since) = self.singly.entry(route.mqtt.clone()).or_insert((0, now));
        (*left, *since) = (*left + records, now);
    }

    /// Whether only one publish may be in flight at a time.
    pub fn one_at_a_time(&self) -> bool {
        self.searching && self.topics.values().any(Topic::is_suspect)
    }

    /// Whether a trial is in flight, beside which nothing else may be.
    pub fn is_trying(&self) -> bool {
        self.topics.values().any(|topic| topic.is_trying() && topic.is_trial())
    }

    /// A publish to `topic` is sent: of `record`, if it is a single one.
    pub fn sent(&mut self, topic: &str, record: Option<RecordId>) {
        if let Some(known) = self.topics.get_mut(topic) {
            let outcome = known.sent(record);
            self.conclude(topic, outcome);
        }
    }

    /// No publish is in flight any more.
    pub fn connection_ended(&mut self) {
        self.topics.values_mut().for_each(|topic| topic.set_trying(false));
    }

    /// The topics that are set aside.
    pub fn set_aside(&self) -> Vec<String> {
        let is_aside = |topic: &Topic| topic.times_aside > 0 && !topic.is_suspect();
        self.topics.iter().filter(|(_, topic)| is_aside(topic)).map(|(name, _)| name.clone()).collect()
    }

    /// Whether a publish to `topic` would explain a close at which it was alone in flight: it is not the first over the
    /// topic, be it with others or alone.
    pub fn is_suspected(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    /// A publish to `topic`, of `record` if it is a single one, was acknowledged at `now`. Returns whether the topic was
    /// set aside until now.
    pub fn acknowledged(&mut self, topic: &str, record: Option<RecordId>, now: Instant) -> bool {
        match self.worked.get_mut(topic) {
            Some(at) => *at = now,
            None => _ = self.worked.insert(topic.to_owned(), now),
        }
        self.taken(topic, record, now)
    }

    /// As [`acknowledged`](Suspects::acknowledged), of a reply.
    pub fn reply_acknowledged(&mut self, topic: &str, record: Option<RecordId>, now: Instant) -> bool {
        self.replies_worked.insert(topic.to_owned(), now);
        // Half of them at once, so that each costs little.
        if self.replies_worked.len() >= 2 * MOST_REPLIES {
            let mut times: Vec<_> = self.replies_worked.values().copied().collect();
            let (_, newest, _) = times.select_nth_unstable(MOST_REPLIES);
            let newest = *newest;
            self.replies_worked.retain(|_, at| *at > newest);
        }
        self.taken(topic, record, now)
    }

    /// A reply to `topic` is dropped because the broker forbids that in words, at no cost to others.
    pub fn reply_forbidden(&mut self, topic: &str) {
        self.topics.remove(topic);
    }

    /// Whether a publish to the topic was acknowledged of late.
    fn has_worked(&self, topic: &str) -> bool {
        self.worked.contains_key(topic) || self.replies_worked.contains_key(topic)
    }

    /// What is known of the topic of `publish`, which is under suspicion from now on.
    fn suspect(&mut self, publish: &InFlight<'_>, now: Instant) -> &mut Topic {
        if publish.is_reply && !self.topics.contains_key(publish.topic) {
            let replies = self.topics.iter().filter(|(_, topic)| topic.is_of_replies);
            if replies.clone().count() >= MOST_REPLIES
                && let Some(oldest) = replies.min_by_key(|(_, topic)| topic.heard).map(|(name, _)| name.clone())
            {
                self.topics.remove(&oldest);
            }
        }
        let known = self.topics.entry(publish.topic.to_owned()).or_insert_with(|| Topic::new(now));
        known.is_of_replies |= publish.is_reply;
        known
    }

    /// What was just acknowledged of `route` went to `topic`, which says nothing of the route's other topic: the one for
    /// what is compressed, or for what is not. What is tried there does not go on as if it did. Returns that the other topic
    /// is set aside, if the record behind the one in question was to decide over it.
    pub fn acknowledged_beside(&mut self, route: &Route, topic: &str, now: Instant) -> Option<Verdict> {
        let topics = [Some(&*route.mqtt), route.mqtt_compressed()];
        let other = topics.into_iter().flatten().find(|other| *other != topic)?;
        let outcome = self.topics.get_mut(other)?.taken_beside(now);
        self.conclude(other, outcome)
    }

    /// A publish to `topic` was written, and the broker has not closed the connection over it. That is no
    /// acknowledgement. Returns whether the topic was set aside until now.
    pub fn survived(&mut self, topic: &str, now: Instant) -> bool {
        self.taken(topic, None, now)
    }

    fn taken(&mut self, topic: &str, record: Option<RecordId>, now: Instant) -> bool {
        let Some(known) = self.topics.get_mut(topic) else { return false };
        let (was_aside, was_closed_over) = (known.times_aside > 0, known.closes > 0);
        let outcome = known.taken(record, now);
        self.innocent += u32::from(outcome == Outcome::Cleared && was_closed_over);
        self.conclude(topic, outcome);
        was_aside
    }

    /// What follows from `outcome` for the topic `name`.
    fn conclude(&mut self, name: &str, outcome: Outcome) -> Option<Verdict> {
        match outcome {
            Outcome::Nothing | Outcome::Suspected | Outcome::Split(_) => None,
            Outcome::SetAside(wait) => Some(Verdict::SetAside { topic: name.to_owned(), wait }),
            Outcome::Cleared => {
                self.topics.remove(name);
                None
            }
            Outcome::Poison => {
                self.topics.remove(name);
                Some(Verdict::Poison)
            }
        }
    }

    /// The connection has become stable: whoever closed the last ones does so no more.
    pub fn stable(&mut self) {
        (self.closes, self.innocent) = (0, 0);
        self.was_good();
    }

    /// The connection that has just ended took publishes for a while, perhaps one at a time. Suspects that were not tried
    /// meanwhile have no record left, or none whose turn came: the search does not go on for them. What was closed over one
    /// topic alone stays counted.
    pub fn was_good(&mut self) {
        self.searching = false;
        self.topics.retain(|_, topic| topic.closes > 0 || !topic.is_suspect());
    }

    /// Forgets topics of which nothing was heard for long. To be called now and then.
    pub fn expire(&mut self, now: Instant) {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < FORGOTTEN;
        if self.expired.is_none_or(|expired| now.saturating_duration_since(expired) >= EXPIRE) {
            self.expired = Some(now);
            self.worked.retain(|_, at| is_recent(*at));
            self.replies_worked.retain(|_, at| is_recent(*at));
            self.topics.retain(|_, topic| is_recent(topic.heard));
            // Its records have ended otherwise, or are of a topic that is gone.
            self.singly.retain(|_, (_, since)| is_recent(*since));
        }
    }

    /// The broker refuses a publish of `records` of `route` to `topic` in words, at `now`; `forbidden` says whether for
    /// want of permission. Nothing follows if it was sent before that was known.
    pub fn refused(&mut self, route: &Route, refused: InFlight<'_>, forbidden: bool, now: Instant) -> Option<Verdict> {
        let InFlight { topic, batch, .. } = refused;
        let outcome = self.suspect(&refused, now).refused(&refused, forbidden, now);
        if let (false, Some((_, records @ 2..))) = (forbidden || outcome == Outcome::Nothing, batch) {
            self.singly.insert(route.mqtt.clone(), (records, now));
        }
        self.conclude(topic, outcome)
    }

    /// The broker closed the connection at `now`, with the publishes `in_flight` unacknowledged.
    pub fn closed(&mut self, close: Close, in_flight: &[InFlight<'_>], now: Instant) -> Option<Verdict> {
        match in_flight {
            [] => None,
            [alone] => self.closed_alone(alone, close, now),
            crowd => {
                self.closed_crowded(crowd, close.lasted, now);
                None
            }
        }
    }

    fn closed_crowded(&mut self, crowd: &[InFlight<'_>], lasted: Duration, now: Instant) {
        self.closes = if lasted < self.stable_after { self.closes + 1 } else { 0 };
        if self.closes == 0 {
            return;
        }
        for publish in crowd {
            if self.closes >= CROWDED || !self.has_worked(publish.topic) {
                self.searching = true;
                self.suspect(publish, now);
            }
            if let (CROWDED.., Some((route, records @ 2..)), true) = (self.closes, publish.batch, lasted < SHORT) {
                // One of them may be at fault, and what is before it in its batch would not be taken either.
                let (left, since) = self.singly.entry(route.to_owned()).or_insert((0, now));
                (*left, *since) = (records.max(*left), now);
            }
        }
    }

    fn closed_alone(&mut self, alone: &InFlight<'_>, close: Close, now: Instant) -> Option<Verdict> {
        let InFlight { topic, batch, .. } = *alone;
        let doubt = if close.contested { DOUBT } else { self.innocent.min(DOUBT) };
        let (is_early, is_proven) = (close.lasted < self.stable_after, self.has_worked(topic));
        let known = self.suspect(alone, now);
        let was_suspect = known.is_suspect();
        let outcome = known.closed(close, alone, (is_early, is_proven), doubt, now);
        // What was acknowledged before says nothing any more.
        if matches!(outcome, Outcome::SetAside(_)) || was_suspect && known.is_passing_over() {
            self.worked.remove(topic);
            self.replies_worked.remove(topic);
        }
        self.searching |= outcome != Outcome::Nothing;
        if let (Outcome::Split(records), Some((route, _))) = (outcome, batch) {
            self.singly.insert(route.to_owned(), (records, now));
        }
        self.conclude(topic, outcome)
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
