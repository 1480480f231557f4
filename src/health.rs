//! Health: what each stage counts, whether it makes progress, and how systemd and people hear of it.

mod counters;
pub mod logging;
mod progress;
mod repeat;
mod status_line;
pub mod systemd;
mod topic;
mod watch;

pub use counters::{DropReason, TopicCounters};
pub use progress::Heartbeat;
pub use repeat::{ONCE_A_MINUTE, Repeat};
pub use status_line::status_line;
pub use topic::TopicHealth;
pub use watch::{Watched, watch};
