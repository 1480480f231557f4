//! When the next connection may be tried.
//!
//! Exponential with full jitter: the n-th wait is random between nothing and `initial` × 2ⁿ, at most `max`, so that
//! robots which lost the broker together do not come back together. How the last connection went bounds it further:
//!
//! | the last connection | the next wait is at most |
//! | --- | --- |
//! | was good: it had PUBACKs for [`GOOD`], or lasted `stable_after` | `initial`, and growing starts anew |
//! | held for `SHORT` or more | as long as it held |
//! | was closed before that, for a [reason that passes](Cause::Passing) | 2 × `initial`, but grows after twenty in a row without any PUBACK |
//! | was closed because another client has the same client id | `max`, and at least half of it |
//!
//! So a link that holds for some seconds at a time is used most of the time, while a client that is accepted and closed
//! at once over and over does not do so at full speed. Of two clients with one client id each ends the other's connection
//! by its attempt; whoever has the connection may keep it for a while.
//!
//! While no attempt comes as far as a TCP connection (no network, no name, nobody who listens), none is a burden to the broker.
//! Then a wait is random between nothing and a tenth of the outage so far, at least `initial` and at most `max`. After an
//! outage of 20 s the next attempt begins within 2 s, after one of 5 min within 30 s, and robots that were offline for longer
//! come back spread over more time. If there is a connection then, but the broker does not accept it, waits go on from there.
//!
//! Whatever the jitter says, two attempts begin at least [`MIN_SPACING`] apart.
//!
//! The growth is the crate `backoff`'s, which is used here and nowhere else.

use std::time::{Duration, Instant};

use ::backoff::backoff::Backoff as _;
use ::backoff::{ExponentialBackoff, ExponentialBackoffBuilder};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::early_close::SHORT;
use crate::config::Reconnect;

/// AWS IoT Core takes one CONNECT a second of a client id (AWS IoT Core quotas).
pub const MIN_SPACING: Duration = Duration::from_secs(1);

/// A connection on which a PUBACK came so long after its CONNACK was a good one.
pub const GOOD: Duration = Duration::from_secs(10);

/// So many connections in a row may end for reasons that pass, without a single PUBACK, until waits grow all the same: enough for
/// finding a few topics that the broker does not take, with five closes each.
const PASSING: u32 = 20;

/// So many attempts in a row may have been too early for the broker.
const TOO_EARLY: u32 = 2;

/// The part of an outage that a wait may take while no attempt comes as far as a connection.
const UNREACHED: u32 = 10;

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

/// What is known of the reason for which a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It may last.
    Lasting,
    /// It is found out and dealt with within a few connections: a publish that the broker does not take, or nothing that
    /// can be seen.
    Passing,
    /// Another client seems to have the same client id.
    Contested,
}

/// Tells when the next connection may be tried.
#[derive(Debug)]
pub struct Backoff {
    growth: ExponentialBackoff,
    initial: Duration,
    max: Duration,
    stable_after: Duration,
    last_attempt: Option<Instant>,
    /// When the first wait since the last connection began.
    out_since: Option<Instant>,
    /// The last attempt did not come as far as a TCP connection.
    unreached: bool,
    /// Least and most of the next wait, because of how the last connection went.
    bounds: (Duration, Duration),
    /// Attempts since then that were closed without a CONNACK.
    closed: u32,
    /// Connections without a PUBACK since the last that had one, or was good, that ended for a reason that passes.
    passing: u32,
    random: StdRng,
}

impl Backoff {
    /// A back-off that has seen no attempt yet.
    pub fn try_new(settings: &Reconnect) -> Result<Self, InvalidBackoff> {
        Backoff::with_random(settings, StdRng::from_entropy())
    }

