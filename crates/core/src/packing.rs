//! Packing: what becomes of the records of a topic on their way into publishes. Knows nothing of queue or connection.
//!
//! ```text
//!  records ──► frame: as it is, or a JSON array of several ──► compress: if it is large, and gets smaller ──► payload
//! ```
//!
//! Records are packed when they are sent, so that a batch holds what has come until then. Only one that is too large to
//! be sent without compression is packed [ahead](Packing::pack_ahead), before it is queued.

mod compress;
mod correlation;

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use crate::config::PAYLOAD_LIMIT;
use crate::config::{self, Encoding};
pub use correlation::{Correlated, MOST_CORRELATION};

/// Most bytes of a payload that is compressed, before that: a bound of the time that it takes, and of memory.
pub const COMPRESSIBLE_LIMIT: usize = 1 << 20;

/// The name of the property that tells how a payload is compressed, as HTTP has it: MQTT has none of its own.
pub const CONTENT_ENCODING: &str = "content-encoding";

/// How the records of a topic are packed. By default each is a payload as it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Packing {
    /// What a record is.
    pub content: Content,
    /// Records are JSON values, and a payload is an array of them.
    pub batch: Option<Batch>,
    pub compression: Option<Compression>,
}

/// What a record is, and so is a payload unless it is an array of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Content {
    /// A JSON value.
    #[default]
    Json,
    /// The text of a `std_msgs/msg/String`, whatever it may be.
    Text,
    /// A serialized message.
    Cdr,
    /// The JSON value of a reply, behind the correlation data of the request that it is for: what
    /// [`Correlated::join`] has made. It is neither batched nor compressed, for each has its own.
    Reply,
}

/// How many records travel together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Batch {
    /// Records in a publish, at least 1.
    pub max: usize,
    /// How long a record waits for others, from its admission on.
    pub linger: Duration,
}

/// What is compressed, and how.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Compression {
    pub encoding: Encoding,
    pub when: When,
    /// MQTT topic of what is compressed, if that is another.
    pub topic: Option<String>,
}

/// When a payload is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum When {
    /// When it is sent, if it has more than so many bytes.
    Over(u32),
    /// It has been, before it was queued: the records are payloads as they are sent.
    Ahead,
}

/// A payload as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    pub payload: Bytes,
    /// How it is compressed, if it is.
    pub encoding: Option<Encoding>,
}

impl Compression {
    /// What goes to the topic `mqtt` is compressed; with `suffix` it goes to a topic of its own then.
    pub fn new(encoding: Encoding, when: When, suffix: bool, mqtt: &str) -> Self {
        Compression { encoding, when, topic: suffix.then(|| format!("{mqtt}{}", encoding.suffix())) }
    }
}

impl Packing {
    /// What the configuration says of `topic`, whose messages go to `mqtt`.
    pub fn of(topic: &config::Topic, mqtt: &str) -> Packing {
        let batch = topic.batch.map(|config::Batch { max, linger }| Batch { max: max as usize, linger });
        let over = u32::try_from(topic.compress_over).unwrap_or(u32::MAX);
        let compression = topic
            .compression
            .map(|encoding| Compression::new(encoding, When::Over(over), topic.compression_suffix, mqtt));
        // In a batch, text is a JSON string.
        let content = match topic.payload {
            config::Payload::Data if batch.is_none() => Content::Text,
            config::Payload::Cdr => Content::Cdr,
            config::Payload::Message | config::Payload::Envelope | config::Payload::Data => Content::Json,
        };
        Packing { content, batch, compression }
    }

    /// Of replies.
    pub fn of_replies() -> Packing {
        Packing { content: Content::Reply, batch: None, compression: None }
    }

    /// Whether it is of replies: their topics may be chosen by whoever sends a request.
    pub fn is_of_replies(&self) -> bool {
        self.content == Content::Reply
    }

