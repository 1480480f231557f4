//! The shape of a message type, as the decoder needs it.

use std::sync::Arc;

/// A message type: its fields in definition order, which is the order on the wire.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    /// Full name, `package/msg/Name`.
    pub name: String,
    /// Empty for a message without fields: DDS then carries one octet that means nothing.
    pub fields: Vec<Field>,
}

/// One field of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub name: String,
    pub kind: Kind,
    pub count: Count,
}

/// How many values a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    One,
    /// A fixed-size array, `T[n]`; no length on the wire.
    Array(usize),
    /// An unbounded sequence, `T[]`, or a bounded one, `T[<=n]`; a 32-bit length comes first.
    Sequence {
        bound: Option<usize>,
    },
}

/// Type of a field's values.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    Bool,
    /// `byte`: an octet without arithmetic.
    Byte,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
    /// A `string`, with the most bytes that its type allows.
    String {
        bound: Option<usize>,
    },
    /// A `wstring`, with the most UTF-16 code units that its type allows.
    WString {
        bound: Option<usize>,
    },
    Message(Arc<Schema>),
}
