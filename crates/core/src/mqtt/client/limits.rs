//! What the broker takes on a connection, as its CONNACK says. In MQTT 3.1.1 it says nothing.

use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::ConnAckProperties;

use super::wire::Malformed;
use crate::config::Qos;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Publishes without PUBACK.
    pub receive_maximum: u16,
    /// Bytes of a packet.
    pub packet: Option<usize>,
    /// Highest topic alias; 0 for none.
    pub topic_aliases: u16,
    /// The keep-alive time that the broker wants instead of the one asked for.
    pub keep_alive: Option<Duration>,
    /// Highest QoS.
    pub qos: Qos,
    /// Whether it takes publishes that are to be retained.
    pub retain: bool,
}

/// A limit below this is taken for a mistake of the broker's: none has so low a one unless somebody sets it, and every topic
/// fits it with some KiB of payload. What is too large for it waits, and nothing is dropped.
const LEAST_PACKET: usize = 16 << 10;

impl Limits {
    /// Whether a packet of `size` bytes may not be sent on this connection.
    pub fn forbids(&self, size: usize) -> bool {
        self.packet.is_some_and(|most| size > most)
    }

    /// Whether the limit of a packet is one that a broker may have meant.
    pub fn is_meant(&self) -> bool {
        self.packet.is_none_or(|most| most >= LEAST_PACKET)
    }

    /// What the broker lacks, and what that means, each a sentence without its full stop.
    pub fn lacks(&self) -> Vec<&'static str> {
        let qos = "The broker takes QoS 0 only, so that records are done when they are sent";
        let retain = "The broker keeps no retained messages, so that none is sent as one";
        let lacks = [(self.qos == Qos::AtMostOnce).then_some(qos), (!self.retain).then_some(retain)];
        lacks.into_iter().flatten().collect()
    }
}

impl Default for Limits {
    /// What holds for a broker that says nothing (MQTT 5.0, section 3.2.2.3).
    fn default() -> Self {
        Limits {
            receive_maximum: u16::MAX,
            packet: None,
            topic_aliases: 0,
            keep_alive: None,
            qos: Qos::AtLeastOnce,
            retain: true,
        }
    }
}

impl TryFrom<ConnAckProperties> for Limits {
    type Error = Malformed;

    fn try_from(answer: ConnAckProperties) -> Result<Self, Malformed> {
        // Protocol errors (MQTT 5.0, sections 3.2.2.3.3 and 3.2.2.3.6).
        for (name, value) in
            [("Receive Maximum", answer.receive_max.map(u32::from)), ("Maximum Packet Size", answer.max_packet_size)]
        {
            if value == Some(0) {
                return Err(Malformed(format!("its CONNACK has a {name} of 0")));
            }
        }
        let silent = Limits::default();
        Ok(Limits {
            receive_maximum: answer.receive_max.unwrap_or(silent.receive_maximum),
            packet: answer.max_packet_size.and_then(|bytes| bytes.try_into().ok()),
            topic_aliases: answer.topic_alias_max.unwrap_or(silent.topic_aliases),
            keep_alive: answer.server_keep_alive.map(|seconds| Duration::from_secs(seconds.into())),
            qos: if answer.max_qos == Some(0) { Qos::AtMostOnce } else { Qos::AtLeastOnce },
            retain: answer.retain_available != Some(0),
        })
    }
}
