//! Why a JSON text is no message, in words that lead to its sender.

use std::fmt;

use thiserror::Error;

use crate::codec::{DecodeError, SchemaError};

/// Why a JSON text became no message, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodeError {
    /// The field, as `pose.position.x` or `poses[3].header.frame_id`; empty for the message itself. A name that the type
    /// does not have is escaped and cut to [`EncodeError::LONGEST_NAME`] characters.
    pub path: String,
    /// What is wrong there.
    pub fault: EncodeFault,
}

impl EncodeError {
    /// Most characters of a name that the type does not have.
    pub const LONGEST_NAME: usize = 64;

    /// `name` as it may be shown, whoever chose it.
    pub(crate) fn shown(name: &str) -> String {
        let cut = name.chars().take(Self::LONGEST_NAME);
        // Each escape is of visible ASCII; what Unicode has to turn or hide text is escaped too.
        let mut shown: String = cut.flat_map(char::escape_default).collect();
        if name.chars().nth(Self::LONGEST_NAME).is_some() {
            shown.push('…');
        }
        shown
    }
}

impl EncodeFault {
    /// What is wrong with the JSON of `part`, which is a piece of `whole`, or all of it.
    pub(crate) fn syntax(whole: &[u8], part: &[u8], error: &serde_json::Error) -> EncodeFault {
        let words = error.to_string();
        // The words of serde_json are its own; those of a syntax error quote nothing.
        let words = if error.is_syntax() || error.is_eof() {
            words.split(" at line ").next().unwrap_or_default().to_owned()
        } else {
            "a value of the wrong type".to_owned()
        };
        let before = part.split(|&byte| byte == b'\n').take(error.line().saturating_sub(1));
        let lines: usize = before.map(|line| line.len() + 1).sum();
        let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
        let offset = start + lines + error.column().saturating_sub(1);
        EncodeFault::Syntax { words, offset: offset.min(whole.len()) }
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "field {}: ", self.path)?;
        }
        self.fault.fmt(f)
    }
}

impl std::error::Error for EncodeError {}

/// What is wrong with the text. None of these quotes it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EncodeFault {
    /// No JSON, or not one value alone.
    #[error("no JSON: {words}, near byte {offset}")]
    Syntax {
        words: String,
        /// Bytes from the start of the text.
        offset: usize,
    },
    /// Another type of JSON than the field's.
    #[error("{expected} is needed, {found} stands there")]
    Type { expected: Expected, found: &'static str },
    /// The type has no field of that name.
    #[error("{type_name} has no such field")]
    UnknownField { type_name: String },
    /// The same field a second time in one object.
    #[error("it stands there twice")]
    Duplicate,
    /// A number that the field's type can't hold. The type is named as in definitions, `uint8`.
    #[error("the number is out of the range of {type_name}, {range}")]
    Range { type_name: &'static str, range: &'static str },
    /// A number with a fraction or an exponent for an integer.
    #[error("{type_name} takes integers, without a fraction or an exponent")]
    Fraction { type_name: &'static str },
    /// More elements, characters or bytes than the type allows.
    #[error("more than the {bound} {of} that its type allows")]
    OverBound { bound: usize, of: &'static str },
    /// More or fewer elements than the array has.
    #[error("it takes exactly {length} {of}")]
    Length { length: usize, of: &'static str },
    /// Bytes that are no base64: standard alphabet with padding.
    #[error("no base64 of the standard alphabet with padding")]
    Base64,
    /// A text with U+0000, where ROS would end it.
    #[error("a text with U+0000, where ROS would end it")]
    Nul,
    /// A number outside of what the limits allow. NaN always is.
    #[error("outside of the limits {lowest} to {highest}")]
    OutOfLimits {
        /// As text, so that faults can be compared.
        lowest: String,
        highest: String,
    },
    /// The message would be longer than [`Encoder::LARGEST`](super::Encoder::LARGEST).
    #[error("the message would be over {limit} bytes")]
    TooLarge { limit: usize },
}

/// What a field takes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Expected {
    #[error("a number ({0})")]
    Number(&'static str),
    #[error("true or false")]
    Bool,
    #[error("text")]
    Text,
    #[error("base64 text")]
    Base64,
    #[error("an array")]
    Array,
    /// A message, with the name of its type.
    #[error("an object ({0})")]
    Message(String),
}

/// Why a type has no encoder.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoEncoder {
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The default message that was given is not one of the type.
    #[error("the default message of {name} can't be read: {error}")]
    Default { name: String, error: DecodeError },
    /// A message of the type is always longer than [`Encoder::LARGEST`](super::Encoder::LARGEST).
    #[error("messages of type {name} are over {} bytes", super::Encoder::LARGEST)]
    TooLarge { name: String },
    /// A limit of what is no number, or that nothing can keep to.
    #[error("limit `{path}`: {why}")]
    Limit { path: String, why: String },
}
