//! MQTT 3.1.1 and 5 as one, on the codecs of rumqttc.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rumqttc::v5::mqttbytes::v5;
use rumqttc::{ConnAck, ConnectReturnCode, Packet, PubAck, QoS, SubAck, SubscribeReasonCode, UnsubAck, mqttbytes};

use super::limits::Limits;
use super::record::Properties;
use super::{Message, WithoutMqtt5};

/// The version that a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    V4,
    V5,
}

/// What a client has sent.
#[derive(Debug)]
pub enum Received {
    Connect(Connect),
    Publish(Publish),
    PubAck(u16, v5::PubAckReason),
    Subscribe { packet_id: u16, filters: Vec<(String, u8)> },
    Unsubscribe { packet_id: u16, filters: Vec<String> },
    Ping,
    Disconnect,
}

#[derive(Debug)]
pub struct Connect {
    pub client_id: String,
    pub keep_alive: u16,
    /// Only in MQTT 5: what it takes without having acknowledged it.
    pub receive_maximum: Option<u16>,
    pub will: Option<Will>,
}

#[derive(Debug, Clone)]
pub struct Will {
    pub topic: String,
    pub payload: Bytes,
    pub retain: bool,
}

#[derive(Debug)]
pub struct Publish {
    pub topic: String,
    pub payload: Bytes,
    pub packet_id: u16,
    pub qos: u8,
    pub retain: bool,
    /// Bytes of the packet.
    pub size: usize,
    pub alias: Option<u16>,
    pub properties: Properties,
}

/// What the broker sends.
#[derive(Debug)]
pub enum Answer {
    Welcome {
        keep_alive: Duration,
    },
    Refused(Refusal),
    PubAck {
        packet_id: u16,
        reason: v5::PubAckReason,
    },
    SubAck {
        packet_id: u16,
        /// The QoS of each filter; `None` for one that is not allowed.
        granted: Vec<Option<u8>>,
    },
    UnsubAck {
        packet_id: u16,
        count: usize,
    },
    Pong,
    Message {
        message: Message,
        /// With QoS 1.
        packet_id: Option<u16>,
    },
    /// MQTT 5 alone: why the connection is closed.
    Goodbye(v5::DisconnectReasonCode),
}

/// How a CONNECT is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The connection is closed without a CONNACK.
    Silently,
    BadClientId,
    NotAuthorized,
    Unavailable,
    WithoutMqtt5(WithoutMqtt5),
}

/// The bytes are no MQTT, or the packet is over the limit.
#[derive(Debug)]
pub struct Malformed {
    pub too_large: bool,
}

impl Wire {
    /// The version of the CONNECT at the beginning of `bytes`, once enough has come.
    pub fn of(bytes: &[u8]) -> Option<Wire> {
        let length = 1 + bytes.get(1..)?.iter().position(|byte| byte & 0x80 == 0)? + 1;
        // Behind the fixed header: the length of the protocol's name, the name, its level.
        let level = *bytes.get(length + 6)?;
        Some(if level == 5 { Wire::V5 } else { Wire::V4 })
    }

    /// Takes the next packet from `bytes`, if it is there in full.
    pub fn read(self, bytes: &mut BytesMut, limits: &Limits) -> Result<Option<Received>, Malformed> {
        let before = bytes.len();
        match self {
            Wire::V4 => match Packet::read(bytes, limits.packet) {
                Ok(packet) => from_v4(packet, before - bytes.len()).map(Some),
                Err(mqttbytes::Error::InsufficientBytes(_)) => Ok(None),
                Err(error) => {
                    Err(Malformed { too_large: matches!(error, mqttbytes::Error::PayloadSizeLimitExceeded(_)) })
                }
            },
            Wire::V5 if bytes.starts_with(&[0xe0, 0]) => Ok(Some(Received::Disconnect)),
            Wire::V5 => match v5::Packet::read(bytes, Some(limits.packet as u32)) {
                Ok(packet) => from_v5(packet, before - bytes.len()).map(Some),
                Err(rumqttc::v5::mqttbytes::Error::InsufficientBytes(_)) => Ok(None),
                Err(error) => Err(Malformed {
                    too_large: matches!(error, rumqttc::v5::mqttbytes::Error::PayloadSizeLimitExceeded { .. }),
                }),
            },
        }
    }

