//! How many bytes a PUBLISH has, before there is one (MQTT 3.1.1 and 5.0, section 3.3).
//!
//! For one to `robots/robot1/odom` (18 bytes) with QoS 1 and a payload of 100 bytes: 2 + 18 for the topic, 2 for the packet
//! identifier, 100, and 2 before all that, are 124 bytes in MQTT 3.1.1. In MQTT 5 the properties come on top: 1 for their
//! length, 3 for a topic alias, 5 for an expiry interval, and so on.

use super::Message;
use crate::config::{Qos, Version};

/// Bytes of the packet of `message` with a payload of `payload` bytes in the place of its own; `alias` says whether it has a
/// topic alias beside its topic.
pub fn publish_size(version: Version, message: &Message<'_>, payload: usize, alias: bool) -> usize {
    let packet_id = match message.qos {
        Qos::AtMostOnce => 0,
        Qos::AtLeastOnce => 2,
    };
    let properties = match version {
        Version::V3_1_1 => 0,
        Version::V5 => with_length(properties_size(message, alias)),
    };
    1 + with_length(2 + message.topic.len() + packet_id + properties + payload)
}

/// Each begins with a byte that says which it is; a string with two for its length.
fn properties_size(message: &Message<'_>, alias: bool) -> usize {
    let alias = if alias { 1 + 2 } else { 0 };
    let expiry = message.expires_in.map_or(0, |_| 1 + 4);
    let content_type = message.content_type.map_or(0, |text| 1 + 2 + text.len());
    let user_property = message.user_property.map_or(0, |(name, value)| 1 + 2 + name.len() + 2 + value.len());
    let correlation = message.correlation_data.map_or(0, |data| 1 + 2 + data.len());
    alias + expiry + content_type + user_property + correlation
}

/// So many bytes, and their length before them: seven bits of it in a byte (MQTT 5.0, section 1.5.5).
fn with_length(bytes: usize) -> usize {
    bytes
        + match bytes {
            0..0x80 => 1,
            0x80..0x4000 => 2,
            0x4000..0x20_0000 => 3,
            _ => 4,
        }
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use proptest::prelude::*;

    use super::*;
    use crate::mqtt::client::wire::Publish;

    /// Lengths around those at which the length before them takes a byte more.
    fn length() -> impl Strategy<Value = usize> {
        let near = |edge: usize| edge.saturating_sub(60)..edge + 10;
        prop_oneof![0..300usize, near(0x80), near(0x4000), near(0x2_0000)]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

        /// Whatever the message and whichever the version: the size is what rumqttc writes.
        #[test]
        fn the_size_of_a_packet_is_what_is_written(
            version in prop_oneof![Just(Version::V3_1_1), Just(Version::V5)],
            topic in "[a-z/]{1,256}",
            qos in prop_oneof![Just(Qos::AtMostOnce), Just(Qos::AtLeastOnce)],
            payload in length(),
            alias in prop::option::of(1..9u16),
            content_type in prop::option::of(Just("application/json")),
            user_property in prop::option::of(Just(("content-encoding", "zstd"))),
            correlation in prop::option::of(0..1025usize),
            expires_in in prop::option::of(any::<u32>()),
        ) {
            let bytes = Bytes::from(vec![b'x'; payload]);
            let correlation = correlation.map(|length| Bytes::from(vec![0; length]));
            let (correlation_data, retain, topic) = (correlation.as_ref(), false, &*topic);
            let message = Message {
                topic,
                qos,
                retain,
                payload: &bytes,
                content_type,
                user_property,
                correlation_data,
                expires_in,
            };
            let alias = alias.filter(|_| version == Version::V5);
            let packet_id = if qos == Qos::AtLeastOnce { 7 } else { 0 };
            let mut written = BytesMut::new();
            Publish::new(version, &message, packet_id, topic, alias).write(&mut written).unwrap();
            prop_assert_eq!(publish_size(version, &message, payload, alias.is_some()), written.len());
        }
    }
}
