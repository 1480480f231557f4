//! Waking the ROS thread from elsewhere.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use r2r_rcl::{
    rcl_get_zero_initialized_guard_condition, rcl_guard_condition_fini, rcl_guard_condition_get_default_options,
    rcl_guard_condition_init, rcl_guard_condition_t, rcl_trigger_guard_condition,
};

use super::context::Context;
use super::error::{RosError, check};

/// Wakes the ROS thread, in whatever context it is and however it waits: in rcl, or parked.
///
/// ```text
///  who wakes:      is_woken = true,    then looks whether it is in rcl: triggers the guard condition, or unparks
///  the ROS thread: is_in_rcl = …,      then looks whether it is woken: waits, or does not
/// ```
///
/// One of the two sees what the other has written, so that no wake is lost between the last look and the wait.
pub(super) struct Wake {
    condition: Mutex<Arc<GuardCondition>>,
    /// Since the thread last looked.
    is_woken: AtomicBool,
    is_in_rcl: AtomicBool,
    /// Known once it runs; it does not park before.
    thread: OnceLock<Thread>,
}

impl Wake {
    pub(super) fn create(context: &Arc<Context>) -> Result<Wake, RosError> {
        let condition = Mutex::new(Arc::new(GuardCondition::create(context)?));
        let (is_woken, is_in_rcl) = (AtomicBool::new(false), AtomicBool::new(true));
        Ok(Wake { condition, is_woken, is_in_rcl, thread: OnceLock::new() })
    }

