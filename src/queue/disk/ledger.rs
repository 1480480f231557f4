//! What is done: one small file, written in place.
//!
//! ```text
//!  ledger    ┌──────────────────────┬──────────────────────┐
//!            │ slot 0 (at byte 0)   │ slot 1 (at 8192)     │      the valid slot with the higher generation counts
//!            └──────────────────────┴──────────────────────┘
//!
//!  slot      magic "iotbrldg" · version u16 · topics u16 · 0 × 4 · generation u64 · queue id u64
//!            · sequence ceiling u64 · for high, normal and low: done u64, given up u64
//!            · for each of the topics: lane u8, route id u32, done u64 · CRC-32C u32 of all before
//! ```
//!
//! - All records of a lane with a number below *done* are done; of a topic all below its own *done*, if that is higher.
//!   Topics take turns, so one may be far ahead of another.
//! - Numbers below *given up* that no segment holds were dropped on purpose; other holes are losses.
//! - No `seq` at or above the *sequence ceiling* has been given to a message.
//! - Slots are written in turns, so that a torn write leaves the one before. That costs some records sent again, never
//!   one lost.

use std::collections::BTreeMap;
use std::io;

use bytes::{Buf, BufMut};

use super::files::{File, Files};
use super::format::NO_NUMBER;

pub const LEDGER: &str = "ledger";

/// Bytes of the file.
pub const LEDGER_BYTES: u64 = 2 * SLOT_DISTANCE;

const MAGIC: &[u8; 8] = b"iotbrldg";
const VERSION: u16 = 1;
const SLOT_DISTANCE: u64 = 8192;
/// Bytes of a slot before the topics.
const HEAD_BYTES: usize = 88;
const TOPIC_BYTES: usize = 13;
/// As many as a slot has room for. Of further topics what was done beyond their lane's *done* is sent again.
const MOST_TOPICS: usize = (SLOT_DISTANCE as usize - HEAD_BYTES - 4) / TOPIC_BYTES;

/// What the ledger says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    pub queue_id: u64,
    pub sequence_ceiling: u64,
    /// High, normal and low.
    pub lanes: [LaneEntry; 3],
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LaneEntry {
    pub done: u64,
    pub given_up: u64,
    /// By route id, where it is higher than `done`.
    pub topics: BTreeMap<u32, u64>,
}

impl LaneEntry {
    /// The number below which all records of `route` are done, as far as its own id says it
    /// ([`RouteTable::done_of`](super::route_table::RouteTable::done_of)).
    pub fn done_of(&self, route: u32) -> u64 {
        self.topics.get(&route).copied().unwrap_or(0).max(self.done)
    }
}

impl LaneEntry {
    /// No number below it may be used again, whatever is left of the segments.
    pub fn reached(&self) -> u64 {
        self.topics.values().copied().chain([self.done, self.given_up]).max().unwrap_or(0)
    }
}

/// What was found where the ledger should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    Nothing,
    Whole(Entry),
    /// A file without a valid slot.
    Damaged,
    UnknownVersion(u16),
}

/// The open ledger.
#[derive(Debug)]
pub struct Ledger {
    file: Box<dyn File>,
    generation: u64,
    written: Entry,
}

/// Reads the ledger.
pub fn read(files: &dyn Files) -> io::Result<Found> {
    let file = match files.open(LEDGER) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    Ok(read_slots(&*file).0)
}

/// What the slots say, and their highest generation.
fn read_slots(file: &dyn File) -> (Found, u64) {
    let slots = [0, 1].map(|index| {
        let mut slot = vec![0; SLOT_DISTANCE as usize];
        // What can't be read is as good as damaged: the other slot may do.
        let read = file.read_at(index * SLOT_DISTANCE, &mut slot).unwrap_or(0);
        slot.truncate(read);
        slot
    });
    let newest = slots.iter().filter_map(|slot| decode(slot).ok()).max_by_key(|(generation, _)| *generation);
    if let Some((generation, entry)) = newest {
        return (Found::Whole(entry), generation);
    }
    let unknown = slots.iter().find_map(|slot| decode(slot).err().flatten());
    match unknown {
        Some(version) => (Found::UnknownVersion(version), 0),
        None if matches!(file.length(), Ok(0)) => (Found::Nothing, 0),
        None => (Found::Damaged, 0),
    }
}

