//! Any bytes at all, encoded as any message type: an error, or a message that comes back the same, no panic.
#![no_main]

#[path = "../../crates/core/tests/codec/hostile.rs"]
mod hostile;

libfuzzer_sys::fuzz_target!(|data: &[u8]| hostile::encode(data));
