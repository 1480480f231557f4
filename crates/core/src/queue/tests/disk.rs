//! The queue on a disk: what is written when, and what comes back.

use std::ops::ControlFlow;

use super::*;
use crate::config::QueueDurability::{Always, Spill};
use crate::files::simulated::SimulatedFiles;
use crate::queue::SLOW;
use crate::queue::disk::clock::Clock;
use crate::queue::disk::survey::go_on;
use crate::queue::testing::harness::{QueueHarness, number_of, settings};
use crate::queue::testing::meddler::Meddler;

/// What is being written counts as in memory only until the disk has answered, also when it is leased or taken back
/// meanwhile; what is acknowledged meanwhile counts no more.
#[test]
fn what_is_being_written_is_in_memory_only() {
    let harness = QueueHarness::new(settings(Always));
    let route = harness.route("/odom", Priority::Normal);
    (0..10).for_each(|number| assert!(harness.admit(&route, number, 200)));
    let memory_only = || harness.queue.figures().memory_only();
    let records = harness.queue.shared.lock().store.begin_write(Priority::Normal, 0, 1 << 20);
    assert_eq!((records.len(), memory_only()), (10, 10));
    let leases: Vec<_> = (0..3).filter_map(|_| harness.queue.lease(harness.now)).collect();
    assert_eq!(memory_only(), 10);
    assert!(harness.queue.acknowledge(leases[0].id));
    assert_eq!(memory_only(), 9);
    harness.queue.requeue();
    assert_eq!(memory_only(), 9);
    harness.queue.shared.lock().store.end_write(Priority::Normal, 0, 6, harness.now);
    assert_eq!(memory_only(), 4);
}

/// In the steady state nothing is written, however much passes through.
#[test]
fn nothing_is_written_while_the_link_keeps_up() {
    let mut harness = QueueHarness::new(settings(Spill));
    harness.queue.set_link(true);
    harness.work();
    let before = harness.files.operations();
    let route = harness.route("/odom", Priority::Normal);
    for number in 0..10_000 {
        assert!(harness.admit(&route, number, 200));
        assert_eq!(harness.send(1), [number]);
        if number % 1000 == 0 {
            harness.work();
        }
    }
    harness.work();
    assert_eq!(harness.files.operations(), before, "{:?}", harness.files.log().last());
}

/// What is admitted while the link is down is on the disk within the stated time, and comes back after a power cut in
/// its order.
#[test]
fn what_is_admitted_while_the_link_is_down_survives_a_power_cut() {
    let mut harness = QueueHarness::new(settings(Spill));
    let route = harness.route("/odom", Priority::Normal);
    for number in 0..1000 {
        harness.admit(&route, number, 200);
    }
    harness.work();
    assert_eq!(harness.queue.figures().memory_only(), 0);
    for seed in 0..5 {
        harness = harness.cut_power(seed);
        assert_eq!(harness.queue.figures().queued(), 1000);
    }
    assert_eq!(harness.drain(), (0..1000).collect::<Vec<_>>());
    harness.check_accounts();
}

/// An outage longer than memory: all of it goes through the disk and comes back in order, in the same process and in
/// the next, and the bounds hold at any time.
#[test]
fn a_long_outage_goes_through_the_disk() {
    for restart in [false, true] {
        let mut harness = QueueHarness::new(settings(Spill));
        let mut route = harness.route("/odom", Priority::Normal);
        for number in 0..60_000 {
            assert!(harness.admit(&route, number, 200));
            if number % 500 == 0 {
                harness.work();
                assert!(harness.queue.figures().bytes() <= harness.settings.memory);
            }
        }
        harness.work();
        assert!(harness.queue.figures().queued_on_disk() > 30_000, "{:?}", harness.queue.figures());
        harness.check_accounts();
        if restart {
            harness = harness.restart();
            route = harness.route("/odom", Priority::Normal);
        }
        harness.queue.set_link(true);
        let mut arrived = harness.send(30_000);
        // What comes meanwhile goes behind what is on the disk.
        harness.admit(&route, 60_000, 200);
        arrived.extend(harness.drain());
        assert!(arrived.iter().copied().eq(0..=60_000), "{} of 60001", arrived.len());
        harness.check_accounts();
        // Nothing of it is left behind.
        harness.work();
        let left = harness.files.paths();
        assert!(left.iter().all(|path| !path.contains(".seg")), "{left:?}");
    }
}

