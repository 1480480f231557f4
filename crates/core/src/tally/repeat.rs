//! Saying a thing once in a while.

use std::time::{Duration, Instant};

/// How often the same complaint about the same topic is logged.
pub const ONCE_A_MINUTE: Duration = Duration::from_secs(60);

/// Lets one of many like log lines through in a period, and counts the others.
#[derive(Debug, Default)]
pub struct Repeat {
    last: Option<Instant>,
    held_back: u64,
}

impl Repeat {
    /// `Some(n)` when it is time to say it (again), with the number of times it was held back since.
    pub fn due(&mut self, now: Instant, period: Duration) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < period) {
            self.held_back += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.held_back))
    }

    /// Whether it was last said longer than `period` ago.
    pub fn is_over(&self, now: Instant, period: Duration) -> bool {
        self.last.is_none_or(|last| now.saturating_duration_since(last) >= period)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speaks_once_a_period_and_tells_how_often_it_was_silent() {
        let start = Instant::now();
        let mut repeat = Repeat::default();
        assert_eq!(repeat.due(start, ONCE_A_MINUTE), Some(0));
        assert_eq!(repeat.due(start + Duration::from_secs(1), ONCE_A_MINUTE), None);
        assert_eq!(repeat.due(start + Duration::from_secs(59), ONCE_A_MINUTE), None);
        assert_eq!(repeat.due(start + Duration::from_secs(60), ONCE_A_MINUTE), Some(2));
        assert_eq!(repeat.due(start + Duration::from_secs(61), ONCE_A_MINUTE), None);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!repeat.is_over(at(119), ONCE_A_MINUTE) && repeat.is_over(at(120), ONCE_A_MINUTE));
    }
}
