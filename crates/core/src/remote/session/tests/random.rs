//! Whatever the network does, it comes right in the end.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::world::World;
use crate::remote::Verdict;
use crate::shadows::tests::network::{Ends, Fate, fate};

/// What may happen next.
#[derive(Debug, Clone)]
enum Action {
    /// Another version is desired, with or without this section beside the topics.
    Wish(bool),
    /// Nothing is desired any more.
    TakeBack,
    /// Another report, of this version.
    Report(u8),
    Figures(u64),
    /// Time passes, in milliseconds.
    Wait(u64),
    /// Something of what is under way, by its place: it arrives, twice, or never.
    Request(usize, Fate),
    Answer(usize, Fate),
    Refuse(u16),
    Reconnect,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        2 => any::<bool>().prop_map(Action::Wish),
        1 => Just(Action::TakeBack),
        2 => (0..4_u8).prop_map(Action::Report),
        1 => (0..4_u64).prop_map(Action::Figures),
        3 => prop_oneof![0..300_u64, 300..40_000_u64].prop_map(Action::Wait),
        6 => (0..4_usize, fate()).prop_map(|(place, fate)| Action::Request(place, fate)),
        6 => (0..6_usize, fate()).prop_map(|(place, fate)| Action::Answer(place, fate)),
        1 => prop_oneof![Just(409), Just(413), Just(429), Just(500)].prop_map(Action::Refuse),
        1 => Just(Action::Reconnect),
    ]
}

proptest! {
    /// Wishes, reports and a bad network in any order: in the end the last wish was handed over whole, none after a later one,
    /// the shadow holds the last report and that was said, and what is desired is as it was written. No more is sent than
    /// happened.
    #[test]
    fn it_comes_right_in_the_end(actions in prop::collection::vec(action(), 0..80)) {
        let mut world = World::connected();
        let (mut number, mut last, mut figures) = (0, None, 0);
        let mut is_cut = false;
        let (mut happened, mut reports, mut writes, mut connects) = (0_u64, 0_usize, 0_u64, 1_u64);
        for action in actions {
            match action {
                Action::Wish(with_commands) => {
                    number += 1;
                    let commands = if with_commands { json!([]) } else { Value::Null };
                    world.write(json!({"desired": {"version": number, "config": {"topics": [], "commands": commands}}}));
                    writes += 1;
                }
                Action::TakeBack => {
                    world.write(json!({"desired": null}));
                    writes += 1;
                }
                Action::Report(version) => {
                    world.report(&version.to_string(), Verdict::Applied);
                    (last, reports) = (Some(version.to_string()), reports + 1);
                }
                Action::Figures(dropped) => {
                    world.figures(dropped);
                    figures = dropped;
                }
                Action::Wait(milliseconds) => {
                    world.network.now += Duration::from_millis(milliseconds);
                    happened += 1;
                }
                Action::Request(place, fate) => world.request(place, fate),
                Action::Answer(place, fate) => world.answer(place, fate),
                Action::Refuse(code) => {
                    world.service.refuse.push_back(code);
                    is_cut |= code == 413;
                }
                Action::Reconnect => {
                    world.disconnect();
                    world.turn();
                    world.connect();
                    connects += 1;
                }
            }
            world.turn();
        }
        world.service.refuse.clear();
        // A connection more: what was lost with QoS 0 shows at the next `get`.
        world.disconnect();
        world.connect();
        world.settle(Duration::from_secs(1300));
        let desired = world.desired();
        let desired = if desired.is_null() { json!({}) } else { desired };
        let wishes = world.wishes();
        prop_assert_eq!(wishes.last(), Some(&desired));
        let numbers: Vec<u64> = wishes.iter().filter_map(|wish| wish["version"].as_u64()).collect();
        prop_assert!(numbers.is_sorted(), "{:?}", numbers);
        let reported = world.reported();
        match last {
            Some(version) => {
                prop_assert_eq!(&reported["version"], &json!(version));
                // What was too large once may be without figures.
                prop_assert!(reported["dropped"] == figures || is_cut, "{} is not {}", reported, figures);
                prop_assert!((1..=reports).contains(&world.reports_held()));
            }
            None => prop_assert_eq!((world.updates.len(), world.reports_held()), (0, 0)),
        }
        let counted = world.session.counted();
        let failed = counted.rejected + counted.conflicts + counted.timed_out;
        // One more for figures alone in each five minutes.
        let figures_sent = 1300 / 300 + 2 + happened * 40 / 300;
        prop_assert!(world.updates.len() as u64 <= reports as u64 + failed + figures_sent, "{:?}", counted);
        let looks = 2 + happened * 40 / 3600;
        let least = connects + 1 + 2 * writes + reports as u64 + failed + looks;
        prop_assert!(world.gets.len() as u64 <= 2 * least, "{} of {:?}", world.gets.len(), counted);
    }
}
