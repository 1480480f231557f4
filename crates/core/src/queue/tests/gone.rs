//! The disk, or a file on it, goes away while the queue runs.

use std::collections::BTreeSet;

use super::*;
use crate::config::QueueDurability::{Always, Spill};
use crate::files::Files;
use crate::queue::disk::ledger::LEDGER;
use crate::queue::disk::route_table::ROUTES;
use crate::queue::disk::{LANES, LOCK};
use crate::queue::testing::harness::{QueueHarness, settings};

const TOPICS: [(&str, Priority); 4] =
    [("/high", Priority::High), ("/one", Priority::Normal), ("/two", Priority::Normal), ("/low", Priority::Low)];

/// Admits so many records of each topic, from `first` on; a number has its topic in the upper half.
fn admit(harness: &QueueHarness, first: u64, records: u64) {
    for (topic, (ros, priority)) in TOPICS.into_iter().enumerate() {
        let route = harness.route(ros, priority);
        for number in first..first + records {
            assert!(harness.admit(&route, (topic as u64) << 32 | number, 200));
        }
    }
}

fn trouble(harness: &QueueHarness) -> Option<String> {
    harness.queue.figures().disk.unwrap().trouble
}

fn check(harness: &QueueHarness) {
    harness.queue.shared.lock().store.check();
    harness.check_accounts();
}

