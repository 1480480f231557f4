//! Memory that is used for one message after the other.

use crate::codec::JsonBuffer;
use crate::config::PAYLOAD_LIMIT;

/// Where a payload is written before it gets memory of its own size. One is enough for all topics of a thread.
#[derive(Debug)]
pub struct Scratch(JsonBuffer);

impl Scratch {
    /// An empty buffer; it grows with the payloads, to about twice the largest.
    pub fn new() -> Self {
        Scratch(JsonBuffer::new(PAYLOAD_LIMIT))
    }

    /// The buffer, emptied, for a payload of at most `limit` bytes.
    pub(super) fn cleared(&mut self, limit: usize) -> &mut JsonBuffer {
        self.0.clear();
        self.0.set_limit(limit);
        &mut self.0
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Scratch::new()
    }
}
