//! Topics come and go, for as long as the robot runs.

use std::collections::BTreeMap;

use rustix::io::Errno;

use super::*;
use crate::config::QueueDurability::{Always, Spill};
use crate::files::OsFiles;
use crate::files::simulated::{Action, Fault, Operation, SimulatedFiles};
use crate::queue::disk::clock::Clock;
use crate::queue::disk::route_table::{LONG_AT_START, NEW_ROUTES, ROUTES};
use crate::queue::disk::survey::{go_on, survey};
use crate::queue::testing::harness::{QueueHarness, number_of, settings};

/// Topics of a round.
const TOPICS: usize = 2000;

/// How many there are of what the queue, the registry and the disk know of topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sizes {
    registered: usize,
    slots: usize,
    in_lanes: usize,
    /// By address, by id, by topic; and all routes that the disk knows.
    of_log: [usize; 4],
}

fn sizes(harness: &QueueHarness) -> Sizes {
    let (registered, slots) = harness.registered();
    let in_lanes = harness.queue.shared.lock().store.topics();
    let routes = harness.files.read(ROUTES).map_or(0, |bytes| bytes.len());
    assert!(routes < 4096, "the routes have {routes} bytes");
    Sizes { registered, slots, in_lanes, of_log: harness.worker.registers() }
}

/// A round: two thousand topics that there were not before, and some that there were, have some records each, of
/// another type now and then. A half of them is taken while the other half waits on the disk; then that is taken as
/// well.
fn round(harness: &mut QueueHarness, round: u64) {
    let mut admitted = BTreeMap::new();
    let mut routes = Vec::new();
    for topic in 0..TOPICS as u64 {
        // Every tenth is one of each round.
        let name = if topic % 10 == 0 { format!("/again/{topic}") } else { format!("/{round}/{topic}") };
        let priority = [Priority::High, Priority::Normal, Priority::Low][topic as usize % 3];
        let route = harness.route(&name, priority);
        let other_type = Route {
            topic: route.topic.towards(&format!("robots{name}/{}", round % 3)),
            packing: Default::default(),
            ..*route
        };
        let routes_of_topic = if topic % 7 == 0 { vec![route, Arc::new(other_type)] } else { vec![route] };
        for route in routes_of_topic {
            for record in 0..1 + topic % 3 {
                let number = topic * 100 + record;
                assert!(harness.admit(&route, number, 20 + topic as usize % 80));
                *admitted.entry(number).or_insert(0) += 1;
            }
            routes.push(route);
        }
    }
    harness.queue.set_link(round % 3 == 2);
    harness.work();
    for number in harness.send(TOPICS) {
        *admitted.get_mut(&number).unwrap() -= 1;
    }
    // They are wanted no more.
    harness.let_go();
    drop(routes);
    harness.work();
    harness.queue.maintain(harness.now);
    for number in harness.drain() {
        *admitted.get_mut(&number).unwrap() -= 1;
    }
    assert!(admitted.values().all(|left| *left == 0), "something is missing, or came twice");
    rest(harness);
}

/// Lets pass what it takes until everything is forgotten that can be.
fn rest(harness: &mut QueueHarness) {
    for _ in 0..3 {
        harness.work();
        harness.queue.maintain(harness.now);
    }
    harness.queue.shared.lock().store.check();
}

fn churn(durability: config::QueueDurability, rounds: u64) -> Sizes {
    let mut harness = QueueHarness::new(settings(durability));
    round(&mut harness, 0);
    let first = sizes(&harness);
    for number in 1..=rounds {
        round(&mut harness, number);
        assert_eq!(sizes(&harness), first, "after round {number}");
    }
    // Nor does the next process find anything of them.
    let next = harness.restart();
    assert!(next.queue.is_empty());
    first
}

/// Two thousand topics come and go, again and again, with records each and types that differ now and then: what is
/// known of topics, in memory and on the disk, is after each round what it was after the first one: nothing.
#[test]
fn topics_that_come_and_go_leave_nothing() {
    for durability in [Spill, Always] {
        let left = churn(durability, 3);
        let Sizes { registered, slots, in_lanes, of_log: [by_address, by_id, by_topic, all] } = left;
        assert_eq!((registered, slots, in_lanes), (0, 0, 0), "{left:?}");
        assert_eq!((by_address, by_id, by_topic), (0, 0, 0), "{left:?}");
        assert!(all <= 64, "{left:?}");
    }
}

