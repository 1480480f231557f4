use std::collections::BTreeSet;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn wanted(filters: &[&str]) -> Vec<Subscription> {
    filters.iter().map(|filter| Subscription { filter: (*filter).into(), qos: Qos::AtMostOnce }).collect()
}

fn filters(names: &[&str]) -> Filters {
    let mut filters = Filters::default();
    assert_eq!(filters.want(&wanted(names)), Vec::<String>::new());
    filters
}

/// Asks for what is next. Returns it; nothing if there is nothing to be asked for.
fn ask(filters: &mut Filters, packet_id: u16, now: Instant) -> Vec<String> {
    let Some(next) = filters.next(now) else { return Vec::new() };
    filters.asked(packet_id, next.clone(), now);
    assert!(filters.is_asking());
    next.into_iter().map(|(filter, _)| filter).collect()
}

fn refused(filter: &str, why: Why, seconds: u64) -> News {
    News::Refused { filter: filter.into(), why, wait: Duration::from_secs(seconds) }
}

/// How a broker does not take a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Closes,
    Says,
}

/// A connection to a broker that does not take `forbidden`, at `now`: asks for all that is to be asked for. Returns whether
/// the connection stands, and what it was asked for.
fn connect(
    filters: &mut Filters,
    forbidden: &BTreeSet<&str>,
    manner: Manner,
    now: Instant,
) -> (bool, Vec<Vec<String>>) {
    let mut asked = Vec::new();
    loop {
        let packet_id = asked.len() as u16 + 1;
        let next = ask(filters, packet_id, now);
        if next.is_empty() {
            return (true, asked);
        }
        asked.push(next.clone());
        if manner == Manner::Closes && next.iter().any(|filter| forbidden.contains(&**filter)) {
            assert_ne!(filters.connection_ended(true, now).0, Blame::None);
            return (false, asked);
        }
        let answer = |filter: &String| match forbidden.contains(&**filter) {
            true => Err(Reason::NOT_AUTHORIZED),
            false => Ok(Qos::AtMostOnce),
        };
        let answers: Vec<_> = next.iter().map(answer).collect();
        filters.answered(packet_id, &answers, now);
        assert!(!filters.is_asking());
    }
}

