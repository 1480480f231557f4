//! Numbers for the messages of a topic.

use std::time::{SystemTime, UNIX_EPOCH};

/// Counts the messages of a topic, without a start at 0 with every process.
///
/// The first number is the time in microseconds since 1970. A topic stays far below a message a microsecond, so what a
/// process counts from is above everything that an earlier one has counted to, as long as the clock has not been set
/// back. The numbers stay below 2^53 until the year 2255, so that every JSON reader takes them as they are.
#[derive(Debug)]
pub(super) struct Sequence {
    next: u64,
}

impl Sequence {
    /// Counts from the time now.
    pub(super) fn from_now() -> Self {
        // A clock before 1970 is one that was never set.
        Sequence::from_time(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros())
    }

    fn from_time(micros: u128) -> Self {
        Sequence { next: u64::try_from(micros).unwrap_or_default() }
    }

    /// The next number.
    pub(super) fn next(&mut self) -> u64 {
        let number = self.next;
        self.next = number.wrapping_add(1);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_by_one_from_the_time() {
        let mut sequence = Sequence::from_time(1_700_000_000_000_000);
        assert_eq!([sequence.next(), sequence.next()], [1_700_000_000_000_000, 1_700_000_000_000_001]);
    }

    #[test]
    fn a_later_process_starts_above_an_earlier_one() {
        let earlier = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
        let first = Sequence::from_now().next();
        assert!(first >= earlier);
        assert!(first < 1 << 53);
    }
}
