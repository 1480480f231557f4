//! What a record costs in the queue: admission, lease and acknowledgement, with a payload of 200 bytes.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use iot_bridge_core::config::{self, Overflow, Priority, Qos};
use iot_bridge_core::queue::{Queue, Record, Route};
use iot_bridge_core::topics::Registry;

const HOUR: Duration = Duration::from_secs(3600);

fn route() -> Arc<Route> {
    Arc::new(Route {
        topic: Registry::default().topic("/odom", "robots/robot1/odom"),
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

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("queue");
    group.throughput(Throughput::Elements(1));
    let (route, now) = (route(), Instant::now());

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

criterion_group!(queue_benches, benches);
criterion_main!(queue_benches);
