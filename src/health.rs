//! Health: what each stage counts, whether it makes progress, and how systemd and people hear of it.

mod counters;

pub use counters::{DropReason, TopicCounters};
