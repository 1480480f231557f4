//! Errors of rcl.

use std::ffi::CStr;

use r2r_rcl::{RCL_RET_OK, rcl_ret_t, rcutils_get_error_string, rcutils_reset_error};

/// A call into rcl that failed.
#[derive(Debug, thiserror::Error)]
#[error("{doing} failed: {message} (rcl code {code})")]
pub struct RosError {
    /// What was tried, as the start of a sentence.
    pub doing: &'static str,
    /// rcl's own words.
    pub message: String,
    /// rcl's return code.
    pub code: i32,
}

/// Turns rcl's return code and its thread-local error text into a result.
pub(super) fn check(doing: &'static str, code: rcl_ret_t) -> Result<(), RosError> {
    if code == RCL_RET_OK as rcl_ret_t { Ok(()) } else { Err(RosError { doing, message: take_error_text(), code }) }
}

/// Reads and clears rcl's error text of this thread, so that the next call does not complain of overwriting it.
pub(super) fn take_error_text() -> String {
    // SAFETY: rcutils returns the text by value in a buffer that is always terminated by NUL.
    let text = unsafe { rcutils_get_error_string() };
    // SAFETY: as above; the buffer outlives the borrow.
    let message = unsafe { CStr::from_ptr(text.str_.as_ptr()) }.to_string_lossy().into_owned();
    // SAFETY: resets thread-local state only.
    unsafe { rcutils_reset_error() };
    message
}