    /// Writes `answer` behind `bytes`; nothing, if the version has no word for it.
    pub fn write(self, answer: Answer, limits: &Limits, bytes: &mut BytesMut) {
        let in_mqtt3 = matches!(answer, Answer::Refused(Refusal::WithoutMqtt5(WithoutMqtt5::InMqtt3)));
        match self {
            _ if in_mqtt3 => bytes.extend_from_slice(&[0x20, 2, 0, 1]),
            Wire::V4 => {
                if let Some(packet) = to_v4(answer) {
                    packet.write(bytes, usize::MAX).unwrap();
                }
            }
            Wire::V5 => {
                if let Some(packet) = to_v5(answer, limits) {
                    packet.write(bytes, None).unwrap();
                }
            }
        }
    }
}

fn from_v4(packet: Packet, size: usize) -> Result<Received, Malformed> {
    Ok(match packet {
        Packet::Connect(connect) => Received::Connect(Connect {
            client_id: connect.client_id,
            keep_alive: connect.keep_alive,
            receive_maximum: None,
            will: connect.last_will.map(|will| Will { topic: will.topic, payload: will.message, retain: will.retain }),
        }),
        Packet::Publish(publish) => Received::Publish(Publish {
            topic: publish.topic,
            payload: publish.payload,
            packet_id: publish.pkid,
            qos: publish.qos as u8,
            retain: publish.retain,
            size,
            alias: None,
            properties: Properties::default(),
        }),
        Packet::PubAck(ack) => Received::PubAck(ack.pkid, v5::PubAckReason::Success),
        Packet::Subscribe(subscribe) => Received::Subscribe {
            packet_id: subscribe.pkid,
            filters: subscribe.filters.into_iter().map(|filter| (filter.path, filter.qos as u8)).collect(),
        },
        Packet::Unsubscribe(unsubscribe) => {
            Received::Unsubscribe { packet_id: unsubscribe.pkid, filters: unsubscribe.topics }
        }
        Packet::PingReq => Received::Ping,
        Packet::Disconnect => Received::Disconnect,
        _ => return Err(Malformed { too_large: false }),
    })
}

fn from_v5(packet: v5::Packet, size: usize) -> Result<Received, Malformed> {
    let text = |bytes: Bytes| String::from_utf8(bytes.into()).map_err(|_| Malformed { too_large: false });
    Ok(match packet {
        v5::Packet::Connect(connect, will, _login) => {
            let will = match will {
                Some(will) => Some(Will { topic: text(will.topic)?, payload: will.message, retain: will.retain }),
                None => None,
            };
            let receive_maximum = connect.properties.and_then(|properties| properties.receive_maximum);
            let (client_id, keep_alive) = (connect.client_id, connect.keep_alive);
            Received::Connect(Connect { client_id, keep_alive, receive_maximum, will })
        }
        v5::Packet::Publish(publish) => {
            let given = publish.properties.unwrap_or_default();
            Received::Publish(Publish {
                topic: text(publish.topic)?,
                payload: publish.payload,
                packet_id: publish.pkid,
                qos: publish.qos as u8,
                retain: publish.retain,
                size,
                alias: given.topic_alias,
                properties: Properties {
                    by_alias: false,
                    message_expiry: given.message_expiry_interval,
                    content_type: given.content_type,
                    user: given.user_properties,
                    response_topic: given.response_topic,
                    correlation_data: given.correlation_data,
                },
            })
        }
        v5::Packet::PubAck(ack) => Received::PubAck(ack.pkid, ack.reason),
        v5::Packet::Subscribe(subscribe) => Received::Subscribe {
            packet_id: subscribe.pkid,
            filters: subscribe.filters.into_iter().map(|filter| (filter.path, filter.qos as u8)).collect(),
        },
        v5::Packet::Unsubscribe(unsubscribe) => {
            Received::Unsubscribe { packet_id: unsubscribe.pkid, filters: unsubscribe.filters }
        }
        v5::Packet::PingReq(_) => Received::Ping,
        v5::Packet::Disconnect(_) => Received::Disconnect,
        _ => return Err(Malformed { too_large: false }),
    })
}

