//! Records that travel together, as the queue sees them: one lease.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::config::QueueDurability::{Always, Spill};
use crate::config::{Encoding, PAYLOAD_LIMIT};
use crate::packing::{Batch, Compression, Content, Packing, When};
use crate::queue::disk::format::StoredRoute;
use crate::queue::testing::harness::{QueueHarness, WINDOW, number_of, settings};

fn batches(max: usize, linger: Duration) -> Packing {
    Packing { batch: Some(Batch { max, linger }), ..Packing::default() }
}

fn packed(harness: &QueueHarness, packing: Packing) -> Arc<Route> {
    let plain = Arc::into_inner(harness.route("/odom", Priority::Normal)).unwrap();
    Arc::new(Route { packing, ..plain })
}

/// Leases a batch of up to `max` records. Returns its numbers.
fn lease(harness: &QueueHarness, max: usize) -> Option<(LeaseId, Vec<u64>)> {
    let first = harness.queue.lease(harness.now)?;
    let mut room = max - 1;
    let more = harness.queue.lease_more(first.id, &first.record.route, harness.now, |_| {
        let takes = room > 0;
        room = room.saturating_sub(1);
        takes
    });
    let number = |record: Record| number_of(&Lease { id: first.id, record });
    let numbers = std::iter::once(first.record.clone()).chain(more).map(number).collect();
    Some((first.id, numbers))
}

/// After a restart the records of a topic come in their order, each packed as it was when it was admitted, though the
/// topic's configuration has changed in between; only those that were may travel together.
#[test]
fn records_on_the_disk_know_how_they_are_packed() {
    let mut harness = QueueHarness::new(settings(Spill));
    let gzip = Compression::new(Encoding::Gzip, When::Over(500), true, "robots/odom");
    let packings = [
        Packing::default(),
        batches(50, Duration::from_secs(60)),
        Packing { compression: Some(gzip.clone()), ..batches(7, Duration::ZERO) },
        Packing { compression: Some(Compression { when: When::Ahead, ..gzip }), ..Packing::default() },
        Packing::of_replies(),
    ];
    for (index, packing) in packings.iter().enumerate() {
        let route = packed(&harness, packing.clone());
        (0..10).for_each(|number| assert!(harness.admit(&route, 10 * index as u64 + number, 200)));
    }
    harness.work();
    for _ in 0..2 {
        harness = harness.kill();
        assert_eq!(harness.queue.figures().queued(), 50);
        harness.work();
        let mut leases = Vec::new();
        while let Some((id, numbers)) = lease(&harness, 4) {
            leases.push((id, numbers));
        }
        let numbers: Vec<_> = leases.iter().map(|(_, numbers)| numbers.clone()).collect();
        let singles = |numbers: std::ops::Range<u64>| numbers.map(|number| vec![number]);
        let fours = [vec![10, 11, 12, 13], vec![14, 15, 16, 17], vec![18, 19]];
        let gzip = [vec![20, 21, 22, 23], vec![24, 25, 26, 27], vec![28, 29]];
        let expected: Vec<_> = singles(0..10).chain(fours).chain(gzip).chain(singles(30..50)).collect();
        assert_eq!(numbers, expected);
    }
    let leases: Vec<Lease> = {
        harness.queue.requeue();
        std::iter::from_fn(|| harness.queue.lease(harness.now)).collect()
    };
    for (lease, packing) in leases.iter().step_by(10).zip(&packings) {
        assert_eq!(lease.record.route.packing, StoredRoute::of(&packed(&harness, packing.clone())).packing);
    }
}

