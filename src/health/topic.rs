//! How it stands with one configured topic, and with all of them.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ros::{Silence, TopicState};
use iot_bridge_core::config::{self, UNNAMED, fill_thing};
use iot_bridge_core::tally::{DropReason, ShapedReason};
use iot_bridge_core::topics::Topic;
use iot_bridge_core::uplink::UplinkState;

/// What health knows of one configured topic; shared between the ROS thread, the queue and whoever reports. It
/// dereferences to the topic.
#[derive(Debug)]
pub struct TopicHealth {
    /// With its names, as far as the configuration fills them in, and what it counts.
    pub topic: Arc<Topic>,
    /// How its messages travel.
    pub sending: Sending,
    /// That has found it; `None` if the configuration names it.
    pattern: Mutex<Option<String>>,
    state: Mutex<TopicState>,
    /// Why nothing comes of it, if that is for long.
    silence: Mutex<Option<Silence>>,
    samples: Mutex<VecDeque<Sample>>,
}

/// How the configuration has the messages of a topic travel.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sending {
    pub batch: Option<config::Batch>,
    pub compression: Option<config::Encoding>,
    /// The bytes of DDS, which do not batch.
    pub is_cdr: bool,
    /// One record for the messages of a time, which has no `rate` beside it.
    pub has_window: bool,
    /// With QoS 1, so that the broker acknowledges it.
    pub has_puback: bool,
}

impl Sending {
    /// Most records that may wait for others to travel with.
    pub fn lingering(self) -> u64 {
        self.batch.filter(|batch| !batch.linger.is_zero()).map_or(0, |batch| batch.max.into())
    }
}

/// Whether what is published to `mqtt`, as far as the configuration fills it in, goes to the MQTT topic `to`: `{type}` stands
/// in it as it does in the configuration, and what is compressed may have an MQTT topic below.
pub(super) fn is_sent_to(mqtt: &str, type_name: Option<&str>, to: &str) -> bool {
    let filled = type_name.map_or(Cow::Borrowed(mqtt), |type_name| mqtt.replace("{type}", type_name).into());
    to.strip_prefix(&*filled).is_some_and(|below| matches!(below, "" | "/gzip" | "/zstd"))
}

/// How much has passed at one moment.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    received: u64,
    /// By anything but a window, which counts when it closes.
    shaped: u64,
    published_bytes: u64,
    lost: u64,
    lost_in_dds: u64,
    /// Dropped before they reached the queue, in the order of [`AT_RECEPTION`].
    dropped_at_reception: [u64; AT_RECEPTION.len()],
}

/// Reasons for which a message does not get into the queue, whatever is in there.
const AT_RECEPTION: [DropReason; 3] = [DropReason::TooLarge, DropReason::Malformed, DropReason::Unsupported];

/// How much passes in a second, of late.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// Messages from ROS.
    pub received: f64,
    /// Bytes of MQTT packets to the broker.
    pub published_bytes: f64,
    /// Messages dropped, for whatever reason, or lost in DDS.
    pub lost: f64,
}

/// What *of late* means, and how often it is looked at for that: short enough to see a change, long enough for topics
/// with a message in some seconds.
const LATELY: Duration = Duration::from_secs(10);
const APART: Duration = Duration::from_secs(1);

impl Deref for TopicHealth {
    type Target = Topic;

    fn deref(&self) -> &Topic {
        &self.topic
    }
}

impl TopicHealth {
    /// Health of `topic`, from now on.
    pub fn new(topic: Arc<Topic>) -> TopicHealth {
        let topic = TopicHealth {
            topic,
            sending: Sending::default(),
            pattern: Mutex::default(),
            state: Mutex::new(TopicState::Unknown),
            silence: Mutex::default(),
            samples: Mutex::default(),
        };
        topic.sample(Instant::now());
        topic
    }

    /// The same after a change of its configuration, upon which it is `topic`.
    pub fn succeeded_by(&self, topic: Arc<Topic>) -> TopicHealth {
        let successor = TopicHealth {
            topic,
            sending: self.sending,
            pattern: Mutex::new(self.pattern()),
            state: Mutex::new(self.state()),
            silence: Mutex::new(self.silence()),
            samples: Mutex::default(),
        };
        successor.sample(Instant::now());
        successor
    }

