//! The protocol of the Device Shadow service, for one shadow: requests and what they become.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use super::backoff::Backoff;
use super::document::{Accepted, Delta, Got, Malformed, Rejected, Sections, read};
use super::tokens::Tokens;
use super::{Kind, State};

/// How long a request waits for its answer. Whoever publishes it lets it go after this time: what is asked for next counts on
/// it that it does not arrive any more.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// After a connect the shadow is asked for within this time.
const SPREAD: Duration = Duration::from_secs(1);

/// Somebody else has written `desired`: the delta comes within this time, if anything differs.
const DELTA_COMES: Duration = Duration::from_secs(2);

/// Longest text of the service that is quoted, in characters.
const LINE_LIMIT: usize = 200;

/// Asks for one shadow and updates it.
#[derive(Debug)]
pub struct Client {
    random: StdRng,
    tokens: Tokens,
    is_connected: bool,
    /// Whether the service has said, on this connection, what the shadow holds.
    is_known: bool,
    /// Of the shadow, as far as it is known.
    version: Option<u64>,
    get: Get,
    /// The update that has no answer yet.
    update: Option<Waiting>,
    /// The version that was known when the shadow was asked for.
    asked_at: Option<u64>,
    /// Whether the update before the next was of another version.
    had_conflict: bool,
    /// An update of somebody else has written `desired`: its version, and until when a delta of it may come.
    elsewhere: Option<(u64, Instant)>,
    /// Of asking for the shadow, and of updates.
    backoff: (Backoff, Backoff),
    figures: Figures,
}

/// What is under way with asking for the shadow.
#[derive(Debug, PartialEq, Eq)]
enum Get {
    Idle,
    /// From this time on.
    Due(Instant),
    Waiting(Waiting),
}

#[derive(Debug, PartialEq, Eq)]
struct Waiting {
    token: String,
    until: Instant,
}

/// Which request of the service, in the order of [`SAID`](crate::config::Shadow::SAID).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Update,
}

/// A request to be published, within [`TIMEOUT`] or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub method: Method,
    pub payload: String,
}

/// Why the service has refused a request: a code like those of HTTP, and its text, cut to a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub code: u16,
    pub message: String,
}

/// The service's codes of a right or a thing that is missing: somebody may mend that, whatever the update says.
pub(super) const MAY_BE_MENDED: [u16; 3] = [401, 403, 404];

impl Rejection {
    /// Whether what was refused is sent again at the next connection, unchanged: a right or a thing was missing.
    pub fn is_for_a_connection(&self) -> bool {
        MAY_BE_MENDED.contains(&self.code)
    }
}

/// What an arrival means.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// What the shadow holds.
    Document { version: u64, desired: State, reported: State, delta: State },
    /// There is no shadow; an update makes it.
    NoShadow,
    /// What is desired and not reported.
    Delta { version: u64, state: State },
    /// The update was taken, and made this version.
    Accepted { version: u64 },
    /// The update was refused, as it was of another version. The shadow is asked for.
    Conflict,
    /// The update was refused. It may be sent again: not what it says was the reason.
    Throttled(Rejection),
    /// The update was refused for what it says.
    Rejected(Rejection),
    /// The update has had no answer: nobody knows what became of it. The shadow is asked for.
    TimedOut,
    /// Somebody else has written `desired`, which made this version. A delta follows if that differs from `reported`.
    Written { version: u64 },
    /// Nothing that concerns this client.
    Other,
}

/// What was counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    pub gets: u64,
    pub updates: u64,
    pub accepted: u64,
    pub rejected: u64,
    pub conflicts: u64,
    pub timed_out: u64,
    /// Arrivals that could not be read.
    pub malformed: u64,
    /// The last rejection that was no conflict.
    pub last_rejection: Option<Rejection>,
}

impl Client {
    /// A client without a connection. `random` makes its tokens and its jitter.
    pub fn new(mut random: StdRng) -> Self {
        Client {
            tokens: Tokens::new(&mut random),
            random,
            is_connected: false,
            is_known: false,
            version: None,
            get: Get::Idle,
            update: None,
            asked_at: None,
            had_conflict: false,
            elsewhere: None,
            backoff: Default::default(),
            figures: Figures::default(),
        }
    }

    /// As [`Client::new`], like no other.
    pub fn from_entropy() -> Self {
        Client::new(StdRng::from_entropy())
    }

    /// The connection stands, and [`Topics::filters`](super::Topics::filters) are subscribed to.
    pub fn connected(&mut self, now: Instant) {
        self.connected_within(SPREAD, now);
    }