/// Acknowledging a batch acknowledges all of it, with one lease; what is taken back comes again in order, and what was
/// acknowledged does not come again after a power cut once the ledger knows it.
#[test]
fn a_batch_ends_as_one() {
    let mut harness = QueueHarness::new(settings(Always));
    let route = packed(&harness, batches(50, Duration::ZERO));
    (0..20).for_each(|number| assert!(harness.admit(&route, number, 200)));
    harness.work();
    let leases: Vec<_> = (0..4).filter_map(|_| lease(&harness, 5)).collect();
    assert_eq!((harness.queue.figures().in_flight(), harness.queue.figures().queued()), (20, 0));
    assert!(harness.queue.acknowledge(leases[0].0) && harness.queue.acknowledge(leases[2].0));
    assert!(!harness.queue.acknowledge(leases[0].0));
    assert_eq!(harness.queue.requeue(), 10);
    let account = harness.queue.account(&route.counters);
    assert_eq!((account.acknowledged, account.queued, account.in_flight), (10, 10, 0));
    assert_eq!(lease(&harness, 50).unwrap().1, [5, 6, 7, 8, 9, 15, 16, 17, 18, 19]);
    harness.queue.requeue();
    harness.work();
    let harness = harness.cut_power(1);
    assert_eq!(harness.queue.figures().queued(), 15, "10 to 14 were done beyond what is not");
}

/// With `always`, as many publishes as the window may be in flight or done without the disk knowing it, however many
/// records they hold: then nothing is lent until the ledger is written.
#[test]
fn the_window_counts_publishes() {
    let mut harness = QueueHarness::new(settings(Always));
    harness.queue.set_link(true);
    let route = packed(&harness, batches(50, Duration::ZERO));
    (0..1000).for_each(|number| assert!(harness.admit(&route, number, 20)));
    harness.work();
    for batch in 0..WINDOW {
        let (id, numbers) = lease(&harness, 5).unwrap_or_else(|| panic!("batch {batch} has to wait"));
        assert_eq!(numbers.len(), 5);
        assert!(harness.queue.acknowledge(id));
    }
    assert!(lease(&harness, 5).is_none());
    harness.work();
    assert_eq!(lease(&harness, 5).unwrap().1, [500, 501, 502, 503, 504]);
}

/// A batch costs its topic as many turns as it has bytes: another topic's records, which go one by one, have them.
#[test]
fn a_batch_costs_its_bytes() {
    let harness = QueueHarness::new(settings(Spill));
    let (flood, calm) = (packed(&harness, batches(50, Duration::ZERO)), harness.route("/calm", Priority::Normal));
    (0..100).for_each(|number| assert!(harness.admit(&flood, number, 1000)));
    (1000..1100).for_each(|number| assert!(harness.admit(&calm, number, 100)));
    for _ in 0..2 {
        assert_eq!(lease(&harness, 50).unwrap().1.len(), 50);
        if harness.queue.figures().queued() > 100 {
            // 50,000 bytes are nearly ten turns of 5 KiB, of which one was the batch's own.
            (0..9).for_each(|turn| assert_eq!(lease(&harness, 50).unwrap().1.len(), 1, "turn {turn}"));
        }
    }
}

/// A record that waits for others is lent when it has waited long enough, when a batch is full, or when nothing waits
/// any more; other topics go past it, one that makes batches without waiting among them.
#[test]
fn records_linger() {
    let (mut harness, linger) = (QueueHarness::new(settings(Spill)), Duration::from_secs(5));
    let batch = Batch { max: 3, linger };
    let (lingers, other) = (
        packed(&harness, Packing { batch: Some(batch), ..Packing::default() }),
        harness.route("/other", Priority::Normal),
    );
    let at_once = Packing { batch: Some(Batch { linger: Duration::ZERO, ..batch }), ..Packing::default() };
    let third = Arc::into_inner(harness.route("/third", Priority::Normal)).unwrap();
    let third = Arc::new(Route { packing: at_once, ..third });
    (0..2).for_each(|number| assert!(harness.admit(&lingers, number, 20)));
    assert!(harness.admit(&other, 100, 20) && harness.admit(&third, 200, 20));
    assert_eq!([(); 2].map(|()| lease(&harness, 3).unwrap().1), [[100], [200]]);
    assert!(lease(&harness, 3).is_none());
    harness.now += linger - Duration::from_millis(1);
    assert!(lease(&harness, 3).is_none());
    harness.now += Duration::from_millis(1);
    assert_eq!(lease(&harness, 3).unwrap().1, [0, 1]);
    (2..6).for_each(|number| assert!(harness.admit(&lingers, number, 20)));
    assert_eq!(lease(&harness, 3).unwrap().1, [2, 3, 4]);
    assert!(lease(&harness, 3).is_none());
    harness.queue.stop_lingering();
    assert_eq!(lease(&harness, 3).unwrap().1, [5]);
}

