//! A generic subscription: any message type, as CDR bytes.

use std::cell::Cell;
use std::ffi::{CStr, c_void};
use std::mem::MaybeUninit;
use std::num::NonZeroU64;
use std::ptr;
use std::sync::Arc;

use r2r_rcl::{
    RCL_RET_EVENT_TAKE_FAILED, RCL_RET_SUBSCRIPTION_TAKE_FAILED, RCL_RET_UNSUPPORTED, RMW_GID_STORAGE_SIZE,
    rcl_event_callback_t, rcl_event_fini, rcl_event_set_callback, rcl_event_t, rcl_get_zero_initialized_event,
    rcl_get_zero_initialized_subscription, rcl_ret_t, rcl_subscription_event_init, rcl_subscription_event_type_e,
    rcl_subscription_fini, rcl_subscription_get_default_options, rcl_subscription_get_publisher_count,
    rcl_subscription_init, rcl_subscription_set_on_new_message_callback, rcl_subscription_t, rcl_take_event,
    rcl_take_serialized_message, rmw_message_info_t, rmw_message_lost_status_t, rmw_qos_durability_policy_e,
    rmw_qos_history_policy_e, rmw_qos_incompatible_event_status_t, rmw_qos_policy_kind_e, rmw_qos_reliability_policy_e,
};

use super::arrivals::{Notice, Teller, on_match, on_message};
use super::buffer::Buffer;
use super::context::{Node, ended_exclusively, with_exclusive_rcl};
use super::error::{RosError, check, take_error_text};
use super::qos::Qos;
use super::type_support::TypeSupport;

/// Identity of a publisher. Its size differs between ROS distributions.
pub(super) type PublisherId = [u8; RMW_GID_STORAGE_SIZE as usize];

/// Where a message comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Info {
    pub(super) source_ns: i64,
    pub(super) received_ns: i64,
    pub(super) publisher: PublisherId,
    /// Number of the message at its publisher, from 1 on; `None` when the RMW does not tell.
    pub(super) number: Option<NonZeroU64>,
}

/// One rcl subscription with its events.
pub(super) struct Subscription {
    handle: Box<rcl_subscription_t>,
    incompatible: Option<Event>,
    lost: Option<Event>,
    /// Publishers that come and go; nobody asks what is in it.
    matched: Option<Event>,
    /// DDS has its address until the callbacks are taken back.
    notice: Arc<Notice>,
    node: Arc<Node>,
    /// Holds the type support that `handle` points to.
    type_support: Arc<TypeSupport>,
}

// SAFETY: used by one thread at a time, the ROS thread, to which it may be moved.
unsafe impl Send for Subscription {}

impl Subscription {
    pub(super) fn create(
        node: &Arc<Node>,
        topic: &CStr,
        type_support: &Arc<TypeSupport>,
        qos: Qos,
        teller: &Teller,
    ) -> Result<Subscription, RosError> {
        // SAFETY: zero-initialised by rcl, then filled in; boxed so that its address stays; node and type support
        // are kept beside it.
        let handle = with_exclusive_rcl(|| unsafe {
            let mut options = rcl_subscription_get_default_options();
            options.qos.history = rmw_qos_history_policy_e::RMW_QOS_POLICY_HISTORY_KEEP_LAST;
            options.qos.depth = qos.depth;
            options.qos.reliability = if qos.reliable {
                rmw_qos_reliability_policy_e::RMW_QOS_POLICY_RELIABILITY_RELIABLE
            } else {
                rmw_qos_reliability_policy_e::RMW_QOS_POLICY_RELIABILITY_BEST_EFFORT
            };
            options.qos.durability = if qos.transient_local {
                rmw_qos_durability_policy_e::RMW_QOS_POLICY_DURABILITY_TRANSIENT_LOCAL
            } else {
                rmw_qos_durability_policy_e::RMW_QOS_POLICY_DURABILITY_VOLATILE
            };
            let mut handle = Box::new(rcl_get_zero_initialized_subscription());
            let code =
                rcl_subscription_init(handle.as_mut(), node.as_ptr(), type_support.handle(), topic.as_ptr(), &options);
            check("Subscribing", code).map(|()| handle)
        })?;
        let mut subscription = Subscription {
            handle,
            incompatible: None,
            lost: None,
            matched: None,
            notice: teller.notice(),
            node: Arc::clone(node),
            type_support: Arc::clone(type_support),
        };
        // SAFETY: events are dropped before the subscription.
        unsafe {
            subscription.incompatible = Event::create(
                &subscription.handle,
                rcl_subscription_event_type_e::RCL_SUBSCRIPTION_REQUESTED_INCOMPATIBLE_QOS,
            )?;
            subscription.lost =
                Event::create(&subscription.handle, rcl_subscription_event_type_e::RCL_SUBSCRIPTION_MESSAGE_LOST)?;
            #[cfg(matched_events)]
            {
                subscription.matched =
                    Event::create(&subscription.handle, rcl_subscription_event_type_e::RCL_SUBSCRIPTION_MATCHED)?;
            }
        }
        subscription.have_told(teller)?;
        Ok(subscription)
    }

