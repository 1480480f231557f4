//! The fuzz target of the bridge alone without a fuzzer; those of the core are in `crates/core/tests/fuzz_seeds.rs`.

#[path = "hostile/status.rs"]
mod status;

use crate::support::seeds::run;

/// Any bytes, as what answers `iot-bridge status`.
#[test]
fn status() {
    run("status", 8_000, status::show);
}
