//! A device shadow as ROS topics: what a topic says is reported, what is desired is published on another.
//!
//! [`shadows::Shadow`] decides what is sent and when; here is what it needs of ROS and of the queue. The latest message of `report`
//! is taken with a [`Reader`] from where the ROS thread leaves it, as often as it may be reported. What is desired is published on
//! `desired` as soon as somebody subscribes to it; until then it stays in the shadow.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Map, Value, json};

use super::opening::{Opened, Opening};
use super::trouble::{News, Trouble, joined};
use super::{Handler, Outside, Reply, ReplyTo};
use crate::bridge::reports::{Latest, Reader};
use crate::health::{RequestHealth, ShadowStanding, Standing};
use crate::ros::{NotPublished, Outlet, Reach, TopicState};
use iot_bridge_core::codec::{DecodeError, Decoder, Encoder, JsonBuffer, Schema};
use iot_bridge_core::config::units::period;
use iot_bridge_core::config::{self, Qos, STRING_TYPE};
use iot_bridge_core::mqtt::client::Arrival;
use iot_bridge_core::shadows::{self, Client, DOCUMENT_LIMIT, Event, Rejection, State, Topics};
use iot_bridge_core::tally::{ONCE_A_MINUTE, Repeat};
use iot_bridge_core::uplink::Subscription;

/// Longest JSON text of a message that is looked at: there may be much in it that is null, and not stored.
const TEXT_LIMIT: usize = 64 << 10;

/// What has become of something, as metrics name it.
mod outcome {
    pub const DELIVERED: &str = "delivered";
    pub const UPDATED: &str = "updated";
    pub const MALFORMED: &str = "malformed";
    pub const TOO_LARGE: &str = "too_large";
    pub const REJECTED: &str = "rejected";
    pub const THROTTLED: &str = "throttled";
    pub const CONFLICT: &str = "conflict";
    pub const TIMEOUT: &str = "timeout";
    pub const STALE: &str = "stale";

    pub const ALL: [&str; 9] =
        [DELIVERED, UPDATED, MALFORMED, TOO_LARGE, REJECTED, THROTTLED, CONFLICT, TIMEOUT, STALE];
}

pub(super) struct Shadow {
    settings: config::Shadow,
    topics: Topics,
    health: Arc<RequestHealth>,
    shadow: shadows::Shadow,
    reporting: Option<Reporting>,
    opening: Opening<Open>,
    open: Option<Open>,
    reach: Reach,
    standing: ShadowStanding,
    /// What was counted so far of what nothing tells of.
    counted: (u64, u64),
    /// What keeps what is desired from being published.
    missing: Trouble,
    /// Who does not get it, and why.
    unreached: Trouble,
    said: Said,
}

/// What is said once a minute.
#[derive(Default)]
struct Said {
    malformed: Repeat,
    refused: Repeat,
    rejected: Repeat,
    report: Repeat,
    unpublished: Repeat,
}

/// What is reported.
struct Reporting {
    topic: String,
    /// `None` until the first turn.
    reader: Option<Reader>,
    decoder: Option<Decoder>,
    text: JsonBuffer,
    interval: Duration,
    /// When the next message may be looked at.
    next: Option<Instant>,
    /// Whether the last message could not be reported.
    is_refused: bool,
}

/// What is published with.
struct Open {
    outlet: Arc<Outlet>,
    encoder: Encoder,
}

impl Shadow {
    pub fn new(settings: config::Shadow, health: Arc<RequestHealth>) -> Shadow {
        let reporting = settings.report.clone().map(|topic| Reporting::new(topic, settings.report_rate));
        health.outcomes().expect(outcome::ALL);
        let report = settings.report.is_some().then_some(settings.report_rate);
        Shadow {
            topics: Topics::of(&settings.name),
            health,
            shadow: shadows::Shadow::new(report, settings.desired.is_some(), Client::from_entropy()),
            reporting,
            opening: Opening::default(),
            open: None,
            reach: Reach::default(),
            standing: ShadowStanding::default(),
            counted: (0, 0),
            missing: Trouble::default(),
            unreached: Trouble::default(),
            said: Said::default(),
            settings,
        }
    }

    /// As logs name it.
    fn name(&self) -> String {
        match self.settings.name.as_str() {
            "" => "the classic shadow".to_owned(),
            name => format!("the shadow {name}"),
        }
    }

