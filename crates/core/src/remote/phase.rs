//! Work that comes again and again, of each robot at another time.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A time that comes once in each period. Where in the period it is, the name of the thing decides: a fleet that was started
/// together does not do it together, and a robot does it at the same times after a restart.
#[derive(Debug)]
pub(super) struct Phase {
    next: Instant,
    period: Duration,
}

impl Phase {
    /// `wall` is the clock's time at `now`.
    pub fn of(thing: &str, period: Duration, now: Instant, wall: SystemTime) -> Phase {
        let mut hasher = DefaultHasher::new();
        thing.hash(&mut hasher);
        let share = hasher.finish() as f64 / 2f64.powi(64);
        let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        let passed = Duration::from_nanos((since.as_nanos() % period.as_nanos().max(1)) as u64);
        let at = period.mul_f64(share);
        let wait = if at > passed { at - passed } else { at + period - passed };
        Phase { next: now + wait, period }
    }

    /// When it comes next.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// Whether it has come. Several times at once count as one.
    pub fn has_come(&mut self, now: Instant) -> bool {
        let Some(late) = now.checked_duration_since(self.next) else { return false };
        let times = late.as_nanos() / self.period.as_nanos().max(1) + 1;
        self.next += self.period * u32::try_from(times).unwrap_or(u32::MAX);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_secs(300);

    /// A thousand robots that start together have their times evenly over the period, and keep them after a restart.
    #[test]
    fn names_spread_over_the_period() {
        let (now, wall) = (Instant::now(), UNIX_EPOCH + Duration::from_secs(1_796_000_123));
        let mut tenths = [0; 10];
        for number in 0..1000 {
            let thing = format!("robot{number}");
            let phase = Phase::of(&thing, PERIOD, now, wall);
            let wait = phase.next() - now;
            tenths[(wait.as_secs() / 30) as usize] += 1;
            let later = Duration::from_secs(1000);
            let restarted = Phase::of(&thing, PERIOD, now + later, wall + later);
            let apart = (restarted.next() - phase.next()).as_secs_f64() / PERIOD.as_secs_f64();
            assert!((apart - apart.round()).abs() < 1e-6 && restarted.next() > now + later, "{thing}: {apart}");
        }
        assert!(tenths.iter().all(|count| (60..=140).contains(count)), "{tenths:?}");
    }

    /// It comes once in a period, and once after a long sleep.
    #[test]
    fn it_comes_once_in_a_period() {
        let now = Instant::now();
        let mut phase = Phase::of("robot1", PERIOD, now, UNIX_EPOCH);
        let first = phase.next();
        assert!(!phase.has_come(now) && first <= now + PERIOD);
        assert!(phase.has_come(first) && !phase.has_come(first));
        assert_eq!(phase.next(), first + PERIOD);
        assert!(phase.has_come(first + 7 * PERIOD + Duration::from_secs(1)));
        assert_eq!(phase.next(), first + 8 * PERIOD);
    }
}
