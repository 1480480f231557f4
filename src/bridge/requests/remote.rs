//! The shadow that the configuration comes by, and the jobs, where they are taken.
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
use iot_bridge_core::remote::jobs;
use iot_bridge_core::remote::{Event, Figures, Outcome, Report, Session, Spread, Verdict};
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
    /// AWS IoT Core knows that a job has ended.
    pub const JOB_SUCCEEDED: &str = "job_succeeded";
    pub const JOB_FAILED: &str = "job_failed";
    /// It was cancelled, or its time was over: what became of it is not said.
    pub const JOB_OVER: &str = "job_over";

    pub const OF_SHADOW: [&str; 6] = [APPLIED, REJECTED, ROLLED_BACK, REPORTED, REPORT_REFUSED, MALFORMED];
    pub const OF_JOBS: [&str; 3] = [JOB_SUCCEEDED, JOB_FAILED, JOB_OVER];
}

pub(super) struct Remote {
    shadow: String,
    /// Whether jobs are taken.
    jobs: bool,
    health: Arc<RequestHealth>,
    /// The name of the thing that the session is of. It is known before the first connection.
    thing: String,
    session: Session,
    /// What is to be reported.
    reported: Option<(Outcome, Report)>,
    figures: Option<Figures>,
    /// Jobs that ended before the session knew the name of the thing.
    ended: Vec<(String, Outcome)>,
    /// What was counted last.
    counted: Option<Outcome>,
    standing: ShadowStanding,
    malformed: Repeat,
    refused: Repeat,
    throttled: Repeat,
}

impl Remote {
    pub fn new(shadow: String, jobs: bool, health: Arc<RequestHealth>) -> Remote {
        health.outcomes().expect(outcome::OF_SHADOW);
        if jobs {
            health.outcomes().expect(outcome::OF_JOBS);
        }
        Remote {
            session: session(&shadow, jobs, UNNAMED),
            thing: UNNAMED.to_owned(),
            shadow,
            jobs,
            health,
            reported: None,
            figures: None,
            ended: Vec::new(),
            counted: None,
            standing: ShadowStanding::default(),
            malformed: Repeat::default(),
            refused: Repeat::default(),
            throttled: Repeat::default(),
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
                ToCloud::Figures(figures) => {
                    self.session.figures(figures);
                    self.figures = Some(figures);
                }
                ToCloud::Job(id, outcome) if self.thing == UNNAMED => self.ended.push((id, outcome)),
                ToCloud::Job(id, outcome) => self.session.job_ended(&id, &outcome),
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
                outside.tell_keeper(FromCloud::Desired(state));
            }
            Event::Job(job) => {
                tracing::info!(job = job.id, "The job {} has a configuration for this program.", job.id);
                outside.tell_keeper(FromCloud::Job(job));
            }
            Event::OfJobs(event) => self.note_job(event, now),
            Event::Reported => {
                self.health.outcomes().count(outcome::REPORTED);
                self.standing.updated = Some(SystemTime::now());
                if let Some((outcome, _)) = &self.reported {
                    outside.tell_keeper(FromCloud::Reported(outcome.clone()));
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

impl Remote {
    /// Something has become of a job.
    fn note_job(&mut self, event: jobs::Event, now: Instant) {
        match event {
            jobs::Event::Updated { execution, status } if status.is_final() => {
                let (job, status_name) = (execution.to_string(), status.name());
                if status == jobs::Status::Succeeded {
                    self.health.accepted(outcome::JOB_SUCCEEDED, Some(&job));
                } else {
                    self.health.refused(outcome::JOB_FAILED, "its configuration is not in force", Some(&job));
                }
                tracing::info!(job, "AWS IoT Core knows that the job {job} has {status_name}.");
            }
            jobs::Event::Over { execution, why } => {
                let job = execution.to_string();
                let why = match why {
                    jobs::Over::Ended(state) if state.is_empty() => "it has ended otherwise".to_owned(),
                    jobs::Over::Ended(state) => format!("it is {state}"),
                    jobs::Over::NotFound => "AWS IoT Core knows no such job".to_owned(),
                    jobs::Over::Refused(jobs::Rejection { code, message }) => {
                        format!("it was refused: {code} {message}")
                    }
                };
                let total = self.health.refused(outcome::JOB_OVER, &why, Some(&job));
                tracing::warn!(job, total, "Nothing is said of the job {job} any more: {why}.");
            }
            jobs::Event::Unreadable { execution, why } => {
                let job = execution.to_string();
                tracing::warn!(job, "The job {job} has a configuration for this program that can't be read: {why}.");
            }
            jobs::Event::LeftAlone(execution) => {
                let job = execution.to_string();
                tracing::debug!(job, "The job {job} is of another operation and left to others.");
            }
            jobs::Event::Throttled(jobs::Rejection { code, message }) => {
                if self.throttled.due(now, ONCE_A_MINUTE).is_some() {
                    tracing::warn!(
                        code,
                        "AWS IoT Core has refused a request for jobs, which is made again later: {code} {message}."
                    );
                }
            }
            jobs::Event::Updated { .. } | jobs::Event::Job(_) | jobs::Event::Other => {}
        }
    }
}

impl Handler for Remote {
    fn subscriptions(&self) -> Vec<Subscription> {
        let session = session(&self.shadow, self.jobs, UNNAMED);
        // Nobody says again that there is a job, while of a shadow more is asked for.
        let qos = |filter: &str| if filter == jobs::filter() { Qos::AtLeastOnce } else { Qos::AtMostOnce };
        session.filters().map(|filter| Subscription { qos: qos(&filter), filter }).collect()
    }

    fn concerns(&self, topic: &str) -> bool {
        self.session.concerns(topic)
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
            self.session = session(&self.shadow, self.jobs, &self.thing);
            self.ended.drain(..).for_each(|(id, outcome)| self.session.job_ended(&id, &outcome));
            self.figures.into_iter().for_each(|figures| self.session.figures(figures));
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

fn session(shadow: &str, jobs: bool, thing: &str) -> Session {
    let (now, clock) = (Instant::now(), SystemTime::now());
    let session = Session::new(shadow, thing, Spread::default(), StdRng::from_entropy(), now, clock);
    if jobs { session.with_jobs() } else { session }
}

fn report(outcome: &Outcome, config: String) -> Report {
    Report {
        outcome: outcome.clone(),
        config,
        bridge: env!("CARGO_PKG_VERSION").to_owned(),
        ros_distro: BUILT_FOR.to_owned(),
    }
}
