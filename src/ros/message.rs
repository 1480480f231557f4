//! A message as C holds it: made by its type's own functions, and CDR bytes made of it or it of them by the RMW.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ffi::c_void;

use r2r_rcl::rosidl_runtime_c__message_initialization::ROSIDL_RUNTIME_C_MSG_INIT_ALL;
use r2r_rcl::{rmw_deserialize, rmw_serialize};

use super::buffer::{Buffer, borrowed};
use super::error::{RosError, check};
use super::type_support::TypeSupport;

/// Alignment of a message's C structure: that of `malloc`, with which its generated code would allocate it.
const ALIGNMENT: usize = 16;

/// A message as C holds it.
pub(super) struct Message<'a> {
    memory: *mut c_void,
    layout: Layout,
    support: &'a TypeSupport,
}

impl<'a> Message<'a> {
    /// A message with the defaults of its definition, and zeros and empty values otherwise. rosidl's tables have room for
    /// defaults, and the generator for C leaves it empty; the generated initialisation knows them. `None` of a type that can't
    /// be initialised.
    pub(super) fn new(support: &'a TypeSupport) -> Option<Self> {
        let members = support.members();
        let (Some(init), Some(_)) = (members.init_function, members.fini_function) else { return None };
        let layout = Layout::from_size_align(members.size_of_.max(1), ALIGNMENT).ok()?;
        // SAFETY: the layout is not empty; the function is the type's own, and is told of zeroed memory of the size that its
        // table names.
        unsafe {
            let memory = alloc_zeroed(layout).cast::<c_void>();
            if memory.is_null() {
                handle_alloc_error(layout);
            }
            init(memory, ROSIDL_RUNTIME_C_MSG_INIT_ALL);
            Some(Message { memory, layout, support })
        }
    }

    /// A message with the content of `cdr`, encapsulation header included.
    ///
    /// # Errors
    /// The RMW's own, and one for a type that can't be initialised.
    pub(super) fn from_cdr(support: &'a TypeSupport, cdr: &[u8]) -> Result<Self, RosError> {
        let mut message = Self::new(support).ok_or_else(|| no_functions(support))?;
        // SAFETY: the message is initialised and of the type of the handle; the RMW checks the bytes as those that come over
        // the network, and only reads through the array, which borrows `cdr` for this call and owns nothing.
        check("Making a message of its bytes", unsafe {
            rmw_deserialize(&borrowed(cdr), support.handle(), message.as_mut_ptr())
        })?;
        Ok(message)
    }

    /// Serializes it into `buffer`, whose content goes.
    ///
    /// # Errors
    /// The RMW's own.
    pub(super) fn write_cdr(&self, buffer: &mut Buffer) -> Result<(), RosError> {
        loop {
            // The RMW skips the bytes between values, so that there would be whatever was in memory before.
            let zeros = buffer.fill_with_zeros();
            // SAFETY: the message is initialised and of the type of the handle; the RMW grows the buffer with its own allocator.
            check("Serializing a message", unsafe {
                rmw_serialize(self.memory, self.support.handle(), buffer.as_mut_ptr())
            })?;
            if buffer.bytes().len() <= zeros {
                return Ok(());
            }
        }
    }

    /// For functions that read it.
    pub(super) fn as_ptr(&self) -> *const c_void {
        self.memory
    }

    /// For functions that fill it in, as the RMW's do: what it held is given back by them.
    pub(super) fn as_mut_ptr(&mut self) -> *mut c_void {
        self.memory
    }
}

/// There is no message of a type without functions.
pub(super) fn no_functions(support: &TypeSupport) -> RosError {
    let message =
        format!("the type support of {} has no functions to make and end messages with", support.schema().name);
    RosError { doing: "Making a message", message, code: 0 }
}

impl Drop for Message<'_> {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout and initialised in `new`; ended once, with the type's own function.
        unsafe {
            if let Some(fini) = self.support.members().fini_function {
                fini(self.memory);
            }
            dealloc(self.memory.cast(), self.layout);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use iot_bridge_core::codec::{Decoder, JsonBuffer};

    use super::*;

    /// Bytes become a message and bytes of the same content again, whatever C holds of it: texts, sequences and messages within it.
    /// What lies between values is whatever was in the RMW's memory.
    #[test]
    fn a_message_is_made_of_bytes_and_bytes_of_it() {
        let mut buffer = Buffer::new().unwrap();
        for (name, content) in [
            ("test_msgs/srv/Arrays_Request", r#""string_values_default":["","max value","min value"]"#),
            ("test_msgs/msg/UnboundedSequences", r#""uint16_values_default":[0,1,65535]"#),
        ] {
            let support = TypeSupport::load(name).unwrap();
            let decoder = Decoder::new(Arc::clone(support.schema())).unwrap();
            let json = |cdr: &[u8]| {
                let mut json = JsonBuffer::new(1 << 16);
                decoder.write_json(cdr, &mut json).unwrap();
                String::from_utf8(json.as_bytes().to_vec()).unwrap()
            };
            Message::new(&support).unwrap().write_cdr(&mut buffer).unwrap();
            let before = buffer.bytes().to_vec();
            Message::from_cdr(&support, &before).unwrap().write_cdr(&mut buffer).unwrap();
            assert_eq!(json(buffer.bytes()), json(&before));
            assert!(json(&before).contains(content), "{name}: {}", json(&before));
        }
    }

    /// Bytes that end too early and counts that no message holds are an error, and what was read until there is given back.
    #[test]
    fn bytes_of_no_message_are_an_error() {
        let support = TypeSupport::load("test_msgs/msg/UnboundedSequences").unwrap();
        let mut buffer = Buffer::new().unwrap();
        Message::new(&support).unwrap().write_cdr(&mut buffer).unwrap();
        let whole = buffer.bytes().to_vec();
        for length in [0, 3, 4, 5, whole.len() / 2] {
            let error = Message::from_cdr(&support, &whole[..length]).err().expect("should fail");
            assert!(error.to_string().starts_with("Making a message of its bytes failed"), "{length}: {error}");
        }
        let mut endless = whole;
        endless[4..8].fill(0xff);
        assert!(Message::from_cdr(&support, &endless).is_err());
    }
}
