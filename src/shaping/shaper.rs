//! From a serialized message to a payload.

use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use super::envelope::{Envelope, Stamps};
use super::sequence::Sequence;
use super::{PAYLOAD_LIMIT, Scratch};
use crate::codec::{self, DecodeError, Decoder, Full, Malformed, Schema, SchemaError};
use crate::config::{self, STRING_TYPE};
use crate::health::DropReason;

/// Why a message became no payload.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refused {
    /// The payload would be over [`PAYLOAD_LIMIT`] bytes.
    #[error("the payload is over {PAYLOAD_LIMIT} bytes")]
    TooLarge,
    /// The serialized message does not fit its type.
    #[error("the message does not fit its type: {0}")]
    Malformed(Box<Malformed>),
}

impl Refused {
    /// What the message is counted under.
    pub fn reason(&self) -> DropReason {
        match self {
            Refused::TooLarge => DropReason::TooLarge,
            Refused::Malformed(_) => DropReason::Malformed,
        }
    }
}

impl From<DecodeError> for Refused {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::TooLarge { .. } => Refused::TooLarge,
            DecodeError::Malformed(malformed) => Refused::Malformed(malformed),
        }
    }
}

impl From<Full> for Refused {
    fn from(_: Full) -> Self {
        Refused::TooLarge
    }
}

/// Why no message of a type can become a payload.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unshapable {
    /// The payload needs the message decoded, and its type has no decoder.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The topic's `payload` is `data`, its type is another than `std_msgs/msg/String`.
    #[error("payload \"data\" needs type {STRING_TYPE}, the topic's is {type_name}")]
    NoText { type_name: String },
}

/// Shapes the messages of one topic.
#[derive(Debug)]
pub struct Shaper {
    form: Form,
    sequence: Sequence,
}

/// A [`config::Payload`] with what it needs.
#[derive(Debug)]
enum Form {
    Message(Decoder),
    Envelope(Decoder, Envelope),
    Data,
    Cdr,
}

impl Shaper {
    /// A shaper for messages of the type that `schema` describes on `topic`, published as `thing`.
    ///
    /// `seq` starts from `first`: of a topic that gets a new shaper, because its type has changed, the old one's
    /// [`next_number`](Shaper::next_number).
    ///
    /// # Errors
    /// [`Unshapable`] if messages of this type can't become the payload that the topic asks for.
    pub fn new(topic: &config::Topic, thing: &str, schema: Arc<Schema>, first: u64) -> Result<Self, Unshapable> {
        let form = match topic.payload {
            config::Payload::Message => Form::Message(Decoder::new(schema)?),
            config::Payload::Envelope => {
                let envelope = Envelope::new(thing, &topic.ros, &schema.name);
                Form::Envelope(Decoder::new(schema)?, envelope)
            }
            config::Payload::Data if schema.name == STRING_TYPE => Form::Data,
            config::Payload::Data => return Err(Unshapable::NoText { type_name: schema.name.clone() }),
            config::Payload::Cdr => Form::Cdr,
        };
        Ok(Shaper { form, sequence: Sequence::from(first) })
    }

    /// The number that the next message gets.
    pub fn next_number(&self) -> u64 {
        self.sequence.peek()
    }

    /// Makes the payload for the serialized message `cdr`.
    ///
    /// `source_ns` is when it was published, `received_ns` when it was taken from DDS, nanoseconds since 1970. Every
    /// call takes one number of `seq`, so that the consumer of an envelope sees each message that was dropped, here or
    /// later, as a gap.
    ///
    /// `data` passes the bytes of the text on as they are, also where they are no UTF-8; `cdr` passes the message on
    /// unread.
    ///
    /// # Errors
    /// [`Refused`]: the message is to be counted as dropped for [`Refused::reason`].
    pub fn shape(
        &mut self,
        cdr: &[u8],
        source_ns: i64,
        received_ns: i64,
        scratch: &mut Scratch,
    ) -> Result<Bytes, Refused> {
        let stamps = Stamps { seq: self.sequence.next(), source_ns, received_ns };
        let out = scratch.cleared();
        let payload = match &self.form {
            Form::Message(decoder) => {
                decoder.write_json(cdr, out)?;
                out.as_bytes()
            }
            Form::Envelope(decoder, envelope) => {
                envelope.open(stamps, out)?;
                decoder.write_json(cdr, out)?;
                envelope.close(out)?;
                out.as_bytes()
            }
            Form::Data => codec::string_data(cdr)?,
            Form::Cdr => cdr,
        };
        if payload.len() > PAYLOAD_LIMIT {
            return Err(Refused::TooLarge);
        }
        Ok(Bytes::copy_from_slice(payload))
    }
}

#[cfg(test)]
mod tests;
