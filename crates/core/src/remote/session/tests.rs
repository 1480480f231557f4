//! A session against the service that the tests' broker has, over a network that delays, reorders, repeats and loses.

mod random;
mod world;

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::remote::{REPORT_LIMIT, Verdict};
use crate::shadows::tests::network::Ends;
use crate::shadows::tests::service;
use crate::shadows::{ARRIVAL_LIMIT, DOCUMENT_LIMIT};
use world::{NAME, THING, World, report};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn config(version: &str, topic: &str) -> Value {
    json!({"desired": {"version": version, "config": {"topics": [{"ros": topic}]}}})
}

/// The shadow is asked for soon after the start, and at any time within half a minute after a reconnect.
#[test]
fn connects_are_followed_by_a_get_at_a_random_time() {
    let mut thirds = [0; 3];
    for seed in 0..300 {
        let mut world = World::new(seed);
        world.connect();
        let start = world.network.now;
        world.settle(2 * SECOND);
        assert_eq!(world.gets.len(), 1);
        assert!(world.gets[0] - start <= 2 * SECOND);
        world.disconnect();
        world.settle(60 * SECOND);
        world.connect();
        let again = world.network.now;
        world.settle(30 * SECOND);
        assert_eq!(world.gets.len(), 2);
        thirds[((world.gets[1] - again).as_secs() / 10).min(2) as usize] += 1;
    }
    assert!(thirds.iter().all(|count| (70..=130).contains(count)), "{thirds:?}");
}

/// What is desired is handed over whole, once; without a shadow, that nothing is.
#[test]
fn what_is_desired_comes_once() {
    let mut world = World::connected();
    assert_eq!(world.events, [Event::Desired { version: None, state: State::new() }]);
    world.write(config("1", "/a"));
    world.settle(3 * SECOND);
    world.disconnect();
    world.connect();
    world.settle(MINUTE);
    let expected = json!({"version": "1", "config": {"topics": [{"ros": "/a"}]}});
    assert_eq!(world.wishes(), [json!({}), expected.clone()]);
    // Nothing of it is cleared.
    assert_eq!((world.desired(), world.updates.len()), (expected, 0));
}

/// A change is asked for within two seconds, and what was taken away is not in it. Of taking something away alone there is no
/// delta that says so; that somebody has written is heard all the same.
#[test]
fn a_change_is_asked_for() {
    let mut world = World::connected();
    world.write(json!({"desired": {"version": "1", "config": {"topics": [], "commands": []}}}));
    world.settle(2 * SECOND);
    let before = world.network.now;
    world.write(json!({"desired": {"version": "2", "config": {"commands": null}}}));
    world.settle(3 * SECOND);
    assert!(*world.gets.last().unwrap() - before <= 2 * SECOND);
    world.write(json!({"desired": {"version": null}}));
    world.settle(3 * SECOND);
    world.write(json!({"desired": null}));
    world.settle(3 * SECOND);
    let one = json!({"version": "1", "config": {"topics": [], "commands": []}});
    let two = json!({"version": "2", "config": {"topics": []}});
    assert_eq!(world.wishes(), [json!({}), one, two, json!({"config": {"topics": []}}), json!({})]);
}

/// However many messages say that something has changed, the time of the `get` is as random as with one.
#[test]
fn several_messages_draw_no_earlier_time() {
    let mut halves = [0; 2];
    for seed in 0..300 {
        let mut world = World::new(seed);
        world.connect();
        world.settle(3 * SECOND);
        let before = world.network.now;
        for version in 1..10 {
            world.write(config(&version.to_string(), "/a"));
        }
        world.settle(3 * SECOND);
        assert_eq!(world.gets.len(), 2);
        halves[usize::from(world.gets[1] - before > SECOND)] += 1;
    }
    assert!(halves.iter().all(|count| (110..=190).contains(count)), "{halves:?}");
}

