//! Default messages: what a type's own initialisation makes of it, serialized.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ffi::c_void;

use r2r_rcl::rmw_serialize;
use r2r_rcl::rosidl_message_type_support_t;
use r2r_rcl::rosidl_runtime_c__message_initialization::ROSIDL_RUNTIME_C_MSG_INIT_ALL;
use r2r_rcl::rosidl_typesupport_introspection_c__MessageMembers as Members;

use super::error::{RosError, check};
use super::subscription::Buffer;

/// Alignment of a message's C structure: that of `malloc`, with which its generated code would allocate it.
const ALIGNMENT: usize = 16;

/// A message as C holds it.
struct Message<'a> {
    memory: *mut c_void,
    layout: Layout,
    members: &'a Members,
}

impl<'a> Message<'a> {
    /// A message with the defaults of its definition. `None` of a type that can't be initialised.
    ///
    /// # Safety
    /// `members` has to be a table of `rosidl_typesupport_introspection_c`, with the functions of the type that it is of.
    unsafe fn new(members: &'a Members) -> Option<Self> {
        let (Some(init), Some(_)) = (members.init_function, members.fini_function) else { return None };
        let layout = Layout::from_size_align(members.size_of_.max(1), ALIGNMENT).ok()?;
        // SAFETY: the layout is not empty; the function is told of zeroed memory of the size that its table names.
        unsafe {
            let memory = alloc_zeroed(layout).cast::<c_void>();
            if memory.is_null() {
                handle_alloc_error(layout);
            }
            init(memory, ROSIDL_RUNTIME_C_MSG_INIT_ALL);
            Some(Message { memory, layout, members })
        }
    }
}

impl Drop for Message<'_> {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout and initialised in `new`; ended once.
        unsafe {
            if let Some(fini) = self.members.fini_function {
                fini(self.memory);
            }
            dealloc(self.memory.cast(), self.layout);
        }
    }
}

/// The default message of a type, as CDR: with what its definition says, and zeros and empty values otherwise. rosidl's tables
/// have room for defaults, and the generator for C leaves it empty; the generated initialisation knows them.
///
/// # Safety
/// `members` has to be the table, and `handle` the type support, of one type, whose libraries stay loaded.
pub(super) unsafe fn default_message(
    members: *const Members,
    handle: *const rosidl_message_type_support_t,
) -> Result<Option<Vec<u8>>, RosError> {
    let mut buffer = Buffer::new()?;
    // SAFETY: the caller's promise; the message is of the type that the handle is of, and the RMW grows the buffer with its own
    // allocator.
    unsafe {
        let Some(message) = Message::new(&*members) else { return Ok(None) };
        check("Serializing a default message", rmw_serialize(message.memory, handle, buffer.as_mut_ptr()))?;
    }
    Ok(Some(buffer.bytes().to_vec()))
}