/// What comes while the backlog of an earlier process is sent goes through the disk behind it, under a route of this
/// process: it is sent, or given up, and counted, as what it was admitted as.
#[test]
fn what_follows_the_backlog_of_an_earlier_process_arrives() {
    for is_given_up in [false, true] {
        let mut harness = QueueHarness::new(config::Queue { disk: 4 << 20, ..settings(Spill) });
        let route = harness.route("/odom", Priority::Normal);
        (0..9000).for_each(|number| assert!(harness.admit(&route, number, 200)));
        harness.work();
        let mut harness = harness.restart();
        let route = harness.route("/odom", Priority::Normal);
        for number in 9000..if is_given_up { 30_000 } else { 12_000 } {
            assert!(harness.admit(&route, number, 200));
            if number % 500 == 0 {
                harness.work();
            }
        }
        harness.work();
        let queued = harness.queue.figures().queued();
        let arrived = harness.drain();
        assert_eq!(arrived.len() as u64, queued);
        assert!(arrived.is_sorted() && arrived.last() == Some(&if is_given_up { 29_999 } else { 11_999 }));
        assert_eq!(arrived.first() == Some(&0), !is_given_up);
        assert_eq!(route.counters.dropped(DropReason::Damaged), 0);
        harness.check_accounts();
    }
}

/// With `always` no more than a window of what was acknowledged comes again after the process was killed, whatever the
/// order of the acknowledgements.
#[test]
fn what_is_acknowledged_stays_so_but_for_a_window() {
    let mut harness = QueueHarness::new(settings(Always));
    let route = harness.route("/odom", Priority::Normal);
    for number in 0..5000 {
        harness.admit(&route, number, 200);
    }
    harness.work();
    let mut acknowledged = Vec::new();
    let mut window: Vec<Lease> = Vec::new();
    while acknowledged.len() < 3000 {
        while window.len() < harness::WINDOW
            && let Some(lease) = harness.queue.lease(harness.now)
        {
            window.push(lease);
        }
        // The last first.
        for lease in window.drain(1..).rev() {
            acknowledged.push(number_of(&lease));
            harness.queue.acknowledge(lease.id);
        }
        if window.len() == 1 && harness.queue.lease(harness.now).map(|lease| window.push(lease)).is_none() {
            let lease = window.remove(0);
            acknowledged.push(number_of(&lease));
            harness.queue.acknowledge(lease.id);
            harness.worker.turn(harness.now);
        }
    }
    let mut harness = harness.kill();
    let again: Vec<u64> = harness.drain();
    assert!(again.is_sorted());
    let twice = again.iter().filter(|number| acknowledged.contains(number)).count();
    assert!(twice <= harness::WINDOW, "{twice} came again");
    acknowledged.extend(again);
    acknowledged.sort_unstable();
    acknowledged.dedup();
    assert!(acknowledged.into_iter().eq(0..5000));
}

/// What is acknowledged before its turn to be written is never written.
#[test]
fn what_is_done_soon_is_not_written() {
    let mut harness = QueueHarness::new(settings(Always));
    harness.work();
    let before = harness.files.operations();
    let route = harness.route("/odom", Priority::Normal);
    for number in 0..1000 {
        harness.admit(&route, number, 200);
        harness.send(1);
    }
    harness.work();
    assert_eq!(harness.files.operations(), before);
}

