//! Whose turn it is on the ROS thread, when messages of several topics wait.
//!
//! The topic that has used the least time goes first, for a slice of time. A topic whose messages take long so waits
//! between any two of them until the others have nothing left, or have used as much time as it has.
//!
//! ```text
//!  /big    1 message of 200 ms                                     1 of 200 ms
//!  /small                      40 messages of 0.1 ms, all there are            40 …
//! ```
//!
//! Time that a topic did not use, because it had nothing, is not saved up: it starts even with the topic that is served
//! when it gets something.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// The topics that wait for their turn, by the time that they have used.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// What each topic has used, by its index.
    used: Vec<Duration>,
    /// What the topic had used that was served last: who comes now has used as much.
    level: Duration,
    waiting: BinaryHeap<Reverse<(Duration, usize)>>,
}

impl Turns {
    /// `topic` has messages.
    pub(super) fn wait(&mut self, topic: usize) {
        if topic >= self.used.len() {
            self.used.resize(topic + 1, Duration::ZERO);
        }
        let used = self.used[topic].max(self.level);
        self.used[topic] = used;
        self.waiting.push(Reverse((used, topic)));
    }

    /// The topic whose turn it is.
    pub(super) fn next(&mut self) -> Option<usize> {
        let Reverse((used, topic)) = self.waiting.pop()?;
        self.level = used;
        Some(topic)
    }

    /// `topic` has used so much time more.
    pub(super) fn charge(&mut self, topic: usize, time: Duration) {
        self.used[topic] += time;
    }

    /// Another topic has the index `topic` from now on.
    pub(super) fn begin_anew(&mut self, topic: usize) {
        if let Some(used) = self.used.get_mut(topic) {
            *used = Duration::ZERO;
        }
    }

    /// Those that still wait, who wait no more.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = usize> {
        self.waiting.drain().map(|Reverse((_, topic))| topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Lets `topics` have their turns for `time`; each has a cost of a message, the time between two that come, and what
    /// waits at most. Returns how many messages of each were taken, and how many overwritten.
    fn simulate(topics: &[(Duration, Duration, usize)], time: Duration) -> Vec<(usize, usize)> {
        let mut turns = Turns::default();
        let mut now = Duration::ZERO;
        let mut come = vec![0; topics.len()];
        let mut done = vec![(0, 0); topics.len()];
        while now < time {
            let left: Vec<usize> = turns.clear().collect();
            assert!(left.len() < topics.len());
            for (topic, &(_, apart, most)) in topics.iter().enumerate() {
                come[topic] = (now.as_nanos() / apart.as_nanos()) as usize;
                let (taken, lost) = &mut done[topic];
                *lost += (come[topic] - *taken - *lost).saturating_sub(most);
                if come[topic] > *taken + *lost {
                    turns.wait(topic);
                }
            }
            let Some(topic) = turns.next() else {
                now += MS;
                continue;
            };
            // One slice: what waits, for 2 ms, but one message at least.
            let start = now;
            while come[topic] > done[topic].0 + done[topic].1 {
                now += topics[topic].0;
                done[topic].0 += 1;
                if now - start >= 2 * MS {
                    break;
                }
            }
            turns.charge(topic, now - start);
        }
        done
    }

    /// A topic whose messages take 200 ms and come 30 times a second costs one with 200 small ones a second nothing; it gets
    /// the time that is left.
    #[test]
    fn a_slow_topic_does_not_starve_a_fast_one() {
        let done = simulate(&[(200 * MS, 33 * MS, 100), (MS / 10, 5 * MS, 100)], 60_000 * MS);
        let [(slow, _), (fast, lost)] = done[..] else { panic!() };
        assert_eq!(lost, 0, "of {fast}");
        assert!(fast > 11_900 && slow > 280, "{done:?}");
    }

    /// Those that want more than there is get equal time, whatever a message of theirs costs.
    #[test]
    fn greedy_topics_share_the_time() {
        let done = simulate(&[(40 * MS, MS, 100), (4 * MS, MS, 100), (MS, MS / 2, 100)], 60_000 * MS);
        for ((taken, _), cost) in done.iter().zip([40, 4, 1]) {
            let time = *taken as u32 * cost * MS;
            assert!((18_000 * MS..22_000 * MS).contains(&time), "{done:?}");
        }
    }

    /// A topic that has the index of one that has used much is not behind for that.
    #[test]
    fn an_index_that_is_used_again_begins_anew() {
        let next_of = |is_another: bool| {
            let mut turns = Turns::default();
            turns.wait(0);
            turns.next();
            turns.charge(0, 200 * MS);
            if is_another {
                turns.begin_anew(0);
            }
            (0..2).for_each(|topic| turns.wait(topic));
            turns.next()
        };
        assert_eq!((next_of(false), next_of(true)), (Some(1), Some(0)));
    }
}
