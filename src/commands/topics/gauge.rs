//! What the ROS thread receives, counted and kept in part.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::pace::Pace;
use crate::ros::{Receiver, Sample, Silence, TopicState, another_definition};
use iot_bridge_core::codec::Schema;
use iot_bridge_core::price::ObservedMessage;

/// Bytes of messages that are kept at most, of all topics together.
pub const KEPT: usize = 64 << 20;

/// Bytes of messages that are kept of a topic: enough for the longest batch, also where JSON is shorter than CDR.
const KEPT_OF_A_TOPIC: usize = 2 << 20;

/// Messages of a topic that are kept whatever their size while there is room: of two it is seen whether they are alike.
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
    /// Bytes of the last one that was dropped to make room.
    not_kept: Option<usize>,
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

    /// Makes room where more is kept than may be. Each topic has an equal share, and only what is beyond it goes: all messages
    /// but the last, and where that is not enough, that one too.
    fn make_room(&mut self) {
        let share = KEPT / self.topics.len().max(1);
        for at_least in [1, 0] {
            let mut kept: usize = self.topics.iter().map(|topic| topic.kept_bytes).sum();
            for topic in &mut self.topics {
                if kept <= KEPT {
                    return;
                }
                kept -= topic.kept_bytes;
                topic.shrink(at_least, share);
                kept += topic.kept_bytes;
            }
        }
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

    /// Bytes of a message, where there was no room to keep one.
    pub fn not_kept(&self) -> Option<usize> {
        self.not_kept.filter(|_| self.kept.is_empty())
    }

    fn keep(&mut self, sample: &Sample<'_>, most: usize) {
        self.kept_bytes += sample.cdr.len();
        self.kept.push_back(ObservedMessage {
            cdr: Bytes::copy_from_slice(sample.cdr),
            source_ns: sample.source_ns,
            received_ns: sample.received_ns,
        });
        self.shrink(KEPT_AT_LEAST, most);
    }

    /// Drops the oldest ones until at most `most` bytes are kept, or `at_least` so many messages.
    fn shrink(&mut self, at_least: usize, most: usize) {
        while self.kept.len() > at_least
            && self.kept_bytes > most
            && let Some(oldest) = self.kept.pop_front()
        {
            self.kept_bytes -= oldest.cdr.len();
            self.not_kept = Some(oldest.cdr.len());
        }
    }
}

impl Receiver for Gauge {
    fn opened(&mut self, index: usize, schema: &Arc<Schema>) {
        let Some(topic) = self.topics.get_mut(index) else { return };
        topic.schema = Some(Arc::clone(schema));
        // Of another type.
        topic.kept.clear();
        (topic.kept_bytes, topic.not_kept) = (0, None);
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
        self.make_room();
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
            TopicState::Subscribed { unmatched: Some(unmatched), .. } => Some(unmatched.sentence()),
            TopicState::Unknown | TopicState::Subscribed { .. } => None,
        };
    }

    fn silent(&mut self, _: usize, _: Option<Silence>) {}

    fn turned(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is kept of topics that have sent three messages each, as large as `sizes` says.
    fn gauged(sizes: &[usize]) -> Vec<Gauged> {
        let mut gauge = Gauge::default();
        gauge.add(sizes.len(), 0);
        for _ in 0..3 {
            for (index, size) in sizes.iter().enumerate() {
                gauge.received(index, &Sample { cdr: &vec![0; *size], source_ns: 1, received_ns: 2 });
                let kept: usize = gauge.topics.iter().map(|topic| topic.kept_bytes).sum();
                assert!(kept <= KEPT, "{kept} bytes are kept");
            }
        }
        gauge.take()
    }

    /// All topics together never keep more than they may: of large messages two are kept while there is room, then one, then
    /// none, and then their size is known. Small ones lose nothing by large ones.
    #[test]
    fn what_is_kept_is_bounded_over_all_topics() {
        const MB: usize = 1_000_000;
        let numbers = |sizes: &[usize]| gauged(sizes).iter().map(|topic| topic.kept.len()).collect::<Vec<_>>();
        assert_eq!(numbers(&[6 * MB; 5]), [2; 5]);
        assert_eq!(numbers(&[6 * MB; 11]), [1; 11]);
        let mut sizes = vec![6_200_000; 16];
        sizes.push(1000);
        let topics = gauged(&sizes);
        let (small, cameras) = topics.split_last().unwrap();
        assert_eq!((small.kept.len(), small.not_kept()), (3, None));
        for camera in cameras {
            assert_eq!(camera.not_kept(), camera.kept.is_empty().then_some(6_200_000));
        }
        assert!(cameras.iter().all(|camera| camera.kept.len() <= 1));
        assert_eq!(cameras.iter().filter(|camera| camera.kept.is_empty()).count(), 6);
    }
}