fn to_v4(answer: Answer) -> Option<Packet> {
    Some(match answer {
        Answer::Welcome { .. } => Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, false)),
        Answer::Refused(refusal) => {
            let code = match refusal {
                Refusal::Silently | Refusal::WithoutMqtt5(WithoutMqtt5::Silently) => return None,
                Refusal::WithoutMqtt5(_) => ConnectReturnCode::RefusedProtocolVersion,
                Refusal::BadClientId => ConnectReturnCode::BadClientId,
                Refusal::NotAuthorized => ConnectReturnCode::NotAuthorized,
                Refusal::Unavailable => ConnectReturnCode::ServiceUnavailable,
            };
            Packet::ConnAck(ConnAck::new(code, false))
        }
        Answer::PubAck { packet_id, .. } => Packet::PubAck(PubAck::new(packet_id)),
        Answer::SubAck { packet_id, granted } => {
            let code = |granted: Option<u8>| match granted {
                Some(0) => SubscribeReasonCode::Success(QoS::AtMostOnce),
                Some(_) => SubscribeReasonCode::Success(QoS::AtLeastOnce),
                None => SubscribeReasonCode::Failure,
            };
            Packet::SubAck(SubAck::new(packet_id, granted.into_iter().map(code).collect()))
        }
        Answer::UnsubAck { packet_id, .. } => Packet::UnsubAck(UnsubAck::new(packet_id)),
        Answer::Pong => Packet::PingResp,
        Answer::Message { message, packet_id } => {
            let qos = if packet_id.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce };
            let mut publish = rumqttc::Publish::from_bytes(message.topic, qos, message.payload);
            (publish.pkid, publish.retain) = (packet_id.unwrap_or(0), message.retain);
            Packet::Publish(publish)
        }
        Answer::Goodbye(_) => return None,
    })
}

fn to_v5(answer: Answer, limits: &Limits) -> Option<v5::Packet> {
    let refused = |code| v5::Packet::ConnAck(v5::ConnAck { session_present: false, code, properties: None });
    Some(match answer {
        Answer::Welcome { keep_alive } => v5::Packet::ConnAck(v5::ConnAck {
            session_present: false,
            code: v5::ConnectReturnCode::Success,
            properties: Some(welcome(keep_alive, limits)),
        }),
        Answer::Refused(Refusal::Silently | Refusal::WithoutMqtt5(WithoutMqtt5::Silently)) => return None,
        Answer::Refused(Refusal::WithoutMqtt5(_)) => refused(v5::ConnectReturnCode::UnsupportedProtocolVersion),
        Answer::Refused(Refusal::BadClientId) => refused(v5::ConnectReturnCode::ClientIdentifierNotValid),
        Answer::Refused(Refusal::NotAuthorized) => refused(v5::ConnectReturnCode::NotAuthorized),
        Answer::Refused(Refusal::Unavailable) => refused(v5::ConnectReturnCode::ServerUnavailable),
        Answer::PubAck { packet_id, reason } => {
            let mut ack = v5::PubAck::new(packet_id, None);
            ack.reason = reason;
            v5::Packet::PubAck(ack)
        }
        Answer::SubAck { packet_id, granted } => {
            let code = |granted: Option<u8>| match granted {
                Some(0) => v5::SubscribeReasonCode::Success(rumqttc::v5::mqttbytes::QoS::AtMostOnce),
                Some(_) => v5::SubscribeReasonCode::Success(rumqttc::v5::mqttbytes::QoS::AtLeastOnce),
                None => v5::SubscribeReasonCode::NotAuthorized,
            };
            let return_codes = granted.into_iter().map(code).collect();
            v5::Packet::SubAck(v5::SubAck { pkid: packet_id, return_codes, properties: None })
        }
        Answer::UnsubAck { packet_id, count } => v5::Packet::UnsubAck(v5::UnsubAck {
            pkid: packet_id,
            reasons: vec![v5::UnsubAckReason::Success; count],
            properties: None,
        }),
        Answer::Pong => v5::Packet::PingResp(v5::PingResp),
        Answer::Message { message, packet_id } => {
            use rumqttc::v5::mqttbytes::QoS;
            let properties = v5::PublishProperties {
                response_topic: message.response_topic,
                correlation_data: message.correlation_data,
                content_type: message.content_type,
                message_expiry_interval: message.expires_in,
                ..Default::default()
            };
            let qos = if packet_id.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce };
            let mut publish = v5::Publish::new(message.topic, qos, message.payload, Some(properties));
            (publish.pkid, publish.retain) = (packet_id.unwrap_or(0), message.retain);
            v5::Packet::Publish(publish)
        }
        Answer::Goodbye(reason) => v5::Packet::Disconnect(v5::Disconnect::new(reason)),
    })
}

/// The CONNACK that a user of the service has logged.
fn welcome(keep_alive: Duration, limits: &Limits) -> v5::ConnAckProperties {
    v5::ConnAckProperties {
        session_expiry_interval: None,
        receive_max: Some(limits.unacknowledged as u16),
        max_qos: Some(1),
        retain_available: Some(1),
        max_packet_size: Some(limits.packet as u32),
        assigned_client_identifier: None,
        topic_alias_max: Some(limits.topic_aliases),
        reason_string: None,
        user_properties: Vec::new(),
        wildcard_subscription_available: Some(1),
        subscription_identifiers_available: Some(0),
        shared_subscription_available: Some(1),
        server_keep_alive: Some(keep_alive.as_secs() as u16),
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    }
}
