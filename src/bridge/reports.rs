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
    /// Whether nobody has looked at the latest.
    is_new: bool,
    /// Who is told of the next message.
    waker: Option<Arc<Notify>>,
    /// `None` until the ROS thread has said something.
    state: Option<TopicState>,
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
        kept.is_new = true;
        if let Some(waker) = kept.waker.take() {
            waker.notify_one();
        }
    }

    pub fn changed(&self, state: TopicState) {
        self.lock().state = Some(state);
    }

    /// How it stands with the subscription.
    pub fn state(&self) -> TopicState {
        self.lock().state.clone().unwrap_or(TopicState::Unknown)
    }

    /// Somebody else reports it from now on, and has not looked at what is there.
    pub fn begin(&self) {
        let mut kept = self.lock();
        (kept.is_new, kept.waker) = (kept.latest.is_some(), None);
    }

    /// The latest message, once.
    pub fn take(&self) -> Option<Latest> {
        let mut kept = self.lock();
        if std::mem::take(&mut kept.is_new) { kept.latest.clone() } else { None }
    }

    /// Has `waker` told of the next message; of one that nobody has looked at it is told now.
    pub fn wake(&self, waker: Arc<Notify>) {
        let mut kept = self.lock();
        if kept.is_new {
            waker.notify_one();
        } else {
            kept.waker = Some(waker);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use iot_bridge_core::codec::{Count, Field, Kind};

    use super::*;

    fn sample(cdr: &[u8]) -> Sample<'_> {
        Sample { cdr, source_ns: 0, received_ns: 1 }
    }

    /// Of several messages the last is there, once; whoever begins anew finds it again.
    #[test]
    fn the_latest_message_is_there_once() {
        let (reports, schema) = (
            Reports::default(),
            Schema {
                name: "a_msgs/msg/Number".to_owned(),
                fields: vec![Field { name: "data".to_owned(), kind: Kind::U8, count: Count::One }],
            },
        );
        let report = reports.of("/a");
        report.received(&sample(&[0, 1, 0, 0, 7]));
        assert!(report.take().is_none(), "a message of an unknown type");
        report.opened(&Arc::new(schema));
        for number in [1, 2] {
            report.received(&sample(&[0, 1, 0, 0, number]));
        }
        let latest = |report: &Report| match report.take() {
            Some(Latest::Message(_, cdr)) => cdr.last().copied(),
            _ => None,
        };
        assert_eq!((latest(&report), latest(&report)), (Some(2), None));
        reports.of("/a").begin();
        assert_eq!(latest(&report), Some(2));
        report.received(&sample(&vec![0; KEPT + 1]));
        assert!(matches!(report.take(), Some(Latest::TooLarge(bytes)) if bytes == KEPT + 1));
        reports.keep(&["/b".to_owned()]);
        assert!(!Arc::ptr_eq(&report, &reports.of("/a")));
    }

    /// It is told of one message, and at once of one that is there.
    #[tokio::test]
    async fn a_message_wakes() {
        let (report, waker) = (Report::default(), Arc::new(Notify::new()));
        report.opened(&Arc::new(Schema { name: "a_msgs/msg/Empty".to_owned(), fields: Vec::new() }));
        report.wake(Arc::clone(&waker));
        report.received(&sample(&[0, 1, 0, 0, 7]));
        waker.notified().await;
        report.wake(Arc::clone(&waker));
        waker.notified().await;
    }
}
