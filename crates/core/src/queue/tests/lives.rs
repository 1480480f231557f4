//! The queue with its disk through random lives, against a plain model of what it owes.
//!
//! A sequence is made from its seed alone. `IOT_BRIDGE_TEST_SEED` runs that one sequence.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::*;
use crate::config::QueueDurability;
use crate::files::simulated::SimulatedFiles;
use crate::queue::LeaseId;
use crate::queue::testing::harness::{QueueHarness, number_in};
use crate::queue::testing::meddler::Meddler;

/// Records in flight, at most.
const WINDOW: usize = 12;

const YEAR: Duration = Duration::from_secs(365 * 86_400);

const TOPICS: [(&str, Priority); 5] = [
    ("/high", Priority::High),
    ("/one", Priority::Normal),
    ("/two", Priority::Normal),
    ("/three", Priority::Normal),
    ("/low", Priority::Low),
];

/// A record that was admitted.
struct Admitted {
    expires: Instant,
    /// The life and boot in which that was.
    boot: u64,
    is_durable: bool,
    /// The last life in which it was acknowledged.
    acknowledged: Option<u64>,
    /// It was acknowledged or discarded in this life.
    has_ended: bool,
    is_discarded: bool,
}

#[derive(Default)]
struct Topic {
    route: Option<Arc<Route>>,
    admitted: BTreeMap<u64, Admitted>,
    /// The last that was leased since the last requeue.
    last: Option<u64>,
}

/// What the uplink and reception do, and what they know. Both they and the disk worker's disk come to it.
struct World {
    rng: StdRng,
    /// Nothing while a process starts.
    queue: Option<Queue>,
    now: Instant,
    life: u64,
    boot: u64,
    topics: [Topic; TOPICS.len()],
    leases: Vec<(LeaseId, usize, Vec<u64>)>,
    /// Whether records travel in batches.
    has_batches: bool,
    unwanted: BTreeSet<String>,
    /// Of the records acknowledged in the life before, those that came again.
    again: u64,
    /// Whether the disk has room for all there is.
    is_roomy: bool,
    trace: Vec<String>,
}

impl World {
    fn queue(&self) -> &Queue {
        self.queue.as_ref().unwrap()
    }

    /// Something that another thread than the disk worker does.
    fn step(&mut self) {
        match self.rng.gen_range(0..100) {
            0..40 => self.admit(),
            40..62 => self.lease(),
            62..82 => self.acknowledge(),
            82..84 => self.discard(),
            84..88 => self.requeue(),
            88..92 => {
                let up = self.rng.gen_bool(0.6);
                self.trace.push(format!("link {up}"));
                self.queue().set_link(up);
            }
            92..96 => {
                let kept = self.rng.gen_bool(0.5);
                let topic = TOPICS.choose(&mut self.rng).unwrap().0.to_owned();
                self.trace.push(format!("wanted {topic} {kept}"));
                if kept {
                    self.unwanted.remove(&topic)
                } else {
                    self.unwanted.insert(topic)
                };
            }
            _ => {
                // Reception has opened a topic anew: of the route so far only the queue has something.
                let topic = self.rng.gen_range(0..TOPICS.len());
                self.topics[topic].route = self.topics[topic].route.take().map(|route| again(&route, route.qos));
                self.trace.push(format!("maintain, {} anew", TOPICS[topic].0));
                self.queue().maintain(self.now);
            }
        }
    }

    fn admit(&mut self) {
        let index = self.rng.gen_range(0..TOPICS.len());
        let bytes = match self.rng.gen_range(0..20) {
            0..8 => self.rng.gen_range(8..300),
            8..18 => self.rng.gen_range(300..20_000),
            _ => self.rng.gen_range(20_000..110_000),
        };
        let life = if self.rng.gen_bool(0.9) { YEAR } else { Duration::from_secs(self.rng.gen_range(1..60)) };
        for _ in 0..self.rng.gen_range(1..6) {
            let number = self.topics[index].admitted.len() as u64;
            let route = self.topics[index].route.clone().unwrap();
            let mut payload = vec![b'.'; bytes];
            payload[..8].copy_from_slice(&number.to_le_bytes());
            let expires = self.now + life;
            let record = Record { route: route.clone(), payload: payload.into(), received_ns: number as i64, expires };
            route.counters.count_received();
            if !self.queue().admit(record, self.now) {
                // The next one gets its number.
                self.trace.push(format!("refused {} {number}", route.ros));
                continue;
            }
            self.trace.push(format!("admit {} {number}: {bytes}", route.ros));
            let admitted = Admitted {
                expires,
                boot: self.boot,
                is_durable: false,
                acknowledged: None,
                has_ended: false,
                is_discarded: false,
            };
            self.topics[index].admitted.insert(number, admitted);
        }
    }

