//! What the ROS thread receives, counted and kept in part.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::pace::Pace;
use crate::ros::{Receiver, Sample, Silence, TopicState, another_definition};
use iot_bridge_core::codec::Schema;
use iot_bridge_core::price::ObservedMessage;

/// Bytes of messages that are kept at most, of all topics together.
const KEPT: usize = 64 << 20;

/// Bytes of messages that are kept of a topic: enough for the longest batch, also where JSON is shorter than CDR.
const KEPT_OF_A_TOPIC: usize = 2 << 20;

/// Messages of a topic that are kept whatever their size: of two it is seen whether they are alike.
const KEPT_AT_LEAST: usize = 2;

/// How long what was published before may take to come, in nanoseconds.
const SETTLES: i64 = 1_000_000_000;

/// What has come of each topic.
#[derive(Default)]
pub struct Gauge {
    pub topics: Vec<Gauged>,
    /// Messages are counted from some moment on.
    is_counting: bool,
}

/// What has come of a topic.
#[derive(Default)]
pub struct Gauged {
    /// Its shape, once it is received.
    pub schema: Option<Arc<Schema>>,
    /// Why it can't be received or read: a sentence without its full stop.
    pub trouble: Option<String>,
    pub pace: Pace,
    /// From when on messages are counted, nanoseconds since 1970. What comes before was published before, perhaps.
    pub from: Option<i64>,
    /// Of messages that were counted.
    count: u64,
    bytes: u64,
    /// The last ones.
    kept: VecDeque<ObservedMessage>,
    kept_bytes: usize,
}

impl Gauge {
    /// Some more topics are received, from `now` on. Where others are counted already, they soon are.
    pub fn add(&mut self, topics: usize, now: i64) {
        let from = self.is_counting.then_some(now + SETTLES);
        self.topics.extend((0..topics).map(|_| Gauged { from, ..Gauged::default() }));
    }

    /// Messages that come from now on, which is `now`, are counted.
    pub fn begin(&mut self, now: i64) {
        self.is_counting = true;
        self.topics.iter_mut().for_each(|topic| topic.from = Some(now));
    }

    /// Takes what has come.
    pub fn take(&mut self) -> Vec<Gauged> {
        std::mem::take(&mut self.topics)
    }
}

impl Gauged {
    /// Bytes of a message on average, as ROS sends it.
    pub fn message_bytes(&self) -> f64 {
        if self.count > 0 { self.bytes as f64 / self.count as f64 } else { 0.0 }
    }

    /// Those that were kept, in their order.
    pub fn kept(&self) -> Vec<ObservedMessage> {
        self.kept.iter().cloned().collect()
    }

    fn keep(&mut self, sample: &Sample<'_>, most: usize) {
        self.kept_bytes += sample.cdr.len();
        self.kept.push_back(ObservedMessage {
            cdr: Bytes::copy_from_slice(sample.cdr),
            source_ns: sample.source_ns,
            received_ns: sample.received_ns,
        });
        while self.kept.len() > KEPT_AT_LEAST
            && self.kept_bytes > most
            && let Some(oldest) = self.kept.pop_front()
        {
            self.kept_bytes -= oldest.cdr.len();
        }
    }
}

impl Receiver for Gauge {
    fn opened(&mut self, index: usize, schema: &Arc<Schema>) {
        let Some(topic) = self.topics.get_mut(index) else { return };
        topic.schema = Some(Arc::clone(schema));
        // Of another type.
        topic.kept.clear();
        topic.kept_bytes = 0;
    }

    fn received(&mut self, index: usize, sample: &Sample<'_>) {
        let most = KEPT_OF_A_TOPIC.min(KEPT / self.topics.len().max(1));
        let Some(topic) = self.topics.get_mut(index) else { return };
        topic.keep(sample, most);
        if topic.from.is_some_and(|from| sample.received_ns >= from) {
            topic.pace.came(sample.received_ns);
            topic.count += 1;
            topic.bytes += sample.cdr.len() as u64;
        }
    }

    fn unreadable(&mut self, _: usize) {}

    fn lost(&mut self, index: usize, count: u64) {
        if let Some(topic) = self.topics.get_mut(index).filter(|topic| topic.count > 0) {
            topic.pace.missed(count);
        }
    }

    fn refused(&mut self, _: usize, _: &'static str, _: u64) {}

    fn changed(&mut self, index: usize, state: TopicState) {
        let Some(topic) = self.topics.get_mut(index) else { return };
        topic.trouble = match state {
            TopicState::Trouble(trouble) => Some(trouble),
            TopicState::Subscribed { type_name, publishers, redefined: redefined @ 1.., .. } => {
                Some(another_definition(&type_name, redefined, publishers))
            }
            TopicState::Unknown | TopicState::Subscribed { .. } => None,
        };
    }

    fn silent(&mut self, _: usize, _: Option<Silence>) {}

    fn turned(&mut self) {}
}
