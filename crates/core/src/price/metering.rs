//! What AWS IoT Core meters of a publish ("AWS IoT Core additional metering details" of its price page).
//!
//! Counted are the payload and the topic, and in MQTT 5 the content type and user properties: 5,086 bytes of JSON to
//! `robots/robot1/odom` (18 bytes) with the content type `application/json` (16 bytes) are 5,120 bytes, which is one step; one
//! byte more are two. Headers, packet identifier and expiry are not counted, and a topic alias saves nothing. The PUBACK of
//! the service is free.

use crate::config::{Encoding, Version, is_basic_ingest};
use crate::packing::CONTENT_ENCODING;

/// Bytes of a step: each that is begun counts as a message.
pub const STEP: usize = 5 * 1024;

/// What a publish is billed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Billing {
    /// A message of the broker, for each step; a retained one twice, for the publish and for what is kept of it.
    Messages { retained: bool },
    /// Basic Ingest: no message, but the rule that it goes to, with one action, for each step.
    Rule,
}

impl Billing {
    /// How a publish to the MQTT topic `mqtt` is billed.
    pub fn of(mqtt: &str, retained: bool) -> Billing {
        if is_basic_ingest(mqtt) { Billing::Rule } else { Billing::Messages { retained } }
    }

    /// What is counted for so many `steps`.
    pub fn count(self, steps: f64) -> f64 {
        match self {
            Billing::Messages { retained: true } => 2.0 * steps,
            Billing::Messages { retained: false } | Billing::Rule => steps,
        }
    }
}

/// Bytes that are metered of a publish to `topic` with `payload` bytes, which are `content_type` before they are compressed by
/// `encoding`.
pub fn metered_bytes(
    version: Version,
    topic: &str,
    payload: usize,
    content_type: &str,
    encoding: Option<Encoding>,
) -> usize {
    let properties = match version {
        Version::V3_1_1 => 0,
        Version::V5 => {
            content_type.len() + encoding.map_or(0, |encoding| CONTENT_ENCODING.len() + encoding.label().len())
        }
    };
    payload + topic.len() + properties
}

/// How many steps `bytes` are: each that is begun, and one at least.
pub fn steps(bytes: usize) -> u64 {
    bytes.div_ceil(STEP).max(1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const ODOM: &str = "robots/robot1/odom";

    /// By hand: 18 bytes of topic, 16 of `application/json`, and 16 + 4 of `content-encoding` and `zstd`.
    #[test]
    fn topic_and_properties_count() {
        let json = |version, payload, encoding| metered_bytes(version, ODOM, payload, "application/json", encoding);
        assert_eq!(json(Version::V3_1_1, 5102, None), 5120);
        assert_eq!(json(Version::V5, 5086, None), 5120);
        assert_eq!(json(Version::V5, 5066, Some(Encoding::Zstd)), 5120);
        assert_eq!(json(Version::V3_1_1, 5066, Some(Encoding::Zstd)), 5084);
    }

    #[test]
    fn a_step_that_is_begun_counts() {
        assert_eq!([0, 1, 5120, 5121, 10_240, 10_241, 131_072].map(steps), [1, 1, 1, 2, 2, 3, 26]);
    }

    #[test]
    fn retained_counts_twice_and_basic_ingest_is_the_rules() {
        assert_eq!(Billing::of(ODOM, true).count(3.0), 6.0);
        assert_eq!(Billing::of(ODOM, false).count(3.0), 3.0);
        assert_eq!(Billing::of("$aws/rules/logs/robots/robot1/odom", false), Billing::Rule);
        assert_eq!(Billing::of("$aws/things/robot1/shadow/update", false), Billing::Messages { retained: false });
    }
}
