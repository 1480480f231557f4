//! Any bytes at all, as a configuration file: settings or problems in words, no panic.
#![no_main]

#[path = "../../crates/core/tests/hostile/config.rs"]
mod config;

libfuzzer_sys::fuzz_target!(|data: &[u8]| config::load(data));
