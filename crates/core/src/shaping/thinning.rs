//! What is decided before a message is decoded.

use std::time::Instant;

use super::every::Every;
use super::rate::Rate;
use crate::config;
use crate::tally::ShapedReason;

/// `every` and `rate` of one topic, in this order: what the first holds back the second does not see.
#[derive(Debug)]
pub struct Thinning {
    every: Option<Every>,
    rate: Option<Rate>,
}

impl Thinning {
    /// As `topic` is configured, before its first message.
    pub fn of(topic: &config::Topic) -> Self {
        Thinning { every: topic.every.map(Every::new), rate: topic.rate.map(Rate::new) }
    }

    /// When the next message is due by `rate`; `None` without it, and before the first.
    pub fn due(&self) -> Option<Instant> {
        self.rate.as_ref().and_then(Rate::due)
    }

    /// What holds back the message that was received at `at`; `None` if it goes on.
    pub fn holds_back(&mut self, at: Instant) -> Option<ShapedReason> {
        if self.every.as_mut().is_some_and(|every| !every.takes()) {
            return Some(ShapedReason::Every);
        }
        self.rate.as_mut().is_some_and(|rate| !rate.takes(at)).then_some(ShapedReason::Rate)
    }
}
