//! A shadow against the service that the tests' broker has, over a network that delays, reorders, repeats and loses.

pub(crate) mod network;
mod random;
#[path = "../../../../tests/support/aws_broker/shadows/service.rs"]
pub(crate) mod service;
mod world;

use std::time::Duration;

use serde_json::json;

use super::*;
use network::Ends;
use world::{World, state};

const SECOND: Duration = Duration::from_secs(1);

/// Only what has changed is sent, the first time everything; what is gone is removed, and nothing is sent that is held.
#[test]
fn reports_send_what_has_changed() {
    let mut world = World::connected(Some(1.0));
    world.report(json!({"battery": {"percent": 50, "volts": 24.5}, "mode": "idle", "path": [1, 2], "fault": null}));
    world.settle(3 * SECOND);
    assert_eq!(world.reported(), json!({"battery": {"percent": 50, "volts": 24.5}, "mode": "idle", "path": [1, 2]}));
    world.report(json!({"battery": {"percent": 49, "volts": 24.5}, "mode": "idle", "path": [1, 3]}));
    world.settle(3 * SECOND);
    world.report(json!({"battery": {"percent": 49, "volts": 24.5}, "mode": "idle", "path": [1, 3], "empty": {}}));
    world.settle(3 * SECOND);
    world.report(json!({"battery": {"percent": 49}, "mode": "idle", "path": [1, 3]}));
    world.settle(3 * SECOND);
    let sent: Vec<_> = world.updates.iter().skip(1).map(|update| update["state"].clone()).collect();
    let expected = [
        json!({"reported": {"battery": {"percent": 49}, "path": [1, 3]}}),
        json!({"reported": {"battery": {"volts": null}}}),
    ];
    assert_eq!(sent, expected);
    assert!(world.updates.iter().all(|update| update.get("version").is_none()), "{:?}", world.updates);
}

/// Of fifty messages a second the latest is reported once a second.
#[test]
fn a_fast_topic_is_reported_at_its_rate() {
    let mut world = World::connected(Some(1.0));
    for n in 0..500 {
        world.report(json!({ "n": n }));
        world.settle(Duration::from_millis(20));
    }
    assert!((9..=11).contains(&world.updates.len()), "{} updates in ten seconds", world.updates.len());
    world.settle(2 * SECOND);
    assert_eq!(world.reported(), json!({"n": 499}));
}

/// After another process, or another program, has written `reported`, the next `get` says so, and it is put right.
#[test]
fn what_the_shadow_held_before_is_put_right() {
    let mut world = World::new(Some(1.0));
    world.write(json!({"reported": {"old": 1, "mode": "idle"}}));
    world.report(json!({"mode": "idle"}));
    world.connect();
    world.settle(3 * SECOND);
    assert_eq!(world.updates.len(), 1);
    assert_eq!(world.updates[0]["state"], json!({"reported": {"old": null}}));
    world.write(json!({"reported": {"mode": "who knows"}}));
    world.disconnect();
    world.connect();
    world.settle(3 * SECOND);
    assert_eq!(world.reported(), json!({"mode": "idle"}));
}

/// A wish is handed over once and cleared; a later one in the same way, though it says the same.
#[test]
fn a_wish_is_handed_over_and_cleared() {
    let mut world = World::connected(None);
    for _ in 0..2 {
        world.write(json!({"desired": {"digit": 42, "lamp": {"on": true}}}));
        world.settle(3 * SECOND);
        assert_eq!(world.desired(), json!({}));
    }
    let wish = json!({"digit": 42, "lamp": {"on": true}});
    assert_eq!(world.handed_over, [wish.clone(), wish]);
    assert_eq!(world.updates.len(), 2, "{:?}", world.updates);
    assert!(world.updates.iter().all(|update| update["version"].is_u64()), "{:?}", world.updates);
}

/// What was wished while the robot was away comes with the answer to `get`.
#[test]
fn a_wish_of_before_is_handed_over() {
    let mut world = World::new(None);
    world.write(json!({"desired": {"digit": 42}}));
    world.connect();
    world.settle(3 * SECOND);
    assert_eq!((world.handed_over.clone(), world.desired()), (vec![json!({"digit": 42})], json!({})));
}

