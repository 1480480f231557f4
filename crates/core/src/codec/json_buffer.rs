//! Where the JSON text goes: a buffer that is used again for every message and takes no more than its limit.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use thiserror::Error;

/// The buffer's limit would have been passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the text is over the limit of its buffer")]
pub struct Full;

/// A reusable buffer for JSON text with a limit in bytes.
///
/// It keeps its memory when cleared, so that a steady stream of messages allocates nothing.
#[derive(Debug)]
pub struct JsonBuffer {
    bytes: Vec<u8>,
    limit: usize,
}

impl JsonBuffer {
    /// An empty buffer that takes `limit` bytes. It allocates when written to.
    pub fn new(limit: usize) -> Self {
        JsonBuffer { bytes: Vec::new(), limit }
    }

    /// Empties the buffer; its memory stays.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// The text so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// From now on the buffer takes `limit` bytes, or what is in it.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit.max(self.bytes.len());
    }

    /// Most bytes that the buffer takes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Appends text that is JSON already.
    ///
    /// # Errors
    /// [`Full`] if it does not fit; the buffer is unchanged then.
    #[inline]
    pub fn put(&mut self, json: &[u8]) -> Result<(), Full> {
        self.ensure(json.len())?;
        self.bytes.extend_from_slice(json);
        Ok(())
    }

    /// Appends the first `length` bytes of `json`. All of it is copied, which is faster for short texts.
    ///
    /// # Errors
    /// [`Full`] if they do not fit; the buffer is unchanged then.
    #[inline]
    pub(super) fn put_short<const N: usize>(&mut self, json: &[u8; N], length: usize) -> Result<(), Full> {
        self.ensure(length)?;
        let before = self.bytes.len();
        self.bytes.extend_from_slice(json);
        self.bytes.truncate(before + length);
        Ok(())
    }

    /// Appends an integer.
    ///
    /// # Errors
    /// [`Full`] if it does not fit.
    #[inline]
    pub fn put_integer(&mut self, value: impl itoa::Integer) -> Result<(), Full> {
        self.put(itoa::Buffer::new().format(value).as_bytes())
    }

    /// Appends `text` as a JSON string, quotes included.
    ///
    /// # Errors
    /// [`Full`] if it does not fit; part of the text may have been appended then.
    pub fn put_text(&mut self, text: &str) -> Result<(), Full> {
        self.put(b"\"")?;
        self.put_escaped(text)?;
        self.put(b"\"")
    }

    /// Appends bytes that should be UTF-8 as a JSON string, quotes included; what is no UTF-8 becomes U+FFFD.
    ///
    /// # Errors
    /// [`Full`] if it does not fit; part of the text may have been appended then.
    pub fn put_text_lossy(&mut self, bytes: &[u8]) -> Result<(), Full> {
        if let Ok(text) = std::str::from_utf8(bytes) {
            return self.put_text(text);
        }
        self.put(b"\"")?;
        for chunk in bytes.utf8_chunks() {
            self.put_escaped(chunk.valid())?;
            if !chunk.invalid().is_empty() {
                self.put("\u{FFFD}".as_bytes())?;
            }
        }
        self.put(b"\"")
    }

    /// Appends `text` as it stands within a JSON string, without quotes.
    pub(super) fn put_escaped(&mut self, text: &str) -> Result<(), Full> {
        // An escape is never shorter than what it stands for.
        self.ensure(text.len())?;
        let bytes = text.as_bytes();
        let mut done = 0;
        for (at, &byte) in bytes.iter().enumerate() {
            let escape = ESCAPES[usize::from(byte)];
            if escape == PLAIN {
                continue;
            }
            self.put(&bytes[done..at])?;
            done = at + 1;
            if escape == UNICODE {
                let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
                self.put(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)])?;
            } else {
                self.put(&[b'\\', escape])?;
            }
        }
        self.put(&bytes[done..])
    }

    /// Appends `bytes` as a JSON string of base64, quotes included.
    pub(super) fn put_base64(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let length = base64::encoded_len(bytes.len(), true).ok_or(Full)?;
        self.ensure(length.saturating_add(2))?;
        self.bytes.push(b'"');
        let start = self.bytes.len();
        self.bytes.resize(start + length, 0);
        BASE64.encode_slice(bytes, &mut self.bytes[start..]).expect("the slice has the length that the encoder named");
        self.bytes.push(b'"');
        Ok(())
    }

    /// Whether `length` more bytes fit: checked ahead of work that would be in vain.
    #[inline]
    pub(super) fn ensure(&self, length: usize) -> Result<(), Full> {
        if length > self.limit - self.bytes.len() { Err(Full) } else { Ok(()) }
    }
}

/// A byte that stands for itself.
const PLAIN: u8 = 0;
/// A byte that is written `\u00xx`.
const UNICODE: u8 = b'u';

/// How each byte of UTF-8 text stands in a JSON string: [`PLAIN`], [`UNICODE`], or the letter after a backslash
/// (RFC 8259, 7).
const ESCAPES: [u8; 256] = {
    let mut table = [PLAIN; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = UNICODE;
        byte += 1;
    }
    table[0x08] = b'b';
    table[b'\t' as usize] = b't';
    table[b'\n' as usize] = b'n';
    table[0x0c] = b'f';
    table[b'\r' as usize] = b'r';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
};
