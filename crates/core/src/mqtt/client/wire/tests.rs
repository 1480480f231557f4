use super::*;

fn read_v5(bytes: &[u8]) -> Result<Option<Incoming>, Malformed> {
    read(Version::V5, &mut BytesMut::from(bytes))
}

/// A reason without properties, with none, and left out: all three are allowed, and brokers write each.
#[test]
fn reasons_come_in_three_lengths() {
    for (packet, reason) in [
        (&[0xe0, 0][..], Reason::SUCCESS),
        (&[0xe0, 1, 0x8e], Reason::SESSION_TAKEN_OVER),
        (&[0xe0, 2, 0x8e, 0], Reason::SESSION_TAKEN_OVER),
    ] {
        assert_eq!(read_v5(packet).unwrap(), Some(Incoming::Disconnect(reason.into())), "{packet:?}");
    }
    for (packet, reason) in [
        (&[0x40, 2, 0, 7][..], Reason::SUCCESS),
        (&[0x40, 3, 0, 7, 0x10], Reason(0x10)),
        (&[0x40, 4, 0, 7, 0x97, 0], Reason::QUOTA_EXCEEDED),
        // No reason of a PUBACK, and said all the same.
        (&[0x40, 3, 0, 7, 0x95], Reason::PACKET_TOO_LARGE),
    ] {
        let expected = Incoming::PubAck { packet_id: 7, answer: reason.into() };
        assert_eq!(read_v5(packet).unwrap(), Some(expected), "{packet:?}");
    }
}

/// What the broker says in its own words, and where it sends the client, is understood.
#[test]
fn words_and_another_server_are_read() {
    let packet = [0xe0, 14, 0x9c, 12, 0x1f, 0, 2, b'g', b'o', 0x1c, 0, 4, b'h', b'o', b's', b't'];
    let answer =
        ServerReason { reason: Reason::USE_ANOTHER_SERVER, words: Some("go".into()), server: Some("host".into()) };
    assert_eq!(read_v5(&packet).unwrap(), Some(Incoming::Disconnect(answer)));
}

/// The CONNACK of AWS IoT Core, and one that says nothing; one in the words of MQTT 3.1.1 to a client of MQTT 5.
#[test]
fn the_connack_tells_the_limits() {
    let properties = [0x21, 0, 100, 0x24, 1, 0x25, 0, 0x27, 0, 2, 0x48, 0, 0x22, 0, 8, 0x13, 4, 176];
    let mut packet = vec![0x20, 3 + properties.len() as u8, 0, 0, properties.len() as u8];
    packet.extend(properties);
    let limits = Limits {
        receive_maximum: 100,
        packet: Some(149_504),
        topic_aliases: 8,
        keep_alive: Some(std::time::Duration::from_secs(1200)),
        qos: Qos::AtLeastOnce,
        retain: false,
    };
    assert_eq!(read_v5(&packet).unwrap(), Some(Incoming::Accepted(limits)));
    assert_eq!(read_v5(&[0x20, 3, 0, 0, 0]).unwrap(), Some(Incoming::Accepted(Limits::default())));
    for nought in [&[0x27, 0, 0, 0, 0][..], &[0x21, 0, 0]] {
        let length = nought.len() as u8;
        let malformed = read_v5(&[&[0x20, 3 + length, 0, 0, length], nought].concat()).unwrap_err();
        assert!(malformed.0.ends_with(" of 0"), "{malformed:?}");
    }
    assert_eq!(read_v5(&[0x20, 2, 0, 1]).unwrap(), Some(Incoming::Refused(Reason::UNSUPPORTED_VERSION.into())));
}

/// Packets come in pieces and several at a time; whatever bytes come, the answer is a packet, a wish for more or a fault.
#[test]
fn bytes_come_as_they_like() {
    let mut bytes = BytesMut::from(&[0xd0, 0, 0x40, 2, 0, 1, 0xe0][..]);
    assert_eq!(read(Version::V5, &mut bytes).unwrap(), Some(Incoming::Pong));
    assert!(matches!(read(Version::V5, &mut bytes), Ok(Some(Incoming::PubAck { packet_id: 1, .. }))));
    assert_eq!(read(Version::V5, &mut bytes).unwrap(), None);
    for first in 0..=255u8 {
        for length in [0, 1, 2, 5, 0x7f] {
            for version in [Version::V3_1_1, Version::V5] {
                for fill in [0, 0x1f, 0x26, 0xff] {
                    let mut packet = vec![first, length];
                    packet.resize(2 + usize::from(length), fill);
                    // Neither panics nor asks for more than is announced.
                    assert!(!matches!(read(version, &mut BytesMut::from(&packet[..])), Ok(None)), "{packet:?}");
                }
            }
        }
    }
    assert!(read_v5(&[0x40, 0xff, 0xff, 0xff, 0xff, 1]).is_err(), "no length");
    assert!(read_v5(&[0x30, 0xff, 0xff, 0xff, 0x7f]).is_err(), "over the limit");
}
