//! Whatever the network does, it comes right in the end.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::network::{Ends, Fate, fate};
use super::world::World;
use crate::shadows::state::{is_same_state, prune};

/// What may happen next.
#[derive(Debug, Clone)]
enum Action {
    Report(Value),
    /// Somebody wishes this key to have the next number.
    Wish(u8),
    /// Somebody wishes this, which may be reported already, in part or whole, and the next number for this key.
    WishBeside(Value, u8),
    /// Time passes, in milliseconds.
    Wait(u64),
    /// Something of what is under way, by its place: it arrives, twice, or never.
    Request(usize, Fate),
    Answer(usize, Fate),
    Refuse(u16),
    Reconnect,
    /// Whether somebody takes wishes.
    Node(bool),
}

fn message() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3_i64).prop_map(Value::from),
        (0..3_i32).prop_map(|n| json!(f64::from(n) / 3.0)),
        prop::collection::vec(0..2_u8, 0..3).prop_map(Value::from),
    ];
    let object = |value: BoxedStrategy<Value>| {
        prop::collection::btree_map("[abc]", value, 0..4).prop_map(|map| Value::Object(map.into_iter().collect()))
    };
    let inner = object(leaf.clone().boxed());
    object(prop_oneof![2 => leaf, 1 => inner].boxed())
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        3 => message().prop_map(Action::Report),
        2 => (0..3_u8).prop_map(Action::Wish),
        1 => (message(), 0..3_u8).prop_map(|(message, key)| Action::WishBeside(message, key)),
        3 => prop_oneof![0..300_u64, 300..12_000_u64].prop_map(Action::Wait),
        6 => (0..4_usize, fate()).prop_map(|(place, fate)| Action::Request(place, fate)),
        6 => (0..6_usize, fate()).prop_map(|(place, fate)| Action::Answer(place, fate)),
        1 => prop_oneof![Just(409), Just(429), Just(500)].prop_map(Action::Refuse),
        1 => Just(Action::Reconnect),
        1 => any::<bool>().prop_map(Action::Node),
    ]
}

proptest! {
    /// Reports, wishes and a bad network in any order: in the end the shadow reports the last message, the last wish of each
    /// key was handed over, none after a later one, and nothing is left to wish. No two reports are sent within a period.
    #[test]
    fn it_comes_right_in_the_end(actions in prop::collection::vec(action(), 0..80), is_lossy in any::<bool>()) {
        let mut world = World::connected(Some(1.0));
        let (mut last, mut number, mut wished) = (json!({}), 0, [0; 3]);
        let (mut reports, mut wishes) = (0, 0);
        for action in actions {
            match action {
                Action::Report(message) => {
                    world.report(message.clone());
                    last = message;
                    reports += 1;
                }
                Action::Wish(key) | Action::WishBeside(_, key) => {
                    number += 1;
                    wishes += 1;
                    wished[usize::from(key)] = number;
                    let mut desired = if let Action::WishBeside(desired, _) = action { desired } else { json!({}) };
                    desired[format!("wish{key}")] = number.into();
                    world.write(json!({ "desired": desired }));
                }
                Action::Wait(milliseconds) => world.network.now += Duration::from_millis(milliseconds),
                Action::Request(place, fate) => world.request(place, fate),
                Action::Answer(place, Fate::IsLost) if !is_lossy => world.answer(place, Fate::Arrives),
                Action::Answer(place, fate) => world.answer(place, fate),
                Action::Refuse(code) => world.service.refuse.push_back(code),
                Action::Reconnect => {
                    world.disconnect();
                    world.turn();
                    world.connect();
                }
                Action::Node(is_there) => world.takes_wishes = is_there,
            }
            world.turn();
        }
        world.takes_wishes = true;
        world.service.refuse.clear();
        if is_lossy {
            // A connection more: what was lost with QoS 0 shows at the next `get`.
            world.disconnect();
            world.connect();
        }
        world.settle(Duration::from_secs(700));
        let mut expected = last.as_object().cloned().unwrap();
        prune(&mut expected);
        let reported = world.reported().as_object().cloned().unwrap();
        prop_assert!(is_same_state(&reported, &expected), "{:?} is not {:?}", reported, expected);
        prop_assert_eq!(world.desired(), json!({}));
        for (key, last) in wished.into_iter().enumerate() {
            let values: Vec<i64> =
                world.handed_over.iter().filter_map(|wish| wish.get(format!("wish{key}"))?.as_i64()).collect();
            prop_assert!(values.is_sorted(), "{:?}", values);
            prop_assert_eq!(values.last().copied().unwrap_or(0), last);
        }
        let is_report = |update: &&(&Value, _)| update.0["state"].get("reported").is_some();
        let sent: Vec<_> = world.updates.iter().zip(&world.update_times).collect();
        let report_times: Vec<_> = sent.iter().filter(is_report).map(|(_, at)| **at).collect();
        prop_assert!(report_times.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_secs(1)));
        // Each report, each wish, and each that failed once more. A wish is cleared in two: what its delta has, then what was
        // reported already, which stands in no delta.
        let figures = world.shadow.figures();
        let failed = figures.rejected + figures.conflicts + figures.timed_out;
        prop_assert!(world.updates.len() as u64 <= reports + 2 * wishes + failed + 2, "{:?}", figures);
    }
}
