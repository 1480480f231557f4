//! What is done: one small file, written in place.
//!
//! ```text
//!  ledger    ┌──────────────────────┬──────────────────────┐
//!            │ slot 0 (at byte 0)   │ slot 1 (at 8192)     │      the valid slot with the higher generation counts
//!            └──────────────────────┴──────────────────────┘
//!
//!  slot      magic "iotbrldg" · version u16 · topics u16 · more topics u32 · generation u64 · queue id u64
//!            · sequence ceiling u64 · for high, normal and low: done u64, given up u64
//!            · for each of the topics: lane u8, route id u32, done u64 · CRC-32C u32 of all before
//! ```
//!
//! A slot of 8192 bytes takes 623 topics. When there are more, slot 1 moves to where slot 0 has room for all of them:
//!
//! ```text
//!  topics    slot 1 is at    version    topics · more topics
//!  ≤   623           8192          1         n · 0
//!  ≤ 1,253         16,384          2         0 · n
//!  ≤ 2,513         32,768          2         0 · n                and so on, doubling
//! ```
//!
//! - All records of a lane with a number below *done* are done; of a topic all below its own *done*, if that is higher.
//!   Topics take turns, so one may be far ahead of another.
//! - Numbers below *given up* that no segment holds were dropped on purpose; other holes are losses.
//! - No `seq` at or above the *sequence ceiling* has been given to a message.
//! - Slots are written in turns, so that a torn write leaves the one before. That costs some records sent again, never
//!   one lost. Slot 1 moves by being written to its new place, behind both slots that there are; its old place, which
//!   may still hold a whole slot, is wiped before slot 0 is written next. A reader looks at each place where a slot may
//!   be.
//! - The file does not shrink again.

use std::collections::BTreeMap;
use std::io;

use bytes::{Buf, BufMut};

use super::format::NO_NUMBER;
use crate::files::{File, Files};

pub const LEDGER: &str = "ledger";

const MAGIC: &[u8; 8] = b"iotbrldg";
/// Of slots that are [`LEAST_DISTANCE`] apart.
const VERSION: u16 = 1;
/// Of slots that are further apart.
const VERSION_LARGE: u16 = 2;
/// From slot 0 to slot 1, at least and at most: some 1,200,000 topics.
const LEAST_DISTANCE: u64 = 8192;
const MOST_DISTANCE: u64 = 16 << 20;
/// Bytes of a slot before the topics.
const HEAD_BYTES: usize = 88;
const TOPIC_BYTES: usize = 13;

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
    /// ([`DoneTopics`](super::route_table::DoneTopics)).
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
    /// Where slot 1 is.
    distance: u64,
    /// Where the slot is that was written last.
    newest: u64,
    /// Where slot 1 may have been before.
    left: Vec<u64>,
}

/// Bytes of a ledger with room for so many topics.
pub fn bytes_for(topics: usize) -> u64 {
    2 * distance_for(HEAD_BYTES + topics * TOPIC_BYTES + 4)
}

/// Bytes of the ledger that is there.
pub fn bytes(files: &dyn Files) -> u64 {
    files.open(LEDGER).and_then(|file| file.length()).unwrap_or(0)
}

/// How far slots of so many bytes are apart.
fn distance_for(slot: usize) -> u64 {
    (slot as u64).next_power_of_two().max(LEAST_DISTANCE)
}

/// Reads the ledger.
pub fn read(files: &dyn Files) -> io::Result<Found> {
    let file = match files.open(LEDGER) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    let slots = Slots::read(&*file);
    Ok(match slots.newest {
        Some((_, _, entry)) => Found::Whole(entry),
        None => match slots.unknown {
            Some(version) => Found::UnknownVersion(version),
            None if matches!(file.length(), Ok(0)) => Found::Nothing,
            None => Found::Damaged,
        },
    })
}

/// What is in the file.
struct Slots {
    /// Place, generation and entry of the newest.
    newest: Option<(u64, u64, Entry)>,
    /// The version of a whole slot that can't be read.
    unknown: Option<u16>,
    /// Where slot 1 is, by the length of the file.
    distance: u64,
}

impl Slots {
    fn read(file: &dyn File) -> Slots {
        // What can't be read is as good as damaged: the other slot may do.
        let length = file.length().unwrap_or(0);
        let distance = (length.div_ceil(2)).next_power_of_two().clamp(LEAST_DISTANCE, MOST_DISTANCE);
        let mut slots = Slots { newest: None, unknown: None, distance };
        for place in std::iter::once(0).chain(places(distance)) {
            match decode(&read_slot(file, place, length)) {
                Ok((generation, entry)) => {
                    if slots.newest.as_ref().is_none_or(|(_, newest, _)| generation > *newest) {
                        slots.newest = Some((place, generation, entry));
                    }
                }
                Err(version) => slots.unknown = slots.unknown.or(version),
            }
        }
        slots
    }
}

