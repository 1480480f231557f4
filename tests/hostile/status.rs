//! Any bytes at all, as what answers `iot-bridge status`.
//!
//! `fuzz/fuzz_targets/status.rs` feeds the same function, led by coverage.

use iot_bridge::commands::status;
use serde_json::Value;

/// Shows `data` as `iot-bridge status` does, and with `--json`, and checks that
///
/// - a terminal obeys nothing of it but line feeds, errors included,
/// - what is printed as JSON is the same value, on one line.
pub fn show(data: &[u8]) {
    let Ok(answer) = str::from_utf8(data) else { return };
    let (text, json) = (status::show(answer, false), status::show(answer, true));
    for shown in [&text, &json] {
        let shown = shown.as_ref().map_or_else(ToString::to_string, Clone::clone);
        let obeyed = |character: char| character.is_control() && character != '\n';
        assert!(!shown.contains(obeyed), "{shown:?}");
        assert!(!shown.contains(['\u{202e}', '\u{2066}', '\u{200f}']), "{shown:?}");
    }
    if let Ok(json) = json {
        assert_eq!(json.lines().count(), 1);
        let value = |text: &str| serde_json::from_str::<Value>(text).ok();
        assert_eq!(value(&json), value(answer));
    }
}
