//! Serialized messages, as rcl and the RMW take and give them.

use r2r_rcl::{
    rcutils_get_default_allocator, rcutils_uint8_array_fini, rcutils_uint8_array_init, rcutils_uint8_array_t,
};

use super::error::{RosError, check};

/// Bytes that a taken message is copied into; it grows to the largest message and is reused.
pub(super) struct Buffer {
    array: rcutils_uint8_array_t,
}

// SAFETY: owns its memory; used by one thread at a time.
unsafe impl Send for Buffer {}

impl Buffer {
    pub(super) fn new() -> Result<Buffer, RosError> {
        // SAFETY: a structure of zeros is rcutils' own "zero initialised" array, which init then fills in.
        unsafe {
            let mut array: rcutils_uint8_array_t = std::mem::zeroed();
            let allocator = rcutils_get_default_allocator();
            check("Allocating the receive buffer", rcutils_uint8_array_init(&mut array, 4096, &allocator))?;
            Ok(Buffer { array })
        }
    }

    /// For who fills it in.
    pub(super) fn as_mut_ptr(&mut self) -> *mut rcutils_uint8_array_t {
        &mut self.array
    }

    /// Fills all of its memory with zeros. Returns how many there are.
    pub(super) fn fill_with_zeros(&mut self) -> usize {
        // SAFETY: `buffer` is the array's own memory of `buffer_capacity` bytes.
        unsafe {
            if !self.array.buffer.is_null() {
                self.array.buffer.write_bytes(0, self.array.buffer_capacity);
            }
        }
        self.array.buffer_capacity
    }

    /// The message that was taken last.
    pub(super) fn bytes(&self) -> &[u8] {
        if self.array.buffer.is_null() {
            return &[];
        }
        // SAFETY: rcl filled in `buffer_length` bytes of the array's own memory.
        unsafe { std::slice::from_raw_parts(self.array.buffer, self.array.buffer_length) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`, freed once.
        unsafe {
            rcutils_uint8_array_fini(&mut self.array);
        }
    }
}

/// The array of `cdr`, which owns nothing: for functions that only read through it, while `cdr` is there.
pub(super) fn borrowed(cdr: &[u8]) -> rcutils_uint8_array_t {
    // SAFETY: the allocator is a structure of function pointers that is made anew.
    let allocator = unsafe { rcutils_get_default_allocator() };
    rcutils_uint8_array_t {
        buffer: cdr.as_ptr().cast_mut(),
        buffer_length: cdr.len(),
        buffer_capacity: cdr.len(),
        allocator,
    }
}
