//! A generic publisher: any message type, as CDR bytes.

use std::ffi::CString;
use std::ptr;
use std::sync::Arc;

use r2r_rcl::{
    rcl_get_zero_initialized_publisher, rcl_publish_serialized_message, rcl_publisher_fini,
    rcl_publisher_get_default_options, rcl_publisher_init, rcl_publisher_t, rcutils_get_default_allocator,
    rcutils_uint8_array_t,
};

use super::context::{Node, c_string, ended_exclusively, with_exclusive_rcl};
use super::error::{RosError, check};
use super::type_support::{TypeSupport, TypeSupportError};

/// Publishes messages of one type on one topic, with ROS's default QoS: reliable, volatile, the last ten are kept.
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
        let topic: CString = c_string("The topic name", topic)?;
        // SAFETY: zero-initialised by rcl, then filled in; boxed so that its address stays; node and type support are
        // kept beside it.
        let handle = with_exclusive_rcl(|| unsafe {
            let options = rcl_publisher_get_default_options();
            let mut handle = Box::new(rcl_get_zero_initialized_publisher());
            let code =
                rcl_publisher_init(handle.as_mut(), node.as_ptr(), type_support.handle(), topic.as_ptr(), &options);
            check("Creating a publisher", code).map(|()| handle)
        })?;
        Ok(Publisher { handle, node: Arc::clone(node), type_support })
    }

    /// Publishes the serialized message `cdr`, encapsulation header included. May wait for slow subscribers, as DDS
    /// does for reliable publishers.
    ///
    /// # Errors
    /// rcl's own.
    pub fn publish(&self, cdr: &[u8]) -> Result<(), RosError> {
        // SAFETY: rcl only reads through the array, which borrows `cdr` for this call and owns nothing.
        check("Publishing a message", unsafe {
            let message = rcutils_uint8_array_t {
                buffer: cdr.as_ptr().cast_mut(),
                buffer_length: cdr.len(),
                buffer_capacity: cdr.len(),
                allocator: rcutils_get_default_allocator(),
            };
            rcl_publish_serialized_message(self.handle.as_ref(), &message, ptr::null_mut())
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
