//! A record of a topic in memory, and where else it is.

use std::time::Instant;

use super::LeaseId;
use crate::queue::Record;

/// A record in memory, or what is left of it.
#[derive(Debug)]
pub struct Entry {
    /// Rises with each admission to the queue.
    pub admission: u64,
    /// When it was admitted; `None` if it was read back from the disk.
    pub admitted: Option<Instant>,
    pub place: Place,
    pub state: State,
}

#[derive(Debug)]
pub enum State {
    Waiting(Record),
    Leased(LeaseId, Record),
    /// Finished before an older one was.
    Done,
}

/// Where a record is, beside memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Memory,
    /// It is being written, under this number.
    Writing(u64),
    /// It is on the disk, under this number.
    Disk(u64),
}

impl Place {
    /// What is being written may be lost yet.
    pub fn is_durable(self) -> bool {
        matches!(self, Place::Disk(_))
    }

    pub fn number(self) -> Option<u64> {
        match self {
            Place::Memory => None,
            Place::Writing(number) | Place::Disk(number) => Some(number),
        }
    }
}

impl Entry {
    /// When it has waited long enough for others; `None` if it waits for none. What was read back from the disk has
    /// waited.
    ///
    /// For example, a record that was admitted at 12:00:00 waits until 12:00:05 with a `linger` of 5 s.
    pub fn ripens(&self) -> Option<Instant> {
        let batch = self.waiting()?.route.packing.batch.filter(|batch| !batch.linger.is_zero())?;
        self.admitted?.checked_add(batch.linger)
    }

    pub fn waiting(&self) -> Option<&Record> {
        match &self.state {
            State::Waiting(record) => Some(record),
            State::Leased(..) | State::Done => None,
        }
    }

    /// The record, unless it is done.
    pub fn record(&self) -> Option<&Record> {
        match &self.state {
            State::Waiting(record) | State::Leased(_, record) => Some(record),
            State::Done => None,
        }
    }
}

// As `RECORD_OVERHEAD` says.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Entry>() <= 112);
