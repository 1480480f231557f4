//! What ROS tells of goals, and what follows from it.

use std::time::Instant;

use super::codec::{Codec, Ended, GoalId};
use super::goal::{GivenUp, Stage};
use super::{Action, CANCELLATION};
use crate::bridge::requests::Outside;
use crate::bridge::requests::answers::{Asker, NOT_CANCELED, REPLY_MAX_AGE};
use crate::bridge::requests::clients::SHARE;
use crate::ros::{ActionClient, RosError};
use iot_bridge_core::requests::{Detail, GoalStatus};

/// What ROS tells of goals. Numbers are of calls.
pub(super) enum News {
    Accepted {
        number: i64,
        is_accepted: Result<bool, Detail>,
    },
    Canceling {
        number: i64,
        goals: Result<usize, Detail>,
    },
    Statuses(Vec<(GoalId, i8)>),
    /// As CDR.
    Feedback(GoalId, Vec<u8>),
    Ended {
        number: i64,
        ended: Result<Ended, Detail>,
    },
}

/// The next of what has come. What a goal is told first comes first.
fn next(client: &mut ActionClient, codec: &Codec) -> Result<Option<News>, RosError> {
    if let Some((number, cdr)) = client.send_goal.take()? {
        return Ok(Some(News::Accepted { number, is_accepted: codec.accepted(cdr) }));
    }
    if let Some((number, cdr)) = client.cancel_goal.take()? {
        return Ok(Some(News::Canceling { number, goals: codec.canceling(cdr) }));
    }
    if let Some(cdr) = client.status.take()? {
        return Ok(Some(News::Statuses(codec.statuses(cdr))));
    }
    while let Some(cdr) = client.feedback.take()? {
        if let Some((goal, feedback)) = Codec::feedback_of(cdr) {
            return Ok(Some(News::Feedback(goal, feedback)));
        }
    }
    if let Some((number, cdr)) = client.get_result.take()? {
        return Ok(Some(News::Ended { number, ended: codec.result(cdr) }));
    }
    Ok(None)
}

impl Action {
    /// Takes what has come of each client and follows it, within a few milliseconds; what is left is for the next turn, which is
    /// soon.
    pub(super) fn take_news(&mut self, outside: &Outside, now: Instant) {
        let Some(codec) = self.clients.callable().cloned() else { return };
        let changed = self.clients.iter_mut().filter(|client| client.of.status.take_match());
        self.changed.extend(changed.map(|client| client.id));
        let began = Instant::now();
        for id in self.clients.ids() {
            while let Some(client) = self.clients.get_mut(id) {
                if began.elapsed() > SHARE {
                    return outside.waker().notify_one();
                }
                match next(client, &codec) {
                    Ok(Some(news)) => self.follow(id, news, outside, now),
                    Ok(None) => break,
                    Err(error) => {
                        self.answers.lost(&error, now);
                        break;
                    }
                }
            }
        }
    }

    /// Something has come of `client`.
    fn follow(&mut self, client: u64, news: News, outside: &Outside, now: Instant) {
        match news {
            News::Accepted { number, is_accepted } => self.is_accepted(client, number, is_accepted, outside, now),
            News::Canceling { number, goals } => self.is_canceling(client, number, goals, outside, now),
            News::Statuses(statuses) => {
                for (id, status) in statuses {
                    let at = self.goals.iter().position(|goal| goal.client == client && goal.id == id);
                    if let Some(at) = at {
                        self.goals[at].has_status(status, now);
                        self.tell(at, outside, now);
                    }
                }
            }
            News::Feedback(id, cdr) => {
                let goal = self.goals.iter_mut().find(|goal| goal.client == client && goal.id == id);
                if let Some(goal) = goal {
                    // All is sent where no rate is set.
                    goal.feedback.has_come(cdr);
                    self.send_feedback(outside, now);
                }
            }
            News::Ended { number, ended } => {
                let at = self.goals.iter().position(|goal| goal.client == client && goal.is_result(number));
                if let Some(at) = at {
                    self.has_ended(at, ended, outside, now);
                }
            }
        }
    }

