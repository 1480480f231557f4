//! Any bytes at all, as what comes to a bridge whose configuration is in the cloud: what the rules say is in force, and no panic.
#![no_main]

#[path = "../../crates/core/tests/hostile/desired.rs"]
mod desired;

libfuzzer_sys::fuzz_target!(|data: &[u8]| desired::take(data));
