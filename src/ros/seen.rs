//! Which messages of a topic have come: recognises what comes twice, and what is missing.
//!
//! A publisher numbers its messages. A number that is left out tells of a message that was lost on the way, or
//! overwritten in DDS before it could be taken, of which DDS itself says nothing. It may also be late: of a type with keys
//! some RMWs hand over what waits key by key, so that 2 comes after 7. So a gap is lost once it has stood for a while.
//!
//! A topic may have two subscriptions at a time: while one takes the other's place, and where transient-local publishers
//! and volatile ones are side by side. What one has delivered is a repeat when the other delivers it too, in whatever
//! order they do.

use std::num::NonZeroU64;
use std::ops::RangeInclusive;

use r2r_rcl::{rmw_feature_e, rmw_feature_supported};

use super::subscription::{Info, PublisherId};

/// Publishers whose messages are remembered: those that were heard last.
const REMEMBERED_PUBLISHERS: usize = 1024;

/// Spans of numbers that are remembered exactly of a publisher, 16 bytes each. A reliable subscription may be seconds
/// behind a best-effort one that loses every second message.
const REMEMBERED_SPANS: usize = 1024;

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
    /// It has not.
    New,
}

/// The messages that have come.
#[derive(Debug, Default)]
pub(super) struct Seen {
    publishers: Vec<Publisher>,
    /// Messages that are missing of publishers that are not remembered any more, and are not told yet.
    forgotten: u64,
}

#[derive(Debug)]
struct Publisher {
    id: PublisherId,
    /// The numbers that have come, in ascending order, with gaps between the spans.
    spans: Vec<RangeInclusive<u64>>,
    /// What were the oldest spans, with the gaps between them: which of these have come is not known any more.
    merged: Option<RangeInclusive<u64>>,
    /// What is missing up to this number has been told.
    told: u64,
    /// The newest number when it was told last: what is missing up to this number is told next.
    due: u64,
    /// Messages in the gaps within `merged` that are not told yet.
    forgotten: u64,
}

impl Seen {
    /// Whether publishers have been seen to number their messages.
    pub(super) fn are_numbered(&self) -> bool {
        !self.publishers.is_empty()
    }

    /// Judges a message, and remembers it.
    ///
    /// `is_alone` says that the topic has one subscription. DDS gives that each message once, so what is not known to have
    /// come has not. Beside another subscription it is taken for a repeat.
    pub(super) fn judge(&mut self, info: &Info, is_alone: bool) -> Judgement {
        let Some(number) = info.number.map(NonZeroU64::get) else { return Judgement::New };
        if let Some(at) = self.publishers.iter().rposition(|publisher| publisher.id == info.publisher) {
            self.publishers[at..].rotate_left(1);
            if let Some(publisher) = self.publishers.last_mut() {
                return publisher.judge(number, is_alone);
            }
        }
        if self.publishers.len() == REMEMBERED_PUBLISHERS {
            self.forgotten += self.publishers.remove(0).missing_until(u64::MAX);
        }
        self.publishers.push(Publisher::starting_with(info.publisher, number));
        Judgement::New
    }

    /// How many messages are lost that were not told before: those that were missing at the last call already, and have not
    /// come since.
    pub(super) fn newly_lost(&mut self) -> u64 {
        let of_publishers: u64 = self.publishers.iter_mut().map(Publisher::newly_lost).sum();
        std::mem::take(&mut self.forgotten) + of_publishers
    }

    /// How many messages are missing that were not told before, at the end: none of them will come.
    pub(super) fn missing(&mut self) -> u64 {
        self.newly_lost() + self.newly_lost()
    }
}

impl Publisher {
    /// What was published before its first message that has come is not missing.
    fn starting_with(id: PublisherId, number: u64) -> Self {
        let before = number.saturating_sub(1);
        Publisher { id, spans: vec![number..=number], merged: None, told: before, due: before, forgotten: 0 }
    }

    fn judge(&mut self, number: u64, is_alone: bool) -> Judgement {
        if self.merged.as_ref().is_some_and(|merged| merged.contains(&number)) {
            if !is_alone {
                return Judgement::Repeat;
            }
            self.forgotten = self.forgotten.saturating_sub(1);
            return Judgement::New;
        }
        match self.spans.last_mut() {
            // Nearly always: the next one.
            Some(last) if last.end().checked_add(1) == Some(number) => *last = *last.start()..=number,
            _ => {
                let at = self.spans.partition_point(|span| *span.end() < number);
                if self.spans.get(at).is_some_and(|span| span.contains(&number)) {
                    return Judgement::Repeat;
                }
                self.spans.insert(at, number..=number);
                self.join_with_the_one_before(at + 1);
                self.join_with_the_one_before(at);
                if self.spans.len() > REMEMBERED_SPANS {
                    self.merge_oldest();
                }
            }
        }
        Judgement::New
    }

    fn newly_lost(&mut self) -> u64 {
        let lost = self.missing_until(self.due);
        self.forgotten = 0;
        self.told = self.told.max(self.due);
        self.due = self.newest().unwrap_or(self.due);
        lost
    }