    /// Has DDS tell `teller` what comes.
    fn have_told(&mut self, teller: &Teller) -> Result<(), RosError> {
        let Subscription { handle, incompatible, matched, notice, .. } = self;
        // SAFETY: the subscription holds the notice, and takes its address back from DDS before either goes.
        let code =
            unsafe { rcl_subscription_set_on_new_message_callback(handle.as_ref(), Some(on_message), address(notice)) };
        let mut tells = is_supported("Having messages told", code)?;
        // Where one thing has to be waited for, everything is: half of it would be looked at twice. Losses are asked for and
        // never told: Fast DDS would tell of one under the reader's lock and then take the events', and takes them the other
        // way round when it is asked, so that its thread and ours could wait for each other for ever.
        if let Some(event) = incompatible {
            tells = tells && event.have_told(Some(on_match), notice)?;
        }
        if !tells {
            teller.arrivals.are_silent();
        }
        let tells_matches = match matched {
            Some(matched) => tells && matched.have_told(Some(on_match), notice)?,
            None => false,
        };
        if !tells_matches {
            teller.arrivals.are_blind();
        }
        // What came before DDS was asked to tell tells nobody.
        notice.tell_messages();
        Ok(())
    }

    /// What comes from now on is told again. To be called before what has come is taken.
    pub(super) fn begin(&self) {
        self.notice.forget_messages();
    }

    /// As [`begin`](Self::begin), for events.
    pub(super) fn begin_events(&self) {
        self.notice.forget_events();
    }

    /// The node that it belongs to.
    pub(super) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// What it receives.
    pub(super) fn type_support(&self) -> &Arc<TypeSupport> {
        &self.type_support
    }

    pub(super) fn as_ptr(&self) -> *const rcl_subscription_t {
        self.handle.as_ref()
    }

    /// Takes the next message into `buffer`, if there is one.
    pub(super) fn take(&self, buffer: &mut Buffer) -> Result<Option<Info>, RosError> {
        let mut info = rmw_message_info_t::default();
        // SAFETY: all pointers are to live structures of ours; rcl grows the buffer with its own allocator.
        let code = unsafe {
            rcl_take_serialized_message(self.handle.as_ref(), buffer.as_mut_ptr(), &mut info, ptr::null_mut())
        };
        if code == RCL_RET_SUBSCRIPTION_TAKE_FAILED as rcl_ret_t {
            take_error_text();
            return Ok(None);
        }
        check("Taking a message", code)?;
        Ok(Some(Info {
            source_ns: info.source_timestamp,
            received_ns: info.received_timestamp,
            publisher: info.publisher_gid.data,
            // An RMW that does not number says so with the largest number (rmw/types.h).
            number: NonZeroU64::new(info.publication_sequence_number).filter(|number| *number != NonZeroU64::MAX),
        }))
    }

