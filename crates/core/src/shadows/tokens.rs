//! What tells a client's requests from those of others and keeps them apart.

use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;

/// Two requests are at least so far apart.
const SPACING: Duration = Duration::from_millis(100);

/// The tokens of one client's requests, which the answers carry.
#[derive(Debug)]
pub(crate) struct Tokens {
    /// Begins the tokens, so that those of another process are not taken for ours.
    prefix: u64,
    count: u64,
    last: Option<Instant>,
}

impl Tokens {
    pub fn new(random: &mut StdRng) -> Tokens {
        Tokens { prefix: random.r#gen(), count: 0, last: None }
    }

    /// The token of a request that is made now.
    pub fn take(&mut self, now: Instant) -> String {
        self.count += 1;
        self.last = Some(now);
        format!("{:016x}-{}", self.prefix, self.count)
    }

    /// When the next request may be made, `now` or later.
    pub fn earliest(&self, now: Instant) -> Instant {
        self.last.map_or(now, |last| now.max(last + SPACING))
    }
}
