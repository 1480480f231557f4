//! The bounded buffer between reception and uplink. Knows nothing of what is in a payload.
//!
//! ```text
//!            admit                     lease                       acknowledge
//!  ROS thread ────► lane high   ▒▒▒▒ ────────► leased (the window) ────────────► counted, gone
//!                   lane normal ▒▒▒▒▒▒▒▒          │
//!                   lane low    ▒▒          ◄─────┘ rewind: back to the head, in order
//!                      │
//!                      └► dropped and counted: overflow, expired
//! ```
//!
//! The rules:
//!
//! - A record belongs to the queue from [`Queue::admit`] to [`Queue::acknowledge`]. A lease lends a copy (the payload
//!   is shared, not copied); [`Queue::rewind`] takes all leases back, so whoever leases may fail at any moment.
//! - Leases are given from the highest lane first and in order of admission within a lane. A rewind restores that
//!   order.
//! - Waiting and leased records together never take more than the configured bytes, each counted as its payload and
//!   [`RECORD_OVERHEAD`]. When a record does not fit, [`config::Overflow`] says what gives way; a leased record never
//!   does, and none of a higher priority than the newcomer. If giving way would not make enough room, only the newcomer
//!   is dropped.
//! - A record past its `expires` is not leased any more. It is dropped when it comes to the head of its lane (seen at
//!   each admission and lease) and at the latest by [`Queue::tend`], which the uplink calls several times a second and
//!   which looks at every record, but only if one can have expired. So the counts are less than a second behind.
//! - What is dropped is counted in its topic's counters under the same lock that changes the queue; [`Queue::account`]
//!   sees both at one moment. Losses are logged when they begin and when they have ended.
//!
//! Every operation is short and none waits for anything but the lock; the ROS thread may admit at any time.

mod figures;
mod losses;
mod record;
mod store;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

pub use figures::{Account, Figures, LaneFigures};
pub use record::{RECORD_OVERHEAD, Record, Route};
pub use store::{Lease, LeaseId};

use crate::config;
use crate::health::{DropReason, TopicCounters};
use losses::{Losses, Notice};
use store::Store;

/// The queue, shared by the thread that admits and the task that leases.
#[derive(Debug)]
pub struct Queue {
    inner: Mutex<Inner>,
    /// Holds a permit, or has a waiter woken, from the moment that a record more waits.
    ready: Notify,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    losses: Losses,
}

impl Queue {
    /// An empty queue with the bounds of `settings`.
    pub fn new(settings: &config::Queue) -> Self {
        let inner = Inner { store: Store::new(settings.memory, settings.overflow), losses: Losses::default() };
        Queue { inner: Mutex::new(inner), ready: Notify::new() }
    }

    /// Takes `record`, or drops it or older ones and counts that. Answers whether the record was taken.
    pub fn admit(&self, record: Record, now: Instant) -> bool {
        let (admitted, notices) = {
            let mut inner = self.lock();
            let admitted = inner.store.admit(record, now);
            (admitted, inner.note_losses(now))
        };
        if admitted {
            self.ready.notify_one();
        }
        log(&notices);
        admitted
    }

    /// Lends the next record, if one waits.
    pub fn lease(&self, now: Instant) -> Option<Lease> {
        let (lease, notices) = {
            let mut inner = self.lock();
            (inner.store.lease(now), inner.note_losses(now))
        };
        log(&notices);
        lease
    }

    /// As [`Queue::lease`], but passes over the topics that `wanted` does not accept. Their records wait, in their order.
    pub fn lease_where(&self, now: Instant, wanted: &dyn Fn(&Route) -> bool) -> Option<Lease> {
        let (lease, notices) = {
            let mut inner = self.lock();
            (inner.store.lease_where(now, wanted), inner.note_losses(now))
        };
        log(&notices);
        lease
    }

    /// The record lent as `id` has arrived: it is counted as acknowledged and forgotten. Answers false, and does
    /// nothing, if there is no such lease (any more).
    pub fn acknowledge(&self, id: LeaseId) -> bool {
        self.lock().store.acknowledge(id)
    }

    /// The record lent as `id` can never be sent: it is dropped and counted for `reason`. Answers false, and does
    /// nothing, if there is no such lease (any more).
    pub fn discard(&self, id: LeaseId, reason: DropReason, now: Instant) -> bool {
        let (discarded, notices) = {
            let mut inner = self.lock();
            (inner.store.discard(id, reason), inner.note_losses(now))
        };
        log(&notices);
        discarded
    }

    /// Takes all leases back: what was lent and not acknowledged waits again at the head of its lane, in its order.
    /// Answers how many records that are.
    pub fn rewind(&self) -> usize {
        let rewound = self.lock().store.rewind();
        if rewound > 0 {
            self.ready.notify_one();
        }
        rewound
    }

    /// Waits until a record waits to be leased. For one consumer: of several, one would be woken.
    pub async fn ready(&self) {
        loop {
            let notified = self.ready.notified();
            if !self.lock().store.is_idle() {
                return;
            }
            notified.await;
        }
    }

    /// As [`Queue::ready`], for a record of a topic that `wanted` accepts.
    pub async fn ready_where(&self, wanted: &(dyn Fn(&Route) -> bool + Sync)) {
        loop {
            let notified = self.ready.notified();
            if self.lock().store.has_where(wanted) {
                return;
            }
            notified.await;
        }
    }

    /// Drops what has expired and logs losses that have ended. To be called about once a second, or more often.
    pub fn tend(&self, now: Instant) {
        let notices = {
            let mut inner = self.lock();
            inner.store.sweep(now);
            let mut notices = inner.note_losses(now);
            inner.losses.ended(now, &mut notices);
            notices
        };
        log(&notices);
    }

    /// How much is in the queue, by lane.
    pub fn figures(&self) -> Figures {
        self.lock().store.figures()
    }

    /// Whether nothing waits and nothing is leased.
    pub fn is_empty(&self) -> bool {
        let inner = self.lock();
        inner.store.is_idle() && inner.store.leased() == 0
    }

    /// What has become of a topic's messages, at one moment.
    pub fn account(&self, counters: &TopicCounters) -> Account {
        let _inner = self.lock();
        Account::read(counters)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The store is consistent between any two of its calls; a panic elsewhere is no reason to lose the queue.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn note_losses(&mut self, now: Instant) -> Vec<Notice> {
        let mut notices = Vec::new();
        for loss in self.store.take_losses().into_iter().flatten() {
            notices.extend(self.losses.note(loss, now));
        }
        notices
    }
}

/// Logs outside the lock: the journal may be slow.
fn log(notices: &[Notice]) {
    for notice in notices {
        notice.log();
    }
}
