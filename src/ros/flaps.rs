//! A topic whose publishers change without end.

use std::time::{Duration, Instant};

/// Changes in a row that are followed at once: a robot that starts has some.
const AT_ONCE: u32 = 4;

/// The longest pause before a change is followed. It is not much longer than publishers need to find a subscription.
const LONGEST: Duration = Duration::from_secs(30);

/// After so long without one, changes are followed at once again.
const CALM: Duration = Duration::from_secs(60);

/// How soon the next change of a topic is followed.
#[derive(Debug, Default)]
pub(super) struct Flaps {
    changes: u32,
    last: Option<Instant>,
}

impl Flaps {
    /// Whether a change may be followed at `now`.
    pub(super) fn may_follow(&self, now: Instant) -> bool {
        let Some(pause) = self.changes.checked_sub(AT_ONCE + 1) else { return true };
        let pause = Duration::from_secs(1 << pause.min(5)).min(LONGEST);
        self.last.is_none_or(|last| now >= last + pause)
    }

    /// A change is followed.
    pub(super) fn note(&mut self, now: Instant) {
        if self.last.is_some_and(|last| now >= last + CALM) {
            self.changes = 0;
        }
        self.changes = self.changes.saturating_add(1);
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_without_end_are_followed_ever_more_rarely() {
        let (start, mut flaps) = (Instant::now(), Flaps::default());
        let mut followed = |tenths: std::ops::Range<u64>| {
            let mut seconds = Vec::new();
            for tenth in tenths {
                let now = start + Duration::from_millis(100 * tenth);
                if flaps.may_follow(now) {
                    flaps.note(now);
                    seconds.push(tenth as f64 / 10.0);
                }
            }
            seconds
        };
        assert_eq!(followed(0..1500), [0.0, 0.1, 0.2, 0.3, 0.4, 1.4, 3.4, 7.4, 15.4, 31.4, 61.4, 91.4, 121.4]);
        // After a minute of calm it begins anew.
        assert_eq!(followed(1900..1905).len(), 5);
    }
}