/// Either message about an update of somebody else is enough.
#[test]
fn a_lost_message_is_made_up_for_by_the_other() {
    for heard in ["/update/delta", "/update/accepted"] {
        let mut world = World::connected();
        world.write_telling(config("1", "/a"), |topic| topic.ends_with(heard));
        world.settle(3 * SECOND);
        assert_eq!(world.wishes().len(), 2, "{heard}");
    }
}

/// What nothing tells of shows at the next hour's `get`, of which there is one an hour.
#[test]
fn what_is_taken_away_unheard_shows_within_an_hour() {
    let mut world = World::connected();
    world.write(config("1", "/a"));
    world.settle(3 * SECOND);
    world.write_telling(json!({"desired": null}), |_| false);
    let before = world.gets.len();
    world.settle(60 * MINUTE);
    assert_eq!(world.wishes().last(), Some(&json!({})));
    world.settle(60 * 9 * MINUTE);
    assert_eq!(world.gets.len(), before + 10);
}

/// The delta that follows each report, as `config` is desired whole and reported as a hash, asks for nothing.
#[test]
fn a_delta_that_is_known_asks_for_nothing() {
    let mut world = World::connected();
    world.write(config("1", "/a"));
    world.settle(3 * SECOND);
    let gets = world.gets.len();
    for number in 0..10 {
        world.report(&number.to_string(), Verdict::Applied);
        world.settle(5 * SECOND);
    }
    assert_eq!((world.gets.len(), world.updates.len(), world.wishes().len()), (gets, 10, 2));
    assert!(world.service.document(&service::prefix(THING, NAME))["version"].as_u64() == Some(11));
}

/// Deltas that are older than what is known, or come again, are stale; what comes before its time is asked about.
#[test]
fn deltas_are_taken_in_order_of_version() {
    let mut world = World::connected();
    (1..=5).for_each(|number| world.write_telling(config(&number.to_string(), "/a"), |_| false));
    world.delta(5, json!({"version": "5", "config": {"topics": [{"ros": "/a"}]}}));
    world.settle(3 * SECOND);
    let gets = world.gets.len();
    for version in [5, 4, 1, 5, 0] {
        world.delta(version, json!({"version": version.to_string(), "config": {"topics": []}}));
    }
    world.settle(MINUTE);
    assert_eq!((world.session.stale(), world.gets.len(), world.wishes().len()), (5, gets, 2));
    // An answer that a newer delta overtakes is not believed, and asked for again.
    world.delta(6, json!({"config": {"topics": [1]}}));
    while world.network.requests.is_empty() {
        world.network.now += SECOND / 10;
        world.turn();
    }
    world.serve_request(0);
    (6..=7).for_each(|number| world.write_telling(config(&number.to_string(), "/b"), |_| false));
    world.delta(7, json!({"config": {"topics": [1]}}));
    world.settle(MINUTE);
    assert_eq!(world.wishes().last(), Some(&config("7", "/b")["desired"]));
    assert_eq!((world.session.stale(), world.gets.len(), world.wishes().len()), (5, gets + 2, 3));
}

/// A report says what the contract has, and no more; a change sends what is another, without a version.
#[test]
fn a_report_is_sent_when_it_changes() {
    let mut world = World::connected();
    world.write(config("7", "/a"));
    let mut first = report("7", Verdict::Rejected);
    first.outcome.problems = vec!["topics[0].ros: it has to begin with a slash".to_owned()];
    world.session.report(first, world.network.now);
    world.settle(3 * SECOND);
    let expected = json!({
        "version": "7", "state": "rejected", "problems": ["topics[0].ros: it has to begin with a slash"],
        "config": "0123456789abcdef".repeat(4), "bridge": "0.2.0", "ros_distro": "jazzy",
        "behind": false, "dropped": 0, "oldest_s": 0,
    });
    assert_eq!(world.reported(), expected);
    for _ in 0..3 {
        world.report("8", Verdict::RolledBack);
        world.settle(10 * SECOND);
    }
    let sent: Vec<_> = world.updates.iter().map(|(_, update)| update).collect();
    assert_eq!(sent.len(), 2, "{sent:?}");
    assert_eq!(sent[1]["state"], json!({"reported": {"version": "8", "state": "rolled_back", "problems": null}}));
    assert!(sent.iter().all(|update| update.get("version").is_none() && update["state"].get("desired").is_none()));
}

