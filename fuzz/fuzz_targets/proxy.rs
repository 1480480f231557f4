//! Any bytes at all, as what a proxy answers: a status or a fault in words, no panic.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| iot_bridge_core::mqtt::hostile::proxy(data));
