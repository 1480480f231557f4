//! Waiting for messages, graph changes and the guard condition at once.

use std::ptr;
use std::time::Duration;

use r2r_rcl::{
    RCL_RET_TIMEOUT, rcl_get_zero_initialized_wait_set, rcl_node_get_graph_guard_condition, rcl_ret_t, rcl_wait,
    rcl_wait_set_add_guard_condition, rcl_wait_set_add_subscription, rcl_wait_set_clear, rcl_wait_set_fini,
    rcl_wait_set_init, rcl_wait_set_resize, rcl_wait_set_t, rcutils_get_default_allocator,
};

use super::context::Node;
use super::error::{RosError, check, take_error_text};
use super::guard_condition::GuardCondition;
use super::subscription::Subscription;

/// What a wait ended with.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// The time was over.
    pub(super) timed_out: bool,
    /// Something in the graph changed.
    pub(super) graph: bool,
    /// Somebody triggered the guard condition.
    pub(super) woken: bool,
    /// Topics with messages, in the order in which they were waited for; one may be there several times.
    pub(super) topics: Vec<usize>,
}

impl Ready {
    /// A wait that was not made in rcl has ended.
    pub(super) fn parked(&mut self) {
        (self.timed_out, self.graph, self.woken) = (false, false, true);
        self.topics.clear();
    }

    /// Whether the wait ended before its time and does not say why.
    pub(super) fn is_for_nothing(&self) -> bool {
        !self.timed_out && !self.graph && !self.woken && self.topics.is_empty()
    }
}

/// How many subscriptions were waited for, again for each wait: for tests.
#[cfg(test)]
pub(super) static WAITED_FOR: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

/// Whether each wait fails: for tests.
#[cfg(test)]
pub(super) static FAILS: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// rcl's wait set.
pub(super) struct WaitSet {
    handle: rcl_wait_set_t,
    /// Subscriptions that it has room for.
    room: usize,
}

// SAFETY: owned and used by the ROS thread; it holds pointers only between filling and the end of a wait.
unsafe impl Send for WaitSet {}

impl WaitSet {
    pub(super) fn create(node: &Node) -> Result<WaitSet, RosError> {
        // SAFETY: zero-initialised by rcl, then filled in. Two guard conditions: the graph's and ours.
        unsafe {
            let mut handle = rcl_get_zero_initialized_wait_set();
            check(
                "Creating the wait set",
                rcl_wait_set_init(
                    &mut handle,
                    0,
                    2,
                    0,
                    0,
                    0,
                    0,
                    node.context().as_ptr(),
                    rcutils_get_default_allocator(),
                ),
            )?;
            Ok(WaitSet { handle, room: 0 })
        }
    }

    /// Waits until a subscription, each with the index of its topic, has messages, the graph changes, `wake` is triggered, or `timeout` has passed;
    /// fills in `ready`.
    pub(super) fn wait<'a>(
        &mut self,
        node: &Node,
        wake: &GuardCondition,
        subscriptions: impl Iterator<Item = (usize, &'a Subscription)> + Clone,
        timeout: Duration,
        ready: &mut Ready,
    ) -> Result<(), RosError> {
        (ready.timed_out, ready.graph, ready.woken) = (false, false, false);
        ready.topics.clear();
        let doing = "Filling the wait set";
        #[cfg(test)]
        WAITED_FOR.fetch_add(subscriptions.clone().count(), std::sync::atomic::Ordering::Relaxed);
        #[cfg(test)]
        if FAILS.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(RosError { doing, message: "it is a test".to_owned(), code: 1 });
        }
        // SAFETY: everything that is added is borrowed for the whole call, and the set is cleared before the next
        // one; rcl writes NULL over what is not ready, in the order in which it was added.
        unsafe {
            let room = subscriptions.clone().count();
            if self.room != room {
                check(doing, rcl_wait_set_resize(&mut self.handle, room, 2, 0, 0, 0, 0))?;
                self.room = room;
            }
            check(doing, rcl_wait_set_clear(&mut self.handle))?;
            let graph = rcl_node_get_graph_guard_condition(node.as_ptr());
            let (mut graph_index, mut wake_index) = (0, 0);
            check(doing, rcl_wait_set_add_guard_condition(&mut self.handle, graph, &mut graph_index))?;
            check(doing, rcl_wait_set_add_guard_condition(&mut self.handle, wake.as_ptr(), &mut wake_index))?;
            let mut waited_for = Vec::with_capacity(self.room);
            for (topic, subscription) in subscriptions {
                check(doing, rcl_wait_set_add_subscription(&mut self.handle, subscription.as_ptr(), ptr::null_mut()))?;
                waited_for.push(topic);
            }
            let timeout = i64::try_from(timeout.as_nanos()).unwrap_or(i64::MAX);
            let code = rcl_wait(&mut self.handle, timeout);
            if code == RCL_RET_TIMEOUT as rcl_ret_t {
                take_error_text();
                ready.timed_out = true;
                return Ok(());
            }
            check("Waiting for messages", code)?;
            ready.graph = !(*self.handle.guard_conditions.add(graph_index)).is_null();
            ready.woken = !(*self.handle.guard_conditions.add(wake_index)).is_null();
            for (position, topic) in waited_for.into_iter().enumerate() {
                if !(*self.handle.subscriptions.add(position)).is_null() {
                    ready.topics.push(topic);
                }
            }
            Ok(())
        }
    }
}

impl Drop for WaitSet {
    fn drop(&mut self) {
        // SAFETY: initialised in `create`, ended once.
        unsafe {
            rcl_wait_set_fini(&mut self.handle);
        }
    }
}
