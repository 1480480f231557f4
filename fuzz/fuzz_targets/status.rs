//! Any bytes at all, as what answers `iot-bridge status`: text that a terminal only shows, or an error, no panic.
#![no_main]

#[path = "../../tests/hostile/status.rs"]
mod status;

libfuzzer_sys::fuzz_target!(|data: &[u8]| status::show(data));