impl Ledger {
    /// Opens the ledger to go on from `entry`, which is durable once this answers.
    pub fn open(files: &dyn Files, entry: Entry) -> io::Result<Ledger> {
        let file = match files.create(LEDGER) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => files.open_to_write(LEDGER)?,
            other => other?,
        };
        let generation = read_slots(&*file).1;
        let mut ledger = Ledger { file, generation, written: entry.clone() };
        ledger.write(entry)?;
        files.sync_directory("")?;
        Ok(ledger)
    }

    /// As [`Named::check_name`](super::files::Named::check_name).
    pub fn check_name(&self) -> io::Result<()> {
        self.file.check_name()
    }

    /// Rises with each success.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What is durable.
    pub fn written(&self) -> &Entry {
        &self.written
    }

    /// Makes `entry` durable. After an error the one before still is.
    pub fn write(&mut self, entry: Entry) -> io::Result<()> {
        // Always the slot that does not hold the last success.
        let generation = self.generation + 1;
        self.file.write_at((generation % 2) * SLOT_DISTANCE, &encode(generation, &entry))?;
        self.file.sync()?;
        self.generation = generation;
        self.written = entry;
        Ok(())
    }
}

fn encode(generation: u64, entry: &Entry) -> Vec<u8> {
    let topics =
        entry.lanes.iter().zip(0u8..).flat_map(|(lane, index)| lane.topics.iter().map(move |topic| (index, topic)));
    let topics: Vec<_> = topics.take(MOST_TOPICS).collect();
    let mut rest = Vec::with_capacity(HEAD_BYTES + topics.len() * TOPIC_BYTES + 4);
    rest.put_slice(MAGIC);
    rest.put_u16_le(VERSION);
    // MOST_TOPICS is far below 65536.
    rest.put_u16_le(topics.len() as u16);
    rest.put_bytes(0, 4);
    rest.put_u64_le(generation);
    rest.put_u64_le(entry.queue_id);
    rest.put_u64_le(entry.sequence_ceiling);
    for lane in &entry.lanes {
        rest.put_u64_le(lane.done);
        rest.put_u64_le(lane.given_up);
    }
    for (lane, (route, done)) in topics {
        rest.put_u8(lane);
        rest.put_u32_le(*route);
        rest.put_u64_le(*done);
    }
    let crc = crc32c::crc32c(&rest);
    rest.put_u32_le(crc);
    rest
}

/// The slot's generation and entry. Else the version, if it is whole and of another one.
fn decode(bytes: &[u8]) -> Result<(u64, Entry), Option<u16>> {
    let head = bytes.first_chunk::<HEAD_BYTES>().filter(|head| head.starts_with(MAGIC)).ok_or(None)?;
    let (version, topics) = ((&head[8..]).get_u16_le(), usize::from((&head[10..]).get_u16_le()));
    let length = HEAD_BYTES + topics * TOPIC_BYTES;
    let (content, mut crc) = bytes.split_at_checked(length).filter(|(_, crc)| crc.len() >= 4).ok_or(None)?;
    if crc32c::crc32c(content) != crc.get_u32_le() {
        return Err(None);
    }
    if version != VERSION {
        return Err(Some(version));
    }
    let mut rest = &content[16..];
    let (generation, queue_id, sequence_ceiling) = (rest.get_u64_le(), rest.get_u64_le(), rest.get_u64_le());
    let mut lanes: [LaneEntry; 3] = std::array::from_fn(|_| {
        let (done, given_up) = (rest.get_u64_le(), rest.get_u64_le());
        LaneEntry { done, given_up, topics: BTreeMap::new() }
    });
    for _ in 0..topics {
        let (lane, route, done) = (rest.get_u8(), rest.get_u32_le(), rest.get_u64_le());
        if let Some(lane) = lanes.get_mut(usize::from(lane)) {
            lane.topics.insert(route, done);
        }
    }
    let reached = lanes.iter().map(LaneEntry::reached).max().unwrap_or(0);
    if generation.max(sequence_ceiling).max(reached) >= NO_NUMBER {
        return Err(None);
    }
    Ok((generation, Entry { queue_id, sequence_ceiling, lanes }))
}
