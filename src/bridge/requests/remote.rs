//! The shadow that the configuration comes by.
//!
//! [`Session`] decides what is sent and when; what is desired goes to the [keeper](crate::bridge::remote), who says what is to be
//! reported. Nothing here waits for the disk or reads a configuration: this thread stops robots.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::{Handler, Outside, Reply, ReplyTo};
use crate::bridge::remote::{FromCloud, ToCloud};
use crate::health::{RequestHealth, ShadowStanding};
use crate::ros::BUILT_FOR;
use iot_bridge_core::config::{Qos, UNNAMED};
use iot_bridge_core::mqtt::client::Arrival;
use iot_bridge_core::remote::{Event, Outcome, Report, Session, Spread, Verdict, WishState};
use iot_bridge_core::shadows::{self, Rejection};
use iot_bridge_core::tally::{ONCE_A_MINUTE, Repeat};
use iot_bridge_core::uplink::Subscription;

/// What has become of something, as metrics name it.
mod outcome {
    pub const APPLIED: &str = "applied";
    pub const REJECTED: &str = "rejected";
    pub const ROLLED_BACK: &str = "rolled_back";
    /// The shadow holds a report.
    pub const REPORTED: &str = "reported";
    pub const REPORT_REFUSED: &str = "report_refused";
    pub const MALFORMED: &str = "malformed";

    pub const ALL: [&str; 6] = [APPLIED, REJECTED, ROLLED_BACK, REPORTED, REPORT_REFUSED, MALFORMED];
}

pub(super) struct Remote {
    shadow: String,
    health: Arc<RequestHealth>,
    /// The name of the thing that the session is of. It is known before the first connection.
    thing: String,
    session: Session,
    /// What is to be reported.
    reported: Option<(Outcome, Report)>,
    /// What was counted last.
    counted: Option<Outcome>,
    standing: ShadowStanding,
    malformed: Repeat,
    refused: Repeat,
}

impl Remote {
    pub fn new(shadow: String, health: Arc<RequestHealth>) -> Remote {
        health.outcomes().expect(outcome::ALL);
        Remote {
            session: session(&shadow, UNNAMED),
            thing: UNNAMED.to_owned(),
            shadow,
            health,
            reported: None,
            counted: None,
            standing: ShadowStanding::default(),
            malformed: Repeat::default(),
            refused: Repeat::default(),
        }
    }

    /// Takes what the keeper has for the cloud.
    fn take(&mut self, outside: &Outside, now: Instant) {
        while let Some(order) = outside.to_cloud() {
            match order {
                ToCloud::Report(outcome, config) => {
                    self.count(&outcome);
                    let report = report(&outcome, config);
                    self.session.report(report.clone(), now);
                    self.reported = Some((outcome, report));
                }
                ToCloud::Figures(figures) => self.session.figures(figures),
                ToCloud::Job(..) => {}
            }
        }
    }

    /// Counts what has become of what is desired, once.
    fn count(&mut self, outcome: &Outcome) {
        if self.counted.as_ref() == Some(outcome) {
            return;
        }
        self.counted = Some(outcome.clone());
        let version = outcome.version.as_deref();
        let why = || outcome.problems.first().map_or("", String::as_str);
        match outcome.state {
            Verdict::Applied if version.is_some() => self.health.accepted(outcome::APPLIED, version),
            Verdict::Applied | Verdict::Replaced => {}
            Verdict::Rejected => _ = self.health.refused(outcome::REJECTED, why(), version),
            Verdict::RolledBack => _ = self.health.refused(outcome::ROLLED_BACK, why(), version),
        }
    }

    /// Sends what is to be sent.
    fn send(&mut self, outside: &Outside, now: Instant) {
        while let Some(outgoing) = self.session.next(now) {
            let to = ReplyTo { topic: outgoing.topic, correlation: None };
            let (of, payload) = (self.health.mqtt.as_str(), outgoing.payload.as_bytes());
            // What the queue does not take has no answer, like what gets lost.
            outside.replies.send(Reply { of, to: &to, payload, max_age: shadows::TIMEOUT }, now);
        }
        self.standing.version = self.session.version();
        self.health.set_shadow(self.standing.clone());
    }