/// While no node of ROS takes it, a wish stays in the shadow, and the last one counts.
#[test]
fn a_wish_waits_for_who_takes_it() {
    let mut world = World::connected(None);
    world.takes_wishes = false;
    world.write(json!({"desired": {"digit": 1}}));
    world.settle(3 * SECOND);
    world.write(json!({"desired": {"digit": 2}}));
    world.settle(3 * SECOND);
    assert_eq!((world.updates.len(), world.desired()), (0, json!({"digit": 2})));
    world.takes_wishes = true;
    world.settle(3 * SECOND);
    assert_eq!((world.handed_over.clone(), world.desired()), (vec![json!({"digit": 2})], json!({})));
}

/// A wish that ROS refuses stays where somebody can see it, and is not tried again with each delta.
#[test]
fn a_refused_wish_stays() {
    let mut world = World::connected(Some(1.0));
    world.refuses_wishes = true;
    world.write(json!({"desired": {"digit": "many"}}));
    world.settle(3 * SECOND);
    world.report(json!({"n": 1}));
    world.settle(3 * SECOND);
    assert_eq!((world.refused, world.desired()), (1, json!({"digit": "many"})));
    world.refuses_wishes = false;
    world.write(json!({"desired": {"digit": 3}}));
    world.settle(3 * SECOND);
    assert_eq!((world.handed_over.clone(), world.desired()), (vec![json!({"digit": 3})], json!({})));
}

/// A wish that equals what is reported has no delta. It is cleared all the same, or it would undo the next change.
#[test]
fn a_wish_that_is_fulfilled_is_cleared() {
    let mut world = World::connected(Some(1.0));
    world.report(json!({"mode": "idle"}));
    world.settle(3 * SECOND);
    world.write(json!({"desired": {"mode": "idle"}}));
    world.settle(5 * SECOND);
    assert_eq!(world.desired(), json!({}));
    world.report(json!({"mode": "work"}));
    world.settle(5 * SECOND);
    assert_eq!((world.handed_over.len(), world.reported()), (0, json!({"mode": "work"})));
}

/// What of a wish is fulfilled already is not in the delta. It is cleared with the rest, or it would undo a later change.
#[test]
fn a_wish_that_is_fulfilled_in_part_is_cleared_whole() {
    let mut world = World::connected(Some(1.0));
    world.report(json!({"mode": "idle", "speed": 1}));
    world.settle(3 * SECOND);
    world.write(json!({"desired": {"mode": "idle", "speed": 2}}));
    world.settle(5 * SECOND);
    assert_eq!(world.desired(), json!({}));
    world.report(json!({"mode": "work", "speed": 2}));
    world.settle(5 * SECOND);
    assert_eq!(world.handed_over, [json!({"speed": 2})]);
}

/// An older delta that comes late is dropped, and so is one that comes twice.
#[test]
fn deltas_are_taken_in_order_of_version() {
    let mut world = World::connected(None);
    for (version, digit) in [(5, 5), (4, 4), (5, 5), (7, 7), (6, 6), (7, 7)] {
        world.arrive(Kind::Delta, &json!({"version": version, "state": {"digit": digit}}));
    }
    assert_eq!(world.handed_over, [json!({"digit": 5}), json!({"digit": 7})]);
    assert_eq!(world.shadow.stale(), 4);
}

/// A wish that comes while an older one is being cleared is not cleared unseen: the service refuses, and it is looked at.
#[test]
fn a_newer_wish_is_not_cleared_with_an_older_one() {
    let mut world = World::connected(None);
    world.write(json!({"desired": {"digit": 1}}));
    world.settle_until(|world| world.handed_over.len() == 1);
    world.write_in_secret(json!({"desired": {"digit": 2}}));
    world.settle(10 * SECOND);
    assert_eq!(world.handed_over, [json!({"digit": 1}), json!({"digit": 2})]);
    assert_eq!((world.shadow.figures().conflicts, world.desired()), (1, json!({})));
}

