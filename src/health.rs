//! Health: what each stage counts, whether it makes progress, and how systemd, people and their programs hear of it.
//!
//! ```text
//!  counters of each topic ─┐
//!  figures of the queue    ├─► Reporter ─► Report ─► status socket, metrics, /diagnostics
//!  state of the uplink ────┘
//!  heartbeats ─► watch ─► systemd: watchdog and status line
//! ```

mod clients;
mod configuration;
mod counters;
pub mod diagnostics;
mod latency;
pub mod logging;
mod meter;
pub mod metrics;
mod progress;
mod repeat;
pub mod report;
mod reporter;
mod status_line;
pub mod status_socket;
pub mod systemd;
mod topic;
mod topics;
mod watch;

pub use configuration::{ConfigurationState, Refusal};
pub use counters::{DropReason, TopicCounters};
pub use meter::Meter;
pub use progress::Heartbeat;
pub use repeat::{ONCE_A_MINUTE, Repeat};
pub use report::Report;
pub use reporter::Reporter;
pub use status_line::status_line;
pub use topic::TopicHealth;
pub use topics::Topics;
pub use watch::{Watched, watch};
