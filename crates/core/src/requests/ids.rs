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

#[cfg(test)]
mod tests {
    use super::super::Id;
    use super::*;

    /// What is noted again counts from then on, with what is known then, however old its first note is; what is forgotten leaves
    /// nothing behind.
    #[test]
    fn the_last_note_counts() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let key = |number: usize| Key::Id(Id::Number(number.to_string().into()));
        let mut ids = Ids::default();
        ids.note(key(0), 'a', start);
        ids.note(key(1), 'b', start);
        ids.note(key(0), 'c', start + second);
        (2..1001).for_each(|number| ids.note(key(number), 'd', start + 2 * second));
        let known = |ids: &Ids<char>, number, now| ids.get(&key(number), now).copied();
        assert_eq!([0, 1, 1000].map(|number| known(&ids, number, start + second)), [Some('c'), None, Some('d')]);
        assert_eq!(known(&ids, 0, start + second + Ids::<char>::FOR), Some('c'));
        assert_eq!(known(&ids, 0, start + 2 * second + Ids::<char>::FOR), None);
        (0..1001).for_each(|number| ids.forget(&key(number)));
        assert!(ids.noted.is_empty() && ids.order.is_empty());
    }
}
