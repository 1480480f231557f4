//! Whether a stage still makes progress.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The pulse of one stage. The stage beats it from the very thread or task that does the work, at least once a second
/// while it works or is idle for a good reason; who watches it asks for its age.
#[derive(Debug)]
pub struct Heartbeat {
    started: Instant,
    /// Milliseconds from `started` to the last beat.
    last: AtomicU64,
}

impl Heartbeat {
    /// A heartbeat whose first beat is now.
    pub fn new() -> Self {
        Heartbeat { started: Instant::now(), last: AtomicU64::new(0) }
    }

    /// The stage has made progress, or is idle for a good reason.
    pub fn beat(&self) {
        self.last.store(self.elapsed_ms(), Ordering::Relaxed);
    }

    /// The stage has nothing to do: it is not late until it beats again and then stops.
    pub fn rest(&self) {
        self.last.store(u64::MAX, Ordering::Relaxed);
    }

    /// How long ago the last beat was, to the millisecond; nothing while the stage [rests](Self::rest).
    pub fn age(&self) -> Duration {
        Duration::from_millis(self.elapsed_ms().saturating_sub(self.last.load(Ordering::Relaxed)))
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The age grows without beats, and a beat brings it back to nothing.
    #[test]
    fn age_is_the_time_since_the_last_beat() {
        let heartbeat = Heartbeat {
            started: Instant::now().checked_sub(Duration::from_secs(60)).unwrap(),
            last: AtomicU64::new(0),
        };
        assert!(heartbeat.age() >= Duration::from_secs(60));
        heartbeat.beat();
        assert!(heartbeat.age() < Duration::from_secs(60));
    }

    /// Who has nothing to do is not late, until it has begun again.
    #[test]
    fn who_rests_is_not_late() {
        let started = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        let heartbeat = Heartbeat { started, last: AtomicU64::new(0) };
        heartbeat.rest();
        assert_eq!(heartbeat.age(), Duration::ZERO);
        heartbeat.last.store(1, Ordering::Relaxed);
        assert!(heartbeat.age() > Duration::from_secs(59));
    }
}
