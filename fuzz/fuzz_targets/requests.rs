//! Any bytes at all, as commands, and as requests for services and actions, one after the other: what the rules say, no panic.
#![no_main]

#[path = "../../crates/core/tests/codec"]
#[allow(dead_code, reason = "shared with the targets of the codec")]
mod codec {
    pub mod hostile;
}
#[path = "../../crates/core/tests/requests/hostile.rs"]
mod hostile;

libfuzzer_sys::fuzz_target!(|data: &[u8]| hostile::judge(data));
