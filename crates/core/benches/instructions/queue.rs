//! The queue: records of 200 bytes.

use std::collections::VecDeque;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use bytes::Bytes;
use iot_bridge_core::config::{self, Overflow, Priority, Qos, QueueDurability};
use iot_bridge_core::packing::{Batch, Packing};
use iot_bridge_core::queue::disk::survey::go_on;
use iot_bridge_core::queue::{DiskThread, Queue, Record, Route};
use iot_bridge_core::topics::Registry;
use tempfile::TempDir;

use crate::{Case, Make};

const HOUR: Duration = Duration::from_secs(3600);
const TIMES: u32 = 1000;

/// Records that go to the disk together.
const RECORDS: u32 = 5000;

/// Topics with a record each, which waits for others.
const OTHERS: usize = 3000;

/// AWS IoT Core's window.
const WINDOW: usize = 100;

/// Memory that is a directory.
const MEMORY: &str = "/dev/shm";

pub fn cases() -> Vec<Make> {
    vec![
        Box::new(empty),
        Box::new(behind),
        Box::new(beside),
        Box::new(full),
        Box::new(to_the_disk),
        Box::new(start),
        Box::new(from_the_disk),
    ]
}

fn route() -> Arc<Route> {
    route_of(&Registry::default(), "odom", Packing::default())
}

fn route_of(registry: &Registry, name: &str, packing: Packing) -> Arc<Route> {
    Arc::new(Route {
        topic: registry.topic(&format!("/{name}"), &format!("robots/robot1/{name}")),
        qos: Qos::AtLeastOnce,
        retain: false,
        priority: Priority::Normal,
        packing,
    })
}

fn record(route: &Arc<Route>, now: Instant) -> Record {
    Record { route: route.clone(), payload: Bytes::copy_from_slice(&[7; 200]), received_ns: 0, expires: now + HOUR }
}

fn in_memory(bytes: u64) -> Queue {
    Queue::in_memory(&config::Queue::in_memory(bytes, Overflow::DropOldest))
}

fn empty() -> Case {
    let (queue, route, now) = (in_memory(4 << 20), route(), Instant::now());
    Case::new("queue: through an empty one", TIMES, move || {
        queue.admit(record(&route, now), now);
        let lease = queue.lease(now).expect("a record waits");
        black_box(queue.acknowledge(lease.id));
    })
}

fn behind() -> Case {
    let (queue, route, now) = (in_memory(4 << 20), route(), Instant::now());
    while queue.figures().bytes() < 2 << 20 {
        queue.admit(record(&route, now), now);
    }
    let mut window: VecDeque<_> = (0..WINDOW).filter_map(|_| queue.lease(now)).collect();
    Case::new("queue: through one with 2 MiB of others, a full window in flight", TIMES, move || {
        queue.admit(record(&route, now), now);
        window.extend(queue.lease(now));
        let oldest = window.pop_front().expect("the window is full");
        black_box(queue.acknowledge(oldest.id));
    })
}

fn beside() -> Case {
    let (queue, registry, now) = (in_memory(4 << 20), Registry::default(), Instant::now());
    let batch = Some(Batch { max: 100, linger: HOUR });
    for number in 0..OTHERS {
        let other = route_of(&registry, &format!("part{number}"), Packing { batch, ..Packing::default() });
        assert!(queue.admit(record(&other, now), now));
    }
    let route = route_of(&registry, "odom", Packing::default());
    Case::new("queue: through one where 3,000 topics wait for their batches to fill", TIMES, move || {
        queue.admit(record(&route, now), now);
        let lease = queue.lease(now).expect("a record waits");
        black_box(queue.acknowledge(lease.id));
    })
}

fn full() -> Case {
    let (queue, route, now) = (in_memory(1 << 20), route(), Instant::now());
    while queue.figures().bytes() + 1000 < 1 << 20 {
        queue.admit(record(&route, now), now);
    }
    Case::new("queue: into a full one, which drops the oldest", TIMES, move || {
        black_box(queue.admit(record(&route, now), now));
    })
}

fn directory() -> TempDir {
    let memory = Path::new(MEMORY);
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a directory")
}

/// A queue that writes nothing before it ends, so that all of it is written together.
fn on_disk(directory: &TempDir) -> (Queue, DiskThread) {
    let settings = config::Queue {
        disk: 64 << 20,
        directory: directory.path().join("queue"),
        durability: QueueDurability::Always,
        sync: HOUR,
        ..config::Queue::in_memory(16 << 20, Overflow::DropOldest)
    };
    let topics = Arc::new(|ros: &str, mqtt: &str| Registry::default().topic(ros, mqtt));
    let (queue, disk_thread) = Queue::open(&settings, WINDOW, topics, &mut go_on).expect("a thread");
    // Whatever it does at first.
    sleep(Duration::from_millis(50));
    (queue, disk_thread.expect("a disk"))
}

fn admit_all(queue: &Queue) {
    let (route, now) = (route(), Instant::now());
    (0..RECORDS).for_each(|_| assert!(queue.admit(record(&route, now), now)));
}

/// A directory with records of an earlier process.
fn filled() -> TempDir {
    let directory = directory();
    let (queue, disk_thread) = on_disk(&directory);
    admit_all(&queue);
    disk_thread.close();
    directory
}

/// What is done once, `RECORDS` records at a time.
fn once(name: &str, work: impl FnOnce() + 'static) -> Case {
    let mut work = Some(work);
    let work = move || work.take().expect("it is called once")();
    Case { name: format!("disk: {name}"), times: RECORDS, work: Box::new(work) }
}

fn to_the_disk() -> Case {
    let directory = directory();
    let (queue, disk_thread) = on_disk(&directory);
    once("admitted and written", move || {
        admit_all(&queue);
        disk_thread.close();
        drop((queue, directory));
    })
}

fn start() -> Case {
    let directory = filled();
    once("found at a start", move || {
        let (queue, disk_thread) = on_disk(&directory);
        assert_eq!(queue.figures().queued(), u64::from(RECORDS));
        disk_thread.close();
        drop((queue, directory));
    })
}

fn from_the_disk() -> Case {
    let directory = filled();
    let (queue, disk_thread) = on_disk(&directory);
    once("read, sent and done", move || {
        // From now on the disk's thread reads ahead.
        queue.set_link(true);
        let mut sent = 0;
        while sent < RECORDS {
            let window: Vec<_> = (0..WINDOW).map_while(|_| queue.lease(Instant::now())).collect();
            if window.is_empty() {
                sleep(Duration::from_millis(1));
            }
            sent += window.len() as u32;
            window.iter().for_each(|lease| assert!(queue.acknowledge(lease.id)));
        }
        disk_thread.close();
        drop((queue, directory));
    })
}