    /// How many publishers DDS has matched with it; `None` where the RMW does not say.
    pub(super) fn matched(&self) -> Option<usize> {
        let mut count = 0;
        // SAFETY: the subscription is initialised, and rcl writes one number.
        let code = unsafe { rcl_subscription_get_publisher_count(self.handle.as_ref(), &mut count) };
        check("Counting a subscription's publishers", code).is_ok().then_some(count)
    }

    /// How many messages DDS has lost since the last call.
    pub(super) fn newly_lost(&self) -> Result<u64, RosError> {
        let mut status = rmw_message_lost_status_t { total_count: 0, total_count_change: 0 };
        let Some(event) = &self.lost else { return Ok(0) };
        // SAFETY: this event's status is of this type.
        let taken = unsafe { event.take(ptr::from_mut(&mut status).cast()) }?;
        Ok(if taken { status.total_count_change as u64 } else { 0 })
    }

    /// How many publishers DDS has refused since the last call, and the policy for which it refused the last.
    pub(super) fn newly_incompatible(&self) -> Result<Option<(&'static str, u64)>, RosError> {
        let mut status = MaybeUninit::<rmw_qos_incompatible_event_status_t>::zeroed();
        let Some(event) = &self.incompatible else { return Ok(None) };
        // SAFETY: this event's status is of this type.
        if !unsafe { event.take(status.as_mut_ptr().cast()) }? {
            return Ok(None);
        }
        // SAFETY: both fields were zeros or are what the RMW wrote. The policy is an enum in the bindings, but C may have
        // written any number, so it is read as one.
        let (count, policy) = unsafe {
            let status = status.as_ptr();
            ((*status).total_count, (&raw const (*status).last_policy_kind).cast::<u32>().read())
        };
        // By the total: those of before DDS was asked to tell count as no change.
        let count = u64::try_from(count.saturating_sub(event.total.replace(count))).unwrap_or(0);
        Ok((count > 0).then(|| (policy_name(policy), count)))
    }
}

/// What a policy is called that ROS has no name for.
pub(super) const UNNAMED_POLICY: &str = "another policy";

/// How people call the QoS policy `kind`, an `rmw_qos_policy_kind_t`.
fn policy_name(kind: u32) -> &'static str {
    use rmw_qos_policy_kind_e as Policy;
    const NAMES: [(Policy, &str); 4] = [
        (Policy::RMW_QOS_POLICY_RELIABILITY, "reliability"),
        (Policy::RMW_QOS_POLICY_DURABILITY, "durability"),
        (Policy::RMW_QOS_POLICY_DEADLINE, "deadline"),
        (Policy::RMW_QOS_POLICY_LIVELINESS, "liveliness"),
    ];
    NAMES.iter().find(|(policy, _)| *policy as u32 == kind).map_or(UNNAMED_POLICY, |(_, name)| name)
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // Events have to go before what they watch.
        self.incompatible = None;
        self.lost = None;
        self.matched = None;
        // SAFETY: initialised in `create`, ended once; nobody else changes the node meanwhile. RMWs call back under the lock
        // under which they take a callback back, so that none runs any more when that returns.
        let ended = ended_exclusively(|| unsafe {
            rcl_subscription_set_on_new_message_callback(self.handle.as_ref(), None, ptr::null());
            rcl_subscription_fini(self.handle.as_mut(), self.node.as_ptr().cast_mut());
            take_error_text();
        });
        if !ended {
            // DDS goes on using all of them.
            std::mem::forget((Arc::clone(&self.node), Arc::clone(&self.type_support), Arc::clone(&self.notice)));
        }
    }
}

/// The address of a notice, for DDS.
fn address(notice: &Arc<Notice>) -> *const c_void {
    Arc::as_ptr(notice).cast()
}

/// Whether the RMW does what it was asked for with this outcome.
pub(super) fn is_supported(doing: &'static str, code: rcl_ret_t) -> Result<bool, RosError> {
    if code == RCL_RET_UNSUPPORTED as rcl_ret_t {
        take_error_text();
        return Ok(false);
    }
    check(doing, code).map(|()| true)
}

