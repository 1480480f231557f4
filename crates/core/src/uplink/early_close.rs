//! Tells a client id used twice from other reasons to be disconnected.
//!
//! MQTT 3.1.1 has no word for it: a broker closes the older of two connections with one client id without saying why.
//! The two then take turns, each accepted and closed again. A single such close proves nothing; several in a row do,
//! if the publishes in flight do not explain them. A publish that the broker does not take closes the connection before
//! anything after it is acknowledged, and being sent first on the next connection it closes that one without any PUBACK;
//! [`super::suspects`] finds out which it is.
//!
//! What tells it from a link that breaks is how long the connections live. Whoever is thrown out by another client comes
//! back within a second or two, as the other does in turn, so no connection lives for [`SHORT`]. A link that holds for
//! longer than that at a time is no such fight. Once one of the two has recognised it, it stays away for half of `max` to
//! `max` ([`super::backoff`]): the other's connection then lives for as long, which is the second thing that no link does
//! by chance after several short lives.

use std::time::Duration;

use super::backoff::{Cause, GOOD, MIN_SPACING};
use crate::mqtt::{Fault, FaultKind};

/// A connection that lives for less is short. The longest life in a fight of two clients with one client id is the
/// other's wait: at most twice `initial` (1 s by default), and a second more if its first attempt came within the second in
/// which AWS IoT Core takes one CONNECT of a client id.
pub const SHORT: Duration = Duration::from_secs(4);

/// Connections in a row that have to be short before a client id used twice is named as the usual cause.
const SUSPICIOUS: u32 = 5;

/// Short ones in a row after which one that lasted as long as the other client stays away does not end the row.
const LIKELY: u32 = 2;

/// How long a connection takes, which comes on top of the other client's wait.
const CONNECTING: Duration = Duration::from_secs(10);

/// How a connection went that the broker had accepted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Course {
    pub lasted: Duration,
    /// PUBACKs that came.
    pub acknowledged: u64,
    /// Publishes without a PUBACK when it ended.
    pub in_flight: usize,
    /// How long after the CONNACK the last PUBACK came.
    pub last_puback: Option<Duration>,
}

impl Course {
    /// Whether PUBACKs came for [`GOOD`].
    pub fn is_good(&self) -> bool {
        self.last_puback.is_some_and(|after| after >= GOOD)
    }
}

/// Counts connections that were closed early and for no visible reason.
#[derive(Debug)]
pub(super) struct EarlyCloses {
    /// Longest wait of a client that has recognised another.
    max: Duration,
    unexplained: u32,
}

impl EarlyCloses {
    /// `max` is `mqtt.reconnect.max`, of the other client as well.
    pub fn new(max: Duration) -> Self {
        EarlyCloses { max, unexplained: 0 }
    }

    /// An attempt failed before the broker accepted it: what follows is no row of accepted connections. A close without a
    /// CONNACK changes nothing: that is what the other client's CONNECT less than a second before leads to.
    pub fn attempt_failed(&mut self, kind: FaultKind) {
        if !self.is_contested() && kind != FaultKind::Closed {
            self.unexplained = 0;
        }
    }

    /// Whether another client seems to have the same client id.
    pub fn is_contested(&self) -> bool {
        self.unexplained >= SUSPICIOUS
    }

    /// Why the last connection ended, as the next wait depends on it. `explained` says whether a publish is the reason.
    pub fn cause(&self, explained: bool) -> Cause {
        match self.unexplained {
            SUSPICIOUS.. => Cause::Contested,
            0 if !explained => Cause::Lasting,
            _ => Cause::Passing,
        }
    }

    /// The last connection was closed over a publish, `certain` or as it seems. It lasted for `lasted`: another client,
    /// which has to leave a second between its CONNECT and ours, is not that quick.
    pub fn explained(&mut self, certain: bool, lasted: Duration) {
        if certain || lasted < MIN_SPACING / 2 {
            self.unexplained = 0;
        }
    }

    /// A connection stands for so long already.
    pub fn stands(&mut self, lasted: Duration) {
        if lasted >= if self.unexplained >= LIKELY { self.max + CONNECTING } else { SHORT } {
            self.unexplained = 0;
        }
    }

    /// A connection ended by `fault`. Returns the fault, said better if the row of closes allows.
    pub fn connection_ended(&mut self, course: Course, fault: Fault, client_id: &str) -> Fault {
        if fault.kind == FaultKind::TakenOver {
            // MQTT 5 has a word for it: there is nothing to guess.
            self.unexplained = self.unexplained.max(SUSPICIOUS);
            return fault;
        }
        let explained = course.in_flight > 0 && course.acknowledged == 0;
        let other_stayed_away = self.max / 2..=self.max + CONNECTING;
        let fits = course.lasted < SHORT || self.unexplained >= LIKELY && other_stayed_away.contains(&course.lasted);
        if fault.kind != FaultKind::Closed || !fits || explained && !self.is_contested() {
            self.unexplained = 0;
            return fault;
        }
        self.unexplained += 1;
        if !self.is_contested() {
            return fault;
        }
        Fault::new(
            FaultKind::TakenOver,
            format!(
                "{} connections in a row were closed soon after the broker had accepted them; the usual cause is \
                 another client with the client id {client_id}, else a link that breaks",
                self.unexplained
            ),
        )
    }
}

#[cfg(test)]
mod tests;
