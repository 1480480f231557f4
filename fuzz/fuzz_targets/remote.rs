//! Any bytes at all, as what comes by jobs and by the configuration's shadow: jobs of ours or nothing, and no panic.
#![no_main]

#[path = "../../crates/core/tests/hostile/remote.rs"]
mod remote;

libfuzzer_sys::fuzz_target!(|data: &[u8]| remote::hear(data));
