//! MQTT 3.1.1 and 5 as bytes, behind one face. CONNECT and PUBLISH are written, and the properties of what comes are
//! read, by rumqttc's codecs.
//!
//! What a broker sends to the bridge is read here: its packets are a few bytes each, and rumqttc's codec of MQTT 5 loses
//! a DISCONNECT that ends with its reason, as Mosquitto writes it, and refuses reasons in a PUBACK that it does not know.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};
use rumqttc::v5::mqttbytes::v5;
use rumqttc::{Connect, LastWill, QoS};

use super::Message;
use super::arrival::Published;
use super::limits::Limits;
use super::reason::Reason;
use super::subscription;
use crate::config::{Qos, Version};
use crate::mqtt::MAX_PACKET;
use crate::mqtt::Options;

/// What the broker has sent.
#[derive(Debug, PartialEq)]
pub(super) enum Incoming {
    Accepted(Limits),
    /// The CONNACK of MQTT 3.1.1 that refuses, with its return code.
    RefusedV4(u8),
    /// The CONNACK of MQTT 5 that refuses.
    Refused(ServerReason),
    PubAck {
        packet_id: u16,
        answer: ServerReason,
    },
    SubAck {
        packet_id: u16,
        answers: Vec<Result<Qos, Reason>>,
    },
    UnsubAck {
        packet_id: u16,
    },
    Published(Published),
    Pong,
    /// Only in MQTT 5.
    Disconnect(ServerReason),
}

/// A reason code, and what the broker adds to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerReason {
    pub reason: Reason,
    /// In the broker's own words.
    pub words: Option<String>,
    /// Another server that it names.
    pub server: Option<String>,
}

impl fmt::Display for ServerReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)?;
        // In quotes, and without control characters.
        self.words.as_ref().map_or(Ok(()), |words| write!(f, "; it says {words:?}"))
    }
}

impl From<Reason> for ServerReason {
    fn from(reason: Reason) -> Self {
        ServerReason { reason, words: None, server: None }
    }
}

/// The broker has sent what the version does not allow, in words.
#[derive(Debug)]
pub struct Malformed(pub String);

impl From<rumqttc::v5::mqttbytes::Error> for Malformed {
    fn from(error: rumqttc::v5::mqttbytes::Error) -> Self {
        Malformed(error.to_string())
    }
}

/// A PUBLISH, ready to be written.
#[derive(Debug)]
pub(super) enum Publish {
    V4(rumqttc::Publish),
    V5(v5::Publish),
}

impl Publish {
    pub fn new(version: Version, message: &Message<'_>, packet_id: u16, topic: &str, alias: Option<u16>) -> Self {
        match version {
            Version::V3_1_1 => {
                let mut publish = rumqttc::Publish::from_bytes(topic, qos_v4(message.qos), message.payload.clone());
                (publish.pkid, publish.retain) = (packet_id, message.retain);
                Publish::V4(publish)
            }
            Version::V5 => {
                let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
                let user_properties = message.user_property.map(owned).into_iter().collect();
                let properties = v5::PublishProperties {
                    message_expiry_interval: message.expires_in,
                    topic_alias: alias,
                    content_type: message.content_type.map(str::to_owned),
                    user_properties,
                    correlation_data: message.correlation_data.cloned(),
                    ..Default::default()
                };
                Publish::V5(v5::Publish {
                    dup: false,
                    qos: qos_v5(message.qos),
                    retain: message.retain,
                    topic: Bytes::copy_from_slice(topic.as_bytes()),
                    pkid: packet_id,
                    payload: message.payload.clone(),
                    properties: Some(properties),
                })
            }
        }
    }

    pub fn packet_id(&self) -> u16 {
        match self {
            Publish::V4(publish) => publish.pkid,
            Publish::V5(publish) => publish.pkid,
        }
    }

    /// Writes it behind `bytes`.
    pub fn write(&self, bytes: &mut BytesMut) -> Result<(), Malformed> {
        match self {
            Publish::V4(publish) => publish.write(bytes).map(drop).map_err(|error| Malformed(error.to_string())),
            Publish::V5(publish) => Ok(publish.write(bytes).map(drop)?),
        }
    }
}

/// Writes CONNECT behind `bytes`, with a keep-alive time in seconds, and how many publishes to the client may be without
/// PUBACK.
pub(super) fn write_connect(
    options: &Options,
    keep_alive: u16,
    receive_max: Option<u16>,
    bytes: &mut BytesMut,
) -> Result<(), Malformed> {
    let Options { client_id, last_will, .. } = options;
    match options.version {
        Version::V3_1_1 => {
            let mut connect = Connect::new(client_id);
            connect.keep_alive = keep_alive;
            connect.last_will = last_will
                .as_ref()
                .map(|will| LastWill::new(&will.topic, will.payload.as_str(), qos_v4(will.qos), will.retain));
            connect.write(bytes).map(drop).map_err(|error| Malformed(error.to_string()))
        }
        Version::V5 => {
            let properties = v5::ConnectProperties {
                receive_maximum: receive_max,
                max_packet_size: Some(MAX_PACKET as u32),
                ..Default::default()
            };
            let connect = v5::Connect {
                keep_alive,
                client_id: client_id.clone(),
                clean_start: true,
                properties: Some(properties),
            };
            let will = last_will
                .as_ref()
                .map(|will| v5::LastWill::new(&will.topic, will.payload.as_str(), qos_v5(will.qos), will.retain, None));
            Ok(connect.write(&will, &None, bytes).map(drop)?)
        }
    }
}

