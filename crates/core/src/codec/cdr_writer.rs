//! Writes CDR: what [`Decoder`](super::Decoder) reads, the other way.

use base64::engine::general_purpose::STANDARD as BASE64;
use base64::{DecodeError, Engine};

/// A serialized message in the making: little endian, as every ROS on a robot's processor writes it.
#[derive(Debug)]
pub struct CdrWriter {
    bytes: Vec<u8>,
}

/// The encapsulation header: plain CDR, little endian, no options (OMG DDSI-RTPS 2.5, 10.2).
const HEADER: [u8; 4] = [0, 1, 0, 0];

impl CdrWriter {
    /// A message without a field yet.
    pub fn new() -> Self {
        Self::reuse(Vec::new())
    }

    /// As [`new`](Self::new), in the memory of `bytes`, whose content goes.
    pub(super) fn reuse(mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        bytes.extend(HEADER);
        CdrWriter { bytes }
    }

    pub fn write_u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub fn write_u32(&mut self, value: u32) {
        self.write_number(value.to_le_bytes());
    }

    pub fn write_i32(&mut self, value: i32) {
        self.write_u32(value.cast_unsigned());
    }

    /// The little-endian bytes of one number, aligned to its size.
    #[inline]
    pub(super) fn write_number<const N: usize>(&mut self, bytes: [u8; N]) {
        self.align(N);
        self.bytes.extend(bytes);
    }

    /// The length of a sequence, whose elements follow.
    pub fn write_length(&mut self, length: usize) {
        self.write_u32(u32::try_from(length).unwrap_or(u32::MAX));
    }

    /// The length of a sequence that is known once its elements are written. Returns where it stands, for
    /// [`fill_in_length`](Self::fill_in_length).
    pub(super) fn leave_length(&mut self) -> usize {
        self.write_length(0);
        self.bytes.len() - size_of::<u32>()
    }

    /// Writes the length that was left out at `position`.
    pub(super) fn fill_in_length(&mut self, position: usize, length: usize) {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.bytes[position..position + size_of::<u32>()].copy_from_slice(&length.to_le_bytes());
    }

    /// A text. ROS ends a string at its first NUL, so it is written up to there.
    pub fn write_string(&mut self, text: &str) {
        self.write_text(text.split('\0').next().unwrap_or_default().as_bytes());
    }

    /// The bytes of a text, with a NUL behind them that their length counts.
    pub(super) fn write_text(&mut self, text: &[u8]) {
        self.write_length(text.len() + 1);
        self.bytes.extend(text);
        self.bytes.push(0);
    }

    /// The octets that stand as base64 in `text`, without their length. Returns them.
    ///
    /// # Errors
    /// If it is no base64. What is written then is of no use any more.
    pub(super) fn write_base64(&mut self, text: &str) -> Result<&[u8], DecodeError> {
        let start = self.bytes.len();
        BASE64.decode_vec(text, &mut self.bytes)?;
        Ok(&self.bytes[start..])
    }

    /// Bytes that are CDR already, written for a start at a multiple of `alignment`, a power of two. None, and there is no
    /// alignment either: a sequence without elements is its length alone.
    pub(super) fn write_aligned(&mut self, alignment: usize, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.align(alignment);
            self.bytes.extend(bytes);
        }
    }

    /// The body so far, behind the header.
    pub(super) fn body(&self) -> &[u8] {
        &self.bytes[HEADER.len()..]
    }

    /// The serialized message.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Fills up with zeros to a multiple of `alignment`, counted from the end of the header.
    #[inline]
    fn align(&mut self, alignment: usize) {
        let end = HEADER.len() + self.body().len().next_multiple_of(alignment);
        self.bytes.resize(end, 0);
    }
}

impl Default for CdrWriter {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of four bytes stand at multiples of four, texts end with a NUL that their length counts.
    #[test]
    fn fields_are_aligned_and_texts_terminated() {
        let mut writer = CdrWriter::new();
        writer.write_u8(7);
        writer.write_string("ab\0c");
        writer.write_i32(-2);
        let expected = [0, 1, 0, 0, 7, 0, 0, 0, 3, 0, 0, 0, b'a', b'b', 0, 0, 254, 255, 255, 255];
        assert_eq!(writer.into_bytes(), expected);
    }
}