/// A requeue sends again in order, also what was read from the disk meanwhile.
#[test]
fn a_requeue_restores_the_order() {
    let mut harness = QueueHarness::new(settings(Spill));
    let route = harness.route("/odom", Priority::Normal);
    (0..30_000).for_each(|number| {
        harness.admit(&route, number, 200);
        if number % 1000 == 0 {
            harness.work();
        }
    });
    harness.work();
    let mut arrived = Vec::new();
    while !harness.queue.is_empty() {
        harness.work();
        let leases: Vec<_> = (0..50).map_while(|_| harness.queue.lease(harness.now)).collect();
        for (index, lease) in leases.iter().enumerate().filter(|(index, _)| index % 3 == 0) {
            assert!(harness.queue.acknowledge(lease.id), "{index}");
            arrived.push(number_of(lease));
        }
        let left: Vec<_> =
            leases.iter().enumerate().filter(|(index, _)| index % 3 != 0).map(|(_, l)| number_of(l)).collect();
        harness.queue.requeue();
        let again: Vec<_> = left.iter().map_while(|_| harness.queue.lease(harness.now)).collect();
        assert_eq!(again.iter().map(number_of).collect::<Vec<_>>(), left);
        for lease in again {
            arrived.push(number_of(&lease));
            harness.queue.acknowledge(lease.id);
        }
    }
    arrived.sort_unstable();
    assert!(arrived.into_iter().eq(0..30_000));
    harness.check_accounts();
}

/// Over the disk's bound the oldest segments of the lowest lanes give way, each record is counted, and the files never
/// take more than the bound.
#[test]
fn over_the_bound_the_oldest_of_the_lowest_lane_give_way() {
    let mut harness = QueueHarness::new(config::Queue { disk: 8 << 20, memory: 1 << 20, ..settings(Spill) });
    let (high, low) = (harness.route("/high", Priority::High), harness.route("/low", Priority::Low));
    for number in 0..60_000 {
        harness.admit(if number % 4 == 0 { &high } else { &low }, number, 200);
        if number % 200 == 0 {
            harness.work();
            assert!(harness.files.total_bytes() <= 8 << 20, "{}", harness.files.total_bytes());
            assert!(harness.queue.figures().bytes() <= 1 << 20);
        }
    }
    harness.work();
    harness.check_accounts();
    assert_eq!(high.counters.dropped(DropReason::Overflow), 0);
    let dropped = low.counters.dropped(DropReason::Overflow);
    assert!(dropped > 20_000, "{dropped}");
    harness.queue.set_link(true);
    let arrived = harness.drain();
    let (high, low): (Vec<u64>, Vec<u64>) = arrived.iter().partition(|number| *number % 4 == 0);
    assert!(high.into_iter().eq((0..60_000).step_by(4)));
    assert!(low.is_sorted() && low.last() == Some(&59_999));
    assert_eq!(low.len() as u64 + dropped, 45_000);
    harness.check_accounts();
}

/// With drop-newest the disk keeps what it has.
#[test]
fn drop_newest_keeps_what_is_on_the_disk() {
    let settings = config::Queue { disk: 1 << 20, memory: 1 << 20, overflow: Overflow::DropNewest, ..settings(Spill) };
    let mut harness = QueueHarness::new(settings);
    let route = harness.route("/odom", Priority::Normal);
    let mut admitted = Vec::new();
    for number in 0..20_000 {
        if harness.admit(&route, number, 200) {
            admitted.push(number);
        }
        if number % 100 == 0 {
            harness.work();
            assert!(harness.files.total_bytes() <= 1 << 20);
        }
    }
    assert!(admitted.len() < 10_000 && admitted.iter().copied().eq(0..admitted.len() as u64));
    assert_eq!(harness.drain(), admitted);
    harness.check_accounts();
}