/// As above on a real file system, for as many minutes as `IOT_BRIDGE_TEST_MINUTES` says; to be run by hand. Says what
/// memory the process has.
#[test]
#[ignore = "for as long as one likes"]
fn topics_that_come_and_go_for_long_leave_nothing() {
    let minutes: u64 = std::env::var("IOT_BRIDGE_TEST_MINUTES").map_or(10, |minutes| minutes.parse().unwrap());
    let resident = || std::fs::read_to_string("/proc/self/statm").unwrap().split(' ').nth(1).unwrap().to_owned();
    let directory = tempfile::tempdir().unwrap();
    // The simulated files remember each operation.
    let (seen, start) = (Arc::new(OsFiles::new(directory.path().join("queue"))), Instant::now());
    let times = (start, 1, Clock::of_boot(1, start));
    let mut harness = QueueHarness::start(SimulatedFiles::new(), seen, settings(Always), harness::WINDOW, times);
    let (mut number, mut said) = (0, start);
    let mut first = None;
    while start.elapsed() < Duration::from_secs(60 * minutes) {
        round(&mut harness, number);
        number += 1;
        assert_eq!(sizes(&harness), *first.get_or_insert_with(|| sizes(&harness)));
        if said.elapsed() > Duration::from_secs(30) {
            said = Instant::now();
            println!("{} s: {number} rounds, {} pages, {:?}", start.elapsed().as_secs(), resident(), sizes(&harness));
        }
    }
}

/// A topic whose priority has changed, and with it the lane to which its records come, is forgotten in the old lane
/// once all of it is sent there, and in the new one when nobody makes records of it any more.
#[test]
fn a_topic_in_two_lanes_is_forgotten_in_both() {
    for durability in [Spill, Always] {
        let mut harness = QueueHarness::new(settings(durability));
        let before = harness.route("/odom", Priority::Normal);
        (0..10).for_each(|number| assert!(harness.admit(&before, number, 20)));
        let topics = |harness: &QueueHarness| harness.queue.shared.lock().store.topics();
        let after = harness.route("/odom", Priority::High);
        harness.queue.put_in_force(&after);
        drop(before);
        assert!(harness.admit(&after, 10, 20));
        harness.queue.set_link(true);
        assert_eq!(topics(&harness), 2);
        assert_eq!(harness.drain(), std::iter::once(10).chain(0..10).collect::<Vec<_>>());
        rest(&mut harness);
        assert_eq!(topics(&harness), 1, "{durability:?}: the lane to which nothing comes any more");
        drop(after);
        harness.let_go();
        rest(&mut harness);
        assert_eq!((topics(&harness), harness.registered()), (0, (0, 0)), "{durability:?}");
    }
}

/// What was acknowledged of topics that are gone does not come again, though records of another, which is set aside,
/// keep it on the disk: a topic is not forgotten before the ledger knows that it is done, and the ledger goes on
/// knowing it.
#[test]
fn a_topic_that_is_gone_does_not_come_again() {
    for durability in [Spill, Always] {
        let mut harness = QueueHarness::new(settings(durability));
        let aside = harness.route("/aside", Priority::Normal);
        assert!(harness.admit(&aside, 0, 20));
        for number in 1..=80 {
            assert!(harness.admit(&harness.route(&format!("/{number}"), Priority::Normal), number, 20));
        }
        harness.work();
        harness.let_go();
        let wanted = |route: &Route| route.ros != "/aside";
        while let Some(lease) = harness.queue.lease_where(harness.now, &wanted) {
            assert!(harness.queue.acknowledge(lease.id));
        }
        harness.queue.maintain(harness.now);
        assert_eq!(harness.queue.shared.lock().store.topics(), 81, "forgotten before the ledger knows it");
        rest(&mut harness);
        assert_eq!(harness.queue.shared.lock().store.topics(), 1);
        // The segment with what waits names all of them.
        assert_eq!(harness.worker.registers(), [1, 1, 1, 81]);
        // Others come, with the routes' names and without, and the ledger is written again.
        for number in 70..90 {
            assert!(harness.admit(&harness.route(&format!("/{number}"), Priority::Normal), 1000 + number, 20));
        }
        harness.work();
        let mut next = QueueHarness::on(harness.files.after_power_cut(1), harness.settings.clone());
        assert_eq!(next.drain(), std::iter::once(0).chain(1070..1090).collect::<Vec<_>>());
    }
}

