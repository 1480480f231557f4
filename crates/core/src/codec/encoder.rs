//! JSON text to CDR bytes, led by a [`Schema`]: the decoder's way back.

mod error;
mod limits;
mod number;
mod pass;
mod plan;

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use self::limits::Node;
use self::pass::Pass;
use self::plan::{Item, Plan};
use super::cdr_writer::CdrWriter;
use super::{Decoder, Schema};

pub use error::{EncodeError, EncodeFault, Expected, NoEncoder};
pub use limits::Limit;

/// Turns JSON text into serialized messages of one type.
///
/// Cheap to clone; an encoder holds no state between messages.
#[derive(Debug, Clone)]
pub struct Encoder {
    message: Arc<Item>,
    limits: Arc<Node>,
}

impl Encoder {
    /// Most bytes of CDR that a message becomes. 128 KiB of JSON hold no more than a few times that, unless their objects
    /// leave out most of their fields, many times over.
    pub const LARGEST: usize = 4 << 20;

    /// Prepares encoding of messages of the type that `schema` describes.
    ///
    /// `defaults` are the default messages of that type and of those within it, as CDR in either byte order, by the names of the
    /// types. Fields of a type that is not among them are zeros, `false` and empty by default. `limits` are what numbers
    /// have to keep to.
    ///
    /// # Errors
    /// [`NoEncoder`] for a schema that can't be encoded within bounds, a default message that is none, and a limit of what is
    /// no number.
    pub fn new(schema: &Arc<Schema>, defaults: &HashMap<String, Vec<u8>>, limits: &[Limit]) -> Result<Self, NoEncoder> {
        // Nesting and arrays have to be within the decoder's bounds.
        Decoder::new(Arc::clone(schema))?;
        let message = Arc::new(Item::Message(Plan::new(schema, defaults)?));
        let limits = Arc::new(Node::new(&message, limits)?);
        Ok(Encoder { message, limits })
    }

    /// Writes the message in `json`, one object and nothing else, into `cdr`, whose content goes: an encapsulation header and
    /// the message, little endian. What is accepted is in the documentation of [`codec`](crate::codec).
    ///
    /// Takes time in proportion to the text times the depth of the type, and memory in proportion to the text and to the
    /// message, which is never longer than [`LARGEST`](Self::LARGEST), whatever `json` holds.
    ///
    /// # Errors
    /// [`EncodeError`] with the first fault; `cdr` is empty then.
    pub fn encode(&self, json: &[u8], cdr: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut pass = Pass::new(json, CdrWriter::reuse(mem::take(cdr)));
        let result = pass.message(&self.message, &self.limits);
        *cdr = pass.into_bytes();
        if result.is_err() {
            cdr.clear();
        }
        result
    }
}

#[cfg(test)]
mod tests;
