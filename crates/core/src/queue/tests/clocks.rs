//! Ages across suspends, clocks that are set, and clocks that are wrong.

use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use super::*;
use crate::config::QueueDurability::{Always, Spill};
use crate::files::simulated::SimulatedFiles;
use crate::queue::disk::clock::Clock;
use crate::queue::testing::harness::{QueueHarness, settings};

const YEAR_NS: i64 = 365 * 86_400 * 1_000_000_000;
const HOUR_NS: i64 = 3_600_000_000_000;

/// The real time of day.
fn wall_ns() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as i64
}

/// Admits records 0 to 9 that are received at `received_ns` and live for an hour.
fn admit(harness: &QueueHarness, received_ns: i64) -> Arc<Route> {
    let route = harness.route("/odom", Priority::Normal);
    for number in 0..10u64 {
        route.counters.count_received();
        let payload = number.to_le_bytes().to_vec().into();
        let record = Record { route: route.clone(), payload, received_ns, expires: harness.now + HOUR };
        assert!(harness.queue.admit(record, harness.now));
    }
    route
}

/// Starts on what `harness` leaves when the power goes, `later` by a time of day that is `ahead_ns` of the real one.
fn boot(harness: &QueueHarness, ahead_ns: i64) -> QueueHarness {
    let (now, boot, clock) = harness.times(false);
    clock.told().ahead_ns.store(ahead_ns, Relaxed);
    let files = harness.files.after_power_cut(5);
    QueueHarness::start(files.clone(), Arc::new(files), harness.settings.clone(), 100, (now, boot, clock))
}

/// The numbers of all records that come, after the disk worker has looked for expired segments as well.
fn drained(mut harness: QueueHarness) -> (Vec<u64>, u64) {
    harness.work();
    let numbers = harness.drain();
    harness.check_accounts();
    let counters = harness.topic("/odom").unwrap().counters.clone();
    (numbers, counters.dropped(DropReason::Expired))
}

/// The time for which the machine was suspended counts for `max_age`: of what is in memory, at the first look at the
/// queue after it, and of what is on the disk, by the same process and by the next one.
#[test]
fn suspended_time_counts() {
    for durability in [Spill, Always] {
        let mut harness = QueueHarness::new(settings(durability));
        admit(&harness, wall_ns());
        harness.work();
        harness.clock.told().suspend(HOUR_NS / 2);
        let lease = harness.queue.lease(harness.now).unwrap();
        let left = lease.record.expires - harness.now;
        assert!(left < HOUR / 2 + Duration::from_secs(1), "{left:?}");
        harness.queue.requeue();
        harness.work();
        let next = harness.kill();
        next.clock.told().suspend(HOUR_NS);
        assert_eq!(next.queue.figures().queued(), 10, "{durability:?}");
        assert_eq!(drained(next), (vec![], 10), "{durability:?}");
    }
    // In memory alone, and without maintenance.
    let harness = QueueHarness::new(settings(Spill));
    let route = admit(&harness, wall_ns());
    harness.clock.told().suspend(2 * HOUR_NS);
    assert!(harness.queue.lease(harness.now).is_none());
    harness.queue.maintain(harness.now);
    assert!(harness.queue.is_empty());
    assert_eq!(route.counters.dropped(DropReason::Expired), 10);
}

/// A suspend that is hidden from the look at two clocks, because the time of day was set back by as much, counts as soon as all
/// are looked at, which maintenance does twice a second.
#[test]
fn a_suspend_behind_a_clock_that_is_set_back_counts() {
    let harness = QueueHarness::new(settings(Spill));
    let route = admit(&harness, wall_ns());
    harness.clock.told().suspend(2 * HOUR_NS);
    // Set back, so that it is the real one again.
    harness.clock.told().ahead_ns.store(0, Relaxed);
    harness.queue.maintain(harness.now);
    assert!(harness.queue.is_empty());
    assert_eq!(route.counters.dropped(DropReason::Expired), 10);
}

/// A record that was received before the clock was set is as old afterwards as it was: in the figures, and after
/// another boot, however wrong the clock was.
#[test]
fn a_clock_that_is_set_makes_nothing_older() {
    for wrong in [-56 * YEAR_NS, -2 * HOUR_NS, 3 * HOUR_NS, 73 * YEAR_NS] {
        let harness = QueueHarness::new(settings(Spill));
        harness.clock.told().ahead_ns.store(wrong, Relaxed);
        harness.queue.maintain(harness.now);
        admit(&harness, wall_ns() + wrong);
        harness.clock.told().ahead_ns.store(0, Relaxed);
        harness.queue.maintain(harness.now);
        let oldest = harness.queue.figures().lanes[1].oldest_received_ns.unwrap();
        assert!((oldest - wall_ns()).abs() < HOUR_NS / 60, "{wrong}");
        let mut harness = harness;
        harness.stop();
        assert_eq!(drained(boot(&harness, HOUR_NS / 2)), ((0..10).collect(), 0), "{wrong}");
        assert_eq!(drained(boot(&harness, 2 * HOUR_NS)), (vec![], 10), "{wrong}");
    }
}

/// A boot by a clock in the far future, or by one that was never set, drops nothing of what is on the disk, and the
/// numbers of messages go on from where they were, in that boot and in the next.
#[test]
fn a_boot_by_a_wrong_clock_costs_nothing() {
    let mut harness = QueueHarness::new(settings(Always));
    let before = harness.queue.sequence_start();
    admit(&harness, wall_ns() - HOUR_NS / 2);
    harness.stop();
    for (boots, years) in (2..).zip([73, 240, 10, -60]) {
        let next = boot(&harness, years * YEAR_NS);
        let sequence = next.queue.sequence_start();
        if years != 10 {
            assert!((before..before + boots * (1 << 29)).contains(&sequence), "{years}: {sequence}");
        }
        assert!(sequence < 1 << 53);
        let third = boot(&next, 0);
        if years != 10 {
            assert!((before..before + boots * (1 << 30)).contains(&third.queue.sequence_start()), "{years}");
        }
        assert_eq!(drained(next), ((0..10).collect(), 0), "{years}");
        assert_eq!(drained(third), ((0..10).collect(), 0), "{years}");
    }
    assert_eq!(drained(boot(&harness, HOUR_NS)), (vec![], 10));
}

/// Where no boot id can be had, each start counts as another boot: neither an uptime that was longer nor one that was
/// shorter before makes a record live longer or die sooner than by the time of day.
#[test]
fn without_a_boot_id_the_time_of_day_counts() {
    for (uptime, next_uptime) in [(10 * 86_400, 600), (600, 10 * 86_400)] {
        for (age_ns, arrive) in [(HOUR_NS / 2, 10), (2 * HOUR_NS, 0)] {
            let clock = |uptime: u64, now| {
                let mut clock = Clock::of_boot(1, now);
                clock.boot_id = [0; 16];
                clock.told().suspended_ns.store(uptime as i64 * 1_000_000_000, Relaxed);
                clock
            };
            let now = Instant::now();
            let start = |files: &SimulatedFiles, clock| {
                QueueHarness::start(files.clone(), Arc::new(files.clone()), settings(Spill), 100, (now, 1, clock))
            };
            let mut harness = start(&Default::default(), clock(uptime, now));
            admit(&harness, wall_ns());
            harness.stop();
            let clock = clock(next_uptime, now);
            clock.told().ahead_ns.store(age_ns, Relaxed);
            let (numbers, expired) = drained(start(&harness.files.after_kill(), clock));
            assert_eq!((numbers.len(), expired), (arrive, 10 - arrive as u64), "{uptime} {age_ns}");
        }
    }
}
