//! What it takes to hear something: SUBSCRIBE, its acknowledgement, what is published to the bridge, and the
//! acknowledgement of that, in either version.

use bytes::{Buf, Bytes, BytesMut};
use rumqttc::v5::mqttbytes::v5;
use rumqttc::{Subscribe, SubscribeFilter};

use super::arrival::Published;
use super::wire::{Malformed, qos_v4, qos_v5};
use crate::config::{Qos, Version};

/// Writes SUBSCRIBE behind `bytes`.
pub(super) fn write_subscribe(
    version: Version,
    packet_id: u16,
    filters: &[&str],
    qos: Qos,
    bytes: &mut BytesMut,
) -> Result<(), Malformed> {
    match version {
        Version::V3_1_1 => {
            let filter = |filter: &&str| SubscribeFilter::new((*filter).to_owned(), qos_v4(qos));
            let subscribe = Subscribe { pkid: packet_id, filters: filters.iter().map(filter).collect() };
            subscribe.write(bytes).map(drop).map_err(|error| Malformed(error.to_string()))
        }
        Version::V5 => {
            let filter = |filter: &&str| v5::Filter::new(*filter, qos_v5(qos));
            let mut subscribe = v5::Subscribe::new_many(filters.iter().map(filter), None);
            subscribe.pkid = packet_id;
            Ok(subscribe.write(bytes).map(drop)?)
        }
    }
}

/// Reads a SUBACK: the packet identifier, and whether every filter was granted.
pub(super) fn suback(version: Version, mut body: Bytes) -> Result<(u16, bool), Malformed> {
    let packet_id = take_u16(&mut body).ok_or_else(|| cut_off("SUBACK"))?;
    if version == Version::V5 {
        skip_properties(&mut body).ok_or_else(|| cut_off("SUBACK"))?;
    }
    // The codes of both versions are failures from 0x80 on.
    Ok((packet_id, !body.is_empty() && body.iter().all(|code| *code < 0x80)))
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
    if version == Version::V5 {
        skip_properties(&mut body).ok_or_else(cut_off)?;
    }
    Ok(Published { topic: topic.to_owned(), payload: body, packet_id })
}

/// PUBACK for the packet of that identifier, in either version.
pub(super) fn puback(packet_id: u16) -> [u8; 4] {
    let [high, low] = packet_id.to_be_bytes();
    [0x40, 2, high, low]
}

fn cut_off(packet: &str) -> Malformed {
    Malformed(format!("its {packet} is cut off"))
}

fn take_u16(bytes: &mut Bytes) -> Option<u16> {
    (bytes.len() >= 2).then(|| bytes.get_u16())
}

/// Passes over the properties of MQTT 5, which begin with their length (MQTT 5.0, section 2.2.2).
fn skip_properties(bytes: &mut Bytes) -> Option<()> {
    let mut length = 0;
    for index in 0..4 {
        let byte = (!bytes.is_empty()).then(|| bytes.get_u8())?;
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return (bytes.len() >= length).then(|| bytes.advance(length));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use rumqttc::Packet;

    use super::*;

    const VERSIONS: [Version; 2] = [Version::V3_1_1, Version::V5];

    /// rumqttc's codecs read what is asked, and what they write as a broker would is understood.
    #[test]
    fn both_versions_are_spoken_and_understood() {
        for version in VERSIONS {
            let mut bytes = BytesMut::new();
            write_subscribe(version, 7, &["a/b", "c/#"], Qos::AtLeastOnce, &mut bytes).unwrap();
            let filters: Vec<String> = match version {
                Version::V3_1_1 => match Packet::read(&mut bytes, 1000).unwrap() {
                    Packet::Subscribe(read) => read.filters.into_iter().map(|filter| filter.path).collect(),
                    other => panic!("{other:?}"),
                },
                Version::V5 => match v5::Packet::read(&mut bytes, None).unwrap() {
                    v5::Packet::Subscribe(read) => read.filters.into_iter().map(|filter| filter.path).collect(),
                    other => panic!("{other:?}"),
                },
            };
            assert_eq!(filters, ["a/b", "c/#"]);
            let properties: &[u8] = if version == Version::V5 { &[3, 0x1f, 0, 0] } else { &[] };
            for (codes, granted) in [(&[1, 0][..], true), (&[1, 0x80], false), (&[], false)] {
                let body = [&[0, 7], properties, codes].concat();
                assert_eq!(suback(version, body.into()).unwrap(), (7, granted));
            }
            let brought =
                |packet_id: &[u8]| Bytes::from([&[0, 3], &b"a/b"[..], packet_id, properties, b"xyz"].concat());
            let expected =
                |packet_id| Published { topic: "a/b".into(), payload: Bytes::from_static(b"xyz"), packet_id };
            assert_eq!(published(version, 0x30, brought(&[])).unwrap(), expected(None));
            assert_eq!(published(version, 0x3b, brought(&[1, 2])).unwrap(), expected(Some(258)));
            assert!(published(version, 0x34, brought(&[1, 2])).is_err(), "QoS 2");
        }
        assert_eq!(puback(258), [0x40, 2, 1, 2]);
    }

    /// Packets that end too early are refused, and nothing is read beyond them.
    #[test]
    fn what_is_cut_off_is_malformed() {
        let whole = [&[0, 3][..], b"a/b", &[1, 2], &[1, 0x1f]].concat();
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