    /// Looks at the latest message, if it is time.
    fn look(&mut self, outside: &Outside, now: Instant) {
        let Some(reporting) = &mut self.reporting else { return };
        let reader = reporting.reader.get_or_insert_with(|| outside.reports.reader(&reporting.topic));
        if reporting.next.is_some_and(|next| next > now) {
            return;
        }
        let Some(latest) = reader.take() else {
            reporting.next = None;
            reader.wake(outside.waker());
            return;
        };
        reporting.next = Some(now + reporting.interval);
        let reported = reporting
            .read(&latest)
            .and_then(|message| self.shadow.report(message).map_err(|error| Unfit::large(&error)));
        let was_refused = std::mem::replace(&mut reporting.is_refused, reported.is_err());
        let topic = &self.settings.report;
        match reported {
            Ok(()) if was_refused => tracing::info!(topic, "What {} reports fits again.", self.name()),
            Ok(()) => {}
            Err(Unfit { outcome, detail }) => {
                let total = self.health.refused(outcome, &detail, None);
                if self.said.report.due(now, ONCE_A_MINUTE).is_some() {
                    tracing::error!(
                        topic,
                        total,
                        "A message is not reported in {}: {detail} ({total} so far).",
                        self.name()
                    );
                }
            }
        }
    }

    /// Hands what is wished to ROS, if somebody takes it.
    fn hand_over(&mut self, now: Instant) {
        let Some(wish) = self.shadow.wish() else { return };
        let Some(Open { outlet, encoder }) = &self.open else { return };
        let (version, text) = (wish.version, Value::Object(wish.state.clone()).to_string());
        let text = if self.settings.desired_type.is_none() { json!({ "data": text }).to_string() } else { text };
        let mut cdr = Vec::new();
        if let Err(error) = encoder.encode(text.as_bytes(), &mut cdr) {
            self.shadow.was_refused();
            let total = self.health.refused(outcome::MALFORMED, &error.to_string(), Some(&version_of(version)));
            if self.said.refused.due(now, ONCE_A_MINUTE).is_some() {
                tracing::warn!(
                    version,
                    total,
                    "What is desired in {} does not fit its type and stays there: {error} ({total} so far).",
                    self.name()
                );
            }
            return;
        }
        match outlet.publish(&cdr) {
            Ok(_) => {
                self.shadow.was_handed_over();
                self.health.accepted(outcome::DELIVERED, Some(&version_of(version)));
                tracing::debug!(version, "What is desired in {} was published.", self.name());
            }
            // It stays in the shadow, and is tried again with each turn.
            Err(NotPublished::Nobody | NotPublished::Forbidden(_)) => {}
            Err(NotPublished::Ros(error)) => {
                if self.said.unpublished.due(now, ONCE_A_MINUTE).is_some() {
                    tracing::warn!(
                        version,
                        "What is desired in {} could not be published on ROS, and is tried again: {error}.",
                        self.name()
                    );
                }
            }
        }
    }

    /// Sends what is to be sent.
    fn send(&mut self, outside: &Outside, now: Instant) {
        while let Some(outgoing) = self.shadow.next(now) {
            let to = ReplyTo { topic: self.topics.of_request(outgoing.method), correlation: None };
            let (of, payload) = (self.health.mqtt.as_str(), outgoing.payload.as_bytes());
            // What the queue does not take has no answer, like what gets lost.
            outside.replies.send(Reply { of, to: &to, payload, max_age: shadows::TIMEOUT }, now);
        }
    }