    /// Takes apart what was queued as one record.
    pub fn split(&self, record: Bytes) -> Correlated {
        match self.content {
            Content::Reply => Correlated::split(record),
            Content::Json | Content::Text | Content::Cdr => Correlated { data: None, payload: record },
        }
    }

    /// What a payload is, before compression, as MQTT 5 and HTTP name it.
    pub fn content_type(&self) -> &'static str {
        match self.content {
            Content::Json | Content::Reply => "application/json",
            Content::Text => "text/plain",
            Content::Cdr => "application/octet-stream",
        }
    }

    /// The packing of what [`pack_ahead`](Packing::pack_ahead) has made.
    pub fn ahead(&self) -> Option<Packing> {
        let compression = self.compression.clone()?;
        let compression = Some(Compression { when: When::Ahead, ..compression });
        Some(Packing { content: self.content, batch: None, compression })
    }

    /// Whether records of the one and of the other packing may be in one publish.
    pub fn goes_with(&self, other: &Packing) -> bool {
        self.batch.is_some() && other.batch.is_some() && self.compression == other.compression
    }

    /// Whether a record of `bytes` that was made for this packing may be sent by `newer`: it is of the same kind, not
    /// compressed yet, and not too long.
    pub fn may_become(&self, newer: &Packing, bytes: usize) -> bool {
        let is_ahead =
            |packing: &Packing| packing.compression.as_ref().is_some_and(|compression| compression.when == When::Ahead);
        self.content == newer.content && !is_ahead(self) && !is_ahead(newer) && bytes <= newer.longest()
    }

    /// Bytes of a frame around a record of `bytes`.
    pub fn framed(&self, bytes: usize) -> usize {
        bytes + if self.batch.is_some() { BRACKETS } else { 0 }
    }

    /// Most bytes of a record that can be sent at all.
    pub fn longest(&self) -> usize {
        let longest = match &self.compression {
            None if self.content == Content::Reply => PAYLOAD_LIMIT + correlation::LONGEST,
            None => PAYLOAD_LIMIT,
            Some(Compression { when: When::Ahead, .. }) => PAYLOAD_LIMIT,
            Some(_) => COMPRESSIBLE_LIMIT,
        };
        longest - self.framed(0)
    }

    /// Bytes that the payload of `records` has without compression.
    pub fn size(&self, records: &[Bytes]) -> usize {
        let inner: usize = records.iter().map(Bytes::len).sum();
        self.framed(inner) + records.len().saturating_sub(1)
    }

    /// Makes the payload of a publish of `records`: of one, or, if there are batches, of some. It is not checked to be
    /// within [`PAYLOAD_LIMIT`].
    pub fn pack(&self, records: &[Bytes]) -> Packed {
        let plain = self.frame(records);
        match &self.compression {
            Some(Compression { encoding, when: When::Ahead, .. }) => {
                Packed { payload: plain, encoding: Some(*encoding) }
            }
            Some(Compression { encoding, when: When::Over(over), .. }) if plain.len() > *over as usize => {
                match compress::compress(*encoding, &plain, plain.len().saturating_sub(1)) {
                    Some(payload) => Packed { payload, encoding: Some(*encoding) },
                    None => Packed { payload: plain, encoding: None },
                }
            }
            _ => Packed { payload: plain, encoding: None },
        }
    }

    /// Packs a record that is too large for a payload, if it is not when it is compressed.
    pub fn pack_ahead(&self, record: &[u8]) -> Option<Bytes> {
        let Some(Compression { encoding, when: When::Over(_), .. }) = &self.compression else { return None };
        if record.len() > self.longest() {
            return None;
        }
        let framed = self.frame(&[Bytes::copy_from_slice(record)]);
        compress::compress(*encoding, &framed, PAYLOAD_LIMIT)
    }

    fn frame(&self, records: &[Bytes]) -> Bytes {
        if self.batch.is_none()
            && let [record] = records
        {
            return record.clone();
        }
        let mut array = BytesMut::with_capacity(self.size(records));
        let mut separator = b'[';
        for record in records {
            array.put_u8(separator);
            array.put_slice(record);
            separator = b',';
        }
        array.put_u8(b']');
        array.freeze()
    }
}

