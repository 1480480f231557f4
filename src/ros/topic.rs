//! One wanted topic: it is subscribed as soon and as well as its publishers allow.

use std::ffi::CString;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::context::Node;
use super::error::RosError;
use super::graph;
use super::qos::Qos;
use super::seen::{Judgement, Seen};
use super::subscription::{Buffer, Info, Subscription};
use super::type_support::TypeSupports;
use super::{Receiver, Sample, TopicState, Wanted};
use crate::health::{ONCE_A_MINUTE, Repeat};

/// Subscriptions of a topic at a time: the one that is being replaced, and the one in use.
pub(super) const SUBSCRIPTIONS: usize = 2;

/// How long a replaced subscription goes on delivering: until its successor is matched with the publishers.
const OVERLAP: Duration = Duration::from_secs(1);

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
            ended: false,
        }
    }

    /// It is wanted no more.
    pub(super) fn end(&mut self) {
        self.open = None;
        self.retiring = None;
        self.ended = true;
    }

    /// What to wait for.
    pub(super) fn subscriptions(&self) -> [Option<&Subscription>; SUBSCRIPTIONS] {
        [
            self.retiring.as_ref().map(|(subscription, _)| subscription),
            self.open.as_ref().map(|open| &open.subscription),
        ]
    }

    /// Looks at the graph, and opens, changes or keeps the subscription accordingly.
    pub(super) fn follow(&mut self, node: &Arc<Node>, types: &mut TypeSupports, receiver: &mut dyn Receiver) {
        if self.ended {
            return;
        }
        let state = match self.try_follow(node, types, receiver) {
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
            self.open(node, types, receiver, &type_name, qos)?;
        }
        let delivering = publishers.iter().filter(|publisher| qos.accepts(publisher)).count();
        let incompatible = publishers.len() - delivering;
        Ok(TopicState::Subscribed { type_name, publishers: delivering, incompatible })
    }

    fn open(
        &mut self,
        node: &Arc<Node>,
        types: &mut TypeSupports,
        receiver: &mut dyn Receiver,
        type_name: &str,
        qos: Qos,
    ) -> Result<(), String> {
        let known = self.open.as_ref().is_some_and(|open| open.type_name == type_name);
        let support = types.get(type_name).map_err(|error| error.to_string())?;
        if !known {
            // DDS takes no second type for a topic while a subscription with the first is there.
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

    /// Ends a replaced subscription whose time is over.
    pub(super) fn retire(&mut self, now: Instant) {
        if self.retiring.as_ref().is_some_and(|(_, until)| *until <= now) {
            self.end_retiring();
        }
    }

    fn end_retiring(&mut self) {
        self.retiring = None;
        self.seen.overlap_ends();
    }

    /// Takes what is ready, `most` messages at the most, and hands it on. Answers whether there may be more.
    pub(super) fn take(&mut self, most: usize, buffer: &mut Buffer, receiver: &mut dyn Receiver) -> bool {
        for _ in 0..most {
            let info = match self.take_next(buffer) {
                Ok(Some(info)) => info,
                Ok(None) => return false,
                Err(error) => {
                    // Fast DDS has taken the message out of its history all the same.
                    receiver.lost(self.index, 1);
                    if self.failed.due(Instant::now(), ONCE_A_MINUTE).is_some() {
                        let topic = self.wanted.topic.as_str();
                        tracing::error!(topic, "A message of {topic} could not be taken: {error}.");
                    }
                    return false;
                }
            };
            match self.seen.judge(&info) {
                Judgement::Repeat => continue,
                Judgement::New { missing: 0 } => {}
                Judgement::New { missing } => receiver.lost(self.index, missing),
            }
            // Not every RMW tells when it received a message.
            let received_ns = if info.received_ns > 0 { info.received_ns } else { now_ns() };
            let sample = Sample { cdr: buffer.bytes(), source_ns: info.source_ns, received_ns };
            receiver.received(self.index, &sample);
        }
        true
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

    /// Takes everything that has arrived, which is at most what DDS keeps.
    pub(super) fn take_all(&mut self, buffer: &mut Buffer, receiver: &mut dyn Receiver) {
        self.take(self.wanted.depth.saturating_mul(SUBSCRIPTIONS), buffer, receiver);
    }

    /// Asks DDS what it lost or refused since the last time.
    pub(super) fn ask_events(&mut self, receiver: &mut dyn Receiver) {
        let Some(open) = &self.open else { return };
        let topic = self.wanted.topic.as_str();
        match open.subscription.newly_lost() {
            // Numbered messages tell by themselves, and also of what was overwritten here before it could be taken.
            Ok(0) => {}
            Ok(_) if self.seen.are_numbered() => {}
            Ok(count) => receiver.lost(self.index, count),
            Err(error) => tracing::debug!(topic, "{error}."),
        }
        match open.subscription.newly_incompatible() {
            Ok(None) => {}
            Ok(Some((policy, count))) => receiver.refused(self.index, policy, count),
            Err(error) => tracing::debug!(topic, "{error}."),
        }
    }
}

/// The wall clock, nanoseconds since 1970.
fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
