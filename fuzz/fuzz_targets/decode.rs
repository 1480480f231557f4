//! Any bytes at all, decoded as any message type: JSON within the limit or an error, no panic.
#![no_main]

#[path = "../../crates/core/tests/codec/hostile.rs"]
mod hostile;

libfuzzer_sys::fuzz_target!(|data: &[u8]| hostile::decode(data));
