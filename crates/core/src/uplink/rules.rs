//! What outlives a connection and decides what may be sent on the next.

use std::collections::BTreeMap;
use std::time::Instant;

use super::connection_log;
use super::outgoing::Contention;
use super::pacer::Pacer;
use super::suspects::{FORGOTTEN, Suspects};
use crate::config::Mqtt;
use crate::mqtt::client::{Failure, Reason};
use crate::mqtt::{Fault, FaultKind};
use crate::queue::Route;
use crate::tally::Repeat;

#[derive(Debug)]
pub(super) struct Rules {
    pub pacer: Pacer,
    pub suspects: Suspects,
    pub contention: Contention,
    /// The broker has taken offence at a topic alias.
    pub without_aliases: bool,
    /// What was said of topics of which the broker will never take a publish: see [`complaint`].
    pub never_taken: BTreeMap<String, Repeat>,
    /// What was said of topics of which the broker does not take a batch.
    pub no_batches: BTreeMap<String, Repeat>,
}

impl Rules {
    pub fn new(mqtt: &Mqtt) -> Self {
        Rules {
            pacer: Pacer::new(&mqtt.quotas),
            suspects: Suspects::new(mqtt.reconnect.stable_after),
            contention: Contention::default(),
            without_aliases: false,
            never_taken: BTreeMap::new(),
            no_batches: BTreeMap::new(),
        }
    }

    /// A connection has ended with `failure`, which means `fault`.
    pub fn failed(&mut self, failure: &Failure, fault: &Fault, now: Instant) {
        if let Failure::Disconnected(answer) = failure
            && answer.reason == Reason::TOPIC_ALIAS_INVALID
        {
            self.without_aliases = true;
        }
        if fault.kind == FaultKind::QuotaExceeded && self.pacer.throttle.refused(now) {
            connection_log::log_slowed();
        }
    }

    /// A connection has ended, and the queue has taken its records back.
    pub fn connection_ended(&mut self, now: Instant) {
        self.pacer.connection_ended(now);
        self.suspects.connection_ended();
    }

    /// Forgets topics of which nothing was heard for long. To be called now and then.
    pub fn expire(&mut self, now: Instant) {
        self.suspects.expire(now);
        let repeats = [&mut self.never_taken, &mut self.no_batches];
        repeats.into_iter().for_each(|repeats| repeats.retain(|_, repeat| !repeat.is_over(now, FORGOTTEN)));
    }
}

/// What was said in `said` of publishes of `route` to `topic`. Of all replies together: senders choose their topics.
pub(super) fn complaint<'a>(said: &'a mut BTreeMap<String, Repeat>, route: &Route, topic: &str) -> &'a mut Repeat {
    let of = if route.packing.is_of_replies() { "replies" } else { topic };
    said.entry(of.to_owned()).or_default()
}
