//! Health: how systemd, people and their programs hear of what the stages count and whether they make progress.
//!
//! ```text
//!  counters of each topic ─┐
//!  figures of the queue    ├─► Reporter ─► Report ─► status socket, metrics, /diagnostics
//!  state of the uplink ────┤                 ▲
//!                          └─► Balance ──────┘ whether more is offered than may leave; the log says it, too
//!  heartbeats ─► watch ─► systemd: watchdog and status line
//! ```

mod behind;
mod clients;
mod configuration;
pub mod diagnostics;
pub mod logging;
pub mod metrics;
pub mod report;
mod reporter;
mod requests;
mod sources;
mod status_line;
pub mod status_socket;
pub mod systemd;
mod topic;
mod topics;
mod watch;

pub use behind::{Balance, BehindState, Judge};
pub use configuration::{ConfigurationState, Refusal};
pub use report::Report;
pub use reporter::Reporter;
pub use requests::{Last, LastAccepted, LastRefused, RequestHealth, Requests, ShadowStanding, Standing};
pub use sources::Sources;
pub use status_line::status_line;
pub use topic::TopicHealth;
pub use topics::{Leaves, Topics};
pub use watch::{Watched, watch};