    /// As [`Client::connected`]; the shadow is asked for at a random time within `spread`.
    pub fn connected_within(&mut self, spread: Duration, now: Instant) {
        (self.is_connected, self.is_known, self.version) = (true, false, None);
        self.elsewhere = None;
        self.get = Get::Due(self.within(spread, now));
    }

    /// The connection is lost. An update that is under way may still be taken, on the next one.
    pub fn disconnected(&mut self) {
        (self.is_connected, self.is_known) = (false, false);
        self.get = Get::Idle;
    }

    /// Has the shadow asked for soon, if it is not being asked for anyway.
    pub fn ask(&mut self, now: Instant) {
        if self.is_connected && self.get == Get::Idle {
            self.get = Get::Due(now);
        }
    }

    /// Has the shadow asked for at a random time within `spread`, unless it is asked for before that anyway.
    pub fn ask_within(&mut self, spread: Duration, now: Instant) {
        let at = self.within(spread, now);
        match &mut self.get {
            Get::Idle if self.is_connected => self.get = Get::Due(at),
            // Drawn once: the earliest of several draws is not random any more.
            Get::Due(due) if *due > now + spread => *due = at,
            Get::Due(_) => {}
            Get::Idle | Get::Waiting(_) => {}
        }
    }

    fn within(&mut self, spread: Duration, now: Instant) -> Instant {
        now + spread.mul_f64(self.random.r#gen())
    }

    /// Whether the connection stands.
    pub fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// The version of the shadow, as far as it is known.
    pub fn version(&self) -> Option<u64> {
        self.version
    }

    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// From when on an update may be made; `None` while something else has to happen before.
    pub fn may_update(&self, now: Instant) -> Option<Instant> {
        let is_idle = self.is_known && self.update.is_none() && self.get == Get::Idle;
        is_idle.then(|| self.tokens.earliest(now).max(self.backoff.1.earliest(now)))
    }

    /// Updates the shadow with `state` (`{"desired":…,"reported":…}`), if it is of `version`. Only when
    /// [`Client::may_update`] says so.
    pub fn update(&mut self, state: &State, version: Option<u64>, now: Instant) -> Outgoing {
        let waiting = self.request(now);
        let mut request = json!({"state": state, "clientToken": waiting.token});
        if let Some(version) = version {
            request["version"] = version.into();
        }
        self.update = Some(waiting);
        self.figures.updates += 1;
        Outgoing { method: Method::Update, payload: request.to_string() }
    }

    /// The request for the shadow, if it is time for one.
    pub fn next_get(&mut self, now: Instant) -> Option<Outgoing> {
        let Get::Due(from) = self.get else { return None };
        if !self.is_connected || from.max(self.may_get(now)) > now {
            return None;
        }
        let waiting = self.request(now);
        let payload = json!({"clientToken": waiting.token}).to_string();
        self.get = Get::Waiting(waiting);
        self.asked_at = self.version;
        self.figures.gets += 1;
        Some(Outgoing { method: Method::Get, payload })
    }

    /// Lets go of requests without an answer. Returns [`Event::TimedOut`] if an update is among them.
    pub fn expire(&mut self, now: Instant) -> Option<Event> {
        if self.elsewhere.is_some_and(|(_, until)| until <= now) {
            self.elsewhere = None;
            self.ask(now);
        }
        if let Get::Waiting(waiting) = &self.get
            && waiting.until <= now
        {
            self.figures.timed_out += 1;
            self.backoff.0.failed(now, &mut self.random);
            self.get = Get::Due(now);
        }
        if self.update.as_ref().is_none_or(|waiting| waiting.until > now) {
            return None;
        }
        self.update = None;
        self.figures.timed_out += 1;
        self.backoff.1.failed(now, &mut self.random);
        self.ask(now);
        Some(Event::TimedOut)
    }

    /// When [`Client::next_get`] or [`Client::expire`] has something to do.
    pub fn wake_at(&self, now: Instant) -> Option<Instant> {
        let get = match &self.get {
            Get::Idle => None,
            Get::Due(from) => Some((*from).max(self.may_get(now))),
            Get::Waiting(waiting) => Some(waiting.until),
        };
        let get = get.filter(|_| self.is_connected);
        let update = self.update.as_ref().map(|waiting| waiting.until);
        [get, update, self.elsewhere.map(|(_, until)| until)].into_iter().flatten().min()
    }

    /// Something has come from the service.
    ///
    /// # Errors
    /// If it can't be read. It has changed nothing.
    pub fn arrived(&mut self, kind: Kind, payload: &[u8], now: Instant) -> Result<Event, Malformed> {
        let event = match kind {
            Kind::GetAccepted => read(payload).map(|got| self.got(got, now)),
            Kind::GetRejected => read(payload).map(|rejected| self.get_rejected(rejected, now)),
            Kind::UpdateAccepted => read(payload).map(|accepted| self.accepted(accepted, now)),
            Kind::UpdateRejected => read(payload).map(|rejected| self.update_rejected(rejected, now)),
            Kind::Delta => read(payload).map(|Delta { state, version }| {
                self.saw(version);
                self.elsewhere = self.elsewhere.filter(|(other, _)| *other > version);
                Event::Delta { version, state }
            }),
        };
        event.inspect_err(|_| self.figures.malformed += 1)
    }

    fn got(&mut self, got: Got, now: Instant) -> Event {
        let Get::Waiting(waiting) = &self.get else { return Event::Other };
        if got.client_token.is_some_and(|token| token != waiting.token) {
            return Event::Other;
        }
        if self.version > Some(got.version) && self.version != self.asked_at {
            // Something newer has overtaken it. Where nothing has, an older version means that the shadow was made anew.
            self.backoff.0.failed(now, &mut self.random);
            self.get = Get::Due(now);
            return Event::Other;
        }
        self.learnt(Some(got.version));
        let Sections { desired, reported, delta } = got.state;
        Event::Document { version: got.version, desired, reported, delta }
    }

    fn get_rejected(&mut self, rejected: Rejected, now: Instant) -> Event {
        if !matches!(&self.get, Get::Waiting(waiting) if rejected.client_token.as_ref() == Some(&waiting.token)) {
            return Event::Other;
        }
        if rejected.code == 404 {
            if self.version.is_none() || self.version == self.asked_at {
                self.learnt(None);
                return Event::NoShadow;
            }
            // It was made after the service had looked, and something of that has overtaken the answer.
        } else {
            self.rejected(rejected);
        }
        self.backoff.0.failed(now, &mut self.random);
        self.get = Get::Due(now);
        Event::Other
    }

    /// The service has said what the shadow holds.
    fn learnt(&mut self, version: Option<u64>) {
        self.version = version;
        self.is_known = self.is_connected;
        self.get = Get::Idle;
        self.backoff.0.went_well();
        self.elsewhere = self.elsewhere.filter(|(other, _)| version.is_none_or(|version| *other > version));
    }

    fn accepted(&mut self, accepted: Accepted, now: Instant) -> Event {
        let Accepted { version, client_token, state } = accepted;
        self.saw(version);
        if self.update.as_ref().is_some_and(|waiting| Some(&waiting.token) == client_token.as_ref()) {
            self.update = None;
            self.figures.accepted += 1;
            self.had_conflict = false;
            self.backoff.1.went_well();
            return Event::Accepted { version };
        }
        if !state.desired {
            return Event::Other;
        }
        self.elsewhere = Some((version, now + DELTA_COMES));
        Event::Written { version }
    }

    fn update_rejected(&mut self, rejected: Rejected, now: Instant) -> Event {
        if self.update.as_ref().is_none_or(|waiting| rejected.client_token.as_ref() != Some(&waiting.token)) {
            return Event::Other;
        }
        self.update = None;
        if rejected.code == 409 {
            self.figures.conflicts += 1;
            if std::mem::replace(&mut self.had_conflict, true) {
                self.backoff.1.failed(now, &mut self.random);
            }
            self.ask(now);
            return Event::Conflict;
        }
        self.backoff.1.failed(now, &mut self.random);
        let may_be_repeated = matches!(rejected.code, 429 | 500..);
        let rejection = self.rejected(rejected);
        if may_be_repeated { Event::Throttled(rejection) } else { Event::Rejected(rejection) }
    }

    fn rejected(&mut self, rejected: Rejected) -> Rejection {
        let rejection = Rejection { code: rejected.code, message: line(&rejected.message) };
        self.figures.rejected += 1;
        self.figures.last_rejection = Some(rejection.clone());
        rejection
    }

    fn saw(&mut self, version: u64) {
        self.version = self.version.max(Some(version));
    }

    fn request(&mut self, now: Instant) -> Waiting {
        Waiting { token: self.tokens.take(now), until: now + TIMEOUT }
    }

    fn may_get(&self, now: Instant) -> Instant {
        self.tokens.earliest(now).max(self.backoff.0.earliest(now))
    }
}

/// What is quoted of the service: one line, which ends if it is long.
pub(crate) fn line(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(LINE_LIMIT).collect()
}
