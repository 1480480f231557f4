//! An action: an MQTT topic whose requests send goals to a ROS action, and end them.
//!
//! ```text
//!  {"id":"a","goal":{…}} ──► send_goal ──► "accepted", or "rejected"
//!                            status    ──► "executing", "canceling"
//!                            feedback  ──► {"id":"a","feedback":{…}}, at most `feedback_rate`: the latest of each period
//!                            get_result ─► "succeeded", "canceled" or "aborted", with the result
//!  {"id":"a","cancel":true} ► cancel_goal ► "canceling", and then the goal's end
//! ```
//!
//! - A goal is known by its `id` until it has ended. Up to [`MOST_GOALS`] are under way at a time.
//! - It goes on whatever becomes of the connection. How it ends is kept for [`END_MAX_AGE`] if it can't be sent.
//! - If the server is gone for [`GONE`], its goals end as "unavailable": nobody knows what has become of them. If it comes back
//!   sooner, it is asked for the results again: one that was restarted does not know its goals, which are "unavailable" then.
//! - Each result is asked for until it comes, a few at a time: a server that has not come to more than ten requests loses some.
//! - When the bridge stops, or the entry goes from the configuration, goals go on on the robot. Who has asked is told so, as
//!   "unavailable", and hears no more of them. After SIGKILL nobody is told.

mod codec;
mod goal;
mod news;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answers::{Answers, Asker, DUPLICATE, FEEDBACK, Known, LOST, NOT_CANCELED, REPLY_MAX_AGE, received};
use super::clients::{Callable, Clients};
use super::{Handler, Outside};
use crate::health::RequestHealth;
use crate::ros::MOST_CALLS;
use iot_bridge_core::config::units::period;
use iot_bridge_core::config::{self, PAYLOAD_LIMIT, Qos};
use iot_bridge_core::mqtt::client::Arrival;
use iot_bridge_core::requests::{ActionRequest, Detail, GoalStatus, Key, Malformed};
use iot_bridge_core::uplink::Subscription;

use codec::{Codec, GoalId};
use goal::{CANCELS, Cancel, GivenUp, Goal, Stage};

/// Goals that may be under way at a time: each waits for the response with its result.
const MOST_GOALS: usize = MOST_CALLS;

/// How long the end of a goal is worth being sent.
const END_MAX_AGE: Duration = Duration::from_secs(86_400);

/// How long feedback is worth being sent.
const FEEDBACK_MAX_AGE: Duration = Duration::from_secs(10);

/// How long a server may be away before its goals are given up.
const GONE: Duration = Duration::from_secs(5);

/// How long a server has to say whether it takes a goal.
const ACCEPTANCE: Duration = Duration::from_secs(10);

/// How long a server has to answer a request to cancel a goal.
const CANCELLATION: Duration = Duration::from_secs(10);

/// How long a goal that was given up is canceled if the server takes it after all.
const GIVEN_UP: Duration = Duration::from_secs(60);

/// How often servers are looked at.
const LOOK: Duration = Duration::from_millis(500);

pub(super) struct Action {
    settings: config::Action,
    clients: Clients<Codec>,
    goals: Vec<Goal>,
    known: Known,
    /// One that the server takes after all is canceled, because nobody would hear of it.
    given_up: Vec<GivenUp>,
    /// Since when servers of goals are away, by client.
    away: HashMap<u64, Instant>,
    /// Clients whose server may be another one than before, which has to be asked for results again.
    changed: HashSet<u64>,
    looked: Option<Instant>,
    answers: Answers,
}

/// Why a request is not done.
struct Refusal {
    asker: Asker,
    status: GoalStatus,
    detail: Detail,
}

impl Action {
    pub fn new(settings: config::Action, health: Arc<RequestHealth>) -> Action {
        let clients = Clients::new(&settings.action, &settings.type_name);
        use GoalStatus::{Aborted, Accepted, Canceled, Canceling, Malformed, Rejected, Succeeded, Unavailable};
        let outcomes = [Accepted, Rejected, Canceling, Succeeded, Canceled, Aborted, Unavailable, Malformed];
        let others = [DUPLICATE, NOT_CANCELED, FEEDBACK, LOST];
        health.outcomes().expect(outcomes.map(GoalStatus::label).into_iter().chain(others));
        let (goals, known, given_up, answers) = (Vec::new(), Known::default(), Vec::new(), Answers::new(health));
        let (away, changed, looked) = (HashMap::new(), HashSet::new(), None);
        Action { settings, clients, goals, known, given_up, away, changed, looked, answers }
    }

