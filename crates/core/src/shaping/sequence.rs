//! Numbers for the messages of a topic.

/// Counts the messages of a topic, without a start at 0 with every process.
///
/// The first number comes from the queue (`Queue::sequence_start`): microseconds
/// since 1970, or more where the clock was set back. The numbers stay below 2^53 until the year 2255, so that every JSON
/// reader takes them as they are.
#[derive(Debug)]
pub(super) struct Sequence {
    next: u64,
}

impl Sequence {
    /// Counts from `next` on.
    pub(super) fn from(next: u64) -> Self {
        Sequence { next }
    }

    /// The number that comes next, without taking it.
    pub(super) fn peek(&self) -> u64 {
        self.next
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
    fn it_counts_by_one() {
        let mut sequence = Sequence::from(1_700_000_000_000_000);
        assert_eq!([sequence.next(), sequence.next()], [1_700_000_000_000_000, 1_700_000_000_000_001]);
        assert_eq!(sequence.peek(), 1_700_000_000_000_002);
    }
}
