//! Configurations that come as jobs of AWS IoT, as a state machine: no connection, no thread, no ROS.
//!
//! ```text
//!  Outgoing ──► …/jobs/get, …/jobs/<job>/get, …/jobs/<job>/update
//!  Client::arrived ◄── …/accepted, …/rejected, …/jobs/notify
//! ```
//!
//! A job is a document that AWS hands to each thing of a group, at the rate of its roll-out, and counts what became of it. Only jobs
//! whose document has `"operation": "iot-bridge/config"` are this program's. [`Client`] finds them and says what became of
//! them; what is done with a document is decided by whoever gets [`Event::Job`].
//!
//! # Rules
//!
//! - **Pending jobs are asked for** at each connection, at a random time, and once a day; else the service
//!   says when the list has changed (`notify`). What is listed is described once.
//! - **What is of another operation is left alone**: not started, not rejected, not described again. Another program of the
//!   robot may want it. `start-next` is never used, as it would start whatever comes next.
//! - **IN_PROGRESS comes first**: a job is handed over when the service has taken that, so that one that was cancelled meanwhile is
//!   not begun.
//! - **One at a time**, those in progress first, then the oldest. The next one is described when the service has taken a final
//!   update of the one before.
//! - **What is said of a job is said until it is taken**, over connections and, as whoever decides keeps it on disk, over
//!   restarts. It carries the version that is known: if that is not the service's any more, what the service says instead
//!   counts. If it says what was to be said, the answer had been lost. If the job has ended otherwise (an operator has cancelled
//!   it, or its time was over), that is [`Event::Over`], and nothing more is said.
//! - **One request at a time.** Its `clientToken` tells its answer from others. After ten seconds without one it is made again.
//! - **Backed off from** is what is refused for the rate, has no answer, or fails without a reason that is known. What is refused
//!   for what it says is said once more without details, and then no more.
//! - **Whatever comes is bounded**: payloads by [`ARRIVAL_LIMIT`], documents by [`DOCUMENT_LIMIT`], lists by 100 jobs. A name is
//!   judged ([`JobId`]) before it stands in a topic. What can't be read is counted and changes nothing.

mod client;
mod document;
mod execution;
mod topics;

use std::time::Duration;

use crate::shadows;

pub use client::{Client, Event, Figures, Outgoing, Over, Rejection};
pub use document::{ARRIVAL_LIMIT, Malformed};
pub use execution::{Details, Execution, Job, JobId, NoJob, Status, Update};
pub use topics::{Kind, Request, filter, kind};

/// What the document of a job asks for, if it has a configuration.
pub const OPERATION: &str = "iot-bridge/config";

/// Longest job document, in bytes ("AWS IoT Device Management endpoints and quotas").
pub const DOCUMENT_LIMIT: usize = 32_768;

/// How long a request waits for its answer, as those for shadows do. Whoever publishes it lets it go after this time: what is asked
/// for next counts on it that it does not arrive any more.
pub const TIMEOUT: Duration = shadows::TIMEOUT;

#[cfg(test)]
mod tests;
