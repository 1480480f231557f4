//! How long to wait after a request that was refused or not answered.

use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// Each wait is twice as long as the one before, up to five minutes, less a random half of it.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    pub fn failed(&mut self, now: Instant, random: &mut StdRng) {
        let wait = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures += 1;
        self.until = Some(now + wait.mul_f64(random.gen_range(0.5..=1.0)));
    }

    pub fn went_well(&mut self) {
        *self = Backoff::default();
    }

    /// When the next request may be made, `now` or later.
    pub fn earliest(&self, now: Instant) -> Instant {
        self.until.map_or(now, |until| until.max(now))
    }
}