    fn note(&mut self, event: Event, outside: &Outside, now: Instant) {
        match event {
            Event::Desired { state, .. } => {
                self.standing.delta = Some(SystemTime::now());
                outside.from_cloud(FromCloud::Desired(state));
            }
            Event::Reported => {
                self.health.outcomes().count(outcome::REPORTED);
                self.standing.updated = Some(SystemTime::now());
                if let Some((outcome, _)) = &self.reported {
                    outside.from_cloud(FromCloud::Reported(outcome.clone()));
                }
            }
            Event::Refused { rejection: Rejection { code, message }, is_sent_again } => {
                let total = self.health.refused(outcome::REPORT_REFUSED, &format!("{code} {message}"), None);
                if self.refused.due(now, ONCE_A_MINUTE).is_some() {
                    let shadow = &self.shadow;
                    let what = if is_sent_again { "sent again later" } else { "not sent again unless it changes" };
                    tracing::warn!(
                        code,
                        total,
                        "AWS IoT Core has refused what is reported in the shadow {shadow}, which is {what}: {code} {message} \
                         ({total} so far)."
                    );
                }
            }
        }
    }
}

impl Handler for Remote {
    fn subscriptions(&self) -> Vec<Subscription> {
        session(&self.shadow, UNNAMED).filters().map(|filter| Subscription { filter, qos: Qos::AtMostOnce }).collect()
    }

    fn arrived(&mut self, arrival: Arrival, outside: &Outside, now: Instant) {
        match self.session.arrived(&arrival.topic, &arrival.payload, now) {
            Ok(events) => events.into_iter().for_each(|event| self.note(event, outside, now)),
            Err(malformed) => {
                let total = self.health.refused(outcome::MALFORMED, &malformed.to_string(), None);
                if self.malformed.due(now, ONCE_A_MINUTE).is_some() {
                    let topic = &arrival.topic;
                    tracing::warn!(topic, total, "What has come to {topic} is ignored: {malformed} ({total} so far).");
                }
            }
        }
        arrival.taken();
        self.take(outside, now);
        self.send(outside, now);
    }

    fn turn(&mut self, outside: &Outside, now: Instant) {
        self.take(outside, now);
        self.send(outside, now);
    }

    fn wake_at(&self) -> Option<Instant> {
        self.session.wake_at(Instant::now())
    }

    fn link(&mut self, is_connected: bool, outside: &Outside, now: Instant) {
        if !is_connected {
            self.session.disconnected();
            return;
        }
        if self.thing != outside.thing() {
            self.thing = outside.thing().to_owned();
            self.session = session(&self.shadow, &self.thing);
            if let Some((_, report)) = &self.reported {
                self.session.report(report.clone(), now);
            }
        }
        self.session.connected(now);
        self.send(outside, now);
    }

    /// What was reported stays true.
    fn end(&mut self, _outside: &Outside, _now: Instant) {}
}

fn session(shadow: &str, thing: &str) -> Session {
    Session::new(shadow, thing, Spread::default(), StdRng::from_entropy(), Instant::now(), SystemTime::now())
}

fn report(outcome: &Outcome, config: String) -> Report {
    let state = match outcome.state {
        Verdict::Applied => Some(WishState::Applied),
        Verdict::Rejected => Some(WishState::Rejected),
        Verdict::RolledBack => Some(WishState::RolledBack),
        Verdict::Replaced => None,
    };
    Report {
        version: outcome.version.clone(),
        state,
        problems: outcome.problems.clone(),
        config,
        bridge: env!("CARGO_PKG_VERSION").to_owned(),
        ros_distro: BUILT_FOR.to_owned(),
    }
}
