use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::config::Reconnect;
use crate::uplink::backoff::{Backoff, MIN_SPACING};

const CLOSED: Course = Course { lasted: Duration::from_secs(2), acknowledged: 0, in_flight: 0, last_puback: None };

const SECOND: Duration = Duration::from_secs(1);

/// The defaults.
const RECONNECT: Reconnect =
    Reconnect { initial: SECOND, max: Duration::from_secs(120), stable_after: Duration::from_secs(30) };

fn closed() -> Fault {
    Fault::new(FaultKind::Closed, "the broker closed the connection".into())
}

fn kinds(courses: &[Course]) -> Vec<FaultKind> {
    let mut closes = EarlyCloses::new(RECONNECT.max);
    courses.iter().map(|&course| closes.connection_ended(course, closed(), "robot1").kind).collect()
}

fn lasting(seconds: u64) -> Course {
    Course { lasted: Duration::from_secs(seconds), ..CLOSED }
}

/// Five short connections in a row that no publish explains.
#[test]
fn a_client_id_used_twice_is_recognised() {
    let busy = Course { acknowledged: 5, in_flight: 80, ..CLOSED };
    assert_eq!(
        kinds(&[CLOSED, busy, CLOSED, busy, CLOSED, busy])[3..],
        [FaultKind::Closed, FaultKind::TakenOver, FaultKind::TakenOver]
    );
}

/// Of two clients one comes to know first and stays away for a minute or two: the other's long connection is one more of
/// the row.
#[test]
fn a_client_that_stays_away_is_recognised() {
    assert_eq!(kinds(&[CLOSED, CLOSED, CLOSED, lasting(70), lasting(119)])[4], FaultKind::TakenOver);
}

/// A connection that held for longer breaks a row, and so does one that was closed over what was in flight.
#[test]
fn other_closes_are_not_mistaken_for_it() {
    let forbidden = Course { in_flight: 3, ..CLOSED };
    for row in [
        &[CLOSED, lasting(90)].repeat(6),
        &[CLOSED, CLOSED, CLOSED, CLOSED, lasting(5)].repeat(3),
        &[CLOSED, CLOSED, CLOSED, CLOSED, lasting(300)].repeat(3),
        &[lasting(5), lasting(20), lasting(90)].repeat(6),
        &[CLOSED, CLOSED, CLOSED, CLOSED, forbidden, forbidden, forbidden, forbidden, forbidden].to_vec(),
    ] {
        assert!(kinds(row).iter().all(|&kind| kind == FaultKind::Closed), "{row:?}");
    }
}

/// What the broker says in so many words is believed at once, and until a connection has lasted for longer than another
/// client stays away.
#[test]
fn a_broker_that_says_it_is_believed() {
    let mut closes = EarlyCloses::new(RECONNECT.max);
    let fault = Fault::new(FaultKind::TakenOver, "another client has connected".into());
    assert_eq!(closes.connection_ended(CLOSED, fault.clone(), "robot1"), fault);
    assert!(closes.is_contested());
    closes.stands(RECONNECT.max);
    assert!(closes.is_contested());
    closes.stands(RECONNECT.max + CONNECTING);
    assert!(!closes.is_contested());
}

/// What decides when a bridge connects again.
struct Policies {
    closes: EarlyCloses,
    backoff: Backoff,
}

