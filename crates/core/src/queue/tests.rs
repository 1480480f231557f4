use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Account, Lease, LeaseId, Queue, RECORD_OVERHEAD, Record, Route, Since, testing::harness};
use crate::config::{self, Overflow, Priority, Qos};
use crate::packing::{Batch, Packing};
use crate::tally::DropReason;
use crate::topics::Registry;

mod batches;
mod churn;
mod clocks;
mod damage;
mod disk;
mod faults;
mod gone;
mod hostile;
mod lives;
mod model;
mod routes;
mod topics;

const HOUR: Duration = Duration::from_secs(3600);

fn queue(records: u64, overflow: Overflow) -> Queue {
    Queue::in_memory(&config::Queue::in_memory(records * (RECORD_OVERHEAD + 1), overflow))
}

fn route(priority: Priority) -> Arc<Route> {
    Arc::new(Route {
        topic: Registry::default().topic(&format!("/{priority:?}"), &format!("test/{priority:?}")),
        qos: Qos::AtLeastOnce,
        retain: false,
        priority,
        packing: Default::default(),
    })
}

/// A record of one byte, its name.
fn record(route: &Arc<Route>, name: u8, now: Instant) -> Record {
    Record {
        route: route.clone(),
        payload: Bytes::copy_from_slice(&[name]),
        received_ns: i64::from(name),
        expires: now + HOUR,
    }
}

fn admit(queue: &Queue, route: &Arc<Route>, name: u8, now: Instant) -> bool {
    route.counters.count_received();
    queue.admit(record(route, name, now), now)
}

fn names(leases: &[Lease]) -> Vec<u8> {
    leases.iter().map(|lease| lease.record.payload[0]).collect()
}

fn lease_all(queue: &Queue, now: Instant) -> Vec<Lease> {
    std::iter::from_fn(|| queue.lease(now)).collect()
}

/// The higher lane goes first; within a lane the older record does.
#[test]
fn leases_by_priority_then_age() {
    let (queue, now) = (queue(10, Overflow::DropOldest), Instant::now());
    let (high, normal, low) = (route(Priority::High), route(Priority::Normal), route(Priority::Low));
    for (route, name) in [(&low, 1), (&normal, 2), (&high, 3), (&low, 4), (&normal, 5), (&high, 6)] {
        admit(&queue, route, name, now);
    }
    assert_eq!(names(&lease_all(&queue, now)), [3, 6, 2, 5, 1, 4]);
}

/// The topics of a lane take turns, by bytes: neither a flood of small records nor a backlog of huge ones keeps another
/// topic waiting for more than a turn of each.
#[test]
fn topics_of_a_lane_take_turns() {
    let (queue, now) = (Queue::in_memory(&config::Queue::in_memory(64 << 20, Overflow::DropOldest)), Instant::now());
    let named = |name: &str| {
        Arc::new(Route {
            topic: Registry::default().topic(name, name),
            ..Arc::into_inner(route(Priority::Normal)).unwrap()
        })
    };
    let (flood, huge, small) = (named("/flood"), named("/huge"), named("/small"));
    for name in 0..200 {
        (0..50).for_each(|_| _ = admit(&queue, &flood, name, now));
        let image = Record { payload: vec![name; 131_072].into(), ..record(&huge, name, now) };
        assert!(queue.admit(image, now));
    }
    let mut before = 0;
    for name in 0..100 {
        admit(&queue, &small, name, now);
        let bytes: usize = std::iter::from_fn(|| queue.lease(now))
            .take_while(|lease| lease.record.route.ros != "/small")
            .map(|lease| lease.record.payload.len())
            .sum();
        before += bytes;
    }
    assert!(before < 100 * 10_000, "{before} bytes went before 100 small records");
}

/// After a requeue the records that were not acknowledged come again, in their order and before younger ones.
#[test]
fn requeue_restores_the_order() {
    let (queue, now, route) = (queue(10, Overflow::DropOldest), Instant::now(), route(Priority::Normal));
    (1..=5).for_each(|name| assert!(admit(&queue, &route, name, now)));
    let leases: Vec<_> = (0..4).filter_map(|_| queue.lease(now)).collect();
    assert!(queue.acknowledge(leases[2].id));
    admit(&queue, &route, 6, now);
    assert_eq!(queue.requeue(), 3);
    assert_eq!(names(&lease_all(&queue, now)), [1, 2, 4, 5, 6]);
}