    /// Does what has come asks for, or says why not.
    fn request(&mut self, arrival: &Arrival, outside: &Outside, now: Instant) -> Result<(), Box<Refusal>> {
        let (received, reply, feedback) = (received(arrival), self.settings.reply(), self.settings.feedback());
        let asker = |identity| Asker::of(arrival, identity, &reply);
        let refusal = |identity, status, detail| Box::new(Refusal { asker: asker(identity), status, detail });
        let Some(codec) = self.clients.callable() else {
            // Nobody can read it, but who has sent it is to know.
            return Err(refusal(received.sender(), GoalStatus::Unavailable, Detail::new(self.clients.absence())));
        };
        match ActionRequest::read(&received, &codec.goal) {
            Err(Malformed { identity, detail }) => Err(refusal(identity, GoalStatus::Malformed, detail)),
            Ok(ActionRequest::Goal { identity, key, cdr }) => {
                let listener = Asker::of(arrival, identity.clone(), &feedback);
                if self.known.is_repeat(&key, &arrival.payload, now) {
                    if !self.goals.iter().any(|goal| goal.key == key) {
                        let detail = Detail::new(
                            "this goal has ended in the last ten minutes; take another `id` to set it again",
                        );
                        return Err(refusal(identity, GoalStatus::Rejected, detail));
                    }
                    self.repeat(&key, &asker(identity), outside, now);
                    return Ok(());
                }
                let sent = self.send(key.clone(), (asker(identity.clone()), listener), &cdr, now);
                sent.map_err(|(status, detail)| refusal(identity, status, detail))?;
                self.known.note(key, &arrival.payload, now);
                Ok(())
            }
            Ok(ActionRequest::Cancel { identity, key }) => {
                let canceled = self.cancel(&key, asker(identity.clone()), now);
                canceled.map_err(|detail| refusal(identity, GoalStatus::Unavailable, detail))
            }
        }
    }

    fn send(&mut self, key: Key, askers: (Asker, Asker), cdr: &[u8], now: Instant) -> Result<(), (GoalStatus, Detail)> {
        if self.goals.iter().any(|goal| goal.key == key) {
            return Err((GoalStatus::Rejected, Detail::new("a goal with this id is under way")));
        }
        let unavailable = |detail| (GoalStatus::Unavailable, detail);
        if self.goals.len() >= MOST_GOALS {
            return Err(unavailable(Detail::new(format_args!("{MOST_GOALS} goals are under way already"))));
        }
        let Some(client) = self.clients.available() else {
            return Err(unavailable(Detail::new(self.clients.absence())));
        };
        let id = GoalId::random();
        let number = client.of.send_goal.call(&id.with(cdr)).map_err(|error| unavailable(Detail::new(error)))?;
        self.goals.push(Goal::sent(key, id, askers, client.id, Stage::Sent { number, until: now + ACCEPTANCE }));
        Ok(())
    }

    /// The same goal has come a second time. Where it is under way, it is told how it stands.
    fn repeat(&mut self, key: &Key, asker: &Asker, outside: &Outside, now: Instant) {
        self.answers.count_repeat(asker, now);
        let accepted = |goal: &&Goal| goal.key == *key && matches!(goal.stage, Stage::Accepted { .. });
        if let Some(goal) = self.goals.iter().find(accepted) {
            let reply = asker.identity.status(goal.standing(), None, None);
            self.answers.send(asker, &reply, REPLY_MAX_AGE, outside, now);
        }
    }

    fn cancel(&mut self, key: &Key, asker: Asker, now: Instant) -> Result<(), Detail> {
        let Some(goal) = self.goals.iter_mut().find(|goal| goal.key == *key) else {
            return Err(Detail::new("no goal with this id is under way"));
        };
        if goal.cancels.len() >= CANCELS {
            return Err(Detail::new("the action server has not answered earlier requests to cancel it"));
        }
        // One that was not accepted yet can't be canceled yet.
        let sent = match (&goal.stage, self.clients.get(goal.client)) {
            (Stage::Accepted { .. }, Some(client)) => {
                let number = client.cancel_goal.call(&goal.id.cancel()).map_err(Detail::new)?;
                Some((number, now + CANCELLATION))
            }
            _ => None,
        };
        goal.cancels.push(Cancel { asker, sent });
        Ok(())
    }

    fn refuse(&mut self, Refusal { asker, status, detail }: Refusal, outside: &Outside, now: Instant) {
        self.answers.ended_badly(status.label(), &detail, &asker, now);
        let reply = asker.identity.status(status, None, Some(&detail));
        self.answers.send(&asker, &reply, REPLY_MAX_AGE, outside, now);
    }

    /// The goal has ended, or nobody will know how. All who have asked are told.
    fn end_goal(
        &mut self,
        at: usize,
        status: GoalStatus,
        result: Option<&[u8]>,
        detail: Option<&Detail>,
        outside: &Outside,
        now: Instant,
    ) {
        let Goal { key, asker, cancels, .. } = self.goals.remove(at);
        if matches!(status, GoalStatus::Rejected | GoalStatus::Unavailable) {
            self.known.forget(&key);
        }
        match status {
            GoalStatus::Succeeded | GoalStatus::Canceled => self.answers.ended_well(status.label(), &asker),
            _ => {
                let words = detail.cloned().unwrap_or_else(|| Detail::new("the action server says so"));
                self.answers.ended_badly(status.label(), &words, &asker, now);
            }
        }
        let reply = |asker: &Asker| {
            let reply = asker.identity.status(status, result, detail);
            if reply.len() > PAYLOAD_LIMIT {
                asker.identity.status(status, None, Some(&super::json::too_large()))
            } else {
                reply
            }
        };
        self.answers.send(&asker, &reply(&asker), END_MAX_AGE, outside, now);
        for cancel in cancels.iter().filter(|cancel| cancel.asker != asker) {
            self.answers.send(&cancel.asker, &reply(&cancel.asker), END_MAX_AGE, outside, now);
        }
    }

