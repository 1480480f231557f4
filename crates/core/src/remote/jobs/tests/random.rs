//! Whatever the network does, it comes right in the end.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::world::{THING, World, configuration};
use crate::remote::jobs::Status;
use crate::shadows::tests::network::{Ends, Fate, fate};

/// What may happen next.
#[derive(Debug, Clone)]
enum Action {
    /// Somebody makes a job, of ours or of others.
    Create(bool),
    /// Somebody ends the job of this number, if it has not ended.
    End(usize),
    /// Time passes, in milliseconds.
    Wait(u64),
    /// Something of what is under way, by its place: it arrives, twice, or never.
    Request(usize, Fate),
    Answer(usize, Fate),
    Refuse(&'static str),
    Reconnect,
    Restart,
    /// What was begun ends, well or not.
    Finish(bool),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        2 => any::<bool>().prop_map(Action::Create),
        1 => (0..8_usize).prop_map(Action::End),
        3 => prop_oneof![0..300_u64, 300..12_000_u64].prop_map(Action::Wait),
        6 => (0..4_usize, fate()).prop_map(|(place, fate)| Action::Request(place, fate)),
        6 => (0..6_usize, fate()).prop_map(|(place, fate)| Action::Answer(place, fate)),
        1 => prop_oneof![Just("RequestThrottled"), Just("InternalError"), Just("VersionMismatch")].prop_map(Action::Refuse),
        1 => Just(Action::Reconnect),
        1 => Just(Action::Restart),
        2 => any::<bool>().prop_map(Action::Finish),
    ]
}

proptest! {
    /// Jobs, cancellations, restarts and a bad network in any order: in the end each of our jobs has ended, each that nobody
    /// has ended before was begun exactly once and says what became of it, and those of others were not touched.
    #[test]
    fn it_comes_right_in_the_end(actions in prop::collection::vec(action(), 0..100)) {
        let mut world = World::connected();
        let (mut ours, mut others, mut ended) = (Vec::new(), Vec::new(), BTreeSet::new());
        for action in actions {
            match action {
                Action::Create(is_ours) => {
                    let name = format!("job-{}", ours.len() + others.len());
                    let document = if is_ours { configuration(&name) } else { json!({"operation": "reboot"}) };
                    world.create(&name, document);
                    if is_ours { ours.push(name) } else { others.push(name) }
                }
                Action::End(place) => {
                    if let Some(name) = ours.get(place)
                        && matches!(world.standing(name).as_str(), "QUEUED" | "IN_PROGRESS")
                    {
                        world.end(name, "CANCELED");
                        ended.insert(name.clone());
                    }
                }
                Action::Wait(milliseconds) => world.network.now += Duration::from_millis(milliseconds),
                Action::Request(place, fate) => world.request(place, fate),
                Action::Answer(place, fate) => world.answer(place, fate),
                Action::Refuse(code) => world.service.refuse.push_back(code),
                Action::Reconnect => {
                    world.disconnect();
                    world.connect();
                }
                Action::Restart => world.restart(),
                Action::Finish(is_well) => world.finish(if is_well { Status::Succeeded } else { Status::Failed }),
            }
            world.turn();
        }
        world.service.refuse.clear();
        // A notification may have got lost.
        world.settle(Duration::from_hours(25));
        for _ in 0..2 * ours.len() + 2 {
            world.settle(Duration::from_secs(1000));
            world.finish(Status::Succeeded);
        }
        let begun: BTreeSet<_> = world.begun.iter().cloned().collect();
        prop_assert_eq!(begun.len(), world.begun.len(), "{:?}", world.begun);
        for name in &ours {
            let standing = world.standing(name);
            if ended.contains(name) {
                prop_assert_eq!(standing, "CANCELED");
            } else {
                prop_assert!(matches!(standing.as_str(), "SUCCEEDED" | "FAILED"), "{}: {}", name, standing);
                prop_assert!(begun.contains(name));
                prop_assert_eq!(world.details(name), json!({"version": "7"}));
            }
        }
        for name in &others {
            let standing = world.service.standing(THING, name);
            prop_assert_eq!((&standing["status"], &standing["version"]), (&json!("QUEUED"), &json!(1)));
        }
    }
}