/// A wish is cleared while reports change faster than they are answered, after a refusal and whether or not deltas follow.
#[test]
fn reports_do_not_keep_a_wish_from_being_cleared() {
    for (code, are_deltas_lost) in [(409, false), (409, true), (400, false), (400, true)] {
        let mut world = World::connected(Some(1.0));
        world.write(json!({"desired": {"digit": 42}}));
        world.service.refuse.push_back(code);
        for n in 0..60 {
            world.report(json!({ "n": n }));
            world.turn();
            world.network.now += SECOND + SECOND / 10;
            while !world.network.requests.is_empty() {
                world.serve_request(0);
            }
            world.network.answers.retain(|(kind, _)| n == 0 || !are_deltas_lost || *kind != Kind::Delta);
            while !world.network.answers.is_empty() {
                world.deliver(0);
            }
        }
        let what = format!("after {code}, deltas lost: {are_deltas_lost}");
        assert_eq!((&world.handed_over[..], world.desired()), (&[json!({"digit": 42})][..], json!({})), "{what}");
        let reports = world.updates.iter().filter(|update| update["state"].get("reported").is_some()).count();
        assert!(reports > 50, "{reports} reports {what}");
    }
}

/// A look that finds nothing to send takes nobody's turn: between a report's answer and its delta, before which nothing can be
/// cleared, the next report becomes due.
#[test]
fn a_look_at_nothing_takes_no_turn() {
    let mut world = World::connected(Some(1.0));
    world.write(json!({"desired": {"digit": 42}}));
    // The first update is of both, and is refused: from then on they go by turns. The clearing meets somebody else's update.
    world.report(json!({"n": 0}));
    while !world.network.answers.is_empty() {
        world.deliver(0);
    }
    world.service.refuse.extend([400, 409]);
    for n in 1..20 {
        world.turn();
        while !world.network.requests.is_empty() {
            world.serve_request(0);
        }
        while !world.network.answers.is_empty() {
            world.deliver(0);
            world.network.now += SECOND / 5;
            world.turn();
            world.network.now += SECOND;
            world.report(json!({ "n": n, "left": world.network.answers.len() }));
        }
    }
    assert!(world.updates[0]["state"].as_object().unwrap().len() == 2, "{}", world.updates[0]);
    assert_eq!((&world.handed_over[..], world.desired()), (&[json!({"digit": 42})][..], json!({})));
}

/// A wish that waited for who takes it is cleared, though the shadow is newer meanwhile and no delta has said so.
#[test]
fn a_wish_that_has_waited_is_cleared() {
    let mut world = World::connected(Some(1.0));
    world.takes_wishes = false;
    world.write(json!({"desired": {"digit": 1}}));
    world.settle(3 * SECOND);
    world.report(json!({"n": 1}));
    world.settle_until(|world| world.updates.len() == 1);
    world.serve_request(0);
    world.network.answers.retain(|(kind, _)| *kind != Kind::Delta);
    world.settle(3 * SECOND);
    world.takes_wishes = true;
    world.settle(10 * SECOND);
    assert_eq!((world.handed_over.clone(), world.desired()), (vec![json!({"digit": 1})], json!({})));
}

/// A newer wish that overtakes the answer to the clearing of an older one is cleared as well.
#[test]
fn a_newer_wish_is_cleared_after_an_older_one() {
    let mut world = World::new(None);
    world.write(json!({"desired": {"digit": 1}}));
    world.connect();
    world.settle_until(|world| world.updates.len() == 1);
    world.serve_request(0);
    let cleared = std::mem::take(&mut world.network.answers);
    world.write(json!({"desired": {"digit": 2}}));
    world.network.answers.retain(|(kind, _)| *kind == Kind::Delta);
    world.deliver(0);
    world.hand_over();
    world.network.answers = cleared;
    world.settle(10 * SECOND);
    assert_eq!(world.handed_over, [json!({"digit": 1}), json!({"digit": 2})]);
    assert_eq!(world.desired(), json!({}));
}

/// What the service refuses for what it says is not sent again until it says something else; then it is.
#[test]
fn a_rejected_report_is_not_sent_again() {
    let mut world = World::connected(Some(1.0));
    world.service.refuse.push_back(400);
    for _ in 0..20 {
        world.report(json!({"mode": "odd"}));
        world.settle(SECOND);
    }
    world.disconnect();
    world.connect();
    world.settle(10 * SECOND);
    assert_eq!((world.updates.len(), world.shadow.figures().rejected), (1, 1));
    assert_eq!(world.shadow.figures().last_rejection.as_ref().map(|rejection| rejection.code), Some(400));
    world.report(json!({"mode": "fine"}));
    world.settle(10 * SECOND);
    assert_eq!(world.reported(), json!({"mode": "fine"}));
}

