//! The protocol of the Jobs service, for one thing: requests and what they become.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

use super::document::{Body, Described, ExecutionState, Listed, Malformed, Notified, Pending, Rejected, Updated, read};
use super::{Details, Execution, Job, Kind, Request, Status, TIMEOUT, Update};
use crate::shadows::{Backoff, Tokens, line};

/// A notification that got lost shows after so long, on a connection that lasts.
const REFRESH: Duration = Duration::from_hours(24);

/// A notification has at most so many jobs: of one that has as many nobody knows whether there are more.
const NOTIFIED: usize = 10;

/// States of a job that has not ended, as the service writes them.
const QUEUED: &str = "QUEUED";
const IN_PROGRESS: &str = "IN_PROGRESS";

/// Asks for the jobs of one thing and says what became of them.
#[derive(Debug)]
pub struct Client {
    random: StdRng,
    tokens: Tokens,
    is_connected: bool,
    /// When the list is asked for.
    list_at: Option<Instant>,
    /// The request that has no answer yet. There is only one at a time.
    waiting: Option<Waiting>,
    /// The latest `timestamp` of a notification on this connection.
    notified_at: Option<u64>,
    /// What is to be looked at, the next one first.
    pending: VecDeque<Pending>,
    /// Jobs that are none of ours.
    left_alone: BTreeSet<Execution>,
    /// The job that is being done, until it is over.
    current: Option<Execution>,
    /// Its document, until the service knows that it is in progress.
    beginning: Option<Map<String, Value>>,
    /// What is to be said, in order.
    updates: VecDeque<Update>,
    /// Of the jobs that something is said of, as far as they are known.
    versions: BTreeMap<Execution, i64>,
    backoffs: Backoffs,
    figures: Figures,
}

#[derive(Debug, Default)]
struct Backoffs {
    list: Backoff,
    describe: Backoff,
    update: Backoff,
}

#[derive(Debug)]
struct Waiting {
    token: String,
    until: Instant,
    asked: Asked,
}

/// A request, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    List,
    /// What the next pending job is.
    Document(Execution),
    /// How it stands with a job that something is to be said of.
    Standing(Execution),
    Update(Execution),
}

impl Asked {
    fn request(&self) -> Request {
        match self {
            Asked::List => Request::List,
            Asked::Document(execution) | Asked::Standing(execution) => Request::Describe(execution.job.clone()),
            Asked::Update(execution) => Request::Update(execution.job.clone()),
        }
    }
}

/// A request to be published, within [`TIMEOUT`] or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    pub request: Request,
    pub payload: String,
}

/// Why the service has refused a request: its code, like `InvalidRequest`, and its text, both cut to a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub code: String,
    pub message: String,
}

/// Why nothing can be said of a job any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Over {
    /// It has ended without us, in this state (CANCELED, TIMED_OUT, …; empty if the service does not say).
    Ended(String),
    /// There is no such job: it was deleted, or the thing is not in its group any more.
    NotFound,
    /// The service has refused what was to be said, and it would not be said otherwise.
    Refused(Rejection),
}

/// What an arrival means.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// There is a job to be done. The next one comes when this one is over: when the service has taken a final update of it, or
    /// with [`Event::Over`]. After a restart it comes again if it had not ended.
    Job(Job),
    /// The document of a job can't be read, though it is this program's: that it has FAILED is said without anybody's doing.
    Unreadable { execution: Execution, why: Malformed },
    /// The service has taken what was said of a job.
    Updated { execution: Execution, status: Status },
    /// Nothing can be said of this job any more, and what was to be said is forgotten.
    Over { execution: Execution, why: Over },
    /// A request was refused, and is made again later.
    Throttled(Rejection),
    /// A job of another operation, which is left to others.
    LeftAlone(Execution),
    /// Nothing that somebody has to know.
    Other,
}

