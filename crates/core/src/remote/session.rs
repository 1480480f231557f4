//! The shadow of the configuration: what is desired, and what is reported.

use std::time::{Duration, Instant, SystemTime};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::jobs;
use super::phase::Phase;
use super::reported::{Figures, Report, Reported};
use super::{Job, Outcome};
use crate::shadows::{self, Client, Kind, Rejection, Shadow, State, Topics, is_part_of};

/// The shadow is asked for so often, whatever is heard: AWS IoT Core sends no delta for what is taken away.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// Updates a second, at most.
const REPORT_RATE: f64 = 1.0;

/// The service's code of a shadow that would be too large.
const TOO_LARGE: u16 = 413;

/// Within which times things are done, each at a random one, so that a fleet does not do them together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// Asking for the shadow after the first connect of the process. Processes seldom start together.
    pub start: Duration,
    /// Asking for it after another connect, when a whole fleet may have lost the broker together. An account takes 500 CONNECTs
    /// a second ("AWS IoT Core message broker and protocol limits and quotas"), so that ten thousand robots are back after
    /// 20 s at the earliest; over 30 s they ask 333 times a second, however fast they came.
    pub reconnect: Duration,
    /// Asking for it when something has changed, and reporting what became of that. Of a fleet's shadows no more change in a
    /// second than the account takes updates; so this only smooths them. It is short, as somebody may be waiting.
    pub change: Duration,
}

impl Default for Spread {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Spread { start: seconds(2), reconnect: seconds(30), change: seconds(2) }
    }
}

/// A request to be published, within [`shadows::TIMEOUT`] or not at all; that of jobs is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// With `{thing}` open.
    pub topic: String,
    pub payload: String,
}

/// What has come of something.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// All that is desired, as the service has said; nothing in it when nothing is, or there is no shadow. It comes when it is
    /// another than before, and once after the start.
    Desired { version: Option<u64>, state: State },
    /// The shadow holds the last [`Report`], and has said so after that was made.
    Reported,
    /// The last report was refused. It is sent again by itself if `is_sent_again`; else when it changes, or when the reason may
    /// be gone: at the next connect, or when less is desired.
    Refused { rejection: Rejection, is_sent_again: bool },
    /// There is a job with a configuration. It comes again in each process, until its [end](Session::job_ended) is said.
    Job(Job),
    /// Something else has become of a job, for people to see. It is never [`jobs::Event::Job`] nor [`jobs::Event::Other`].
    OfJobs(jobs::Event),
}