    fn lease(&mut self) {
        for _ in 0..self.rng.gen_range(1..=WINDOW) {
            if self.leases.len() == WINDOW || !self.lease_one() {
                break;
            }
        }
    }

    fn lease_one(&mut self) -> bool {
        let unwanted = &self.unwanted;
        let Some(lease) = self.queue().lease_where(self.now, &|route| !unwanted.contains(&route.ros)) else {
            return false;
        };
        assert!(!unwanted.contains(&lease.record.route.ros), "{} is not wanted", lease.record.route.ros);
        let mut records = vec![lease.record.clone()];
        if self.has_batches {
            let mut room = self.rng.gen_range(0..5);
            let takes = |_: &Record| {
                room -= 1;
                room >= 0
            };
            let queue = self.queue.as_ref().unwrap();
            records.extend(queue.lease_more(lease.id, &lease.record.route, self.now, takes));
        }
        let index = TOPICS.iter().position(|(topic, _)| *topic == lease.record.route.ros).unwrap();
        let numbers = records.iter().map(|record| self.note_lease(index, record)).collect();
        self.leases.push((lease.id, index, numbers));
        true
    }

    /// A record of a topic has been lent. Returns its number.
    fn note_lease(&mut self, index: usize, record: &Record) -> u64 {
        let (ros, number) = (&record.route.ros, number_in(record));
        self.trace.push(format!("lease {ros} {number}"));
        assert_eq!(ros, TOPICS[index].0);
        let topic = &mut self.topics[index];
        let Some(admitted) = topic.admitted.get(&number) else { panic!("{ros} {number} is invented") };
        assert!(!admitted.has_ended, "{ros} {number} comes again, in the same life");
        assert!(topic.last.is_none_or(|last| last < number), "{ros} {number} comes after {:?}", topic.last);
        assert!(admitted.boot != self.boot || admitted.expires > self.now, "{ros} {number} has expired");
        self.again +=
            u64::from(admitted.acknowledged.is_some_and(|life| life + 1 == self.life) && !self.seen(index, number));
        self.topics[index].last = Some(number);
        number
    }

    /// Whether the record was leased in this life before.
    fn seen(&self, index: usize, number: u64) -> bool {
        let name = format!("lease {} {number}", TOPICS[index].0);
        let born = self.trace.iter().rposition(|step| step.starts_with("start")).unwrap_or(0);
        self.trace[born..].iter().filter(|step| **step == name).count() > 1
    }

    fn acknowledge(&mut self) {
        for _ in 0..self.rng.gen_range(1..=WINDOW).min(self.leases.len()) {
            let (id, index, numbers) = self.take_lease();
            self.trace.push(format!("acknowledge {} {numbers:?}", TOPICS[index].0));
            assert!(self.queue().acknowledge(id));
            for number in numbers {
                let admitted = self.topics[index].admitted.get_mut(&number).unwrap();
                (admitted.acknowledged, admitted.has_ended) = (Some(self.life), true);
            }
        }
    }

    fn discard(&mut self) {
        if self.leases.is_empty() {
            return;
        }
        let (id, index, numbers) = self.take_lease();
        self.trace.push(format!("discard {} {numbers:?}", TOPICS[index].0));
        assert!(self.queue().discard(id, DropReason::Poison, self.now));
        for number in numbers {
            let admitted = self.topics[index].admitted.get_mut(&number).unwrap();
            (admitted.is_discarded, admitted.has_ended) = (true, true);
        }
    }

    /// Often the oldest, as a broker would.
    fn take_lease(&mut self) -> (LeaseId, usize, Vec<u64>) {
        let index = if self.rng.gen_bool(0.5) { 0 } else { self.rng.gen_range(0..self.leases.len()) };
        self.leases.remove(index)
    }

    fn requeue(&mut self) {
        self.trace.push("requeue".to_owned());
        let leased = self.leases.iter().map(|(_, _, numbers)| numbers.len()).sum::<usize>();
        assert_eq!(self.queue().requeue(), leased);
        self.leases.clear();
        self.topics.iter_mut().for_each(|topic| topic.last = None);
    }

    /// What has to hold at any moment.
    fn check(&mut self) {
        let mut inner = self.queue.as_ref().unwrap().shared.lock();
        inner.store.check();
        for durable in inner.store.durable() {
            let index = TOPICS.iter().position(|(topic, _)| *topic == durable.ros).unwrap();
            for record in durable.in_memory {
                if let Some(admitted) = self.topics[index].admitted.get_mut(&number_in(&record)) {
                    admitted.is_durable = true;
                }
            }
        }
        inner.note_losses(self.now);
    }

