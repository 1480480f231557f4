//! What the bytes of an input do to a directory.

use bytes::Bytes;

use super::{LANES, QUARANTINE, ROUTES};
use crate::config::{Priority, Qos};
use crate::files::Files;
use crate::files::simulated::SimulatedFiles;
use crate::queue::disk::clock::{Counted, Written};
use crate::queue::disk::format::{Header, Mark, StoredRecord, StoredRoute, Stream, put_record, put_route};
use crate::queue::disk::ledger::{Entry, LEDGER, LaneEntry, Ledger};
use crate::queue::disk::segment::path;

/// Most edits of an input, and most bytes that a file may grow to by them.
const EDITS: usize = 8;
const LONGEST: usize = 32 << 10;

/// The first id of a route that no scripted run has used.
const FORGED_ROUTES: u32 = 64;

/// Bytes that decide; zeros when they have run out.
pub struct Recipe<'a>(&'a [u8]);

impl<'a> Recipe<'a> {
    pub fn new(data: &'a [u8]) -> Recipe<'a> {
        Recipe(data)
    }

    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> u64 {
        (0..8).fold(0, |word, shift| word | u64::from(self.byte()) << (8 * shift))
    }

    /// A number that is small, or near a border.
    fn number(&mut self) -> u64 {
        let small = self.byte();
        match small >> 5 {
            0..4 => u64::from(small),
            4 => u64::from(u32::MAX) - 8 + u64::from(small & 31),
            5 => u64::MAX - u64::from(small & 31),
            6 => (1 << 62) + u64::from(small & 31),
            // Not where the numbers would run out in a moment.
            _ => self.word() >> 2,
        }
    }

    /// A place up to `length`.
    fn place(&mut self, length: usize) -> usize {
        let (low, high) = (self.byte(), self.byte());
        (usize::from(u16::from_le_bytes([low, high])) * (length + 1)) >> 16
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes.to_vec()
    }

    fn lane(&mut self) -> Priority {
        LANES[usize::from(self.byte()) % LANES.len()]
    }

    /// A path: one of ours, or of something that others have put there.
    fn path(&mut self) -> String {
        match self.byte() % 8 {
            0 => LEDGER.to_owned(),
            1 => ROUTES.to_owned(),
            2 => "note".to_owned(),
            3 => format!("{QUARANTINE}/{:020}-note", self.number()),
            4 => format!("normal/{}.seg", self.number()),
            _ => {
                let lane = self.lane();
                path(lane, self.number())
            }
        }
    }
}

/// What the edits have done, in general.
#[derive(Debug, Default)]
pub struct Edited {
    /// There are checksums that no queue has written.
    pub is_forged: bool,
    /// A part of the device can't be read.
    pub is_unreadable: bool,
}

pub fn apply(files: &SimulatedFiles, recipe: &mut Recipe) -> Edited {
    let mut edited = Edited::default();
    for _ in 0..EDITS {
        if recipe.0.is_empty() {
            break;
        }
        let kind = recipe.byte() % 16;

        if kind >= 10 {
            make(kind, files, recipe, &mut edited);
            continue;
        }
        let paths = files.paths();
        let Some(path) = paths.get(usize::from(recipe.byte()) % paths.len().max(1)) else { continue };
        let old = files.read(path).unwrap_or_default();
        let place = recipe.place(old.len());
        let mut new = old.clone();
        match kind {
            0 | 1 => {
                let bytes = recipe.bytes();
                let end = (place + bytes.len()).min(old.len());
                new[place..end].copy_from_slice(&bytes[..end - place]);
            }
            2 => new.truncate(place),
            3 => new.resize(old.len() + usize::from(recipe.byte()) * 32, 0),
            4 => _ = new.splice(place..place, recipe.bytes()),
            5 => {
                // A piece of this file or another, once more.
                let other = &paths[usize::from(recipe.byte()) % paths.len()];
                let other = files.read(other).unwrap_or_default();
                let (one, two) = (recipe.place(other.len()), recipe.place(other.len()));
                new.splice(place..place, other[one.min(two)..one.max(two)].iter().copied());
            }
            6 => {
                let end = recipe.place(old.len());
                new[place.min(end)..place.max(end)].fill(0);
            }
            7 => _ = new.drain(place..(place + usize::from(recipe.byte())).min(old.len())),
            8 => {
                _ = files.remove(path);
                _ = files.sync_directory(above(path));
                continue;
            }
            _ => {
                if let Some(byte) = new.get_mut(place) {
                    *byte ^= 1 << (recipe.byte() % 8);
                }
            }
        }
        new.truncate(LONGEST);

        put(files, path, &new);
    }
    edited
}

/// Makes a file, or makes one unreadable.
fn make(kind: u8, files: &SimulatedFiles, recipe: &mut Recipe, edited: &mut Edited) {
    match kind {
        10 => {
            let path = recipe.path();
            put(files, &path, &recipe.bytes());
        }
        11 => {
            // A copy under another name.
            let paths = files.paths();
            let Some(from) = paths.get(usize::from(recipe.byte()) % paths.len().max(1)) else { return };
            let bytes = files.read(from).unwrap_or_default();
            put(files, &recipe.path(), &bytes);
        }
        // Of one that can't be read, an older one would be made.
        12 if edited.is_unreadable => {}
        12 => {
            edited.is_forged = true;
            forge_ledger(files, recipe);
        }
        13 => {
            let paths = files.paths();
            let Some(path) = paths.get(usize::from(recipe.byte()) % paths.len().max(1)) else { return };
            // Nor does an older one say that more is done, but for a forged one.
            if path == LEDGER && edited.is_forged {
                return;
            }
            edited.is_unreadable = true;
            let length = files.read(path).unwrap_or_default().len();
            let start = recipe.place(length) as u64;
            files.fail_reads(path, start..start + recipe.number().min(1 << 32));
        }
        _ => {
            edited.is_forged = true;
            forge_segment(files, recipe);
        }
    }
}

/// The directory in which `path` is.
fn above(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(above, _)| above)
}