/// What has come can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error(transparent)]
    Shadow(#[from] shadows::Malformed),
    #[error(transparent)]
    Job(#[from] jobs::Malformed),
}

/// Asks for what is desired and reports what became of it. Nothing else is written: what is desired stays.
///
/// - **What is desired** is what `get` says, and only that: a delta has only what differs from `reported`, and of what is taken
///   away there is none. It is asked for at each connect, once an hour at a time that the thing's name decides, and when a
///   delta or an update of somebody else says that it has changed; each time at a random time within a [`Spread`].
/// - **A delta that is known** asks for nothing. One comes after each report, as `config` is desired as a configuration and
///   reported as a hash. One of a version that is not above that of what is known is stale.
/// - **A report** is sent when it changes, [figures](Figures) alone at most every five minutes. It carries no version, so that it
///   conflicts with nobody. What was rejected is not sent again unchanged; after 429 and 500 it is, after 1 s, 2 s, 4 s, … up
///   to five minutes, less a random half.
#[derive(Debug)]
pub struct Session {
    thing: String,
    topics: Topics,
    spread: Spread,
    random: StdRng,
    shadow: Shadow,
    was_connected: bool,
    /// The version of the answer to the last `get` on this connection.
    version: Option<u64>,
    /// What that has said, or one of a connection before.
    desired: Option<State>,
    looks: Phase,
    reported: Reported,
    /// Whether [`Event::Reported`] is owed for the last report.
    is_owed: bool,
    stale: u64,
    /// If jobs are taken.
    jobs: Option<jobs::Client>,
}

impl Session {
    /// Of the shadow called `shadow` of `thing`, without a connection. `wall` is the clock's time at `now`; `random` makes tokens
    /// and jitter.
    pub fn new(
        shadow: &str,
        thing: &str,
        spread: Spread,
        mut random: StdRng,
        now: Instant,
        wall: SystemTime,
    ) -> Session {
        let client = Client::new(StdRng::from_seed(random.r#gen()));
        Session {
            thing: thing.to_owned(),
            topics: Topics::of(shadow),
            spread,
            random,
            shadow: Shadow::new(Some(Some(REPORT_RATE)), false, client),
            was_connected: false,
            version: None,
            desired: None,
            looks: Phase::of(thing, LOOK_EVERY, now, wall),
            reported: Reported::new(thing, now, wall),
            is_owed: false,
            stale: 0,
            jobs: None,
        }
    }

    /// That takes jobs as well.
    #[must_use]
    pub fn with_jobs(mut self) -> Session {
        self.jobs = Some(jobs::Client::new(StdRng::from_seed(self.random.r#gen())));
        self
    }

    /// What has to be subscribed to, with `{thing}` open.
    pub fn filters(&self) -> impl Iterator<Item = String> {
        self.topics.filters().chain(self.jobs.iter().map(|_| jobs::filter()))
    }

    /// Whether `topic` is one of those, or one of the answers that come without being subscribed to.
    pub fn concerns(&self, topic: &str) -> bool {
        self.topics.kind(topic, &self.thing).is_some()
            || self.jobs.is_some() && jobs::kind(topic, &self.thing).is_some()
    }

    /// The connection stands, and [`Session::filters`] are subscribed to.
    pub fn connected(&mut self, now: Instant) {
        let is_again = std::mem::replace(&mut self.was_connected, true);
        self.version = None;
        let spread = if is_again { self.spread.reconnect } else { self.spread.start };
        self.shadow.connected_within(spread, now);
        self.jobs.iter_mut().for_each(|jobs| jobs.connected_within(spread, now));
    }

    /// The connection is lost.
    pub fn disconnected(&mut self) {
        self.shadow.disconnected();
        self.jobs.iter_mut().for_each(jobs::Client::disconnected);
    }

    /// The job of this id, as [`Event::Job`] had it, has ended like this.
    pub fn job_ended(&mut self, id: &str, outcome: &Outcome) {
        if let (Some(jobs), Ok(execution)) = (&mut self.jobs, id.parse()) {
            jobs.update(jobs::Update::ended(execution, outcome));
        }
    }

    /// This is to be reported. [`Event::Reported`] comes once the shadow holds it, also if it does so already.
    pub fn report(&mut self, report: Report, now: Instant) {
        self.is_owed = true;
        let at = self.soon(now);
        self.reported.set(report, at);
    }

    /// How it stands now. It is reported at most every few minutes, or with something else.
    pub fn figures(&mut self, figures: Figures) {
        self.reported.set_figures(figures);
    }

    /// Something has come to `topic`. What is of no concern here is nothing.
    ///
    /// # Errors
    /// If it can't be read. It has changed nothing.
    pub fn arrived(&mut self, topic: &str, payload: &[u8], now: Instant) -> Result<Vec<Event>, Malformed> {
        if let Some(kind) = self.topics.kind(topic, &self.thing) {
            return Ok(self.heard(kind, payload, now)?);
        }
        let Some((jobs, kind)) = self.jobs.as_mut().zip(jobs::kind(topic, &self.thing)) else { return Ok(Vec::new()) };
        Ok(match jobs.arrived(&kind, payload, now)? {
            jobs::Event::Other => Vec::new(),
            jobs::Event::Job(jobs::Job { execution, document }) => {
                vec![Event::Job(Job { id: execution.to_string(), document })]
            }
            event => vec![Event::OfJobs(event)],
        })
    }

    fn heard(&mut self, kind: Kind, payload: &[u8], now: Instant) -> Result<Vec<Event>, shadows::Malformed> {
        let mut events = Vec::new();
        match self.shadow.arrived(kind, payload, now)? {
            shadows::Event::Document { version, desired, .. } => events.extend(self.learnt(Some(version), desired)),
            shadows::Event::NoShadow => events.extend(self.learnt(None, State::new())),
            shadows::Event::Delta { version, state } => self.differs(version, &state, now),
            shadows::Event::Written { version } if Some(version) > self.version => {
                self.shadow.ask_within(self.spread.change, now);
            }
            shadows::Event::Throttled(rejection) => events.push(Event::Refused { rejection, is_sent_again: true }),
            shadows::Event::Rejected(rejection) => {
                let at = self.soon(now);
                let is_sent_again = rejection.code == TOO_LARGE && self.reported.was_too_large(at);
                events.push(Event::Refused { rejection, is_sent_again });
            }
            shadows::Event::Accepted { .. }
            | shadows::Event::Written { .. }
            | shadows::Event::Conflict
            | shadows::Event::TimedOut
            | shadows::Event::Other => {}
        }
        // What the shadow holds is told by two kinds alone.
        if matches!(kind, Kind::GetAccepted | Kind::UpdateAccepted) && self.is_owed && self.is_reported() {
            self.is_owed = false;
            events.push(Event::Reported);
        }
        Ok(events)
    }

    /// The service has said what is desired.
    fn learnt(&mut self, version: Option<u64>, desired: State) -> Option<Event> {
        self.version = version;
        self.reported.is_beside(&desired);
        if self.desired.as_ref() == Some(&desired) {
            return None;
        }
        self.desired = Some(desired.clone());
        Some(Event::Desired { version, state: desired })
    }

    /// A delta has come.
    fn differs(&mut self, version: u64, state: &State, now: Instant) {
        if self.version >= Some(version) {
            self.stale += 1;
        } else if !self.desired.as_ref().is_some_and(|desired| is_part_of(state, desired)) {
            self.shadow.ask_within(self.spread.change, now);
        }
    }

    /// Whether the shadow holds the last report.
    fn is_reported(&self) -> bool {
        !self.reported.is_due() && self.shadow.is_reported()
    }

    fn soon(&mut self, now: Instant) -> Instant {
        now + self.spread.change.mul_f64(self.random.r#gen())
    }

    /// What is to be published now, if anything.
    pub fn next(&mut self, now: Instant) -> Option<Outgoing> {
        if self.looks.has_come(now) {
            self.shadow.ask_within(Duration::ZERO, now);
        }
        if let Some(report) = self.reported.next(now) {
            // It is far shorter than what a shadow holds.
            let _ = self.shadow.report(report);
            if self.is_owed && self.is_reported() {
                self.shadow.ask_within(Duration::ZERO, now);
            }
        }
        if let Some(outgoing) = self.shadow.next(now) {
            return Some(Outgoing { topic: self.topics.of_request(outgoing.method), payload: outgoing.payload });
        }
        let jobs::Outgoing { request, payload } = self.jobs.as_mut()?.next(now)?;
        Some(Outgoing { topic: request.topic(), payload })
    }

    /// When [`Session::next`] may have something, at the latest.
    pub fn wake_at(&self, now: Instant) -> Option<Instant> {
        let looks = Some(self.looks.next());
        let jobs = self.jobs.as_ref().and_then(|jobs| jobs.wake_at(now));
        [looks, self.shadow.wake_at(now), self.reported.wake_at(), jobs].into_iter().flatten().min()
    }

    /// The version of the shadow, as far as it is known.
    pub fn version(&self) -> Option<u64> {
        self.shadow.version()
    }

    /// Deltas that were passed over as they were older than what is known.
    pub fn stale(&self) -> u64 {
        self.stale
    }

    /// What was counted of jobs, if they are taken.
    pub fn of_jobs(&self) -> Option<&jobs::Figures> {
        self.jobs.as_ref().map(jobs::Client::figures)
    }

    /// What was counted of requests and answers.
    pub fn counted(&self) -> &shadows::Figures {
        self.shadow.figures()
    }
}

#[cfg(test)]
mod tests;
