//! What a record costs in the queue: admission, lease and acknowledgement, with a payload of 200 bytes. Also beside
//! thousands of topics: there it should cost what it does beside ten.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use iot_bridge_core::config::{self, Overflow, Priority, Qos, QueueDurability};
use iot_bridge_core::queue::disk::survey::go_on;
use iot_bridge_core::queue::{Queue, Record, Route};
use iot_bridge_core::topics::Registry;

const HOUR: Duration = Duration::from_secs(3600);

fn route(ros: &str) -> Arc<Route> {
    Arc::new(Route {
        topic: Registry::default().topic(ros, "robots/robot1/odom"),
        qos: Qos::AtLeastOnce,
        retain: false,
        priority: Priority::Normal,
        packing: Default::default(),
    })
}

fn record(route: &Arc<Route>, now: Instant) -> Record {
    Record { route: route.clone(), payload: Bytes::copy_from_slice(&[7; 200]), received_ns: 0, expires: now + HOUR }
}

fn queue() -> Queue {
    Queue::in_memory(&config::Queue::in_memory(32 << 20, Overflow::DropOldest))
}

/// So many topics.
fn routes(topics: usize) -> Vec<Arc<Route>> {
    (0..topics).map(|topic| route(&format!("/topic{topic}"))).collect()
}

fn beside_many_topics(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("topics");
    group.throughput(Throughput::Elements(1));
    let now = Instant::now();
    for topics in [10, 3000] {
        let (full, routes) = (queue(), routes(topics));
        let mut next = routes.iter().cycle();
        let mut admit = || full.admit(record(next.next().expect("a cycle"), now), now);
        (0..100_000).for_each(|_| _ = admit());
        group.bench_function(format!("one record into a full queue of {topics} topics (drop-oldest)"), |bencher| {
            bencher.iter(|| black_box(admit()));
        });
    }
    for topics in [10, 3000] {
        let (directory, routes) = (tempfile::tempdir().expect("a directory"), routes(topics));
        let settings = config::Queue {
            disk: 64 << 20,
            durability: QueueDurability::Spill,
            directory: directory.path().join("queue"),
            ..config::Queue::in_memory(4 << 20, Overflow::DropOldest)
        };
        let find = |ros: &str, mqtt: &str| Registry::default().topic(ros, mqtt);
        let (queue, disk_thread) = Queue::open(&settings, 100, Arc::new(find), &mut go_on).expect("a queue");
        // No faster than the disk takes it, until every topic has records that are on the disk only.
        for route in routes.iter().cycle().take(100_000) {
            while queue.figures().bytes() > 3 << 20 {
                std::thread::sleep(Duration::from_millis(1));
            }
            assert!(queue.admit(record(route, now), now));
        }
        assert!(queue.figures().lanes[1].queued_on_disk > 50_000);
        group.bench_function(format!("one lease beside the backlogs of {topics} topics on the disk"), |bencher| {
            bencher.iter(|| {
                let lease = loop {
                    if let Some(lease) = queue.lease(now) {
                        break lease;
                    }
                    std::thread::yield_now();
                };
                queue.requeue_topic(&lease.record.route)
            });
        });
        disk_thread.expect("a disk").close();
    }
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("queue");
    group.throughput(Throughput::Elements(1));
    let (route, now) = (route("/odom"), Instant::now());

    let empty = queue();
    group.bench_function("one record through an empty queue", |bencher| {
        bencher.iter(|| {
            empty.admit(record(&route, now), now);
            let lease = empty.lease(now).expect("a record waits");
            black_box(empty.acknowledge(lease.id))
        });
    });

    let behind = queue();
    while behind.figures().bytes() < 30 << 20 {
        behind.admit(record(&route, now), now);
    }
    let mut window: std::collections::VecDeque<_> = (0..100).filter_map(|_| behind.lease(now)).collect();
    group.bench_function("one record with a backlog of 30 MiB and a window of 100", |bencher| {
        bencher.iter(|| {
            behind.admit(record(&route, now), now);
            window.extend(behind.lease(now));
            let oldest = window.pop_front().expect("the window is full");
            black_box(behind.acknowledge(oldest.id))
        });
    });

    let full = queue();
    while full.figures().bytes() + 1000 < 32 << 20 {
        full.admit(record(&route, now), now);
    }
    group.bench_function("one record into a full queue (drop-oldest)", |bencher| {
        bencher.iter(|| black_box(full.admit(record(&route, now), now)));
    });
}

criterion_group!(queue_benches, benches, beside_many_topics);
criterion_main!(queue_benches);