/// PINGREQ, in either version.
pub(super) const PING: &[u8] = &[0xc0, 0];

/// DISCONNECT without a word, which in MQTT 5 stands for "normal disconnection".
pub(super) const DISCONNECT: &[u8] = &[0xe0, 0];

/// Takes the next packet from `bytes`, if it is there in full.
pub(super) fn read(version: Version, bytes: &mut BytesMut) -> Result<Option<Incoming>, Malformed> {
    let Some((head, length)) = frame(bytes)? else { return Ok(None) };
    if bytes.len() < head + length {
        return Ok(None);
    }
    let kind = bytes[0];
    let mut body = bytes.split_to(head + length).freeze();
    body.advance(head);
    let incoming = match (kind, version) {
        (0x20, Version::V3_1_1) => connack_v4(&body)?,
        (0x20, Version::V5) => connack_v5(body)?,
        (0x40, _) => puback(body)?,
        (0x30..=0x3f, _) => Incoming::Published(subscription::published(version, kind, body)?),
        (0x90, _) => {
            let (packet_id, answers) = subscription::suback(version, body)?;
            Incoming::SubAck { packet_id, answers }
        }
        (0xb0, _) => Incoming::UnsubAck { packet_id: subscription::unsuback(body)? },
        (0xd0, _) => Incoming::Pong,
        (0xe0, Version::V5) => Incoming::Disconnect(disconnect(body)?),
        (kind, _) => return Err(Malformed(format!("it sent a packet of the kind {:#04x}", kind >> 4))),
    };
    Ok(Some(incoming))
}

/// The bytes before and after the length of the packet at the beginning of `bytes` (MQTT 5.0, section 2.1.4).
fn frame(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let mut length = 0;
    for (index, byte) in bytes.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return match length {
                0..=MAX_PACKET => Ok(Some((index + 2, length))),
                _ => Err(Malformed(format!("it sent a packet of {length} bytes"))),
            };
        }
    }
    if bytes.len() >= 5 { Err(Malformed("it sent a packet without a length".into())) } else { Ok(None) }
}

fn connack_v4(body: &[u8]) -> Result<Incoming, Malformed> {
    match body {
        [_, 0] => Ok(Incoming::Accepted(Limits::default())),
        [_, code] => Ok(Incoming::RefusedV4(*code)),
        _ => Err(Malformed("its CONNACK has another length".into())),
    }
}

fn connack_v5(mut body: Bytes) -> Result<Incoming, Malformed> {
    let (Some(_flags), Some(code)) = (take(&mut body), take(&mut body)) else {
        return Err(Malformed("its CONNACK has another length".into()));
    };
    // A broker of another version answers in its own.
    if body.is_empty() && code == 1 {
        return Ok(Incoming::Refused(Reason::UNSUPPORTED_VERSION.into()));
    }
    let properties = if body.is_empty() { None } else { v5::ConnAckProperties::read(&mut body)? };
    if code == 0 {
        let limits = properties.map(Limits::try_from).transpose()?;
        return Ok(Incoming::Accepted(limits.unwrap_or_default()));
    }
    let (words, server) = properties.map(|found| (found.reason_string, found.server_reference)).unwrap_or_default();
    Ok(Incoming::Refused(ServerReason { reason: Reason(code), words, server }))
}

fn puback(mut body: Bytes) -> Result<Incoming, Malformed> {
    if body.len() < 2 {
        return Err(Malformed("its PUBACK has no packet identifier".into()));
    }
    let packet_id = body.get_u16();
    let reason = take(&mut body).map_or(Reason::SUCCESS, Reason);
    let properties = if body.is_empty() { None } else { v5::PubAckProperties::read(&mut body)? };
    let words = properties.and_then(|properties| properties.reason_string);
    Ok(Incoming::PubAck { packet_id, answer: ServerReason { reason, words, server: None } })
}

fn disconnect(mut body: Bytes) -> Result<ServerReason, Malformed> {
    let reason = take(&mut body).map_or(Reason::SUCCESS, Reason);
    let properties = if body.is_empty() { None } else { v5::DisconnectProperties::extract(&mut body)? };
    let (words, server) = properties.map(|found| (found.reason_string, found.server_reference)).unwrap_or_default();
    Ok(ServerReason { reason, words, server })
}

fn take(bytes: &mut Bytes) -> Option<u8> {
    (!bytes.is_empty()).then(|| bytes.get_u8())
}

pub(super) fn qos_v4(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
    }
}

pub(super) fn qos_v5(qos: Qos) -> rumqttc::v5::mqttbytes::QoS {
    use rumqttc::v5::mqttbytes::QoS;
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
    }
}

#[cfg(test)]
mod tests;
