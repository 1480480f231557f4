//! The latest message of each ROS topic that a shadow reports.
//!
//! The ROS thread leaves it here as it came, for whoever reports it to decode when it is time: of a topic with a hundred messages
//! a second one a second is reported, and the others cost a copy each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::ros::{Sample, TopicState, Wanted};
use iot_bridge_core::codec::Schema;
use iot_bridge_core::config::{Durability, Reliability, Settings};

/// Longest message that is kept, in bytes of CDR: what makes more than the 8 KiB of JSON that a shadow holds, whatever it is
/// made of. A number of eight bytes is two characters at least.
const KEPT: usize = 64 << 10;

/// What is kept, by ROS topic.
#[derive(Default)]
pub(super) struct Reports(Mutex<BTreeMap<String, Arc<Report>>>);

/// What is kept of one topic.
#[derive(Default)]
pub(super) struct Report(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    schema: Option<Arc<Schema>>,
    latest: Option<Latest>,
    /// Messages so far, the latest among them.
    count: u64,
    /// Who is told of the next message, each once.
    wakers: Vec<Arc<Notify>>,
    /// `None` until the ROS thread has said something.
    state: Option<TopicState>,
}

/// One of those who report a topic. Each gets each message, whatever others have taken: several shadows may report the same.
pub(super) struct Reader {
    report: Arc<Report>,
    /// Messages up to the one that it has looked at.
    seen: u64,
}

/// A message.
#[derive(Debug, Clone)]
pub(super) enum Latest {
    /// As serialized, and the shape of its type.
    Message(Arc<Schema>, Arc<[u8]>),
    /// One of so many bytes, which no shadow can hold.
    TooLarge(usize),
}

/// The ROS topics of which `settings` have shadows report, each once.
pub(super) fn reported(settings: &Settings) -> Vec<String> {
    let mut topics: Vec<_> = settings.shadows.iter().filter_map(|shadow| shadow.report.clone()).collect();
    topics.sort_unstable();
    topics.dedup();
    topics
}

/// What the ROS thread is asked for, so that `topic` is reported.
pub(super) fn wanted(topic: &str) -> Wanted {
    Wanted {
        topic: topic.to_owned(),
        type_name: None,
        reliability: Reliability::Auto,
        durability: Durability::Auto,
        depth: 1,
    }
}

impl Reports {
    /// What is kept of `topic`.
    pub fn of(&self, topic: &str) -> Arc<Report> {
        Arc::clone(self.lock().entry(topic.to_owned()).or_default())
    }

    /// Somebody who reports `topic`, and has not looked at what is there.
    pub fn reader(&self, topic: &str) -> Reader {
        Reader { report: self.of(topic), seen: 0 }
    }

    /// Forgets all topics but these.
    pub fn keep(&self, topics: &[String]) {
        self.lock().retain(|topic, _| topics.contains(topic));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Report>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Report {
    /// Messages come in the shape of `schema` from now on.
    pub fn opened(&self, schema: &Arc<Schema>) {
        self.lock().schema = Some(Arc::clone(schema));
    }

    pub fn received(&self, sample: &Sample<'_>) {
        let kept = &mut *self.lock();
        let Some(schema) = &kept.schema else { return };
        kept.latest = Some(match sample.cdr.len() {
            0..=KEPT => Latest::Message(Arc::clone(schema), sample.cdr.into()),
            bytes => Latest::TooLarge(bytes),
        });
        kept.count += 1;
        kept.wakers.drain(..).for_each(|waker| waker.notify_one());
    }

    pub fn changed(&self, state: TopicState) {
        self.lock().state = Some(state);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    /// The latest message, once.
    pub fn take(&mut self) -> Option<Latest> {
        let kept = self.report.lock();
        let seen = std::mem::replace(&mut self.seen, kept.count);
        if seen < kept.count { kept.latest.clone() } else { None }
    }

    /// Has `waker` told of the next message; of one that it has not looked at it is told now.
    pub fn wake(&self, waker: Arc<Notify>) {
        let mut kept = self.report.lock();
        if self.seen < kept.count {
            waker.notify_one();
        } else if !kept.wakers.iter().any(|other| Arc::ptr_eq(other, &waker)) {
            kept.wakers.push(waker);
        }
    }

    /// How it stands with the subscription.
    pub fn state(&self) -> TopicState {
        self.report.lock().state.clone().unwrap_or(TopicState::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use iot_bridge_core::codec::{Count, Field, Kind};

    use super::*;

    fn sample(cdr: &[u8]) -> Sample<'_> {
        Sample { cdr, source_ns: 0, received_ns: 1 }
    }

    fn schema() -> Arc<Schema> {
        let field = Field { name: "data".to_owned(), kind: Kind::U8, count: Count::One };
        Arc::new(Schema { name: "a_msgs/msg/Number".to_owned(), fields: vec![field] })
    }

    /// The number in the latest message.
    fn latest(reader: &mut Reader) -> Option<u8> {
        match reader.take() {
            Some(Latest::Message(_, cdr)) => cdr.last().copied(),
            _ => None,
        }
    }

    /// Of several messages the last is there, once; whoever begins anew finds it again.
    #[test]
    fn the_latest_message_is_there_once() {
        let reports = Reports::default();
        let (report, mut reader) = (reports.of("/a"), reports.reader("/a"));
        report.received(&sample(&[0, 1, 0, 0, 7]));
        assert!(reader.take().is_none(), "a message of an unknown type");
        report.opened(&schema());
        for number in [1, 2] {
            report.received(&sample(&[0, 1, 0, 0, number]));
        }
        assert_eq!((latest(&mut reader), latest(&mut reader)), (Some(2), None));
        assert_eq!(latest(&mut reports.reader("/a")), Some(2));
        report.received(&sample(&vec![0; KEPT + 1]));
        assert!(matches!(reader.take(), Some(Latest::TooLarge(bytes)) if bytes == KEPT + 1));
        reports.keep(&["/b".to_owned()]);
        assert!(!Arc::ptr_eq(&report, &reports.of("/a")));
    }

    /// Of two who report the same topic, each gets each message and is told of it.
    #[tokio::test]
    async fn a_message_is_there_for_each_who_reports_it() {
        let reports = Reports::default();
        let report = reports.of("/a");
        report.opened(&schema());
        let mut readers = [(), ()].map(|()| (reports.reader("/a"), Arc::new(Notify::new())));
        for number in [1, 2] {
            readers.iter().for_each(|(reader, waker)| reader.wake(Arc::clone(waker)));
            report.received(&sample(&[0, 1, 0, 0, number]));
            for (reader, waker) in &mut readers {
                waker.notified().await;
                assert_eq!((latest(reader), latest(reader)), (Some(number), None));
            }
        }
    }

    /// It is told of one message, and at once of one that is there.
    #[tokio::test]
    async fn a_message_wakes() {
        let (reports, waker) = (Reports::default(), Arc::new(Notify::new()));
        let (report, reader) = (reports.of("/a"), reports.reader("/a"));
        report.opened(&schema());
        reader.wake(Arc::clone(&waker));
        report.received(&sample(&[0, 1, 0, 0, 7]));
        waker.notified().await;
        reader.wake(Arc::clone(&waker));
        waker.notified().await;
    }
}
