//! Any bytes at all, as what a broker sends.

use bytes::BytesMut;

use super::wire::{self, Incoming, ServerReason};
use crate::config::Version;
use crate::mqtt::MAX_PACKET;

/// Packets read, and the fault that ends them.
type Outcome = (Vec<Incoming>, Option<String>);

/// Reads `bytes` in either version: all at once, and byte by byte.
pub fn read(bytes: &[u8]) {
    for version in [Version::V3_1_1, Version::V5] {
        let at_once = read_in_pieces(version, bytes, bytes.len().max(1));
        assert_eq!(at_once, read_in_pieces(version, bytes, 1), "{version:?}");
        for answer in at_once.0.iter().filter_map(answer) {
            assert!(!answer.to_string().contains(char::is_control), "{answer:?}");
        }
        assert!(at_once.1.is_none_or(|fault| !fault.contains(char::is_control)));
    }
}

fn read_in_pieces(version: Version, bytes: &[u8], piece: usize) -> Outcome {
    let (mut unread, mut packets) = (BytesMut::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        unread.extend_from_slice(piece);
        loop {
            let before = unread.len();
            match wire::read(version, &mut unread) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => {
                    assert_eq!(unread.len(), before, "what is not whole stays");
                    assert!(before < MAX_PACKET + 5, "more than a packet is kept");
                    break;
                }
                Err(fault) => return (packets, Some(fault.0)),
            }
            assert!(unread.len() < before, "a packet has bytes");
        }
    }
    (packets, None)
}

/// What of a packet is shown to people.
fn answer(packet: &Incoming) -> Option<&ServerReason> {
    match packet {
        Incoming::Refused(answer) | Incoming::Disconnect(answer) | Incoming::PubAck { answer, .. } => Some(answer),
        _ => None,
    }
}
