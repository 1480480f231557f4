//! A goal that is under way.

use std::time::{Duration, Instant};

use super::codec::{Ended, GoalId};
use crate::bridge::requests::answers::Asker;
use iot_bridge_core::requests::{GoalStatus, Key};

/// Requests for a result that are remembered, the last ones.
const RESULTS: usize = 8;

/// Requests for results that are sent at a time: ROS keeps ten that a server has not come to, and overwrites the oldest.
const ASKED_AT_ONCE: usize = 8;

/// How long the result of a goal that has ended is waited for before it is asked for again. It doubles, up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_secs(4);

/// The same for a goal that its server knows as under way: each request is one more that it has to keep.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

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
    /// When its result is asked for again; `None` while there is no reason to doubt that it comes.
    again: Option<Again>,
}

#[derive(Debug, Clone, Copy)]
struct Again {
    at: Instant,
    /// From that time to the next.
    pause: Duration,
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
    /// The number of the call, and until when the server has to answer; `None` before the goal was accepted.
    pub sent: Option<(i64, Instant)>,
}

/// A goal that was given up before the server had said whether it takes it.
pub(super) struct GivenUp {
    pub client: u64,
    /// Of the call.
    pub number: i64,
    pub id: GoalId,
    /// After that nobody waits for the server's word any more.
    pub until: Instant,
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
        Goal { key, id, asker, listener, client, stage, cancels, feedback, status: Ended::UNKNOWN, told, again: None }
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

    /// The server may be another one than that which was asked for the result.
    pub fn doubt(&mut self, now: Instant) {
        self.again = Some(Again { at: now, pause: PAUSE });
    }

    /// The server has told its status.
    pub fn has_status(&mut self, status: i8, now: Instant) {
        self.status = status;
        match (status, &mut self.again) {
            // Its result is on the way, unless the request for it was overwritten.
            (Ended::SUCCEEDED | Ended::CANCELED | Ended::ABORTED, again) => {
                let soon = Again { at: now + PAUSE, pause: PAUSE };
                *again = Some(again.filter(|again| again.at < soon.at).unwrap_or(soon));
            }
            (_, Some(again)) => again.at = now + LONGEST_PAUSE,
            (_, None) => {}
        }
    }

    /// Takes out those who wanted it to end, and whom the server has not answered in time.
    pub fn late_cancels(&mut self, now: Instant) -> Vec<Asker> {
        let late = self.cancels.extract_if(.., |cancel| cancel.sent.is_some_and(|(_, until)| until <= now));
        late.map(|cancel| cancel.asker).collect()
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

/// Asks for results that may not come otherwise, as many as a server keeps requests; those that wait longest come first. `ask`
/// returns the number of the call; one that can't be sent is tried again like one that is not answered.
pub(super) fn ask_again(goals: &mut [Goal], client: u64, now: Instant, mut ask: impl FnMut(&GoalId) -> Option<i64>) {
    let due = |goal: &Goal| goal.again.map(|again| again.at).filter(|at| *at <= now);
    let is_accepted = |goal: &&mut Goal| goal.client == client && matches!(goal.stage, Stage::Accepted { .. });
    let mut all: Vec<_> = goals.iter_mut().filter(is_accepted).filter(|goal| due(goal).is_some()).collect();
    all.sort_by_key(|goal| due(goal));
    for goal in all.into_iter().take(ASKED_AT_ONCE) {
        if let Some(number) = ask(&goal.id) {
            goal.asked_for_result(number);
        }
        let pause = goal.again.map_or(PAUSE, |again| again.pause);
        goal.again = Some(Again { at: now + pause, pause: (2 * pause).min(LONGEST_PAUSE) });
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
        let key = Key::Id(Id::Number("1".into()));
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

    /// A server that keeps the last ten requests, and comes to them once a second, is asked for the results of thirty goals: after
    /// a doubt, and after it has told that they have ended while it has none of the requests for their results.
    #[test]
    fn every_result_is_asked_for_until_it_comes() {
        let start = Instant::now();
        type Doubt = fn(&mut Goal, Instant);
        for doubt in [Goal::doubt as Doubt, |goal, now| goal.has_status(Ended::ABORTED, now)] {
            let mut goals: Vec<_> = std::iter::repeat_with(goal).take(30).collect();
            goals.iter_mut().for_each(|goal| goal.asked_for_result(0));
            ask_again(&mut goals, 0, start + LONGEST_PAUSE, |_| panic!("there is no doubt"));
            goals.iter_mut().for_each(|goal| doubt(goal, start));
            let (mut number, mut kept, mut looks) = (0, std::collections::VecDeque::new(), 0);
            while !goals.is_empty() {
                assert!(looks < 60, "{} goals are stuck", goals.len());
                let mut asked = 0;
                ask_again(&mut goals, 0, start + looks * Duration::from_millis(500), |_| {
                    (number, asked) = (number + 1, asked + 1);
                    kept.push_back(number);
                    Some(number)
                });
                assert!(asked <= ASKED_AT_ONCE);
                kept.drain(..kept.len().saturating_sub(10));
                looks += 1;
                if looks % 2 == 0 {
                    kept.drain(..).for_each(|number| goals.retain(|goal| !goal.is_result(number)));
                }
            }
        }
    }

    /// A cancel that was sent has its time; one that waits for the goal's acceptance goes with that.
    #[test]
    fn cancels_that_are_not_answered_are_late() {
        let (mut goal, now) = (goal(), Instant::now());
        let soon = now + Duration::from_secs(1);
        for sent in [None, Some((1, now)), Some((2, soon))] {
            goal.cancels.push(Cancel { asker: goal.asker.clone(), sent });
        }
        assert_eq!((goal.late_cancels(now).len(), goal.late_cancels(now).len()), (1, 0));
        assert_eq!(goal.cancels.iter().map(|cancel| cancel.sent).collect::<Vec<_>>(), [None, Some((2, soon))]);
    }

    /// A goal that the server knows as under way is asked for once a minute, and soon once it has ended.
    #[test]
    fn what_the_server_knows_is_left_alone() {
        let (mut goals, start) = ([goal()], Instant::now());
        let asked = |goals: &mut [Goal], after: Duration| {
            let mut asked = false;
            ask_again(goals, 0, start + after, |_| {
                asked = true;
                Some(1)
            });
            asked
        };
        goals[0].asked_for_result(0);
        goals[0].doubt(start);
        assert!(asked(&mut goals, Duration::ZERO));
        goals[0].has_status(Ended::EXECUTING, start);
        assert!(!asked(&mut goals, LONGEST_PAUSE / 2) && asked(&mut goals, LONGEST_PAUSE));
        goals[0].has_status(Ended::EXECUTING, start + LONGEST_PAUSE);
        goals[0].has_status(Ended::SUCCEEDED, start + LONGEST_PAUSE);
        assert!(!asked(&mut goals, LONGEST_PAUSE) && asked(&mut goals, LONGEST_PAUSE + PAUSE));
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
