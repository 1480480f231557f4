//! Who decides what follows the end of an attempt or of a connection: whether a publish was the reason, whether another
//! client is, when the next attempt begins, and what is worth a line in the log.
//!
//! A connection does not decide: it tells how it has [ended](super::connection::Ended), and is gone.

use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::backoff::{Backoff, InvalidBackoff};
use super::connection::{End, Ended};
use super::connection_log::{self, ConnectionLog, During};
use super::early_close::{Course, EarlyCloses};
use super::filters::Blame;
use super::rules::Rules;
use super::suspects::Close;
use crate::config::Reconnect;
use crate::mqtt::client::Reached;
use crate::mqtt::{Fault, FaultKind};
use crate::queue::Queue;

#[derive(Debug)]
pub(super) struct Recovery {
    backoff: Backoff,
    early_closes: EarlyCloses,
    log: ConnectionLog,
    stable_after: Duration,
}

impl Recovery {
    pub fn try_new(reconnect: &Reconnect) -> Result<Self, InvalidBackoff> {
        Recovery::with_random(reconnect, StdRng::from_entropy())
    }

    /// As [`Recovery::try_new`], with jitter of `random`.
    pub fn with_random(reconnect: &Reconnect, random: StdRng) -> Result<Self, InvalidBackoff> {
        Ok(Recovery {
            backoff: Backoff::with_random(reconnect, random)?,
            early_closes: EarlyCloses::new(reconnect.max),
            log: ConnectionLog::default(),
            stable_after: reconnect.stable_after,
        })
    }

    /// Whether another client seems to have the same client id.
    pub fn is_contested(&self) -> bool {
        self.early_closes.is_contested()
    }

    /// Draws the time of the next attempt, at `now` or later.
    pub fn next_attempt(&mut self, now: Instant) -> Instant {
        self.backoff.next_attempt(now)
    }

    /// When the broker takes another CONNECT.
    pub fn earliest(&self, now: Instant) -> Instant {
        self.backoff.earliest(now)
    }

    /// A CONNECT was sent at `now` at the latest.
    pub fn attempted(&mut self, now: Instant) {
        self.backoff.attempted(now);
    }

    /// An attempt, be it to provision the robot, has got as far as `reached`.
    pub fn attempt_reached(&mut self, reached: &Reached) {
        self.backoff.attempt_reached(reached.connected);
    }

    /// An attempt has failed before the broker accepted it, by a fault of `kind`.
    pub fn attempt_failed(&mut self, kind: FaultKind) {
        self.early_closes.attempt_failed(kind);
        self.backoff.attempt_failed(kind == FaultKind::Closed);
    }

    /// The next attempt has another certificate, or speaks another version of MQTT: what has failed before says nothing of it.
    pub fn begins_anew(&mut self) {
        self.backoff.reset();
    }

    /// The broker has accepted a connection. Returns whether that is worth a line in the log.
    pub fn connected(&mut self) -> bool {
        self.log.connected()
    }

    /// A connection has stood for `lasted`. Returns whether that is worth a line in the log, because it was not when it was
    /// accepted.
    pub fn stands(&mut self, lasted: Duration, rules: &mut Rules) -> bool {
        let is_stable = lasted >= self.stable_after;
        if is_stable {
            rules.suspects.stable();
        }
        self.early_closes.stands(lasted);
        is_stable && self.log.stable()
    }

    /// A connection of `client_id` has ended, perhaps closed `over_filter`: then nothing else was in flight. What it had
    /// taken from `queue` goes back there, but for what the broker will never take. Returns the fault, if it is one, with
    /// what is known of its cause.
    pub fn ended(
        &mut self,
        ended: Ended,
        over_filter: Blame,
        client_id: &str,
        rules: &mut Rules,
        queue: &Queue,
        now: Instant,
    ) -> Option<Fault> {
        let Ended { end, course, outbox } = ended;
        let Course { lasted, last_puback, .. } = course;
        if course.is_good() {
            rules.suspects.was_good();
        }
        let mut is_explained = false;
        if matches!(&end, End::Fault(fault) if fault.is_close()) {
            // Before the leases are taken back.
            let close = Close { lasted, contested: self.is_contested() };
            let (explained, verdict) = outbox.judge(close, &mut rules.suspects, queue, now);
            if explained {
                self.early_closes.explained(verdict.is_some(), lasted);
            }
            if over_filter != Blame::None {
                self.early_closes.explained(over_filter == Blame::Certain, lasted);
            }
            is_explained = explained || over_filter != Blame::None;
        }
        queue.requeue();
        rules.connection_ended(now);
        let End::Fault(fault) = end else {
            self.backoff.reset();
            return None;
        };
        self.log.ended(lasted >= self.stable_after);
        let fault = match is_explained {
            true => fault,
            false => self.early_closes.connection_ended(course, fault, client_id),
        };
        let cause = self.early_closes.cause(is_explained);
        self.backoff.connection_ended(lasted, last_puback, cause);
        Some(fault)
    }

    /// Logs `fault`, if that is news.
    pub fn log(&mut self, fault: &Fault, during: During, now: Instant) {
        if let Some(times) = self.log.fault(fault.kind, now) {
            connection_log::log_fault(fault, during, times);
        }
    }
}
