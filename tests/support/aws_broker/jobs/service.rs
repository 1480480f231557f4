//! The Jobs service, as its developer guide has it: what becomes of a request of a thing, and what is published about its jobs.
//!
//! | of the documentation | here |
//! | --- | --- |
//! | answers go to the client that has asked, subscribed or not | [`Published::answers`] |
//! | `notify` when a job is added to the list of pending ones or leaves it, with at most 10; `notify-next` when the first changes | [`Service::list_changed`] |
//! | in the list what is in progress comes first, then the oldest | [`Thing::pending`] |
//! | `start-next` starts the first of the list; `$next` describes it | [`Service::start_next`] |
//! | a thing may say IN_PROGRESS, SUCCEEDED, FAILED and REJECTED, and nothing after the last three (`InvalidStateTransition`) | [`Service::update`] |
//! | each update makes a version; with `expectedVersion` one of another is refused (`VersionMismatch`), with how it stands | [`Service::update`] |
//! | `statusDetails`: keys of 1 to 128 letters, digits, `:`, `_`, `-`, values of 1 to 1024 characters without control (`InvalidRequest`) | [`are_details`] |
//! | what has ended can't be described (`TerminalStateReached`), what is not there can't either (`ResourceNotFound`) | [`Service::describe`] |
//! | a document is a JSON object of at most 32,768 bytes | [`Service::create`] |

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Map, Value, json};

const DOCUMENT: usize = 32_768;
const TOKEN: usize = 64;
const NOTIFIED: usize = 10;

/// What is published: topic and payload.
pub type Publication = (String, Vec<u8>);

/// What is published because of a request.
#[derive(Debug, Default)]
pub struct Published {
    /// To the client that has asked.
    pub answers: Vec<Publication>,
    /// To whoever has subscribed.
    pub news: Vec<Publication>,
}

/// All jobs of an account.
#[derive(Debug, Default)]
pub struct Service {
    things: BTreeMap<String, Thing>,
    /// Codes with which the next requests are refused, whatever they say.
    pub refuse: VecDeque<&'static str>,
    /// Of the next requests, whether each is lost.
    pub ignore: VecDeque<bool>,
    seconds: u64,
}

/// The jobs of a thing, in the order in which they were made.
#[derive(Debug, Default)]
struct Thing(Vec<Run>);

#[derive(Debug, Clone)]
struct Run {
    job: String,
    number: u64,
    document: Value,
    status: String,
    version: u64,
    details: Map<String, Value>,
    queued_at: u64,
}

impl Service {
    /// Somebody makes a job for a thing, or has one run once more. Returns what is published.
    pub fn create(&mut self, thing: &str, job: &str, document: Value) -> Vec<Publication> {
        assert!(document.is_object() && document.to_string().len() <= DOCUMENT, "it would not be taken");
        self.seconds += 1;
        let queued_at = self.seconds;
        let runs = &mut self.things.entry(thing.to_owned()).or_default().0;
        let number = 1 + runs.iter().filter(|run| run.job == job).count() as u64;
        let (status, details) = ("QUEUED".to_owned(), Map::new());
        runs.push(Run { job: job.to_owned(), number, document, status, version: 1, details, queued_at });
        let is_first = self.thing(thing).pending().first().is_some_and(|first| first.job == job);
        self.list_changed(thing, is_first)
    }

    /// Somebody ends a job of a thing: CANCELED, TIMED_OUT, REMOVED. Returns what is published.
    pub fn end(&mut self, thing: &str, job: &str, status: &str) -> Vec<Publication> {
        let was_first = self.is_first(thing, job);
        let run = self.things.get_mut(thing).and_then(|thing| thing.run(job, None)).expect("a job");
        assert!(run.is_pending(), "it has ended");
        (run.status, run.version) = (status.to_owned(), run.version + 1);
        self.list_changed(thing, was_first)
    }

    /// Somebody deletes a job. Returns what is published.
    pub fn delete(&mut self, thing: &str, job: &str) -> Vec<Publication> {
        let was_first = self.is_first(thing, job);
        self.things.entry(thing.to_owned()).or_default().0.retain(|run| run.job != job);
        self.list_changed(thing, was_first)
    }

    /// `{"status":…,"version":…,"details":…}` of the last run; null if there is none.
    pub fn standing(&self, thing: &str, job: &str) -> Value {
        let runs = self.things.get(thing).into_iter().flat_map(|thing| &thing.0);
        let run = runs.rev().find(|run| run.job == job);
        run.map_or(Value::Null, |run| json!({"status": run.status, "version": run.version, "details": run.details}))
    }

