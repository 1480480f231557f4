//! Reading of CDR: alignment, bounds, byte order. Nothing is read that has not been checked to be there.

use super::error::{Fault, Stop};
use super::span::Span;

/// Size of the encapsulation header.
pub(super) const HEADER: usize = 4;

/// Byte order of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endian {
    Big,
    Little,
}

/// The body of a message, and how far it has been read.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    body: &'a [u8],
    /// At most the body's length.
    position: usize,
}

impl<'a> Cursor<'a> {
    /// Reads the encapsulation header.
    pub(super) fn open(cdr: &'a [u8]) -> Result<(Endian, Self), Stop> {
        let Some((header, body)) = cdr.split_first_chunk::<HEADER>() else {
            return Err(Stop::fault(0, Fault::NoHeader { length: cdr.len() }));
        };
        let endian = match u16::from_be_bytes([header[0], header[1]]) {
            0x0000 => Endian::Big,
            0x0001 => Endian::Little,
            other => return Err(Stop::fault(0, Fault::Encapsulation(other))),
        };
        Ok((endian, Cursor { body, position: 0 }))
    }

    /// Takes one value of `N` bytes, aligned to `N`.
    #[inline]
    pub(super) fn value<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let start = aligned::<N>(self.position);
        match self.body.get(start..).and_then(<[u8]>::first_chunk) {
            Some(value) => {
                self.position = start + N;
                Ok(*value)
            }
            None => Err(self.truncated(start, N)),
        }
    }

    /// Takes `count` values of `N` bytes, aligned to `N` unless there are none.
    pub(super) fn values<const N: usize>(&mut self, count: usize) -> Result<&'a [[u8; N]], Stop> {
        if count == 0 {
            return Ok(&[]);
        }
        let start = aligned::<N>(self.position);
        let length = count.saturating_mul(N);
        match self.body.get(start..).and_then(|rest| rest.get(..length)) {
            Some(bytes) => {
                self.position = start + length;
                Ok(bytes.as_chunks().0)
            }
            None => Err(self.truncated(start, length)),
        }
    }

    /// Takes `length` bytes.
    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8], Stop> {
        Ok(self.values::<1>(length)?.as_flattened())
    }

    /// Passes over `count` runs of fixed size.
    pub(super) fn pass(&mut self, run: &Span, count: usize) -> Result<(), Stop> {
        let length = if count == 1 { run.length(self.position) } else { run.repeated(self.position, count) };
        if length > self.body.len() - self.position {
            return Err(self.truncated(self.position, length));
        }
        self.position += length;
        Ok(())
    }

    /// Takes the 32-bit length of a sequence or string.
    pub(super) fn count(&mut self, endian: Endian) -> Result<usize, Stop> {
        let bytes = self.value()?;
        let count = match endian {
            Endian::Big => u32::from_be_bytes(bytes),
            Endian::Little => u32::from_le_bytes(bytes),
        };
        Ok(count as usize)
    }

    /// Checks that `count` elements of at least `size` bytes can be in what is left. `announced` is where a fault is
    /// reported, an offset in the body.
    pub(super) fn room(&self, count: usize, size: usize, announced: usize) -> Result<(), Stop> {
        let left = self.body.len() - self.position;
        if count.saturating_mul(size) > left {
            return Err(Stop::fault(HEADER + announced, Fault::Count { count, size, left }));
        }
        Ok(())
    }

    /// Offset of the next unread byte in the body.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    #[cold]
    fn truncated(&self, start: usize, needed: usize) -> Stop {
        let left = self.body.len().saturating_sub(start);
        Stop::fault(HEADER + start.min(self.body.len()), Fault::Truncated { needed, left })
    }
}

/// `position`, moved on to a multiple of `N`, which is 1, 2, 4 or 8.
#[inline]
fn aligned<const N: usize>(position: usize) -> usize {
    const { assert!(N.is_power_of_two() && N <= 8) };
    (position + (N - 1)) & !(N - 1)
}
