//! Which messages of a topic have come: recognises what comes twice, and what is missing.
//!
//! A publisher numbers its messages. A number that is left out tells of a message that was lost on the way, or
//! overwritten in DDS before it could be taken, of which DDS itself says nothing.
//!
//! A subscription with another QoS is a new one for DDS. For a while both deliver, and transient-local publishers send
//! the new one what the old one has delivered already: what is no newer than the newest before is a repeat.

use std::num::NonZeroU64;

use super::subscription::{Info, PublisherId};

/// Publishers whose messages are remembered.
const REMEMBERED_PUBLISHERS: usize = 64;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It has come before.
    Repeat,
    /// It has not; so many between the one before it and itself never came.
    New { missing: u64 },
}

/// The messages that have come.
#[derive(Debug, Default)]
pub(super) struct Seen {
    publishers: Vec<Publisher>,
    /// Two subscriptions deliver.
    overlap: bool,
}

#[derive(Debug)]
struct Publisher {
    id: PublisherId,
    newest: NonZeroU64,
    /// What is no newer came before the last overlap had ended.
    repeats_to: u64,
}

impl Seen {
    /// From now on a second subscription delivers too.
    pub(super) fn overlap_begins(&mut self) {
        self.overlap = true;
    }

    /// Only the second subscription is left. What it still has from before stays recognisable.
    pub(super) fn overlap_ends(&mut self) {
        self.overlap = false;
        for publisher in &mut self.publishers {
            publisher.repeats_to = publisher.newest.get();
        }
    }

    /// Whether publishers have been seen to number their messages.
    pub(super) fn are_numbered(&self) -> bool {
        !self.publishers.is_empty()
    }

    /// Judges a message, and remembers it.
    pub(super) fn judge(&mut self, info: &Info) -> Judgement {
        let Some(number) = info.number else { return Judgement::New { missing: 0 } };
        let Some(publisher) = self.publishers.iter_mut().find(|publisher| publisher.id == info.publisher) else {
            if self.publishers.len() == REMEMBERED_PUBLISHERS {
                self.publishers.remove(0);
            }
            self.publishers.push(Publisher { id: info.publisher, newest: number, repeats_to: 0 });
            return Judgement::New { missing: 0 };
        };
        if number.get() <= publisher.repeats_to || (self.overlap && number <= publisher.newest) {
            return Judgement::Repeat;
        }
        let missing = number.get().saturating_sub(publisher.newest.get()).saturating_sub(1);
        publisher.newest = publisher.newest.max(number);
        Judgement::New { missing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(publisher: u8, number: u64) -> Info {
        Info { source_ns: 0, received_ns: 0, publisher: [publisher; _], number: NonZeroU64::new(number) }
    }

    fn new(missing: u64) -> Judgement {
        Judgement::New { missing }
    }

    #[test]
    fn what_a_subscription_has_delivered_is_no_news_from_its_successor() {
        let mut seen = Seen::default();
        for number in 1..=3 {
            assert_eq!(seen.judge(&info(1, number)), new(0));
        }
        seen.overlap_begins();
        assert_eq!(
            [2, 3, 4, 4, 5].map(|number| seen.judge(&info(1, number))),
            [Judgement::Repeat, Judgement::Repeat, new(0), Judgement::Repeat, new(0)]
        );
        seen.overlap_ends();
        assert_eq!(
            [4, 5, 6].map(|number| seen.judge(&info(1, number))),
            [Judgement::Repeat, Judgement::Repeat, new(0)]
        );
        assert_eq!(seen.judge(&info(2, 1)), new(0));
    }

    #[test]
    fn a_number_that_is_left_out_is_a_lost_message() {
        let mut seen = Seen::default();
        // What was published before the subscription is no loss.
        assert_eq!(seen.judge(&info(1, 100)), new(0));
        assert_eq!(seen.judge(&info(1, 101)), new(0));
        assert_eq!(seen.judge(&info(1, 105)), new(3));
        // Out of order, but not from before a change of subscription: news.
        assert_eq!(seen.judge(&info(1, 104)), new(0));
        assert_eq!(seen.judge(&info(1, 106)), new(0));
    }

    #[test]
    fn publishers_without_numbers_and_countless_publishers_are_let_through() {
        let mut seen = Seen::default();
        seen.overlap_begins();
        assert_eq!([seen.judge(&info(1, 0)), seen.judge(&info(1, 0))], [new(0), new(0)]);
        assert!(!seen.are_numbered());
        for publisher in 0..=255 {
            assert_eq!(seen.judge(&info(publisher, 1)), new(0));
        }
        assert!(seen.publishers.len() <= REMEMBERED_PUBLISHERS);
    }
}
