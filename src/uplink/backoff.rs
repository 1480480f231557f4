//! When the next connection may be tried.
//!
//! Exponential with full jitter: the n-th wait is random between nothing and `initial` × 2ⁿ, at most `max`, so that
//! robots which lost the broker together do not come back together. Two bounds hold whatever the jitter says:
//!
//! - two attempts begin at least [`MIN_SPACING`] apart;
//! - the waits start from `initial` again only after a connection that has lasted `stable_after`. A client that is
//!   accepted and closed at once over and over would otherwise do so at full speed.
//!
//! While another client has the same client id, each attempt ends the other's connection. Then every wait is between
//! half of `max` and `max`, however long the connections last: whoever has the connection may keep it for a while.
//!
//! The growth and the randomness are the crate `backoff`'s, which is used here and nowhere else.

use std::time::{Duration, Instant};

use ::backoff::backoff::Backoff as _;
use ::backoff::{ExponentialBackoff, ExponentialBackoffBuilder};

use crate::config::Reconnect;

/// AWS IoT Core takes one CONNECT a second of a client id (AWS IoT Core quotas).
pub const MIN_SPACING: Duration = Duration::from_secs(1);

/// Why a back-off cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBackoff {
    /// `initial` under a millisecond would not grow.
    #[error("the initial wait has to be at least 1 ms")]
    InitialTooShort,
    /// `max` is shorter than `initial`.
    #[error("the longest wait is shorter than the initial one")]
    MaxUnderInitial,
}

/// Tells when the next connection may be tried.
#[derive(Debug)]
pub struct Backoff {
    waits: ExponentialBackoff,
    max: Duration,
    stable_after: Duration,
    last_attempt: Option<Instant>,
    contested: bool,
}

impl Backoff {
    /// A back-off that has seen no attempt yet.
    pub fn try_new(settings: &Reconnect) -> Result<Self, InvalidBackoff> {
        let Reconnect { initial, max, stable_after } = *settings;
        if initial < Duration::from_millis(1) {
            return Err(InvalidBackoff::InitialTooShort);
        }
        if max < initial {
            return Err(InvalidBackoff::MaxUnderInitial);
        }
        // The crate draws from interval ± factor × interval. With the factor 1 and half the interval that is the range
        // from nothing to the interval: full jitter.
        let waits = ExponentialBackoffBuilder::new()
            .with_initial_interval(initial / 2)
            .with_max_interval(max / 2)
            .with_randomization_factor(1.0)
            .with_multiplier(2.0)
            .with_max_elapsed_time(None)
            .build();
        Ok(Backoff { waits, max, stable_after, last_attempt: None, contested: false })
    }

    /// An attempt to connect has been made: a CONNECT was sent at `now` at the latest.
    pub fn attempted(&mut self, now: Instant) {
        self.last_attempt = Some(now);
    }

    /// A connection has ended that lasted for `lasted`; `contested` says whether another client seems to have the same
    /// client id.
    pub fn connection_ended(&mut self, lasted: Duration, contested: bool) {
        self.contested = contested;
        if lasted >= self.stable_after && !contested {
            self.waits.reset();
        }
    }