impl Policies {
    fn new(random: &mut StdRng) -> Self {
        let random = StdRng::seed_from_u64(random.r#gen());
        let backoff = Backoff::with_random(&RECONNECT, random).unwrap();
        Policies { closes: EarlyCloses::new(RECONNECT.max), backoff }
    }

    /// A connection of a bridge with data has ended at `now`. Returns when it tries again, and whether it says that
    /// another client has the same client id.
    fn closed(&mut self, lasted: Duration, now: Instant) -> (Instant, bool) {
        let last_puback = Some(lasted.saturating_sub(Duration::from_millis(100)));
        let course = Course { lasted, acknowledged: 1, in_flight: 1, last_puback };
        let fault = self.closes.connection_ended(course, closed(), "robot1");
        self.backoff.connection_ended(lasted, last_puback, self.closes.cause(false));
        (self.backoff.next_attempt(now), fault.kind == FaultKind::TakenOver)
    }

    fn refused(&mut self, now: Instant) -> Instant {
        self.closes.attempt_failed(FaultKind::Closed);
        self.backoff.attempt_failed(true);
        self.backoff.next_attempt(now)
    }
}

/// Two clients with one client id and the default times, over five minutes: both come to say so, and connect fewer
/// than 30 times together. They start together, or the second after the first has had a good connection.
#[test]
fn two_clients_with_one_client_id_do_not_fight() {
    let mut random = StdRng::seed_from_u64(1);
    let mut most = 0;
    for round in 0..2000 {
        let start = Instant::now();
        let later = if round % 2 == 0 { Duration::ZERO } else { random.gen_range(SECOND..100 * SECOND) };
        let mut clients = [Duration::ZERO, later].map(|at| (Policies::new(&mut random), start + at));
        let (mut connects, mut connected, mut said) = (0, None::<(usize, Instant)>, [false; 2]);
        let mut last = None::<Instant>;
        loop {
            let next = (0..2).filter(|client| connected.is_none_or(|(holder, _)| holder != *client));
            let next = next.min_by_key(|client| clients[*client].1).expect("at most one is connected");
            let (policies, at) = &mut clients[next];
            let now = *at;
            if now >= start + later + 300 * SECOND {
                break;
            }
            connects += 1;
            policies.backoff.attempted(now);
            // The broker takes one CONNECT a second of a client id.
            if last.replace(now).is_some_and(|last| now - last < MIN_SPACING) {
                *at = policies.refused(now);
                continue;
            }
            // The connection takes its time.
            let now = now + Duration::from_millis(random.gen_range(10..300));
            if let Some((holder, since)) = connected.replace((next, now)) {
                let (policies, at) = &mut clients[holder];
                let (again, taken_over) = policies.closed(now.saturating_duration_since(since), now);
                (*at, said[holder]) = (again, said[holder] || taken_over);
            }
        }
        assert_eq!(said, [true; 2], "round {round}");
        most = most.max(connects);
    }
    println!("{most} connects at most");
    assert!(most < 30, "{most}");
}

/// The part of `time` that a bridge is connected over a link that holds for as long as `holds` says at a time, and
/// whether it ever blamed another client.
fn connected_part(random: &mut StdRng, time: Duration, holds: impl Fn(&mut StdRng) -> Duration) -> (f64, bool) {
    let (mut policies, start) = (Policies::new(random), Instant::now());
    let (mut at, mut connected, mut blamed) = (start, Duration::ZERO, false);
    while at < start + time {
        policies.backoff.attempted(at);
        let up = at + Duration::from_millis(random.gen_range(50..1000));
        let lasted = holds(random);
        connected += lasted;
        let (again, taken_over) = policies.closed(lasted, up + lasted);
        assert!(again >= at + MIN_SPACING);
        (at, blamed) = (again, blamed || taken_over);
    }
    (connected.as_secs_f64() / (at - start).as_secs_f64(), blamed)
}

/// A link that holds for 20 s at a time is used for more than 80 % of five minutes, one that holds for 5 s for more than
/// 50 %, and nobody is blamed for it; one that holds for 2 s at a time looks like another client.
#[test]
fn a_link_that_holds_for_seconds_is_used() {
    let mut random = StdRng::seed_from_u64(2);
    for (holds, least) in [(20, 0.8), (10, 0.6), (5, 0.5)] {
        let (mut worst, mut sum) = (1.0f64, 0.0);
        for _ in 0..500 {
            let holds = move |random: &mut StdRng| holds * SECOND + Duration::from_millis(random.gen_range(0..100));
            let (part, blamed) = connected_part(&mut random, 300 * SECOND, holds);
            assert!(part >= least && !blamed, "{part} of the time at {least}, blamed: {blamed}");
            (worst, sum) = (worst.min(part), sum + part);
        }
        println!("{holds} s: {:.0} % of the time, {:.0} % at least", sum / 5.0, worst * 100.0);
    }
    let (part, blamed) = connected_part(&mut random, 300 * SECOND, |_| 2 * SECOND);
    assert!(part < 0.2 && blamed, "{part}");
}

/// A link that holds for random times, of 20 s or 5 s on average, is used nearly as much, although half of the latter are so
/// short that another client is blamed now and then.
#[test]
fn a_link_that_holds_for_random_times_is_used() {
    let mut random = StdRng::seed_from_u64(3);
    for (mean, least) in [(20.0, 0.8), (5.0, 0.4)] {
        let holds = move |random: &mut StdRng| Duration::from_secs_f64(-mean * (1.0 - random.r#gen::<f64>()).ln());
        let (part, blamed) = connected_part(&mut random, 24 * 3600 * SECOND, holds);
        println!("{mean} s on average: {:.0} % of a day, blamed: {blamed}", part * 100.0);
        assert!(part >= least, "{part}");
    }
}