    /// As [`Backoff::try_new`], with jitter of `random`.
    pub fn with_random(settings: &Reconnect, random: StdRng) -> Result<Self, InvalidBackoff> {
        let Reconnect { initial, max, stable_after } = *settings;
        if initial < Duration::from_millis(1) {
            return Err(InvalidBackoff::InitialTooShort);
        }
        if max < initial {
            return Err(InvalidBackoff::MaxUnderInitial);
        }
        let growth = ExponentialBackoffBuilder::new()
            .with_initial_interval(initial)
            .with_max_interval(max)
            .with_randomization_factor(0.0)
            .with_multiplier(2.0)
            .with_max_elapsed_time(None)
            .build();
        let bounds = (Duration::ZERO, max);
        Ok(Backoff {
            growth,
            initial,
            max,
            stable_after,
            last_attempt: None,
            out_since: None,
            unreached: false,
            bounds,
            closed: 0,
            passing: 0,
            random,
        })
    }

    /// An attempt to connect has been made: a CONNECT was sent at `now` at the latest.
    pub fn attempted(&mut self, now: Instant) {
        self.last_attempt = Some(now);
    }

    /// When the broker takes another CONNECT, `now` or later.
    pub fn earliest(&self, now: Instant) -> Instant {
        self.last_attempt.map_or(now, |last| now.max(last + MIN_SPACING))
    }

    /// What has failed before says nothing of the next attempt.
    pub fn reset(&mut self) {
        self.growth.reset();
        self.bounds = (Duration::ZERO, self.max);
        (self.out_since, self.unreached) = (None, false);
    }

    /// A connection has ended that lasted for `lasted`; the last PUBACK came `last_puback` after its CONNACK.
    pub fn connection_ended(&mut self, lasted: Duration, last_puback: Option<Duration>, cause: Cause) {
        let was_good = lasted >= self.stable_after || last_puback.is_some_and(|after| after >= GOOD);
        self.closed = 0;
        (self.out_since, self.unreached) = (None, false);
        if was_good || last_puback.is_some() {
            self.passing = 0;
        }
        self.bounds = match cause {
            Cause::Contested => (self.max / 2, self.max),
            Cause::Lasting | Cause::Passing if was_good => {
                self.growth.reset();
                (Duration::ZERO, self.initial)
            }
            Cause::Lasting | Cause::Passing if lasted >= SHORT => (Duration::ZERO, lasted.max(self.initial)),
            Cause::Passing if last_puback.is_some() => {
                self.growth.reset();
                (Duration::ZERO, self.initial * 2)
            }
            Cause::Passing if self.passing < PASSING => {
                self.passing += 1;
                (Duration::ZERO, self.initial * 2)
            }
            Cause::Passing | Cause::Lasting => (Duration::ZERO, self.max),
        };
    }

    /// An attempt has failed, and `connected` says whether there was a TCP connection.
    pub fn attempt_reached(&mut self, connected: bool) {
        self.unreached = !connected;
    }

    /// An attempt has failed before the broker accepted it. `closed` says whether the connection was closed without a
    /// CONNACK: AWS IoT Core does that with the second CONNECT of a client id within a second, whoever's was the first. So
    /// the first such ones change nothing.
    pub fn attempt_failed(&mut self, closed: bool) {
        self.closed += u32::from(closed);
        let is_contested = !self.bounds.0.is_zero();
        if !is_contested && (!closed || self.closed > TOO_EARLY) {
            self.bounds = (Duration::ZERO, self.max);
        }
    }

