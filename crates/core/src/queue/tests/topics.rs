//! Many topics at once.

use std::cell::Cell;

use super::*;
use crate::config::QueueDurability::{Always, Spill};
use crate::files::simulated::Action;
use crate::queue::disk::survey::{go_on, survey};
use crate::queue::testing::harness::{QueueHarness, number_of, settings};

/// Of thousands of topics one is set aside: its records wait on the disk, before those of all others. What was
/// acknowledged of the others does not come again after a restart, and no more than fit the window may do so when the
/// process is killed at any time.
#[test]
fn one_topic_set_aside_among_thousands_brings_nothing_back() {
    const TOPICS: u64 = 3000;
    let mut harness = QueueHarness::new(settings(Always));
    let aside = harness.route("/aside", Priority::Normal);
    (0..10).for_each(|number| assert!(harness.admit(&aside, number, 20)));
    harness.work();
    for topic in 1..=TOPICS {
        let route = harness.route(&format!("/topic_{topic:04}"), Priority::Normal);
        assert!(harness.admit(&route, topic * 100, 20));
    }
    harness.work();
    let wanted = |route: &Route| route.ros != "/aside";
    let mut acknowledged = 0;
    while acknowledged < TOPICS {
        let Some(lease) = harness.queue.lease_where(harness.now, &wanted) else {
            harness.work();
            continue;
        };
        assert!(number_of(&lease) >= 100 && harness.queue.acknowledge(lease.id));
        acknowledged += 1;
        if acknowledged == TOPICS / 2 {
            // The most that may be done without the disk knowing it.
            let mut killed = QueueHarness::on(harness.files.after_kill(), harness.settings.clone());
            let twice = killed.drain().len() as u64 - 10 - (TOPICS - acknowledged);
            assert!(twice <= harness::WINDOW as u64, "{twice} came again");
        }
    }
    harness.work();
    assert!(harness.queue.figures().disk.unwrap().trouble.is_none());
    for mut next in [harness.files.after_kill(), harness.files.after_power_cut(3)]
        .map(|files| QueueHarness::on(files, harness.settings.clone()))
    {
        assert_eq!(next.drain(), (0..10).collect::<Vec<_>>());
        next.check_accounts();
        // Once nothing pins it, nothing of all that is left to be known.
        next.work();
        assert_eq!(next.drain(), Vec::<u64>::new());
    }
}

/// A queue with records of so many topics on the disk, of which each has more there than in memory.
fn with_backlogs(topics: u64) -> QueueHarness {
    let mut harness = QueueHarness::new(config::Queue { memory: 2 << 20, ..settings(Spill) });
    let routes: Vec<_> = (0..topics).map(|topic| harness.route(&format!("/{topic:04}"), Priority::Normal)).collect();
    for number in 0..4800 {
        assert!(harness.admit(&routes[number as usize % routes.len()], number, 100));
    }
    harness.stop();
    let mut harness = harness.kill();
    harness.work();
    assert!(harness.queue.figures().lanes[1].queued_on_disk > 4000);
    harness
}

/// A lease does not ask for each topic of which something is on the disk: it costs the same beside 1,600 of them as
/// beside 100.
#[test]
fn a_backlog_of_others_costs_a_lease_nothing() {
    for topics in [100, 1600] {
        let harness = with_backlogs(topics);
        let asked = Cell::new(0);
        let wanted = |_: &Route| {
            asked.set(asked.get() + 1);
            true
        };
        for _ in 0..20 {
            assert!(harness.queue.shared.lock().store.has_next(harness.now, &wanted));
            let lease = harness.queue.lease_where(harness.now, &wanted).expect("a record waits");
            assert!(harness.queue.acknowledge(lease.id));
        }
        assert!(asked.get() <= 100, "{} for 20 leases beside {topics} topics", asked.get());
    }
}

/// Who asks whether something more urgent has come leaves the others alone: none of their topics is asked, and what has been
/// read ahead of them stays in memory.
#[test]
fn a_look_at_higher_lanes_leaves_a_backlog_alone() {
    let mut harness = with_backlogs(100);
    let held = harness.queue.lease(harness.now).expect("a record waits");
    harness.work();
    let on_disk = |harness: &QueueHarness| harness.queue.figures().lanes[1].queued_on_disk;
    let before = on_disk(&harness);
    let asked = Cell::new(0);
    let wanted = |_: &Route| {
        asked.set(asked.get() + 1);
        true
    };
    for priority in [Priority::High, Priority::Normal] {
        assert!(harness.queue.lease_above(priority, harness.now, &wanted).is_none());
    }
    harness.work();
    assert_eq!((asked.get(), on_disk(&harness)), (0, before));
    // It is there for those below.
    assert_eq!(number_of(&held), 0);
    let urgent = harness.route("/urgent", Priority::High);
    assert!(harness.admit(&urgent, 5000, 20));
    let lease = harness.queue.lease_above(Priority::Normal, harness.now, &wanted).expect("it waits");
    assert_eq!((number_of(&lease), asked.get() > 0), (5000, true));
    assert!(harness.queue.lease_above(Priority::Low, harness.now, &|_| true).is_some(), "the backlog is above that");
}

