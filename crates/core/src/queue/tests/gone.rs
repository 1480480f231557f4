//! The disk, or a file on it, goes away while the queue runs.

use std::collections::BTreeSet;

use super::robot::{Robot, settings};
use super::*;
use crate::config::QueueDurability::{Always, Spill};
use crate::files::Files;
use crate::queue::disk::ledger::LEDGER;
use crate::queue::disk::route_table::ROUTES;
use crate::queue::disk::{LANES, LOCK};

const TOPICS: [(&str, Priority); 4] =
    [("/high", Priority::High), ("/one", Priority::Normal), ("/two", Priority::Normal), ("/low", Priority::Low)];

/// Admits so many records of each topic, from `first` on; a number has its topic in the upper half.
fn admit(robot: &Robot, first: u64, records: u64) {
    for (topic, (ros, priority)) in TOPICS.into_iter().enumerate() {
        let route = robot.route(ros, priority);
        for number in first..first + records {
            assert!(robot.admit(&route, (topic as u64) << 32 | number, 200));
        }
    }
}

fn trouble(robot: &Robot) -> Option<String> {
    robot.queue.figures().disk.unwrap().trouble
}

fn check(robot: &Robot) {
    robot.queue.shared.lock().store.check();
    robot.check_accounts();
}

/// Works until the disk is in use; that it is not is noticed in the first turn.
fn comes_back(robot: &mut Robot) {
    robot.work();
    check(robot);
    assert!(trouble(robot).is_some(), "nothing is noticed");
    robot.work();
    check(robot);
    assert_eq!(trouble(robot), None);
    robot.work();
    assert_eq!(robot.queue.figures().memory_only(), 0);
}

/// Each topic's numbers rise from 0 on without a hole.
fn check_complete(arrived: &[u64], records: u64, told: &str) {
    for topic in 0..TOPICS.len() as u64 {
        let own = arrived.iter().filter(|number| *number >> 32 == topic).map(|number| number & 0xffff_ffff);
        assert!(own.clone().eq(0..records), "{told}: {}: {:?}", TOPICS[topic as usize].0, own.collect::<Vec<_>>());
    }
}

/// A queue with everything on the disk and in memory too, of which some is in flight and some acknowledged out of its
/// order. Returns what is acknowledged, too.
fn begun(durability: config::QueueDurability) -> (Robot, Vec<u64>) {
    let mut robot = Robot::new(settings(durability));
    admit(&robot, 0, 10);
    robot.work();
    let leases: Vec<_> = (0..8).map_while(|_| robot.queue.lease(robot.now)).collect();
    let mut acknowledged = Vec::new();
    for lease in leases.iter().skip(2) {
        assert!(robot.queue.acknowledge(lease.id));
        acknowledged.push(super::robot::number_of(lease));
    }
    check(&robot);
    (robot, acknowledged)
}

