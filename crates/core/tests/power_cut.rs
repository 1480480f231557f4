//! The queue on a file system whose power goes: ext4 on a loop device, shut down without a last write.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::own_mounts::{self, Disk};
use crate::support::victim::{self, BURST, Orders, Report, TOPICS, Victim, WINDOW};
use iot_bridge_core::config::QueueDurability;

const CUTS: u64 = 20;

/// What has to be on the disk, and what may be.
#[derive(Default)]
struct Ledger {
    /// The number after the last that was admitted.
    next: u64,
    /// Reported as durable, and not as acknowledged.
    durable: BTreeSet<u64>,
    admitted: BTreeSet<u64>,
    /// Acknowledged, or about to be; these need not come again.
    acknowledged: BTreeSet<u64>,
    /// Those of them that were while there was power; no more than a window of these may come again.
    acknowledged_in_time: BTreeSet<u64>,
    /// Starts since all was taken from the disk.
    lives: usize,
}

/// The power goes twenty times at random moments while records are admitted and acknowledged: with `always` every record
/// that was reported as durable and not as acknowledged is there afterwards, in order within its topic, and of the acknowledged ones no
/// more than a window comes again for each cut.
#[test]
fn what_is_durable_survives_a_power_cut() {
    const NAME: &str = "power_cut::what_is_durable_survives_a_power_cut";
    if victim::obey() || !own_mounts::enter(NAME) {
        return;
    }
    let Some(disk) = Disk::new(128) else { return };
    let directory = disk.path().join("queue");
    let (mut ledger, mut kept) = (Ledger::default(), 0);
    for cut in 0..CUTS {
        // One group a record, or as many as come in the time.
        let sync = Duration::from_millis(cut % 2 * 50);
        let orders = Orders {
            directory: directory.clone(),
            durability: QueueDurability::Always,
            sync,
            first: ledger.next,
            is_last: false,
            broker: None,
        };
        let victim = Victim::start(NAME, &orders);
        let life = Duration::from_millis(rand::random::<u64>() % 1200);
        std::thread::sleep(life);
        let power_went = victim::clock();
        disk.cut_power();
        // It goes on for a moment, on a disk that does not work any more.
        std::thread::sleep(Duration::from_millis(rand::random::<u64>() % 200));
        let reports = victim.kill();
        disk.unmount();
        disk.mount();
        ledger.add(&reports, power_went);
        // Every other time the next life goes on with what this one has left.
        if cut % 2 == 1 {
            kept += ledger.take_all(&directory);
        }
    }
    eprintln!("{kept} records were there after {CUTS} cuts, of {} admitted", ledger.next);
    assert!(kept > 1000, "{kept} records prove little");
    disk.unmount();
}

impl Ledger {
    /// Notes what a life has reported. What it calls durable or acknowledges once the power goes does not count: no robot
    /// lives on without it. The kernel may answer a sync that is under way just then as if it had been done, and on a
    /// disk that does not work the queue lets more than a window be acknowledged.
    fn add(&mut self, reports: &[Report], power_went: Duration) {
        self.lives += 1;
        let first = self.next;
        for report in reports {
            if report.all_durable && report.at < power_went {
                self.durable.extend(first..report.next);
            }
            self.acknowledged.extend(&report.acknowledged);
            if report.at < power_went {
                self.acknowledged_in_time.extend(&report.acknowledged);
            }
            self.next = report.next + BURST;
        }
        self.admitted.extend(first..self.next);
        self.durable = &self.durable - &self.acknowledged;
    }

    /// Takes everything from the disk, and checks it. Returns how much that was.
    fn take_all(&mut self, directory: &Path) -> usize {
        let (queue, worker) = victim::open(directory, QueueDurability::Always, Duration::ZERO);
        let (mut found, mut latest) = (BTreeSet::new(), [None; TOPICS as usize]);
        let deadline = Instant::now() + Duration::from_secs(60);
        while !queue.is_empty() {
            assert!(Instant::now() < deadline, "{:?}", queue.figures());
            let Some(lease) = queue.lease(Instant::now()) else {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            };
            let number = victim::number_in(&lease.record.payload);
            let before = latest[(number % TOPICS) as usize].replace(number);
            assert!(before < Some(number), "{number} after {before:?}");
            found.insert(number);
            assert!(queue.acknowledge(lease.id));
        }
        worker.close();
        let lost: Vec<_> = self.durable.difference(&found).collect();
        assert!(lost.is_empty(), "{} of {} durable records are lost: {lost:?}", lost.len(), self.durable.len());
        let invented: Vec<_> = found.difference(&self.admitted).collect();
        assert!(invented.is_empty(), "never admitted: {invented:?}");
        let again = found.intersection(&self.acknowledged_in_time).count();
        assert!(again <= self.lives * WINDOW, "{again} acknowledged records came again after {} cuts", self.lives);
        *self = Ledger { next: self.next, ..Ledger::default() };
        found.len()
    }
}