/// What was refused for a right or a thing that is missing is tried again with the next connection.
#[test]
fn a_refusal_that_is_not_for_the_content_holds_for_a_connection() {
    for code in [401, 403, 404] {
        let mut world = World::connected(Some(1.0));
        world.service.refuse.push_back(code);
        world.report(json!({"mode": "idle"}));
        world.settle(20 * SECOND);
        assert_eq!((world.updates.len(), world.reported()), (1, json!({})));
        world.disconnect();
        world.connect();
        world.settle(10 * SECOND);
        assert_eq!((world.updates.len(), world.reported()), (2, json!({"mode": "idle"})));
    }
}

/// What did not fit beside a wish is sent once somebody has taken the wish back.
#[test]
fn what_does_not_fit_beside_a_wish_is_sent_when_that_is_taken_back() {
    let mut world = World::connected(Some(1.0));
    world.takes_wishes = false;
    world.write(json!({"desired": {"note": "w".repeat(5000)}}));
    world.report(json!({"log": "x".repeat(5000)}));
    world.settle(20 * SECOND);
    assert_eq!((world.reported(), world.updates.len()), (json!({}), 1));
    world.write(json!({"desired": {"note": null}}));
    world.settle(20 * SECOND);
    assert_eq!((world.reported()["log"].as_str().map(str::len), world.updates.len()), (Some(5000), 2));
}

/// Of what the service refuses because it has too much to do, less and less is sent, until it is taken.
#[test]
fn throttling_is_waited_out() {
    let mut world = World::connected(Some(1.0));
    world.service.refuse.extend([429, 500, 429, 429]);
    world.report(json!({"mode": "idle"}));
    world.settle(60 * SECOND);
    assert_eq!((world.reported(), world.updates.len()), (json!({"mode": "idle"}), 5));
    let gaps: Vec<_> = world.update_times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (n, gap) in gaps.iter().enumerate() {
        let longest = SECOND * (1 << n);
        assert!(*gap >= longest / 2 && *gap <= longest + SECOND, "{gaps:?}");
    }
}

