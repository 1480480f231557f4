//! Whether the messages of a topic are small enough to be sent.

use std::time::{Duration, Instant};

/// Messages in a row that are too large until that is said to be so of all of them.
const NONE_FITS: u32 = 10;

/// Messages in a row that were compressed and too large all the same, until only some are tried.
const IN_VAIN: u32 = 5;

/// The first and the longest time between two that are tried.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What has become of the messages of a topic, as far as their size is concerned.
#[derive(Debug, Default)]
pub(super) struct Fit {
    /// Those that were too large, since the last that was not.
    too_large: u32,
    /// Of those that had to be compressed, those that were too large all the same, since the last that was not.
    in_vain: u32,
    /// When one is tried again.
    again: Option<Instant>,
}

impl Fit {
    /// A message that is sent. Returns whether none of them fitted before.
    pub(super) fn fits(&mut self) -> bool {
        let before = std::mem::take(&mut self.too_large);
        before >= NONE_FITS
    }

    /// A message is too large. Returns whether so many were that none can be said to fit, for the first time.
    pub(super) fn is_too_large(&mut self) -> bool {
        self.too_large = self.too_large.saturating_add(1);
        self.too_large == NONE_FITS
    }

    /// Whether a message that is too large is to be compressed at `now`. Compressing takes tens of milliseconds; where it
    /// has been in vain again and again, it is done once in a while.
    pub(super) fn is_worth_compressing(&self, now: Instant) -> bool {
        self.again.is_none_or(|again| now >= again)
    }

    /// A message was compressed at `now`, and `fitted` or not.
    pub(super) fn compressed(&mut self, fitted: bool, now: Instant) {
        if fitted {
            (self.in_vain, self.again) = (0, None);
            return;
        }
        self.in_vain = self.in_vain.saturating_add(1);
        self.again = self.in_vain.checked_sub(IN_VAIN).map(|further| {
            let pause = FIRST_PAUSE.saturating_mul(1 << further.min(10));
            now + pause.min(LONGEST_PAUSE)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compressing is given up for a growing time after some in vain, and goes on after one that fits.
    #[test]
    fn what_never_fits_is_compressed_once_in_a_while() {
        let start = Instant::now();
        let (mut fit, mut tried) = (Fit::default(), Vec::new());
        // A minute of ten messages a second.
        for tenth in 0..600 {
            let now = start + Duration::from_millis(100) * tenth;
            if fit.is_worth_compressing(now) {
                fit.compressed(false, now);
                tried.push(tenth);
            }
        }
        assert_eq!(tried, [0, 1, 2, 3, 4, 14, 34, 74, 154, 254, 354, 454, 554]);
        let now = start + Duration::from_secs(3600);
        assert!(fit.is_worth_compressing(now));
        fit.compressed(true, now);
        assert!(fit.is_worth_compressing(now));
        fit.compressed(false, now);
        assert!(fit.is_worth_compressing(now));
    }

    /// That none fits is said once, and taken back with the first that does.
    #[test]
    fn that_none_fits_is_said_once() {
        let mut fit = Fit::default();
        assert!(!fit.fits());
        assert_eq!((0..100).filter(|_| fit.is_too_large()).count(), 1);
        assert!(fit.fits());
        assert!(!fit.fits());
        assert!((0..9).all(|_| !fit.is_too_large()));
        assert!(!fit.fits());
    }
}
