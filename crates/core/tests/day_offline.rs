//! A queue through an outage that is far longer than memory, on a real disk.

use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use iot_bridge_core::config::{Overflow, Priority, Qos, Queue as QueueSettings, QueueDurability};
use iot_bridge_core::queue::disk::survey::go_on;
use iot_bridge_core::queue::{DiskThread, Queue, Record, Route};
use iot_bridge_core::tally::DropReason;
use iot_bridge_core::topics::Registry;

use crate::support::itself::resident;

const MIB: u64 = 1 << 20;

/// A day of 23 a second.
const RECORDS: u64 = 2_000_000;

const WINDOW: usize = 100;

/// Bytes that the process may take beyond what it had and the queue's own: a batch on its way to the disk, buffers, and
/// what the allocator keeps.
const BESIDE: u64 = 24 * MIB;

/// The directory and those of the lanes in it, which the bound of all files does not count.
const DIRECTORIES: u64 = 4 * 4096;

/// A day's records of 200 bytes go through 64 MiB of memory and 1 GiB of disk: the process and the directory stay within
/// these bounds at any time, none is lost, and all of them come back in order.
#[test]
fn a_day_offline_comes_back_in_order() {
    let outage = Outage::begin(64 * MIB, 1024 * MIB);
    outage.admit(RECORDS);
    assert_eq!(outage.queue.figures().queued(), RECORDS);
    outage.end(0..RECORDS);
}

/// An outage longer than the disk costs the oldest records, each of them counted, and keeps to the bounds of memory and
/// disk at any time; what is left comes back in order.
#[test]
fn an_outage_longer_than_the_disk_keeps_to_its_bounds() {
    const RECORDS: u64 = 200_000;
    let outage = Outage::begin(4 * MIB, 16 * MIB);
    outage.admit(RECORDS);
    let dropped = outage.route.counters.dropped(DropReason::Overflow);
    assert!(dropped > RECORDS / 2, "{dropped}");
    // Most of the disk is used: what is given up is a small part of it at a time.
    assert!(du(outage.directory.path()) > 14 * MIB);
    outage.end(dropped..RECORDS);
}

struct Outage {
    queue: Queue,
    worker: DiskThread,
    route: Arc<Route>,
    settings: QueueSettings,
    directory: tempfile::TempDir,
    /// Bytes of the process before.
    before: u64,
}

impl Outage {
    fn begin(memory: u64, disk: u64) -> Outage {
        // Not a file system in memory, as /tmp often is.
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let settings = QueueSettings {
            disk,
            directory: directory.path().to_owned(),
            durability: QueueDurability::Spill,
            ..QueueSettings::in_memory(memory, Overflow::DropOldest)
        };
        let route = Arc::new(Route {
            topic: Registry::default().topic("/odom", "robots/robot1/odom"),
            qos: Qos::AtLeastOnce,
            retain: false,
            priority: Priority::Normal,
            packing: Default::default(),
        });
        let before = resident();
        let (queue, worker) = Queue::open(
            &settings,
            WINDOW,
            Arc::new(|ros: &str, mqtt: &str| Registry::default().topic(ros, mqtt)),
            &mut go_on,
        )
        .unwrap();
        Outage { queue, worker: worker.unwrap(), route, settings, directory, before }
    }

    /// Admits as many records as fast as the disk takes them.
    fn admit(&self, records: u64) {
        for number in 0..records {
            let now = Instant::now();
            let payload = format!("{number:200}").into();
            let expires = now + Duration::from_secs(7 * 86_400);
            self.route.counters.count_received();
            let record = Record { route: self.route.clone(), payload, received_ns: number as i64, expires };
            // A robot's records do not come faster than a disk can write; here they would, and be dropped.
            while self.queue.figures().bytes() > self.settings.memory / 5 * 4 {
                std::thread::sleep(Duration::from_millis(1));
            }
            assert!(self.queue.admit(record, now));
            if number.is_multiple_of(5000) {
                self.check_bounds();
            }
        }
        // What is in memory only is on the disk soon.
        while self.queue.figures().memory_only() > 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.check_bounds();
    }

    fn check_bounds(&self) {
        let (memory, disk) = (resident().saturating_sub(self.before), du(self.directory.path()));
        assert!(memory <= self.settings.memory + BESIDE, "{memory} bytes of memory");
        assert!(disk <= self.settings.disk + DIRECTORIES, "{disk} bytes on the disk");
        assert!(self.queue.figures().bytes() <= self.settings.memory);
    }

    /// The link is back, and the records `left` come, in their order.
    fn end(self, left: Range<u64>) {
        self.queue.set_link(true);
        let mut next = left.start;
        while !self.queue.is_empty() {
            let Some(lease) = self.queue.lease(Instant::now()) else {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            };
            let number: u64 = std::str::from_utf8(&lease.record.payload).unwrap().trim_start().parse().unwrap();
            assert_eq!(number, next);
            next += 1;
            assert!(self.queue.acknowledge(lease.id));
            if next.is_multiple_of(20_000) {
                self.check_bounds();
            }
        }
        let counters = &self.route.counters;
        assert_eq!((next, counters.acknowledged()), (left.end, left.end - left.start));
        assert_eq!(counters.acknowledged() + counters.dropped_in_all(), counters.received());
        self.worker.close();
        let left = du(self.directory.path());
        assert!(left <= 64 << 10, "{left} bytes are left on the disk of an empty queue");
    }
}

/// Bytes that a directory takes of the disk, with everything in it.
fn du(directory: &Path) -> u64 {
    let output = Command::new("du").args(["--summarize", "--block-size=1"]).arg(directory).output().unwrap();
    // Not its status: files come and go while it looks.
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}
