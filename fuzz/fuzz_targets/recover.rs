//! Any bytes at all, as what stands in the queue's directory: recovery loses, invents and deletes nothing, no panic.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| iot_bridge_core::queue::testing::hostile::recover(data));