/// The file with all routes gets shorter, whatever operation of that fails or is the last before the power goes: every
/// record that was durable comes, to the topic it was for, and ids go on from where they were.
#[test]
fn the_routes_are_rewritten_safely() {
    let before = long_table(20);
    let operations = {
        let mut harness = QueueHarness::on(before.after_kill(), settings(Spill));
        let start = harness.files.operations();
        assert!(harness.files.read(ROUTES).unwrap().len() < 1000, "it is rewritten at the start");
        assert_eq!(names(&mut harness), waiting());
        start
    };
    let mut rewritten = 0;
    for operation in 0..operations {
        for cut in [false, true] {
            let files = before.after_kill();
            files.fault_at(operation, Fault::PowerCut { written: 100 });
            let harness = QueueHarness::on(files.clone(), settings(Spill));
            drop(harness);
            let next = if cut { files.after_power_cut(operation) } else { files.after_kill() };
            let mut harness = QueueHarness::on(next, settings(Spill));
            rewritten += usize::from(harness.files.read(ROUTES).unwrap().len() < 1000);
            let fresh = harness.route("/fresh", Priority::Normal);
            assert!(harness.admit(&fresh, 7777, 20));
            harness.stop();
            let mut harness = harness.kill();
            let mut expected = waiting();
            expected.push(("/fresh".to_owned(), 7777));
            // The ids that have been given are given to nobody else, though nothing names them any more.
            let routes = survey(&harness.files, &mut go_on).unwrap().routes;
            let id =
                (0..4 * LONG_AT_START as u32).find(|id| routes.get(*id).is_some_and(|route| route.ros == "/fresh"));
            assert_eq!(id, Some(LONG_AT_START as u32 + 2), "{operation} {cut}");
            assert_eq!(names(&mut harness), expected, "{operation} {cut}");
        }
    }
    assert!(rewritten > 0);
}

/// On a full disk the table stays as long as it is, and the queue opens all the same.
#[test]
fn a_table_that_can_not_be_rewritten_keeps_no_queue_closed() {
    let before = long_table(20);
    let log = {
        let harness = QueueHarness::on(before.after_kill(), settings(Spill));
        harness.files.log()
    };
    // What is removed needs no room.
    let takes_room = |action| action != Action::Remove;
    let of_new = |(_, operation): &(usize, Operation)| &*operation.path == NEW_ROUTES && takes_room(operation.action);
    let operations: Vec<_> = log.into_iter().enumerate().filter(of_new).map(|(number, _)| number as u64).collect();
    assert!(operations.len() > 3, "it is made, written, synced and renamed");
    for operation in operations {
        let files = before.after_kill();
        files.fault_at(operation, Fault::Fail(Errno::NOSPC));
        let mut harness = QueueHarness::on(files, settings(Spill));
        let disk = harness.queue.figures().disk.expect("a disk");
        assert_eq!(disk.trouble, None, "{operation}");
        assert_eq!(names(&mut harness), waiting(), "{operation}");
    }
}

/// What the device does not give at a start may name any route. So the table stays as long as it is, and the start that
/// can read it finds the topic of each record, also where the segment's own copy of the route is damaged.
#[test]
fn what_can_not_be_read_keeps_its_routes() {
    let before = long_table(5000);
    let is_waiting = |path: &String| path.starts_with("low/");
    let segment = before.paths().into_iter().find(is_waiting).expect("a segment with what waits");
    let content = before.read(&segment).unwrap();
    let name = content.windows(6).position(|bytes| bytes == b"/other").expect("the second route") as u64;
    before.corrupt(&segment, name, b"/OTHER");
    before.fail_reads(&segment, name..u64::MAX);
    let routes = before.read(ROUTES).unwrap().len();
    let mut harness = QueueHarness::on(before.after_kill(), settings(Spill));
    harness.work();
    assert_eq!(harness.files.read(ROUTES).unwrap().len(), routes);
    let files = harness.kill().files.after_kill();
    files.heal();
    let mut harness = QueueHarness::on(files, settings(Spill));
    assert_eq!(names(&mut harness), waiting());
    assert!(harness.files.read(ROUTES).unwrap().len() < 1000, "it is rewritten once all can be read");
}

/// A disk with records of two topics, of so many `bytes` each, and the routes of very many others of which all is done.
fn long_table(bytes: usize) -> SimulatedFiles {
    let mut harness = QueueHarness::new(settings(Spill));
    for (ros, number) in waiting() {
        let route = harness.route(&ros, Priority::Low);
        assert!(harness.admit(&route, number, bytes));
    }
    harness.work();
    for topic in 0..LONG_AT_START as u64 {
        let route = harness.route(&format!("/{topic}"), Priority::Normal);
        assert!(harness.admit(&route, topic, 20));
    }
    harness.work();
    harness.send(LONG_AT_START);
    // Everybody has the topics still, so the routes stay.
    harness.stop();
    assert!(harness.files.read(ROUTES).unwrap().len() > 10_000);
    harness.files.after_kill()
}

fn waiting() -> Vec<(String, u64)> {
    [("/left", 1000), ("/left", 1001), ("/other", 1002)].map(|(ros, number)| (ros.to_owned(), number)).into()
}

/// All that is sent, with its topic.
fn names(harness: &mut QueueHarness) -> Vec<(String, u64)> {
    let mut sent = Vec::new();
    for _ in 0..10 {
        harness.work();
        while let Some(lease) = harness.queue.lease(harness.now) {
            sent.push((lease.record.route.ros.clone(), number_of(&lease)));
            assert!(harness.queue.acknowledge(lease.id));
        }
    }
    sent.sort_by_key(|(_, number)| *number);
    sent
}
