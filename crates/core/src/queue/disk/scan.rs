//! Reading a segment once from its front, over whatever damage there is.
//!
//! Where no whole frame begins, the reader looks for the next place where one does. What lies between is damage, told
//! with its place; at the end of the segment it is what a power cut leaves of the last write, a torn tail. Numbers have
//! to rise: a frame that does not fit is damage too, so that nothing is read twice or invented.

use std::io;
use std::ops::Range;

use bytes::Bytes;

use super::format::{Body, FRAME_BYTES, LONGEST_BODY, Mark, Parsed, StoredRecord, StoredRoute, parse};
use crate::files::File;

/// Bytes that are read at a time, where frames are shorter.
const CHUNK: usize = 256 << 10;

/// What a failing device loses at a time.
const BLOCK: usize = 4096;

/// Something in a segment.
#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    Route {
        id: u32,
        route: StoredRoute,
    },
    Record {
        record: StoredRecord<Bytes>,
        /// Where the frame begins and ends in the file.
        place: Range<u64>,
    },
    /// Bytes without a whole frame.
    Damage {
        place: Range<u64>,
        /// Nothing whole follows.
        tail: bool,
    },
}

/// A walk through the frames of a segment.
#[derive(Debug)]
pub struct Scan {
    file: Box<dyn File>,
    mark: Mark,
    /// Of the file, when the scan began: what is appended later is not looked at.
    length: u64,
    /// Where `buffer` begins in the file.
    base: u64,
    buffer: Vec<u8>,
    /// How far `buffer` is done with.
    at: usize,
    /// The number that the next record has at least.
    next_number: u64,
    /// The first error of the device.
    error: Option<io::Error>,
}

impl Scan {
    /// Reads the frames with `mark` in the first `length` bytes of `file`, from the byte `start` on.
    pub fn new(file: Box<dyn File>, mark: Mark, start: u64, length: u64) -> Scan {
        Scan { file, mark, length, base: start, buffer: Vec::new(), at: 0, next_number: 0, error: None }
    }

    /// Where in the file the next item begins.
    pub fn position(&self) -> u64 {
        self.base + self.at as u64
    }

    /// The first error over which it has read on: what it says is damage may be whole.
    pub fn error(&self) -> Option<&io::Error> {
        self.error.as_ref()
    }

    /// The file has grown to `length` bytes.
    pub fn extend(&mut self, length: u64) {
        self.length = self.length.max(length);
    }

    /// The next item; `None` at the end.
    ///
    /// # Errors
    /// If the device fails as a whole. A block that can't be read while others can is damage.
    pub fn advance(&mut self) -> io::Result<Option<Item>> {
        let start = self.position();
        // Where a frame may begin: anywhere behind damage, only here without.
        let mut damaged = false;
        loop {
            self.fill(FRAME_BYTES)?;
            if self.at == self.buffer.len() {
                let place = start..self.position();
                return Ok(damaged.then_some(Item::Damage { place, tail: true }));
            }
            let needed = match parse(&self.buffer[self.at..], self.mark) {
                Parsed::Whole(body, bytes) => match self.accept(body, bytes) {
                    Some(_) if damaged => {
                        return Ok(Some(Item::Damage { place: start..self.position(), tail: false }));
                    }
                    Some(item) => {
                        self.at += bytes;
                        if let Item::Record { record, .. } = &item {
                            self.next_number = u64::from(record.number) + 1;
                        }
                        return Ok(Some(item));
                    }
                    None => 0,
                },
                Parsed::Incomplete(bytes) => bytes,
                Parsed::Nothing => 0,
            };
            if needed > self.buffer.len() - self.at && self.fill(needed)? {
                continue;
            }
            damaged = true;
            self.seek_mark();
        }
    }

    /// The item that a whole frame here is; none if it does not belong here.
    fn accept(&self, body: Body<'_>, bytes: usize) -> Option<Item> {
        match body {
            Body::Route { id, route } => Some(Item::Route { id, route }),
            Body::Record(record) => (u64::from(record.number) >= self.next_number).then(|| Item::Record {
                record: StoredRecord {
                    route: record.route,
                    number: record.number,
                    received_ns: record.received_ns,
                    expires_ns: record.expires_ns,
                    payload: Bytes::copy_from_slice(record.payload),
                },
                place: self.position()..self.position() + bytes as u64,
            }),
        }
    }

    /// Goes on by at least a byte to where the mark of a frame may begin.
    fn seek_mark(&mut self) {
        let from = self.at + 1;
        let rest = &self.buffer[from..];
        self.at = match memchr::memmem::find(rest, self.mark.bytes()) {
            Some(found) => from + found,
            // The last bytes may be the beginning of a mark, unless the file ends here.
            None if self.base + (self.buffer.len() as u64) < self.length => from + rest.len().saturating_sub(3),
            None => self.buffer.len(),
        };
    }

    /// Makes `wanted` bytes from here on available, if the file has them. Returns whether there are more than before.
    fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        let wanted = wanted.min(FRAME_BYTES + LONGEST_BODY);
        let end = self.base + self.buffer.len() as u64;
        if self.buffer.len() - self.at >= wanted || end >= self.length {
            return Ok(false);
        }
        let rest = &self.buffer[self.at..];
        let have = rest.len();
        let most = usize::try_from(self.length - end).unwrap_or(usize::MAX);
        let more = wanted.saturating_sub(have).max(CHUNK).min(most);
        let mut buffer = vec![0; have + more];
        buffer[..have].copy_from_slice(rest);
        let (read, error) = read_around(&*self.file, end, &mut buffer[have..])?;
        self.error = self.error.take().or(error);
        buffer.truncate(have + read);
        self.base += self.at as u64;
        (self.buffer, self.at) = (buffer, 0);
        if read < more {
            // The file is shorter than it was.
            self.length = end + read as u64;
        }
        Ok(read > 0)
    }
}

/// Reads as [`File::read_at`] does; blocks that can't be read are zeros, unless none of several can. Returns also what
/// was wrong with them.
fn read_around(file: &dyn File, offset: u64, buffer: &mut [u8]) -> io::Result<(usize, Option<io::Error>)> {
    let error = match file.read_at(offset, buffer) {
        Ok(read) => return Ok((read, None)),
        Err(error) => error,
    };
    let (mut read, mut failed, mut good) = (0, 0, 0);
    for block in buffer.chunks_mut(BLOCK) {
        match file.read_at(offset + read as u64, block) {
            Ok(bytes) => {
                read += bytes;
                good += 1;
                if bytes < block.len() {
                    break;
                }
            }
            Err(_) => {
                block.fill(0);
                read += block.len();
                failed += 1;
            }
        }
    }
    // One block that fails is a bad sector; several without a good one are a device that is gone.
    if good == 0 && failed > 1 { Err(error) } else { Ok((read, (failed > 0).then_some(error))) }
}
