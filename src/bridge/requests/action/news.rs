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

/// A part of an action's client that something is taken of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    SendGoal,
    CancelGoal,
    Status,
    Feedback,
    GetResult,
}

impl Part {
    /// What a goal is told first comes first.
    const ALL: [Part; 5] = [Part::SendGoal, Part::CancelGoal, Part::Status, Part::Feedback, Part::GetResult];

    /// The next of what has come of it.
    fn take(self, client: &mut ActionClient, codec: &Codec) -> Result<Option<News>, RosError> {
        Ok(match self {
            Part::SendGoal => {
                let taken = client.send_goal.take()?;
                taken.map(|(number, cdr)| News::Accepted { number, is_accepted: codec.accepted(cdr) })
            }
            Part::CancelGoal => {
                let taken = client.cancel_goal.take()?;
                taken.map(|(number, cdr)| News::Canceling { number, goals: codec.canceling(cdr) })
            }
            Part::Status => client.status.take()?.map(|cdr| News::Statuses(codec.statuses(cdr))),
            Part::Feedback => loop {
                let Some(cdr) = client.feedback.take()? else { break None };
                if let Some((goal, feedback)) = Codec::feedback_of(cdr) {
                    break Some(News::Feedback(goal, feedback));
                }
            },
            Part::GetResult => {
                let taken = client.get_result.take()?;
                taken.map(|(number, cdr)| News::Ended { number, ended: codec.result(cdr) })
            }
        })
    }

    /// Whether DDS has told of something of it that was not taken yet.
    fn has_untaken(self, client: &ActionClient) -> bool {
        match self {
            Part::SendGoal => client.send_goal.has_untaken(),
            Part::CancelGoal => client.cancel_goal.has_untaken(),
            Part::Status => client.status.has_untaken(),
            Part::Feedback => client.feedback.has_untaken(),
            Part::GetResult => client.get_result.has_untaken(),
        }
    }
}

/// The next of what has come of `parts`; an error is that of the part that it is returned with.
fn next(client: &mut ActionClient, codec: &Codec, parts: &[Part]) -> Result<Option<News>, (Part, RosError)> {
    for part in parts {
        if let Some(news) = part.take(client, codec).map_err(|error| (*part, error))? {
            return Ok(Some(news));
        }
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
            let mut parts = Part::ALL.to_vec();
            while let Some(client) = self.clients.get_mut(id) {
                if began.elapsed() > SHARE {
                    return outside.waker().notify_one();
                }
                match next(client, &codec, &parts) {
                    Ok(Some(news)) => self.follow(id, news, outside, now),
                    Ok(None) => break,
                    Err((part, error)) => {
                        // DDS tells of those behind it only once. What goes on failing keeps the other parts from nothing.
                        if !part.has_untaken(client) {
                            parts.retain(|other| *other != part);
                        }
                        self.answers.lost(&error, now);
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use super::*;
    use crate::bridge::requests::Handler;
    use crate::bridge::requests::answers::LOST;
    use crate::bridge::requests::tests::{Servers, outside, turn};
    use crate::health::Requests;
    use crate::ros::UNREADABLE;
    use iot_bridge_core::config;
    use iot_bridge_core::mqtt::client::Arrival;

    /// Waits until it `is` so, trying it again and again.
    async fn until(what: &str, mut is: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !is() {
            assert!(begun.elapsed() < Duration::from_secs(60), "there is no {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What can't be taken is lost alone, and counted: what is behind it, and what has come of the other parts, is taken in the
    /// same turn.
    #[tokio::test]
    async fn what_can_not_be_taken_holds_up_nothing() {
        crate::ros::domain::enter();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ros/fibonacci_server.py");
        let _servers = Servers::start(&[script]);
        let (queue, outside) = outside();
        let health = Requests::default().enter("action", "a", "/fibonacci");
        let settings = config::Action {
            mqtt: "a".to_owned(),
            action: "/fibonacci".to_owned(),
            type_name: "test_msgs/action/Fibonacci".to_owned(),
            feedback_rate: None,
        };
        let mut action = Action::new(settings, std::sync::Arc::clone(&health));
        let outcomes = |names: [&str; 3]| {
            let counts = health.outcomes().read();
            names.map(|name| counts[name])
        };
        let untaken = |action: &Action, of: fn(&ActionClient) -> usize| {
            action.clients.available().map_or(0, |client| of(&client.of))
        };
        let goal = |action: &mut Action, id: usize, order: usize| {
            let payload = format!(r#"{{"id":"{id}","goal":{{"order":{order}}}}}"#);
            action.arrived(Arrival::for_test("a", &payload).0, &outside, Instant::now());
        };
        // A server that the client has found may not have found the client yet, and answers nobody then.
        let mut probes = 3;
        until("goal that succeeds", || {
            action.turn(&outside, Instant::now());
            if action.goals.is_empty() && outcomes(["succeeded", LOST, "accepted"]) == [0, 0, 0] {
                probes += 1;
                goal(&mut action, probes, 1);
            }
            action.goals.is_empty() && outcomes(["succeeded", LOST, "accepted"]) == [1, 0, 1]
        })
        .await;

        // The first answer is lost; the server has taken all three goals.
        for id in 1..=3 {
            goal(&mut action, id, 5);
        }
        until("answer", || untaken(&action, |client| client.send_goal.untaken()) == 3).await;
        UNREADABLE.store(1, Ordering::Release);
        turn(&mut action, &outside).await;
        assert_eq!(outcomes([LOST, "accepted", "succeeded"]), [1, 3, 1]);

        // A status and the first feedback are lost.
        until("result", || untaken(&action, |client| client.get_result.untaken()) == 2).await;
        UNREADABLE.store(2, Ordering::Release);
        turn(&mut action, &outside).await;
        assert_eq!(outcomes([LOST, "accepted", "succeeded"]), [3, 3, 3]);
        let feedback = std::iter::from_fn(|| queue.lease(Instant::now()))
            .filter(|lease| *lease.record.route.mqtt == *"a/feedback")
            .count();
        // There are three of each goal, and one of any is lost.
        assert!([5, 6].contains(&feedback), "{feedback}");
    }
}