    /// Nothing that was durable is missing, once all is sent.
    fn check_all_arrived(&self) {
        for (topic, (ros, _)) in self.topics.iter().zip(TOPICS) {
            for (number, admitted) in &topic.admitted {
                let may_be_missing = admitted.acknowledged.is_some()
                    || admitted.is_discarded
                    || !admitted.is_durable
                    || admitted.expires <= self.now;
                assert!(may_be_missing || !self.is_roomy, "{ros} {number} was durable and did not arrive");
            }
        }
    }
}

/// Another route of the same topic.
fn again(route: &Route, qos: Qos) -> Arc<Route> {
    let (topic, packing) = (route.topic.clone(), route.packing.clone());
    Arc::new(Route { topic, qos, retain: false, priority: route.priority, packing })
}

/// A robot's whole story.
struct Story {
    world: Arc<Mutex<World>>,
    harness: QueueHarness,
}

fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Story {
    fn begin(seed: u64) -> Story {
        let mut rng = StdRng::seed_from_u64(seed);
        let is_roomy = rng.gen_bool(0.5);
        let has_batches = rng.gen_bool(0.3);
        let durability = *[QueueDurability::Spill, QueueDurability::Always].choose(&mut rng).unwrap();
        let settings = config::Queue {
            memory: rng.gen_range(1 << 20..3 << 20),
            disk: if is_roomy { 64 << 20 } else { rng.gen_range(400 << 10..2 << 20) },
            overflow: if rng.gen_bool(0.7) { Overflow::DropOldest } else { Overflow::DropNewest },
            sync: Duration::from_millis(*[0, 100].choose(&mut rng).unwrap()),
            ..harness::settings(durability)
        };
        let world = World {
            rng,
            queue: None,
            now: Instant::now(),
            life: 0,
            boot: 0,
            topics: Default::default(),
            leases: Vec::new(),
            has_batches,
            unwanted: BTreeSet::new(),
            again: 0,
            is_roomy,
            trace: vec![format!("start {settings:?}")],
        };
        let world = Arc::new(Mutex::new(world));
        let harness = QueueHarness::new(settings.clone());
        let (files, times) = (SimulatedFiles::new(), harness.times(true));
        lock(&world).now = harness.now;
        let harness = Story::start(&world, files, settings, times);
        Story { world, harness }
    }

    fn start(
        world: &Arc<Mutex<World>>,
        files: SimulatedFiles,
        settings: config::Queue,
        times: (Instant, u8, super::super::disk::clock::Clock),
    ) -> QueueHarness {
        let meddle = {
            let world = Arc::clone(world);
            move || {
                let mut world = lock(&world);
                if world.queue.is_some() && world.rng.gen_bool(0.2) {
                    world.trace.push("meanwhile".to_owned());
                    world.step();
                    world.check();
                }
            }
        };
        let seen = Meddler::new(Arc::new(files.clone()), Box::new(meddle));
        let harness = QueueHarness::start(files, Arc::new(seen), settings, WINDOW, times);
        let mut world = lock(world);
        world.queue = Some(Queue { shared: harness.queue.shared.clone() });
        for (topic, (ros, priority)) in world.topics.iter_mut().zip(TOPICS) {
            topic.route = Some(harness.route(ros, priority));
            topic.last = None;
            topic.admitted.values_mut().for_each(|admitted| admitted.has_ended = false);
        }
        world.leases.clear();
        world.again = 0;
        world.life += 1;
        // A change of the configuration.
        if world.rng.gen_bool(0.3) {
            let topic = world.rng.gen_range(0..TOPICS.len());
            world.topics[topic].route = world.topics[topic].route.take().map(|route| again(&route, Qos::AtMostOnce));
        }
        harness
    }

    fn live(&mut self) {
        let steps = lock(&self.world).rng.gen_range(10..60);
        for _ in 0..steps {
            let kind = lock(&self.world).rng.gen_range(0..100);
            match kind {
                0..70 => lock(&self.world).step(),
                70..96 => self.turn(),
                96..97 => self.end_with(End::Stopped),
                97..99 => self.end_with(End::Killed),
                _ => self.end_with(End::WithoutPower),
            }
            self.check();
        }
        self.arrive();
    }

    fn turn(&mut self) {
        {
            let mut world = lock(&self.world);
            let pause = *[0, 1, 100, 1100, 6000, 12_000].choose(&mut world.rng).unwrap();
            world.now += Duration::from_millis(pause);
            self.harness.now = world.now;
            world.trace.push(format!("turn after {pause} ms"));
        }
        self.harness.worker.turn(self.harness.now);
    }

    fn check(&self) {
        let mut world = lock(&self.world);
        world.check();
        self.harness.check_accounts();
        let figures = self.harness.queue.figures();
        assert!(
            self.harness.files.total_bytes() <= self.harness.settings.disk,
            "{} bytes",
            self.harness.files.total_bytes()
        );
        let disk = figures.disk.unwrap();
        assert!(disk.bytes <= disk.bound, "{disk:?}");
        assert_eq!(disk.trouble, None);
        if self.harness.settings.durability == QueueDurability::Always && !world.has_batches {
            assert!(world.again <= WINDOW as u64, "{} came again", world.again);
        }
    }

    /// The process ends, and another one begins.
    fn end_with(&mut self, end: End) {
        let mut left = BTreeMap::new();
        {
            let mut world = lock(&self.world);
            world.trace.push(format!("end {end:?}"));
            if end != End::Stopped {
                world.queue = None;
            }
        }
        if end == End::Stopped {
            self.harness.stop();
            self.check();
        }
        let durable = {
            let mut world = lock(&self.world);
            world.queue = None;
            self.harness.queue.shared.lock().store.durable()
        };
        for durable in durable {
            left.insert(durable.ros, durable.in_memory.len() as u64 + durable.on_disk_only);
        }
        let (files, same_boot) = match end {
            End::Stopped | End::Killed => (self.harness.files.after_kill(), true),
            End::WithoutPower => (self.harness.files.after_power_cut(lock(&self.world).rng.r#gen()), false),
        };
        {
            let mut world = lock(&self.world);
            world.trace.push(format!("start with {left:?}"));
            world.boot += u64::from(!same_boot);
        }
        self.harness = Story::start(&self.world, files, self.harness.settings.clone(), self.harness.times(same_boot));
        for (ros, records) in left {
            let recovered = self.harness.topic(&ros).map_or(0, |topic| topic.counters.recovered());
            assert!(recovered >= records, "{ros}: {recovered} of {records} durable records are there");
        }
    }

    /// All that is left is sent.
    fn arrive(&mut self) {
        {
            let mut world = lock(&self.world);
            world.trace.push("arrive".to_owned());
            world.queue().set_link(true);
            world.unwanted.clear();
            world.requeue();
        }
        for _ in 0..10_000 {
            self.turn();
            {
                let mut world = lock(&self.world);
                while world.leases.len() < WINDOW && world.lease_one() {}
                world.acknowledge();
            }
            self.check();
            let mut world = lock(&self.world);
            if world.queue().is_empty() {
                world.check_all_arrived();
                return;
            }
            world.unwanted.clear();
        }
        panic!("something never arrives: {:?}", self.harness.queue.figures());
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Stopped,
    Killed,
    WithoutPower,
}

fn run(seed: u64, says_all: bool) {
    let mut story = Story::begin(seed);
    let lived = catch_unwind(AssertUnwindSafe(|| story.live()));
    if let Err(panic) = lived {
        let trace = &lock(&story.world).trace;
        let shown = if says_all { 0 } else { trace.len().saturating_sub(40) };
        eprintln!("{}", trace[shown..].join("\n"));
        eprintln!("Failed with IOT_BRIDGE_TEST_SEED={seed}.");
        resume_unwind(panic);
    }
}

/// The seed to run alone, if one is set.
fn only_seed() -> Option<u64> {
    std::env::var("IOT_BRIDGE_TEST_SEED").ok().map(|seed| seed.parse().expect("a number in IOT_BRIDGE_TEST_SEED"))
}

fn run_all(seeds: std::ops::Range<u64>) {
    match only_seed() {
        Some(seed) => run(seed, true),
        None => seeds.for_each(|seed| run(seed, false)),
    }
}

/// Whatever happens in whatever order, also while the disk worker works on the disk, and however a process ends: each
/// record comes at least once and in the order of its topic, none is invented, none that was durable is lost, none
/// comes again that was acknowledged, but for a window after a process has ended; the counters of each topic add up,
/// memory and disk keep to their bounds, and nothing waits for ever. In four parts, for as many cores.
#[test]
fn a_queue_keeps_its_promises_through_its_lives_1() {
    run_all(0..2500);
}

#[test]
fn a_queue_keeps_its_promises_through_its_lives_2() {
    run_all(2500..5000);
}

#[test]
fn a_queue_keeps_its_promises_through_its_lives_3() {
    run_all(5000..7500);
}

#[test]
fn a_queue_keeps_its_promises_through_its_lives_4() {
    run_all(7500..10_000);
}