/// How long a record waits for others is counted from its admission, whatever its `max_age` is; time in suspend counts.
#[test]
fn linger_is_counted_from_the_admission() {
    let (mut harness, linger) = (QueueHarness::new(settings(Spill)), Duration::from_secs(5));
    let route = packed(&harness, batches(50, linger));
    for (number, max_age) in [(0, HOUR), (1, Duration::from_secs(30))] {
        let payload = Bytes::copy_from_slice(&u64::to_le_bytes(number));
        let record = Record { route: route.clone(), payload, received_ns: 0, expires: harness.now + max_age };
        assert!(harness.queue.admit(record, harness.now));
        let in_time = harness.now + linger;
        harness.now = in_time - Duration::from_millis(1);
        assert!(lease(&harness, 50).is_none(), "{number}");
        harness.now = in_time;
        let (id, numbers) = lease(&harness, 50).unwrap();
        assert_eq!(numbers, [number]);
        harness.queue.acknowledge(id);
    }
    assert!(harness.admit(&route, 2, 20) && lease(&harness, 50).is_none());
    harness.clock.told().suspended_ns.store(5_000_000_000, Ordering::Relaxed);
    harness.queue.maintain(harness.now);
    assert_eq!(lease(&harness, 50).unwrap().1, [2]);
}

/// A lease does not look at the topics whose records wait for others: it costs the same beside 1,600 of them as beside
/// 100.
#[test]
fn topics_that_linger_cost_others_nothing() {
    /// At how many topics a lease looks beside so many that linger.
    fn looked_at_beside(topics: usize) -> usize {
        let harness = QueueHarness::new(settings(Spill));
        for topic in 0..topics {
            let plain = Arc::into_inner(harness.route(&format!("/slow/{topic}"), Priority::Normal)).unwrap();
            let slow = Arc::new(Route { packing: batches(50, Duration::from_secs(60)), ..plain });
            assert!(harness.admit(&slow, 0, 100));
        }
        let busy = harness.route("/busy", Priority::Normal);
        let looked_at = Cell::new(0);
        for number in 0..20 {
            assert!(harness.admit(&busy, number, 1000));
            let wanted = |_: &Route| {
                looked_at.set(looked_at.get() + 1);
                true
            };
            let lease = harness.queue.lease_where(harness.now, &wanted).unwrap();
            assert_eq!((lease.record.route.ros.as_str(), number_of(&lease)), ("/busy", number));
            harness.queue.acknowledge(lease.id);
        }
        looked_at.get()
    }
    assert_eq!((looked_at_beside(100), looked_at_beside(1600)), (20, 20));
}

/// Whatever happens to topics some of which linger, one can be leased exactly when one has a record that waits for no
/// others, or not any more; each record is leased in the end.
#[test]
fn what_lingers_is_found_when_it_is_ripe() {
    for seed in 0..200 {
        let mut rng = StdRng::seed_from_u64(seed);
        let memory = config::Queue { memory: 96 << 10, ..settings(Spill) };
        let mut harness = QueueHarness::new(memory);
        let routes: Vec<_> = (0..6u64)
            .map(|topic| {
                let plain = Arc::into_inner(harness.route(&format!("/t{topic}"), Priority::Normal)).unwrap();
                let linger = Duration::from_secs(topic % 3 * 5);
                Arc::new(Route { packing: batches(3, linger), ..plain })
            })
            .collect();
        let (mut admitted, mut acknowledged, mut leases) = (0, 0, Vec::new());
        for _ in 0..150 {
            match rng.gen_range(0..10) {
                0..4 => {
                    let route = &routes[rng.gen_range(0..routes.len())];
                    admitted += u64::from(harness.admit(route, admitted, rng.gen_range(8..2000)));
                }
                4 | 5 => harness.now += Duration::from_millis(rng.gen_range(0..4000)),
                6 | 7 => {
                    let is_ready = harness.queue.shared.lock().store.is_ready(harness.now);
                    let lease = lease(&harness, rng.gen_range(1..4));
                    assert_eq!(lease.is_some(), is_ready, "seed {seed}");
                    leases.extend(lease);
                }
                8 if rng.gen_bool(0.3) => {
                    harness.queue.requeue();
                    leases.clear();
                }
                8 => {
                    for (id, numbers) in leases.drain(..) {
                        harness.queue.acknowledge(id);
                        acknowledged += numbers.len() as u64;
                    }
                }
                _ => _ = harness.worker.turn(harness.now),
            }
            let mut inner = harness.queue.shared.lock();
            inner.store.check();
            let is_ready = inner.store.is_ready(harness.now);
            assert_eq!(inner.store.has_next(harness.now, &|_| true), is_ready, "seed {seed}");
            let ripens = inner.store.ripens(&|_| true);
            let anything = inner.store.figures().lanes.iter().any(|lane| lane.queued > 0);
            assert!(is_ready || ripens.is_some() || !anything, "seed {seed}: nobody would be woken");
        }
        harness.queue.requeue();
        harness.queue.stop_lingering();
        acknowledged += harness.drain().len() as u64;
        let dropped: u64 = routes.iter().map(|route| route.counters.dropped_in_all()).sum();
        assert_eq!(acknowledged + dropped, admitted, "seed {seed}");
    }
}