    /// Ends the goals that are so.
    fn give_up(&mut self, words: &str, outside: &Outside, now: Instant, is: impl Fn(&Goal) -> bool) {
        let detail = Detail::new(words);
        while let Some(at) = self.goals.iter().position(&is) {
            if let Goal { stage: Stage::Sent { number, .. }, client, id, .. } = self.goals[at] {
                if self.given_up.len() >= MOST_GOALS {
                    self.given_up.remove(0);
                }
                self.given_up.push(GivenUp { client, number, id, until: now + GIVEN_UP });
            }
            self.end_goal(at, GoalStatus::Unavailable, None, Some(&detail), outside, now);
        }
    }

    /// Looks whether the servers of goals are there.
    fn look(&mut self, outside: &Outside, now: Instant) {
        self.answers.stands(self.clients.is_served(), self.clients.trouble());
        let clients: HashSet<u64> = self.goals.iter().map(|goal| goal.client).collect();
        self.away.retain(|client, _| clients.contains(client));
        self.changed.retain(|client| clients.contains(client));
        for client in clients {
            let of = self.clients.get(client);
            if of.is_some_and(|of| Codec::is_available(of).unwrap_or(false)) {
                self.away.remove(&client);
                if self.changed.remove(&client) {
                    let its = self.goals.iter_mut().filter(|goal| goal.client == client);
                    its.for_each(|goal| goal.doubt(now));
                }
                if let Some(of) = self.clients.get(client) {
                    goal::ask_again(&mut self.goals, client, now, |id| of.get_result.call(&id.result()).ok());
                }
                continue;
            }
            self.changed.insert(client);
            let since = *self.away.entry(client).or_insert(now);
            if now.saturating_duration_since(since) >= GONE {
                let words = "the action server is gone; what has become of the goal is not known";
                self.give_up(words, outside, now, |goal| goal.client == client);
            }
        }
    }

    fn send_feedback(&mut self, outside: &Outside, now: Instant) {
        let period = self.settings.feedback_rate.map(period);
        let Some(codec) = self.clients.callable().cloned() else { return };
        for goal in self.goals.iter_mut().filter(|goal| matches!(goal.stage, Stage::Accepted { .. })) {
            let Some(cdr) = goal.feedback.take(period, now) else { continue };
            match codec.feedback(&cdr) {
                Ok(json) => {
                    let payload = goal.listener.identity.feedback(&json);
                    self.answers.send(&goal.listener, &payload, FEEDBACK_MAX_AGE, outside, now);
                }
                Err(detail) => self.answers.ended_badly(FEEDBACK, &detail, &goal.asker, now),
            }
        }
    }
}

impl Handler for Action {
    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription { filter: self.settings.mqtt.clone(), qos: Qos::AtLeastOnce }]
    }

    fn arrived(&mut self, arrival: Arrival, outside: &Outside, now: Instant) {
        if let Err(refusal) = self.request(&arrival, outside, now) {
            self.refuse(*refusal, outside, now);
        }
        arrival.taken();
    }

    fn turn(&mut self, outside: &Outside, now: Instant) {
        let Action { clients, goals, given_up, .. } = self;
        given_up.retain(|given_up| given_up.until > now);
        clients.follow(outside, now, |id| {
            goals.iter().any(|goal| goal.client == id) || given_up.iter().any(|given_up| given_up.client == id)
        });
        self.take_news(outside, now);
        if self.looked.is_none_or(|looked| now.saturating_duration_since(looked) >= LOOK) {
            self.looked = Some(now);
            self.look(outside, now);
        }
        let words = "the action server does not say whether it takes the goal; if it does later, the goal is canceled";
        self.give_up(words, outside, now, |goal| matches!(goal.stage, Stage::Sent { until, .. } if until <= now));
        self.answer_late_cancels(outside, now);
        self.send_feedback(outside, now);
    }

    fn wake_at(&self) -> Option<Instant> {
        let now = Instant::now();
        let due = |goal: &Goal| match goal.stage {
            Stage::Sent { until, .. } => Some(until),
            Stage::Accepted { .. } => goal.feedback.due(now),
        };
        self.goals.iter().filter_map(due).min()
    }

    fn end(&mut self, outside: &Outside, now: Instant) {
        let words =
            "the bridge stops, or its configuration has changed; the goal goes on, and its end will not be told";
        self.give_up(words, outside, now, |_| true);
    }
}