    /// Takes what was published to `topic`. `None` if it is no request for jobs.
    pub fn take(&mut self, topic: &str, payload: &[u8]) -> Option<Published> {
        let (thing, request) = topic.strip_prefix("$aws/things/")?.split_once("/jobs/")?;
        if self.ignore.pop_front().unwrap_or(false) {
            return Some(Published::default());
        }
        self.seconds += 1;
        let asked: Result<Value, _> = serde_json::from_slice(payload);
        let token = asked.as_ref().ok().map(|asked| asked["clientToken"].clone()).unwrap_or_default();
        let mut news = Vec::new();
        let done = match (self.refuse.pop_front(), asked) {
            (Some(code), _) => Err(Refusal::new(code, "it was asked for")),
            (None, Ok(asked)) if asked.is_object() => {
                if token.as_str().is_some_and(|token| token.len() > TOKEN) {
                    Err(Refusal::new("InvalidRequest", "the token is too long"))
                } else {
                    self.judge(thing, request, &asked, &mut news)
                }
            }
            (None, _) => Err(Refusal::new("InvalidJson", "it is no JSON object")),
        };
        let (ending, mut answer) = match done {
            Ok(answer) => ("accepted", answer),
            Err(Refusal { code, message, state }) => {
                let mut answer = json!({"code": code, "message": message});
                if let Some(state) = state {
                    answer["executionState"] = state;
                }
                ("rejected", answer)
            }
        };
        answer["timestamp"] = self.seconds.into();
        if !token.is_null() {
            answer["clientToken"] = token;
        }
        Some(Published { answers: vec![(format!("{topic}/{ending}"), answer.to_string().into())], news })
    }

    fn judge(
        &mut self,
        thing: &str,
        request: &str,
        asked: &Value,
        news: &mut Vec<Publication>,
    ) -> Result<Value, Refusal> {
        match request.split('/').collect::<Vec<_>>()[..] {
            ["get"] => Ok(self.list(thing)),
            ["start-next"] => Ok(self.start_next(thing)),
            [job, "get"] => self.describe(thing, job, asked),
            [job, "update"] => self.update(thing, job, asked, news),
            _ => Err(Refusal::new("InvalidTopic", "there is no such request")),
        }
    }

    fn list(&mut self, thing: &str) -> Value {
        let pending = self.thing(thing).pending();
        let of = |status: &str| summaries(&pending, status);
        json!({"inProgressJobs": of("IN_PROGRESS"), "queuedJobs": of("QUEUED")})
    }

    fn start_next(&mut self, thing: &str) -> Value {
        let Some(Run { job, .. }) = self.thing(thing).pending().first().map(|run| (*run).clone()) else {
            return json!({});
        };
        let run = self.things.get_mut(thing).and_then(|thing| thing.run(&job, None)).expect("a job");
        if run.status == "QUEUED" {
            (run.status, run.version) = ("IN_PROGRESS".to_owned(), run.version + 1);
        }
        json!({"execution": run.described(true)})
    }

    fn describe(&mut self, thing: &str, job: &str, asked: &Value) -> Result<Value, Refusal> {
        let with_document = asked["includeJobDocument"].as_bool().unwrap_or(true);
        if job == "$next" {
            let first = self.thing(thing).pending().first().map(|run| run.described(with_document));
            return Ok(first.map_or(json!({}), |execution| json!({ "execution": execution })));
        }
        let number = asked["executionNumber"].as_u64();
        let run = self.things.get_mut(thing).and_then(|thing| thing.run(job, number)).ok_or_else(Refusal::not_found)?;
        if !run.is_pending() {
            return Err(Refusal::new("TerminalStateReached", "the job has ended"));
        }
        Ok(json!({"execution": run.described(with_document)}))
    }

    fn update(&mut self, thing: &str, job: &str, asked: &Value, news: &mut Vec<Publication>) -> Result<Value, Refusal> {
        let was_first = self.is_first(thing, job);
        let status = asked["status"].as_str().unwrap_or_default();
        if !matches!(status, "IN_PROGRESS" | "SUCCEEDED" | "FAILED" | "REJECTED") {
            return Err(Refusal::new("InvalidRequest", "a thing can't say this status"));
        }
        if !are_details(&asked["statusDetails"]) {
            return Err(Refusal::new("InvalidRequest", "invalid status details"));
        }
        let expected = match &asked["expectedVersion"] {
            Value::Null => None,
            Value::String(text) => text.parse().ok(),
            other => Some(other.as_u64().ok_or_else(|| Refusal::new("InvalidRequest", "invalid version"))?),
        };
        let number = asked["executionNumber"].as_u64();
        let run = self.things.get_mut(thing).and_then(|thing| thing.run(job, number)).ok_or_else(Refusal::not_found)?;
        if !run.is_pending() {
            return Err(Refusal::of("InvalidStateTransition", run));
        }
        if expected.is_some_and(|expected| expected != run.version) {
            return Err(Refusal::of("VersionMismatch", run));
        }
        (run.status, run.version) = (status.to_owned(), run.version + 1);
        if let Some(details) = asked["statusDetails"].as_object() {
            run.details = details.clone();
        }
        let (state, is_over) = (run.state(), !run.is_pending());
        if is_over {
            news.extend(self.list_changed(thing, was_first));
        }
        Ok(if asked["includeJobExecutionState"] == true { json!({"executionState": state}) } else { json!({}) })
    }