    /// The same with its messages sent as `settings` say.
    pub fn sent_as(self, settings: &config::Topic) -> TopicHealth {
        let config::Topic { batch, compression, payload, window, qos, .. } = settings;
        let sending = Sending {
            batch: *batch,
            compression: *compression,
            is_cdr: *payload == config::Payload::Cdr,
            has_window: window.is_some(),
            has_puback: *qos == config::Qos::AtLeastOnce,
        };
        TopicHealth { sending, ..self }
    }

    pub fn set_pattern(&self, pattern: Option<String>) {
        *self.pattern.lock().unwrap_or_else(PoisonError::into_inner) = pattern;
    }

    /// The pattern that has found it; `None` if the configuration names it.
    pub fn pattern(&self) -> Option<String> {
        self.pattern.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_state(&self, state: TopicState) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    pub fn state(&self) -> TopicState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_silence(&self, silence: Option<Silence>) {
        *self.silence.lock().unwrap_or_else(PoisonError::into_inner) = silence;
    }

    /// Why nothing comes of it, if that is for long.
    pub fn silence(&self) -> Option<Silence> {
        self.silence.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether its records wait because the broker refuses them, where the uplink of `thing` is in the state `uplink`.
    pub fn is_set_aside(&self, thing: &str, uplink: &UplinkState) -> bool {
        if uplink.set_aside.is_empty() {
            return false;
        }
        let thing = uplink.provisioned.as_deref().filter(|_| thing == UNNAMED).unwrap_or(thing);
        let mqtt = fill_thing(&self.mqtt, thing);
        let state = self.state();
        let type_name = match &state {
            TopicState::Subscribed { type_name, .. } => Some(type_name.as_str()),
            _ => None,
        };
        uplink.set_aside.iter().any(|to| is_sent_to(&mqtt, type_name, to))
    }

    /// What becomes of every message of late, if none of them reaches the queue: in words.
    pub fn loses_everything(&self, now: Instant) -> Option<&'static str> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, after) = (samples.front()?, self.passed(now));
        let dropped: [u64; AT_RECEPTION.len()] = std::array::from_fn(|reason| {
            after.dropped_at_reception[reason].saturating_sub(before.dropped_at_reception[reason])
        });
        let in_dds = after.lost_in_dds.saturating_sub(before.lost_in_dds);
        let all = dropped.iter().sum::<u64>();
        let shaped = after.shaped.saturating_sub(before.shaped);
        // What is received and neither shaped away nor dropped here is in the queue.
        if all + in_dds == 0 || after.received.saturating_sub(before.received) > all + shaped {
            return None;
        }
        let words = ["every message is too large", "every message is malformed", "every message is unsupported"];
        let causes = words.into_iter().zip(dropped).chain([("every message is lost in DDS", in_dds)]);
        causes.max_by_key(|(_, count)| *count).map(|(words, _)| words)
    }

    /// Remembers how much has passed until `now`. To be called about once a second; more often does nothing.
    pub fn sample(&self, now: Instant) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.back().is_some_and(|last| now.saturating_duration_since(last.at) < APART) {
            return;
        }
        samples.push_back(self.passed(now));
        while samples.get(1).is_some_and(|next| now.saturating_duration_since(next.at) >= LATELY) {
            samples.pop_front();
        }
    }

    /// How much has passed in a second since the oldest sample, at `now`.
    pub fn rates(&self, now: Instant) -> Rates {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(oldest) = samples.front() else { return Rates::default() };
        let seconds = now.saturating_duration_since(oldest.at).as_secs_f64();
        if seconds == 0.0 {
            return Rates::default();
        }
        let passed = self.passed(now);
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        Rates {
            received: rate(passed.received, oldest.received),
            published_bytes: rate(passed.published_bytes, oldest.published_bytes),
            lost: rate(passed.lost, oldest.lost),
        }
    }

