//! What is in one file: as it reads now, and as the disk may hold it.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use rand::Rng;
use rustix::io::Errno;

use super::Surviving;

/// What a disk writes as a whole.
pub const SECTOR: u64 = 512;

#[derive(Debug, Clone, Default)]
pub struct Content {
    /// As it reads now.
    current: Vec<u8>,
    /// What is on the disk for certain, before `edits`.
    durable: Vec<u8>,
    /// In the order in which they were made.
    edits: VecDeque<(Edit, Standing)>,
    /// What can't be read.
    bad: Vec<Range<u64>>,
}

#[derive(Debug, Clone)]
pub enum Edit {
    Write { offset: u64, bytes: Vec<u8> },
    SetLength(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The next sync makes it last.
    Unsynced,
    /// A sync failed on it: no later one makes it last, and yet it may.
    Doubtful,
    Synced,
}

impl Edit {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Edit::Write { offset, bytes } => write(content, *offset, bytes),
            Edit::SetLength(length) => content.resize(index(*length), 0),
        }
    }

    /// Applies what a power cut left of it.
    fn apply_some(&self, content: &mut Vec<u8>, rng: &mut impl Rng) {
        let Edit::Write { offset, bytes } = self else {
            if rng.gen_bool(0.5) {
                self.apply(content);
            }
            return;
        };
        let pieces = sectors(*offset, bytes);
        let prefix = rng.gen_range(0..=pieces.len());
        match rng.gen_range(0..4) {
            0 => {}
            1 => self.apply(content),
            2 => pieces.iter().take(prefix).for_each(|(offset, piece)| write(content, *offset, piece)),
            _ => {
                for (offset, piece) in pieces {
                    if rng.gen_bool(0.5) {
                        write(content, offset, piece);
                    }
                }
            }
        }
    }
}

impl Content {
    pub fn current(&self) -> &[u8] {
        &self.current
    }

    pub fn length(&self) -> u64 {
        self.current.len() as u64
    }

    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let end = offset + buffer.len() as u64;
        if self.bad.iter().any(|bad| bad.start < end && offset < bad.end) {
            return Err(Errno::IO.into());
        }
        let rest = self.current.get(index(offset)..).unwrap_or_default();
        let filled = rest.len().min(buffer.len());
        buffer[..filled].copy_from_slice(&rest[..filled]);
        Ok(filled)
    }

    pub fn edit(&mut self, edit: Edit) {
        edit.apply(&mut self.current);
        self.edits.push_back((edit, Standing::Unsynced));
    }

    /// Changes what is on the disk, behind everybody's back.
    pub fn damage(&mut self, edit: Edit) {
        edit.apply(&mut self.current);
        self.edits.push_back((edit, Standing::Synced));
        self.settle();
    }

    pub fn sync(&mut self) {
        self.restand(Standing::Synced);
        self.settle();
    }

    pub fn fail_sync(&mut self) {
        self.restand(Standing::Doubtful);
    }

    /// What is not synced yet becomes `standing`.
    fn restand(&mut self, standing: Standing) {
        for (_, unsynced) in self.edits.iter_mut().filter(|(_, old)| *old == Standing::Unsynced) {
            *unsynced = standing;
        }
    }

    fn settle(&mut self) {
        while let Some((edit, _)) = self.edits.pop_front_if(|(_, standing)| *standing == Standing::Synced) {
            edit.apply(&mut self.durable);
        }
    }

    pub fn spoil(&mut self, range: Range<u64>) {
        self.bad.push(range);
    }

    pub fn mend(&mut self) {
        self.bad.clear();
    }

    /// As the disk holds it when the power is back.
    pub fn after_power_cut(&self, surviving: Surviving, rng: &mut impl Rng) -> Content {
        let mut held = self.durable.clone();
        for (edit, standing) in &self.edits {
            match (standing, surviving) {
                (Standing::Synced, _) | (_, Surviving::All) => edit.apply(&mut held),
                (_, Surviving::None) => {}
                (_, Surviving::Some) => edit.apply_some(&mut held, rng),
            }
        }
        if !self.edits.is_empty() && matches!(surviving, Surviving::Some) && rng.gen_bool(0.5) {
            let longest = self.current.len().max(held.len());
            held.resize(rng.gen_range(held.len()..=longest), 0);
        }
        Content { current: held.clone(), durable: held, edits: VecDeque::new(), bad: self.bad.clone() }
    }
}

fn write(content: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let start = index(offset);
    if content.len() < start {
        content.resize(start, 0);
    }
    let (over, new) = bytes.split_at(bytes.len().min(content.len() - start));
    content[start..start + over.len()].copy_from_slice(over);
    content.extend_from_slice(new);
}

/// `bytes` cut where the sectors of the file end.
fn sectors(mut offset: u64, mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(bytes.len().min(index(SECTOR - offset % SECTOR)));
        pieces.push((offset, piece));
        offset += piece.len() as u64;
        bytes = rest;
    }
    pieces
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).unwrap()
}
