//! What was accepted of late, so that nothing is done twice.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::super::Key;

/// The keys of the last [`Ids::MOST`] that were noted, each for [`Ids::FOR`] and no longer.
///
/// Its memory is bounded: a key has at most [`Id::LONGEST`](super::super::Id::LONGEST) bytes.
#[derive(Debug, Default)]
pub(super) struct Ids {
    /// When each was noted.
    noted: HashMap<Key, Instant>,
    /// From the oldest to the newest.
    order: VecDeque<Key>,
}

impl Ids {
    const MOST: usize = 1000;
    const FOR: Duration = Duration::from_secs(600);

    /// How long ago `key` was noted, if it still counts.
    pub(super) fn age(&self, key: &Key, now: Instant) -> Option<Duration> {
        let age = now.saturating_duration_since(*self.noted.get(key)?);
        (age <= Self::FOR).then_some(age)
    }

    /// Notes `key`, which does not count any more, and forgets what does not either.
    pub(super) fn note(&mut self, key: Key, now: Instant) {
        while let Some(oldest) = self.order.front()
            && (self.order.len() >= Self::MOST || self.age(oldest, now).is_none())
        {
            self.noted.remove(oldest);
            self.order.pop_front();
        }
        self.noted.insert(key.clone(), now);
        self.order.push_back(key);
    }
}
