//! One segment file: what is known of it, and how it is written.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::ops::Range;

use super::clock::Written;
use super::format::{Header, Mark, NO_NUMBER, StoredRecord, Stream, put_record, put_route};
use super::route_table::RouteTable;
use crate::config::Priority;
use crate::files::{File, Files};
use crate::queue::Record;

/// What is known of a segment of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub lane: Priority,
    /// The numbers that it may hold. The next segment begins at the end or later.
    pub numbers: Range<u64>,
    /// Bytes of the file that are known to be good; what stands behind them is not looked at.
    pub length: u64,
    /// Bytes behind them, which an append that failed may have left.
    pub torn: u64,
    /// When the oldest of its records was received, as it stands in the file.
    pub oldest_received_ns: i64,
    /// When the last of its records expires, as it stands in the file.
    pub latest_expiry_ns: i64,
    /// With which clocks it was written; unknown if the header is damaged.
    pub written: Option<Written>,
    /// Of the queue that wrote it.
    pub queue_id: u64,
    /// Part of it can't be read; so it is set aside in the end, not deleted.
    pub damaged: bool,
    /// Ids of the routes of its records.
    pub routes: BTreeSet<u32>,
}

impl Segment {
    pub fn path(&self) -> String {
        path(self.lane, self.numbers.start)
    }

    /// What it takes of the disk.
    pub fn bytes(&self) -> u64 {
        on_disk(self.length + self.torn)
    }
}

/// The directory of a lane.
pub fn directory(lane: Priority) -> &'static str {
    match lane {
        Priority::High => "high",
        Priority::Normal => "normal",
        Priority::Low => "low",
    }
}

/// The file of the segment of `lane` that begins with the number `first`.
pub fn path(lane: Priority, first: u64) -> String {
    format!("{}/{first:020}.seg", directory(lane))
}

/// The first number of the segment with the file name `name`; `None` if that is no name of a segment.
pub fn first_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    let is_ours = digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit());
    digits.parse().ok().filter(|number| is_ours && *number < NO_NUMBER)
}

/// What `length` bytes take of a file system with blocks of 4 KiB.
pub fn on_disk(length: u64) -> u64 {
    length.next_multiple_of(4096)
}

/// The segment that a lane is written to.
#[derive(Debug)]
pub struct Writer {
    file: Box<dyn File>,
    header: Header,
    mark: Mark,
    declared: HashSet<u32>,
    buffer: Vec<u8>,
}

/// What is written: a record, with what the segment says of it.
#[derive(Debug)]
pub struct Pending {
    pub record: Record,
    pub route: u32,
    pub expires_ns: i64,
}

impl Writer {
    /// Makes the segment of `lane` that begins with the number `first`. It is durable with the first
    /// [`append`](Writer::append).
    pub fn create(
        files: &dyn Files,
        lane: Priority,
        first: u64,
        queue_id: u64,
        written: Written,
    ) -> io::Result<Writer> {
        let stream = Stream::Lane(lane);
        let file = files.create(&path(lane, first))?;
        let header = Header { stream, first, queue_id, written };
        let mark = Mark::new(queue_id, stream, first);
        Ok(Writer { file, header, mark, declared: HashSet::new(), buffer: Vec::new() })
    }

    /// As [`Named::check_name`](crate::files::Named::check_name).
    pub fn check_name(&self) -> io::Result<()> {
        self.file.check_name()
    }

    /// The clocks in its header.
    pub fn written(&self) -> Written {
        self.header.written
    }

    /// Appends `records`, numbered from `first` on, at the end of `segment`, and makes them durable. After an error
    /// nothing may be appended any more.
    pub fn append(
        &mut self,
        files: &dyn Files,
        routes: &RouteTable,
        segment: &mut Segment,
        first: u64,
        records: &[Pending],
    ) -> io::Result<()> {
        self.buffer.clear();
        let new = segment.length == 0;
        if new {
            self.buffer.extend_from_slice(&self.header.encode());
        }
        let (mut oldest, mut latest) = (segment.oldest_received_ns, segment.latest_expiry_ns);
        for (index, pending) in records.iter().enumerate() {
            segment.routes.insert(pending.route);
            if self.declared.insert(pending.route)
                && let Some(route) = routes.get(pending.route)
            {
                put_route(&mut self.buffer, self.mark, pending.route, route);
            }
            let number = first + index as u64 - self.header.first;
            let stored = StoredRecord {
                route: pending.route,
                // A segment ends long before, by its length.
                number: u32::try_from(number).unwrap_or(u32::MAX),
                received_ns: pending.record.received_ns,
                expires_ns: pending.expires_ns,
                payload: pending.record.payload.clone(),
            };
            put_record(&mut self.buffer, self.mark, &stored);
            oldest = oldest.min(pending.record.received_ns);
            latest = latest.max(pending.expires_ns);
        }
        segment.torn = self.buffer.len() as u64;
        self.file.write_at(segment.length, &self.buffer)?;
        self.file.sync()?;
        if new {
            files.sync_directory(directory(segment.lane))?;
        }
        segment.length += std::mem::take(&mut segment.torn);
        (segment.oldest_received_ns, segment.latest_expiry_ns) = (oldest, latest);
        segment.numbers.end = first + records.len() as u64;
        Ok(())
    }
}