/// An rmw event of a subscription. It is told or asked for, not waited for: a wait set with two events for each of
/// hundreds of subscriptions costs more than every message.
struct Event {
    handle: rcl_event_t,
    is_told: bool,
    /// The total that was taken last.
    total: Cell<i32>,
}

impl Event {
    /// `None` where the RMW does not know this event.
    ///
    /// # Safety
    /// The event has to be dropped before `subscription` is.
    unsafe fn create(
        subscription: &rcl_subscription_t,
        kind: rcl_subscription_event_type_e,
    ) -> Result<Option<Event>, RosError> {
        // SAFETY: zero-initialised by rcl, then filled in; the caller keeps the subscription.
        unsafe {
            let mut handle = rcl_get_zero_initialized_event();
            let code = rcl_subscription_event_init(&mut handle, subscription, kind);
            let is_known = is_supported("Watching a subscription's events", code)?;
            Ok(is_known.then_some(Event { handle, is_told: false, total: Cell::new(0) }))
        }
    }

    /// Has DDS call `callback` with `notice` for each event, which have to stay until the event is dropped. Returns whether
    /// the RMW does so.
    fn have_told(&mut self, callback: rcl_event_callback_t, notice: &Arc<Notice>) -> Result<bool, RosError> {
        // SAFETY: the event is initialised; who calls this keeps the notice.
        let code = unsafe { rcl_event_set_callback(&self.handle, callback, address(notice)) };
        self.is_told = is_supported("Having a subscription's events told", code)?;
        Ok(self.is_told)
    }

    /// Whether `status` was filled in.
    ///
    /// # Safety
    /// `status` has to point to the structure that belongs to the event's kind.
    unsafe fn take(&self, status: *mut c_void) -> Result<bool, RosError> {
        // SAFETY: the caller's promise.
        let code = unsafe { rcl_take_event(&self.handle, status) };
        if code == RCL_RET_EVENT_TAKE_FAILED as rcl_ret_t {
            take_error_text();
            return Ok(false);
        }
        check("Reading a subscription's events", code)?;
        Ok(true)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: initialised in `create`, ended once, before its subscription. As for messages, no callback runs any more
        // when it was taken back.
        unsafe {
            if self.is_told {
                rcl_event_set_callback(&self.handle, None, ptr::null());
            }
            rcl_event_fini(&mut self.handle);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use super::super::arrivals::Arrivals;
    use super::super::domain;
    use super::super::publisher::Publisher;
    use super::*;

    const TYPE: &str = "std_msgs/msg/Empty";

    /// Each publisher that DDS refuses is counted once, also one that was there before the subscription, which DDS refuses before
    /// it has been asked to tell; and the policy is named.
    #[test]
    fn refused_publishers_are_counted_by_their_total() {
        domain::enter();
        let node = Arc::new(Node::create("iot_bridge", "").unwrap());
        let support = Arc::new(TypeSupport::load(TYPE).unwrap());
        let publisher = || Publisher::create(&node, "/refused", TYPE).unwrap();
        let mut publishers = vec![publisher()];
        // Publishers are volatile.
        let qos = Qos { reliable: true, transient_local: true, depth: 1 };
        let teller = Teller { topic: 0, arrivals: Arrivals::of_test() };
        let subscription = Subscription::create(&node, c"/refused", &support, qos, &teller).unwrap();
        let refused = |most: u64| {
            let (start, mut refused) = (Instant::now(), 0);
            while refused < most && start.elapsed() < Duration::from_secs(30) {
                if let Some((policy, count)) = subscription.newly_incompatible().unwrap() {
                    assert_eq!(policy, "durability");
                    refused += count;
                }
                thread::sleep(Duration::from_millis(5));
            }
            refused
        };
        assert_eq!(refused(1), 1);
        assert_eq!(subscription.newly_incompatible().unwrap(), None);
        publishers.extend([publisher(), publisher()]);
        assert_eq!(refused(2), 2);
        assert_eq!(subscription.newly_incompatible().unwrap(), None);
    }
}
