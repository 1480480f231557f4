//! What has become of requests from the cloud, by outcome.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Counts requests of one entry of the configuration by what has become of them. They come far less often than messages
/// from ROS, so a lock is cheap enough.
#[derive(Debug, Default)]
pub struct Outcomes(Mutex<BTreeMap<&'static str, u64>>);

impl Outcomes {
    /// Counts a request with this outcome. Returns how many there were.
    pub fn count(&self, outcome: &'static str) -> u64 {
        let mut outcomes = self.lock();
        let count = outcomes.entry(outcome).or_default();
        *count += 1;
        *count
    }

    /// Shows these outcomes though there was none of them yet.
    pub fn expect(&self, outcomes: impl IntoIterator<Item = &'static str>) {
        let mut counted = self.lock();
        outcomes.into_iter().for_each(|outcome| _ = counted.entry(outcome).or_default());
    }

    /// What there was, by outcome.
    pub fn read(&self) -> BTreeMap<&'static str, u64> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        // Nobody panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_counted_apart() {
        let outcomes = Outcomes::default();
        assert_eq!((outcomes.count("accepted"), outcomes.count("too_fast"), outcomes.count("accepted")), (1, 1, 2));
        outcomes.expect(["malformed", "accepted"]);
        assert_eq!(outcomes.read(), BTreeMap::from([("accepted", 2), ("malformed", 0), ("too_fast", 1)]));
    }
}
