//! What it takes to hear something: SUBSCRIBE and UNSUBSCRIBE, their acknowledgements, what is published to the bridge, and
//! the acknowledgement of that, in either version.

use bytes::{Buf, Bytes, BytesMut};
use rumqttc::v5::mqttbytes::v5;
use rumqttc::{Subscribe, SubscribeFilter, Unsubscribe};

use super::arrival::{Properties, Published};
use super::reason::Reason;
use super::wire::{Malformed, qos_v4, qos_v5};
use crate::config::{Qos, Version};

/// Writes SUBSCRIBE behind `bytes`.
pub(super) fn write_subscribe(
    version: Version,
    packet_id: u16,
    filters: &[(&str, Qos)],
    bytes: &mut BytesMut,
) -> Result<(), Malformed> {
    match version {
        Version::V3_1_1 => {
            let filter = |(filter, qos): &(&str, Qos)| SubscribeFilter::new((*filter).to_owned(), qos_v4(*qos));
            let subscribe = Subscribe { pkid: packet_id, filters: filters.iter().map(filter).collect() };
            subscribe.write(bytes).map(drop).map_err(|error| Malformed(error.to_string()))
        }
        Version::V5 => {
            let filter = |(filter, qos): &(&str, Qos)| v5::Filter::new(*filter, qos_v5(*qos));
            let mut subscribe = v5::Subscribe::new_many(filters.iter().map(filter), None);
            subscribe.pkid = packet_id;
            Ok(subscribe.write(bytes).map(drop)?)
        }
    }
}

/// Writes UNSUBSCRIBE behind `bytes`.
pub(super) fn write_unsubscribe(
    version: Version,
    packet_id: u16,
    filters: &[&str],
    bytes: &mut BytesMut,
) -> Result<(), Malformed> {
    let topics = filters.iter().map(|filter| (*filter).to_owned()).collect();
    match version {
        Version::V3_1_1 => {
            let unsubscribe = Unsubscribe { pkid: packet_id, topics };
            unsubscribe.write(bytes).map(drop).map_err(|error| Malformed(error.to_string()))
        }
        Version::V5 => {
            let unsubscribe = v5::Unsubscribe { pkid: packet_id, filters: topics, properties: None };
            Ok(unsubscribe.write(bytes).map(drop)?)
        }
    }
}

/// Reads a SUBACK: the packet identifier, and of each filter in turn the QoS that is granted, or why it is not.
pub(super) fn suback(version: Version, mut body: Bytes) -> Result<(u16, Vec<Result<Qos, Reason>>), Malformed> {
    let packet_id = take_u16(&mut body).ok_or_else(|| cut_off("SUBACK"))?;
    if version == Version::V5 {
        take_properties(&mut body).ok_or_else(|| cut_off("SUBACK"))?;
    }
    // The codes of both versions are failures from 0x80 on; 3.1.1 has this one alone. Nobody asks for QoS 2.
    let answer = |code: &u8| match code {
        0 => Ok(Qos::AtMostOnce),
        1..0x80 => Ok(Qos::AtLeastOnce),
        code => Err(Reason(*code)),
    };
    Ok((packet_id, body.iter().map(answer).collect()))
}

/// Reads an UNSUBACK: the packet identifier. What becomes of the filters is of no use.
pub(super) fn unsuback(mut body: Bytes) -> Result<u16, Malformed> {
    take_u16(&mut body).ok_or_else(|| cut_off("UNSUBACK"))
}

/// Reads a PUBLISH whose first byte is `kind`.
pub(super) fn published(version: Version, kind: u8, mut body: Bytes) -> Result<Published, Malformed> {
    let cut_off = || cut_off("PUBLISH");
    let length = take_u16(&mut body).ok_or_else(cut_off)?;
    if body.len() < usize::from(length) {
        return Err(cut_off());
    }
    let topic = body.split_to(usize::from(length));
    let topic = std::str::from_utf8(&topic).map_err(|_| Malformed("it sent a topic that is no UTF-8".into()))?;
    let packet_id = match (kind >> 1) & 3 {
        0 => None,
        1 => Some(take_u16(&mut body).ok_or_else(cut_off)?),
        _ => return Err(Malformed("it sent a publish with QoS 2, which nobody asked for".into())),
    };
    let properties = match version {
        Version::V3_1_1 => Properties::default(),
        Version::V5 => properties(take_properties(&mut body).ok_or_else(cut_off)?)?,
    };
    Ok(Published { topic: topic.to_owned(), payload: body, retain: kind & 1 == 1, properties, packet_id })
}

/// Writes the PUBACK for the packet of that identifier behind `bytes`, with its reason if `version` has words for it.
pub(super) fn write_puback(version: Version, packet_id: u16, reason: Reason, bytes: &mut BytesMut) {
    let [high, low] = packet_id.to_be_bytes();
    match version {
        Version::V5 if reason != Reason::SUCCESS => bytes.extend_from_slice(&[0x40, 3, high, low, reason.0]),
        Version::V3_1_1 | Version::V5 => bytes.extend_from_slice(&[0x40, 2, high, low]),
    }
}