/// Where slot 1 is, if that is at `distance`, or was before.
fn places(distance: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(LEAST_DISTANCE), |place| Some(place * 2)).take_while(move |place| *place <= distance)
}

/// The bytes of the slot at `place` in a file of so many bytes.
fn read_slot(file: &dyn File, place: u64, length: u64) -> Vec<u8> {
    let read = |bytes: u64| {
        let mut slot = vec![0; usize::try_from(bytes.min(length.saturating_sub(place))).unwrap_or(0)];
        let read = file.read_at(place, &mut slot).unwrap_or(0);
        slot.truncate(read);
        slot
    };
    let first = read(LEAST_DISTANCE);
    match slot_bytes(&first) {
        Some(bytes) if bytes > first.len() as u64 && bytes <= MOST_DISTANCE => read(bytes),
        _ => first,
    }
}

impl Ledger {
    /// Opens the ledger to go on from `entry`, which is durable once this returns.
    pub fn open(files: &dyn Files, entry: Entry) -> io::Result<Ledger> {
        let file = match files.create(LEDGER) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => files.open_to_write(LEDGER)?,
            other => other?,
        };
        let Slots { newest, distance, .. } = Slots::read(&*file);
        // With no slot that counts, whichever is written first.
        let (newest, generation) = newest.map_or((distance, 0), |(place, generation, _)| (place, generation));
        let left = places(distance / 2).collect();
        let mut ledger = Ledger { file, generation, written: entry.clone(), distance, newest, left };
        ledger.write(entry)?;
        files.sync_directory("")?;
        Ok(ledger)
    }

    /// As [`Named::check_name`](crate::files::Named::check_name).
    pub fn check_name(&self) -> io::Result<()> {
        self.file.check_name()
    }

    /// Rises with each success.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        2 * self.distance
    }

    /// What is durable.
    pub fn written(&self) -> &Entry {
        &self.written
    }

    /// Makes `entry` durable. After an error the one before still is.
    pub fn write(&mut self, entry: Entry) -> io::Result<()> {
        let generation = self.generation + 1;
        let topics = entry.lanes.iter().map(|lane| lane.topics.len()).sum();
        let distance = self.distance.max(bytes_for(topics) / 2);
        if distance > MOST_DISTANCE {
            return Err(io::Error::other(format!("the ledger has no room for {topics} topics")));
        }
        // Always a slot that does not hold the last success.
        let place = if self.newest == distance { 0 } else { distance };
        if place == 0 {
            for left in std::mem::take(&mut self.left) {
                self.file.write_at(left, &[0; MAGIC.len()])?;
            }
        }
        self.file.write_at(place, &encode(generation, &entry, distance))?;
        self.file.sync()?;
        if distance > self.distance {
            self.left = places(distance / 2).collect();
        }
        (self.generation, self.distance, self.newest) = (generation, distance, place);
        self.written = entry;
        Ok(())
    }
}

