//! One wanted topic: it is subscribed as soon and as well as its publishers allow.

use std::ffi::CString;
use std::sync::Arc;

use super::context::Node;
use super::error::RosError;
use super::graph;
use super::qos::Qos;
use super::subscription::{Buffer, Info, Subscription};
use super::type_support::TypeSupports;
use super::{Receiver, Sample, TopicState, Wanted};

/// Messages of one topic that are taken before the others get their turn.
const TAKEN_IN_A_ROW: usize = 256;

/// Publishers whose last message is remembered.
const REMEMBERED_PUBLISHERS: usize = 64;

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
    state: TopicState,
    seen: Seen,
}

impl Topic {
    pub(super) fn new(index: usize, wanted: Wanted) -> Result<Topic, RosError> {
        let name = graph::topic_name(&wanted.topic)?;
        Ok(Topic { index, wanted, name, open: None, state: TopicState::Unknown, seen: Seen::default() })
    }

    pub(super) fn subscription(&self) -> Option<&Subscription> {
        self.open.as_ref().map(|open| &open.subscription)
    }

    /// Looks at the graph, and opens, changes or keeps the subscription accordingly.
    pub(super) fn follow(&mut self, node: &Arc<Node>, types: &mut TypeSupports, receiver: &mut dyn Receiver) {
        let state = match self.try_follow(node, types, receiver) {
            Ok(state) => state,
            Err(trouble) => TopicState::Trouble(trouble),
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
                tracing::error!(topic, reason = trouble.as_str(), "Topic {topic} can't be received: {trouble}.");
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
            self.seen.expect_repeats();
        } else {
            receiver.opened(self.index, support.schema());
        }
        self.open = Some(Open { subscription, type_name: type_name.to_owned(), qos });
        Ok(())
    }

    /// Takes what is ready, up to a bound, and hands it on. An error is logged and leaves the topic as it is.
    pub(super) fn take(&mut self, buffer: &mut Buffer, receiver: &mut dyn Receiver) {
        let Some(open) = &self.open else { return };
        for _ in 0..TAKEN_IN_A_ROW {
            match open.subscription.take(buffer) {
                Ok(Some(info)) => {
                    if self.seen.is_new(&info) {
                        let sample =
                            Sample { cdr: buffer.bytes(), source_ns: info.source_ns, received_ns: info.received_ns };
                        receiver.received(self.index, &sample);
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    tracing::error!(topic = self.wanted.topic.as_str(), "{error}.");
                    return;
                }
            }
        }
    }

    /// Asks DDS what it lost or refused since the last time.
    pub(super) fn ask_events(&mut self, receiver: &mut dyn Receiver) {
        let Some(open) = &self.open else { return };
        let topic = self.wanted.topic.as_str();
        match open.subscription.newly_lost() {
            Ok(0) => {}
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

/// Recognises what a new subscription delivers again.
///
/// A subscription with another QoS is a new one for DDS, and transient-local publishers send it what the one before
/// has delivered already.
#[derive(Default)]
struct Seen {
    /// The newest message of each publisher.
    newest: Vec<([u8; 16], u64)>,
    repeats_expected: bool,
}

impl Seen {
    fn expect_repeats(&mut self) {
        self.repeats_expected = true;
    }

    fn is_new(&mut self, info: &Info) -> bool {
        if info.number == u64::MAX {
            return true;
        }
        match self.newest.iter_mut().find(|(publisher, _)| *publisher == info.publisher) {
            Some((_, newest)) if self.repeats_expected && info.number <= *newest => false,
            Some((_, newest)) => {
                *newest = info.number;
                true
            }
            None => {
                if self.newest.len() == REMEMBERED_PUBLISHERS {
                    self.newest.remove(0);
                }
                self.newest.push((info.publisher, info.number));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(publisher: u8, number: u64) -> Info {
        Info { source_ns: 0, received_ns: 0, publisher: [publisher; 16], number }
    }

    #[test]
    fn what_was_delivered_before_a_new_subscription_is_not_delivered_again() {
        let mut seen = Seen::default();
        assert!(seen.is_new(&info(1, 1)) && seen.is_new(&info(1, 2)) && seen.is_new(&info(2, 1)));
        seen.expect_repeats();
        assert!(!seen.is_new(&info(1, 1)) && !seen.is_new(&info(1, 2)) && !seen.is_new(&info(2, 1)));
        assert!(seen.is_new(&info(1, 3)) && seen.is_new(&info(3, 1)));
    }

    #[test]
    fn publishers_without_numbers_and_countless_publishers_are_let_through() {
        let mut seen = Seen::default();
        seen.expect_repeats();
        assert!(seen.is_new(&info(1, u64::MAX)) && seen.is_new(&info(1, u64::MAX)));
        for publisher in 0..=255 {
            assert!(seen.is_new(&info(publisher, 1)));
        }
        assert!(seen.newest.len() <= REMEMBERED_PUBLISHERS);
    }
}