fn cut_off(packet: &str) -> Malformed {
    Malformed(format!("its {packet} is cut off"))
}

fn take_u16(bytes: &mut Bytes) -> Option<u16> {
    (bytes.len() >= 2).then(|| bytes.get_u16())
}

/// Takes the properties of MQTT 5, which begin with their length (MQTT 5.0, section 2.2.2).
fn take_properties(bytes: &mut Bytes) -> Option<Bytes> {
    let length = take_length(bytes)?;
    (bytes.len() >= length).then(|| bytes.split_to(length))
}

/// A number in up to four bytes (MQTT 5.0, section 1.5.5).
fn take_length(bytes: &mut Bytes) -> Option<usize> {
    let mut length = 0;
    for index in 0..4 {
        let byte = (!bytes.is_empty()).then(|| bytes.get_u8())?;
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some(length);
        }
    }
    None
}

/// Bytes after their length.
fn take_binary(bytes: &mut Bytes) -> Option<Bytes> {
    let length = take_u16(bytes)?.into();
    (bytes.len() >= length).then(|| bytes.split_to(length))
}

fn take_text(bytes: &mut Bytes) -> Option<String> {
    String::from_utf8(take_binary(bytes)?.into()).ok()
}

/// Reads the properties of a PUBLISH (MQTT 5.0, section 3.3.2.3).
fn properties(mut bytes: Bytes) -> Result<Properties, Malformed> {
    let mut properties = Properties::default();
    while !bytes.is_empty() {
        let read = match bytes.get_u8() {
            0x02 => (bytes.len() >= 4).then(|| properties.expires_in = Some(bytes.get_u32())),
            0x03 => take_text(&mut bytes).map(|text| properties.content_type = Some(text)),
            0x08 => take_text(&mut bytes).map(|text| properties.response_topic = Some(text)),
            0x09 => take_binary(&mut bytes).map(|data| properties.correlation_data = Some(data)),
            // Whether the payload is text, a subscription's identifier, and what the publisher adds for itself.
            0x01 => (!bytes.is_empty()).then(|| bytes.advance(1)),
            0x0b => take_length(&mut bytes).map(drop),
            0x26 => take_binary(&mut bytes).and_then(|_| take_binary(&mut bytes)).map(drop),
            // Topic aliases (0x23) are not taken.
            _ => None,
        };
        read.ok_or_else(|| Malformed("it sent a publish with properties that can't be read".into()))?;
    }
    Ok(properties)
}

#[cfg(test)]
mod tests {
    use rumqttc::Packet;

    use super::super::wire::{Incoming, read};
    use super::*;

    const VERSIONS: [Version; 2] = [Version::V3_1_1, Version::V5];

    /// rumqttc's codecs read what is asked, and what they write as a broker would is understood.
    #[test]
    fn both_versions_are_spoken_and_understood() {
        for version in VERSIONS {
            let mut bytes = BytesMut::new();
            let wanted = [("a/b", Qos::AtLeastOnce), ("c/#", Qos::AtMostOnce)];
            write_subscribe(version, 7, &wanted, &mut bytes).unwrap();
            let filters: Vec<(String, u8)> = match version {
                Version::V3_1_1 => match Packet::read(&mut bytes, 1000).unwrap() {
                    Packet::Subscribe(read) => {
                        read.filters.into_iter().map(|filter| (filter.path, filter.qos as u8)).collect()
                    }
                    other => panic!("{other:?}"),
                },
                Version::V5 => match v5::Packet::read(&mut bytes, None).unwrap() {
                    v5::Packet::Subscribe(read) => {
                        read.filters.into_iter().map(|filter| (filter.path, filter.qos as u8)).collect()
                    }
                    other => panic!("{other:?}"),
                },
            };
            assert_eq!(filters, [("a/b".to_owned(), 1), ("c/#".to_owned(), 0)]);
            let properties: &[u8] = if version == Version::V5 { &[3, 0x1f, 0, 0] } else { &[] };
            let body = [&[0, 7], properties, &[1, 0, 0x80, 0x87]].concat();
            let answers =
                vec![Ok(Qos::AtLeastOnce), Ok(Qos::AtMostOnce), Err(Reason::UNSPECIFIED), Err(Reason::NOT_AUTHORIZED)];
            assert_eq!(suback(version, body.into()).unwrap(), (7, answers));
            assert_eq!(suback(version, [&[0, 7], properties].concat().into()).unwrap(), (7, Vec::new()));

            let mut bytes = BytesMut::new();
            write_unsubscribe(version, 8, &["a/b", "c/#"], &mut bytes).unwrap();
            let filters = match version {
                Version::V3_1_1 => match Packet::read(&mut bytes, 1000).unwrap() {
                    Packet::Unsubscribe(read) => read.topics,
                    other => panic!("{other:?}"),
                },
                Version::V5 => match v5::Packet::read(&mut bytes, None).unwrap() {
                    v5::Packet::Unsubscribe(read) => read.filters,
                    other => panic!("{other:?}"),
                },
            };
            assert_eq!(filters, ["a/b", "c/#"]);
            assert_eq!(unsuback([&[0, 8], properties, &[0, 0]].concat().into()).unwrap(), 8);

            let properties: &[u8] = if version == Version::V5 { &[5, 0x02, 0, 0, 0, 9] } else { &[] };
            let brought =
                |packet_id: &[u8]| Bytes::from([&[0, 3], &b"a/b"[..], packet_id, properties, b"xyz"].concat());
            let expected = |retain, packet_id| Published {
                topic: "a/b".into(),
                payload: Bytes::from_static(b"xyz"),
                retain,
                properties: Properties { expires_in: (version == Version::V5).then_some(9), ..Properties::default() },
                packet_id,
            };
            assert_eq!(published(version, 0x30, brought(&[])).unwrap(), expected(false, None));
            assert_eq!(published(version, 0x3b, brought(&[1, 2])).unwrap(), expected(true, Some(258)));
            assert!(published(version, 0x34, brought(&[1, 2])).is_err(), "QoS 2");
        }
        for (version, reason, expected) in [
            (Version::V3_1_1, Reason::QUOTA_EXCEEDED, &[0x40, 2, 1, 2][..]),
            (Version::V5, Reason::SUCCESS, &[0x40, 2, 1, 2]),
            (Version::V5, Reason::QUOTA_EXCEEDED, &[0x40, 3, 1, 2, 0x97]),
        ] {
            let mut written = BytesMut::new();
            write_puback(version, 258, reason, &mut written);
            assert_eq!(written, expected);
        }
    }