/// Works until the disk is in use; that it is not is noticed in the first turn.
fn comes_back(harness: &mut QueueHarness) {
    harness.work();
    check(harness);
    assert!(trouble(harness).is_some(), "nothing is noticed");
    harness.work();
    check(harness);
    assert_eq!(trouble(harness), None);
    harness.work();
    assert_eq!(harness.queue.figures().memory_only(), 0);
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
fn begun(durability: config::QueueDurability) -> (QueueHarness, Vec<u64>) {
    let mut harness = QueueHarness::new(settings(durability));
    admit(&harness, 0, 10);
    harness.work();
    let leases: Vec<_> = (0..8).map_while(|_| harness.queue.lease(harness.now)).collect();
    let mut acknowledged = Vec::new();
    for lease in leases.iter().skip(2) {
        assert!(harness.queue.acknowledge(lease.id));
        acknowledged.push(harness::number_of(lease));
    }
    check(&harness);
    (harness, acknowledged)
}

/// When another file system is in the place of the one with the queue, the queue goes on in memory and says so; then it
/// takes the new one, with its lock, and all that is in memory is on it: a power cut costs nothing of that.
#[test]
fn a_new_disk_takes_what_is_in_memory() {
    for durability in [Spill, Always] {
        let (mut harness, acknowledged) = begun(durability);
        let old = harness.files.mount_empty();
        admit(&harness, 10, 5);
        comes_back(&mut harness);
        assert_eq!(harness.files.lock(LOCK).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        admit(&harness, 15, 5);
        harness.queue.requeue();
        harness.work();
        let sequence_start = harness.queue.sequence_start();
        let mut harness = harness.cut_power(5);
        assert!(harness.queue.sequence_start() >= sequence_start + (1 << 28));
        let mut arrived = harness.drain();
        arrived.extend(acknowledged);
        arrived.sort_unstable();
        check_complete(&arrived, 20, "");
        drop(old);
    }
}

/// What was on the old disk only is lost with it, and counted; what came after is sent in its order.
#[test]
fn what_was_on_the_old_disk_only_is_counted() {
    let mut harness = QueueHarness::new(settings(Spill));
    for hundred in 0..50 {
        admit(&harness, 100 * hundred, 100);
        harness.work();
    }
    let on_disk_only = harness.queue.figures().queued_on_disk();
    assert!(on_disk_only > 5000, "{on_disk_only}");
    harness.files.mount_empty();
    comes_back(&mut harness);
    admit(&harness, 5000, 10);
    let arrived = harness.drain();
    let dropped: u64 = harness.topics().iter().map(|own| own.counters.dropped(DropReason::Damaged)).sum();
    assert_eq!((dropped, arrived.len() as u64), (on_disk_only, 4 * 5010 - on_disk_only));
    for topic in 0..4 {
        let own: Vec<_> = arrived.iter().filter(|number| *number >> 32 == topic).collect();
        assert!(own.is_sorted_by(|one, other| one < other), "{own:?}");
    }
    harness.check_accounts();
}

/// The disk that was away comes back: what is on it is the queue's, and nothing comes twice.
#[test]
fn the_same_disk_comes_back() {
    for durability in [Spill, Always] {
        let mut harness = QueueHarness::new(settings(durability));
        for hundred in 0..50 {
            admit(&harness, 100 * hundred, 100);
            harness.work();
        }
        let mut arrived = harness.send(100);
        let away = harness.files.mount_empty();
        admit(&harness, 5000, 10);
        // It is noticed, and the old one is there before the new one is taken.
        harness.work();
        assert!(trouble(&harness).is_some());
        arrived.extend(harness.send(20));
        harness.files.mount(away);
        harness.work();
        assert_eq!(trouble(&harness), None);
        harness.work();
        check(&harness);
        arrived.extend(harness.send(1000));
        harness.work();
        let mut harness = harness.kill();
        let rest = harness.drain();
        let again = rest.iter().filter(|number| arrived.contains(number)).count();
        assert!(again <= harness::WINDOW, "{again} came again");
        arrived.extend(rest);
        let arrived: Vec<_> = arrived.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        check_complete(&arrived, 5010, "");
    }
}

/// A disk with records of another queue is taken once nothing is in flight: those are sent first.
#[test]
fn a_disk_with_another_queue_is_taken_too() {
    let mut harness = QueueHarness::new(settings(Spill));
    admit(&harness, 100, 3);
    harness.work();
    let own = harness.files.mount_empty();
    let mut theirs = QueueHarness::on(harness.files.clone(), settings(Spill));
    admit(&theirs, 0, 4);
    theirs.work();
    drop((theirs, own));
    let lease = harness.queue.lease(harness.now).unwrap();
    for _ in 0..3 {
        harness.work();
        check(&harness);
        assert!(trouble(&harness).is_some(), "it is taken while a record is in flight");
    }
    assert!(harness.queue.acknowledge(lease.id));
    harness.work();
    assert_eq!(trouble(&harness), None);
    let arrived = harness.drain();
    assert_eq!(arrived.len(), 16 + 11, "{arrived:x?}");
    for topic in 0..4 {
        let own: Vec<_> = arrived.iter().filter(|number| *number >> 32 == topic).collect();
        assert!(own.is_sorted_by(|one, other| one < other), "{own:?}");
    }
    check(&harness);
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
            let (mut harness, acknowledged) = begun(durability);
            let doomed: Vec<_> = harness.files.paths().into_iter().filter(|path| path.starts_with(&victim)).collect();
            assert!(!doomed.is_empty(), "{victim}");
            doomed.iter().for_each(|path| harness.files.remove(path).unwrap());
            harness.work();
            assert_eq!(trouble(&harness).is_some(), victim != ROUTES, "{victim}");
            admit(&harness, 10, 5);
            for _ in 0..3 {
                harness.work();
                check(&harness);
            }
            assert_eq!((trouble(&harness), harness.queue.figures().memory_only()), (None, 0), "{victim}");
            harness.queue.requeue();
            let mut harness = harness.cut_power(7);
            let mut arrived = harness.drain();
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
        let mut harness = QueueHarness::new(settings(Spill));
        for hundred in 0..80 {
            admit(&harness, 100 * hundred, 100);
            harness.work();
        }
        let segments = harness.files.paths().into_iter().filter(|path| path.starts_with("normal/"));
        let segments: Vec<_> = segments.collect();
        assert!(segments.len() > 3, "{segments:?}");
        segments.iter().rev().take(removed).for_each(|path| harness.files.remove(path).unwrap());
        comes_back(&mut harness);
        for hundred in 80..120 {
            admit(&harness, 100 * hundred, 100);
            harness.work();
        }
        let arrived = harness.drain();
        let dropped: u64 = harness.topics().iter().map(|own| own.counters.dropped(DropReason::Damaged)).sum();
        assert_eq!(arrived.len() as u64 + dropped, 4 * 12_000, "{removed}");
        for topic in 0..4 {
            let own: Vec<_> = arrived.iter().filter(|number| *number >> 32 == topic).collect();
            assert!(own.is_sorted_by(|one, other| one < other), "{removed}");
        }
        check(&harness);
    }
}

/// A queue that is stopped just when its disk was replaced writes all it has to the new one.
#[test]
fn a_stop_finds_the_new_disk() {
    let (mut harness, acknowledged) = begun(Spill);
    harness.queue.requeue();
    harness.files.mount_empty();
    harness.stop();
    let mut arrived = harness.kill().drain();
    arrived.extend(acknowledged);
    arrived.sort_unstable();
    check_complete(&arrived, 10, "");
}

/// A topic counts in one place, also one that came after the start, was taken out and put in again while its records
/// wait on a disk that goes and comes back: nothing is counted down where it was not counted up.
#[test]
fn a_topic_counts_in_one_place() {
    let mut harness = QueueHarness::new(settings(Spill));
    admit(&harness, 0, 10);
    harness.work();
    let late = harness.route("/late", Priority::Normal);
    for number in 0..8000 {
        assert!(harness.admit(&late, number, 1000));
        if number % 100 == 99 {
            harness.work();
        }
    }
    assert!(harness.queue.figures().queued_on_disk() > 1000);
    let counters = Arc::clone(&late.counters);
    harness.let_go();
    drop(late);
    let away = harness.files.mount_empty();
    harness.work();
    assert!(trouble(&harness).is_some());
    harness.files.mount(away);
    harness.work();
    harness.queue.maintain(harness.now);
    assert_eq!(trouble(&harness), None);
    let again = harness.route("/late", Priority::Normal);
    assert!(Arc::ptr_eq(&again.counters, &counters));
    for number in 8000..8010 {
        assert!(harness.admit(&again, number, 1000));
    }
    let late = harness.drain().into_iter().filter(|number| number >> 32 == 0 && *number >= 10);
    assert!(late.eq(10..8010));
    let account = harness.queue.account(&counters);
    assert_eq!((account.received, account.recovered, account.queued, account.in_flight), (8010, 0, 0, 0));
    assert_eq!(account.acknowledged + account.dropped, 8010);
}