/// Figures that change all the time are sent every five minutes, at a time that the thing's name decides; with a change of
/// something else at once; and not at all while they are the same.
#[test]
fn figures_are_sent_every_five_minutes() {
    let mut world = World::connected();
    world.report("1", Verdict::Applied);
    world.settle(3 * SECOND);
    for dropped in 0..3600 {
        world.figures(dropped);
        world.settle(SECOND);
    }
    let times: Vec<_> = world.updates.iter().skip(1).map(|(at, _)| *at).collect();
    assert_eq!(times.len(), 12);
    assert!(times.windows(2).all(|pair| (295..=305).contains(&(pair[1] - pair[0]).as_secs())), "{times:?}");
    world.report("2", Verdict::Applied);
    world.settle(3 * SECOND);
    assert_eq!((&world.reported()["dropped"], world.updates.len()), (&json!(3599), 14));
    world.settle(60 * MINUTE);
    assert_eq!(world.updates.len(), 14);
}

/// That a report is held is said once, when the service has said so: of one that changes something, and of one that the
/// shadow holds already, as after a restart.
#[test]
fn that_a_report_is_held_is_told_once() {
    let mut world = World::connected();
    world.report("1", Verdict::Applied);
    world.turn();
    assert_eq!(world.reports_held(), 0);
    world.settle(3 * SECOND);
    assert_eq!(world.reports_held(), 1);
    world.report("1", Verdict::Applied);
    world.settle(3 * SECOND);
    assert_eq!((world.reports_held(), world.updates.len()), (2, 1));
    world.disconnect();
    world.report("1", Verdict::Applied);
    world.settle(MINUTE);
    assert_eq!(world.reports_held(), 2);
    world.connect();
    world.settle(MINUTE);
    assert_eq!((world.reports_held(), world.updates.len()), (3, 1));
    world.settle(60 * MINUTE);
    assert_eq!(world.reports_held(), 3);
}

/// The answer to the report before says nothing of one that waits.
#[test]
fn the_report_before_is_not_taken_for_the_last() {
    let mut world = World::connected();
    world.report("1", Verdict::Applied);
    while world.updates.is_empty() {
        world.network.now += SECOND / 10;
        world.turn();
    }
    world.report("2", Verdict::Applied);
    world.serve_request(0);
    while !world.network.answers.is_empty() {
        world.deliver(0);
    }
    assert_eq!((&world.reported()["version"], world.reports_held()), (&json!("1"), 0));
    world.settle(MINUTE);
    assert_eq!((&world.reported()["version"], world.reports_held()), (&json!("2"), 1));
}

/// An update that was lost, or whose answer was, is made up for.
#[test]
fn an_update_without_an_answer_is_looked_after() {
    for is_request_lost in [true, false] {
        let mut world = World::connected();
        world.report("1", Verdict::Applied);
        while world.updates.is_empty() {
            world.network.now += SECOND / 10;
            world.turn();
        }
        if is_request_lost {
            world.network.requests.clear();
        } else {
            world.serve_request(0);
            world.network.answers.clear();
        }
        world.settle(MINUTE);
        assert_eq!((world.reports_held(), &world.reported()["version"]), (1, &json!("1")), "{is_request_lost}");
    }
}