    /// What to wait for in rcl.
    pub(super) fn condition(&self) -> Arc<GuardCondition> {
        Arc::clone(&self.condition.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The thread waits for `condition` from now on.
    pub(super) fn set(&self, condition: GuardCondition) {
        let condition = Arc::new(condition);
        let before = std::mem::replace(&mut *self.condition.lock().unwrap_or_else(PoisonError::into_inner), condition);
        // Not under the lock, for which DDS's threads may wait.
        drop(before);
    }

    /// The calling thread is the one that is woken.
    pub(super) fn is_for_this_thread(&self) {
        // Who calls it a second time is the same one.
        let _ = self.thread.set(thread::current());
    }

    /// The thread is about to look at everything that it may have been woken for.
    pub(super) fn look(&self) {
        self.is_woken.swap(false, Ordering::SeqCst);
    }

    /// The thread is about to wait in rcl. Returns whether it was woken since its last [`look`](Self::look), and should not.
    pub(super) fn enter_rcl(&self) -> bool {
        self.is_in_rcl.store(true, Ordering::SeqCst);
        self.is_woken.load(Ordering::SeqCst)
    }

    /// Waits until the thread is woken, or was since its last [`look`](Self::look), or for `time`; or for less.
    pub(super) fn park(&self, time: Duration) {
        self.is_in_rcl.store(false, Ordering::SeqCst);
        if !self.is_woken.load(Ordering::SeqCst) {
            thread::park_timeout(time);
        }
    }

    /// Wakes the thread, now or at its next wait. A thread of DDS may call this: it never has the last hold of a context,
    /// whose end would wait for that thread.
    ///
    /// Does nothing where another thread has begun to wake it: the wake comes when that thread runs on.
    pub(super) fn wake(&self) -> Result<(), RosError> {
        if self.is_woken.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        self.wake_myself()
    }

    /// As [`wake`](Self::wake), but waits for no other thread that has begun to.
    pub(super) fn wake_myself(&self) -> Result<(), RosError> {
        self.is_woken.store(true, Ordering::SeqCst);
        match self.thread.get() {
            Some(thread) if !self.is_in_rcl.load(Ordering::SeqCst) => {
                thread.unpark();
                Ok(())
            }
            _ => self.condition.lock().unwrap_or_else(PoisonError::into_inner).trigger(),
        }
    }
}

/// Ends a wait on the wait set that holds it.
pub(super) struct GuardCondition {
    handle: Box<rcl_guard_condition_t>,
    /// Has to outlive the handle.
    _context: Arc<Context>,
}

// SAFETY: triggering is thread safe by rcl's contract, and nothing else is done with a shared reference.
unsafe impl Send for GuardCondition {}
// SAFETY: as above.
unsafe impl Sync for GuardCondition {}

impl GuardCondition {
    pub(super) fn create(context: &Arc<Context>) -> Result<GuardCondition, RosError> {
        // SAFETY: zero-initialised by rcl, then filled in; boxed so that its address stays.
        unsafe {
            let mut handle = Box::new(rcl_get_zero_initialized_guard_condition());
            check(
                "Creating a guard condition",
                rcl_guard_condition_init(handle.as_mut(), context.as_ptr(), rcl_guard_condition_get_default_options()),
            )?;
            Ok(GuardCondition { handle, _context: Arc::clone(context) })
        }
    }

    /// Wakes whoever waits, now or at the next wait.
    fn trigger(&self) -> Result<(), RosError> {
        // SAFETY: rcl only reads through this pointer and allows it from any thread.
        check("Waking the ROS thread", unsafe {
            rcl_trigger_guard_condition(std::ptr::from_ref(self.handle.as_ref()).cast_mut())
        })
    }

    pub(super) fn as_ptr(&self) -> *const rcl_guard_condition_t {
        self.handle.as_ref()
    }
}

impl Drop for GuardCondition {
    fn drop(&mut self) {
        // SAFETY: initialised in `create`; this is its last use.
        unsafe {
            rcl_guard_condition_fini(self.handle.as_mut());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::Node;
    use super::super::domain;
    use super::super::wait_set::{Ready, WaitSet};
    use super::*;

    /// However the thread waits, and wherever it is between its last look and the wait, a wake ends the wait: none takes its whole
    /// time.
    #[test]
    fn no_wake_is_lost() {
        const ROUNDS: usize = 20_000;
        domain::enter();
        let node = Node::create("iot_bridge", "").unwrap();
        let wake = Arc::new(Wake::create(node.context()).unwrap());
        let (mut wait_set, mut ready, condition) =
            (WaitSet::create(&node).unwrap(), Ready::default(), wake.condition());
        wake.is_for_this_thread();
        let told = Arc::new(AtomicBool::new(false));
        let (waker, tells) = (Arc::clone(&wake), Arc::clone(&told));
        let waking = thread::spawn(move || {
            for _ in 0..ROUNDS {
                while tells.swap(true, Ordering::AcqRel) {
                    thread::yield_now();
                }
                waker.wake().unwrap();
            }
        });
        let (mut seen, mut round) = (0, 0);
        while seen < ROUNDS {
            round += 1;
            wake.look();
            if told.swap(false, Ordering::AcqRel) {
                seen += 1;
                continue;
            }
            let (start, long) = (std::time::Instant::now(), Duration::from_secs(60));
            if round % 3 == 0 {
                let time = if wake.enter_rcl() { Duration::ZERO } else { long };
                wait_set.wait(&node, &condition, std::iter::empty(), time, &mut ready).unwrap();
            } else {
                wake.park(long);
            }
            assert!(start.elapsed() < long / 2, "a wake was lost after {seen}");
        }
        waking.join().unwrap();
    }

    /// One that has to end the thread does not wait for another waker, which was interrupted before it has woken anybody.
    #[test]
    fn who_wakes_the_thread_itself_waits_for_no_other() {
        domain::enter();
        let node = Node::create("iot_bridge", "").unwrap();
        let wake = Arc::new(Wake::create(node.context()).unwrap());
        let waker = Arc::clone(&wake);
        let (start, long) = (std::time::Instant::now(), Duration::from_secs(60));
        wake.is_for_this_thread();
        wake.is_in_rcl.store(false, Ordering::SeqCst);
        let waking = thread::spawn(move || {
            waker.is_woken.store(true, Ordering::SeqCst);
            waker.wake_myself().unwrap();
        });
        thread::park_timeout(long);
        assert!(start.elapsed() < long / 2, "it is left to somebody else");
        waking.join().unwrap();
    }
}
