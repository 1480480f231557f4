//! One topic under suspicion: the state machine of [`super`].

use std::time::{Duration, Instant};

use super::{ASIDE, Close, FORBIDDEN, InFlight, POISON, POISON_IN_WORDS, PROVEN, RecordId};

/// A topic under suspicion.
#[derive(Debug)]
pub(super) struct Topic {
    pub standing: Standing,
    /// Closes with a publish to the topic alone in flight, whatever record it was of.
    pub closes: u32,
    /// The record that failed last, and how often in a row; `None` if it was not one of the queue's records.
    pub failed: (Option<RecordId>, u32),
    /// How often in a row it was set aside.
    pub times_aside: u32,
    /// The records of a batch that was closed over went one by one since it was last set aside.
    was_split: bool,
    /// The broker refuses it in words, and leaves the connection.
    pub in_words: bool,
    /// What is published to it are replies.
    pub is_of_replies: bool,
    /// When something was last heard of it.
    pub heard: Instant,
}

/// Where a topic stands. A topic that is not under suspicion has none.
///
/// In all but the first its next publish is a trial: it decides over the topic or over a record. `trying` says that it is in
/// flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// In flight when the connection was closed.
    Suspect,
    /// The oldest record is at fault, or the topic. The record behind it decides.
    PassingOver { trying: bool },
    /// The topic works; its oldest record is to be tried once more.
    Accused { trying: bool },
    /// Not sent until then; then its oldest record is tried.
    Aside { until: Instant, trying: bool },
}

/// What follows from a publish that was taken, closed over or refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing: it is as likely to be the link.
    Nothing,
    /// It is under suspicion still.
    Suspected,
    /// The records of the batch, so many, go one by one.
    Split(usize),
    /// It waits for so long.
    SetAside(Duration),
    /// It is not under suspicion any more.
    Cleared,
    /// Its record will never be taken; the topic itself is not under suspicion any more.
    Poison,
}

impl Topic {
    pub fn new(now: Instant) -> Self {
        Topic {
            standing: Standing::Suspect,
            closes: 0,
            failed: (None, 0),
            times_aside: 0,
            was_split: false,
            in_words: false,
            is_of_replies: false,
            heard: now,
        }
    }

    /// Whether a publish to the topic may be sent at `now`.
    pub fn permits(&self, now: Instant) -> bool {
        match self.standing {
            Standing::Suspect => true,
            Standing::PassingOver { trying } | Standing::Accused { trying } => !trying,
            Standing::Aside { until, trying } => until <= now && !trying,
        }
    }

    pub fn is_suspect(&self) -> bool {
        self.standing == Standing::Suspect
    }

    pub fn is_passing_over(&self) -> bool {
        matches!(self.standing, Standing::PassingOver { .. })
    }

    /// Whether its next publish decides over the topic or over a record, so that nothing else may be in flight with it.
    pub fn is_trial(&self) -> bool {
        !self.is_suspect() && !self.in_words
    }

    /// Whether the publish that decides is in flight.
    pub fn is_trying(&self) -> bool {
        match self.standing {
            Standing::Suspect => false,
            Standing::PassingOver { trying } | Standing::Accused { trying } | Standing::Aside { trying, .. } => trying,
        }
    }

    /// A publish that decides is in flight, or none is any more.
    pub fn set_trying(&mut self, is_it: bool) {
        match &mut self.standing {
            Standing::Suspect => {}
            Standing::PassingOver { trying } | Standing::Accused { trying } | Standing::Aside { trying, .. } => {
                *trying = is_it;
            }
        }
    }

    /// A publish of `record`, if it is a single one, is sent.
    pub fn sent(&mut self, record: Option<RecordId>) -> Outcome {
        if matches!(self.standing, Standing::Accused { .. }) && self.is_another(record) {
            // The accused is gone: it has expired, or made room for others.
            return Outcome::Cleared;
        }
        self.set_trying(true);
        Outcome::Suspected
    }

    /// A publish of `record`, if it is a single one, was taken at `now`.
    pub fn taken(&mut self, record: Option<RecordId>, now: Instant) -> Outcome {
        self.heard = now;
        match self.standing {
            Standing::PassingOver { .. } | Standing::Aside { .. } if self.is_another(record) => {
                (self.standing, self.times_aside) = (Standing::Accused { trying: false }, 0);
                Outcome::Suspected
            }
            // What tells its record says that the accused is still to come. QoS 0 does not tell.
            Standing::Accused { .. } if record.is_some() && self.is_another(record) => Outcome::Suspected,
            _ => Outcome::Cleared,
        }
    }