fn encode(generation: u64, entry: &Entry, distance: u64) -> Vec<u8> {
    let topics =
        entry.lanes.iter().zip(0u8..).flat_map(|(lane, index)| lane.topics.iter().map(move |topic| (index, topic)));
    let topics: Vec<_> = topics.collect();
    let mut rest = Vec::with_capacity(HEAD_BYTES + topics.len() * TOPIC_BYTES + 4);
    rest.put_slice(MAGIC);
    // Neither count comes to what its number can't hold: slots have bounds.
    if distance == LEAST_DISTANCE {
        rest.put_u16_le(VERSION);
        rest.put_u16_le(topics.len() as u16);
        rest.put_u32_le(0);
    } else {
        rest.put_u16_le(VERSION_LARGE);
        rest.put_u16_le(0);
        rest.put_u32_le(topics.len() as u32);
    }
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

/// How many bytes the slot has whose first these are, if they are those of a slot.
fn slot_bytes(bytes: &[u8]) -> Option<u64> {
    let head = bytes.first_chunk::<HEAD_BYTES>().filter(|head| head.starts_with(MAGIC))?;
    let (version, topics, more) = ((&head[8..]).get_u16_le(), (&head[10..]).get_u16_le(), (&head[12..]).get_u32_le());
    let topics = if version == VERSION { u64::from(topics) } else { u64::from(more) };
    Some((HEAD_BYTES + 4) as u64 + topics * TOPIC_BYTES as u64)
}

/// The slot's generation and entry. Else the version, if it is whole and of another one.
fn decode(bytes: &[u8]) -> Result<(u64, Entry), Option<u16>> {
    let head = bytes.first_chunk::<HEAD_BYTES>().filter(|head| head.starts_with(MAGIC)).ok_or(None)?;
    let version = (&head[8..]).get_u16_le();
    let length = slot_bytes(bytes).and_then(|bytes| usize::try_from(bytes).ok()).ok_or(None)? - 4;
    let (content, mut crc) = bytes.split_at_checked(length).filter(|(_, crc)| crc.len() >= 4).ok_or(None)?;
    if crc32c::crc32c(content) != crc.get_u32_le() {
        return Err(None);
    }
    if ![VERSION, VERSION_LARGE].contains(&version) {
        return Err(Some(version));
    }
    let mut rest = &content[16..];
    let (generation, queue_id, sequence_ceiling) = (rest.get_u64_le(), rest.get_u64_le(), rest.get_u64_le());
    let mut lanes: [LaneEntry; 3] = std::array::from_fn(|_| {
        let (done, given_up) = (rest.get_u64_le(), rest.get_u64_le());
        LaneEntry { done, given_up, topics: BTreeMap::new() }
    });
    while rest.len() >= TOPIC_BYTES {
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

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;
    use crate::files::simulated::{Fault, SimulatedFiles};

    /// An entry with so many topics, told from others by `done`.
    fn entry(topics: u32, done: u64) -> Entry {
        let topics = (0..topics).map(|route| (route, u64::from(route) + done)).collect();
        let lane = LaneEntry { done, given_up: 0, topics };
        Entry { queue_id: 7, sequence_ceiling: done, lanes: [LaneEntry::default(), lane, LaneEntry::default()] }
    }

    /// It grows with the topics, says all of them, and stays the size it has come to; one of the size that earlier
    /// versions know is read by them.
    #[test]
    fn it_grows_with_the_topics() {
        let files = SimulatedFiles::new();
        let sizes =
            [(0, 8192), (623, 8192), (624, 16_384), (1253, 16_384), (3000, 65_536), (10, 65_536), (40_000, 1 << 19)];
        for (round, (topics, distance)) in (1..).zip(sizes) {
            let mut ledger = Ledger::open(&files, entry(topics, round)).unwrap();
            for again in 0..3 {
                let next = entry(topics, round * 100 + again);
                ledger.write(next.clone()).unwrap();
                assert_eq!(ledger.bytes(), 2 * distance, "{topics}");
                assert!(read(&files).unwrap() == Found::Whole(next), "{topics}");
                assert!(bytes(&files) <= ledger.bytes() && bytes_for(topics as usize) <= ledger.bytes());
            }
            let version = if distance == 8192 { VERSION } else { VERSION_LARGE };
            assert_eq!(files.read(LEDGER).unwrap()[8..10], version.to_le_bytes());
        }
        let mut ledger = Ledger::open(&files, entry(1, 9999)).unwrap();
        assert!(ledger.write(entry(2_000_000, 10_000)).is_err());
        assert_eq!((ledger.written(), read(&files).unwrap()), (&entry(1, 9999), Found::Whole(entry(1, 9999))));
    }

    /// Whatever operation fails, is cut short, or is the last before the power goes while it grows: it says what it
    /// said last, or what was being written; and it goes on from there.
    #[test]
    fn growing_leaves_a_whole_one_at_any_moment() {
        let sizes = [10, 700, 20, 1300, 9];
        let play = |files: &SimulatedFiles| {
            let mut durable = None;
            for (topics, done) in sizes.into_iter().zip(1..) {
                // Half of them by a process of its own.
                let opened = Ledger::open(files, entry(topics, done));
                let written = opened.and_then(|mut ledger| {
                    durable = Some(done);
                    ledger.write(entry(topics, done + 100))
                });
                if written.is_err() {
                    break;
                }
                durable = Some(done + 100);
            }
            durable
        };
        let whole = SimulatedFiles::new();
        play(&whole);
        let order = |done: u64| (done % 100, done / 100);
        for operation in 0..whole.operations() {
            let short = |bytes| Fault::WriteShort { bytes, errno: Errno::IO };
            let faults = [Fault::Fail(Errno::IO), short(100), short(9000), Fault::PowerCut { written: 9000 }];
            for (fault, seed) in faults.into_iter().zip(0..) {
                for cut in [false, true] {
                    let files = SimulatedFiles::new();
                    files.fault_at(operation, fault);
                    let durable = play(&files);
                    let next = if cut { files.after_power_cut(seed) } else { files.after_kill() };
                    match (read(&next).unwrap(), durable) {
                        (Found::Whole(found), Some(durable)) => {
                            let done = found.lanes[1].done;
                            assert_eq!(found, entry(found.lanes[1].topics.len() as u32, done));
                            assert!(order(done) >= order(durable), "{operation}, {fault:?}: {done}, not {durable}");
                        }
                        (Found::Nothing | Found::Damaged | Found::Whole(_), None) => {}
                        (found, durable) => panic!("{operation}, {fault:?}: {durable:?} was durable, {found:?}"),
                    }
                    play(&next);
                    let Found::Whole(last) = read(&next).unwrap() else { panic!("{operation}") };
                    assert_eq!(last, entry(9, 105));
                }
            }
        }
        assert!(whole.operations() > 20);
    }
}