    fn note(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Accepted { version } => {
                self.health.accepted(outcome::UPDATED, Some(&version_of(*version)));
                self.standing.updated = Some(std::time::SystemTime::now());
            }
            Event::Delta { .. } => self.standing.delta = Some(std::time::SystemTime::now()),
            Event::Document { delta, .. } if !delta.is_empty() => {
                self.standing.delta = Some(std::time::SystemTime::now());
            }
            Event::Conflict => _ = self.health.outcomes().count(outcome::CONFLICT),
            Event::Throttled(rejection) => self.note_rejected(outcome::THROTTLED, rejection, "sent again later", now),
            Event::Rejected(rejection) => {
                let again = match rejection.is_for_a_connection() {
                    true => "sent again when it changes or at the next connect",
                    false => "not sent again unless it changes",
                };
                self.note_rejected(outcome::REJECTED, rejection, again, now);
            }
            Event::Document { .. } | Event::NoShadow | Event::TimedOut | Event::Written { .. } | Event::Other => {}
        }
    }

    fn note_rejected(&mut self, outcome: &'static str, rejection: &Rejection, what: &str, now: Instant) {
        let Rejection { code, message } = rejection;
        let total = self.health.refused(outcome, &format!("{code} {message}"), None);
        if self.said.rejected.due(now, ONCE_A_MINUTE).is_some() {
            tracing::warn!(
                code,
                total,
                "AWS IoT Core has refused an update of {}, which is {what}: {code} {message} ({total} so far).",
                self.name()
            );
        }
    }

    /// Tells health how it stands, and the log of what is wrong.
    fn tell(&mut self, now: Instant) {
        let figures = (self.shadow.stale(), self.shadow.figures().timed_out);
        for (outcome, before, after) in
            [(outcome::STALE, self.counted.0, figures.0), (outcome::TIMEOUT, self.counted.1, figures.1)]
        {
            (before..after).for_each(|_| _ = self.health.outcomes().count(outcome));
        }
        self.counted = figures;
        self.standing.version = self.shadow.version();
        self.health.set_shadow(self.standing.clone());
        if let Some(topic) = self.settings.desired.clone() {
            self.tell_of_desired(&topic, now);
        }
        // Of what is reported the ROS thread tells the log.
        let not_received = self.reporting.as_ref().and_then(|reporting| match reporting.reader.as_ref()?.state() {
            TopicState::Trouble(trouble) => Some(format!("{} is not received: {trouble}", reporting.topic)),
            _ => None,
        });
        let topic = self.settings.desired.as_deref().unwrap_or_default();
        let missing = self.missing.why().map(|why| format!("what is desired is not published on {topic}: {why}"));
        let unreached =
            self.unreached.why().map(|all| format!("what is desired does not reach everybody on {topic}: {all}"));
        let trouble: Vec<String> = not_received.into_iter().chain(missing).chain(unreached).collect();
        let peers = self.open.as_ref().map(|_| self.reach.subscribers);
        self.health.stands(Standing { peers, trouble: joined(&trouble) });
    }

    /// Tells the log how it stands with `topic`, on which what is desired is published.
    fn tell_of_desired(&mut self, topic: &str, now: Instant) {
        let (name, reach) = (self.name(), &self.reach);
        let missing = self.opening.trouble().or(reach.forbidden.as_deref()).map(str::to_owned);
        match self.missing.set(missing, now) {
            Some(News::Wrong(why)) => {
                tracing::error!(topic, "What is desired in {name} is not published on {topic}: {why}.");
            }
            Some(News::Over) => tracing::info!(topic, "What is desired in {name} can be published on {topic} now."),
            None => {}
        }
        match self.unreached.set(joined(&reach.unreached), now) {
            Some(News::Wrong(all)) => {
                tracing::warn!(topic, "What is desired in {name} does not reach everybody on {topic}: {all}.");
            }
            Some(News::Over) => tracing::info!(topic, "What is desired in {name} reaches everybody on {topic} now."),
            None => {}
        }
    }
}

impl Handler for Shadow {
    fn subscriptions(&self) -> Vec<Subscription> {
        self.topics.filters().map(|filter| Subscription { filter, qos: Qos::AtMostOnce }).collect()
    }

    fn arrived(&mut self, arrival: Arrival, outside: &Outside, now: Instant) {
        if let Some(kind) = self.topics.kind(&arrival.topic, outside.thing()) {
            match self.shadow.arrived(kind, &arrival.payload, now) {
                Ok(event) => self.note(&event, now),
                Err(malformed) => {
                    let total = self.health.refused(outcome::MALFORMED, &malformed.to_string(), None);
                    if self.said.malformed.due(now, ONCE_A_MINUTE).is_some() {
                        let topic = &arrival.topic;
                        tracing::warn!(
                            topic,
                            total,
                            "What has come to {topic} is ignored: {malformed} ({total} so far)."
                        );
                    }
                }
            }
        }
        arrival.taken();
        self.hand_over(now);
        self.send(outside, now);
        self.tell(now);
    }

    fn turn(&mut self, outside: &Outside, now: Instant) {
        self.look(outside, now);
        if let Some(topic) = &self.settings.desired {
            let (topic, type_name) = (topic.clone(), self.settings.desired_type.clone());
            let make = move |nodes: &[_]| Open::new(nodes, &topic, type_name.as_deref().unwrap_or(STRING_TYPE));
            if let Some(reach) = self.opening.turn(&mut self.open, make, outside, now) {
                self.reach = reach;
            }
        }
        self.hand_over(now);
        self.send(outside, now);
        self.tell(now);
    }

