//! Health: what each stage counts, whether it makes progress, and how systemd and people hear of it.

mod counters;
mod progress;

pub use counters::{DropReason, TopicCounters};
pub use progress::Heartbeat;
