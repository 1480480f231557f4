//! The bounded buffer between reception and uplink: memory first, then disk. Knows nothing of what is in a payload.
//!
//! ```text
//!            admit                         lease                       acknowledge
//!  ROS thread ────► lane high   ▒▒▒▒ ────────────► leased (the window) ────────────► counted, gone
//!                   lane normal ▒▒▒▒▒▒▒▒ ▏            │
//!                   lane low    ▒▒       ▏     ◄──────┘ requeue: at the head, in order
//!                      │   │             ▏
//!                      │   └disk worker ◄┴──► segments on the disk
//!                      └► dropped and counted: overflow, expired
//! ```
//!
//! The rules:
//!
//! - A record belongs to the queue from [`Queue::admit`] to [`Queue::acknowledge`]. A lease lends a copy (the payload
//!   is shared, not copied); [`Queue::requeue`] takes all leases back, so whoever leases may fail at any moment.
//! - Leases are given from the highest lane first. The topics of a lane take turns; within a topic the order is that of
//!   admission, and a requeue restores it. A lease is a publish: a record, or a batch of such as follow each other.
//! - Records in memory, waiting and leased, together never take more than the configured bytes, each counted as its
//!   payload and [`RECORD_OVERHEAD`]. When a record does not fit, [`config::Overflow`] says what gives way; a leased
//!   record never does, and none of a higher priority than the newcomer. If giving way would not make enough room, only
//!   the newcomer is dropped. What the disk has too is not dropped, but forgotten, and read again when its turn comes.
//! - A record past its `expires` is not leased any more. In memory it is dropped when it comes to the head of its lane
//!   (seen at each admission and lease) and at the latest by [`Queue::maintain`], which the uplink calls several times a
//!   second and which looks at every record, but only if one can have expired. What is on the disk too goes in its turn
//!   only. What is only there is dropped when it is read, or with its segment once all of that has expired.
//! - What is dropped is counted in its topic's counters under the same lock that changes the queue; [`Queue::account`]
//!   sees both at one moment. Losses are logged when they begin and when they have ended.
//!
//! Every operation is short and none waits for anything but the lock; the ROS thread may admit at any time. Only the
//! disk worker, a thread of its own, waits for the disk. What it writes, when, and what holds after a power cut stands
//! in
//! [`disk`].

pub mod disk;
mod disk_worker;
mod figures;
mod losses;
mod mark;
mod record;
mod routes;
mod shared;
mod store;
#[cfg(any(test, feature = "fuzzing"))]
pub mod testing;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;

pub use disk::clock::sequence_by_clock;
pub use figures::{Account, DiskFigures, Figures, LaneFigures};
pub use mark::{Mark, Since};
pub use record::{RECORD_OVERHEAD, Record, Route};
pub use routes::Routes;
pub use store::{Lease, LeaseId};

use crate::config::{self, Priority};
use crate::files::{Files, OsFiles};
use crate::tally::{DropReason, TopicCounters};
use crate::topics::Topic;
use disk::clock::Clock;
use disk::format::StoredRoute;
use disk::log::Options;
use disk::survey::Watch;
use disk_worker::{DiskWorker, Policy};
use shared::Shared;
use store::{Mode, Store};

/// How long records that should be on the disk may wait for more to be written with them, while there is no link.
/// Each write costs the flash at least a block and what the file system notes of it.
const SPILL_SYNC: Duration = Duration::from_secs(1);

/// After this long an operation of the disk is slow.
const SLOW: Duration = Duration::from_secs(5);

/// The queue, shared by the thread that admits and the task that leases.
#[derive(Debug)]
pub struct Queue {
    shared: Arc<Shared>,
}

/// The thread that works on the disk. Without [`DiskThread::close`] it is left to itself, as by a power cut.
#[derive(Debug)]
pub struct DiskThread {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
    /// The thread has the other end as long as it lives.
    alive: watch::Sender<()>,
}

/// Finds the topic of records that an earlier process has left, by the names of the ROS topic and of the MQTT topic.
pub type FindTopic = dyn Fn(&str, &str) -> Arc<Topic> + Send + Sync;

impl Queue {
    /// An empty queue with the bounds of `settings`, in memory only.
    pub fn in_memory(settings: &config::Queue) -> Self {
        let store = Store::new(settings.memory, settings.overflow, Mode::Memory);
        Queue { shared: Arc::new(Shared::new(store, Clock::of_this_boot())) }
    }

