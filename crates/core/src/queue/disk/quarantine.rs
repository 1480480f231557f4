//! Where files go that hold what can't be read: kept for somebody to look at, within a bound.

use std::io;

use super::segment::on_disk;
use crate::files::{EntryKind, Files};

pub const QUARANTINE: &str = "quarantine";

/// The share of the disk's bound that set-aside files may take.
const SHARE: u64 = 16;

/// The directory for set-aside files.
#[derive(Debug)]
pub struct Quarantine {
    bound: u64,
    /// Names and bytes on the disk, in the order of their names, which is the order in which they came.
    kept: Vec<(String, u64)>,
    /// Its own name lasts.
    is_made: bool,
}

impl Quarantine {
    /// Finds what an earlier process has set aside. `disk` is the bound of the whole queue on the disk.
    pub fn open(files: &dyn Files, disk: u64) -> Quarantine {
        let mut kept: Vec<_> = files
            .list(QUARANTINE)
            .unwrap_or_default()
            .into_iter()
            .filter_map(|entry| match entry.kind {
                EntryKind::File { length } => Some((entry.name, on_disk(length))),
                EntryKind::Directory | EntryKind::Other => None,
            })
            .collect();
        kept.sort();
        Quarantine { bound: disk / SHARE, kept, is_made: false }
    }

    /// Bytes on the disk.
    pub fn bytes(&self) -> u64 {
        self.kept.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Sets the file at `path`, which takes `bytes` of the disk, aside. Returns its new place. The oldest files go when
    /// they are too many; one that alone is over the bound stays until the next one comes.
    pub fn take(&mut self, files: &dyn Files, path: &str, bytes: u64) -> io::Result<String> {
        self.make(files)?;
        let name = format!("{:020}-{}", self.next_number(), path.replace('/', "-"));
        while !self.kept.is_empty() && self.bytes() + bytes > self.bound {
            let (oldest, bytes) = self.kept.remove(0);
            let oldest = format!("{QUARANTINE}/{oldest}");
            match files.remove(&oldest) {
                Ok(()) => {
                    tracing::error!(file = oldest, bytes, "The set-aside file {oldest} was deleted to make room.");
                }
                Err(error) => tracing::debug!(file = oldest, "{oldest} can't be deleted: {error}."),
            }
        }
        let place = format!("{QUARANTINE}/{name}");
        match files.rename(path, &place) {
            // The directory, unless it is the file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.is_made = false;
                self.make(files)?;
                files.rename(path, &place)?;
            }
            other => other?,
        }
        self.kept.push((name, bytes));
        files.sync_directory(QUARANTINE)?;
        Ok(place)
    }

    fn make(&mut self, files: &dyn Files) -> io::Result<()> {
        if !self.is_made {
            files.make_directory(QUARANTINE)?;
            files.sync_directory("")?;
            self.is_made = true;
        }
        Ok(())
    }

    /// Files are numbered in the order in which they come.
    fn next_number(&self) -> u64 {
        let newest = self.kept.last().and_then(|(name, _)| number(name));
        newest.map_or(0, |newest| newest.saturating_add(1))
    }
}

/// Whether `name` is one that a set-aside file gets.
pub fn is_ours(name: &str) -> bool {
    number(name).is_some() && name.get(20..).is_some_and(|rest| rest.starts_with('-'))
}

fn number(name: &str) -> Option<u64> {
    name.get(..20)?.parse().ok()
}