    /// Draws the time of the next attempt, at `now` or later.
    pub fn next_attempt(&mut self, now: Instant) -> Instant {
        let out_since = *self.out_since.get_or_insert(now);
        if self.unreached && self.bounds.0.is_zero() {
            // `max` is never less than `initial`: see `with_random`.
            let most = (now.saturating_duration_since(out_since) / UNREACHED).clamp(self.initial, self.max);
            self.growth.current_interval = self.growth.current_interval.max(most);
            let wait = self.random.gen_range(Duration::ZERO..=most);
            return (now + wait).max(self.earliest(now));
        }
        // What the crate returns is this, give or take a rounding of its arithmetic in floating point.
        let grown = self.growth.current_interval.min(self.max);
        let (least, most) = self.bounds;
        if most >= grown {
            self.growth.next_backoff();
        }
        let most = if least.is_zero() { most.min(grown) } else { most };
        let wait = self.random.gen_range(least..=most.max(least));
        (now + wait).max(self.earliest(now))
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

    /// Connections that end before they were good do not shorten the waits; one that was stable, or had PUBACKs for ten
    /// seconds, does.
    #[test]
    fn starts_again_only_after_a_good_connection() {
        let (now, mut longest) = (Instant::now(), [Duration::ZERO; 3]);
        for _ in 0..200 {
            let mut backoff = Backoff::try_new(&settings(1000, 100_000)).unwrap();
            for _ in 0..10 {
                backoff.next_attempt(now);
                backoff.connection_ended(Duration::from_millis(29_999), Some(GOOD / 2), Cause::Passing);
            }
            longest[0] = longest[0].max(backoff.next_attempt(now) - now);
            backoff.connection_ended(Duration::from_secs(30), None, Cause::Passing);
            longest[1] = longest[1].max(backoff.next_attempt(now) - now);
            backoff.next_attempt(now);
            backoff.connection_ended(GOOD, Some(GOOD), Cause::Lasting);
            longest[2] = longest[2].max(backoff.next_attempt(now) - now);
        }
        assert!(longest[0] > Duration::from_secs(20), "{longest:?}");
        assert!(longest[1] <= Duration::from_secs(1) && longest[2] <= Duration::from_secs(1), "{longest:?}");
    }

    /// After a connection that held for some seconds the next wait is no longer than that, however long waits have grown;
    /// after one that was closed at once over and over they grow as if there had been none.
    #[test]
    fn waits_are_no_longer_than_connections() {
        let (now, mut longest) = (Instant::now(), [Duration::ZERO; 4]);
        let after = |lasted, cause| {
            let mut backoff = Backoff::try_new(&settings(1000, 100_000)).unwrap();
            (0..8).for_each(|_| _ = backoff.next_attempt(now));
            backoff.connection_ended(lasted, None, cause);
            backoff.next_attempt(now) - now
        };
        for _ in 0..200 {
            let (long, short) = (Duration::from_secs(5), Duration::from_secs(2));
            let waits =
                [(long, Cause::Passing), (long, Cause::Lasting), (short, Cause::Passing), (short, Cause::Lasting)];
            let waits = waits.map(|(lasted, cause)| after(lasted, cause));
            longest.iter_mut().zip(waits).for_each(|(longest, wait)| *longest = wait.max(*longest));
            assert!(after(long, Cause::Contested) >= Duration::from_secs(50));
        }
        let seconds = longest.map(|wait| wait.as_secs_f64().ceil() as u64);
        assert!(matches!(seconds, [4..=5, 4..=5, 2, 80..=100]), "{longest:?}");
    }

    /// Reasons that ought to pass and do not make waits grow in the end.
    #[test]
    fn what_does_not_pass_makes_waits_grow() {
        let (now, mut backoff) = (Instant::now(), Backoff::try_new(&settings(1000, 100_000)).unwrap());
        let mut longest = [Duration::ZERO; 2];
        for close in 0..100 {
            backoff.connection_ended(Duration::from_secs(1), None, Cause::Passing);
            let longest = &mut longest[usize::from(close >= PASSING)];
            *longest = (backoff.next_attempt(now) - now).max(*longest);
        }
        assert!(longest[0] <= Duration::from_secs(2) && longest[1] > Duration::from_secs(50), "{longest:?}");
    }

    /// A search for what the broker does not take may be as long as it likes, if anything is acknowledged meanwhile, though no
    /// connection is good: with a PUBACK on every twentieth no wait grows.
    #[test]
    fn a_puback_now_and_then_keeps_waits_short() {
        let (now, mut backoff) = (Instant::now(), Backoff::try_new(&settings(1000, 100_000)).unwrap());
        for close in 1..=50 * PASSING {
            let last_puback = close.is_multiple_of(PASSING).then_some(GOOD / 20);
            backoff.connection_ended(Duration::from_secs(1), last_puback, Cause::Passing);
            let wait = backoff.next_attempt(now) - now;
            assert!(wait <= Duration::from_secs(2), "{wait:?} after close {close}");
        }
    }

    /// While nobody is reached, a wait is at most a tenth of the outage so far, `initial` at least and `max` at most. From
    /// there waits grow, should the broker be reached and not accept the connection.
    #[test]
    fn an_outage_is_over_soon_after_its_end() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut longest = [Duration::ZERO; 6];
        for _ in 0..400 {
            let mut backoff = Backoff::try_new(&settings(1000, 60_000)).unwrap();
            backoff.connection_ended(60 * second, Some(second), Cause::Lasting);
            backoff.next_attempt(start);
            let attempts = [(5, false), (20, false), (300, false), (301, true), (302, true), (86_400, false)];
            for (longest, (seconds, connected)) in longest.iter_mut().zip(attempts) {
                let now = start + seconds * second;
                backoff.attempt_reached(connected);
                backoff.attempt_failed(false);
                *longest = (backoff.next_attempt(now) - now).max(*longest);
            }
        }
        let bounds = [1, 2, 30, 30, 60, 60].map(Duration::from_secs);
        for (longest, bound) in longest.into_iter().zip(bounds) {
            assert!(longest <= bound && longest > bound * 9 / 10, "{longest:?} of {bound:?}");
        }
    }