/// A file of that content, as if it had been there for long.
fn put(files: &SimulatedFiles, path: &str, bytes: &[u8]) {
    _ = files.make_directory(above(path));
    _ = files.sync_directory("");
    if files.read(path).is_none() {
        drop(files.create(path));
        _ = files.sync_directory(above(path));
    }
    if files.read(path).is_some() {
        files.truncate(path, 0);
        files.corrupt(path, 0, bytes);
    }
}

/// A ledger that says anything.
fn forge_ledger(files: &SimulatedFiles, recipe: &mut Recipe) {
    let lanes = std::array::from_fn(|_| {
        let topics = (0..recipe.byte() % 4).map(|_| (u32::from(recipe.byte() % 80), recipe.number()));
        let topics = topics.collect();
        LaneEntry { done: recipe.number(), given_up: recipe.number(), topics }
    });
    let queue_id = if recipe.byte().is_multiple_of(2) { 77 } else { recipe.number() };
    let entry = Entry { queue_id, sequence_ceiling: recipe.number(), lanes };
    drop(Ledger::open(files, entry));
}

/// A segment that holds anything, in the right form. As the queue does, it names a topic before its first record, and
/// no two topics by the same id; of some records nothing names the topic.
fn forge_segment(files: &SimulatedFiles, recipe: &mut Recipe) {
    let (lane, first) = (recipe.lane(), recipe.number());
    let queue_id = if recipe.byte().is_multiple_of(2) { 77 } else { recipe.number() };
    let stream = Stream::Lane(lane);
    let boot_id = [recipe.byte() % 4; 16];
    let written = Written { boot_id, counted: Counted::Boottime, offset: recipe.number() as i64 };
    let header = Header { stream, first, queue_id, written };
    let mark = Mark::new(queue_id, stream, first);
    let mut bytes = header.encode().to_vec();
    for _ in 0..recipe.byte() % 8 {
        let kind = recipe.byte();
        if kind.is_multiple_of(8) {
            bytes.extend(recipe.bytes());
            continue;
        }
        let id = u32::from(kind >> 4);
        let route = StoredRoute {
            ros: format!("/{id}"),
            mqtt: format!("robots/{}", id % 2),
            qos: if id.is_multiple_of(3) { Qos::AtLeastOnce } else { Qos::AtMostOnce },
            retain: false,
            packing: Default::default(),
        };
        let has_name = id < 12;
        if has_name {
            put_route(&mut bytes, mark, FORGED_ROUTES + id, &route);
        }
        let record = StoredRecord {
            route: FORGED_ROUTES + id,
            number: recipe.number() as u32,
            received_ns: recipe.number() as i64,
            expires_ns: recipe.number() as i64,
            payload: Bytes::from(recipe.bytes()),
        };
        put_record(&mut bytes, mark, &record);
    }
    put(files, &path(lane, first), &bytes);
}
