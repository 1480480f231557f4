//! What was accepted of late, so that nothing is done twice.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::Key;

/// The keys of the last 1,000 requests that were noted, each for ten minutes and no longer, with what is known of each.
///
/// Its memory is bounded: a key has at most [`Id::LONGEST`](super::Id::LONGEST) bytes.
#[derive(Debug)]
pub struct Ids<T = ()> {
    /// When each was noted, and what is known of it.
    noted: HashMap<Key, (Instant, T)>,
    /// From the oldest to the newest.
    order: VecDeque<Key>,
}

impl<T> Default for Ids<T> {
    fn default() -> Self {
        Ids { noted: HashMap::new(), order: VecDeque::new() }
    }
}

impl<T> Ids<T> {
    const MOST: usize = 1000;
    const FOR: Duration = Duration::from_secs(600);

    /// How long ago `key` was noted, if it still counts.
    pub fn age(&self, key: &Key, now: Instant) -> Option<Duration> {
        let (noted, _) = self.noted.get(key)?;
        let age = now.saturating_duration_since(*noted);
        (age <= Self::FOR).then_some(age)
    }

    /// What is known of `key`, if it still counts.
    pub fn get(&self, key: &Key, now: Instant) -> Option<&T> {
        self.age(key, now)?;
        self.noted.get(key).map(|(_, known)| known)
    }

    /// Notes `key` and what is `known` of it, and forgets what does not count any more.
    pub fn note(&mut self, key: Key, known: T, now: Instant) {
        self.forget(&key);
        while let Some(oldest) = self.order.front()
            && (self.order.len() >= Self::MOST || self.age(oldest, now).is_none())
        {
            self.noted.remove(oldest);
            self.order.pop_front();
        }
        self.noted.insert(key.clone(), (now, known));
        self.order.push_back(key);
    }

    /// Forgets `key`.
    pub fn forget(&mut self, key: &Key) {
        if self.noted.remove(key).is_some() {
            self.order.retain(|known| known != key);
        }
    }
}