    fn wake_at(&self) -> Option<Instant> {
        let look = self.reporting.as_ref().and_then(|reporting| reporting.next);
        [look, self.shadow.wake_at(Instant::now())].into_iter().flatten().min()
    }

    fn link(&mut self, is_connected: bool, outside: &Outside, now: Instant) {
        if is_connected {
            self.shadow.connected(now);
        } else {
            self.shadow.disconnected();
        }
        self.send(outside, now);
    }

    /// What was published stays true, and what is reported is as it was.
    fn end(&mut self, _outside: &Outside, _now: Instant) {}
}

/// Why a message can't be reported.
struct Unfit {
    outcome: &'static str,
    /// A sentence without its full stop.
    detail: String,
}

impl Unfit {
    fn large(why: &dyn std::fmt::Display) -> Unfit {
        Unfit { outcome: outcome::TOO_LARGE, detail: why.to_string() }
    }

    fn malformed(why: &dyn std::fmt::Display) -> Unfit {
        Unfit { outcome: outcome::MALFORMED, detail: why.to_string() }
    }
}

impl Reporting {
    fn new(topic: String, rate: Option<f64>) -> Reporting {
        let interval = rate.map(period).unwrap_or_default();
        let text = JsonBuffer::new(TEXT_LIMIT);
        Reporting { topic, reader: None, decoder: None, text, interval, next: None, is_refused: false }
    }

    /// What a message says.
    fn read(&mut self, latest: &Latest) -> Result<State, Unfit> {
        let (schema, cdr) = match latest {
            Latest::Message(schema, cdr) => (schema, cdr),
            Latest::TooLarge(bytes) => {
                return Err(Unfit::large(&format!("it has {bytes} bytes in ROS; a shadow holds {DOCUMENT_LIMIT}")));
            }
        };
        let is_of = |decoder: &&Decoder| Arc::ptr_eq(decoder.schema(), schema);
        let decoder = match self.decoder.as_ref().filter(is_of) {
            Some(decoder) => decoder,
            None => {
                let decoder = Decoder::new(Arc::clone(schema)).map_err(|error| Unfit::malformed(&error))?;
                self.decoder.insert(decoder)
            }
        };
        self.text.clear();
        decoder.write_json(cdr, &mut self.text).map_err(|error| match error {
            DecodeError::TooLarge { .. } => Unfit::large(&error),
            error => Unfit::malformed(&error),
        })?;
        let message: State = serde_json::from_slice(self.text.as_bytes()).map_err(|error| Unfit::malformed(&error))?;
        Ok(if is_text(schema) { unwrapped(message) } else { message })
    }
}

fn is_text(schema: &Schema) -> bool {
    schema.name == STRING_TYPE
}

/// What a text says, if that is a JSON object; else the message as it is.
fn unwrapped(message: State) -> State {
    let object =
        message.get("data").and_then(Value::as_str).and_then(|text| serde_json::from_str::<Map<_, _>>(text).ok());
    object.unwrap_or(message)
}

impl Open {
    fn new(nodes: &[Arc<crate::ros::Node>], topic: &str, type_name: &str) -> anyhow::Result<Open> {
        let outlet = Outlet::latched(nodes, topic, type_name)?;
        let defaults = outlet.type_support().defaults()?;
        let encoder = Encoder::new(outlet.type_support().schema(), &defaults, &[])
            .with_context(|| format!("messages can't be made of {type_name}"))?;
        Ok(Open { outlet: Arc::new(outlet), encoder })
    }
}

impl Opened for Open {
    fn outlet(&self) -> &Arc<Outlet> {
        &self.outlet
    }
}

/// As status shows a version.
fn version_of(version: u64) -> String {
    format!("version {version}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A text that is an object is reported as that; any other is the message's field.
    #[test]
    fn a_text_that_is_an_object_is_reported_as_that() {
        let read = |text: &str| {
            let message = serde_json::from_value(json!({ "data": text })).unwrap();
            Value::Object(unwrapped(message))
        };
        assert_eq!(read(r#"{"digit": 42}"#), json!({"digit": 42}));
        for text in ["42", "[1]", "idle", "{\"digit\": 42", &"{\"a\":".repeat(10_000)] {
            assert_eq!(read(text), json!({ "data": text }));
        }
    }
}
