//! Emptying a queue that no process has, because somebody wants that.
//!
//! The same rule holds as everywhere: first it is made durable that all records are done, then the files go. So a purge
//! that is cut short has deleted some of what it was to delete, and the next start deletes the rest. The ledger stays,
//! because it knows from where sequence numbers go on; so does the lock, because somebody may be waiting for it.

use std::io;

use super::LANES;
use super::ledger::{Entry, LaneEntry, Ledger};
use super::quarantine::{self, QUARANTINE};
use super::route_table::ROUTES;
use super::segment::{directory, first_number};
use super::survey::Survey;
use crate::files::{EntryKind, Files};

/// The files that a purge deletes, with their lengths: segments, what is set aside, and the routes. Nothing else that
/// stands in the directory is touched.
#[derive(Debug, Default)]
pub struct Doomed {
    pub segments: Vec<(String, u64)>,
    pub set_aside: Vec<(String, u64)>,
    pub routes: Option<u64>,
}

impl Doomed {
    /// Finds them.
    ///
    /// # Errors
    /// If a directory is there and can't be read.
    pub fn find(files: &dyn Files) -> io::Result<Doomed> {
        let mut doomed = Doomed::default();
        for lane in LANES {
            doomed.segments.extend(own_files(files, directory(lane), |name| first_number(name).is_some())?);
        }
        doomed.set_aside = own_files(files, QUARANTINE, quarantine::is_ours)?;
        doomed.routes = own_files(files, "", |name| name == ROUTES)?.first().map(|(_, length)| *length);
        Ok(doomed)
    }

    pub fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.set_aside.is_empty() && self.routes.is_none()
    }

    /// Bytes of all of them.
    pub fn bytes(&self) -> u64 {
        let lengths = self.segments.iter().chain(&self.set_aside).map(|(_, length)| length);
        lengths.sum::<u64>() + self.routes.unwrap_or(0)
    }

    /// Deletes them. `survey` is what was found in the same directory; whoever calls holds its lock since before.
    ///
    /// # Errors
    /// At the first that can't be deleted; what is said to be done stays said.
    pub fn purge(&self, files: &dyn Files, survey: &Survey) -> io::Result<()> {
        let lanes = std::array::from_fn(|lane| {
            let next = survey.lanes[lane].next;
            LaneEntry { done: next, given_up: next, topics: Default::default() }
        });
        Ledger::open(files, Entry { lanes, ..survey.entry.clone() })?;
        for (file, _) in self.segments.iter().chain(&self.set_aside) {
            files.remove(file)?;
        }
        let above = LANES.map(directory).into_iter().chain([QUARANTINE]);
        for directory in above.filter(|directory| self.touches(directory)) {
            files.sync_directory(directory)?;
        }
        // What names the topics goes last, as long as there are records of them.
        if self.routes.is_some() {
            files.remove(ROUTES)?;
            files.sync_directory("")?;
        }
        Ok(())
    }

    fn touches(&self, directory: &str) -> bool {
        let mut files = self.segments.iter().chain(&self.set_aside);
        files.any(|(file, _)| file.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/')))
    }
}

/// The regular files in `directory` whose names are `ours`, in the order of their names; none where it is not there.
fn own_files(files: &dyn Files, directory: &str, ours: impl Fn(&str) -> bool) -> io::Result<Vec<(String, u64)>> {
    let entries = match files.list(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found: Vec<_> = entries
        .into_iter()
        .filter_map(|entry| match entry.kind {
            EntryKind::File { length } if ours(&entry.name) => Some((path(directory, &entry.name), length)),
            _ => None,
        })
        .collect();
    found.sort_unstable();
    Ok(found)
}

fn path(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}
