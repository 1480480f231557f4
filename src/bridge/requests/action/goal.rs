//! A goal that is under way.

use std::time::{Duration, Instant};

use super::codec::{Ended, GoalId};
use crate::bridge::requests::answers::Asker;
use iot_bridge_core::requests::{GoalStatus, Key};

/// Requests for a result that are remembered. Each return of a server makes one more.
const RESULTS: usize = 8;

/// Cancels of one goal that may be under way.
pub(super) const CANCELS: usize = 8;

pub(super) struct Goal {
    pub key: Key,
    pub id: GoalId,
    /// Who has asked for it.
    pub asker: Asker,
    /// Who gets the feedback.
    pub listener: Asker,
    /// The client that it was sent with.
    pub client: u64,
    pub stage: Stage,
    pub cancels: Vec<Cancel>,
    pub feedback: Feedback,
    /// What the server has told of it last, as in action_msgs/msg/GoalStatus.
    pub status: i8,
    told: Told,
}

/// How far a goal is.
#[derive(Debug)]
pub(super) enum Stage {
    /// It was sent with the call of this number. Until then the server has to say whether it takes it.
    Sent { number: i64, until: Instant },
    /// It was accepted, and the result was asked for with the calls of these numbers.
    Accepted { results: Vec<i64> },
}

/// Somebody wants it to end.
pub(super) struct Cancel {
    pub asker: Asker,
    /// Of the call; `None` before the goal was accepted.
    pub number: Option<i64>,
}

/// What the asker was told last. It goes one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Nothing,
    Accepted,
    Executing,
    Canceling,
}

impl Goal {
    pub fn sent(key: Key, id: GoalId, (asker, listener): (Asker, Asker), client: u64, stage: Stage) -> Goal {
        let (cancels, feedback, told) = (Vec::new(), Feedback::default(), Told::Nothing);
        Goal { key, id, asker, listener, client, stage, cancels, feedback, status: Ended::UNKNOWN, told }
    }

    /// The result was asked for with the call of this number.
    pub fn asked_for_result(&mut self, number: i64) {
        match &mut self.stage {
            Stage::Sent { .. } => self.stage = Stage::Accepted { results: vec![number] },
            Stage::Accepted { results } => {
                if results.len() == RESULTS {
                    results.remove(0);
                }
                results.push(number);
            }
        }
    }

    /// Whether the response with this number has its result.
    pub fn is_result(&self, number: i64) -> bool {
        matches!(&self.stage, Stage::Accepted { results } if results.contains(&number))
    }

    /// What the asker has to be told, if it is news. An accepted goal is known as such first.
    pub fn news(&mut self) -> Option<GoalStatus> {
        let Stage::Accepted { .. } = self.stage else { return None };
        let known = match self.status {
            Ended::EXECUTING => Told::Executing,
            Ended::CANCELING => Told::Canceling,
            _ => Told::Accepted,
        };
        let known = if self.told == Told::Nothing { Told::Accepted } else { known };
        let is_news = known > self.told;
        self.told = self.told.max(known);
        is_news.then(|| self.standing())
    }

    /// How it stands, as far as the asker knows.
    pub fn standing(&self) -> GoalStatus {
        match self.told {
            Told::Nothing | Told::Accepted => GoalStatus::Accepted,
            Told::Executing => GoalStatus::Executing,
            Told::Canceling => GoalStatus::Canceling,
        }
    }
}

/// The feedback of a goal: the latest of each period.
#[derive(Debug, Default)]
pub(super) struct Feedback {
    /// As CDR.
    latest: Option<Vec<u8>>,
    /// Nothing is sent before that.
    rests_until: Option<Instant>,
}

impl Feedback {
    /// Some has come. What waited is over.
    pub fn has_come(&mut self, cdr: Vec<u8>) {
        self.latest = Some(cdr);
    }

    /// When some is due.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        self.latest.as_ref().map(|_| self.rests_until.unwrap_or(now))
    }

    /// What is to be sent now, with a `period` behind it.
    pub fn take(&mut self, period: Option<Duration>, now: Instant) -> Option<Vec<u8>> {
        if self.rests_until.is_some_and(|until| now < until) {
            return None;
        }
        let latest = self.latest.take()?;
        self.rests_until = period.and_then(|period| now.checked_add(period));
        Some(latest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iot_bridge_core::requests::{Id, Identity};

    fn goal() -> Goal {
        let asker = Asker { identity: Identity::default(), to: None };
        let stage = Stage::Sent { number: 1, until: Instant::now() };
        let key = Key::Id(Id::Integer("1".into()));
        Goal::sent(key, GoalId::random(), (asker.clone(), asker), 0, stage)
    }

    /// Whatever the server tells first, a goal is accepted first, and no status is told twice or after a later one.
    #[test]
    fn what_is_told_goes_one_way() {
        let mut goal = goal();
        goal.status = Ended::EXECUTING;
        assert_eq!(goal.news(), None, "not accepted yet");
        goal.asked_for_result(2);
        assert_eq!([(); 3].map(|()| goal.news()), [Some(GoalStatus::Accepted), Some(GoalStatus::Executing), None]);
        goal.status = Ended::CANCELING;
        assert_eq!((goal.news(), goal.news()), (Some(GoalStatus::Canceling), None));
        for later in [Ended::EXECUTING, Ended::SUCCEEDED, Ended::UNKNOWN] {
            goal.status = later;
            assert_eq!(goal.news(), None);
        }
        assert_eq!(goal.standing(), GoalStatus::Canceling);
    }

    /// However often it is asked for again, the last requests for a result are known, and no more than those.
    #[test]
    fn the_last_requests_for_a_result_are_known() {
        let mut goal = goal();
        (1..=20).for_each(|number| goal.asked_for_result(number));
        assert_eq!(
            (1..=20).filter(|number| goal.is_result(*number)).collect::<Vec<_>>(),
            (13..=20).collect::<Vec<_>>()
        );
    }

    /// The first feedback is sent at once, and then the latest of each period; all of it without a period.
    #[test]
    fn the_latest_feedback_of_a_period_is_sent() {
        let (start, period) = (Instant::now(), Duration::from_millis(100));
        let mut feedback = Feedback::default();
        let mut sent = Vec::new();
        for number in 0..30 {
            let now = start + number * Duration::from_millis(10);
            feedback.has_come(vec![number as u8]);
            sent.extend(feedback.take(Some(period), now));
        }
        assert_eq!(sent, [[0], [10], [20]]);
        assert_eq!(feedback.due(start), Some(start + 3 * period));
        assert_eq!(feedback.take(Some(period), start + 3 * period), Some(vec![29]));
        assert_eq!((feedback.due(start), feedback.take(Some(period), start + 9 * period)), (None, None));
        let mut all = Feedback::default();
        for number in 0..3 {
            all.has_come(vec![number]);
            assert_eq!(all.take(None, start), Some(vec![number]));
        }
    }
}