/// What is read from the disk changes the topics that have something there alone, and costs the same beside 1,600 others of
/// which nothing waits as beside 100.
#[test]
fn reading_a_backlog_leaves_other_topics_alone() {
    let changes = |topics: u64| {
        let mut harness = QueueHarness::new(config::Queue { memory: 8 << 20, ..settings(Spill) });
        let backlog = harness.route("/backlog", Priority::Normal);
        (0..1000).for_each(|number| assert!(harness.admit(&backlog, number, 100)));
        harness.stop();
        let mut harness = harness.kill();
        harness.queue.set_link(true);
        let others: Vec<_> =
            (0..topics).map(|topic| harness.route(&format!("/{topic:04}"), Priority::Normal)).collect();
        for (number, other) in others.iter().enumerate() {
            assert!(harness.admit(other, number as u64, 100));
            let lease = harness.queue.lease_where(harness.now, &|route: &Route| route.ros != "/backlog");
            assert!(harness.queue.acknowledge(lease.expect("it waits").id));
        }
        let changes = |harness: &QueueHarness| harness.queue.shared.lock().store.changes();
        let before = changes(&harness);
        harness.work();
        assert_eq!(harness.queue.figures().lanes[1].queued_on_disk, 0, "all of it is read");
        changes(&harness) - before
    };
    assert_eq!(changes(1600), changes(100));
}

/// Sends so many records of topics that `wanted` accepts, and has the ledger know it.
fn send_all(harness: &mut QueueHarness, records: u64, wanted: &dyn Fn(&Route) -> bool) {
    let mut left = records;
    while left > 0 {
        match harness.queue.lease_where(harness.now, wanted) {
            Some(lease) => {
                assert!(harness.queue.acknowledge(lease.id));
                left -= 1;
            }
            None => harness.work(),
        }
    }
    harness.work();
}

/// What is written of one topic, sent and noted in the ledger leaves topics alone on which nothing happens: it changes as many
/// topics beside 1,600 of them as beside 100, and of none of them the ledger is told again what it knows, though a record
/// that is set aside keeps all of it there.
#[test]
fn what_is_done_costs_what_has_changed() {
    let changes = |topics: u64| {
        let mut harness = QueueHarness::new(settings(Always));
        let wanted = |route: &Route| route.ros != "/aside";
        let send = |harness: &mut QueueHarness, route: &Arc<Route>, number| {
            assert!(harness.admit(route, number, 20));
            harness.work();
            let lease = harness.queue.lease_where(harness.now, &wanted).expect("it waits");
            assert!(harness.queue.acknowledge(lease.id));
        };
        let aside = harness.route("/aside", Priority::Normal);
        assert!(harness.admit(&aside, 0, 20));
        let others: Vec<_> =
            (1..=topics).map(|topic| harness.route(&format!("/{topic:04}"), Priority::Normal)).collect();
        for (other, number) in others.iter().zip(1..) {
            assert!(harness.admit(other, number, 20));
        }
        harness.work();
        send_all(&mut harness, topics, &wanted);
        let active = harness.route("/active", Priority::Normal);
        send(&mut harness, &active, 5000);
        harness.work();
        let changes = |harness: &QueueHarness| harness.queue.shared.lock().store.changes();
        let before = changes(&harness);
        for number in 5001..5011 {
            send(&mut harness, &active, number);
            let told = harness.queue.shared.lock().store.done(Priority::Normal, u64::MAX).topics;
            assert!(told.len() <= 1, "{told:?}");
            harness.work();
            let told = harness.queue.shared.lock().store.done(Priority::Normal, u64::MAX).topics;
            assert!(told.is_empty(), "the ledger knows it: {told:?}");
        }
        let changes = changes(&harness) - before;
        harness.queue.shared.lock().store.check();
        let mut next = harness.kill();
        assert_eq!(next.drain(), [0], "the ledger knows of all the others");
        changes
    };
    assert_eq!(changes(1600), changes(100));
}

/// The first records of very many topics go to the disk together, their routes with one sync.
#[test]
fn the_routes_of_many_topics_are_synced_together() {
    let mut harness = QueueHarness::new(settings(Spill));
    for topic in 0..1600 {
        let route = harness.route(&format!("/{topic:04}"), Priority::Normal);
        assert!(harness.admit(&route, topic, 20));
    }
    let before = harness.files.log().len();
    harness.stop();
    let log = harness.files.log();
    let syncs = log[before..].iter().filter(|operation| operation.action == Action::Sync).count();
    assert!(syncs < 20, "{syncs}");
    assert_eq!(harness.kill().drain(), (0..1600).collect::<Vec<_>>());
}

