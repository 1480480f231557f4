//! What is done: one small file, written in place.
//!
//! ```text
//!  ledger    ┌──────────────────────┬──────────────────────┐
//!            │ slot 0 (at byte 0)   │ slot 1 (at 4096)     │      the valid slot with the higher generation counts
//!            └──────────────────────┴──────────────────────┘
//!
//!  slot      magic "iotbrldg" · version u16 · 0 × 6 · generation u64 · queue id u64 · sequence ceiling u64
//!  (92)      · for high, normal and low: done u64, given up u64 · CRC-32C u32 of all before
//! ```
//!
//! - All records of a lane with a number below *done* are done.
//! - Numbers below *given up* that no segment holds were dropped on purpose; other holes are losses.
//! - No `seq` at or above the *sequence ceiling* has been given to a message.
//! - Slots are written in turns, so that a torn write leaves the one before. That costs some records sent again, never
//!   one lost.

use std::io;

use bytes::BufMut;

use super::files::{File, Files};

pub const LEDGER: &str = "ledger";

/// Bytes of the file.
pub const LEDGER_BYTES: u64 = SLOT_DISTANCE + SLOT_BYTES as u64;

const MAGIC: &[u8; 8] = b"iotbrldg";
const VERSION: u16 = 1;
const SLOT_BYTES: usize = 92;
const SLOT_DISTANCE: u64 = 4096;

/// What the ledger says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Entry {
    pub queue_id: u64,
    pub sequence_ceiling: u64,
    /// High, normal and low.
    pub lanes: [LaneEntry; 3],
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LaneEntry {
    pub done: u64,
    pub given_up: u64,
}

/// What was found where the ledger should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    let mut slots = [[0; SLOT_BYTES]; 2];
    for (index, slot) in slots.iter_mut().enumerate() {
        // What can't be read is as good as damaged: the other slot may do.
        if !matches!(file.read_at(index as u64 * SLOT_DISTANCE, slot), Ok(SLOT_BYTES)) {
            slot.fill(0);
        }
    }
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
        let mut ledger = Ledger { file, generation, written: entry };
        ledger.write(entry)?;
        files.sync_directory("")?;
        Ok(ledger)
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

fn encode(generation: u64, entry: &Entry) -> [u8; SLOT_BYTES] {
    let mut bytes = [0; SLOT_BYTES];
    let mut rest = &mut bytes[..];
    rest.put_slice(MAGIC);
    rest.put_u16_le(VERSION);
    rest.put_bytes(0, 6);
    rest.put_u64_le(generation);
    rest.put_u64_le(entry.queue_id);
    rest.put_u64_le(entry.sequence_ceiling);
    for lane in &entry.lanes {
        rest.put_u64_le(lane.done);
        rest.put_u64_le(lane.given_up);
    }
    let crc = crc32c::crc32c(&bytes[..SLOT_BYTES - 4]);
    bytes[SLOT_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The slot's generation and entry. Else the version, if it is whole and of another one.
fn decode(bytes: &[u8; SLOT_BYTES]) -> Result<(u64, Entry), Option<u16>> {
    let (content, crc) = bytes.split_at(SLOT_BYTES - 4);
    if !content.starts_with(MAGIC) {
        return Err(None);
    }
    let version = u16::from_le_bytes([content[8], content[9]]);
    if crc32c::crc32c(content).to_le_bytes() != *crc {
        return Err(None);
    }
    if version != VERSION {
        return Err(Some(version));
    }
    let mut numbers =
        content[16..].chunks_exact(8).map(|chunk| u64::from_le_bytes(chunk.try_into().unwrap_or_default()));
    let mut next = || numbers.next().unwrap_or_default();
    let (generation, queue_id, sequence_ceiling) = (next(), next(), next());
    let lanes = std::array::from_fn(|_| LaneEntry { done: next(), given_up: next() });
    Ok((generation, Entry { queue_id, sequence_ceiling, lanes }))
}
