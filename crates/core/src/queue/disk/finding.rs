//! What is wrong with the queue's files, in words.

use std::fmt;
use std::ops::Range;

use super::format::HeaderFault;
use crate::tally::counted;

/// Something in the queue's directory that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Path in the queue's directory.
    pub file: String,
    pub fault: Fault,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The last write of a process that ended without warning.
    TornTail { place: Range<u64> },
    /// Bytes that hold no whole record, and how many records are missing there.
    Damage { place: Range<u64>, lost: u64 },
    /// Records that no file holds.
    Missing { numbers: Range<u64> },
    /// Records of topics whose name is lost.
    UnknownRoute { records: u64 },
    /// Not a segment that can be read.
    Header(HeaderFault),
    /// The device or the file's mode does not let it be read.
    Unreadable(String),
    /// Nothing of the queue's.
    Foreign,
    /// The ledger says nothing: what was done already is sent again.
    LedgerLost,
}

impl Finding {
    /// Whether records are lost by it, or may be.
    pub fn is_loss(&self) -> bool {
        match &self.fault {
            Fault::Damage { lost, .. } => *lost > 0,
            Fault::Missing { .. } | Fault::UnknownRoute { .. } | Fault::Header(_) | Fault::Unreadable(_) => true,
            Fault::TornTail { .. } | Fault::Foreign | Fault::LedgerLost => false,
        }
    }

    /// Says it in the log.
    pub fn log(&self) {
        let (file, place) = (self.file.as_str(), self.place());
        let (from, to) = place.map_or((None, None), |place| (Some(place.start), Some(place.end)));
        if self.is_loss() {
            tracing::error!(file, from, to, "{self}");
        } else {
            tracing::warn!(file, from, to, "{self}");
        }
    }

    /// The bytes of the file that it is about, if it is about some.
    pub fn place(&self) -> Option<Range<u64>> {
        match &self.fault {
            Fault::TornTail { place } | Fault::Damage { place, .. } => Some(place.clone()),
            _ => None,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = &self.file;
        match &self.fault {
            Fault::TornTail { place: Range { start, end } } => {
                write!(f, "The last write to {file} was cut short: bytes {start} to {end} hold no whole record.")
            }
            Fault::Damage { place: Range { start, end }, lost: 0 } => {
                write!(f, "{file} is damaged from byte {start} to {end}; no record is missing.")
            }
            Fault::Damage { place: Range { start, end }, lost } => {
                write!(
                    f,
                    "{file} is damaged from byte {start} to {end}: {}.",
                    counted(*lost, "record is lost", "records are lost")
                )
            }
            Fault::Missing { numbers: Range { start, end } } => {
                write!(f, "Before {file} something is missing: the records {start} to {} are lost.", end - 1)
            }
            Fault::UnknownRoute { records } => {
                write!(
                    f,
                    "{file} holds {} whose topic's name is lost; nothing of that can be sent.",
                    counted(*records, "record", "records")
                )
            }
            Fault::Header(fault) => write!(f, "{file} can't be read: {fault}. It is left out."),
            Fault::Unreadable(error) => write!(f, "{file} can't be read: {error}. It is left as it is."),
            Fault::Foreign => write!(f, "{file} is nothing of the queue's and is left alone."),
            Fault::LedgerLost => {
                write!(f, "{file} says nothing of what was acknowledged; some records may be sent again.")
            }
        }
    }
}
