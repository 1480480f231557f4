//! Whether the messages of a topic are small enough to be sent.

use std::time::{Duration, Instant};

/// Messages in a row that are too large until that is said to be so of all of them.
const NONE_FITS: u32 = 10;

/// Messages in a row that were tried in vain, until only some are.
const IN_VAIN: u32 = 5;

/// The first and the longest time between two that are tried.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What has become of the messages of a topic, as far as their size is concerned.
///
/// Decoding and compressing a message that is too large costs up to tens of milliseconds. Where that has been in vain again
/// and again it is done once in a while, for messages that are no smaller in ROS than one that was too large.
#[derive(Debug, Default)]
pub(super) struct Fit {
    /// Those that were too large, since the last that was not.
    too_large: u32,
    /// The bytes in ROS of the smallest that was too large, since one of so many was not.
    least: Option<usize>,
    /// Those that were tried in vain since then.
    in_vain: u32,
    /// When one of `least` bytes or more is tried again.
    again: Option<Instant>,
}

impl Fit {
    /// A message of `bytes` bytes is sent. Returns whether none fitted before.
    pub(super) fn fits(&mut self, bytes: usize) -> bool {
        if self.least.is_some_and(|least| bytes >= least) {
            (self.least, self.in_vain, self.again) = (None, 0, None);
        }
        let before = std::mem::take(&mut self.too_large);
        before >= NONE_FITS
    }

    /// A message is too large, tried or not. Returns whether so many were that none can be said to fit, for the first time.
    pub(super) fn is_too_large(&mut self) -> bool {
        self.too_large = self.too_large.saturating_add(1);
        self.too_large == NONE_FITS
    }

    /// Whether a message of `bytes` bytes may fit, so that it is to be decoded and compressed at `now`.
    pub(super) fn is_worth_trying(&self, bytes: usize, now: Instant) -> bool {
        self.least.is_none_or(|least| bytes < least) || self.again.is_none_or(|again| now >= again)
    }

    /// A message of `bytes` bytes was tried in vain at `now`.
    pub(super) fn tried_in_vain(&mut self, bytes: usize, now: Instant) {
        self.least = Some(self.least.map_or(bytes, |least| least.min(bytes)));
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

    const IMAGE: usize = 900_000;

    /// Trying is given up for a growing time after some in vain, and goes on after one that fits.
    #[test]
    fn what_never_fits_is_tried_once_in_a_while() {
        let start = Instant::now();
        let (mut fit, mut tried) = (Fit::default(), Vec::new());
        // A minute of ten messages a second.
        for tenth in 0..600 {
            let now = start + Duration::from_millis(100) * tenth;
            if fit.is_worth_trying(IMAGE, now) {
                fit.tried_in_vain(IMAGE, now);
                tried.push(tenth);
            }
        }
        assert_eq!(tried, [0, 1, 2, 3, 4, 14, 34, 74, 154, 254, 354, 454, 554]);
        let now = start + Duration::from_secs(3600);
        assert!(fit.is_worth_trying(IMAGE, now));
        fit.fits(IMAGE);
        assert!(fit.is_worth_trying(IMAGE, now));
        fit.tried_in_vain(IMAGE, now);
        assert!(fit.is_worth_trying(IMAGE, now));
    }

    /// A smaller message than those that were too large is tried at once, and says nothing of them when it fits.
    #[test]
    fn a_smaller_message_is_tried_at_once() {
        let now = Instant::now();
        let mut fit = Fit::default();
        for bytes in [IMAGE + 5, IMAGE + 1, IMAGE, IMAGE + 2, IMAGE + 3] {
            fit.tried_in_vain(bytes, now);
        }
        assert!(!fit.is_worth_trying(IMAGE, now));
        assert!(fit.is_worth_trying(IMAGE - 1, now));
        fit.fits(IMAGE - 1);
        assert!(!fit.is_worth_trying(IMAGE, now));
        fit.tried_in_vain(IMAGE - 1, now);
        assert!(!fit.is_worth_trying(IMAGE - 1, now));
        fit.fits(IMAGE - 1);
        assert!(fit.is_worth_trying(IMAGE, now));
    }

    /// That none fits is said once, and taken back with the first that does.
    #[test]
    fn that_none_fits_is_said_once() {
        let mut fit = Fit::default();
        assert!(!fit.fits(1));
        assert_eq!((0..100).filter(|_| fit.is_too_large()).count(), 1);
        assert!(fit.fits(1));
        assert!(!fit.fits(1));
        assert!((0..9).all(|_| !fit.is_too_large()));
        assert!(!fit.fits(1));
    }
}