    /// What was acknowledged of its route went to the route's other topic: what is tried here does not go on as if it did.
    pub fn taken_beside(&mut self, now: Instant) -> Outcome {
        match self.standing {
            _ if self.in_words => Outcome::Suspected,
            Standing::PassingOver { .. } => self.set_aside(now),
            // The next that goes there is its trial, whenever that comes. What does not is no trial.
            Standing::Aside { until, trying: false } if until <= now => {
                (self.standing, self.closes, self.failed) = (Standing::Suspect, FORBIDDEN - 1, (None, 0));
                Outcome::Suspected
            }
            _ => Outcome::Suspected,
        }
    }

    /// The connection was closed at `now` with the publish `alone` in flight. `is_early` says that the connection had not
    /// stood for long, `is_proven` that the topic was acknowledged of late, and `doubt` how many closes more it takes to call a
    /// record poison.
    pub fn closed(
        &mut self,
        close: Close,
        alone: &InFlight<'_>,
        (is_early, is_proven): (bool, bool),
        doubt: u32,
        now: Instant,
    ) -> Outcome {
        self.heard = now;
        self.closes += 1;
        if !is_early && self.closes == 1 && self.is_suspect() {
            // A lone publish on a connection that had stood for long is as likely to be the link.
            return Outcome::Nothing;
        }
        if let (Some((_, records @ 2..)), false) = (alone.batch, self.was_split) {
            (self.closes, self.was_split) = (1, true);
            return Outcome::Split(records);
        }
        let record = alone.record;
        match self.standing {
            Standing::Suspect => {
                self.has_failed(record);
                let more = if is_proven { PROVEN } else { 0 } + u32::from(close.contested);
                if self.closes < FORBIDDEN + more {
                    return Outcome::Suspected;
                }
                if is_proven && record.is_some() { self.pass_over() } else { self.set_aside(now) }
            }
            Standing::Aside { .. } => {
                self.has_failed(record);
                if record.is_some() { self.pass_over() } else { self.set_aside(now) }
            }
            // Neither the oldest record nor the one behind it is taken.
            Standing::PassingOver { .. } => self.set_aside(now),
            Standing::Accused { .. } => {
                if self.has_failed(record) >= POISON + doubt {
                    Outcome::Poison
                } else {
                    Outcome::Suspected
                }
            }
        }
    }

    /// The broker refuses a publish in words; `is_forbidden` says whether for want of permission.
    pub fn refused(&mut self, refused: &InFlight<'_>, is_forbidden: bool, now: Instant) -> Outcome {
        if self.in_words && !self.is_trying() {
            // It was sent before that was known.
            return Outcome::Nothing;
        }
        (self.in_words, self.heard) = (true, now);
        self.set_trying(false);
        if is_forbidden || matches!(refused.batch, Some((_, 2..))) {
            return self.set_aside(now);
        }
        let times = self.has_failed(refused.record);
        match self.standing {
            Standing::Accused { .. } if times >= POISON_IN_WORDS => Outcome::Poison,
            Standing::Aside { .. } if times >= POISON_IN_WORDS && refused.record.is_some() => self.pass_over(),
            _ => self.set_aside(now),
        }
    }

    fn pass_over(&mut self) -> Outcome {
        self.standing = Standing::PassingOver { trying: self.is_trying() };
        Outcome::Suspected
    }

    pub fn set_aside(&mut self, now: Instant) -> Outcome {
        let wait = (ASIDE.0 * 2u32.saturating_pow(self.times_aside.min(16))).min(ASIDE.1);
        self.times_aside += 1;
        self.was_split = false;
        self.standing = Standing::Aside { until: now + wait, trying: self.is_trying() };
        Outcome::SetAside(wait)
    }

    /// `record` has failed. Returns how often it has in a row.
    fn has_failed(&mut self, record: Option<RecordId>) -> u32 {
        let (failed, times) = &mut self.failed;
        *times = if *failed == record { *times + 1 } else { 1 };
        *failed = record;
        *times
    }

    /// Whether this `record`, which was sent or acknowledged, is not the one that has failed.
    fn is_another(&self, record: Option<RecordId>) -> bool {
        self.failed.0.is_some() && self.failed.0 != record
    }
}