/// A PUBACK that comes after the requeue acknowledges nothing: the record is sent again under a lease of its own.
#[test]
fn a_lease_taken_back_cannot_be_acknowledged() {
    let (queue, now, route) = (queue(10, Overflow::DropOldest), Instant::now(), route(Priority::Normal));
    admit(&queue, &route, 1, now);
    let stale = queue.lease(now).unwrap();
    queue.requeue();
    assert!(!queue.acknowledge(stale.id));
    let fresh = queue.lease(now).unwrap();
    assert!(!queue.acknowledge(stale.id));
    assert!(queue.acknowledge(fresh.id));
    assert!(!queue.acknowledge(fresh.id));
    assert_eq!(route.counters.acknowledged(), 1);
}

/// A mark tells records of before from those since, whatever lane and lease they are in, and through requeues; of a batch
/// the newest counts.
#[test]
fn a_mark_divides_what_was_admitted() {
    let (queue, now) = (queue(10, Overflow::DropOldest), Instant::now());
    let batch = Some(Batch { max: 50, linger: Duration::ZERO });
    let packing = Packing { batch, ..Packing::default() };
    let low = Arc::new(Route { packing, ..Arc::into_inner(route(Priority::Low)).unwrap() });
    let high = route(Priority::High);
    (1..=2).for_each(|name| assert!(admit(&queue, &low, name, now)));
    let mark = queue.mark();
    let since = || queue.since(mark, [&*high.counters, &*low.counters].into_iter());
    let is = |admitted, confirmed, has_older| Since { admitted, confirmed, has_older };
    assert!(admit(&queue, &high, 3, now) && admit(&queue, &low, 4, now));
    let leases = lease_all(&queue, now);
    assert_eq!(names(&leases), [3, 1, 2, 4]);
    assert_eq!(since(), [is(true, false, false), is(true, false, true)]);
    assert!(queue.confirm(leases[0].id) && queue.confirm(leases[1].id));
    assert_eq!(since(), [is(true, true, false), is(true, false, true)]);
    assert_eq!(queue.requeue(), 2);
    assert!(!queue.confirm(leases[3].id), "it was taken back");
    let lease = queue.lease(now).unwrap();
    let more = queue.lease_more(lease.id, &low, now, |_| true);
    assert_eq!((names(std::slice::from_ref(&lease)), more.len()), (vec![2], 1));
    assert!(queue.confirm(lease.id));
    assert_eq!(since(), [is(true, true, false), is(true, true, false)]);
}

/// What waits behind older records of a higher lane has not had its turn, unless it is in flight: those may be of a topic that
/// nobody takes. Those of a lower lane, and of another topic of its own, go with it.
#[test]
fn a_backlog_of_a_higher_lane_goes_first() {
    let (queue, now) = (queue(10, Overflow::DropOldest), Instant::now());
    let [high, normal, low] = [Priority::High, Priority::Normal, Priority::Low].map(route);
    let topic = Registry::default().topic("/other", "test/other");
    let other = Arc::new(Route { topic, ..Arc::into_inner(route(Priority::Normal)).unwrap() });
    for route in [&normal, &low] {
        assert!(admit(&queue, route, 1, now));
    }
    let mark = queue.mark();
    let has_older = || {
        let counters = [&high, &other, &normal, &low].map(|route| &*route.counters);
        queue.since(mark, counters.into_iter()).iter().map(|since| since.has_older).collect::<Vec<_>>()
    };
    for route in [&high, &other, &low] {
        assert!(admit(&queue, route, 2, now));
    }
    assert_eq!(has_older(), [false, false, true, true]);
    let old_of_low = queue.lease_where(now, &|route| route.priority == Priority::Low).unwrap();
    assert!(queue.confirm(old_of_low.id));
    assert_eq!(has_older(), [false, false, true, true], "the one of the normal lane goes first");
    let low_in_flight = queue.lease_where(now, &|route| route.priority == Priority::Low).unwrap();
    assert_eq!(has_older(), [false, false, true, false], "it was its turn");
    assert_eq!(queue.requeue(), 1);
    assert_eq!(has_older(), [false, false, true, true]);
    drop(low_in_flight);
    let normal_in_flight = queue.lease_where(now, &|route| route.priority == Priority::Normal).unwrap();
    assert!(queue.confirm(normal_in_flight.id));
    assert_eq!(has_older(), [false; 4]);
}