    /// The queue that `settings` ask for, with what an earlier process has left on the disk. `window` is the most
    /// publishes that may be in flight. A disk that can't be used is said, and does not keep the queue from working.
    ///
    /// # Errors
    /// If there can be no thread. [`Stopped`](disk::survey::Stopped), if `progress` says so: then the queue on the disk
    /// is as it was.
    pub fn open(
        settings: &config::Queue,
        window: usize,
        topics: Arc<FindTopic>,
        progress: Watch<'_>,
    ) -> io::Result<(Self, Option<DiskThread>)> {
        if settings.disk == 0 || settings.durability == config::QueueDurability::Memory {
            return Ok((Queue::in_memory(settings), None));
        }
        let files = Arc::new(OsFiles::new(settings.directory.clone()));
        let now = Instant::now();
        let (queue, mut worker) = Queue::on(files, settings, window, topics, Clock::of_this_boot());
        worker.open(now, progress).map_err(io::Error::other)?;
        let (alive, is_there) = watch::channel(());
        let thread = std::thread::Builder::new().name("queue".to_owned()).spawn(move || {
            let _is_there = is_there;
            worker.run();
        })?;
        let thread = DiskThread { shared: queue.shared.clone(), thread, alive };
        Ok((queue, Some(thread)))
    }

    /// A queue on `files`, and its disk worker, which has not opened them yet.
    fn on(
        files: Arc<dyn Files>,
        settings: &config::Queue,
        window: usize,
        topics: Arc<FindTopic>,
        clock: Clock,
    ) -> (Self, DiskWorker) {
        let (mode, sync) = match settings.durability {
            config::QueueDurability::Memory => (Mode::Memory, SPILL_SYNC),
            config::QueueDurability::Spill => (Mode::Spill, SPILL_SYNC),
            config::QueueDurability::Always => (Mode::Always { window }, settings.sync),
        };
        let store = Store::new(settings.memory, settings.overflow, mode);
        let shared = Arc::new(Shared::new(store, clock.clone()));
        let adopt = move |stored: &StoredRoute, priority: Priority| {
            let topic = topics(&stored.ros, &stored.mqtt);
            let (qos, retain, packing) = (stored.qos, stored.retain, stored.packing.clone());
            Arc::new(Route { topic, qos, retain, priority, packing })
        };
        let options = Options { bound: settings.disk, clock, adopt: Arc::new(adopt) };
        let policy = Policy { overflow: settings.overflow, sync };
        let worker = DiskWorker::new(shared.clone(), files, options, policy, settings.directory.clone());
        (Queue { shared }, worker)
    }

    /// The number from which the messages of a topic are counted: above all that earlier processes have counted, even
    /// if the clock was set back.
    pub fn sequence_start(&self) -> u64 {
        self.shared.sequence_start.load(Ordering::Relaxed)
    }

    /// Takes `record`, or drops it or older ones and counts that. Returns whether the record was taken.
    pub fn admit(&self, record: Record, now: Instant) -> bool {
        self.shared.change(now, |store| store.admit(record, now))
    }

    /// `route` comes into force for its topic. Records that wait, in memory or on the disk, are sent by it too, batched
    /// and compressed as it says, if QoS and retain flag are the same and they are of the same kind: text that was
    /// queued for itself can't be an element of an array, and what was compressed before it was queued stays so.
    pub fn put_in_force(&self, route: &Arc<Route>) {
        self.shared.change(Instant::now(), |store| store.put_in_force(route));
    }

    /// Lends the next record, if one waits.
    pub fn lease(&self, now: Instant) -> Option<Lease> {
        self.lease_where(now, &|_| true)
    }

    /// As [`Queue::lease`], but passes over the topics that `wanted` does not accept. Their records wait, in their
    /// order.
    pub fn lease_where(&self, now: Instant, wanted: &dyn Fn(&Route) -> bool) -> Option<Lease> {
        self.shared.change(now, |store| store.lease(now, wanted))
    }

    /// As [`Queue::lease_where`], from the lanes of a higher priority than `priority` alone. The others are not asked: what has
    /// been read of them from the disk stays in memory.
    pub fn lease_above(&self, priority: Priority, now: Instant, wanted: &dyn Fn(&Route) -> bool) -> Option<Lease> {
        if priority == Priority::High {
            return None;
        }
        self.shared.change(now, |store| store.lease_above(priority, now, wanted))
    }

    /// Lends further records under the lease `id`, so that they travel with its record, as a batch: those of its topic
    /// that follow, as long as they may be in one publish with it and `takes` says that there is room. Returns none if
    /// there is no such lease (any more), or a later one of the topic.
    pub fn lease_more(
        &self,
        id: LeaseId,
        first: &Arc<Route>,
        now: Instant,
        mut takes: impl FnMut(&Record) -> bool,
    ) -> Vec<Record> {
        let takes = |record: &Record, route: &Arc<Route>| first.goes_with(route) && takes(record);
        self.shared.change(now, |store| store.lease_more(id, now, takes))
    }

    /// What is lent as `id` has arrived: it is counted as acknowledged and forgotten. Returns false, and does
    /// nothing, if there is no such lease (any more).
    pub fn acknowledge(&self, id: LeaseId) -> bool {
        self.shared.change(Instant::now(), |store| store.acknowledge(id))
    }