    proptest! {
        /// Whatever the settings and the history: never more than max ahead (or the spacing, if that is longer), never
        /// two attempts within a second.
        #[test]
        fn bounds_hold(
            initial_ms in 1..10_000u64,
            more_ms in 0..1_000_000u64,
            history in proptest::collection::vec((0..100_000u64, 0..60_000u64, proptest::bool::ANY), 1..50),
        ) {
            let settings = settings(initial_ms, initial_ms + more_ms);
            let mut backoff = Backoff::try_new(&settings).unwrap();
            let (mut now, mut previous) = (Instant::now(), None::<Instant>);
            for (late_ms, lasted_ms, connects) in history {
                let next = backoff.next_attempt(now);
                prop_assert!(next >= now);
                let spaced = previous.map(|previous| previous + MIN_SPACING);
                prop_assert!(next <= now + settings.max || Some(next) == spaced);
                prop_assert!(spaced.is_none_or(|spaced| next >= spaced));
                let begins = next + Duration::from_millis(late_ms % 50);
                backoff.attempted(begins);
                previous = Some(begins);
                match connects {
                    true => backoff.connection_ended(Duration::from_millis(lasted_ms), None, Cause::Passing),
                    false => backoff.attempt_reached(false),
                }
                now = begins + Duration::from_millis(lasted_ms);
            }
        }
    }

    /// A thousand bridges that lose the broker at the same moment and do not find it for a minute, or find one that refuses
    /// them: their attempts are never more in half a second than the first, evenly spread ones, and soon they come as steadily as
    /// if they knew nothing of each other.
    #[test]
    fn a_thousand_bridges_do_not_come_in_waves() {
        [false, true].into_iter().for_each(check_waves);
    }

    fn check_waves(connected: bool) {
        const BRIDGES: usize = 1000;
        let (start, end) = (Instant::now(), Duration::from_secs(60));
        let mut attempts = vec![0; 120];
        for _ in 0..BRIDGES {
            let mut backoff = Backoff::try_new(&settings(1000, 120_000)).unwrap();
            let mut now = backoff.next_attempt(start);
            while now - start < end {
                attempts[(now - start).as_millis() as usize / 500] += 1;
                backoff.attempted(now);
                backoff.attempt_reached(connected);
                backoff.attempt_failed(false);
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