/// A start finds what is done of each topic at once, also where the ledger has very many of them: it takes about as long
/// for each of 4,000 as of 500.
#[test]
fn a_start_with_thousands_in_the_ledger_is_a_short_one() {
    /// The shortest time that a start took for each topic.
    fn shortest(topics: u64) -> Duration {
        let mut harness = QueueHarness::new(settings(Always));
        let aside = harness.route("/aside", Priority::Normal);
        assert!(harness.admit(&aside, 0, 20));
        let routes: Vec<_> =
            (0..topics).map(|topic| harness.route(&format!("/{topic:04}"), Priority::Normal)).collect();
        for (number, route) in routes.iter().chain(&routes).enumerate() {
            assert!(harness.admit(route, 1 + number as u64, 20));
        }
        harness.work();
        send_all(&mut harness, topics, &|route: &Route| route.ros != "/aside");
        let shortest = (0..5).map(|_| {
            let begun = Instant::now();
            let found = survey(&harness.files, &mut go_on).unwrap();
            let took = begun.elapsed();
            let left: u64 = found.lanes.iter().flat_map(|lane| lane.pending.values()).map(|left| left.records).sum();
            assert_eq!(left, topics + 1);
            took
        });
        shortest.min().unwrap() / topics as u32
    }
    let (few, many) = (shortest(500), shortest(4000));
    assert!(many < 3 * few, "{few:?} a topic of 500, {many:?} of 4,000");
}

/// What nobody wants now is not read from the disk, or is put back, however much of it is before what is wanted; when
/// it is wanted again, all of it comes, in its order.
#[test]
fn what_nobody_wants_holds_nobody_up() {
    // Who asks first whether there is something is heard as who leases is.
    for asks_first in [false, true] {
        let mut harness = QueueHarness::new(config::Queue { memory: 1 << 20, ..settings(Spill) });
        let [aside, other] = ["/aside", "/other"].map(|ros| harness.route(ros, Priority::Normal));
        for (route, first) in [(&aside, 0), (&other, 1000)] {
            for number in first..first + 200 {
                assert!(harness.admit(route, number, 4000));
                harness.work();
            }
        }
        harness = harness.kill();
        harness.work();
        let wanted = |route: &Route| route.ros != "/aside";
        let (mut sent, mut turns) = (Vec::new(), 0);
        while sent.len() < 200 {
            harness.queue.shared.lock().store.check();
            let may_lease = !asks_first || harness.queue.shared.lock().store.has_next(harness.now, &wanted);
            if may_lease && let Some(lease) = harness.queue.lease_where(harness.now, &wanted) {
                sent.push(number_of(&lease));
                assert!(harness.queue.acknowledge(lease.id));
                continue;
            }
            turns += 1;
            assert!(turns < 100, "{} were sent, and nothing more comes", sent.len());
            harness.work();
        }
        assert_eq!(sent, (1000..1200).collect::<Vec<_>>());
        harness.work();
        assert_eq!(harness.queue.figures().lanes[1].queued_on_disk, 200, "nothing is in memory that nobody wants");
        if asks_first {
            assert!(!harness.queue.shared.lock().store.has_next(harness.now, &|_| true));
        } else {
            assert!(harness.queue.lease(harness.now).is_none());
        }
        harness.work();
        assert!(harness.queue.figures().lanes[1].queued_on_disk < 200);
        assert_eq!(harness.drain(), (0..200).collect::<Vec<_>>());
    }
}

/// What gives way in a full queue is found at once: it takes about as long beside 3,000 topics as beside 100.
#[test]
fn an_overflow_costs_the_same_beside_thousands() {
    /// The shortest time that 200 records took, each of which had an older one give way.
    fn shortest(topics: u64) -> Duration {
        let (queue, now) = (queue(5 * topics, Overflow::DropOldest), Instant::now());
        let routes: Vec<_> = (0..topics)
            .map(|topic| {
                let plain = Arc::into_inner(route(Priority::Normal)).unwrap();
                Arc::new(Route { topic: Registry::default().topic(&topic.to_string(), "a"), ..plain })
            })
            .collect();
        let mut next = routes.iter().cycle();
        let mut admit = || assert!(admit(&queue, next.next().unwrap(), 1, now));
        (0..5 * topics).for_each(|_| admit());
        let shortest = (0..20).map(|_| {
            let begun = Instant::now();
            (0..200).for_each(|_| admit());
            begun.elapsed()
        });
        let shortest = shortest.min().unwrap();
        let dropped: u64 = routes.iter().map(|route| route.counters.dropped(DropReason::Overflow)).sum();
        assert_eq!(dropped, 20 * 200);
        shortest
    }
    let (few, many) = (shortest(100), shortest(3000));
    assert!(many < 8 * few, "{few:?} beside 100 topics, {many:?} beside 3,000");
}
