//! A scripted life of the queue, with a fault at each of its operations in turn.
//!
//! Each fault is tried at each operation on the disk that the script causes: once, from then on, as a write that is cut
//! short, and as the last before the power goes. After each the process is killed or loses its power, and the next one
//! has to find what was reported as durable.

use std::collections::BTreeSet;

use rustix::io::Errno;

use super::*;
use crate::config::QueueDurability;
use crate::config::QueueDurability::{Always, Spill};
use crate::files::simulated::{Action, Fault, SimulatedFiles};
use crate::queue::testing::harness::{QueueHarness, number_in, number_of, settings};

/// Names of topics; a record's number has the topic's index in its upper half.
const TOPICS: [(&str, Priority); 3] =
    [("/high", Priority::High), ("/one", Priority::Normal), ("/two", Priority::Normal)];

struct Script {
    harness: QueueHarness,
    routes: [Arc<Route>; 3],
    /// How many of each topic were admitted.
    admitted: [u64; 3],
    acknowledged: BTreeSet<u64>,
    /// The operation after which the story ends.
    last: u64,
}

impl Script {
    /// A start on `files`.
    fn start(files: SimulatedFiles, settings: config::Queue, last: u64) -> Script {
        let harness = QueueHarness::on(files, settings);
        let routes = TOPICS.map(|(ros, priority)| harness.route(ros, priority));
        Script { harness, routes, admitted: [0; 3], acknowledged: BTreeSet::new(), last }
    }

    fn admit(&mut self, topic: usize, records: u64) {
        for _ in 0..records {
            let number = (topic as u64) << 32 | self.admitted[topic];
            assert!(self.harness.admit(&self.routes[topic], number, 20), "{number}");
            self.admitted[topic] += 1;
        }
    }

    /// Lets the disk worker work. Nothing if the story ends here.
    fn work(&mut self) -> Option<()> {
        self.harness.work();
        self.check();
        (self.harness.files.operations() <= self.last).then_some(())
    }

    fn check(&self) {
        self.harness.queue.shared.lock().store.check();
        self.harness.check_accounts();
        assert!(self.harness.files.total_bytes() <= self.harness.settings.disk);
    }

    /// Leases so many, and acknowledges all but the first.
    fn send_all_but_one(&mut self, records: usize) {
        let leases: Vec<_> = (0..records).map_while(|_| self.harness.queue.lease(self.harness.now)).collect();
        for lease in leases.iter().skip(1).rev() {
            assert!(self.harness.queue.acknowledge(lease.id));
            self.acknowledged.insert(number_of(lease));
        }
    }

    /// Outages, the link between them, acknowledgements out of order, requeues, and in the end all is sent but one.
    fn play(&mut self) -> Option<()> {
        self.admit(1, 3);
        self.work()?;
        self.admit(0, 1);
        self.admit(2, 2);
        self.work()?;
        self.harness.queue.set_link(true);
        self.send_all_but_one(4);
        self.work()?;
        self.harness.queue.requeue();
        self.harness.queue.set_link(false);
        self.admit(1, 2);
        self.admit(2, 1);
        self.work()?;
        self.harness.queue.set_link(true);
        self.send_all_but_one(7);
        self.work()?;
        self.harness.queue.set_link(false);
        self.harness.queue.requeue();
        self.admit(0, 2);
        self.work()?;
        self.harness.queue.set_link(true);
        self.send_all_but_one(100);
        self.work()?;
        self.harness.queue.requeue();
        self.admit(1, 2);
        self.harness.queue.set_link(false);
        self.work()
    }

    /// The numbers of what is durable and has not ended, as the queue says, and how many are on the disk only.
    fn durable(&self) -> (Vec<u64>, u64) {
        let durable = self.harness.queue.shared.lock().store.durable();
        let in_memory = durable.iter().flat_map(|topic| topic.in_memory.iter().map(number_in)).collect();
        (in_memory, durable.iter().map(|topic| topic.on_disk_only).sum())
    }

    /// The next process finds what is durable, in its order, and nothing that never was; and it goes on.
    fn check_successor(&self, mut next: QueueHarness, told: &str) {
        let (durable, on_disk_only) = self.durable();
        next.work();
        next.queue.shared.lock().store.check();
        let recovered: u64 = next.topics().iter().map(|topic| topic.counters.recovered()).sum();
        assert!(recovered >= durable.len() as u64 + on_disk_only, "{told}: {recovered} are there");
        let arrived = next.drain();
        for (topic, admitted) in self.admitted.iter().enumerate() {
            let numbers: Vec<u64> = arrived.iter().copied().filter(|number| number >> 32 == topic as u64).collect();
            assert!(numbers.is_sorted_by(|one, other| one < other), "{told}: out of order: {numbers:?}");
            let last = numbers.last().map_or(0, |last| (last & 0xffff_ffff) + 1);
            assert!(last <= *admitted, "{told}: {last} was never admitted");
        }
        for number in durable {
            assert!(arrived.contains(&number), "{told}: {number:#x} was durable and is not there: {arrived:x?}");
        }
        goes_on(&mut next, told);
    }
}