/// A full or broken disk at run time keeps nothing from being admitted and sent, in order; when it works again, it is
/// used again.
#[test]
fn a_disk_that_fails_is_done_without() {
    use rustix::io::Errno;
    for errno in [Errno::NOSPC, Errno::IO, Errno::ROFS] {
        let mut harness = QueueHarness::new(settings(Always));
        let route = harness.route("/odom", Priority::Normal);
        (0..1000).for_each(|number| assert!(harness.admit(&route, number, 200)));
        harness.work();
        let next = harness.files.operations();
        harness.files.fault_at(next, crate::files::simulated::Fault::FailFrom(errno));
        (1000..2000).for_each(|number| assert!(harness.admit(&route, number, 200)));
        harness.work();
        let figures = harness.queue.figures();
        assert_eq!(figures.memory_only(), 1000, "{errno}");
        assert!(figures.disk.unwrap().trouble.is_some());
        // Nor does a ledger that can't be written hold it up.
        assert_eq!(harness.send(WINDOW_AND_MORE), (0..150).collect::<Vec<_>>(), "{errno}");
        harness.files.heal();
        harness.work();
        let figures = harness.queue.figures();
        assert_eq!((figures.memory_only(), figures.disk.unwrap().trouble), (0, None), "{errno}");
        let mut harness = harness.cut_power(7);
        assert!(harness.drain().into_iter().eq(150..2000), "{errno}");
    }
}

/// More than may be done without the disk knowing it, while the disk works.
const WINDOW_AND_MORE: usize = 150;

