//! One wanted topic: it is subscribed as soon and as well as its publishers allow.

use std::ffi::CString;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::context::Node;
use super::error::RosError;
use super::graph;
use super::qos::Qos;
use super::rest::Rest;
use super::seen::{Judgement, Seen};
use super::subscription::{Buffer, Info, Subscription};
use super::type_support::TypeSupports;
use super::{Receiver, Sample, TopicState, Wanted};
use crate::health::{ONCE_A_MINUTE, Repeat};

/// Subscriptions of a topic at a time: the one that is being replaced, and the one in use.
pub(super) const SUBSCRIPTIONS: usize = 2;

/// How long a replaced subscription goes on delivering: until its successor is matched with the publishers.
const OVERLAP: Duration = Duration::from_secs(1);

/// How long what has arrived is taken before its subscription ends, while other topics wait.
const LAST_TAKE: Duration = Duration::from_secs(1);

/// What a topic's turn has brought.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    /// Messages.
    pub(super) count: usize,
    /// Nothing that is due is left.
    pub(super) is_all: bool,
}

/// What is open for a topic.
struct Open {
    subscription: Subscription,
    type_name: String,
    qos: Qos,
}

/// A wanted topic and what became of it.
pub(super) struct Topic {
    index: usize,
    wanted: Wanted,
    name: CString,
    open: Option<Open>,
    /// The subscription before the last change of QoS, and when it ends.
    retiring: Option<(Subscription, Instant)>,
    state: TopicState,
    seen: Seen,
    failed: Repeat,
    /// After it was called ready and had no message.
    pub(super) rest: Rest,
    /// Messages that may be taken in this round of turns.
    due: usize,
    /// It is wanted no more.
    ended: bool,
}

impl Topic {
    /// `name` is that of `wanted`.
    pub(super) fn new(index: usize, wanted: Wanted, name: CString) -> Topic {
        Topic {
            index,
            wanted,
            name,
            open: None,
            retiring: None,
            state: TopicState::Unknown,
            seen: Seen::default(),
            failed: Repeat::default(),
            rest: Rest::default(),
            due: 0,
            ended: false,
        }
    }

    /// It is wanted no more.
    pub(super) fn end(&mut self) {
        self.open = None;
        self.retiring = None;
        self.ended = true;
    }

    /// What to wait for at `now`.
    pub(super) fn waited_for(&self, now: Instant) -> [Option<&Subscription>; SUBSCRIPTIONS] {
        if self.rest.until(now).is_some() { [None; SUBSCRIPTIONS] } else { self.subscriptions() }
    }

    /// What is open.
    fn subscriptions(&self) -> [Option<&Subscription>; SUBSCRIPTIONS] {
        [
            self.retiring.as_ref().map(|(subscription, _)| subscription),
            self.open.as_ref().map(|open| &open.subscription),
        ]
    }

    /// Looks at the graph, and opens, changes or keeps the subscription accordingly.
    ///
    /// `buffer` is for what has arrived of what is closed.
    pub(super) fn follow(
        &mut self,
        node: &Arc<Node>,
        types: &mut TypeSupports,
        buffer: &mut Buffer,
        receiver: &mut dyn Receiver,
    ) {
        if self.ended {
            return;
        }
        let state = match self.try_follow(node, types, buffer, receiver) {
            Ok(state) => state,
            Err(trouble) => TopicState::Trouble(match &self.open {
                None => trouble,
                Some(open) => format!("{trouble}; it is still received as {}", open.type_name),
            }),
        };
        if state != self.state {
            self.log(&state);
            self.state = state.clone();
            receiver.changed(self.index, state);
        }
    }