    /// As [`Queue::acknowledge`], because the broker has said so: by a PUBACK with success.
    pub fn confirm(&self, id: LeaseId) -> bool {
        self.shared.change(Instant::now(), |store| store.confirm(id))
    }

    /// What is lent as `id` can never be sent: it is dropped and counted for `reason`. Returns false, and does
    /// nothing, if there is no such lease (any more).
    pub fn discard(&self, id: LeaseId, reason: DropReason, now: Instant) -> bool {
        self.shared.change(now, |store| store.discard(id, reason))
    }

    /// Takes all leases back: what was lent and not acknowledged waits again at the head of its lane, in its order.
    /// Returns how many records that are.
    pub fn requeue(&self) -> usize {
        self.shared.change(Instant::now(), Store::requeue)
    }

    /// As [`Queue::requeue`], for the leases of one topic only.
    pub fn requeue_topic(&self, route: &Route) -> usize {
        self.shared.change(Instant::now(), |store| store.requeue_topic(route.topic.id))
    }

    /// From now on no record waits for others to travel with: what is queued is wanted at once.
    pub fn stop_lingering(&self) {
        self.shared.change(Instant::now(), Store::stop_lingering);
    }

    /// The link to the broker has come (`true`) or gone. It is gone at first.
    pub fn set_link(&self, up: bool) {
        self.shared.change(Instant::now(), |store| store.set_link(up));
    }

    /// Waits until a record can be leased. For one consumer: of several, one would be woken.
    pub async fn ready(&self) {
        self.ready_where(&|_| true).await;
    }

    /// As [`Queue::ready`], for a record of a topic that `wanted` accepts.
    pub async fn ready_where(&self, wanted: &(dyn Fn(&Route) -> bool + Sync)) {
        loop {
            let notified = self.shared.ready.notified();
            let ripens = {
                let mut inner = self.shared.lock();
                if inner.store.has_next(Instant::now(), wanted) {
                    return;
                }
                let ripens = inner.store.ripens(wanted);
                // What somebody wants now is read from the disk.
                self.shared.wake_worker(inner);
                ripens
            };
            match ripens {
                None => notified.await,
                Some(when) => _ = tokio::time::timeout_at(when.into(), notified).await,
            }
        }
    }

    /// Drops what has expired and logs losses that have ended, and a disk that is slow. To be called about once a
    /// second, or more often.
    pub fn maintain(&self, now: Instant) {
        self.shared.lock().look_at_clocks();
        self.shared.change(now, |store| {
            store.expire(now);
            store.forget_unused(now);
        });
        let (notices, slow) = {
            let mut inner = self.shared.lock();
            let mut notices = Vec::new();
            inner.losses.ended(now, &mut notices);
            let slow = inner.disk_busy_since.is_some_and(|since| now.saturating_duration_since(since) >= SLOW);
            let news = std::mem::replace(&mut inner.disk_is_slow, slow) != slow;
            (notices, news.then_some(slow))
        };
        for notice in notices {
            notice.log();
        }
        match slow {
            None => {}
            Some(true) => tracing::warn!(
                "The queue's disk has not answered for {} s. The queue goes on in memory meanwhile.",
                SLOW.as_secs()
            ),
            Some(false) => tracing::warn!("The queue's disk has answered."),
        }
    }

    /// How much is in the queue, by lane.
    pub fn figures(&self) -> Figures {
        let inner = self.shared.lock();
        Figures { disk: inner.disk.clone(), ..inner.store.figures() }
    }

    /// Whether nothing waits and nothing is leased.
    pub fn is_empty(&self) -> bool {
        self.shared.lock().store.is_empty()
    }

    /// What has become of the messages of each topic, by its counters, at one moment for all.
    pub fn accounts<'a>(&self, topics: impl Iterator<Item = &'a TopicCounters>) -> Vec<Account> {
        let _inner = self.shared.lock();
        topics.map(Account::read).collect()
    }

    /// This moment, to ask [`Queue::since`] for what has come of what is admitted from now on.
    pub fn mark(&self) -> Mark {
        self.shared.lock().store.mark()
    }

    /// What has become since `mark` of each of the topics with these counters.
    pub fn since<'a>(&self, mark: Mark, topics: impl Iterator<Item = &'a TopicCounters>) -> Vec<Since> {
        self.shared.lock().store.since(mark, topics)
    }

    /// What has become of a topic's messages, at one moment.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn account(&self, counters: &TopicCounters) -> Account {
        let _inner = self.shared.lock();
        Account::read(counters)
    }
}

impl DiskThread {
    /// Waits until the thread has ended, which it does not do by itself unless it panics.
    pub async fn death(&self) {
        self.alive.closed().await;
    }

    /// Writes to the disk what is left in the queue, and ends. Waits for the disk.
    pub fn close(self) {
        self.shared.close();
        // A panic of the thread has been printed where it happened.
        let _ = self.thread.join();
    }
}