/// drop-oldest takes from the lowest lane first, never from a higher one than the newcomer's, never what is leased.
#[test]
fn drop_oldest_spares_higher_lanes_and_leases() {
    let (queue, now) = (queue(4, Overflow::DropOldest), Instant::now());
    let (high, normal, low) = (route(Priority::High), route(Priority::Normal), route(Priority::Low));
    for (route, name) in [(&normal, 1), (&normal, 2), (&low, 3), (&high, 4)] {
        admit(&queue, route, name, now);
    }
    assert!(admit(&queue, &normal, 5, now), "the low one gives way");
    assert_eq!(low.counters.dropped(DropReason::Overflow), 1);
    assert!(!admit(&queue, &low, 6, now), "nothing of its own lane or lower waits");
    assert_eq!(low.counters.dropped(DropReason::Overflow), 2);
    let leased: Vec<_> = (0..2).filter_map(|_| queue.lease(now)).collect();
    assert_eq!(names(&leased), [4, 1]);
    assert!(admit(&queue, &normal, 7, now), "2 gives way, 1 is leased");
    queue.requeue();
    assert_eq!(names(&lease_all(&queue, now)), [4, 1, 5, 7]);
}

/// A record that cannot fit whatever gives way makes nothing give way.
#[test]
fn a_record_over_the_bound_is_dropped_alone() {
    let (queue, now, route) = (queue(3, Overflow::DropOldest), Instant::now(), route(Priority::High));
    (1..=3).for_each(|name| assert!(admit(&queue, &route, name, now)));
    let mut huge = record(&route, 9, now);
    huge.payload = Bytes::from(vec![9; 4 * RECORD_OVERHEAD as usize]);
    assert!(!queue.admit(huge, now));
    assert_eq!(names(&lease_all(&queue, now)), [1, 2, 3]);
}

/// drop-newest keeps what it has.
#[test]
fn drop_newest_refuses_the_newcomer() {
    let (queue, now) = (queue(2, Overflow::DropNewest), Instant::now());
    let (high, low) = (route(Priority::High), route(Priority::Low));
    assert!(admit(&queue, &low, 1, now) && admit(&queue, &low, 2, now));
    assert!(!admit(&queue, &high, 3, now));
    assert_eq!(high.counters.dropped(DropReason::Overflow), 1);
    assert_eq!(names(&lease_all(&queue, now)), [1, 2]);
}

/// An expired record is never leased; `maintain` drops those that wait behind younger deadlines too.
#[test]
fn expired_records_are_dropped_and_counted() {
    let (queue, now, route) = (queue(10, Overflow::DropOldest), Instant::now(), route(Priority::Normal));
    for (name, seconds) in [(1, 5), (2, 50), (3, 5)] {
        let record = Record { expires: now + Duration::from_secs(seconds), ..record(&route, name, now) };
        assert!(queue.admit(record, now));
    }
    let later = now + Duration::from_secs(5);
    queue.maintain(later);
    assert_eq!(route.counters.dropped(DropReason::Expired), 2);
    assert_eq!(names(&lease_all(&queue, later)), [2]);
    queue.requeue();
    assert!(queue.lease(now + Duration::from_secs(50)).is_none(), "a record requeued too late is not sent again");
    assert_eq!(route.counters.dropped(DropReason::Expired), 3);
    assert!(queue.is_empty());
}

/// A record that can never be sent leaves the queue under the reason that is given for it.
#[test]
fn a_discarded_record_is_counted_under_its_reason() {
    let (queue, now, route) = (queue(10, Overflow::DropOldest), Instant::now(), route(Priority::Normal));
    admit(&queue, &route, 1, now);
    let lease = queue.lease(now).unwrap();
    assert!(queue.discard(lease.id, DropReason::TooLarge, now));
    assert!(!queue.discard(lease.id, DropReason::TooLarge, now));
    let account = queue.account(&route.counters);
    assert_eq!(
        account,
        Account { received: 1, recovered: 0, shaped: 0, dropped: 1, queued: 0, in_flight: 0, acknowledged: 0 }
    );
}