/// What was packed.
#[cfg(test)]
pub(crate) fn expand(packed: &Packed) -> Vec<u8> {
    match packed.encoding {
        None => packed.payload.to_vec(),
        Some(encoding) => compress::expand(encoding, &packed.payload),
    }
}

/// Bytes around the values of an array.
const BRACKETS: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn batching(max: usize, compression: Option<Compression>) -> Packing {
        let batch = Batch { max, linger: Duration::ZERO };
        Packing { content: Content::Json, batch: Some(batch), compression }
    }

    fn compressing(encoding: Encoding, over: u32) -> Option<Compression> {
        Some(Compression::new(encoding, When::Over(over), false, "odom"))
    }

    /// A batch is a JSON array, of one sample too; without batches a record is the payload, uncopied.
    #[test]
    fn a_batch_is_an_array() {
        let records = ["{\"a\":1}", "\"x\"", "[]"].map(|text| Bytes::from_static(text.as_bytes()));
        let packing = batching(50, None);
        let packed = packing.pack(&records);
        assert_eq!(packed, Packed { payload: r#"[{"a":1},"x",[]]"#.into(), encoding: None });
        assert_eq!(packed.payload.len(), packing.size(&records));
        assert_eq!(packing.pack(&records[..1]).payload, r#"[{"a":1}]"#);
        assert_eq!(Packing::default().pack(&records[..1]).payload.as_ptr(), records[0].as_ptr());
    }

    /// What is larger than asked for, and gets smaller, is compressed, a batch as one; everything else is as it is.
    #[test]
    fn compresses_what_is_worth_it() {
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let packing = batching(50, compressing(encoding, 100));
            let records = vec![Bytes::from_static(b"12345678"); 11];
            assert_eq!(packing.pack(&records).encoding, None, "100 bytes are not over 100");
            let records = vec![Bytes::from_static(b"12345678"); 12];
            let packed = packing.pack(&records);
            assert_eq!(packed.encoding, Some(encoding));
            assert_eq!(compress::expand(encoding, &packed.payload), packing.frame(&records));
            let noise: Vec<u8> = (0..200u8).map(|n| n.wrapping_mul(151) ^ (n >> 3)).collect();
            let packing = Packing { compression: compressing(encoding, 100), ..Packing::default() };
            assert_eq!(packing.pack(&[noise.clone().into()]), Packed { payload: noise.into(), encoding: None });
        }
    }

    /// A record over the limit of a payload is packed ahead when that brings it below, up to a bound.
    #[test]
    fn packs_ahead_what_is_too_large() {
        let packing = batching(50, compressing(Encoding::Zstd, 1000));
        let record = vec![b' '; packing.longest()];
        let payload = packing.pack_ahead(&record).expect("blanks compress well");
        let expanded = compress::expand(Encoding::Zstd, &payload);
        assert_eq!((expanded.len(), expanded[0], expanded[expanded.len() - 1]), (COMPRESSIBLE_LIMIT, b'[', b']'));
        let sent = packing.ahead().expect("it compresses").pack(std::slice::from_ref(&payload));
        assert_eq!(sent, Packed { payload, encoding: Some(Encoding::Zstd) });
        assert_eq!(packing.pack_ahead(&vec![b' '; packing.longest() + 1]), None);
        let mut noise = 1u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (noise >> 24) as u8
        })
        .take(packing.longest())
        .collect();
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            assert_eq!(batching(50, compressing(encoding, 1000)).pack_ahead(&noise), None);
        }
        assert_eq!(batching(50, None).pack_ahead(&record), None);
        assert_eq!(batching(50, None).longest(), PAYLOAD_LIMIT - 2);
    }
}