    /// What rumqttc's codec of MQTT 5 writes beside a payload is read, and what does not concern the bridge is passed over.
    #[test]
    fn properties_are_read() {
        let written = v5::PublishProperties {
            payload_format_indicator: Some(1),
            message_expiry_interval: Some(70_000),
            topic_alias: None,
            response_topic: Some("robots/1/reply".into()),
            correlation_data: Some(Bytes::from_static(&[0, 0xff])),
            user_properties: vec![("name".into(), "value".into())],
            subscription_identifiers: vec![300],
            content_type: Some("application/json".into()),
        };
        let publish = v5::Publish {
            dup: false,
            qos: qos_v5(Qos::AtLeastOnce),
            pkid: 258,
            retain: false,
            topic: "a/b".into(),
            properties: Some(written),
            payload: Bytes::from_static(b"xyz"),
        };
        let mut bytes = BytesMut::new();
        publish.write(&mut bytes).unwrap();
        let Ok(Some(Incoming::Published(read))) = read(Version::V5, &mut bytes) else { panic!("no PUBLISH") };
        let expected = Properties {
            response_topic: Some("robots/1/reply".into()),
            correlation_data: Some(Bytes::from_static(&[0, 0xff])),
            content_type: Some("application/json".into()),
            expires_in: Some(70_000),
        };
        assert_eq!((read.properties, read.packet_id, &*read.payload), (expected, Some(258), &b"xyz"[..]));
    }

    /// Properties that are cut off, that are none of a PUBLISH, or whose text is no UTF-8, are refused.
    #[test]
    fn broken_properties_are_malformed() {
        let broken: [&[u8]; 8] = [
            &[0x02, 0, 0, 1],
            &[0x03, 0, 2, b'a'],
            &[0x08, 0, 1, 0xff],
            &[0x09, 0, 1],
            &[0x0b, 0xff, 0xff],
            &[0x26, 0, 1, b'a', 0, 1],
            &[0x23, 0, 1],
            &[0x7f],
        ];
        for bytes in broken {
            assert!(properties(Bytes::from_static(bytes)).is_err(), "{bytes:?}");
            let body = [&[0, 1, b'a', bytes.len() as u8], bytes, b"x"].concat();
            assert!(published(Version::V5, 0x30, body.into()).is_err(), "{bytes:?}");
        }
        assert_eq!(properties(Bytes::new()).unwrap(), Properties::default());
    }

    /// Packets that end too early are refused, and nothing is read beyond them.
    #[test]
    fn what_is_cut_off_is_malformed() {
        let whole = [&[0, 3][..], b"a/b", &[1, 2], &[2, 0x01, 1]].concat();
        for version in VERSIONS {
            let least = if version == Version::V5 { whole.len() } else { 7 };
            for length in 0..whole.len() {
                let read = published(version, 0x32, Bytes::copy_from_slice(&whole[..length]));
                assert_eq!(read.is_ok(), length >= least, "{version:?} {length}");
            }
            for body in [&[][..], &[0]] {
                assert!(suback(version, Bytes::copy_from_slice(body)).is_err());
            }
        }
        assert!(suback(Version::V5, Bytes::from_static(&[0, 7, 0xff, 0xff, 0xff, 0xff, 1])).is_err());
        assert!(published(Version::V3_1_1, 0x30, Bytes::from_static(&[0, 1, 0xff])).is_err(), "no UTF-8");
    }
}
