//! From a serialized message to a payload.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use thiserror::Error;

use super::Scratch;
use super::envelope::{Envelope, Stamps};
use super::sequence::Sequence;
use super::window::Window;
use crate::codec::{self, DecodeError, Decoder, Decoders, Full, Malformed, Schema, Selection, SelectionError, TooLong};
use crate::config::{self, STRING_TYPE};
use crate::packing::Packing;
use crate::tally::{DropReason, ShapedReason};

/// Why a message became no payload.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refused {
    /// The payload would be over `limit` bytes: what can be sent, or, of a topic that is compressed, what is.
    #[error("the payload is over {limit} bytes")]
    TooLarge { limit: usize },
    /// The serialized message does not fit its type.
    #[error("the message does not fit its type: {0}")]
    Malformed(Box<Malformed>),
    /// An array of it is longer than `arrays` wants, with `over = "drop"`.
    #[error(transparent)]
    TooLong(Box<TooLong>),
}

/// What a message that became no payload is counted under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountedAs {
    /// It is lost.
    Dropped(DropReason),
    /// The configuration does not want it.
    Shaped(ShapedReason),
}

impl Refused {
    /// What the message is counted under.
    pub fn counted_as(&self) -> CountedAs {
        match self {
            Refused::TooLarge { .. } => CountedAs::Dropped(DropReason::TooLarge),
            Refused::Malformed(_) => CountedAs::Dropped(DropReason::Malformed),
            Refused::TooLong(_) => CountedAs::Shaped(ShapedReason::Arrays),
        }
    }
}

impl From<DecodeError> for Refused {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::TooLarge { limit } => Refused::TooLarge { limit },
            DecodeError::Malformed(malformed) => Refused::Malformed(malformed),
            DecodeError::TooLong(too_long) => Refused::TooLong(too_long),
        }
    }
}

/// Why no message of a type can become a payload.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unshapable {
    /// The payload needs the message decoded, and its type has no decoder or not what is selected of it.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// The topic's `payload` is `data`, its type is another than `std_msgs/msg/String`.
    #[error("payload \"data\" needs type {STRING_TYPE}, the topic's is {type_name}")]
    NoText { type_name: String },
    /// The topic has a `window`, and nothing that travels is a number.
    #[error(
        "`aggregate` finds no number in {type_name}, alone or in an array of fixed size; \"last\" and \"count\" need none"
    )]
    NoNumber { type_name: String },
}

/// Shapes the messages of one topic.
#[derive(Debug)]
pub struct Shaper {
    form: Form,
    /// Most bytes of a payload.
    limit: usize,
    sequence: Sequence,
    /// `None` if each message makes a record.
    window: Option<Window>,
}

/// The record of a window.
#[derive(Debug)]
pub struct Closed {
    /// As of [`Shaper::shape`].
    pub payload: Result<Bytes, Refused>,
    /// Messages that it is made of, at least one.
    pub messages: u64,
    /// When the last of them was received, nanoseconds since 1970.
    pub received_ns: i64,
    /// The bytes of the last of them in ROS.
    pub bytes: usize,
}

/// A [`config::Payload`] with what it needs.
#[derive(Debug)]
enum Form {
    Message(Decoder),
    Envelope(Decoder, Envelope),
    Data,
    /// The text as a JSON string, to stand in an array.
    Text,
    Cdr,
}

impl Shaper {
    /// A shaper for messages of the type that `schema` describes on `topic`, published as `thing`. It shares its decoder with
    /// those of the type that were made with the same `decoders`.
    ///
    /// `seq` starts from `first`: of a topic that gets a new shaper, because its type has changed, the old one's
    /// [`next_number`](Shaper::next_number).
    ///
    /// # Errors
    /// [`Unshapable`] if messages of this type can't become the payload that the topic asks for.
    pub fn new(
        topic: &config::Topic,
        thing: &str,
        schema: Arc<Schema>,
        first: u64,
        decoders: &mut Decoders,
    ) -> Result<Self, Unshapable> {
        let selection = Selection::of(topic)?;
        let limit = Packing::of(topic, &topic.mqtt).longest();
        let window = Window::of(topic, &selection, &schema, limit, decoders)?;
        let form = match topic.payload {
            config::Payload::Message => Form::Message(decoders.select(schema, &selection)?),
            config::Payload::Envelope => {
                let envelope = Envelope::new(thing, &topic.ros, &schema.name);
                Form::Envelope(decoders.select(schema, &selection)?, envelope)
            }
            config::Payload::Data if schema.name == STRING_TYPE && topic.batch.is_some() => Form::Text,
            config::Payload::Data if schema.name == STRING_TYPE => Form::Data,
            config::Payload::Data => return Err(Unshapable::NoText { type_name: schema.name.clone() }),
            config::Payload::Cdr => Form::Cdr,
        };
        Ok(Shaper { form, limit, sequence: Sequence::from(first), window })
    }

