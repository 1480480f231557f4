//! What has become of what is on trial, and the figures of the moment.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::FIGURES;
use crate::health::{BehindState, Topics};
use iot_bridge_core::queue::{Mark, Queue};
use iot_bridge_core::remote::{Evidence, Figures, TopicEvidence};
use iot_bridge_core::uplink::UplinkState;
use tokio::sync::watch;

/// Asks the stages.
pub(in crate::bridge) struct Witness {
    thing: String,
    queue: Arc<Queue>,
    topics: Arc<Topics>,
    uplink: watch::Receiver<UplinkState>,
    behind: Arc<BehindState>,
    /// From when on records go by the configuration in force.
    mark: Mark,
    told: Option<(Instant, Figures)>,
}

impl Witness {
    /// Of a bridge that begins with its configuration now: no record has been admitted yet.
    pub fn new(
        thing: String,
        queue: Arc<Queue>,
        topics: Arc<Topics>,
        uplink: watch::Receiver<UplinkState>,
        behind: Arc<BehindState>,
    ) -> Witness {
        let mark = queue.mark();
        Witness { thing, queue, topics, uplink, behind, mark, told: None }
    }

    /// Another configuration is in force, for records since `mark`.
    pub fn since(&mut self, mark: Mark) {
        self.mark = mark;
    }

    /// This moment in the order of records.
    pub fn now(&self) -> Mark {
        self.queue.mark()
    }

    /// What has become of the topics since the trial that `began` then; of none, if the configuration on trial does not set
    /// topics.
    ///
    /// A record that waits behind others of its topic that were there before has not had its turn, and says nothing: after an
    /// outage there may be hours of them.
    pub fn evidence(&self, began: Instant, sets_topics: bool) -> Evidence {
        let uplink = self.uplink.borrow();
        let is_connected = uplink.is_connected();
        if !sets_topics {
            return Evidence { began, is_connected, topics: Vec::new() };
        }
        let configured = self.topics.configured();
        let since = self.queue.since(self.mark, configured.iter().map(|topic| &*topic.counters));
        let topics = configured.iter().zip(since).map(|(topic, since)| {
            let is_forbidden = topic.is_set_aside(&self.thing, &uplink);
            let has_puback = topic.sending.has_puback;
            let had_turn = since.confirmed || is_forbidden || !since.has_older;
            TopicEvidence {
                name: topic.ros.clone(),
                had_record: has_puback && since.admitted && had_turn,
                is_acknowledged: has_puback && since.confirmed,
                is_forbidden,
            }
        });
        let patterns = self.topics.patterns();
        let without_topic = patterns.iter().filter(|found| found.topics == 0).map(|found| TopicEvidence {
            name: found.ros.clone(),
            had_record: false,
            is_acknowledged: false,
            is_forbidden: false,
        });
        Evidence { began, is_connected, topics: topics.chain(without_topic).collect() }
    }

    /// The figures for the fleet's index, if they have changed and it is time for them.
    pub fn figures(&mut self, now: Instant) -> Option<Figures> {
        let before = self.told;
        if before.is_some_and(|(at, _)| now.saturating_duration_since(at) < FIGURES) {
            return None;
        }
        let shown = self.topics.untold();
        let dropped: u64 = shown.iter().map(|topic| topic.counters.dropped_in_all()).sum();
        let oldest = self.queue.figures().lanes.iter().filter_map(|lane| lane.oldest_received_ns).min();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let oldest_s = oldest.map_or(0, |ns| wall.saturating_sub(u64::try_from(ns).unwrap_or(0) / 1_000_000_000));
        let figures = Figures {
            behind: self.behind.read().is_some(),
            // Topics that have vanished take what they have dropped with them.
            dropped: dropped.max(before.map_or(0, |(_, figures)| figures.dropped)),
            oldest_s,
        };
        self.told = Some((now, figures));
        (before.map(|(_, figures)| figures) != Some(figures)).then_some(figures)
    }
}
