//! What every stage counts and beats, and what reports read. Knows nothing of the stages.
//!
//! Counters and the meter are written where something happens, without a lock, and read by `health`.

mod counters;
mod figures;
mod heartbeat;
mod latency;
mod meter;
mod outcomes;
mod repeat;
mod shaped;
mod ticks;

pub use counters::{DropReason, TopicCounters};
pub use figures::{Bytes, Frequency, Span};
pub use heartbeat::Heartbeat;
pub use latency::LatencyFigures;
pub use meter::Meter;
pub use outcomes::Outcomes;
pub use repeat::{ONCE_A_MINUTE, Repeat};
pub use shaped::ShapedReason;
pub use ticks::ticks;

/// A number and what it counts: `1 record`, `2 records`.
pub fn counted(number: u64, one: &str, several: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { several })
}

/// All of `figures` together, at most `u64::MAX`. A report comes over a socket and may hold any numbers.
pub fn sum(figures: impl IntoIterator<Item = u64>) -> u64 {
    figures.into_iter().fold(0, u64::saturating_add)
}