    /// The number that the next message gets.
    pub fn next_number(&self) -> u64 {
        self.sequence.peek()
    }

    /// Whether messages are gathered in windows: then they are for [`take`](Shaper::take).
    pub fn has_windows(&self) -> bool {
        self.window.is_some()
    }

    /// When the open window ends, and has to be [`close`](Shaper::close)d; `None` if there is none.
    pub fn window_ends(&self) -> Option<Instant> {
        self.window.as_ref()?.ends()
    }

    /// Takes the message `cdr`, received at `at`, into the open window or into a new one. A window that had ended by then has
    /// been closed. The other arguments are those of [`shape`](Shaper::shape). A message that is dropped takes a number of
    /// `seq`, as it does there.
    ///
    /// # Errors
    /// [`Refused`]: the message is none of the window's.
    pub fn take(&mut self, cdr: &[u8], source_ns: i64, received_ns: i64, at: Instant) -> Result<(), Refused> {
        let Some(window) = &mut self.window else { return Ok(()) };
        let taken = window.take(cdr, source_ns, received_ns, at);
        if matches!(&taken, Err(refused) if matches!(refused.counted_as(), CountedAs::Dropped(_))) {
            self.sequence.next();
        }
        taken
    }

    /// Ends the open window, at `now` if its time is not over yet, and makes its record, which takes a number of `seq`. `None`
    /// if there is none.
    pub fn close(&mut self, now: Instant, scratch: &mut Scratch) -> Option<Closed> {
        let window = self.window.as_mut()?;
        let ended = window.end(now)?;
        let (limit, out) = (self.limit, scratch.cleared(self.limit));
        let stamps = ended.stamps(self.sequence.next());
        let written = match &self.form {
            Form::Envelope(_, envelope) => {
                envelope.open(stamps, out).and_then(|()| window.write(&ended, out)).and_then(|()| envelope.close(out))
            }
            _ => window.write(&ended, out),
        };
        window.clear();
        let payload = match written {
            Ok(()) => Ok(Bytes::copy_from_slice(out.as_bytes())),
            Err(Full) => Err(Refused::TooLarge { limit }),
        };
        Some(Closed { payload, messages: ended.messages, received_ns: ended.received_ns, bytes: ended.bytes })
    }

    /// Gives a number to a message that is dropped without being looked at.
    pub fn pass_over(&mut self) {
        self.sequence.next();
    }

    /// Makes the record for the serialized message `cdr`.
    ///
    /// `source_ns` is when it was published, `received_ns` when it was taken from DDS, nanoseconds since 1970. Every
    /// call takes one number of `seq`, so that the consumer of an envelope sees each message that was dropped, here or
    /// later, as a gap; but a message that is shaped away takes none.
    ///
    /// `data` passes the bytes of the text on as they are, also where they are no UTF-8, but as a JSON string for a batch;
    /// `cdr` passes the message on unread.
    ///
    /// # Errors
    /// [`Refused`]: the message is to be counted as [`Refused::counted_as`] says.
    pub fn shape(
        &mut self,
        cdr: &[u8],
        source_ns: i64,
        received_ns: i64,
        scratch: &mut Scratch,
    ) -> Result<Bytes, Refused> {
        let stamps = Stamps { seq: self.sequence.peek(), source_ns, received_ns };
        let shaped = self.write(cdr, stamps, scratch);
        if !matches!(&shaped, Err(refused) if matches!(refused.counted_as(), CountedAs::Shaped(_))) {
            self.sequence.next();
        }
        shaped
    }

    fn write(&self, cdr: &[u8], stamps: Stamps, scratch: &mut Scratch) -> Result<Bytes, Refused> {
        let limit = self.limit;
        let out = scratch.cleared(limit);
        let full = |_: Full| Refused::TooLarge { limit };
        let payload = match &self.form {
            Form::Message(decoder) => {
                decoder.write_json(cdr, out)?;
                out.as_bytes()
            }
            Form::Envelope(decoder, envelope) => {
                envelope.open(stamps, out).map_err(full)?;
                decoder.write_json(cdr, out)?;
                envelope.close(out).map_err(full)?;
                out.as_bytes()
            }
            Form::Text => {
                out.put_text_lossy(codec::string_data(cdr)?).map_err(full)?;
                out.as_bytes()
            }
            Form::Data => codec::string_data(cdr)?,
            Form::Cdr => cdr,
        };
        if payload.len() > limit {
            return Err(Refused::TooLarge { limit });
        }
        Ok(Bytes::copy_from_slice(payload))
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) use tests::topic as test_topic;
