//! The codec: CDR bytes to JSON text in one pass, led by a [`Schema`]. Knows nothing of ROS threads or MQTT.
//!
//! ```text
//!  Schema, Selection ──► Plan: the JSON text between the values, ready-made; what to read between two pieces of it,
//!                │             and what to pass over
//!  CDR bytes ──► Decoder ──► JsonBuffer, which takes no more than its limit
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

mod array;
mod cdr_writer;
mod cursor;
mod decoder;
mod decoders;
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
pub use error::{DecodeError, Fault, Malformed, SchemaError, TooLong};
pub use json_buffer::{Full, JsonBuffer};
pub use schema::{Count, Field, Kind, Schema};
pub use selection::{Selection, SelectionError};
pub use values::{Value, put_value};

#[cfg(test)]
mod tests;