/// On each connection all is asked for, eight filters at a time, one SUBSCRIBE after the other.
#[test]
fn eight_filters_are_asked_for_at_a_time() {
    let names: Vec<String> = (0..50).map(|number| format!("{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (mut filters, now) = (filters(&names), Instant::now());
    for _ in 0..2 {
        let (stands, asked) = connect(&mut filters, &BTreeSet::new(), Manner::Says, now);
        assert!(stands);
        assert_eq!(asked.iter().map(Vec::len).collect::<Vec<_>>(), [8, 8, 8, 8, 8, 8, 2]);
        assert_eq!(asked.concat(), names);
        assert_eq!(filters.connection_ended(true, now), (Blame::None, Vec::new()), "nothing was under way");
    }
}

/// A filter that is refused in words is asked for again ever more rarely, alone, on the same connection; the others are
/// subscribed to. Once it is granted that is told.
#[test]
fn a_filter_refused_in_words_concerns_itself_alone() {
    let (mut filters, start) = (filters(&["a", "b", "c"]), Instant::now());
    assert_eq!(ask(&mut filters, 1, start), ["a", "b", "c"]);
    let answers = [Ok(Qos::AtMostOnce), Err(Reason::NOT_AUTHORIZED), Ok(Qos::AtMostOnce)];
    let said = Why::Said(Reason::NOT_AUTHORIZED);
    assert_eq!(filters.answered(1, &answers, start), [refused("b", said, 30)]);
    assert_eq!(filters.refused(), ["b"]);
    let mut now = start;
    for (packet_id, (wait, next)) in (2..).zip([(30, 60), (60, 120), (120, 240)]) {
        assert_eq!(filters.next(now + SECOND * (wait - 1)), None);
        now += SECOND * wait;
        assert_eq!(ask(&mut filters, packet_id, now), ["b"]);
        assert_eq!(filters.answered(packet_id, &[Err(Reason::NOT_AUTHORIZED)], now), [refused("b", said, next)]);
    }
    // A new connection is no reason to ask sooner.
    filters.connection_ended(true, now);
    assert_eq!(ask(&mut filters, 1, now), ["a", "c"]);
    filters.answered(1, &[Ok(Qos::AtMostOnce); 2], now);
    now += SECOND * 240;
    assert_eq!(ask(&mut filters, 2, now), ["b"]);
    assert_eq!(filters.answered(2, &[Ok(Qos::AtMostOnce)], now), [News::Granted { filter: "b".into() }]);
    assert_eq!((filters.next(now), filters.refused()), (None, Vec::new()));
}

/// A filter over which the broker closes the connection is found by three closes; then the others are subscribed to, and
/// what is asked for again is asked for last and rarely.
#[test]
fn a_filter_that_closes_the_connection_is_found() {
    let (mut filters, now) = (filters(&["a", "b", "c"]), Instant::now());
    let forbidden = BTreeSet::from(["b"]);
    let mut connect = |now| connect(&mut filters, &forbidden, Manner::Closes, now);
    assert_eq!(connect(now), (false, vec![vec!["a".into(), "b".into(), "c".into()]]));
    assert_eq!(connect(now), (false, vec![vec!["a".into()], vec!["b".into()]]));
    assert_eq!(connect(now), (false, vec![vec!["a".into()], vec!["c".into()], vec!["b".into()]]));
    assert_eq!(connect(now), (true, vec![vec!["a".into(), "c".into()]]));
    assert_eq!(filters.refused(), ["b"]);
    assert_eq!(filters.next(now + SECOND * 599), None);
    let now = now + SECOND * 600;
    assert_eq!(ask(&mut filters, 9, now), ["b"]);
    assert_eq!(filters.connection_ended(true, now), (Blame::Certain, vec![refused("b", Why::Closes, 1200)]));
    assert_eq!(ask(&mut filters, 1, now), ["a", "c"]);
}

/// However many filters are forbidden, in either manner, each is found by at most three closes, and the others are
/// subscribed to in the end.
#[test]
fn every_forbidden_filter_is_found() {
    let names: Vec<String> = (0..20).map(|number| format!("{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for manner in [Manner::Closes, Manner::Says] {
        for step in 1..=20 {
            let (mut filters, now) = (filters(&names), Instant::now());
            let forbidden: BTreeSet<&str> = names.iter().copied().step_by(step).collect();
            let mut closes = 0;
            while !connect(&mut filters, &forbidden, manner, now).0 {
                closes += 1;
            }
            let most = if manner == Manner::Closes { forbidden.len() * 3 } else { 0 };
            assert!(closes <= most, "{closes} closes for {} filters", forbidden.len());
            assert_eq!(filters.refused(), forbidden.iter().copied().collect::<Vec<_>>());
        }
    }
}

/// A connection that ends otherwise while a SUBSCRIBE is under way, or is closed while none is, says nothing of filters; a
/// filter that is granted in between is cleared.
#[test]
fn links_that_break_set_nothing_aside() {
    let (mut filters, now) = (filters(&["a"]), Instant::now());
    for _ in 0..10 {
        ask(&mut filters, 1, now);
        assert_eq!(filters.connection_ended(false, now), (Blame::None, Vec::new()));
    }
    for _ in 0..10 {
        for closes in 0..3 {
            assert_eq!(ask(&mut filters, 1, now), ["a"]);
            if closes < 2 {
                assert_eq!(filters.connection_ended(true, now), (Blame::Likely, Vec::new()));
            }
        }
        assert_eq!(filters.answered(1, &[Ok(Qos::AtMostOnce)], now), []);
        filters.connection_ended(true, now);
    }
    assert_eq!(filters.refused(), Vec::<String>::new());
}

/// A broker that does not answer holds nothing up for longer than five seconds; what it says later still counts.
#[test]
fn a_broker_that_does_not_answer_is_not_waited_for() {
    let (mut filters, now) = (filters(&["a", "b"]), Instant::now());
    ask(&mut filters, 1, now);
    assert_eq!(filters.tick(now + SECOND * 4), []);
    let now = now + SECOND * 5;
    assert_eq!(filters.tick(now), [refused("a", Why::Silent, 30), refused("b", Why::Silent, 30)]);
    assert_eq!((filters.is_asking(), filters.next(now)), (false, None));
    let granted = |filter: &str| News::Granted { filter: filter.into() };
    assert_eq!(filters.answered(1, &[Ok(Qos::AtMostOnce); 2], now), [granted("a"), granted("b")]);
    assert_eq!(filters.answered(1, &[Ok(Qos::AtMostOnce); 2], now), [], "nobody has asked");
}

/// Runs one connection for an hour, on which every SUBACK takes `answers_after`, or never comes. Returns the times in which
/// nothing was sent.
fn waits(filters: &mut Filters, answers_after: Option<Duration>, start: Instant) -> Vec<(Instant, Duration)> {
    waits_behind(Duration::ZERO, filters, answers_after, start)
}

/// As [`waits`], where it takes `clears_after` until nothing is in flight.
fn waits_behind(
    clears_after: Duration,
    filters: &mut Filters,
    answers_after: Option<Duration>,
    start: Instant,
) -> Vec<(Instant, Duration)> {
    let (mut waits, mut now, step) = (Vec::new(), start, Duration::from_millis(250));
    let (mut held, mut answers, mut packet_id) = (None, Vec::new(), 0);
    while now < start + Duration::from_secs(3600) {
        filters.tick(now);
        for (packet_id, _, count) in answers.extract_if(.., |(_, due, _): &mut (u16, Instant, usize)| *due <= now) {
            filters.answered(packet_id, &vec![Ok(Qos::AtMostOnce); count], now);
        }
        if !filters.is_asking() {
            let next = filters.next(now);
            filters.hold(next.is_some(), now);
            if let Some((begun, _)) = held.take_if(|(_, asked)| next.is_none() || *asked) {
                waits.push((begun, now - begun));
            }
            if let Some(next) = next {
                let (begun, asked) = held.get_or_insert((now, false));
                if now >= *begun + clears_after {
                    *asked = true;
                    packet_id += 1;
                    answers.extend(answers_after.map(|after| (packet_id, now + after, next.len())));
                    filters.asked(packet_id, next, now);
                }
            }
        }
        now += step;
    }
    waits
}

/// However many filters there are and however the broker answers, telemetry waits for no more than ten seconds in all before it
/// flows, and has at least half of the time from then on.
#[test]
fn waits_for_subacks_are_bounded_for_all_filters_together() {
    let names: Vec<String> = (0..50).map(|number| format!("{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let start = Instant::now();
    let seconds = |waits: &[(Instant, Duration)]| waits.iter().map(|(_, took)| took.as_secs_f64()).sum::<f64>();

    let mut silent = filters(&names);
    let found = waits(&mut silent, None, start);
    assert!(found.iter().all(|(_, took)| *took == SECOND * 5), "{found:?}");
    let gaps: Vec<u64> = found.windows(2).map(|two| (two[1].0 - two[0].0).as_secs() - 5).collect();
    assert_eq!(gaps, [30, 60, 120, 240, 480, 960], "{found:?}");
    assert_eq!(silent.refused(), names, "those that were not asked for are not in force either");
    // Another connection is asked at once, and for no longer.
    silent.connection_ended(true, start + SECOND * 3600);
    assert_eq!(waits(&mut silent, None, start + SECOND * 3600)[0], (start + SECOND * 3600, SECOND * 5));
    silent.connection_ended(true, start + SECOND * 7200);
    // All are asked for as soon as it answers.
    let answered = waits(&mut silent, Some(Duration::ZERO), start + SECOND * 7200);
    assert!(seconds(&answered) < 30.0 && silent.refused().is_empty(), "{answered:?}");

    let mut slow = filters(&names);
    let found = waits(&mut slow, Some(SECOND * 4), start);
    assert_eq!((found.len(), slow.refused()), (7, vec![]), "all are in force");
    let (first, rest) = found.split_at(2);
    assert!(seconds(first) <= 10.0);
    for two in rest.windows(2) {
        assert!(two[1].0 - two[0].0 >= 2 * two[0].1, "{found:?}");
    }

    // Answers that come too late, and what was in flight before.
    for (clears, after) in [(0, 6), (0, 9), (4, 1), (4, 4), (10, 6), (10, 0)] {
        let mut slow = filters(&names);
        let found = waits_behind(SECOND * clears, &mut slow, Some(SECOND * after), start);
        assert_eq!((found.len(), slow.refused()), (7, vec![]), "all are in force");
        for two in found.windows(2).skip_while(|two| two[0].0 + two[0].1 <= start + SECOND * 5) {
            assert!(two[1].0 - two[0].0 >= 2 * two[0].1, "{clears} s, {after} s: {found:?}");
        }
    }

    let mut quick = filters(&names);
    let found = waits(&mut quick, Some(SECOND / 2), start);
    assert_eq!((found.len(), seconds(&found)), (7, 3.5), "{found:?}");
    assert!(found[6].0 - start < SECOND * 6, "one after the other, without a pause");
}

/// A SUBACK that comes late is one: what is left is asked for once telemetry has had as long as it waited.
#[test]
fn a_late_answer_ends_the_pause() {
    let names: Vec<String> = (0..9).map(|number| number.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (mut filters, now) = (filters(&names), Instant::now());
    ask(&mut filters, 1, now);
    filters.tick(now + SECOND * 5);
    assert_eq!(filters.next(now + SECOND * 6), None);
    filters.answered(1, &[Ok(Qos::AtMostOnce); 8], now + SECOND * 6);
    assert_eq!(filters.next(now + SECOND * 9), None);
    assert_eq!(ask(&mut filters, 2, now + SECOND * 10), ["8"]);
}

/// A filter that is wanted twice is one, with the higher QoS, and that it is forbidden is found out all the same.
#[test]
fn a_filter_that_is_wanted_twice_is_one() {
    let twice = [(Qos::AtLeastOnce, "a"), (Qos::AtMostOnce, "a"), (Qos::AtMostOnce, "b")];
    let twice = twice.map(|(qos, filter)| Subscription { filter: filter.into(), qos });
    let (mut filters, now) = (Filters::default(), Instant::now());
    let mut closes = 0;
    loop {
        filters.want(&twice);
        if connect(&mut filters, &BTreeSet::from(["a"]), Manner::Closes, now).0 {
            break;
        }
        closes += 1;
    }
    assert_eq!((closes, filters.refused()), (3, vec!["a".to_owned()]));
    let mut filters = Filters::default();
    filters.want(&twice);
    let both = vec![("a".to_owned(), Qos::AtLeastOnce), ("b".to_owned(), Qos::AtMostOnce)];
    assert_eq!(filters.next(now), Some(both));
}

/// A SUBACK with too few answers refuses the filters that it does not name.
#[test]
fn what_is_not_answered_is_not_granted() {
    let (mut filters, now) = (filters(&["a", "b"]), Instant::now());
    ask(&mut filters, 1, now);
    let news = filters.answered(1, &[Ok(Qos::AtMostOnce)], now);
    assert_eq!(news, [refused("b", Why::Said(Reason::UNSPECIFIED), 30)]);
}

/// What is wanted may change while a connection stands: the new is asked for, and what is gone is told if it was subscribed
/// to. Another QoS is another subscription.
#[test]
fn what_is_wanted_may_change() {
    let (mut filters, now) = (filters(&["a", "b"]), Instant::now());
    ask(&mut filters, 1, now);
    filters.answered(1, &[Ok(Qos::AtMostOnce), Err(Reason::NOT_AUTHORIZED)], now);
    assert_eq!(filters.want(&wanted(&["c"])), ["a"], "b was never granted");
    assert_eq!(ask(&mut filters, 2, now), ["c"]);
    assert_eq!(filters.want(&wanted(&["d"])), Vec::<String>::new());
    assert_eq!(filters.answered(2, &[Ok(Qos::AtMostOnce)], now), [], "nobody wants it any more");
    assert_eq!(ask(&mut filters, 3, now), ["d"]);
    filters.answered(3, &[Ok(Qos::AtMostOnce)], now);
    assert_eq!(filters.want(&wanted(&["d"])), Vec::<String>::new());
    assert_eq!(filters.next(now), None);
    filters.want(&[Subscription { filter: "d".into(), qos: Qos::AtLeastOnce }]);
    assert_eq!(filters.next(now), Some(vec![("d".into(), Qos::AtLeastOnce)]));
}