/// What the service refuses for what it says is not sent again unchanged, also not on the next connection; what it refuses
/// for a right that is missing once a connection.
#[test]
fn a_rejected_report_is_not_sent_again_unchanged() {
    for (code, again) in [(400, 1), (403, 2)] {
        let mut world = World::connected();
        world.service.refuse.push_back(code);
        world.report("1", Verdict::Applied);
        world.settle(60 * MINUTE);
        assert_eq!(world.updates.len(), 1, "{code}");
        world.disconnect();
        world.connect();
        world.settle(60 * MINUTE);
        assert_eq!((world.updates.len(), world.reports_held()), (again, again - 1), "{code}");
        let refused = |event: &&Event| matches!(event, Event::Refused { is_sent_again: false, .. });
        assert_eq!(world.events.iter().filter(refused).count(), 1);
        world.report("2", Verdict::Applied);
        world.settle(MINUTE);
        assert_eq!((world.updates.len(), world.reports_held()), (again + 1, again));
    }
}

/// What is refused because the service has too much to do is sent again, less and less often; so is the `get`.
#[test]
fn throttling_is_backed_off_from() {
    let mut world = World::connected();
    let codes = [429, 500, 429, 503, 429, 429];
    world.service.refuse.extend(codes);
    world.report("1", Verdict::Applied);
    world.settle(3 * MINUTE);
    assert_eq!((world.updates.len(), world.reports_held()), (codes.len() + 1, 1));
    let gaps: Vec<_> = world.updates.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    for (n, gap) in gaps.iter().enumerate() {
        let longest = SECOND * (1 << n);
        assert!(*gap >= longest / 2 && *gap <= longest + SECOND, "{gaps:?}");
    }
    let refused = |event: &&Event| matches!(event, Event::Refused { is_sent_again: true, .. });
    assert_eq!(world.events.iter().filter(refused).count(), codes.len());

    // A get that is refused, or not answered at all, for an hour.
    let mut world = World::new(7);
    world.service.ignore.extend([true; 1000]);
    world.connect();
    world.settle(60 * MINUTE);
    assert!((10..=35).contains(&world.gets.len()), "{} gets", world.gets.len());
}

/// A service that says 409 to every update for an hour gets few of them.
#[test]
fn conflicts_do_not_loop() {
    let mut world = World::connected();
    world.service.refuse.extend([409; 1000]);
    world.report("1", Verdict::Applied);
    world.settle(60 * MINUTE);
    assert!((5..=35).contains(&world.updates.len()), "{} updates", world.updates.len());
    assert!(world.gets.len() <= world.updates.len() + 3, "{} gets", world.gets.len());
    world.service.refuse.clear();
    world.settle(6 * MINUTE);
    assert_eq!((world.reports_held(), &world.reported()["version"]), (1, &json!("1")));
}

/// Beside a desired state of nearly 8 KiB a report is cut until it fits; where nothing fits it is refused, and sent when there
/// is room again.
#[test]
fn a_report_fits_beside_what_is_desired() {
    let problems: Vec<_> = (0..40).map(|number| format!("topics[{number}].ros: {}", "x".repeat(80))).collect();
    for (left, state) in [(3000, "many"), (700, "some"), (300, "none"), (150, "rest"), (20, "nothing")] {
        let mut world = World::connected();
        let frame = json!({"desired": {"config": ""}}).to_string().len();
        world.write(json!({"desired": {"config": "x".repeat(DOCUMENT_LIMIT - frame - left)}}));
        world.settle(3 * SECOND);
        let mut rejected = report("v", Verdict::Rejected);
        rejected.outcome.problems.clone_from(&problems);
        world.session.report(rejected, world.network.now);
        world.settle(MINUTE);
        let reported = world.reported();
        let told = reported["problems"].as_array().map(Vec::len);
        let refused = world.events.iter().filter(|event| matches!(event, Event::Refused { .. })).count();
        let found = match told {
            Some(11..) => "many",
            Some(2..) => "some",
            Some(_) => "none",
            None if reported["version"].is_string() => "rest",
            None => "nothing",
        };
        assert_eq!(found, state, "{left}: {reported}");
        assert!(reported.to_string().len() <= REPORT_LIMIT.min(left), "{left}: {reported}");
        // It is cut before it is sent, not upon a refusal.
        assert_eq!(refused, if state == "nothing" { 1 } else { 0 }, "{left}: {:?}", world.events);
        if state == "nothing" {
            world.settle(30 * MINUTE);
            let sent = world.updates.len();
            assert!(sent <= 4, "{sent} updates");
            world.write(json!({"desired": null}));
            world.report("2", Verdict::Applied);
            world.settle(MINUTE);
            assert_eq!((&world.reported()["version"], world.reports_held()), (&json!("2"), 1));
        }
    }
}

