//! A command: an MQTT topic whose messages are published on a ROS topic.
//!
//! [`Gate`] judges what comes, [`Outlet`] publishes it. Both are there once the type can be loaded, which is tried again while it
//! can't be; until then commands are `unavailable`. Loading, looking at the ROS graph and making publishers may take a while, so
//! that is done on another thread ([`Opening`]). Here is only what takes microseconds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::answers::{REPLY_MAX_AGE, received};
use super::opening::{Opened, Opening};
use super::trouble::{News, Trouble, joined};
use super::{Handler, Outside, Reply, ReplyTo};
use crate::health::{RequestHealth, Standing};
use crate::ros::{Node, NotPublished, Outlet, Reach};
use iot_bridge_core::config;
use iot_bridge_core::mqtt::client::{Arrival, Properties};
use iot_bridge_core::requests::{Gate, Identity, Reason, Refused};
use iot_bridge_core::tally::{ONCE_A_MINUTE, Repeat};
use iot_bridge_core::time_of_day;
use iot_bridge_core::uplink::Subscription;

/// As metrics name a command that was published.
const ACCEPTED: &str = "accepted";

/// How soon the message of `on_silence` is tried again if it could not be published.
const RETRY: Duration = Duration::from_millis(20);

/// How long it is tried so often. After that each turn tries it.
const RETRIES: Duration = Duration::from_secs(10);

/// What commands are judged and published with.
struct Open {
    gate: Gate,
    outlet: Arc<Outlet>,
}

/// A message of `on_silence` that could not be published.
struct Unsent {
    cdr: Vec<u8>,
    since: Instant,
    tried: Instant,
}

pub(super) struct Command {
    settings: Arc<config::Command>,
    health: Arc<RequestHealth>,
    opening: Opening<Open>,
    open: Option<Open>,
    /// What `on_silence` has handed out and could not be published.
    unsent: Option<Unsent>,
    refused: [Repeat; Reason::ALL.len()],
    silences: Repeat,
    failed: Repeat,
    /// What keeps commands from being published.
    missing: Trouble,
    /// Who does not get them, and why.
    unreached: Trouble,
}

impl Command {
    pub fn new(settings: config::Command, health: Arc<RequestHealth>) -> Command {
        health.outcomes().expect(Reason::ALL.map(Reason::label).into_iter().chain([ACCEPTED]));
        Command {
            settings: Arc::new(settings),
            health,
            opening: Opening::default(),
            open: None,
            unsent: None,
            refused: Default::default(),
            silences: Repeat::default(),
            failed: Repeat::default(),
            missing: Trouble::default(),
            unreached: Trouble::default(),
        }
    }

    /// Judges and publishes what has come. Returns the reply, and whom it answers.
    fn take(&mut self, arrival: &Arrival, now: Instant) -> Result<Identity, Refused> {
        let received = received(arrival);
        let Some(Open { gate, outlet }) = &mut self.open else {
            let why = self.opening.trouble().unwrap_or("the bridge has just started");
            return Err(Refused::without_gate(&received, self.settings.payload, why));
        };
        let accepted = gate.judge(&received, now, time_of_day::now())?;
        match outlet.publish(accepted.cdr()) {
            Ok(_) => {
                self.unsent = None;
                Ok(accepted.published())
            }
            Err(NotPublished::Nobody) => {
                Err(accepted.unavailable(&format!("nobody subscribes to {}", self.settings.ros)))
            }
            Err(error) => Err(accepted.unavailable(&error.to_string())),
        }
    }

    fn reply(&self, properties: &Properties, payload: &[u8], outside: &Outside, now: Instant) {
        match ReplyTo::of(properties, self.settings.reply.as_deref()) {
            Ok(None) => {}
            Ok(Some(to)) => {
                outside.replies.send(Reply { of: &self.settings.mqtt, to: &to, payload, max_age: REPLY_MAX_AGE }, now);
            }
            Err(fault) => tracing::debug!("A command of {} gets no reply: {fault}.", self.settings.mqtt),
        }
    }

    /// Counts what was refused, and says so once a minute for each reason.
    fn note_refused(&mut self, refused: &Refused, now: Instant) {
        let Refused { identity, reason, detail } = refused;
        let (mqtt, label) = (&self.settings.mqtt, reason.label());
        let total = self.health.refused(label, detail.as_str(), identity.shown());
        if self.refused[*reason as usize].due(now, ONCE_A_MINUTE).is_some() {
            tracing::warn!(
                command = mqtt,
                reason = label,
                total,
                "A command of {mqtt} was refused as {label}: {detail} ({total} so far)."
            );
        }
    }

