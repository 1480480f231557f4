//! Reading the records of a segment in the order of their numbers, to send them.

use std::io;

use bytes::Bytes;

use super::finding::{Fault, Finding};
use super::format::{HEADER_BYTES, Mark, StoredRecord, Stream};
use super::scan::{Item, Scan};
use super::segment::Segment;
use crate::files::Files;

/// A segment that is being read.
#[derive(Debug)]
pub struct Reader {
    /// First number of the segment.
    first: u64,
    scan: Scan,
    /// The number that is read next, or the next higher one that there is.
    next: u64,
}

impl Reader {
    /// Reads `segment` from the number `from` on.
    pub fn open(files: &dyn Files, segment: &Segment, from: u64) -> io::Result<Reader> {
        let mark = Mark::new(segment.queue_id, Stream::Lane(segment.lane), segment.numbers.start);
        let file = files.open(&segment.path())?;
        let scan = Scan::new(file, mark, HEADER_BYTES as u64, segment.length);
        Ok(Reader { first: segment.numbers.start, scan, next: from })
    }

    /// Whether the next record that it returns is the one with `number` of `segment`.
    pub fn is_at(&self, segment: &Segment, number: u64) -> bool {
        self.first == segment.numbers.start && self.next == number
    }

    /// The next record and its number; `None` at the end.
    pub fn next(&mut self, segment: &mut Segment) -> io::Result<Option<(u64, StoredRecord<Bytes>)>> {
        self.scan.extend(segment.length);
        while let Some(item) = self.scan.advance()? {
            match item {
                Item::Route { .. } => {}
                Item::Record { record, .. } => {
                    let number = self.first + u64::from(record.number);
                    if number >= segment.numbers.end {
                        break;
                    }
                    if number >= self.next {
                        self.next = number + 1;
                        return Ok(Some((number, record)));
                    }
                }
                Item::Damage { place, .. } => {
                    // At the start it was whole, or said what it says now.
                    if !segment.damaged {
                        segment.damaged = true;
                        let fault = Fault::Damage { place, lost: 0 };
                        let finding = Finding { file: segment.path(), fault };
                        tracing::error!(
                            file = finding.file,
                            "{finding} It was whole before: the device loses what was written to it."
                        );
                    }
                }
            }
        }
        Ok(None)
    }
}