    /// The newest number that has come; `None` if none has.
    fn newest(&self) -> Option<u64> {
        self.spans.last().into_iter().chain(&self.merged).map(|span| *span.end()).max()
    }

    /// How many numbers up to `last` are missing that were not told.
    fn missing_until(&self, last: u64) -> u64 {
        let untold = self.told.saturating_add(1)..=last.min(self.newest().unwrap_or(0));
        // The newest first: all before the span that leads back to what was told is known.
        let known = self.spans.iter().rev().take_while(|span| *span.end() > self.told).chain(&self.merged);
        length(&untold) - known.map(|span| length(&overlap(span, &untold))).sum::<u64>() + self.forgotten
    }

    /// Makes one of the span `at` and the one before, if no number is missing between them.
    fn join_with_the_one_before(&mut self, at: usize) {
        let Some(before) = at.checked_sub(1) else { return };
        if self.spans.get(at).is_some_and(|span| span.start() - 1 == *self.spans[before].end()) {
            let span = self.spans.remove(at);
            self.spans[before] = *self.spans[before].start()..=*span.end();
        }
    }

    /// Forgets where the gap is that has been there the longest, and counts it as lost. What was published before all that is
    /// merged stays apart, as long as there is something behind it to merge.
    fn merge_oldest(&mut self) {
        let (from, to) = match &self.merged {
            Some(merged) => (*merged.start(), *merged.end()),
            None => (u64::MAX, 0),
        };
        let behind = self.spans.partition_point(|span| self.merged.is_some() && *span.end() < from);
        let span = self.spans.remove(behind.min(self.spans.len() - 1));
        if self.merged.is_some() {
            let gap = if *span.start() > to { to + 1..=span.start() - 1 } else { span.end() + 1..=from - 1 };
            self.forgotten += length(&overlap(&gap, &(self.told.saturating_add(1)..=u64::MAX)));
        }
        self.merged = Some(from.min(*span.start())..=to.max(*span.end()));
    }
}

/// The numbers that are in both.
fn overlap(one: &RangeInclusive<u64>, other: &RangeInclusive<u64>) -> RangeInclusive<u64> {
    *one.start().max(other.start())..=*one.end().min(other.end())
}