    fn is_accepted(
        &mut self,
        client: u64,
        number: i64,
        is_accepted: Result<bool, Detail>,
        outside: &Outside,
        now: Instant,
    ) {
        let is_it = |goal: &super::Goal| {
            goal.client == client && matches!(goal.stage, Stage::Sent { number: sent, .. } if sent == number)
        };
        let Some(at) = self.goals.iter().position(is_it) else {
            let is_it = |of: &GivenUp| (of.client, of.number) == (client, number);
            let given_up = self.given_up.iter().position(is_it).map(|at| self.given_up.remove(at));
            if let Some(GivenUp { id, .. }) = given_up
                && is_accepted != Ok(false)
                && let Some(client) = self.clients.get(client)
            {
                // Where that fails, it goes on, as nobody was promised otherwise.
                let _ = client.cancel_goal.call(&id.cancel());
            }
            return;
        };
        let goal = &mut self.goals[at];
        let asked = match (is_accepted, self.clients.get(client)) {
            (Ok(true), Some(of)) => {
                of.get_result.call(&goal.id.result()).map(|number| (of, number)).map_err(Detail::new)
            }
            (Ok(true), None) => Err(Detail::new("the action server is gone")),
            (Ok(false), _) => {
                let detail = Detail::new("the action server does not take it");
                return self.end_goal(at, GoalStatus::Rejected, None, Some(&detail), outside, now);
            }
            (Err(detail), _) => Err(detail),
        };
        match asked {
            Ok((of, number)) => {
                goal.asked_for_result(number);
                let mut failed = Vec::new();
                for mut cancel in std::mem::take(&mut goal.cancels) {
                    match of.cancel_goal.call(&goal.id.cancel()) {
                        Ok(number) => {
                            cancel.sent = Some((number, now + CANCELLATION));
                            goal.cancels.push(cancel);
                        }
                        Err(error) => failed.push((cancel.asker, Detail::new(error))),
                    }
                }
                self.answers.ended_well(GoalStatus::Accepted.label(), &self.goals[at].asker);
                // That it is accepted, and what is known beyond that.
                self.tell(at, outside, now);
                self.tell(at, outside, now);
                for (asker, detail) in failed {
                    self.is_not_canceled(at, &asker, &detail, outside, now);
                }
            }
            Err(detail) => {
                // The server may have taken it, and nobody will hear of it.
                if let Some(of) = self.clients.get(client) {
                    let _ = of.cancel_goal.call(&goal.id.cancel());
                }
                self.end_goal(at, GoalStatus::Unavailable, None, Some(&detail), outside, now);
            }
        }
    }

    fn is_canceling(
        &mut self,
        client: u64,
        number: i64,
        goals: Result<usize, Detail>,
        outside: &Outside,
        now: Instant,
    ) {
        let of = |goal: &super::Goal| {
            let at = goal.cancels.iter().position(|cancel| cancel.sent.is_some_and(|(sent, _)| sent == number))?;
            (goal.client == client).then_some(at)
        };
        let found = self.goals.iter().enumerate().find_map(|(at, goal)| of(goal).map(|cancel| (at, cancel)));
        let Some((at, cancel)) = found else { return };
        let asker = self.goals[at].cancels.remove(cancel).asker;
        let refused = match goals {
            Ok(1..) => None,
            Ok(0) => Some(Detail::new("the action server does not cancel it")),
            Err(detail) => Some(detail),
        };
        if let Some(detail) = refused {
            return self.is_not_canceled(at, &asker, &detail, outside, now);
        }
        self.answers.ended_well(GoalStatus::Canceling.label(), &asker);
        self.goals[at].status = Ended::CANCELING;
        self.tell(at, outside, now);
        if asker != self.goals[at].asker {
            let reply = asker.identity.status(GoalStatus::Canceling, None, None);
            self.answers.send(&asker, &reply, REPLY_MAX_AGE, outside, now);
        }
    }

    fn is_not_canceled(&mut self, at: usize, asker: &Asker, detail: &Detail, outside: &Outside, now: Instant) {
        self.answers.ended_badly(NOT_CANCELED, detail, asker, now);
        let reply = asker.identity.status(self.goals[at].standing(), None, Some(detail));
        self.answers.send(asker, &reply, REPLY_MAX_AGE, outside, now);
    }

    /// Tells those who wanted a goal to end that its server says nothing. If it cancels the goal later, its status says so.
    pub(super) fn answer_late_cancels(&mut self, outside: &Outside, now: Instant) {
        let detail = Detail::new("the action server does not say whether it cancels the goal");
        for at in 0..self.goals.len() {
            for asker in self.goals[at].late_cancels(now) {
                self.is_not_canceled(at, &asker, &detail, outside, now);
            }
        }
    }

    fn has_ended(&mut self, at: usize, ended: Result<Ended, Detail>, outside: &Outside, now: Instant) {
        let Ended { status, json } = match ended {
            Ok(ended) => ended,
            Err(detail) => return self.end_goal(at, GoalStatus::Unavailable, None, Some(&detail), outside, now),
        };
        let status = match status {
            Ended::SUCCEEDED => GoalStatus::Succeeded,
            Ended::CANCELED => GoalStatus::Canceled,
            Ended::ABORTED => GoalStatus::Aborted,
            _ => {
                let detail = Detail::new("the action server does not know the goal; it may have been restarted");
                return self.end_goal(at, GoalStatus::Unavailable, None, Some(&detail), outside, now);
            }
        };
        match json {
            Ok(json) => self.end_goal(at, status, Some(json.get().as_bytes()), None, outside, now),
            Err(detail) => self.end_goal(at, status, None, Some(&detail), outside, now),
        }
    }

    /// Tells the asker what is new of a goal.
    fn tell(&mut self, at: usize, outside: &Outside, now: Instant) {
        let goal = &mut self.goals[at];
        if let Some(status) = goal.news() {
            let reply = goal.asker.identity.status(status, None, None);
            self.answers.send(&goal.asker, &reply, REPLY_MAX_AGE, outside, now);
        }
    }
}
