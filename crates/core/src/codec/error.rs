//! What can be wrong with a message or a schema, in words that lead to the publisher.

use std::fmt;

use thiserror::Error;

/// Why a message became no JSON.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The text would be longer than the buffer's limit. Nothing is known about the rest of the message.
    #[error("its JSON is over {limit} bytes")]
    TooLarge {
        /// The buffer's limit in bytes.
        limit: usize,
    },
    /// The bytes do not fit the type.
    #[error(transparent)]
    Malformed(Box<Malformed>),
    /// An array is so long that the message is not wanted. Nothing is known about the rest of the message.
    #[error(transparent)]
    TooLong(Box<TooLong>),
}

/// The array for which a message is not wanted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("field {path} has {count} elements, `arrays` drops messages with more than {max}")]
pub struct TooLong {
    /// The field, as `ranges` or `markers[3].points`.
    pub path: String,
    /// Elements that are left after `fields` and `exclude`.
    pub count: usize,
    /// Most that are wanted.
    pub max: usize,
}

/// Where the bytes stop to fit the type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The field, as `pose.pose.position.x` or `poses[3].header.frame_id`; empty for the encapsulation header.
    pub path: String,
    /// Offset in bytes from the start of the serialized message, its encapsulation header included.
    pub offset: usize,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong with the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Fault {
    /// Shorter than the 4 bytes of the encapsulation header.
    #[error("{length} bytes are too few for the encapsulation header of 4")]
    NoHeader { length: usize },
    /// Encapsulated as something else than plain CDR, version 1.
    #[error("encapsulation {0:#06x} is not supported, only 0x0000 (CDR big endian) and 0x0001 (CDR little endian)")]
    Encapsulation(u16),
    /// The message ends before the value does.
    #[error("{needed} bytes are needed, {left} are left")]
    Truncated { needed: usize, left: usize },
    /// More elements (or bytes of a string) are announced than can be in what is left.
    #[error("{count} elements of at least {size} bytes are announced, {left} bytes are left")]
    Count { count: usize, size: usize, left: usize },
    /// More elements, or characters of a string, than the type allows.
    #[error("{count} elements are over the bound of {bound}")]
    OverBound { count: usize, bound: usize },
    /// A code unit of a `wstring` that has more than 16 bits.
    #[error("{0:#x} is no UTF-16 code unit")]
    CodeUnit(u32),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "field {}, ", self.path)?;
        }
        write!(f, "byte {}: {}", self.offset, self.fault)
    }
}

impl std::error::Error for Malformed {}

/// Why a schema has no decoder. Neither occurs in a type that ROS's generators accept and people write.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SchemaError {
    /// Messages are nested deeper than [`SchemaError::MAX_DEPTH`].
    #[error("type {name} nests messages deeper than {}", SchemaError::MAX_DEPTH)]
    TooDeep { name: String },
    /// An array of no elements, which would make elements that take no bytes.
    #[error("field {field} of type {name} is an array of no elements")]
    EmptyArray { name: String, field: String },
}

impl SchemaError {
    /// Deepest nesting of messages, so that decoding stays within a thread's stack. The common interfaces of ROS 2 stay
    /// below 10.
    pub const MAX_DEPTH: usize = 64;
}

/// Why decoding stopped; inside the codec, where the path is still growing.
#[derive(Debug)]
pub(super) enum Stop {
    Full,
    Malformed(Box<Malformed>),
    TooLong(Box<TooLong>),
}

impl Stop {
    #[cold]
    pub(super) fn fault(offset: usize, fault: Fault) -> Self {
        Stop::Malformed(Box::new(Malformed { path: String::new(), offset, fault }))
    }

    /// Says that it happened within `field`.
    #[cold]
    pub(super) fn within(mut self, field: &str) -> Self {
        let path = match &mut self {
            Stop::Full => return self,
            Stop::Malformed(malformed) => &mut malformed.path,
            Stop::TooLong(too_long) => &mut too_long.path,
        };
        let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
        *path = format!("{field}{dot}{path}");
        self
    }

    /// Says that it happened in the element at `index`.
    #[cold]
    pub(super) fn at(self, index: usize) -> Self {
        self.within(&format!("[{index}]"))
    }

    pub(super) fn into_error(self, limit: usize) -> DecodeError {
        match self {
            Stop::Full => DecodeError::TooLarge { limit },
            Stop::Malformed(malformed) => DecodeError::Malformed(malformed),
            Stop::TooLong(too_long) => DecodeError::TooLong(too_long),
        }
    }
}

impl From<super::Full> for Stop {
    fn from(_: super::Full) -> Self {
        Stop::Full
    }
}
