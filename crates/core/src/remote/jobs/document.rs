//! What the service publishes, read within bounds.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{DOCUMENT_LIMIT, Execution, JobId, OPERATION};

/// Longest payload of the service that is read: the longest that MQTT takes there.
/// A job document is shorter, but `statusDetails` of other programs have no limit.
pub const ARRIVAL_LIMIT: usize = 128 << 10;

/// Most pending jobs that are looked at. A notification has at most 10.
const LIST_LIMIT: usize = 100;

/// What came is not what the service says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("it has {0} bytes, more than the Jobs service ever says")]
    TooLong(usize),
    /// What it says instead is not quoted.
    #[error("it is not what the Jobs service says (line {line}, column {column})")]
    Answer { line: usize, column: usize },
    #[error("it is of another job than the one that was asked for")]
    OtherJob,
    #[error("the job document has {0} bytes; a job has at most {DOCUMENT_LIMIT}")]
    LargeDocument(usize),
    /// What it says instead is not quoted.
    #[error(
        "the job document can't be read (line {line}, column {column}): it is no JSON object, or nested too deeply"
    )]
    Document { line: usize, column: usize },
}

/// A job in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pending {
    pub execution: Execution,
    pub is_in_progress: bool,
    queued_at: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    job_id: String,
    #[serde(default = "first")]
    execution_number: i64,
    #[serde(default)]
    queued_at: u64,
}

/// The answer to a request for the list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed {
    pub client_token: Option<String>,
    #[serde(default)]
    in_progress_jobs: Vec<Summary>,
    #[serde(default)]
    queued_jobs: Vec<Summary>,
}

/// The list has changed.
#[derive(Debug, Deserialize)]
pub(super) struct Notified {
    /// When, in seconds since 1970.
    pub timestamp: Option<u64>,
    jobs: Lists,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct Lists {
    #[serde(default)]
    in_progress: Vec<Summary>,
    #[serde(default)]
    queued: Vec<Summary>,
}

/// What a job is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Described<'a> {
    pub client_token: Option<String>,
    #[serde(borrow)]
    pub execution: Body<'a>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body<'a> {
    job_id: String,
    #[serde(default = "first")]
    execution_number: i64,
    status: String,
    version_number: i64,
    #[serde(borrow)]
    job_document: Option<&'a RawValue>,
}

/// An update was taken.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Updated {
    pub client_token: Option<String>,
    pub execution_state: Option<ExecutionState>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExecutionState {
    pub status: String,
    pub version_number: i64,
}

/// A request was not taken.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rejected {
    pub code: String,
    #[serde(default)]
    pub message: String,
    pub client_token: Option<String>,
    pub execution_state: Option<ExecutionState>,
}

fn first() -> i64 {
    1
}

/// Reads what the service has published.
pub(super) fn read<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, Malformed> {
    if payload.len() > ARRIVAL_LIMIT {
        return Err(Malformed::TooLong(payload.len()));
    }
    serde_json::from_slice(payload).map_err(|error| Malformed::Answer { line: error.line(), column: error.column() })
}

impl Listed {
    pub fn pending(self) -> Vec<Pending> {
        pending(self.in_progress_jobs, self.queued_jobs)
    }
}

impl Notified {
    pub fn pending(self) -> Vec<Pending> {
        pending(self.jobs.in_progress, self.jobs.queued)
    }
}

/// What is in progress, then what is queued, the oldest first.
fn pending(in_progress: Vec<Summary>, queued: Vec<Summary>) -> Vec<Pending> {
    let of = |is_in_progress: bool| {
        move |Summary { job_id, execution_number, queued_at }: Summary| {
            let job = JobId::new(&job_id)?;
            Some(Pending { execution: Execution { job, number: execution_number }, is_in_progress, queued_at })
        }
    };
    let mut all: Vec<Pending> =
        in_progress.into_iter().filter_map(of(true)).chain(queued.into_iter().filter_map(of(false))).collect();
    all.sort_by_key(|pending| (!pending.is_in_progress, pending.queued_at));
    all.truncate(LIST_LIMIT);
    all
}

impl Body<'_> {
    pub fn state(&self) -> ExecutionState {
        ExecutionState { status: self.status.clone(), version_number: self.version_number }
    }

    pub fn is_of(&self, execution: &Execution) -> bool {
        self.job_id == execution.job.as_str() && self.execution_number == execution.number
    }

    /// The document, or why it can't be read, if it asks for [`OPERATION`]; else `None`.
    pub fn document(&self) -> Option<Result<Map<String, Value>, Malformed>> {
        #[derive(Deserialize)]
        struct Operation {
            operation: String,
        }
        let text = self.job_document?.get();
        let is_ours = serde_json::from_str::<Operation>(text).is_ok_and(|document| document.operation == OPERATION);
        is_ours.then(|| match text.len() {
            0..=DOCUMENT_LIMIT => serde_json::from_str(text)
                .map_err(|error| Malformed::Document { line: error.line(), column: error.column() }),
            length => Err(Malformed::LargeDocument(length)),
        })
    }
}
