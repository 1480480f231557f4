//! At most so many messages a second, evenly spaced.
//!
//! A message is due a period of the rate after the one before was due. It may come less than one of the *publisher's*
//! periods before that, because the publisher has no message when it is due, and waiting for the next one would make the two
//! periods beat. An example, 7 Hz at `rate = "2 Hz"`; the messages come every 143 ms, one is due every 500 ms:
//!
//! | comes at | 0 | 143 | 286 | 429 | 571 | 714 | 857 | 1000 | 1143 | 1286 | 1429 |
//! | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
//! | due | 0 | 500 | 500 | 500 | 1000 | 1000 | 1000 | 1000 | 1500 | 1500 | 1500 |
//! | taken | yes | | | yes | | | | yes | | | yes |
//!
//! That makes exactly two a second, though no multiple of 143 ms is 500 ms. Waiting 500 ms after each that is taken would
//! make it 571 ms, and 1.75 a second.

use std::time::{Duration, Instant};

use crate::config::units::period;

/// Takes messages, so that of k + 1 in a row the first and the last are at least k periods less one of the publisher's apart,
/// and no fewer than that allows.
#[derive(Debug)]
pub(super) struct Rate {
    period: Duration,
    /// When the next message is due; `None` before the first.
    due: Option<Instant>,
    gaps: Gaps,
}

impl Rate {
    /// `hertz` is above 0.
    pub(super) fn new(hertz: f64) -> Self {
        Rate { period: period(hertz), due: None, gaps: Gaps::default() }
    }

    /// When the next message is due; `None` before the first.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Whether the message that was received at `at` is taken. One that seems to be older than the one before counts as if
    /// it were not.
    pub(super) fn takes(&mut self, at: Instant) -> bool {
        let at = self.gaps.note(at);
        // Never more than a period of the rate: a pause is made up for by nothing.
        let early = self.gaps.usual().min(self.period);
        let is_taken = self.due.is_none_or(|due| at >= due || at + early > due);
        if is_taken {
            let due = self.due.map_or(at, |due| due.max(at));
            self.due = Some(due.checked_add(self.period).unwrap_or(due));
        }
        is_taken
    }
}

/// Gaps that are remembered.
const REMEMBERED: usize = 32;

/// Of fewer gaps one that is a pause may be the middle one.
const FEW: usize = 8;

/// The times between the last messages, taken or not.
#[derive(Debug, Default)]
struct Gaps {
    last: Option<Instant>,
    /// The oldest is overwritten.
    ring: [Duration; REMEMBERED],
    /// Of all times.
    count: usize,
}

impl Gaps {
    /// A message has come at `at`. Returns the same, but nothing before the last.
    fn note(&mut self, at: Instant) -> Instant {
        let at = self.last.map_or(at, |last| at.max(last));
        if let Some(last) = self.last.replace(at) {
            self.ring[self.count % REMEMBERED] = at - last;
            self.count += 1;
        }
        at
    }

    /// The publisher's period: the median of the gaps, on which neither jitter nor pauses weigh; of few gaps the shortest.
    fn usual(&self) -> Duration {
        let mut known = self.ring;
        let known = &mut known[..self.count.min(REMEMBERED)];
        match known.len() {
            0 => Duration::ZERO,
            few if few < FEW => known.iter().copied().min().unwrap_or_default(),
            many => *known.select_nth_unstable(many / 2).1,
        }
    }
}

#[cfg(test)]
mod tests;