/// How many numbers `span` has.
fn length(span: &RangeInclusive<u64>) -> u64 {
    (span.end() + 1).saturating_sub(*span.start())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(publisher: u8, number: u64) -> Info {
        Info { source_ns: 0, received_ns: 0, publisher: [publisher; _], number: NonZeroU64::new(number) }
    }

    fn info_of(publisher: u16, number: u64) -> Info {
        let mut info = info(0, number);
        info.publisher[..2].copy_from_slice(&publisher.to_le_bytes());
        info
    }

    const NEW: Judgement = Judgement::New;

    #[test]
    fn what_one_subscription_has_delivered_is_no_news_from_another() {
        let mut seen = Seen::default();
        for number in 1..=3 {
            assert_eq!(seen.judge(&info(1, number), false), NEW);
        }
        assert_eq!(
            [2, 3, 4, 4, 5].map(|number| seen.judge(&info(1, number), false)),
            [Judgement::Repeat, Judgement::Repeat, NEW, Judgement::Repeat, NEW]
        );
        assert_eq!(seen.judge(&info(2, 1), false), NEW);
    }

    /// A volatile subscription has delivered 7 and 8 when the transient-local one beside it comes with what was before.
    #[test]
    fn what_was_published_before_is_news_however_late() {
        let mut seen = Seen::default();
        let come = [7, 8, 4, 5, 6, 7, 8, 9, 9].map(|number| seen.judge(&info(1, number), false));
        let repeat = Judgement::Repeat;
        assert_eq!(come, [NEW, NEW, NEW, NEW, NEW, repeat, repeat, NEW, repeat]);
    }

    #[test]
    fn a_number_that_is_left_out_and_does_not_come_is_a_lost_message() {
        let mut seen = Seen::default();
        // What was published before the subscription is no loss.
        for number in [100, 101, 105] {
            assert_eq!(seen.judge(&info(1, number), false), NEW);
        }
        // It may be late yet.
        assert_eq!(seen.newly_lost(), 0);
        // Out of order: news, once, and not lost.
        assert_eq!(seen.judge(&info(1, 104), false), NEW);
        assert_eq!(seen.judge(&info(1, 104), false), Judgement::Repeat);
        assert_eq!(seen.judge(&info(1, 107), false), NEW);
        // 102 and 103, and a turn later 106.
        assert_eq!([seen.newly_lost(), seen.newly_lost(), seen.newly_lost()], [2, 1, 0]);
        // At the end nothing is late any more.
        assert_eq!(seen.judge(&info(1, 110), false), NEW);
        assert_eq!([seen.missing(), seen.missing()], [2, 0]);
    }

    /// Whatever the order, each number is news once, as long as there are at most 1,024 gaps behind it. What is remembered
    /// is bounded, and nothing that has not come is a repeat where there is one subscription.
    #[test]
    fn gaps_without_end_take_bounded_memory() {
        let mut seen = Seen::default();
        for number in (1000..100_000).step_by(2) {
            assert_eq!(seen.judge(&info(1, number), false), NEW);
        }
        assert_eq!(seen.publishers[0].spans.len(), REMEMBERED_SPANS);
        // What was published long before those is not taken for one of the gaps.
        for number in 1..=50 {
            assert_eq!(seen.judge(&info(1, number), false), NEW, "{number}");
            assert_eq!(seen.judge(&info(1, number), false), Judgement::Repeat, "{number}");
        }
        // Within the bound, exactly: one place is taken by what was before.
        for number in (99_999 - 2 * REMEMBERED_SPANS as u64 + 4..100_000).step_by(2) {
            assert_eq!(seen.judge(&info(1, number), false), NEW, "{number}");
            assert_eq!(seen.judge(&info(1, number), true), Judgement::Repeat, "{number}");
        }
        // Beyond it: taken for a repeat only where there may be one.
        assert_eq!([false, true].map(|alone| seen.judge(&info(1, 5001), alone)), [Judgement::Repeat, NEW]);
        // Each of the gaps counts once, though it is not known any more where it was, but those that have been filled.
        assert_eq!(seen.missing(), (99_998 - 1000) / 2 - (REMEMBERED_SPANS as u64 - 2) - 1);
        assert_eq!(seen.judge(&info(1, u64::MAX - 1), false), NEW);
        assert_eq!(seen.missing(), u64::MAX - 1 - 99_999 - 1);
    }

    /// What is published long before all that is remembered, in numbers without end: the newest stays known.
    #[test]
    fn old_gaps_without_end_take_bounded_memory() {
        let mut seen = Seen::default();
        for number in (1..10_000).rev().step_by(2) {
            assert_eq!(seen.judge(&info(1, number), true), NEW, "{number}");
        }
        assert_eq!(seen.publishers[0].spans.len(), REMEMBERED_SPANS);
        assert_eq!((seen.judge(&info(1, 10_002), true), seen.missing()), (NEW, 2));
    }

    /// Kilted delivers a keyed type instance by instance.
    #[test]
    fn a_burst_that_comes_key_by_key_has_no_repeats() {
        for is_alone in [true, false] {
            let mut seen = Seen::default();
            for number in (0..5).flat_map(|key| (1..=300).filter(move |number| number % 5 == key)) {
                assert_eq!(seen.judge(&info(1, number), is_alone), NEW, "{number}");
            }
            assert_eq!((seen.publishers[0].spans.len(), seen.missing()), (1, 0));
        }
    }

    /// At 100 messages a second the best-effort subscription loses every second one, and the reliable one is 2 s behind.
    #[test]
    fn what_only_the_one_that_is_behind_delivers_is_news() {
        let mut seen = Seen::default();
        for number in 1..=2000 {
            if number % 2 == 0 {
                assert_ne!(seen.judge(&info(1, number), false), Judgement::Repeat, "{number}");
            }
            if let Some(behind @ 1..) = u64::checked_sub(number, 200) {
                let is_repeat = seen.judge(&info(1, behind), false) == Judgement::Repeat;
                assert_eq!(is_repeat, behind % 2 == 0, "{behind}");
            }
        }
    }

    #[test]
    fn a_message_that_comes_one_late_is_news_whatever_the_gaps_before_it() {
        for is_alone in [true, false] {
            let mut seen = Seen::default();
            for number in (1..=2000).map(|at| at * 10) {
                assert_ne!(seen.judge(&info(1, number), is_alone), Judgement::Repeat);
            }
            let come = [20_002, 20_001, 20_003].map(|number| seen.judge(&info(1, number), is_alone));
            assert_eq!(come, [NEW, NEW, NEW]);
        }
    }

    #[test]
    fn the_publishers_that_were_heard_last_are_remembered() {
        let mut seen = Seen::default();
        for publisher in 0..REMEMBERED_PUBLISHERS as u16 {
            assert_eq!(seen.judge(&info_of(publisher, 1), false), NEW);
        }
        for publisher in 0..REMEMBERED_PUBLISHERS as u16 {
            assert_eq!(seen.judge(&info_of(publisher, 1), false), Judgement::Repeat, "{publisher}");
        }
        // The first one is heard again, so that the second makes room.
        assert_eq!(seen.judge(&info_of(0, 2), false), NEW);
        assert_eq!(seen.judge(&info_of(5000, 1), false), NEW);
        assert_eq!(seen.publishers.len(), REMEMBERED_PUBLISHERS);
        assert_eq!(
            [0, 2, 1].map(|publisher| seen.judge(&info_of(publisher, 1), false)),
            [Judgement::Repeat, Judgement::Repeat, NEW]
        );
    }

    #[test]
    fn publishers_without_numbers_and_countless_publishers_are_let_through() {
        let mut seen = Seen::default();
        assert_eq!([seen.judge(&info(1, 0), false), seen.judge(&info(1, 0), false)], [NEW, NEW]);
        assert!(!seen.are_numbered());
        for publisher in 0..2000 {
            assert_eq!(seen.judge(&info_of(publisher, 1), false), NEW);
        }
        assert_eq!(seen.publishers.len(), REMEMBERED_PUBLISHERS);
    }
}