    /// Says what became of the topic's messages, once, when the bridge stops or nothing of it is left.
    pub fn log_account(&self) {
        let (counters, topic) = (&self.counters, &self.ros);
        let (received, acknowledged) = (counters.received(), counters.acknowledged());
        let (shaped, dropped, recovered) = (counters.shaped_in_all(), counters.dropped_in_all(), counters.recovered());
        let (queued, lost_in_dds) = (counters.queued() + counters.in_flight(), counters.lost_in_dds());
        let found = if recovered > 0 { format!("{recovered} of an earlier process, ") } else { String::new() };
        let held_back = if shaped > 0 { format!("{shaped} shaped away, ") } else { String::new() };
        tracing::info!(
            topic,
            received,
            recovered,
            acknowledged,
            shaped,
            dropped,
            queued,
            lost_in_dds,
            "Topic {topic}: {received} received, {found}{acknowledged} acknowledged, {held_back}{dropped} dropped, {queued} \
             left in the queue."
        );
    }

    fn passed(&self, at: Instant) -> Sample {
        let counters = &self.counters;
        Sample {
            at,
            received: counters.received(),
            shaped: counters.shaped_in_all() - counters.shaped(ShapedReason::Window),
            published_bytes: counters.published_bytes(),
            lost: counters.dropped_in_all() + counters.lost_in_dds(),
            lost_in_dds: counters.lost_in_dds(),
            dropped_at_reception: AT_RECEPTION.map(|reason| counters.dropped(reason)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iot_bridge_core::topics::Registry;

    /// A rate is that of the last seconds, whatever was before; it falls to nothing when nothing comes.
    #[test]
    fn rates_are_those_of_late() {
        let topic = TopicHealth::new(Registry::default().topic("/odom", "odom"));
        let start = Instant::now() + APART;
        for second in 0..60 {
            let now = start + Duration::from_secs(second);
            topic.sample(now);
            topic.sample(now + Duration::from_millis(500));
            let rate = if second < 30 { 100 } else { 20 };
            (0..rate).for_each(|_| topic.counters.count_received());
            topic.counters.count_published(1000);
        }
        let rates = topic.rates(start + Duration::from_secs(60));
        assert!((18.0..22.0).contains(&rates.received), "{rates:?}");
        assert!((900.0..1100.0).contains(&rates.published_bytes), "{rates:?}");
        for second in 60..75 {
            topic.sample(start + Duration::from_secs(second));
        }
        assert_eq!(topic.rates(start + Duration::from_secs(75)), Rates::default());
    }

    /// A topic of which nothing gets into the queue is known with the cause; one that loses a part is not.
    #[test]
    fn a_topic_that_loses_everything_is_known() {
        let topic = TopicHealth::new(Registry::default().topic("/camera", "camera"));
        let now = Instant::now() + APART;
        assert_eq!(topic.loses_everything(now), None);
        for _ in 0..3 {
            topic.counters.count_received();
            topic.counters.count_dropped(DropReason::TooLarge);
        }
        topic.counters.count_lost_in_dds(1);
        assert_eq!(topic.loses_everything(now), Some("every message is too large"));
        // What the configuration holds back does not get there either, and what it lets pass is lost.
        topic.counters.count_received();
        topic.counters.count_shaped(ShapedReason::Rate);
        assert_eq!(topic.loses_everything(now), Some("every message is too large"));
        topic.counters.count_lost_in_dds(10);
        assert_eq!(topic.loses_everything(now), Some("every message is lost in DDS"));
        topic.counters.count_received();
        assert_eq!(topic.loses_everything(now), None);
        // A window counts what it has gathered for long when it closes.
        let windows = TopicHealth::new(Registry::default().topic("/imu", "imu"));
        windows.counters.count_received();
        windows.counters.count_lost_in_dds(1);
        windows.counters.count_shaped_by(ShapedReason::Window, 599);
        assert_eq!(windows.loses_everything(now), None);
        // A full queue that drops older records takes the new ones.
        let full = TopicHealth::new(Registry::default().topic("/odom", "odom"));
        full.counters.count_received();
        full.counters.count_dropped(DropReason::Overflow);
        assert_eq!(full.loses_everything(now), None);
    }
}
