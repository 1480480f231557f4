//! Tells a client id used twice from other reasons to be disconnected.
//!
//! MQTT 3.1.1 has no word for it: a broker closes the older of two connections with one client id without saying why.
//! The two then take turns, each accepted and closed again. A single such close proves nothing; several in a row do,
//! if the publishes in flight do not explain them. A publish that the broker does not take closes the connection before
//! anything after it is acknowledged, and being sent first on the next connection it closes that one without any PUBACK;
//! [`super::suspects`] finds out which it is.

use std::time::Duration;

use super::fault::{Fault, FaultKind};

/// Connections in a row that have to be closed early before a client id used twice is named as the usual cause.
const SUSPICIOUS: u32 = 5;

/// Closes in a row after which also a connection that was stable does not end the row, but only one that lasted
/// [`CALM`] times as long: of two clients one comes to know first, backs off, and leaves the other alone for a while.
const LIKELY: u32 = 2;
const CALM: u32 = 10;

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
}

impl EarlyCloses {
    pub fn new(stable_after: Duration) -> Self {
        EarlyCloses { stable_after, unexplained: 0 }
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

    /// Whether a connection that has lasted so long shows that nobody else wants it.
    pub fn is_calm(&self, lasted: Duration) -> bool {
        lasted >= if self.unexplained >= LIKELY { self.stable_after * CALM } else { self.stable_after }
    }

    /// The last connection was closed over a publish.
    pub fn explained(&mut self) {
        self.unexplained = 0;
    }

    /// A connection stands for so long already.
    pub fn stands(&mut self, lasted: Duration) {
        if self.is_calm(lasted) {
            self.unexplained = 0;
        }
    }

    /// A connection ended by `fault`. Answers the fault, said better if the row of closes allows.
    pub fn connection_ended(&mut self, course: Course, fault: Fault, client_id: &str) -> Fault {
        if fault.kind == FaultKind::TakenOver {
            // MQTT 5 has a word for it: there is nothing to guess.
            self.unexplained = self.unexplained.max(SUSPICIOUS);
            return fault;
        }
        let explained = course.in_flight > 0 && course.acknowledged == 0;
        if fault.kind != FaultKind::Closed || self.is_calm(course.lasted) || explained && !self.is_contested() {
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
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::config::Reconnect;
    use crate::uplink::backoff::Backoff;

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

    /// A connection that was stable breaks a row of one, one that was calm any, and one that was closed over what was in
    /// flight as well.
    #[test]
    fn other_closes_are_not_mistaken_for_it() {
        let stable = Course { lasted: Duration::from_secs(30), ..CLOSED };
        let calm = Course { lasted: Duration::from_secs(300), ..CLOSED };
        let forbidden = Course { in_flight: 3, ..CLOSED };
        for row in [&[CLOSED, stable].repeat(6), &[CLOSED, CLOSED, stable, CLOSED, calm].repeat(3)] {
            assert!(kinds(row).iter().all(|&kind| kind == FaultKind::Closed));
        }
        assert!(
            kinds(&[CLOSED, CLOSED, CLOSED, CLOSED, forbidden, forbidden, forbidden, forbidden, forbidden])
                .iter()
                .all(|&kind| kind == FaultKind::Closed)
        );
    }

    /// What the broker says in so many words is believed at once, and until a connection has lasted.
    #[test]
    fn a_broker_that_says_it_is_believed() {
        let mut closes = EarlyCloses::new(Duration::from_secs(30));
        let fault = Fault::new(FaultKind::TakenOver, "another client has connected".into());
        assert_eq!(closes.connection_ended(CLOSED, fault.clone(), "robot1"), fault);
        assert!(closes.is_contested());
        closes.stands(Duration::from_secs(299));
        assert!(closes.is_contested());
        closes.stands(Duration::from_secs(300));
        assert!(!closes.is_contested());
    }

    /// Two clients with one client id and the default times, over five minutes: both come to say so, and connect fewer
    /// than 30 times together.
    #[test]
    fn two_clients_with_one_client_id_do_not_fight() {
        let reconnect = Reconnect {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(120),
            stable_after: Duration::from_secs(30),
        };
        for _ in 0..300 {
            let start = Instant::now();
            let client = || (EarlyCloses::new(reconnect.stable_after), Backoff::try_new(&reconnect).unwrap(), start);
            let mut clients = [client(), client()];
            let (mut connects, mut connected, mut said) = (0, None::<(usize, Instant)>, [false; 2]);
            let mut last = None::<Instant>;
            loop {
                let next = (0..2).filter(|client| connected.is_none_or(|(holder, _)| holder != *client));
                let next = next.min_by_key(|client| clients[*client].2).expect("at most one is connected");
                let now = clients[next].2;
                if now >= start + Duration::from_secs(300) {
                    break;
                }
                connects += 1;
                clients[next].1.attempted(now);
                // The broker takes one CONNECT a second of a client id.
                if last.replace(now).is_some_and(|last| now - last < Duration::from_secs(1)) {
                    clients[next].0.attempt_failed(FaultKind::Closed);
                    clients[next].2 = clients[next].1.next_attempt(now);
                    continue;
                }
                if let Some((holder, since)) = connected.replace((next, now)) {
                    let (closes, backoff, at) = &mut clients[holder];
                    let course = Course { lasted: now - since, ..CLOSED };
                    let fault = Fault::new(FaultKind::Closed, "the broker closed the connection".into());
                    said[holder] |= closes.connection_ended(course, fault, "robot1").kind == FaultKind::TakenOver;
                    backoff.connection_ended(course.lasted, closes.is_contested());
                    *at = backoff.next_attempt(now);
                }
            }
            assert_eq!(said, [true; 2]);
            assert!(connects < 30, "{connects}");
        }
    }
}
