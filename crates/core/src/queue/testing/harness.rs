//! A queue on a simulated disk whose disk worker works when the test says so, and that survives its own end.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::config::{self, Overflow, Priority, Qos, QueueDurability};
use crate::files::Files;
use crate::files::simulated::SimulatedFiles;
use crate::queue::disk::clock::Clock;
use crate::queue::disk::survey::go_on;
use crate::queue::disk_worker::DiskWorker;
use crate::queue::{Lease, Queue, Record, Route};
use crate::topics::{Registry, Topic};

pub(in crate::queue) const WINDOW: usize = 100;

pub(in crate::queue) struct QueueHarness {
    pub files: SimulatedFiles,
    pub settings: config::Queue,
    pub queue: Queue,
    pub worker: DiskWorker,
    pub now: Instant,
    registry: Registry,
    /// Those that there were; they begin anew with each process.
    topics: Arc<Mutex<Vec<Arc<Topic>>>>,
    boot: u8,
    pub clock: Clock,
}

pub(in crate::queue) fn settings(durability: QueueDurability) -> config::Queue {
    config::Queue {
        disk: 64 << 20,
        durability,
        directory: "queue".into(),
        sync: Duration::ZERO,
        ..config::Queue::in_memory(4 << 20, Overflow::DropOldest)
    }
}

impl QueueHarness {
    /// The first start on an empty disk.
    pub fn new(settings: config::Queue) -> QueueHarness {
        QueueHarness::on(SimulatedFiles::new(), settings)
    }

    /// As [`QueueHarness::new`], on a disk with something on it.
    pub fn on(files: SimulatedFiles, settings: config::Queue) -> QueueHarness {
        let now = Instant::now();
        QueueHarness::start(files.clone(), Arc::new(files), settings, WINDOW, (now, 1, Clock::of_boot(1, now)))
    }

    /// Starts a process that sees `files` as `seen`, at a time, in a boot, by a clock.
    pub fn start(
        files: SimulatedFiles,
        seen: Arc<dyn Files>,
        settings: config::Queue,
        window: usize,
        (now, boot, clock): (Instant, u8, Clock),
    ) -> QueueHarness {
        let (registry, topics) = (Registry::default(), Arc::<Mutex<Vec<Arc<Topic>>>>::default());
        let found = (registry.clone(), topics.clone());
        let find = move |ros: &str, mqtt: &str| note(&found.1, found.0.topic(ros, mqtt));
        let (queue, mut worker) = Queue::on(seen, &settings, window, Arc::new(find), clock.clone());
        worker.open(now, &mut go_on).unwrap();
        QueueHarness { files, settings, queue, worker, now, registry, topics, boot, clock }
    }

    /// The time, the boot and its clock, for the next process of the same boot, or of the next one.
    pub fn times(&self, same_boot: bool) -> (Instant, u8, Clock) {
        let next = self.boot.wrapping_add(1);
        if same_boot {
            (self.now, self.boot, self.clock.clone())
        } else {
            (self.now, next, Clock::of_boot(next, self.now))
        }
    }

    /// The process is killed and starts again.
    pub fn kill(self) -> QueueHarness {
        let (files, times) = (self.files.after_kill(), self.times(true));
        QueueHarness::start(files.clone(), Arc::new(files), self.settings, WINDOW, times)
    }

    /// The power goes and comes back.
    pub fn cut_power(self, seed: u64) -> QueueHarness {
        let (files, times) = (self.files.after_power_cut(seed), self.times(false));
        QueueHarness::start(files.clone(), Arc::new(files), self.settings, WINDOW, times)
    }

    /// The process is stopped as it should be, and starts again.
    pub fn restart(mut self) -> QueueHarness {
        self.stop();
        self.kill()
    }

    /// The process is stopped as it should be.
    pub fn stop(&mut self) {
        self.queue.shared.close();
        self.worker.run();
    }

    /// Lets the disk worker do what is due until nothing is.
    pub fn work(&mut self) {
        for _ in 0..1000 {
            // Beyond every wait of the disk worker's.
            self.now += Duration::from_secs(11);
            let before = self.files.operations();
            self.worker.turn(self.now);
            let is_in_trouble = self.queue.figures().disk.is_some_and(|disk| disk.trouble.is_some());
            if self.files.operations() == before || is_in_trouble {
                return;
            }
        }
        panic!("the disk worker never rests");
    }

    pub fn route(&self, ros: &str, priority: Priority) -> Arc<Route> {
        Arc::new(Route {
            topic: note(&self.topics, self.registry.topic(ros, &format!("robots{ros}"))),
            qos: Qos::AtLeastOnce,
            retain: false,
            priority,
            packing: Default::default(),
        })
    }

    /// Admits a record that holds its number.
    pub fn admit(&self, route: &Arc<Route>, number: u64, bytes: usize) -> bool {
        route.counters.count_received();
        let mut payload = vec![b'.'; bytes.max(8)];
        payload[..8].copy_from_slice(&number.to_le_bytes());
        let year = Duration::from_secs(365 * 86_400);
        let record = Record {
            route: route.clone(),
            payload: payload.into(),
            received_ns: number as i64,
            expires: self.now + year,
        };
        self.queue.admit(record, self.now)
    }

    /// Leases, working on the disk as needed, and acknowledges up to `count` records. Returns their numbers.
    pub fn send(&mut self, count: usize) -> Vec<u64> {
        let mut sent = Vec::new();
        while sent.len() < count {
            let Some(lease) = self.queue.lease(self.now) else {
                self.work();
                if self.queue.shared.lock().store.has_next(self.now, &|_| true) {
                    continue;
                }
                break;
            };
            sent.push(number_of(&lease));
            assert!(self.queue.acknowledge(lease.id));
        }
        sent
    }

    /// Sends all there is.
    pub fn drain(&mut self) -> Vec<u64> {
        let sent = self.send(usize::MAX);
        assert!(self.queue.is_empty(), "something is left: {:?}", self.queue.figures());
        sent
    }

    /// All topics that there were.
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        self.topics.lock().unwrap().clone()
    }

    /// How many topics somebody has, and how many slots there are for them.
    pub fn registered(&self) -> (usize, usize) {
        self.registry.size()
    }

    /// From now on topics are kept by those only who need them.
    pub fn let_go(&self) {
        self.topics.lock().unwrap().clear();
    }

    /// The topic of that name, if there was one.
    pub fn topic(&self, ros: &str) -> Option<Arc<Topic>> {
        self.topics().into_iter().find(|topic| topic.ros == ros)
    }

    /// Checks that the counters of every topic add up.
    pub fn check_accounts(&self) {
        for topic in self.topics() {
            let (account, topic) = (self.queue.account(&topic.counters), &topic.ros);
            assert_eq!(account.in_reception(), 0, "{topic}: {account:?}");
            let known = account.dropped + account.queued + account.in_flight + account.acknowledged;
            assert_eq!(account.received + account.recovered, known, "{topic}: {account:?}");
        }
    }
}

/// Keeps `topic`, so that it goes on counting.
fn note(topics: &Mutex<Vec<Arc<Topic>>>, topic: Arc<Topic>) -> Arc<Topic> {
    let mut topics = topics.lock().unwrap();
    if !topics.iter().any(|known| known.id == topic.id) {
        topics.push(topic.clone());
    }
    topic
}

pub(in crate::queue) fn number_of(lease: &Lease) -> u64 {
    number_in(&lease.record)
}

pub(in crate::queue) fn number_in(record: &Record) -> u64 {
    u64::from_le_bytes(record.payload[..8].try_into().unwrap())
}
