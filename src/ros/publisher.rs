//! A generic publisher: any message type, as CDR bytes.

use std::ffi::CStr;
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use r2r_rcl::{
    rcl_get_zero_initialized_publisher, rcl_publish_serialized_message, rcl_publisher_fini,
    rcl_publisher_get_default_options, rcl_publisher_get_subscription_count, rcl_publisher_init, rcl_publisher_t,
    rcl_publisher_wait_for_all_acked, rmw_qos_durability_policy_e, rmw_time_t,
};

use super::buffer::borrowed;
use super::context::{Node, c_string, ended_exclusively, with_exclusive_rcl};
use super::error::{RosError, check};
use super::type_support::{TypeSupport, TypeSupportError};

/// Publishes messages of one type on one topic. It is reliable and keeps the last ten, as is ROS's default, so that reliable and
/// best-effort subscriptions get what it publishes.
pub struct Publisher {
    handle: Box<rcl_publisher_t>,
    node: Arc<Node>,
    /// Holds the type support that `handle` points to.
    type_support: Arc<TypeSupport>,
}

// SAFETY: rcl allows a publisher to be used from any thread; it is initialised before it is shared, and ended once.
unsafe impl Send for Publisher {}
// SAFETY: publishing is thread safe by rcl's contract (rcl/publisher.h), and nothing else takes a shared reference.
unsafe impl Sync for Publisher {}

/// Why there is no publisher.
#[derive(Debug, thiserror::Error)]
pub enum NoPublisher {
    /// The message type can't be had.
    #[error(transparent)]
    Type(#[from] TypeSupportError),
    /// rcl refuses.
    #[error(transparent)]
    Ros(#[from] RosError),
}

impl Publisher {
    /// A publisher of messages of the type `type_name` (`package/msg/Name`) on `topic`, an absolute name.
    ///
    /// # Errors
    /// When the environment has no such type, or rcl refuses the name.
    pub fn create(node: &Arc<Node>, topic: &str, type_name: &str) -> Result<Publisher, NoPublisher> {
        let type_support = Arc::new(TypeSupport::load(type_name)?);
        Ok(Publisher::offering(node, &c_string("The topic name", topic)?, &type_support, None)?)
    }

    /// As [`create`](Self::create), of the type of `type_support`. With `kept` it is transient-local, so that subscriptions get
    /// what it publishes that ask for it to be; those that come later get what is no older than that.
    ///
    /// # Errors
    /// rcl's own.
    pub(super) fn offering(
        node: &Arc<Node>,
        topic: &CStr,
        type_support: &Arc<TypeSupport>,
        kept: Option<Duration>,
    ) -> Result<Publisher, RosError> {
        // SAFETY: zero-initialised by rcl, then filled in; boxed so that its address stays; node and type support are
        // kept beside it.
        let handle = with_exclusive_rcl(|| unsafe {
            let mut options = rcl_publisher_get_default_options();
            if let Some(kept) = kept {
                options.qos.durability = rmw_qos_durability_policy_e::RMW_QOS_POLICY_DURABILITY_TRANSIENT_LOCAL;
                options.qos.lifespan = rmw_time_t { sec: kept.as_secs(), nsec: kept.subsec_nanos().into() };
            }
            let mut handle = Box::new(rcl_get_zero_initialized_publisher());
            let code =
                rcl_publisher_init(handle.as_mut(), node.as_ptr(), type_support.handle(), topic.as_ptr(), &options);
            check("Creating a publisher", code).map(|()| handle)
        })?;
        Ok(Publisher { handle, node: Arc::clone(node), type_support: Arc::clone(type_support) })
    }

    /// How many subscriptions get what it publishes, those of the bridge itself included.
    ///
    /// # Errors
    /// rcl's own.
    pub fn subscriptions(&self) -> Result<usize, RosError> {
        let mut count = 0;
        // SAFETY: the publisher is initialised, and rcl writes one number.
        check("Counting subscriptions", unsafe {
            rcl_publisher_get_subscription_count(self.handle.as_ref(), &mut count)
        })?;
        Ok(count)
    }

    /// Waits until reliable subscriptions have what was published, at most for `patience`.
    pub(super) fn flush(&self, patience: Duration) {
        let patience = i64::try_from(patience.as_nanos()).unwrap_or(i64::MAX);
        // SAFETY: the publisher is initialised, and this is allowed from any thread.
        let code = unsafe { rcl_publisher_wait_for_all_acked(self.handle.as_ref(), patience) };
        // That it took longer, or that the RMW can't tell, changes nothing.
        let _ = check("Waiting for subscriptions", code);
    }

    /// Publishes the serialized message `cdr`, encapsulation header included. May wait for slow subscribers, as DDS
    /// does for reliable publishers.
    ///
    /// # Errors
    /// rcl's own.
    pub fn publish(&self, cdr: &[u8]) -> Result<(), RosError> {
        // SAFETY: rcl only reads through the array, which borrows `cdr` for this call and owns nothing.
        check("Publishing a message", unsafe {
            rcl_publish_serialized_message(self.handle.as_ref(), &borrowed(cdr), ptr::null_mut())
        })
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // SAFETY: initialised in `create`, ended once; nobody else changes the node meanwhile.
        let ended = ended_exclusively(|| unsafe {
            rcl_publisher_fini(self.handle.as_mut(), self.node.as_ptr().cast_mut());
        });
        if !ended {
            // DDS goes on using both.
            std::mem::forget((Arc::clone(&self.node), Arc::clone(&self.type_support)));
        }
    }
}
