//! When the next message is due.

use std::time::{Duration, Instant};

/// Messages of several topics, each evenly spaced.
pub struct Schedule {
    start: Instant,
    /// Of each topic: messages a second, how many in all, how many so far.
    topics: Vec<(f64, u64, u64)>,
}

impl Schedule {
    /// Starts now, and lasts for `seconds`.
    pub fn start(rates: impl IntoIterator<Item = f64>, seconds: f64) -> Schedule {
        let topics = rates.into_iter().map(|rate| (rate, (rate * seconds).round() as u64, 0)).collect();
        Schedule { start: Instant::now(), topics }
    }

    /// Calls `publish` with the topic and its message's number for each message that is due.
    pub fn each_due(&mut self, mut publish: impl FnMut(usize, u64)) {
        let elapsed = self.start.elapsed().as_secs_f64();
        for (topic, (rate, all, so_far)) in self.topics.iter_mut().enumerate() {
            let due = ((elapsed * *rate) as u64 + 1).min(*all);
            while *so_far < due {
                publish(topic, *so_far);
                *so_far += 1;
            }
        }
    }

    /// How long until the next is due; `None` after the last.
    pub fn next(&self) -> Option<Duration> {
        let due = |&(rate, all, so_far): &(f64, u64, u64)| (so_far < all).then(|| so_far as f64 / rate);
        let next = self.topics.iter().filter_map(due).min_by(f64::total_cmp)?;
        Some(Duration::from_secs_f64(next).saturating_sub(self.start.elapsed()))
    }

    pub fn elapsed(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// How many of each topic so far.
    pub fn counts(&self) -> Vec<u64> {
        self.topics.iter().map(|&(_, _, so_far)| so_far).collect()
    }
}