/// A report that is too large is refused before it is sent, and what was reported stays.
#[test]
fn what_does_not_fit_is_not_sent() {
    let mut world = World::connected(Some(1.0));
    world.report(json!({"log": "short"}));
    world.settle(3 * SECOND);
    let too_large = world.shadow.report(state(&json!({"log": "x".repeat(DOCUMENT_LIMIT)})));
    assert_eq!(too_large, Err(TooLarge { bytes: DOCUMENT_LIMIT + r#"{"reported":{"log":""}}"#.len() }));
    world.settle(3 * SECOND);
    assert_eq!((world.updates.len(), world.reported()), (1, json!({"log": "short"})));
    let fits = "x".repeat(DOCUMENT_LIMIT - r#"{"reported":{"log":""}}"#.len());
    world.report(json!({ "log": fits }));
    world.settle(3 * SECOND);
    assert_eq!(world.reported(), json!({ "log": fits }));
}

/// What does not fit beside a wish is sent once the wish is cleared.
#[test]
fn what_does_not_fit_beside_a_wish_is_sent_after_it() {
    let mut world = World::connected(Some(1.0));
    world.takes_wishes = false;
    world.write(json!({"desired": {"note": "w".repeat(5000)}}));
    world.report(json!({"log": "x".repeat(5000)}));
    world.settle(20 * SECOND);
    assert_eq!((world.reported(), world.updates.len()), (json!({}), 1));
    world.takes_wishes = true;
    world.settle(60 * SECOND);
    assert_eq!((world.reported()["log"].as_str().map(str::len), world.desired()), (Some(5000), json!({})));
}

/// An update without an answer may have been taken or not; the shadow is asked for, and is right in the end.
#[test]
fn an_update_without_an_answer_is_looked_after() {
    for is_request_lost in [true, false] {
        let mut world = World::connected(Some(1.0));
        world.report(json!({"n": 1}));
        world.settle_until(|world| world.updates.len() == 1);
        if is_request_lost {
            world.lose_requests()
        } else {
            world.lose_answers()
        }
        world.report(json!({"n": 0}));
        world.settle(60 * SECOND);
        assert_eq!(world.reported(), json!({"n": 0}), "request lost: {is_request_lost}");
        assert_eq!(world.shadow.figures().timed_out, 1);
    }
}

/// An update that was under way when the connection was lost, and arrives on the next one, does not stay.
#[test]
fn an_update_of_the_connection_before_does_not_win() {
    let mut world = World::connected(Some(10.0));
    world.report(json!({"n": 0}));
    world.settle(3 * SECOND);
    world.report(json!({"n": 1}));
    world.settle_until(|world| world.updates.len() == 2);
    let late = world.hold_requests();
    world.disconnect();
    world.report(json!({"n": 0}));
    world.connect();
    world.settle(5 * SECOND);
    world.send(late);
    world.settle(60 * SECOND);
    assert_eq!(world.reported(), json!({"n": 0}));
}

/// A shadow that was deleted and made anew begins at a low version: what it says counts from the next `get` on.
#[test]
fn a_shadow_that_begins_anew_is_followed() {
    let mut world = World::connected(Some(1.0));
    for n in 0..5 {
        world.report(json!({ "n": n }));
        world.settle(2 * SECOND);
    }
    world.service = service::Service::default();
    world.shadow.arrived(Kind::Delta, br#"{"version":18446744073709551615,"state":{}}"#, world.network.now).unwrap();
    world.disconnect();
    world.connect();
    world.settle(5 * SECOND);
    world.write(json!({"desired": {"digit": 42}}));
    world.settle(10 * SECOND);
    assert_eq!((world.reported(), world.desired()), (json!({"n": 4}), json!({})));
    assert_eq!(world.handed_over, [json!({"digit": 42})]);
}

/// A late answer that there is no shadow forgets nothing of one that was made meanwhile.
#[test]
fn a_late_answer_that_there_is_no_shadow_is_asked_about_again() {
    let mut world = World::new(None);
    world.connect();
    world.settle_until(|world| !world.network.requests.is_empty());
    world.serve_request(0);
    (1..=3).for_each(|digit| world.write(json!({"desired": {"digit": digit}})));
    world.network.answers.retain(|(kind, _)| *kind != Kind::UpdateAccepted);
    let kinds: Vec<_> = world.network.answers.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, [Kind::GetRejected, Kind::Delta, Kind::Delta, Kind::Delta]);
    // The deltas 1 and 3, the answer, the delta 2.
    for place in [1, 2, 0, 0] {
        world.deliver(place);
        world.hand_over();
    }
    world.settle(10 * SECOND);
    assert_eq!(world.handed_over, [json!({"digit": 1}), json!({"digit": 3})]);
    assert_eq!((world.shadow.figures().gets, world.desired()), (2, json!({})));
}

/// Garbage is counted and changes nothing, whatever it is and wherever it comes.
#[test]
fn garbage_changes_nothing() {
    let mut world = World::connected(Some(1.0));
    world.report(json!({"mode": "idle"}));
    world.settle(3 * SECOND);
    let brackets = "[".repeat(DOCUMENT_LIMIT);
    let other_schema = r#"{"state":"fine","version":[1]}"#;
    for kind in Kind::ALL {
        for payload in
            [&b""[..], b"\xff\xfe", brackets.as_bytes(), other_schema.as_bytes(), &vec![b'['; ARRIVAL_LIMIT + 1]]
        {
            assert!(world.shadow.arrived(kind, payload, world.network.now).is_err(), "{kind:?}");
        }
    }
    assert_eq!(world.shadow.figures().malformed, 25);
    world.arrive(Kind::UpdateRejected, &json!({"code": 400, "message": "of somebody else", "clientToken": "x"}));
    world.arrive(Kind::UpdateRejected, &json!({"code": 400, "message": "of nobody"}));
    world.settle(10 * SECOND);
    assert_eq!((world.updates.len(), world.handed_over.len(), world.shadow.figures().rejected), (1, 0, 0));
}
