//! The JSON object around a message that says where it comes from.

use crate::codec::{Full, JsonBuffer};
use crate::config::UNNAMED;

/// What stands in an envelope apart from the message, times in nanoseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamps {
    pub(super) seq: u64,
    pub(super) source_ns: i64,
    pub(super) received_ns: i64,
}

/// The envelope of one topic, `thing` being `null` as long as it has no name: `{"thing":…,"topic":…,"type":…,"seq":…,"stamp":…,"received":…,"msg":…}`.
#[derive(Debug)]
pub(super) struct Envelope {
    /// Everything before the value of `seq`, which is the same for all messages.
    head: Vec<u8>,
}

impl Envelope {
    pub(super) fn new(thing: &str, topic: &str, type_name: &str) -> Self {
        let mut head = JsonBuffer::new(usize::MAX);
        let member = |head: &mut JsonBuffer, before: &[u8], text: &str| -> Result<(), Full> {
            head.put(before)?;
            head.put_text(text)
        };
        let first = match thing {
            // A robot that is not provisioned yet does not know its name.
            UNNAMED => head.put(br#"{"thing":null"#),
            name => member(&mut head, br#"{"thing":"#, name),
        };
        first
            .and_then(|()| member(&mut head, br#","topic":"#, topic))
            .and_then(|()| member(&mut head, br#","type":"#, type_name))
            .and_then(|()| head.put(br#","seq":"#))
            .expect("the buffer has no limit");
        Envelope { head: head.as_bytes().to_vec() }
    }

    /// Writes what comes before the message.
    pub(super) fn open(&self, stamps: Stamps, out: &mut JsonBuffer) -> Result<(), Full> {
        out.put(&self.head)?;
        out.put_integer(stamps.seq)?;
        out.put(br#","stamp":"#)?;
        out.put_integer(stamps.source_ns)?;
        out.put(br#","received":"#)?;
        out.put_integer(stamps.received_ns)?;
        out.put(br#","msg":"#)
    }

    /// Writes what comes after the message.
    pub(super) fn close(&self, out: &mut JsonBuffer) -> Result<(), Full> {
        out.put(b"}")
    }
}
