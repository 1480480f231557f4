//! The queue, as the bridge has it.

use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use iot_bridge_core::config::{self, Overflow, Priority, Qos, QueueDurability};
use iot_bridge_core::queue::disk::survey::go_on;
use iot_bridge_core::queue::{DiskThread, Queue, Record, Route};
use iot_bridge_core::topics::Registry;
use tempfile::TempDir;

pub use iot_bridge_core::config::QueueDurability as Durability;

use crate::meter::{Cost, Meter};
use crate::{BEAT, LOOK, RECORDS, measured, payload};

const HOUR: Duration = Duration::from_secs(3600);

/// Records between two looks.
const STRIDE: u64 = 1000;

/// Records that may be in memory only: more are not admitted meanwhile, so that none is dropped. They count 392 bytes each, 51 MB
/// together: more than three quarters of the memory, upon which the disk's thread writes at once. With fewer it would wait for
/// its second with others, and what is measured would be that.
const AHEAD: u64 = 130_000;

/// AWS IoT Core's window.
const WINDOW: usize = 100;

fn settings(directory: &Path, durability: QueueDurability) -> config::Queue {
    config::Queue {
        disk: 4 << 30,
        directory: directory.join("queue"),
        durability,
        sync: Duration::from_millis(100),
        ..config::Queue::in_memory(64 << 20, Overflow::DropOldest)
    }
}

fn open(directory: &Path, durability: QueueDurability) -> (Queue, DiskThread) {
    let topics = Arc::new(|ros: &str, mqtt: &str| Registry::default().topic(ros, mqtt));
    let opened = Queue::open(&settings(directory, durability), WINDOW, topics, &mut go_on);
    let (queue, disk_thread) = opened.expect("a thread");
    (queue, disk_thread.expect("a disk"))
}

fn route() -> Arc<Route> {
    Arc::new(Route {
        topic: Registry::default().topic("/odom", "robots/robot1/odom"),
        qos: Qos::AtLeastOnce,
        retain: false,
        priority: Priority::Normal,
        packing: Default::default(),
    })
}

fn admit(queue: &Queue, route: &Arc<Route>, number: u64) {
    let now = Instant::now();
    let record = Record { route: route.clone(), payload: payload(number), received_ns: 0, expires: now + HOUR };
    assert!(queue.admit(record, now), "there is room");
}

/// Admits `records` as fast as the disk takes them; with a rate, so many a second. Waits until all are on the disk.
fn admit_all(queue: &Queue, records: u64, rate: Option<u64>) {
    let (start, route) = (Instant::now(), route());
    let mut number = 0;
    while number < records {
        let due = match rate {
            Some(rate) => (start.elapsed().as_micros() as u64 * rate / 1_000_000).min(records),
            None if queue.figures().memory_only() < AHEAD => (number + STRIDE).min(records),
            None => number,
        };
        (number..due).for_each(|number| admit(queue, &route, number));
        if rate.is_some() {
            sleep(BEAT);
        } else if number == due {
            sleep(LOOK);
        }
        number = due;
    }
    while queue.figures().memory_only() > 0 {
        sleep(LOOK);
    }
    assert!(queue.figures().disk.is_some_and(|disk| disk.trouble.is_none()), "the disk works");
}

/// Sends what is there, a window at a time.
fn send(queue: &Queue, records: u64) {
    let mut sent = 0;
    while sent < records {
        let window: Vec<_> = (0..WINDOW).map_while(|_| queue.lease(Instant::now())).collect();
        if window.is_empty() {
            sleep(LOOK);
        }
        sent += window.len() as u64;
        window.iter().for_each(|lease| assert!(queue.acknowledge(lease.id)));
    }
}

/// Records in memory only, as many as fit.
pub fn admitted_to_memory() -> Cost {
    let queue = Queue::in_memory(&config::Queue::in_memory(1 << 30, Overflow::DropOldest));
    let route = route();
    measured(RECORDS, || (0..RECORDS).for_each(|number| admit(&queue, &route, number)))
}

/// Records that are admitted and sent while the link is up; the disk should not notice.
pub fn passed_by(directory: &TempDir) -> Cost {
    let (queue, disk_thread) = open(directory.path(), QueueDurability::Spill);
    queue.set_link(true);
    let route = route();
    let cost = measured(RECORDS, || {
        for stride in 0..RECORDS / STRIDE {
            (0..STRIDE).for_each(|number| admit(&queue, &route, stride * STRIDE + number));
            send(&queue, STRIDE);
        }
    });
    disk_thread.close();
    cost
}

/// Records that go to the disk as fast as it takes them.
pub fn written(directory: &TempDir, durability: QueueDurability) -> Cost {
    let (queue, disk_thread) = open(directory.path(), durability);
    let cost = measured(RECORDS, || admit_all(&queue, RECORDS, None));
    disk_thread.close();
    cost
}

/// With `always`, ten seconds at a rate.
pub fn written_at(directory: &TempDir, rate: u64) -> Cost {
    let (queue, disk_thread) = open(directory.path(), QueueDurability::Always);
    let cost = measured(10 * rate, || admit_all(&queue, 10 * rate, Some(rate)));
    disk_thread.close();
    cost
}

/// An outage, and its end: all records to the disk and back, sent and done.
pub fn through(directory: &TempDir) -> Cost {
    let (queue, disk_thread) = open(directory.path(), QueueDurability::Spill);
    measured(RECORDS, || {
        admit_all(&queue, RECORDS, None);
        queue.set_link(true);
        send(&queue, RECORDS);
        disk_thread.close();
    })
}

/// Copies a directory. Returns the bytes of its files.
fn copy(from: &Path, to: &Path) -> std::io::Result<u64> {
    std::fs::create_dir_all(to)?;
    let mut bytes = 0;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        bytes += if from.is_dir() { copy(&from, &to)? } else { std::fs::copy(from, to)? };
    }
    Ok(bytes)
}

/// What a start takes after a kill.
pub fn recovered(directory: &TempDir) -> Cost {
    let (queue, disk_thread) = open(directory.path(), QueueDurability::Spill);
    admit_all(&queue, RECORDS, None);
    // As a kill would leave it: never closed.
    let killed = directory.path().join("killed");
    let files = copy(&directory.path().join("queue"), &killed.join("queue")).expect("a copy");
    disk_thread.close();
    drop(queue);
    let meter = Meter::start();
    let (queue, disk_thread) = open(&killed, QueueDurability::Spill);
    assert_eq!(queue.figures().queued(), RECORDS);
    let cost = meter.stop(RECORDS);
    disk_thread.close();
    Cost { written: files, ..cost }
}