/// The service counts otherwise than expected: less is sent.
#[test]
fn a_report_that_was_too_large_is_cut() {
    let mut world = World::connected();
    world.service.refuse.push_back(413);
    let mut rejected = report("v", Verdict::Rejected);
    rejected.outcome.problems = vec!["one".to_owned(), "two".to_owned()];
    world.session.report(rejected, world.network.now);
    world.settle(MINUTE);
    assert_eq!((&world.reported()["problems"], world.reports_held()), (&json!(["2 problems"]), 1));
    assert_eq!(world.updates.len(), 2);
    let refused: Vec<_> = world.events.iter().filter(|event| matches!(event, Event::Refused { .. })).collect();
    assert!(matches!(refused[..], [Event::Refused { is_sent_again: true, .. }]), "{refused:?}");
}

/// The longest answer that the service can make is read: 8 KiB of single digits, each with its time, and the delta once more.
#[test]
fn the_longest_answer_is_read() {
    let digits = vec![1; (DOCUMENT_LIMIT - 40) / 2];
    let stamps = vec![json!({"timestamp": 1_796_000_123}); digits.len()];
    let state = json!({"desired": {"a": digits}, "delta": {"a": digits}});
    let metadata = json!({"desired": {"a": stamps}});
    let mut world = World::new(7);
    world.connect();
    while world.gets.is_empty() {
        world.network.now += SECOND / 10;
        world.turn();
    }
    let answer = json!({"state": state, "metadata": metadata, "version": 3, "timestamp": 1_796_000_123}).to_string();
    assert!((100_000..ARRIVAL_LIMIT).contains(&answer.len()), "{}", answer.len());
    let topic = format!("{}/get/accepted", service::prefix(THING, NAME));
    let events = world.session.arrived(&topic, answer.as_bytes(), world.network.now).unwrap();
    assert!(matches!(&events[..], [Event::Desired { version: Some(3), .. }]));
}

/// Garbage is counted and changes nothing, whatever it is and wherever it comes; what comes elsewhere is nothing.
#[test]
fn garbage_changes_nothing() {
    let mut world = World::connected();
    let brackets = "[".repeat(DOCUMENT_LIMIT);
    let nested = format!(r#"{{"version":9,"state":{{"a":{}{}}}}}"#, "[".repeat(4000), "]".repeat(4000));
    let other_schema = r#"{"state":"fine","version":[1]}"#;
    let payloads = [&b""[..], b"\xff\xfe", brackets.as_bytes(), nested.as_bytes(), other_schema.as_bytes()];
    for filter in world.session.filters().collect::<Vec<_>>() {
        let topic = crate::config::fill_thing(&filter, THING).into_owned();
        for payload in payloads {
            let is_rejected = topic.ends_with("rejected");
            let read = world.session.arrived(&topic, payload, world.network.now);
            assert!(read.is_err() || topic.ends_with("accepted") && payload == nested.as_bytes(), "{topic}: {read:?}");
            assert!(!is_rejected || read.is_err());
        }
    }
    let elsewhere = format!("{}x/update/delta", service::prefix(THING, NAME));
    assert_eq!(world.session.arrived(&elsewhere, b"{}", world.network.now), Ok(vec![]));
    world.settle(MINUTE);
    assert_eq!((world.gets.len(), world.updates.len(), world.wishes().len()), (1, 0, 1));
    // What is read may be nested as deep as the reader goes; what becomes of it is others' business.
    world.write(config("1", "/a"));
    world.settle(3 * SECOND);
    assert_eq!(world.wishes().len(), 2);
}