/// When another file system is in the place of the one with the queue, the queue goes on in memory and says so; then it
/// takes the new one, with its lock, and all that is in memory is on it: a power cut costs nothing of that.
#[test]
fn a_new_disk_takes_what_is_in_memory() {
    for durability in [Spill, Always] {
        let (mut robot, acknowledged) = begun(durability);
        let old = robot.files.mount_empty();
        admit(&robot, 10, 5);
        comes_back(&mut robot);
        assert_eq!(robot.files.lock(LOCK).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        admit(&robot, 15, 5);
        robot.queue.requeue();
        robot.work();
        let sequence_start = robot.queue.sequence_start();
        let mut robot = robot.cut_power(5);
        assert!(robot.queue.sequence_start() >= sequence_start + (1 << 28));
        let mut arrived = robot.drain();
        arrived.extend(acknowledged);
        arrived.sort_unstable();
        check_complete(&arrived, 20, "");
        drop(old);
    }
}

/// What was on the old disk only is lost with it, and counted; what came after is sent in its order.
#[test]
fn what_was_on_the_old_disk_only_is_counted() {
    let mut robot = Robot::new(settings(Spill));
    for hundred in 0..50 {
        admit(&robot, 100 * hundred, 100);
        robot.work();
    }
    let on_disk_only = robot.queue.figures().queued_on_disk();
    assert!(on_disk_only > 5000, "{on_disk_only}");
    robot.files.mount_empty();
    comes_back(&mut robot);
    admit(&robot, 5000, 10);
    let arrived = robot.drain();
    let dropped: u64 = robot.topics().iter().map(|own| own.counters.dropped(DropReason::Damaged)).sum();
    assert_eq!((dropped, arrived.len() as u64), (on_disk_only, 4 * 5010 - on_disk_only));
    for topic in 0..4 {
        let own: Vec<_> = arrived.iter().filter(|number| *number >> 32 == topic).collect();
        assert!(own.is_sorted_by(|one, other| one < other), "{own:?}");
    }
    robot.check_accounts();
}

/// The disk that was away comes back: what is on it is the queue's, and nothing comes twice.
#[test]
fn the_same_disk_comes_back() {
    for durability in [Spill, Always] {
        let mut robot = Robot::new(settings(durability));
        for hundred in 0..50 {
            admit(&robot, 100 * hundred, 100);
            robot.work();
        }
        let mut arrived = robot.send(100);
        let away = robot.files.mount_empty();
        admit(&robot, 5000, 10);
        // It is noticed, and the old one is there before the new one is taken.
        robot.work();
        assert!(trouble(&robot).is_some());
        arrived.extend(robot.send(20));
        robot.files.mount(away);
        robot.work();
        assert_eq!(trouble(&robot), None);
        robot.work();
        check(&robot);
        arrived.extend(robot.send(1000));
        robot.work();
        let mut robot = robot.kill();
        let rest = robot.drain();
        let again = rest.iter().filter(|number| arrived.contains(number)).count();
        assert!(again <= super::robot::WINDOW, "{again} came again");
        arrived.extend(rest);
        let arrived: Vec<_> = arrived.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        check_complete(&arrived, 5010, "");
    }
}

/// A disk with records of another queue is taken once nothing is in flight: those are sent first.
#[test]
fn a_disk_with_another_queue_is_taken_too() {
    let mut robot = Robot::new(settings(Spill));
    admit(&robot, 100, 3);
    robot.work();
    let own = robot.files.mount_empty();
    let mut theirs = Robot::on(robot.files.clone(), settings(Spill));
    admit(&theirs, 0, 4);
    theirs.work();
    drop((theirs, own));
    let lease = robot.queue.lease(robot.now).unwrap();
    for _ in 0..3 {
        robot.work();
        check(&robot);
        assert!(trouble(&robot).is_some(), "it is taken while a record is in flight");
    }
    assert!(robot.queue.acknowledge(lease.id));
    robot.work();
    assert_eq!(trouble(&robot), None);
    let arrived = robot.drain();
    assert_eq!(arrived.len(), 16 + 11, "{arrived:x?}");
    for topic in 0..4 {
        let own: Vec<_> = arrived.iter().filter(|number| *number >> 32 == topic).collect();
        assert!(own.is_sorted_by(|one, other| one < other), "{own:?}");
    }
    check(&robot);
}

/// Whichever file somebody removes, or a lane's whole directory: it is noticed once the queue comes by, what is in
/// memory arrives and is on the disk again, and the queue goes on.
#[test]
fn a_file_that_is_removed_costs_nothing_in_memory() {
    for durability in [Spill, Always] {
        let lanes = LANES.map(super::super::disk::segment::directory);
        let (template, _) = begun(durability);
        let segments = template.files.paths().into_iter().filter(|path| path.ends_with(".seg"));
        let victims: Vec<String> =
            segments.chain([LOCK, LEDGER, ROUTES].map(str::to_owned)).chain(lanes.map(str::to_owned)).collect();
        for victim in victims {
            let (mut robot, acknowledged) = begun(durability);
            let doomed: Vec<_> = robot.files.paths().into_iter().filter(|path| path.starts_with(&victim)).collect();
            assert!(!doomed.is_empty(), "{victim}");
            doomed.iter().for_each(|path| robot.files.remove(path).unwrap());
            robot.work();
            assert_eq!(trouble(&robot).is_some(), victim != ROUTES, "{victim}");
            admit(&robot, 10, 5);
            for _ in 0..3 {
                robot.work();
                check(&robot);
            }
            assert_eq!((trouble(&robot), robot.queue.figures().memory_only()), (None, 0), "{victim}");
            robot.queue.requeue();
            let mut robot = robot.cut_power(7);
            let mut arrived = robot.drain();
            arrived.extend(&acknowledged);
            let arrived: Vec<_> = arrived.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
            check_complete(&arrived, 15, &victim);
        }
    }
}

/// When the last files of a backlog are removed, what was only there is lost and counted; what comes then takes no
/// number of theirs, comes once, and in its order.
#[test]
fn the_last_files_of_a_backlog_are_removed() {
    for removed in 1..4 {
        let mut robot = Robot::new(settings(Spill));
        for hundred in 0..80 {
            admit(&robot, 100 * hundred, 100);
            robot.work();
        }
        let segments = robot.files.paths().into_iter().filter(|path| path.starts_with("normal/"));
        let segments: Vec<_> = segments.collect();
        assert!(segments.len() > 3, "{segments:?}");
        segments.iter().rev().take(removed).for_each(|path| robot.files.remove(path).unwrap());
        comes_back(&mut robot);
        for hundred in 80..120 {
            admit(&robot, 100 * hundred, 100);
            robot.work();
        }
        let arrived = robot.drain();
        let dropped: u64 = robot.topics().iter().map(|own| own.counters.dropped(DropReason::Damaged)).sum();
        assert_eq!(arrived.len() as u64 + dropped, 4 * 12_000, "{removed}");
        for topic in 0..4 {
            let own: Vec<_> = arrived.iter().filter(|number| *number >> 32 == topic).collect();
            assert!(own.is_sorted_by(|one, other| one < other), "{removed}");
        }
        check(&robot);
    }
}

/// A queue that is stopped just when its disk was replaced writes all it has to the new one.
#[test]
fn a_stop_finds_the_new_disk() {
    let (mut robot, acknowledged) = begun(Spill);
    robot.queue.requeue();
    robot.files.mount_empty();
    robot.stop();
    let mut arrived = robot.kill().drain();
    arrived.extend(acknowledged);
    arrived.sort_unstable();
    check_complete(&arrived, 10, "");
}

/// A topic counts in one place, also one that came after the start, was taken out and put in again while its records
/// wait on a disk that goes and comes back: nothing is counted down where it was not counted up.
#[test]
fn a_topic_counts_in_one_place() {
    let mut robot = Robot::new(settings(Spill));
    admit(&robot, 0, 10);
    robot.work();
    let late = robot.route("/late", Priority::Normal);
    for number in 0..8000 {
        assert!(robot.admit(&late, number, 1000));
        if number % 100 == 99 {
            robot.work();
        }
    }
    assert!(robot.queue.figures().queued_on_disk() > 1000);
    let counters = Arc::clone(&late.counters);
    robot.let_go();
    drop(late);
    let away = robot.files.mount_empty();
    robot.work();
    assert!(trouble(&robot).is_some());
    robot.files.mount(away);
    robot.work();
    robot.queue.maintain(robot.now);
    assert_eq!(trouble(&robot), None);
    let again = robot.route("/late", Priority::Normal);
    assert!(Arc::ptr_eq(&again.counters, &counters));
    for number in 8000..8010 {
        assert!(robot.admit(&again, number, 1000));
    }
    let late = robot.drain().into_iter().filter(|number| number >> 32 == 0 && *number >= 10);
    assert!(late.eq(10..8010));
    let account = robot.queue.account(&counters);
    assert_eq!((account.received, account.recovered, account.queued, account.in_flight), (8010, 0, 0, 0));
    assert_eq!(account.acknowledged + account.dropped, 8010);
}