    fn log(&self, state: &TopicState) {
        let topic = self.wanted.topic.as_str();
        let (type_name, incompatible) = match state {
            TopicState::Trouble(trouble) => {
                tracing::error!(topic, reason = trouble.as_str(), "Topic {topic} needs somebody: {trouble}.");
                return;
            }
            TopicState::Unknown => return,
            TopicState::Subscribed { type_name, incompatible, .. } => (type_name.as_str(), *incompatible),
        };
        let before = match &self.state {
            TopicState::Subscribed { type_name, incompatible, .. } => Some((type_name.as_str(), *incompatible)),
            TopicState::Unknown | TopicState::Trouble(_) => None,
        };
        if before.is_none_or(|(before, _)| before != type_name) {
            tracing::info!(topic, r#type = type_name, "Subscribed to {topic} ({type_name}).");
        }
        if incompatible > before.map_or(0, |(_, before)| before) {
            tracing::error!(
                topic,
                incompatible,
                "Nothing arrives from {incompatible} publishers of {topic}: they offer less than the configured \
                 reliability or durability. Set those of this topic to \"auto\"."
            );
        }
    }

    fn try_follow(
        &mut self,
        node: &Arc<Node>,
        types: &mut TypeSupports,
        buffer: &mut Buffer,
        receiver: &mut dyn Receiver,
    ) -> Result<TopicState, String> {
        let publishers = graph::publishers(node, &self.name).map_err(|error| error.to_string())?;
        let published = graph::single_type(&publishers);
        let type_name = match (&self.wanted.type_name, published) {
            (Some(configured), Ok(None)) => configured.clone(),
            (Some(configured), Ok(Some(published))) if configured == published => configured.clone(),
            (Some(configured), Err(published)) if published.contains(&configured.as_str()) => configured.clone(),
            (Some(configured), Ok(Some(published))) => {
                return Err(format!("it is published as {published}, but configured as {configured}"));
            }
            (Some(configured), Err(published)) => {
                return Err(format!("it is published as {}, but configured as {configured}", published.join(" and ")));
            }
            (None, Ok(Some(published))) => published.to_owned(),
            (None, Ok(None)) => match &self.open {
                Some(open) => open.type_name.clone(),
                None => return Ok(TopicState::Unknown),
            },
            (None, Err(published)) => {
                return Err(format!("it is published as {} at once; set its `type`", published.join(" and ")));
            }
        };
        let qos = Qos::choose(&self.wanted, self.open.as_ref().map(|open| open.qos), &publishers);
        if self.open.as_ref().is_none_or(|open| open.type_name != type_name || open.qos != qos) {
            self.open(node, types, (buffer, receiver), &type_name, qos)?;
        }
        let delivering = publishers.iter().filter(|publisher| qos.accepts(publisher)).count();
        let incompatible = publishers.len() - delivering;
        Ok(TopicState::Subscribed { type_name, publishers: delivering, incompatible })
    }

    fn open(
        &mut self,
        node: &Arc<Node>,
        types: &mut TypeSupports,
        (buffer, receiver): (&mut Buffer, &mut dyn Receiver),
        type_name: &str,
        qos: Qos,
    ) -> Result<(), String> {
        let known = self.open.as_ref().is_some_and(|open| open.type_name == type_name);
        let support = types.get(type_name).map_err(|error| error.to_string())?;
        if !known {
            // DDS takes no second type for a topic while a subscription with the first is there.
            self.begin_round();
            self.take(Instant::now() + LAST_TAKE, buffer, receiver);
            self.open = None;
            self.end_retiring();
        }
        let subscription = Subscription::create(node, &self.name, &support, qos).map_err(|error| error.to_string())?;
        if known {
            tracing::info!(
                topic = self.wanted.topic.as_str(),
                reliable = qos.reliable,
                transient_local = qos.transient_local,
                "The publishers of {} offer another QoS now; subscribed again with it.",
                self.wanted.topic
            );
            let before = self.open.take().map(|open| open.subscription);
            self.retiring = before.map(|before| (before, Instant::now() + OVERLAP));
            self.seen.overlap_begins();
        } else {
            receiver.opened(self.index, support.schema());
        }
        self.open = Some(Open { subscription, type_name: type_name.to_owned(), qos });
        Ok(())
    }

    /// Ends a replaced subscription whose time is over. What has arrived there is handed on before.
    pub(super) fn retire(&mut self, now: Instant, buffer: &mut Buffer, receiver: &mut dyn Receiver) {
        if self.retiring.as_ref().is_some_and(|(_, until)| *until <= now) {
            self.begin_round();
            self.take(now + LAST_TAKE, buffer, receiver);
            self.end_retiring();
        }
    }

    fn end_retiring(&mut self) {
        self.retiring = None;
        self.seen.overlap_ends();
    }

    /// From now on [`take`](Self::take) has to do with what has arrived until now: at most what DDS keeps.
    pub(super) fn begin_round(&mut self) {
        self.due = self.wanted.depth.saturating_mul(SUBSCRIPTIONS);
    }

    /// Takes what is due and hands it on, no further message after `end`.
    pub(super) fn take(&mut self, end: Instant, buffer: &mut Buffer, receiver: &mut dyn Receiver) -> Taken {
        let mut count = 0;
        while self.due > 0 {
            let info = match self.take_next(buffer) {
                Ok(Some(info)) => info,
                Ok(None) => return Taken { count, is_all: true },
                Err(error) => {
                    // Fast DDS has taken the message out of its history all the same.
                    receiver.lost(self.index, 1);
                    if self.failed.due(Instant::now(), ONCE_A_MINUTE).is_some() {
                        let topic = self.wanted.topic.as_str();
                        tracing::error!(topic, "A message of {topic} could not be taken: {error}.");
                    }
                    return Taken { count, is_all: true };
                }
            };
            count += 1;
            self.due -= 1;
            match self.seen.judge(&info) {
                Judgement::Repeat => continue,
                Judgement::New { missing: 0 } => {}
                Judgement::New { missing } => receiver.lost(self.index, missing),
            }
            // Not every RMW tells when it received a message.
            let received_ns = if info.received_ns > 0 { info.received_ns } else { now_ns() };
            let sample = Sample { cdr: buffer.bytes(), source_ns: info.source_ns, received_ns };
            receiver.received(self.index, &sample);
            if Instant::now() >= end {
                break;
            }
        }
        Taken { count, is_all: self.due == 0 }
    }

    /// The next message, of a subscription that is being replaced first.
    fn take_next(&self, buffer: &mut Buffer) -> Result<Option<Info>, RosError> {
        for subscription in self.subscriptions().into_iter().flatten() {
            if let Some(info) = subscription.take(buffer)? {
                return Ok(Some(info));
            }
        }
        Ok(None)
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.wanted.topic
    }

    /// Asks DDS what it lost or refused since the last time.
    ///
    /// Of all that is open: with Fast DDS, what is not asked for ends each wait for its subscription at once.
    pub(super) fn ask_events(&mut self, receiver: &mut dyn Receiver) {
        let topic = self.wanted.topic.as_str();
        for subscription in self.subscriptions().into_iter().flatten() {
            match subscription.newly_lost() {
                // Numbered messages tell by themselves, and also of what was overwritten here before it could be taken.
                Ok(0) => {}
                Ok(_) if self.seen.are_numbered() => {}
                Ok(count) => receiver.lost(self.index, count),
                Err(error) => tracing::debug!(topic, "{error}."),
            }
            match subscription.newly_incompatible() {
                Ok(None) => {}
                Ok(Some((policy, count))) => receiver.refused(self.index, policy, count),
                Err(error) => tracing::debug!(topic, "{error}."),
            }
        }
    }
}

/// The wall clock, nanoseconds since 1970.
fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
