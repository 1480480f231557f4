//! What DDS's own threads tell the ROS thread: which topics have something new.
//!
//! A wait set is filled and looked through as a whole for each wake, so that one message costs as much as there are
//! subscriptions. Here DDS calls back for the one subscription that has something:
//!
//! ```text
//!  a thread of DDS: message for /odom ─► notice of that subscription ─► [3, 7] ─► wakes the ROS thread, if it was empty
//!  the ROS thread:  takes [3, 7], then all that waits of the topics 3 and 7
//! ```
//!
//! A subscription is in the list at most once until it is taken, so the list has a bound. The ROS thread forgets that a
//! subscription has told before it takes its messages: one that comes meanwhile tells again.
//!
//! An RMW that can't call back is waited for with the wait set.

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Wakes who takes what has come. Threads of DDS call it, under locks of DDS: it has to return at once, and may not ask ROS.
pub type OnArrival = Arc<dyn Fn() + Send + Sync>;

/// What has come and was not taken yet, of all topics.
pub(super) struct Arrivals {
    told: Mutex<Told>,
    wake: OnArrival,
    /// The RMW does not call back for messages.
    is_silent: AtomicBool,
    /// It does not call back for matches.
    is_blind: AtomicBool,
}

/// Topics by their index; one may be there once for each of its subscriptions.
#[derive(Debug, Default)]
struct Told {
    messages: Vec<usize>,
    events: Vec<usize>,
    /// Among the events is a publisher that has come or gone.
    is_match: bool,
}

impl Arrivals {
    /// Nothing has come yet. `wake` wakes who takes it.
    pub(super) fn new(wake: OnArrival) -> Arc<Arrivals> {
        let (is_silent, is_blind) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Arrivals { told: Mutex::default(), wake, is_silent, is_blind })
    }

    /// As [`new`](Self::new), for who does not wait.
    #[cfg(test)]
    pub(super) fn of_test() -> Arc<Arrivals> {
        Self::new(Arc::new(|| ()))
    }

    /// Whether subscriptions have to be waited for, because the RMW does not tell of messages.
    pub(super) fn have_to_be_waited_for(&self) -> bool {
        self.is_silent.load(Ordering::Relaxed)
    }

    /// Whether the graph has to be asked for the publishers of each topic, because the RMW does not tell of those that
    /// come and go.
    pub(super) fn tell_no_matches(&self) -> bool {
        self.is_blind.load(Ordering::Relaxed)
    }

    /// The RMW does not tell of messages.
    pub(super) fn are_silent(&self) {
        self.is_silent.store(true, Ordering::Relaxed);
    }

    /// The RMW does not tell of publishers that come and go.
    pub(super) fn are_blind(&self) {
        self.is_blind.store(true, Ordering::Relaxed);
    }

    /// Whether nothing has come.
    pub(super) fn are_none(&self) -> bool {
        self.told().messages.is_empty()
    }

    /// Adds the topics that have messages to `topics`, each at least once.
    pub(super) fn take_messages(&self, topics: &mut Vec<usize>) {
        topics.append(&mut self.told().messages);
    }

    /// The topics that have events.
    pub(super) fn take_events(&self) -> Vec<usize> {
        std::mem::take(&mut self.told().events)
    }

    /// Whether publishers have come or gone since the last call.
    pub(super) fn take_match(&self) -> bool {
        std::mem::take(&mut self.told().is_match)
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        // Nobody panics while it is held.
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        (self.wake)();
    }
}

/// What a topic's subscriptions tell with.
#[derive(Clone)]
pub(super) struct Teller {
    pub(super) topic: usize,
    pub(super) arrivals: Arc<Arrivals>,
}

impl Teller {
    /// What a subscription of the topic tells with.
    pub(super) fn notice(&self) -> Arc<Notice> {
        let (has_messages, has_events) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Notice { teller: self.clone(), has_messages, has_events })
    }
}

/// What one subscription has told that was not taken yet. DDS's threads have its address.
pub(super) struct Notice {
    teller: Teller,
    has_messages: AtomicBool,
    has_events: AtomicBool,
}

impl Notice {
    /// It has messages: to be taken at the next turn.
    pub(super) fn tell_messages(&self) {
        if self.has_messages.swap(true, Ordering::AcqRel) {
            return;
        }
        let is_first = {
            let mut told = self.teller.arrivals.told();
            told.messages.push(self.teller.topic);
            told.messages.len() == 1
        };
        if is_first {
            self.teller.arrivals.wake();
        }
    }

    /// Its publishers have changed: worth a look at the graph.
    fn tell_event(&self) {
        let is_known = self.has_events.swap(true, Ordering::AcqRel);
        let is_first = {
            let mut told = self.teller.arrivals.told();
            if !is_known {
                told.events.push(self.teller.topic);
            }
            !std::mem::replace(&mut told.is_match, true)
        };
        if is_first {
            self.teller.arrivals.wake();
        }
    }

    /// What has come until now is about to be taken; what comes from now on tells again.
    pub(super) fn forget_messages(&self) {
        // DDS puts a message into the history before it tells, and takes the history's lock for both that and a take. So a
        // message that does not tell any more, because this comes later, is found by the take that follows.
        self.has_messages.store(false, Ordering::Release);
    }

    /// As [`forget_messages`](Self::forget_messages), for events.
    pub(super) fn forget_events(&self) {
        self.has_events.store(false, Ordering::Release);
    }
}

/// For DDS: the subscription of the [`Notice`] that `notice` points to has messages.
///
/// # Safety
/// `notice` has to point to a living `Notice`.
pub(super) unsafe extern "C" fn on_message(notice: *const c_void, _: usize) {
    // SAFETY: the caller's promise. A notice is shared between threads, and everything in it is made for that.
    unsafe { &*notice.cast::<Notice>() }.tell_messages();
}

/// For DDS: a publisher has come or gone, or was refused.
///
/// # Safety
/// As for [`on_message`].
pub(super) unsafe extern "C" fn on_match(notice: *const c_void, _: usize) {
    // SAFETY: the caller's promise.
    unsafe { &*notice.cast::<Notice>() }.tell_event();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However much comes, a subscription is in the list once until it is taken, and so it is for events.
    #[test]
    fn a_subscription_tells_once() {
        let arrivals = Arrivals::of_test();
        let notices = [3, 7, 7].map(|topic| Teller { topic, arrivals: Arc::clone(&arrivals) }.notice());
        for _ in 0..1000 {
            for notice in &notices {
                notice.tell_messages();
            }
        }
        let mut topics = Vec::new();
        arrivals.take_messages(&mut topics);
        assert_eq!((topics.as_slice(), arrivals.are_none()), (&[3, 7, 7][..], true));
        assert!(!arrivals.take_match());
        (0..2).for_each(|_| notices.iter().for_each(|notice| notice.tell_event()));
        assert_eq!((arrivals.take_events(), arrivals.take_match()), (vec![3, 7, 7], true));
        notices[0].tell_messages();
        assert!(arrivals.are_none());
        notices[0].forget_messages();
        notices[0].tell_messages();
        assert!(!arrivals.are_none());
    }
}
