//! The codec: CDR bytes to JSON text and back, in one pass each, led by a [`Schema`]. Knows nothing of ROS threads or MQTT.
//!
//! ```text
//!  Schema, Selection ──► Plan: the JSON text between the values, ready-made; what to read between two pieces of it,
//!                │             and what to pass over
//!  CDR bytes ──► Decoder ──► JsonBuffer, which takes no more than its limit
//!  CDR bytes ◄── Encoder ◄── JSON text
//!                │
//!  Schema ──► Plan: the fields of each type, with the defaults of its definition and the limits of the configuration
//! ```
//!
//! # The bytes
//!
//! What a ROS 2 middleware hands over as a serialized message: an encapsulation header of 4 bytes (`0x0000` CDR big
//! endian, `0x0001` CDR little endian, then two octets of options that are ignored), then a body in XCDR version 1
//! (OMG DDS-XTypes 1.3, 7.4.1; OMG DDSI-RTPS 2.5, 10.2). A value is aligned to its size, 8 at most, counted from the
//! end of the header. Where the specifications leave room, this is what Fast DDS and rclpy of ROS 2 Jazzy do, as
//! measured:
//!
//! - `string`: a 32-bit count of bytes with the terminating NUL, then the bytes. A count of 0 is an empty string, and
//!   a missing NUL is no fault. Only one NUL at the end is taken off; others are part of the text.
//! - `wstring`: a 32-bit count of UTF-16 code units, then each unit in 4 bytes, without a terminator. A character
//!   outside the basic plane is its two surrogates. A unit over `0xFFFF` is a fault. CycloneDDS writes the same on
//!   Linux.
//! - A message without fields is one octet that means nothing, at the top and nested.
//! - `bool`: any octet but 0 is true.
//! - An empty sequence is its count alone: no alignment for elements that are not there.
//! - Bytes after the last field are no fault: `rmw_serialize` of Fast DDS estimates the size, so that messages which a
//!   program serialized by itself and then published carry up to a few dozen bytes of padding.
//! - rclpy counts characters where a type bounds its strings, so a bounded string that is within its bound in
//!   characters is accepted, though it be over it in bytes (in code units for a `wstring`).
//!
//! # The text
//!
//! - One object, fields in definition order, no white space.
//! - `float32` and `float64`: the shortest digits that read back as the same float of that width, always with a
//!   fraction or an exponent: `1.0`, `0.1`, `-0.0`, `1e+16`, `1.5e-7`. NaN and infinities are `null`.
//! - Integers of all widths are numbers; so are a single `byte`, `uint8` and `char`.
//! - `uint8[]` and `byte[]`, of fixed size too, are base64 text: standard alphabet with padding (RFC 4648, 4).
//! - With `digits` a float has at most so many significant digits, rounded to the nearest, and looks as above.
//! - Text is UTF-8; `"`, `\` and characters below U+0020 are escaped, nothing else. What is no UTF-8 or UTF-16 becomes
//!   U+FFFD.
//!
//! # The text that is accepted
//!
//! What the [`Encoder`] takes is one JSON object (RFC 8259) and white space around it. It becomes CDR little endian as above,
//! with a NUL behind each `string`, zeros between values and as the octet of a message without fields. The text of a decoder
//! that left nothing out becomes a message with the same text again. The bytes too are the same again, unless they had NaN with
//! a payload or infinities, a text that was no UTF-8 or UTF-16, a `bool` over 1, other padding, or bytes after the end.
//!
//! - Members stand in any order, each once. One that is missing has the default of the message's definition, at each level and
//!   in the elements of sequences. A member that the type does not have is refused.
//! - Integers have neither fraction nor exponent (`1.0` and `1e3` are refused) and are within the range of their type;
//!   64-bit ones are exact. `-0` is 0.
//! - A `float32` or `float64` is the nearest one to the number, rounded once. One that is out of range is refused
//!   (`1e39` for a `float32`). `null` is NaN; there is no text for infinities.
//! - `bool` is `true` or `false`, no number. A single `byte`, `uint8` or `char` is a number, `uint8[]` and `byte[]` are base64 text:
//!   standard alphabet, with padding.
//! - A text has at most as many characters as its type allows, for a `wstring` too. U+0000 is refused in a `string`: DDS
//!   ends one there, so that its subscriber would see less than was sent. Half a surrogate pair and what is no UTF-8 is refused.
//! - Sequences have at most as many elements as their type allows, arrays exactly as many as theirs has.
//! - The message has at most [`Encoder::LARGEST`] bytes; the text at most 127 objects and arrays within each other.
//! - [`Limit`]s hold for what the message has, be it written or default. NaN is outside of each.
//!
//! What is refused is refused with the path of its field ([`EncodeError`]), which is the only part of the text that is told again.

mod array;
mod cdr_writer;
mod check;
mod cursor;
mod decoder;
mod decoders;
mod encoder;
mod error;
mod json_buffer;
mod number;
mod plan;
mod planner;
mod rounded;
mod schema;
mod selection;
mod span;
mod text;
mod values;

pub use cdr_writer::CdrWriter;
pub use decoder::{Decoder, string_data};
pub use decoders::Decoders;
pub use encoder::{EncodeError, EncodeFault, Encoder, Expected, Limit, NoEncoder};
pub use error::{DecodeError, Fault, Malformed, SchemaError, TooLong};
pub use json_buffer::{Full, JsonBuffer};
pub use schema::{Count, Field, Kind, Schema};
pub use selection::{Selection, SelectionError};
pub use values::{Value, put_value};

#[cfg(test)]
mod tests;
