//! Waking the ROS thread from elsewhere.

use std::sync::{Arc, Mutex, PoisonError};

use r2r_rcl::{
    rcl_get_zero_initialized_guard_condition, rcl_guard_condition_fini, rcl_guard_condition_get_default_options,
    rcl_guard_condition_init, rcl_guard_condition_t, rcl_trigger_guard_condition,
};

use super::context::Context;
use super::error::{RosError, check};

/// Wakes the ROS thread, in whatever context it is.
pub(super) struct Wake(Mutex<Arc<GuardCondition>>);

impl Wake {
    pub(super) fn create(context: &Arc<Context>) -> Result<Wake, RosError> {
        GuardCondition::create(context).map(|condition| Wake(Mutex::new(Arc::new(condition))))
    }

    /// What to wait for.
    pub(super) fn condition(&self) -> Arc<GuardCondition> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The thread waits for `condition` from now on.
    pub(super) fn set(&self, condition: GuardCondition) {
        let condition = Arc::new(condition);
        let before = std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), condition);
        // Not under the lock, for which DDS's threads may wait.
        drop(before);
    }

    /// Wakes the thread, now or at its next wait. A thread of DDS may call this: it never has the last hold of a context,
    /// whose end would wait for that thread.
    pub(super) fn wake(&self) -> Result<(), RosError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).trigger()
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