/// `ready` wakes for a record admitted from another thread, whether it waits already or not yet, and for a requeue.
#[tokio::test]
async fn ready_misses_no_wake_up() {
    let (queue, now, route) = (Arc::new(queue(10, Overflow::DropOldest)), Instant::now(), route(Priority::Normal));
    for round in 0..2000 {
        let admitting = std::thread::spawn({
            let (queue, route) = (queue.clone(), route.clone());
            move || admit(&queue, &route, 1, now)
        });
        let ready = tokio::time::timeout(Duration::from_secs(10), queue.ready()).await;
        assert!(ready.is_ok(), "no wake-up in round {round}");
        let lease = queue.lease(now).unwrap();
        assert!(queue.lease(now).is_none());
        if round % 2 == 0 {
            let waiting = tokio::spawn({
                let queue = queue.clone();
                async move { queue.ready().await }
            });
            tokio::task::yield_now().await;
            queue.requeue();
            tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("no wake-up after a requeue").unwrap();
            queue.acknowledge(queue.lease(now).unwrap().id);
        } else {
            queue.acknowledge(lease.id);
        }
        admitting.join().unwrap();
    }
}

/// While one thread admits and another leases and acknowledges, the account never says more than was received.
#[test]
fn the_account_holds_at_any_moment() {
    let (queue, route) = (Arc::new(queue(50, Overflow::DropOldest)), route(Priority::Normal));
    let now = Instant::now();
    let admitting = std::thread::spawn({
        let (queue, route) = (queue.clone(), route.clone());
        move || (0..100_000).for_each(|_| _ = admit(&queue, &route, 1, now))
    });
    let leasing = std::thread::spawn({
        let (queue, route) = (queue.clone(), route.clone());
        move || {
            while route.counters.received() < 100_000 || !queue.is_empty() {
                let leases: Vec<_> = (0..10).filter_map(|_| queue.lease(now)).collect();
                leases.iter().rev().skip(1).for_each(|lease| assert!(queue.acknowledge(lease.id)));
                queue.requeue();
                if let Some(last) = queue.lease(now) {
                    queue.acknowledge(last.id);
                }
            }
        }
    });
    while !leasing.is_finished() {
        let Account { received, recovered: _, shaped, dropped, queued, in_flight, acknowledged } =
            queue.account(&route.counters);
        let known = shaped + dropped + queued + in_flight + acknowledged;
        assert!(received == known || received == known + 1, "{received} received, {known} accounted for");
    }
    admitting.join().unwrap();
    leasing.join().unwrap();
    let account = queue.account(&route.counters);
    assert_eq!((account.received, account.dropped + account.acknowledged), (100_000, 100_000));
}

/// The accounts of several topics are of one moment: of two that are admitted by turns, neither is ahead by two.
#[test]
fn accounts_are_of_one_moment() {
    let queue = Arc::new(queue(100 << 10, Overflow::DropNewest));
    let [one, other] = [Priority::Normal, Priority::Low].map(route);
    let now = Instant::now();
    let admitting = std::thread::spawn({
        let (queue, one, other) = (queue.clone(), one.clone(), other.clone());
        move || {
            for _ in 0..10_000 {
                admit(&queue, &one, 1, now);
                admit(&queue, &other, 1, now);
                if let (Some(one), Some(other)) = (queue.lease(now), queue.lease(now)) {
                    queue.acknowledge(one.id);
                    queue.acknowledge(other.id);
                }
            }
        }
    });
    while !admitting.is_finished() {
        let accounts = queue.accounts([&*one.counters, &*other.counters].into_iter());
        let done = |account: &Account| account.acknowledged + account.queued + account.in_flight;
        let ahead = done(&accounts[0]) - done(&accounts[1]);
        assert!(ahead <= 1, "{accounts:?}");
    }
    admitting.join().unwrap();
}
