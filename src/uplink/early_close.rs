//! Tells a client id used twice from other reasons to be disconnected.
//!
//! MQTT 3.1.1 has no word for it: a broker closes the older of two connections with one client id without saying why.
//! The two then take turns, each accepted and closed again. A single such close proves nothing; several in a row do,
//! if the publishes in flight do not explain them. A publish that the broker does not take (a topic that the policy
//! forbids) closes the connection before anything after it is acknowledged, and being sent first on the next
//! connection it closes that one without any PUBACK.

use std::time::Duration;

use super::fault::{Fault, FaultKind};

/// Connections in a row that have to be closed early before a client id used twice is named as the usual cause.
const SUSPICIOUS: u32 = 5;

/// How a connection went that the broker had accepted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Course {
    pub lasted: Duration,
    /// PUBACKs that came.
    pub acknowledged: u64,
    /// Publishes without a PUBACK when it ended.
    pub in_flight: usize,
}

/// Counts connections that were closed early and for no visible reason.
#[derive(Debug)]
pub(super) struct EarlyCloses {
    stable_after: Duration,
    unexplained: u32,
    without_ack: u32,
}

impl EarlyCloses {
    pub fn new(stable_after: Duration) -> Self {
        EarlyCloses { stable_after, unexplained: 0, without_ack: 0 }
    }

    /// An attempt failed before the broker accepted it: what follows is no row of accepted connections.
    pub fn attempt_failed(&mut self) {
        (self.unexplained, self.without_ack) = (0, 0);
    }

    /// A connection ended by `fault`. Answers the fault, said better if the row of closes allows.
    pub fn connection_ended(&mut self, course: Course, fault: Fault, client_id: &str) -> Fault {
        if fault.kind != FaultKind::Closed || course.lasted >= self.stable_after {
            (self.unexplained, self.without_ack) = (0, 0);
            return fault;
        }
        if course.in_flight > 0 && course.acknowledged == 0 {
            self.unexplained = 0;
            self.without_ack += 1;
            if self.without_ack >= SUSPICIOUS {
                return Fault::new(
                    FaultKind::Closed,
                    format!(
                        "the broker closed the connection again before any PUBACK, with {} publishes in flight; \
                         a topic that its policy does not allow is the usual cause",
                        course.in_flight
                    ),
                );
            }
            return fault;
        }
        self.without_ack = 0;
        self.unexplained += 1;
        if self.unexplained < SUSPICIOUS {
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
mod tests {
    use super::*;

    const CLOSED: Course = Course { lasted: Duration::from_secs(2), acknowledged: 0, in_flight: 0 };

    fn kinds(courses: &[Course]) -> Vec<FaultKind> {
        let mut closes = EarlyCloses::new(Duration::from_secs(30));
        let fault = Fault::new(FaultKind::Closed, "the broker closed the connection".into());
        courses.iter().map(|&course| closes.connection_ended(course, fault.clone(), "robot1").kind).collect()
    }

    /// Five early closes in a row that no publish explains.
    #[test]
    fn a_client_id_used_twice_is_recognised() {
        let busy = Course { acknowledged: 5, in_flight: 80, ..CLOSED };
        assert_eq!(
            kinds(&[CLOSED, busy, CLOSED, busy, CLOSED, busy])[3..],
            [FaultKind::Closed, FaultKind::TakenOver, FaultKind::TakenOver]
        );
    }

    /// A connection that was stable, or closed over what was in flight, breaks the row.
    #[test]
    fn other_closes_are_not_mistaken_for_it() {
        let stable = Course { lasted: Duration::from_secs(30), ..CLOSED };
        let forbidden = Course { in_flight: 3, ..CLOSED };
        assert!(
            kinds(&[CLOSED, CLOSED, CLOSED, CLOSED, stable, CLOSED, CLOSED, CLOSED, CLOSED])
                .iter()
                .all(|&kind| kind == FaultKind::Closed)
        );
        assert!(
            kinds(&[CLOSED, CLOSED, CLOSED, CLOSED, forbidden, forbidden, forbidden, forbidden, forbidden])
                .iter()
                .all(|&kind| kind == FaultKind::Closed)
        );
    }

    /// A publish that closes every connection is named as such.
    #[test]
    fn a_forbidden_topic_is_hinted_at() {
        let mut closes = EarlyCloses::new(Duration::from_secs(30));
        let fault = Fault::new(FaultKind::Closed, "the broker closed the connection".into());
        let forbidden = Course { in_flight: 3, ..CLOSED };
        let last = (0..SUSPICIOUS).map(|_| closes.connection_ended(forbidden, fault.clone(), "robot1")).last().unwrap();
        assert!(last.sentence.contains("a topic that its policy does not allow"), "{}", last.sentence);
    }
}