/// What was counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    pub lists: u64,
    pub described: u64,
    pub updates: u64,
    pub accepted: u64,
    pub rejected: u64,
    pub timed_out: u64,
    /// Arrivals that could not be read.
    pub malformed: u64,
    pub last_rejection: Option<Rejection>,
}

impl Client {
    /// A client without a connection. `random` makes its tokens and its jitter.
    pub fn new(mut random: StdRng) -> Self {
        Client {
            tokens: Tokens::new(&mut random),
            random,
            is_connected: false,
            list_at: None,
            waiting: None,
            notified_at: None,
            pending: VecDeque::new(),
            left_alone: BTreeSet::new(),
            current: None,
            beginning: None,
            updates: VecDeque::new(),
            versions: BTreeMap::new(),
            backoffs: Backoffs::default(),
            figures: Figures::default(),
        }
    }

    /// As [`Client::new`], like no other.
    pub fn from_entropy() -> Self {
        Client::new(StdRng::from_entropy())
    }

    /// The connection stands, and [`filter`](super::filter) is subscribed to. The service is asked at a random time within
    /// `spread`.
    pub fn connected_within(&mut self, spread: Duration, now: Instant) {
        self.is_connected = true;
        self.notified_at = None;
        self.list_at = Some(now + spread.mul_f64(self.random.r#gen()));
    }

    /// The connection is lost. An update that is under way may still be taken, on the next one.
    pub fn disconnected(&mut self) {
        self.is_connected = false;
        self.waiting.take_if(|waiting| !matches!(waiting.asked, Asked::Update(_)));
    }

    /// Has `update` said: [`Event::Job`] is IN_PROGRESS, so this says how it has ended. It is said until the service has taken it
    /// ([`Event::Updated`]) or will never take it ([`Event::Over`]), over all connections.
    pub fn update(&mut self, update: Update) {
        // What is said again has no news, as long as it waits.
        if !self.updates.contains(&update) {
            self.updates.push_back(update);
        }
    }

    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// What is to be published now, if anything.
    pub fn next(&mut self, now: Instant) -> Option<Outgoing> {
        self.expire(now);
        let (_, asked) = self.wanted(now).filter(|(from, _)| *from <= now)?;
        let token = self.tokens.take(now);
        let mut payload = json!({ "clientToken": token });
        match &asked {
            Asked::List => self.figures.lists += 1,
            Asked::Document(execution) | Asked::Standing(execution) => {
                self.figures.described += 1;
                payload["executionNumber"] = execution.number.into();
                payload["includeJobDocument"] = matches!(asked, Asked::Document(_)).into();
            }
            Asked::Update(execution) => {
                self.figures.updates += 1;
                let Update { status, details, .. } = self.updates.front()?;
                payload["status"] = status.name().into();
                payload["executionNumber"] = execution.number.into();
                payload["expectedVersion"] = (*self.versions.get(execution)?).into();
                payload["includeJobExecutionState"] = true.into();
                if !details.is_empty() {
                    payload["statusDetails"] = json!(details);
                }
            }
        }
        if asked == Asked::List {
            self.list_at = Some(now + REFRESH);
        }
        let request = asked.request();
        self.waiting = Some(Waiting { token, until: now + TIMEOUT, asked });
        Some(Outgoing { request, payload: payload.to_string() })
    }

    /// When [`Client::next`] may have something, at the latest.
    pub fn wake_at(&self, now: Instant) -> Option<Instant> {
        match &self.waiting {
            Some(waiting) => Some(waiting.until),
            None => self.wanted(now).map(|(from, _)| from),
        }
    }

    /// The next request, and from when on it may be made. What is to be said comes first, jobs to look at last.
    fn wanted(&self, now: Instant) -> Option<(Instant, Asked)> {
        if !self.is_connected || self.waiting.is_some() {
            return None;
        }
        let update = self.updates.front().map(|update| {
            let execution = update.execution.clone();
            match self.versions.contains_key(&execution) {
                true => (self.backoffs.update.earliest(now), Asked::Update(execution)),
                false => (self.backoffs.describe.earliest(now), Asked::Standing(execution)),
            }
        });
        let list = self.list_at.map(|at| (at.max(self.backoffs.list.earliest(now)), Asked::List));
        let is_free = self.current.is_none() && self.updates.is_empty();
        let document = self
            .pending
            .front()
            .filter(|_| is_free)
            .map(|pending| (self.backoffs.describe.earliest(now), Asked::Document(pending.execution.clone())));
        let spaced = self.tokens.earliest(now);
        let all = update.into_iter().chain(list).chain(document);
        all.map(|(from, asked)| (from.max(spaced), asked)).min_by_key(|(from, _)| *from)
    }

    /// Lets go of a request without an answer; it is made again.
    fn expire(&mut self, now: Instant) {
        let Some(waiting) = self.waiting.take_if(|waiting| waiting.until <= now) else { return };
        self.figures.timed_out += 1;
        self.failed(&waiting.asked, now);
    }

    /// The request is made again, later.
    fn failed(&mut self, asked: &Asked, now: Instant) {
        let backoff = match asked {
            Asked::List => &mut self.backoffs.list,
            Asked::Document(_) | Asked::Standing(_) => &mut self.backoffs.describe,
            Asked::Update(_) => &mut self.backoffs.update,
        };
        backoff.failed(now, &mut self.random);
        if *asked == Asked::List {
            self.list_at = Some(now);
        }
    }

    /// Something has come from the service.
    ///
    /// # Errors
    /// If it can't be read. A job of which that is so is left alone; else it has changed nothing.
    pub fn arrived(&mut self, kind: &Kind, payload: &[u8], now: Instant) -> Result<Event, Malformed> {
        let event = match kind {
            Kind::Notify => read::<Notified>(payload).map(|notified| self.notified(notified, now)),
            Kind::Accepted(Request::List) => read(payload).map(|listed| self.listed(listed)),
            Kind::Accepted(request @ Request::Describe(_)) => self.described(request, payload, now),
            Kind::Accepted(request @ Request::Update(_)) => read(payload).map(|updated| self.updated(request, updated)),
            Kind::Rejected(request) => read(payload).map(|rejected| self.rejected(request, rejected, now)),
        };
        event.inspect_err(|_| self.figures.malformed += 1)
    }

    /// Takes the request that is answered: the one that waits, if it is this `request` and has this token.
    fn answered(&mut self, request: &Request, token: Option<&String>) -> Option<Asked> {
        let is_it = |waiting: &mut Waiting| waiting.asked.request() == *request && token == Some(&waiting.token);
        self.waiting.take_if(is_it).map(|waiting| waiting.asked)
    }

    /// The list has changed. Notifications overtake each other and the answers to requests, and those of one second have the
    /// same `timestamp`: where it is not known which is the last, the list is asked for.
    fn notified(&mut self, notified: Notified, now: Instant) -> Event {
        let (timestamp, latest) = (notified.timestamp, self.notified_at);
        if timestamp.is_some() && timestamp < latest {
            return Event::Other;
        }
        let is_awaited = self.waiting.as_ref().is_some_and(|waiting| waiting.asked == Asked::List);
        let is_unordered = is_awaited || (timestamp.is_some() && timestamp == latest);
        self.notified_at = timestamp.or(latest);
        let all = notified.pending();
        if is_unordered || all.len() >= NOTIFIED {
            self.list_at = Some(now);
        }
        if all.len() < NOTIFIED {
            self.left_alone.retain(|execution| all.iter().any(|pending| pending.execution == *execution));
        }
        self.look_at(all);
        Event::Other
    }

    fn listed(&mut self, listed: Listed) -> Event {
        if self.answered(&Request::List, listed.client_token.as_ref()).is_some() {
            self.backoffs.list.went_well();
            let all = listed.pending();
            self.left_alone.retain(|execution| all.iter().any(|pending| pending.execution == *execution));
            self.look_at(all);
        }
        Event::Other
    }

    fn look_at(&mut self, all: Vec<Pending>) {
        let is_known = |execution: &Execution| {
            self.left_alone.contains(execution)
                || self.current.as_ref() == Some(execution)
                || self.updates.iter().any(|update| update.execution == *execution)
        };
        self.pending = all.into_iter().filter(|pending| !is_known(&pending.execution)).collect();
    }

    fn described(&mut self, request: &Request, payload: &[u8], now: Instant) -> Result<Event, Malformed> {
        let Described { client_token, execution: body } = match read(payload) {
            Ok(described) => described,
            Err(malformed) => {
                // However often it is asked for, it stays what it is.
                if let Some(Waiting { asked: Asked::Document(execution), .. }) =
                    self.waiting.take_if(|waiting| is_for_document(waiting, request))
                {
                    self.leave_alone(&execution);
                }
                return Err(malformed);
            }
        };
        let Some(asked) = self.answered(request, client_token.as_ref()) else { return Ok(Event::Other) };
        self.backoffs.describe.went_well();
        match asked {
            Asked::Document(execution) if body.is_of(&execution) => Ok(self.has_document(execution, &body)),
            Asked::Document(execution) => {
                self.leave_alone(&execution);
                Err(Malformed::OtherJob)
            }
            Asked::Standing(execution) if body.is_of(&execution) => Ok(self.stands(execution, body.state())),
            asked => {
                self.failed(&asked, now);
                Err(Malformed::OtherJob)
            }
        }
    }

    fn has_document(&mut self, execution: Execution, body: &Body<'_>) -> Event {
        self.forget_pending(&execution);
        let ExecutionState { status, version_number } = body.state();
        if !is_pending(&status) {
            return Event::Other;
        }
        let Some(document) = body.document() else {
            self.leave_alone(&execution);
            return Event::LeftAlone(execution);
        };
        self.current = Some(execution.clone());
        self.versions.insert(execution.clone(), version_number);
        let (details, update) =
            (Details::default(), |status, details| Update { execution: execution.clone(), status, details });
        match document {
            Ok(document) if status == IN_PROGRESS => Event::Job(Job { execution, document }),
            Ok(document) => {
                let details =
                    details.with("version", document.get("version").and_then(Value::as_str).unwrap_or_default());
                self.updates.push_back(update(Status::InProgress, details));
                self.beginning = Some(document);
                Event::Other
            }
            Err(why) => {
                self.updates.push_back(update(Status::Failed, details.with_problems(&[why.to_string()])));
                Event::Unreadable { execution, why }
            }
        }
    }

    fn updated(&mut self, request: &Request, updated: Updated) -> Event {
        let Some(Asked::Update(execution)) = self.answered(request, updated.client_token.as_ref()) else {
            return Event::Other;
        };
        let version = updated.execution_state.map(|state| state.version_number);
        let before = self.versions.get(&execution).copied().unwrap_or_default();
        self.versions.insert(execution.clone(), version.unwrap_or(before + 1));
        self.was_taken(execution)
    }

    /// The service has what was to be said first.
    fn was_taken(&mut self, execution: Execution) -> Event {
        self.backoffs.update.went_well();
        self.figures.accepted += 1;
        let Some(Update { status, .. }) = self.updates.pop_front() else { return Event::Other };
        if status.is_final() {
            self.forget(&execution);
        }
        match self.beginning.take_if(|_| self.current.as_ref() == Some(&execution)) {
            Some(document) => Event::Job(Job { execution, document }),
            None => Event::Updated { execution, status },
        }
    }

    fn rejected(&mut self, request: &Request, rejected: Rejected, now: Instant) -> Event {
        let Some(asked) = self.answered(request, rejected.client_token.as_ref()) else { return Event::Other };
        self.figures.rejected += 1;
        let rejection = Rejection { code: line(&rejected.code), message: line(&rejected.message) };
        self.figures.last_rejection = Some(rejection.clone());
        let execution = match &asked {
            Asked::List => {
                self.failed(&asked, now);
                return Event::Throttled(rejection);
            }
            Asked::Document(execution) | Asked::Standing(execution) | Asked::Update(execution) => execution.clone(),
        };
        let state = rejected.execution_state;
        let is_over = state.as_ref().is_some_and(|state| !is_pending(&state.status));
        match (rejected.code.as_str(), state) {
            ("ResourceNotFound", _) => self.over(&asked, execution, Over::NotFound),
            ("TerminalStateReached", state) => {
                let state = state.map(|state| line(&state.status)).unwrap_or_default();
                self.over(&asked, execution, Over::Ended(state))
            }
            ("VersionMismatch", state) => {
                self.backoffs.update.failed(now, &mut self.random);
                match state {
                    Some(state) => self.stands(execution, state),
                    None => {
                        // It is asked for.
                        self.versions.remove(&execution);
                        Event::Other
                    }
                }
            }
            ("InvalidStateTransition", Some(state)) if is_over => self.stands(execution, state),
            ("InvalidRequest" | "InvalidJson" | "InvalidTopic" | "InvalidStateTransition", _) => {
                let is_update = matches!(asked, Asked::Update(_));
                let details = self.updates.front_mut().filter(|_| is_update).map(|update| &mut update.details);
                // They may be the reason, and without them it can still be said.
                if details.map(std::mem::take).is_some_and(|details| !details.is_empty()) {
                    return Event::Throttled(rejection);
                }
                self.over(&asked, execution, Over::Refused(rejection))
            }
            // RequestThrottled, InternalError, and what nobody has told of.
            _ => {
                self.failed(&asked, now);
                Event::Throttled(rejection)
            }
        }
    }

    /// The service has said how it stands with the job that something is to be said of.
    fn stands(&mut self, execution: Execution, state: ExecutionState) -> Event {
        let Some(wanted) = self.updates.front().map(|update| update.status) else { return Event::Other };
        if state.status == wanted.name() {
            // It was said already, and the answer got lost.
            self.versions.insert(execution.clone(), state.version_number);
            return self.was_taken(execution);
        }
        if is_pending(&state.status) {
            self.versions.insert(execution, state.version_number);
            return Event::Other;
        }
        let why = Over::Ended(line(&state.status));
        self.over(&Asked::Standing(execution.clone()), execution, why)
    }

    /// The job is over, and whatever was to be said of it is forgotten.
    fn over(&mut self, asked: &Asked, execution: Execution, why: Over) -> Event {
        if let Over::Refused(_) = why {
            // It may stay in the list.
            self.leave_alone(&execution);
        }
        self.updates.retain(|update| update.execution != execution);
        self.forget(&execution);
        match (asked, why) {
            // Nobody has been told of it.
            (Asked::Document(_), Over::Refused(rejection)) => Event::Throttled(rejection),
            (Asked::Document(_), _) => Event::Other,
            (_, why) => Event::Over { execution, why },
        }
    }

    /// It is not looked at again while the list has it.
    fn leave_alone(&mut self, execution: &Execution) {
        self.forget_pending(execution);
        self.left_alone.insert(execution.clone());
    }

    fn forget_pending(&mut self, execution: &Execution) {
        self.pending.retain(|pending| pending.execution != *execution);
    }

    fn forget(&mut self, execution: &Execution) {
        self.forget_pending(execution);
        self.versions.remove(execution);
        if self.current.take_if(|current| current == execution).is_some() {
            self.beginning = None;
        }
    }
}

fn is_pending(status: &str) -> bool {
    matches!(status, QUEUED | IN_PROGRESS)
}

fn is_for_document(waiting: &Waiting, request: &Request) -> bool {
    matches!(waiting.asked, Asked::Document(_)) && waiting.asked.request() == *request
}