/// A start that is stopped while it looks through the disk changes nothing there; the next one finds all of it.
#[test]
fn a_start_that_is_stopped_leaves_the_disk_as_it_was() {
    let mut harness = QueueHarness::new(config::Queue { disk: 4 << 20, ..settings(Spill) });
    let routes = [Priority::High, Priority::Low].map(|priority| harness.route("/odom", priority));
    (0..300).for_each(|number| assert!(harness.admit(&routes[number as usize % 2], number, 5000)));
    harness.stop();
    let mut stops = 0;
    for segments in 1.. {
        let files = harness.files.after_kill();
        // A torn tail, which a start that goes on cuts off.
        let torn = files.paths().into_iter().rfind(|path| path.starts_with("high/")).unwrap();
        files.corrupt(&torn, files.read(&torn).unwrap().len() as u64, b"torn");
        let content = || files.paths().into_iter().map(|path| (path.clone(), files.read(&path))).collect::<Vec<_>>();
        let before = content();
        let (now, _, clock) = harness.times(true);
        let registry = Registry::default();
        let topics = Arc::new(move |ros: &str, mqtt: &str| registry.topic(ros, mqtt));
        let (queue, mut worker) = Queue::on(Arc::new(files.clone()), &harness.settings, 100, topics, clock);
        let mut seen = 0;
        let opened = worker.open(now, &mut |_| {
            seen += 1;
            if seen == segments { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if opened.is_ok() {
            assert_eq!((queue.figures().queued(), seen), (300, segments - 1));
            break;
        }
        assert!(content() == before, "{segments}");
        assert!(queue.is_empty() && queue.figures().disk.is_none());
        stops += 1;
    }
    assert!(stops > 10, "{stops}");
}

/// `seq` starts above all that an earlier process can have given, also when the clock has been set back.
#[test]
fn sequence_numbers_never_go_back() {
    let harness = QueueHarness::new(settings(Spill));
    let first = harness.queue.sequence_start();
    let harness = harness.kill();
    let second = harness.queue.sequence_start();
    assert!(second >= first + (1 << 28), "{first} {second}");
    let harness = harness.cut_power(3);
    assert!(harness.queue.sequence_start() > second);
    assert!(harness.queue.sequence_start() < 1 << 53);
}

/// A flood on one topic that has gone to the disk does not keep another topic waiting behind it, in this process; and
/// what was sent of the other one does not come again after a restart, however far the flood lags.
#[test]
fn a_flood_on_the_disk_delays_only_itself() {
    let mut harness = QueueHarness::new(settings(Always));
    harness.queue.set_link(true);
    let (flood, small) = (harness.route("/flood", Priority::Normal), harness.route("/small", Priority::Normal));
    let mut sent = Vec::new();
    for number in 0..40_000 {
        harness.admit(&flood, number, 200);
        if number % 100 == 0 {
            harness.admit(&small, 1_000_000 + number, 200);
            harness.work();
            // The quota is far below the flood.
            let four = harness.send(4);
            assert!(four.contains(&(1_000_000 + number)), "{number}: {four:?}");
            sent.extend(four);
        }
    }
    assert!(harness.queue.figures().queued_on_disk() > 20_000, "{:?}", harness.queue.figures());
    harness.check_accounts();
    harness.work();
    let mut harness = harness.kill();
    let rest = harness.drain();
    let twice = rest.iter().filter(|number| sent.contains(number)).count();
    assert!(twice <= harness::WINDOW, "{twice} came again");
    sent.extend(rest.iter().filter(|number| !sent.contains(number)).copied().collect::<Vec<_>>());
    let (mut small, flood): (Vec<u64>, Vec<u64>) = sent.iter().partition(|number| **number >= 1_000_000);
    assert!(flood.into_iter().eq(0..40_000));
    small.dedup();
    assert_eq!(small.len(), 400);
    harness.check_accounts();
}

/// A disk that does not answer holds nothing up: records are admitted, sent and acknowledged meanwhile, it is known to
/// be slow, and once it answers, all that is left is written.
#[test]
fn a_disk_that_hangs_holds_nothing_up() {
    for durability in [Spill, Always] {
        let files = SimulatedFiles::new();
        let (reached, reaches) = std::sync::mpsc::channel();
        let gate = Arc::new(std::sync::Mutex::new(()));
        let meddle = {
            let gate = gate.clone();
            move || {
                // Nobody may listen any more.
                let _ = reached.send(());
                drop(gate.lock());
            }
        };
        let seen = Meddler::new(Arc::new(files.clone()), Box::new(meddle));
        let now = Instant::now();
        let times = (now, 1, Clock::of_boot(1, now));
        let QueueHarness { queue, mut worker, .. } =
            QueueHarness::start(files.clone(), Arc::new(seen), settings(durability), 100, times);
        let route = QueueHarness::on(SimulatedFiles::new(), settings(durability)).route("/odom", Priority::Normal);
        let admit = |number: u64| {
            let payload = number.to_le_bytes().to_vec().into();
            let record = Record { route: route.clone(), payload, received_ns: number as i64, expires: now + HOUR };
            assert!(queue.admit(record, Instant::now()), "{number}");
        };
        let shut = gate.lock().unwrap();
        reaches.try_iter().for_each(drop);
        admit(0);
        let thread = std::thread::spawn(move || worker.run());
        reaches.recv().unwrap();
        (1..2000).for_each(admit);
        for number in 0..50 {
            let lease = queue.lease(Instant::now()).unwrap();
            assert_eq!(number_of(&lease), number);
            assert!(queue.acknowledge(lease.id));
        }
        queue.maintain(Instant::now() + SLOW);
        assert!(queue.shared.lock().disk_is_slow);
        assert_eq!(queue.figures().memory_only(), 1950);
        drop(shut);
        queue.shared.close();
        thread.join().unwrap();
        queue.maintain(Instant::now());
        assert!(!queue.shared.lock().disk_is_slow);
        let mut next = QueueHarness::on(files.after_power_cut(1), settings(durability));
        assert!(next.drain().into_iter().filter(|number| *number >= 50).eq(50..2000), "{durability:?}");
    }
}

/// The end of the disk's thread is told when it ends, and not before.
#[tokio::test]
async fn the_end_of_the_thread_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let settings = config::Queue { directory: directory.path().join("queue"), ..settings(Spill) };
    let topics = Arc::new(|ros: &str, mqtt: &str| Registry::default().topic(ros, mqtt));
    let (queue, thread) = Queue::open(&settings, 100, topics, &mut go_on).unwrap();
    let thread = thread.unwrap();
    let a_while = Duration::from_millis(100);
    assert!(tokio::time::timeout(a_while, thread.death()).await.is_err(), "it lives");
    queue.shared.close();
    tokio::time::timeout(Duration::from_secs(60), thread.death()).await.expect("it has ended");
    thread.close();
}
