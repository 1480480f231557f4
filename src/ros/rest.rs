//! What is called ready and has nothing is asked ever more rarely, so that it is no busy loop.

use std::time::{Duration, Instant};

/// The first rest.
const SHORTEST: Duration = Duration::from_millis(1);

/// The longest. A message that comes meanwhile is taken so much later: not long enough for one to be overwritten, as far
/// as a topic of up to 100 Hz and any `depth` is concerned.
const LONGEST: Duration = Duration::from_millis(10);

/// How long something rests that was called ready and had nothing.
#[derive(Debug, Default)]
pub(super) struct Rest {
    length: Duration,
    until: Option<Instant>,
}

impl Rest {
    /// It was ready, and had nothing: it rests from `now` on, twice as long as the last time.
    pub(super) fn begin(&mut self, now: Instant) {
        self.length = (self.length * 2).clamp(SHORTEST, LONGEST);
        self.until = Some(now + self.length);
    }

    /// It had something.
    pub(super) fn forget(&mut self) {
        *self = Rest::default();
    }

    /// Until when it rests; `None` when it does not rest at `now`.
    pub(super) fn until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_grow_to_a_bound_and_are_forgotten() {
        let start = Instant::now();
        let mut rest = Rest::default();
        assert_eq!(rest.until(start), None);
        let mut lengths = Vec::new();
        for _ in 0..6 {
            rest.begin(start);
            lengths.push((rest.until(start).unwrap() - start).as_millis());
        }
        assert_eq!(lengths, [1, 2, 4, 8, 10, 10]);
        assert_eq!(rest.until(start + LONGEST), None);
        rest.begin(start);
        rest.forget();
        assert_eq!(rest.until(start), None);
        rest.begin(start);
        assert_eq!(rest.until(start), Some(start + SHORTEST));
    }
}