/// A route that comes into force is that of what waits as well, from memory and from the disk: records that were
/// admitted without batches go in batches. What can't be an element of an array, is too long in one or has been
/// compressed goes as before.
#[test]
fn what_waits_goes_by_the_route_in_force() {
    let mut harness = QueueHarness::new(settings(Spill));
    let plain = packed(&harness, Packing::default());
    (0..5).for_each(|number| assert!(harness.admit(&plain, number, 200)));
    harness.work();
    harness = harness.kill();
    harness.work();
    let plain = packed(&harness, Packing::default());
    (5..8).for_each(|number| assert!(harness.admit(&plain, number, 200)));
    assert_eq!(lease(&harness, 50).map(|(_, numbers)| numbers), Some(vec![0]), "nothing is in force yet");
    harness.queue.requeue();
    let newer = packed(&harness, batches(50, Duration::from_secs(60)));
    harness.queue.put_in_force(&newer);
    let (id, numbers) = lease(&harness, 50).unwrap();
    assert_eq!(numbers, (0..8).collect::<Vec<_>>());
    assert!(harness.queue.acknowledge(id) && harness.queue.is_empty());

    // Who leases is asked by the route in force from then on, also of what was admitted before: a topic that the broker
    // does not take stays set aside.
    assert!(harness.admit(&plain, 8, 200));
    let gzip = Compression::new(Encoding::Gzip, When::Over(100), true, "robots/odom");
    let suffixed = packed(&harness, Packing { compression: Some(gzip), ..Packing::default() });
    harness.queue.put_in_force(&suffixed);
    let is_plain = |route: &Route| route.mqtt_compressed().is_none();
    assert!(harness.queue.lease_where(harness.now, &is_plain).is_none());
    harness.queue.put_in_force(&plain);
    let lent = harness.queue.lease_where(harness.now, &is_plain).unwrap();
    assert!(harness.queue.acknowledge(lent.id) && harness.queue.is_empty());

    let gzip = Compression::new(Encoding::Gzip, When::Ahead, false, "robots/odom");
    let text = Packing { content: Content::Text, ..Packing::default() };
    let ahead = Packing { compression: Some(gzip), ..Packing::default() };
    let others = [(text, 200), (Packing::default(), PAYLOAD_LIMIT), (ahead, 200)];
    for (packing, bytes) in others {
        let route = packed(&harness, packing.clone());
        (0..2).for_each(|number| assert!(harness.admit(&route, number, bytes)));
        let first = harness.queue.lease(harness.now).unwrap();
        assert_eq!(first.record.route.packing, packing);
        assert_eq!(harness.queue.lease_more(first.id, &first.record.route, harness.now, |_| true).len(), 0);
        assert_eq!(lease(&harness, 2).map(|(_, numbers)| numbers), Some(vec![1]));
        harness.queue.acknowledge(first.id);
        harness.queue.requeue();
        harness.queue.acknowledge(harness.queue.lease(harness.now).unwrap().id);
    }
    assert!(harness.queue.is_empty());
}