    /// Publishes what `on_silence` says, if no further command has come for so long.
    fn stop_if_silent(&mut self, now: Instant) {
        let Some(Open { gate, outlet }) = &mut self.open else { return };
        if let Some(cdr) = gate.silence_due(now) {
            self.unsent = Some(Unsent { cdr: cdr.to_vec(), since: now, tried: now });
            if self.silences.due(now, ONCE_A_MINUTE).is_some() {
                let (mqtt, ros) = (&self.settings.mqtt, &self.settings.ros);
                tracing::info!(
                    command = mqtt,
                    "No further command of {mqtt} has come: {ros} gets its message of on_silence."
                );
            }
        }
        let Some(unsent) = &mut self.unsent else { return };
        let Err(error) = outlet.publish_anyway(&unsent.cdr) else {
            self.unsent = None;
            return;
        };
        // It may have taken a while, and the pause is for others.
        unsent.tried = Instant::now().max(now);
        if self.failed.due(now, ONCE_A_MINUTE).is_some() {
            let ros = &self.settings.ros;
            tracing::error!("The message of on_silence could not be published on {ros}, and is tried again: {error}.");
        }
    }

    /// How it stands with ROS, for health and the log.
    fn tell(&mut self, reach: &Reach, now: Instant) {
        let missing = self.opening.trouble().or(reach.forbidden.as_deref()).map(str::to_owned);
        let (mqtt, ros) = (&self.settings.mqtt, &self.settings.ros);
        match self.missing.set(missing, now) {
            Some(News::Wrong(why)) => {
                tracing::error!(command = mqtt, "Commands of {mqtt} are not published on {ros}: {why}.");
            }
            Some(News::Over) => tracing::info!(command = mqtt, "Commands of {mqtt} can be published on {ros} now."),
            None => {}
        }
        match self.unreached.set(joined(&reach.unreached), now) {
            Some(News::Wrong(all)) => {
                tracing::warn!(command = mqtt, "Commands of {mqtt} do not reach everybody on {ros}: {all}.");
            }
            Some(News::Over) => tracing::info!(command = mqtt, "Commands of {mqtt} reach everybody on {ros} now."),
            None => {}
        }
        let trouble: Vec<&str> = self.missing.why().into_iter().chain(self.unreached.why()).collect();
        let trouble = joined(&trouble);
        self.health.stands(Standing { peers: self.open.as_ref().map(|_| reach.subscribers), trouble });
    }
}

impl Handler for Command {
    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription { filter: self.settings.mqtt.clone(), qos: self.settings.qos }]
    }

    fn arrived(&mut self, arrival: Arrival, outside: &Outside, now: Instant) {
        let taken = self.take(&arrival, now);
        let reply = match &taken {
            Ok(identity) => {
                self.health.accepted(ACCEPTED, identity.shown());
                tracing::debug!("A command of {} was published on {}.", self.settings.mqtt, self.settings.ros);
                identity.accepted()
            }
            Err(refused) => {
                self.note_refused(refused, now);
                refused.reply()
            }
        };
        self.reply(&arrival.properties, &reply, outside, now);
        arrival.taken();
    }

    fn turn(&mut self, outside: &Outside, now: Instant) {
        self.stop_if_silent(now);
        let settings = Arc::clone(&self.settings);
        let make = move |nodes: &[_]| Open::new(&settings, nodes);
        if let Some(reach) = self.opening.turn(&mut self.open, make, outside, now) {
            self.tell(&reach, now);
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        let Open { gate, .. } = self.open.as_ref()?;
        let again = self.unsent.as_ref().and_then(Unsent::again_at);
        gate.silence_due_at().into_iter().chain(again).min()
    }

    fn end(&mut self, _outside: &Outside, _now: Instant) {
        let Some(Open { gate, outlet }) = &mut self.open else { return };
        let cdr = gate.take_silence().map(<[u8]>::to_vec).or(self.unsent.take().map(|unsent| unsent.cdr));
        if let Some(cdr) = cdr
            && let Err(error) = outlet.publish_anyway(&cdr)
        {
            tracing::error!("The message of on_silence could not be published on {}: {error}.", self.settings.ros);
        }
    }

    fn settle(&mut self, patience: Duration) {
        if let Some(Open { outlet, .. }) = &self.open {
            outlet.flush(patience);
        }
    }
}

impl Unsent {
    /// When it is tried again, unless that is done by the next turn.
    fn again_at(&self) -> Option<Instant> {
        (self.tried.saturating_duration_since(self.since) < RETRIES).then(|| self.tried + RETRY)
    }
}

impl Open {
    fn new(settings: &config::Command, nodes: &[Arc<Node>]) -> anyhow::Result<Open> {
        let outlet = Outlet::create(nodes, &settings.ros, &settings.type_name)?;
        let defaults = outlet.type_support().defaults()?;
        let gate = Gate::new(settings, outlet.type_support().schema(), &defaults)
            .with_context(|| format!("it does not fit {}", settings.type_name))?;
        Ok(Open { gate, outlet: Arc::new(outlet) })
    }
}

impl Opened for Open {
    fn outlet(&self) -> &Arc<Outlet> {
        &self.outlet
    }
}

#[cfg(test)]
mod tests;
