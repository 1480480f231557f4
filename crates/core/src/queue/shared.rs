//! What the threads that use the queue share.

use std::sync::atomic::AtomicU64;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::disk::clock::{Clock, Reading};
use super::figures::DiskFigures;
use super::losses::{Losses, Notice};
use super::store::Store;

#[derive(Debug)]
pub(super) struct Shared {
    inner: Mutex<Inner>,
    /// Holds a permit, or has a waiter woken, from the moment that a record can be leased.
    pub ready: Notify,
    work: Condvar,
    /// The first sequence number of this process.
    pub sequence_start: AtomicU64,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub store: Store,
    pub losses: Losses,
    /// `None` without a disk.
    pub disk: Option<DiskFigures>,
    pub worker: Sleep,
    /// Since when the disk worker waits for the disk.
    pub disk_busy_since: Option<Instant>,
    pub disk_is_slow: bool,
    /// The queue is about to end: everything goes to the disk.
    pub closing: bool,
    clock: Clock,
    /// How the clocks stood to each other when the times of the records in memory were last put right.
    clocks: Reading,
}

/// What the disk worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sleep {
    Awake,
    /// It has nothing to do.
    UntilTold,
    /// It waits for more to write at a time.
    UntilGroup,
    /// The disk does not work: only the end wakes it.
    Deaf,
}

impl Shared {
    pub fn new(store: Store, clock: Clock) -> Shared {
        let sequence_start = AtomicU64::new(clock.sequence());
        let inner = Inner {
            store,
            losses: Losses::default(),
            disk: None,
            worker: Sleep::Awake,
            disk_busy_since: None,
            disk_is_slow: false,
            closing: false,
            clocks: clock.read(),
            clock,
        };
        Shared { inner: Mutex::new(inner), ready: Notify::new(), work: Condvar::new(), sequence_start }
    }

    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        // Who panics inside a call of the store may leave it half changed. That thread is then dead, upon which the
        // bridge stops; until it has, the others go on, so that what is whole of the queue is written to the disk.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the store; wakes who waits for a record or for work, and logs losses that begin.
    pub fn change<T>(&self, now: Instant, change: impl FnOnce(&mut Store) -> T) -> T {
        let (answer, wake, work, notices) = {
            let mut inner = self.lock();
            if inner.clock.have_moved_since(inner.clocks) {
                inner.look_at_clocks();
            }
            let before = inner.store.arrivals();
            let answer = change(&mut inner.store);
            (answer, inner.store.arrivals() != before, inner.has_work(), inner.note_losses(now))
        };
        if wake {
            self.ready.notify_one();
        }
        if work {
            self.work.notify_one();
        }
        for notice in notices {
            // Outside the lock: the journal may be slow.
            notice.log();
        }
        answer
    }

    /// The disk worker's sleep.
    pub fn wait_for_work<'a>(
        &self,
        inner: MutexGuard<'a, Inner>,
        duration: Duration,
    ) -> (MutexGuard<'a, Inner>, std::sync::WaitTimeoutResult) {
        self.work.wait_timeout(inner, duration).unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the disk worker if it has work.
    pub fn wake_worker(&self, inner: MutexGuard<'_, Inner>) {
        let has_work = inner.has_work();
        drop(inner);
        if has_work {
            self.work.notify_one();
        }
    }

    /// Wakes the disk worker for good.
    pub fn close(&self) {
        self.lock().closing = true;
        self.work.notify_one();
    }
}

impl Inner {
    /// Puts the times of the records in memory right, if the machine was suspended or its time of day was set.
    pub fn look_at_clocks(&mut self) {
        if let Some(shift) = self.clock.read().shift_since(&mut self.clocks) {
            self.store.shift(shift);
        }
    }

    /// Whether the disk worker has to be woken.
    fn has_work(&self) -> bool {
        let reads = || super::disk::LANES.into_iter().any(|lane| self.store.has_to_read(lane));
        match self.worker {
            Sleep::Awake | Sleep::Deaf => false,
            Sleep::UntilTold => self.store.to_write_since(false).is_some() || self.store.waits_for_ledger() || reads(),
            Sleep::UntilGroup => self.store.is_pressed() || self.store.waits_for_ledger() || reads(),
        }
    }

    pub fn note_losses(&mut self, now: Instant) -> Vec<Notice> {
        let mut notices = Vec::new();
        for loss in self.store.take_losses() {
            notices.extend(self.losses.note(loss, now));
        }
        notices
    }
}
