//! Which messages of a topic have come: recognises what comes twice, and what is missing.
//!
//! A publisher numbers its messages. A number that is left out tells of a message that was lost on the way, or
//! overwritten in DDS before it could be taken, of which DDS itself says nothing.
//!
//! A topic may have two subscriptions at a time: while one takes the other's place, and where transient-local publishers
//! and volatile ones are side by side. What one has delivered is a repeat when the other delivers it too, in whatever
//! order they do.

use std::num::NonZeroU64;
use std::ops::RangeInclusive;

use r2r_rcl::{rmw_feature_e, rmw_feature_supported};

use super::subscription::{Info, PublisherId};

/// Publishers whose messages are remembered.
const REMEMBERED_PUBLISHERS: usize = 64;

/// Spans of numbers that are remembered of a publisher. Of more, those with the smallest gap between them become one:
/// the gap has been counted as lost.
const REMEMBERED_SPANS: usize = 32;

/// Whether the RMW says which number a message has at its publisher.
pub(super) fn are_messages_numbered() -> bool {
    // SAFETY: the RMW answers from a constant.
    unsafe { rmw_feature_supported(rmw_feature_e::RMW_FEATURE_MESSAGE_INFO_PUBLICATION_SEQUENCE_NUMBER) }
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It has come before.
    Repeat,
    /// It has not; so many between the newest before it and itself have not come yet.
    New { missing: u64 },
}

/// The messages that have come.
#[derive(Debug, Default)]
pub(super) struct Seen {
    publishers: Vec<Publisher>,
}

#[derive(Debug)]
struct Publisher {
    id: PublisherId,
    /// The numbers that have come, in ascending order, with gaps between the spans.
    spans: Vec<RangeInclusive<u64>>,
}

impl Seen {
    /// Whether publishers have been seen to number their messages.
    pub(super) fn are_numbered(&self) -> bool {
        !self.publishers.is_empty()
    }

    /// Judges a message, and remembers it.
    pub(super) fn judge(&mut self, info: &Info) -> Judgement {
        let Some(number) = info.number.map(NonZeroU64::get) else { return Judgement::New { missing: 0 } };
        match self.publishers.iter_mut().find(|publisher| publisher.id == info.publisher) {
            Some(publisher) => publisher.judge(number),
            None => {
                if self.publishers.len() == REMEMBERED_PUBLISHERS {
                    self.publishers.remove(0);
                }
                self.publishers.push(Publisher { id: info.publisher, spans: vec![number..=number] });
                Judgement::New { missing: 0 }
            }
        }
    }
}

impl Publisher {
    fn judge(&mut self, number: u64) -> Judgement {
        let mut missing = 0;
        match self.spans.last_mut() {
            // Nearly always: the next one.
            Some(last) if last.end().checked_add(1) == Some(number) => *last = *last.start()..=number,
            last => {
                missing = last.map_or(0, |last| number.saturating_sub(*last.end()).saturating_sub(1));
                let at = self.spans.partition_point(|span| *span.end() < number);
                if self.spans.get(at).is_some_and(|span| span.contains(&number)) {
                    return Judgement::Repeat;
                }
                self.spans.insert(at, number..=number);
                self.close_gap_before(at + 1, 0);
                self.close_gap_before(at, 0);
                if self.spans.len() > REMEMBERED_SPANS {
                    self.close_smallest_gap();
                }
            }
        }
        Judgement::New { missing }
    }

    /// How many numbers are missing before the span `at`; none before the first.
    fn gap_before(&self, at: usize) -> Option<u64> {
        let (before, span) = (self.spans.get(at.checked_sub(1)?)?, self.spans.get(at)?);
        Some(span.start() - before.end() - 1)
    }

    /// Makes one of the span `at` and the one before, if no more than `most` numbers are missing between them.
    fn close_gap_before(&mut self, at: usize, most: u64) {
        if self.gap_before(at).is_some_and(|gap| gap <= most) {
            let span = self.spans.remove(at);
            self.spans[at - 1] = *self.spans[at - 1].start()..=*span.end();
        }
    }

    fn close_smallest_gap(&mut self) {
        if let Some(at) = (1..self.spans.len()).min_by_key(|&at| self.gap_before(at)) {
            self.close_gap_before(at, u64::MAX);
        }
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
    fn what_one_subscription_has_delivered_is_no_news_from_another() {
        let mut seen = Seen::default();
        for number in 1..=3 {
            assert_eq!(seen.judge(&info(1, number)), new(0));
        }
        assert_eq!(
            [2, 3, 4, 4, 5].map(|number| seen.judge(&info(1, number))),
            [Judgement::Repeat, Judgement::Repeat, new(0), Judgement::Repeat, new(0)]
        );
        assert_eq!(seen.judge(&info(2, 1)), new(0));
    }

    /// A volatile subscription has delivered 7 and 8 when the transient-local one beside it comes with what was before.
    #[test]
    fn what_was_published_before_is_news_however_late() {
        let mut seen = Seen::default();
        let come = [7, 8, 4, 5, 6, 7, 8, 9, 9].map(|number| seen.judge(&info(1, number)));
        let repeat = Judgement::Repeat;
        assert_eq!(come, [new(0), new(0), new(0), new(0), new(0), repeat, repeat, new(0), repeat]);
    }

    #[test]
    fn a_number_that_is_left_out_is_a_lost_message() {
        let mut seen = Seen::default();
        // What was published before the subscription is no loss.
        assert_eq!(seen.judge(&info(1, 100)), new(0));
        assert_eq!(seen.judge(&info(1, 101)), new(0));
        assert_eq!(seen.judge(&info(1, 105)), new(3));
        // Out of order: news, once.
        assert_eq!(seen.judge(&info(1, 104)), new(0));
        assert_eq!(seen.judge(&info(1, 104)), Judgement::Repeat);
        assert_eq!(seen.judge(&info(1, 106)), new(0));
    }

    /// Whatever the order, each number is news once, and what is remembered of it is bounded.
    #[test]
    fn gaps_without_end_take_bounded_memory() {
        let mut seen = Seen::default();
        for number in (1000..100_000).step_by(2) {
            assert!(matches!(seen.judge(&info(1, number)), Judgement::New { .. }));
        }
        assert!(seen.publishers[0].spans.len() <= REMEMBERED_SPANS);
        // What was published long before those is not taken for one of the gaps.
        for number in 1..=50 {
            assert_eq!(seen.judge(&info(1, number)), new(0), "{number}");
        }
        assert_eq!(seen.judge(&info(1, u64::MAX - 1)), new(u64::MAX - 1 - 99_998 - 1));
    }

    #[test]
    fn publishers_without_numbers_and_countless_publishers_are_let_through() {
        let mut seen = Seen::default();
        assert_eq!([seen.judge(&info(1, 0)), seen.judge(&info(1, 0))], [new(0), new(0)]);
        assert!(!seen.are_numbered());
        for publisher in 0..=255 {
            assert_eq!(seen.judge(&info(publisher, 1)), new(0));
        }
        assert!(seen.publishers.len() <= REMEMBERED_PUBLISHERS);
    }
}