    fn thing(&mut self, thing: &str) -> &Thing {
        self.things.entry(thing.to_owned()).or_default()
    }

    fn is_first(&mut self, thing: &str, job: &str) -> bool {
        self.thing(thing).pending().first().is_some_and(|first| first.job == job)
    }

    fn list_changed(&mut self, thing: &str, is_next_another: bool) -> Vec<Publication> {
        let seconds = self.seconds;
        let mut pending = self.thing(thing).pending();
        let next = pending.first().map(|run| run.described(true));
        pending.truncate(NOTIFIED);
        let mut jobs = json!({});
        for status in ["IN_PROGRESS", "QUEUED"] {
            let of = summaries(&pending, status);
            if !of.is_empty() {
                jobs[status] = of.into();
            }
        }
        let prefix = format!("$aws/things/{thing}/jobs");
        let notified = json!({"timestamp": seconds, "jobs": jobs});
        let mut news = vec![(format!("{prefix}/notify"), notified.to_string().into())];
        if is_next_another {
            let mut notified = json!({ "timestamp": seconds });
            if let Some(next) = next {
                notified["execution"] = next;
            }
            news.push((format!("{prefix}/notify-next"), notified.to_string().into()));
        }
        news
    }
}

impl Thing {
    /// What has not ended: what is in progress first, then the oldest.
    fn pending(&self) -> Vec<&Run> {
        let mut pending: Vec<_> = self.0.iter().filter(|run| run.is_pending()).collect();
        pending.sort_by_key(|run| (run.status != "IN_PROGRESS", run.queued_at));
        pending
    }

    /// The last run of a job, if it has this number.
    fn run(&mut self, job: &str, number: Option<u64>) -> Option<&mut Run> {
        let run = self.0.iter_mut().rev().find(|run| run.job == job)?;
        (number.is_none() || number == Some(run.number)).then_some(run)
    }
}

impl Run {
    fn is_pending(&self) -> bool {
        matches!(&*self.status, "QUEUED" | "IN_PROGRESS")
    }

    fn state(&self) -> Value {
        json!({"status": self.status, "statusDetails": self.details, "versionNumber": self.version})
    }

    fn described(&self, with_document: bool) -> Value {
        let mut execution = self.state();
        execution["jobId"] = self.job.clone().into();
        execution["executionNumber"] = self.number.into();
        execution["queuedAt"] = self.queued_at.into();
        execution["lastUpdatedAt"] = self.queued_at.into();
        if with_document {
            execution["jobDocument"] = self.document.clone();
        }
        execution
    }
}

struct Refusal {
    code: &'static str,
    message: &'static str,
    state: Option<Value>,
}

impl Refusal {
    fn new(code: &'static str, message: &'static str) -> Refusal {
        Refusal { code, message, state: None }
    }

    fn of(code: &'static str, run: &Run) -> Refusal {
        Refusal { code, message: "it stands otherwise", state: Some(run.state()) }
    }

    fn not_found() -> Refusal {
        Refusal::new("ResourceNotFound", "there is no such job")
    }
}

fn summaries(pending: &[&Run], status: &str) -> Vec<Value> {
    let of = pending.iter().filter(|run| run.status == status);
    of.map(|run| {
        json!({
            "jobId": run.job, "queuedAt": run.queued_at, "lastUpdatedAt": run.queued_at,
            "executionNumber": run.number, "versionNumber": run.version,
        })
    })
    .collect()
}

/// Whether these are `statusDetails`.
fn are_details(details: &Value) -> bool {
    let is_key = |key: &str| {
        (1..=128).contains(&key.len()) && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-'))
    };
    let is_value = |value: &Value| {
        value.as_str().is_some_and(|text| {
            (1..=1024).contains(&text.chars().count()) && !text.chars().any(|c| c.is_control() || c == '\u{202e}')
        })
    };
    match details {
        Value::Null => true,
        Value::Object(details) => details.iter().all(|(key, value)| is_key(key) && is_value(value)),
        _ => false,
    }
}