/// The queue writes to the disk and reads from there.
fn goes_on(harness: &mut QueueHarness, told: &str) {
    harness.queue.set_link(false);
    let route = harness.route("/after", Priority::Low);
    assert!(harness.admit(&route, 7 << 32, 20), "{told}");
    harness.work();
    let figures = harness.queue.figures();
    assert_eq!((figures.memory_only(), figures.disk.unwrap().trouble), (0, None), "{told}");
    assert!(harness.drain().contains(&(7 << 32)), "{told}");
    harness.check_accounts();
}

/// A small disk of which one segment is damaged, as a process has left it.
fn begun(durability: QueueDurability) -> (SimulatedFiles, config::Queue) {
    let settings = config::Queue { disk: 1 << 20, memory: 2 << 20, ..settings(durability) };
    let mut harness = QueueHarness::new(settings.clone());
    let route = harness.route("/before", Priority::Low);
    (0..3).for_each(|number| assert!(harness.admit(&route, 9 << 32 | number, 30)));
    harness.work();
    let files = harness.files.after_kill();
    let segment = files.paths().into_iter().find(|path| path.starts_with("low/")).unwrap();
    // Within the second record.
    let length = files.read(&segment).unwrap().len() as u64;
    files.corrupt(&segment, length - 90, b"#");
    (files, settings)
}

/// Plays the script up to the operation of that number, or to its end, with a fault at another one.
fn play(durability: QueueDurability, last: u64, fault: Option<(u64, Fault)>) -> Script {
    let (files, settings) = begun(durability);
    if let Some((operation, fault)) = fault {
        files.fault_at(operation, fault);
    }
    let mut script = Script::start(files, settings, last);
    script.play();
    script
}

/// Plays the script with a fault, and goes on from there in each way.
fn check(durability: QueueDurability, operation: u64, fault: Fault) {
    check_until(durability, operation, operation, fault);
}

fn check_until(durability: QueueDurability, last: u64, operation: u64, fault: Fault) {
    let told = format!("{durability:?}, {fault:?} at operation {operation}, until {last}");
    let mut script = play(durability, last, Some((operation, fault)));
    let is_dead = matches!(fault, Fault::PowerCut { .. });
    let first = operation * 1000 + if let Fault::PowerCut { written } = fault { 2 * written as u64 } else { 0 };
    for seed in first..first + if is_dead { 2 } else { 1 } {
        let files = script.harness.files.after_power_cut(seed);
        script
            .check_successor(QueueHarness::on(files, script.harness.settings.clone()), &format!("{told}, cut {seed}"));
    }
    if is_dead {
        return;
    }
    let files = script.harness.files.after_kill();
    script.check_successor(QueueHarness::on(files, script.harness.settings.clone()), &format!("{told}, killed"));
    // Nor does the process itself lose anything, once the disk works again.
    script.harness.queue.requeue();
    script.harness.files.heal();
    script.work();
    assert_eq!(script.harness.queue.figures().disk.unwrap().trouble, None, "{told}");
    let queued = script.harness.queue.figures().queued();
    let arrived = script.harness.drain();
    assert_eq!(arrived.len() as u64, queued, "{told}");
    for (topic, admitted) in script.admitted.iter().enumerate() {
        let all = arrived.iter().chain(&script.acknowledged).filter(|number| **number >> 32 == topic as u64);
        let all: BTreeSet<u64> = all.copied().collect();
        assert_eq!(all.len() as u64, *admitted, "{told}: something is missing of topic {topic}");
    }
    goes_on(&mut script.harness, &told);
}

fn operations(durability: QueueDurability) -> Vec<Action> {
    let script = play(durability, u64::MAX, None);
    script.harness.files.log().into_iter().map(|operation| operation.action).collect()
}

/// An operation that fails once, or from then on until the disk is mended, costs nothing that was durable, invents
/// nothing, breaks no order, and the queue goes on; and nothing that the process still holds is lost with it.
#[test]
fn an_operation_that_fails_costs_nothing_durable() {
    for durability in [Spill, Always] {
        let operations = operations(durability);
        assert!(operations.contains(&Action::Rename), "{operations:?}");
        assert!(operations.contains(&Action::Remove), "{operations:?}");
        for operation in 0..operations.len() as u64 {
            for errno in [Errno::IO, Errno::NOSPC] {
                check(durability, operation, Fault::Fail(errno));
                check(durability, operation, Fault::FailFrom(errno));
                check_until(durability, u64::MAX, operation, Fault::Fail(errno));
                check_until(durability, u64::MAX, operation, Fault::FailFrom(errno));
            }
        }
    }
}

/// So does a write that is cut short at any of its bytes.
#[test]
fn a_write_that_is_cut_short_costs_nothing_durable() {
    for durability in [Spill, Always] {
        for (operation, action) in operations(durability).into_iter().enumerate() {
            let Action::Write { bytes: length, .. } = action else { continue };
            for bytes in 0..length {
                check(durability, operation as u64, Fault::WriteShort { bytes, errno: Errno::IO });
            }
        }
    }
}

/// So does an operation that is the last before the power goes, whatever the disk has of what was not synced, and of a
/// last write any part.
#[test]
fn the_last_operation_before_the_power_goes_costs_nothing_durable() {
    for durability in [Spill, Always] {
        for (operation, action) in operations(durability).into_iter().enumerate() {
            let length = if let Action::Write { bytes, .. } = action { bytes } else { 0 };
            for written in 0..=length {
                check(durability, operation as u64, Fault::PowerCut { written });
            }
        }
    }
}
