//! Fewer publishes a second, because the broker says that they are too many (MQTT 5, reason 0x97).
//!
//! That a publish is over a quota of the broker's, of which the configuration does not know, shows only when it is
//! refused. Then nothing is sent for a second, so that the broker's own second is over, and after that a little less
//! than what it took in the second before. From there the rate rises again slowly, until the next refusal or until there
//! has been none for [`CALM`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// The part of what the broker took in the second before a refusal that is sent after it.
const LESS: f64 = 0.8;

/// How much the rate rises in a second.
const RISE: f64 = 1.05;

/// After so long without a refusal there is no limit any more.
const CALM: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Throttle {
    /// When the publishes of the last second were taken.
    taken: VecDeque<Instant>,
    slow: Option<Slow>,
}

#[derive(Debug)]
struct Slow {
    /// Publishes a second, once nothing has been refused since.
    per_second: f64,
    since: Instant,
    /// When the next may be sent.
    next: Instant,
}

impl Throttle {
    /// The broker has taken a publish.
    pub fn taken(&mut self, now: Instant) {
        while self.taken.pop_front_if(|at| now.saturating_duration_since(*at) >= SECOND).is_some() {}
        self.taken.push_back(now);
    }

    /// The broker has refused one. Returns whether that is news.
    pub fn refused(&mut self, now: Instant) -> bool {
        let is_news = !self.is_slow(now);
        // Those behind it were sent before anybody knew.
        if self.slow.as_ref().is_some_and(|slow| now.saturating_duration_since(slow.since) < SECOND) {
            return is_news;
        }
        let taken = self.taken.iter().filter(|at| now.saturating_duration_since(**at) < SECOND).count();
        self.slow = Some(Slow { per_second: (taken as f64 * LESS).max(1.0), since: now, next: now + SECOND });
        is_news
    }

    /// Whether fewer publishes are sent than the quotas allow.
    pub fn is_slow(&self, now: Instant) -> bool {
        self.slow.as_ref().is_some_and(|slow| now.saturating_duration_since(slow.since) < CALM)
    }

    /// When the next publish may be sent; `None`, if at once.
    pub fn wait(&self, now: Instant) -> Option<Instant> {
        self.slow.as_ref().filter(|_| self.is_slow(now)).map(|slow| slow.next).filter(|next| *next > now)
    }

    /// A publish is sent.
    pub fn sent(&mut self, now: Instant) {
        if let Some(slow) = &mut self.slow {
            let quiet = now.saturating_duration_since(slow.since).as_secs_f64();
            slow.next = slow.next.max(now) + SECOND.div_f64(slow.per_second * RISE.powf(quiet));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a broker that takes `limit` publishes in a second and of a sender that has always more: how many are taken,
    /// and how many refused, in `seconds`.
    fn run(limit: usize, seconds: u64) -> (usize, usize) {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        let (mut at_broker, mut taken, mut refused) = (VecDeque::new(), 0, 0);
        for millisecond in 0..seconds * 1000 {
            let now = start + Duration::from_millis(millisecond);
            if throttle.wait(now).is_some() {
                continue;
            }
            throttle.sent(now);
            while at_broker.pop_front_if(|at| now.saturating_duration_since(*at) >= SECOND).is_some() {}
            if at_broker.len() < limit {
                at_broker.push_back(now);
                taken += 1;
                throttle.taken(now);
            } else {
                refused += 1;
                throttle.refused(now);
            }
        }
        (taken, refused)
    }

    /// A broker with a lower quota gets most of what it takes, and has to refuse next to nothing.
    #[test]
    fn finds_what_the_broker_takes() {
        for limit in [5, 20, 100] {
            let (taken, refused) = run(limit, 120);
            assert!(taken as f64 > 0.6 * 120.0 * limit as f64, "{taken} of {limit} a second");
            assert!(refused < 60, "{refused} refused of {limit} a second");
        }
    }

    /// After a minute without a refusal there is no limit any more.
    #[test]
    fn forgets_after_a_minute() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        assert_eq!(throttle.wait(now), None);
        assert!(throttle.refused(now) && !throttle.refused(now));
        assert_eq!(throttle.wait(now), Some(now + SECOND));
        assert_eq!(throttle.wait(now + SECOND), None);
        throttle.sent(now + SECOND);
        assert!(throttle.wait(now + SECOND).is_some(), "one a second at first");
        assert!(!throttle.is_slow(now + CALM) && throttle.refused(now + CALM));
    }
}