    /// Draws the time of the next attempt, at `now` or later.
    pub fn next_attempt(&mut self, now: Instant) -> Instant {
        // The most the coming draw may give: the crate's arithmetic in floating point is not exact.
        let most = (self.waits.current_interval * 2).min(self.max);
        let wait = self.waits.next_backoff().unwrap_or(most).min(most);
        let wait = if self.contested { self.max / 2 + wait / 2 } else { wait };
        let spaced = self.last_attempt.map_or(now, |last| last + MIN_SPACING);
        (now + wait).max(spaced)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings(initial_ms: u64, max_ms: u64) -> Reconnect {
        Reconnect {
            initial: Duration::from_millis(initial_ms),
            max: Duration::from_millis(max_ms),
            stable_after: Duration::from_secs(30),
        }
    }

    /// The draws of a fresh back-off: many first ones, many second ones, and so on.
    fn draws(settings: &Reconnect, steps: usize, samples: usize) -> Vec<Vec<Duration>> {
        let now = Instant::now();
        let mut draws = vec![Vec::with_capacity(samples); steps];
        for _ in 0..samples {
            let mut backoff = Backoff::try_new(settings).unwrap();
            draws.iter_mut().for_each(|step| step.push(backoff.next_attempt(now) - now));
        }
        draws
    }

    #[test]
    fn refuses_what_cannot_back_off() {
        assert_eq!(Backoff::try_new(&settings(0, 1000)).unwrap_err(), InvalidBackoff::InitialTooShort);
        assert_eq!(Backoff::try_new(&settings(1000, 999)).unwrap_err(), InvalidBackoff::MaxUnderInitial);
    }

    /// The n-th wait is spread evenly from nothing to initial × 2ⁿ, at most max. With 4000 draws of each, a tenth of
    /// the range holding less than half or more than twice its share has a chance below 10⁻²⁰.
    #[test]
    fn jitter_is_full_and_even() {
        for (step, waits) in draws(&settings(1000, 20_000), 7, 4000).into_iter().enumerate() {
            let most = Duration::from_secs(1 << step).min(Duration::from_secs(20));
            let mut tenths = [0; 10];
            for wait in waits {
                assert!(wait <= most, "step {step}: {wait:?}");
                tenths[((wait.as_secs_f64() / most.as_secs_f64() * 10.0) as usize).min(9)] += 1;
            }
            assert!(tenths.iter().all(|tenth| (200..800).contains(tenth)), "step {step}: {tenths:?}");
        }
    }

    /// Connections that end before they are stable do not shorten the waits; one that was stable does.
    #[test]
    fn starts_again_only_after_a_stable_connection() {
        let (now, mut longest) = (Instant::now(), [Duration::ZERO; 2]);
        for _ in 0..200 {
            let mut backoff = Backoff::try_new(&settings(1000, 100_000)).unwrap();
            for _ in 0..10 {
                backoff.next_attempt(now);
                backoff.connection_ended(Duration::from_millis(29_999), false);
            }
            longest[0] = longest[0].max(backoff.next_attempt(now) - now);
            backoff.connection_ended(Duration::from_secs(30), false);
            longest[1] = longest[1].max(backoff.next_attempt(now) - now);
        }
        assert!(longest[0] > Duration::from_secs(20), "{longest:?}");
        assert!(longest[1] <= Duration::from_secs(1), "{longest:?}");
    }

    proptest! {
        /// Whatever the settings and the history: never more than max ahead (or the spacing, if that is longer), never
        /// two attempts within a second.
        #[test]
        fn bounds_hold(
            initial_ms in 1..10_000u64,
            more_ms in 0..1_000_000u64,
            history in proptest::collection::vec((0..100_000u64, 0..60_000u64), 1..50),
        ) {
            let settings = settings(initial_ms, initial_ms + more_ms);
            let mut backoff = Backoff::try_new(&settings).unwrap();
            let (mut now, mut previous) = (Instant::now(), None::<Instant>);
            for (late_ms, lasted_ms) in history {
                let next = backoff.next_attempt(now);
                prop_assert!(next >= now);
                let spaced = previous.map(|previous| previous + MIN_SPACING);
                prop_assert!(next <= now + settings.max || Some(next) == spaced);
                prop_assert!(spaced.is_none_or(|spaced| next >= spaced));
                let begins = next + Duration::from_millis(late_ms % 50);
                backoff.attempted(begins);
                previous = Some(begins);
                backoff.connection_ended(Duration::from_millis(lasted_ms), false);
                now = begins + Duration::from_millis(lasted_ms);
            }
        }
    }

    /// A thousand bridges that lose the broker at the same moment and do not find it for a minute: their attempts are
    /// never more in half a second than the first, evenly spread ones, and soon they come as steadily as if they knew
    /// nothing of each other.
    #[test]
    fn a_thousand_bridges_do_not_come_in_waves() {
        const BRIDGES: usize = 1000;
        let (start, end) = (Instant::now(), Duration::from_secs(60));
        let mut attempts = vec![0; 120];
        for _ in 0..BRIDGES {
            let mut backoff = Backoff::try_new(&settings(1000, 120_000)).unwrap();
            let mut now = backoff.next_attempt(start);
            while now - start < end {
                attempts[(now - start).as_millis() as usize / 500] += 1;
                backoff.attempted(now);
                now = backoff.next_attempt(now);
            }
        }
        let most = attempts.iter().max().unwrap();
        assert!(*most < BRIDGES * 2 / 3, "{most} in half a second: {attempts:?}");
        for (index, around) in attempts.windows(9).enumerate().skip(10) {
            let (here, mean) = (around[4] as f64, around.iter().sum::<usize>() as f64 / 9.0);
            // Five standard deviations of what comes independently.
            let chance = 5.0 * mean.sqrt();
            assert!((here - mean).abs() < 0.5 * mean + chance, "{here} of {mean} around bin {index}: {attempts:?}");
        }
    }
}
