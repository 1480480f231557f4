//! The state that all clones of a [`SimulatedFiles`](super::SimulatedFiles) and its open files share.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rustix::io::Errno;

use super::Surviving;
use super::content::{Content, Edit};
use super::faults::{Done, Faults};
use super::names::{Change, FileId, Names, Node, parent};

#[derive(Debug, Clone, Default)]
pub struct Disk {
    pub names: Names,
    pub faults: Faults,
    /// Bytes that all files together may have.
    pub limit: Option<u64>,
    pub locks: BTreeSet<FileId>,
    /// Paths of what may not be opened.
    pub forbidden: BTreeSet<String>,
    /// Of file systems that are not mounted.
    unmounted: BTreeSet<FileId>,
    /// Of the buffers that something was read into.
    pub longest_read: usize,
    contents: BTreeMap<FileId, Content>,
    /// How often each is open.
    open: BTreeMap<FileId, usize>,
    last_id: FileId,
}

impl Disk {
    /// An error unless there is a directory at `path`.
    pub fn check_directory(&self, path: &str) -> io::Result<()> {
        match self.names.get(path) {
            Some(Node::Directory) => Ok(()),
            Some(Node::File(_)) => Err(Errno::NOTDIR.into()),
            None => Err(Errno::NOENT.into()),
        }
    }

    pub fn file(&self, path: &str) -> io::Result<FileId> {
        match self.names.get(path) {
            Some(Node::File(id)) => Ok(id),
            Some(Node::Directory) => Err(Errno::ISDIR.into()),
            None => Err(Errno::NOENT.into()),
        }
    }

    pub fn check_allowed(&self, path: &str) -> io::Result<()> {
        if self.forbidden.contains(path) { Err(Errno::ACCESS.into()) } else { Ok(()) }
    }

    pub fn content(&self, id: FileId) -> &Content {
        &self.contents[&id]
    }

    pub fn content_mut(&mut self, id: FileId) -> &mut Content {
        self.contents.get_mut(&id).unwrap()
    }

    pub fn contents_mut(&mut self) -> impl Iterator<Item = &mut Content> {
        self.contents.values_mut()
    }

    /// Makes an empty file.
    pub fn add_file(&mut self, path: &str) -> io::Result<FileId> {
        self.check_directory(parent(path))?;
        if self.names.get(path).is_some() {
            return Err(Errno::EXIST.into());
        }
        self.last_id += 1;
        self.contents.insert(self.last_id, Content::default());
        self.names.change(Change::Add { path: path.to_owned(), node: Node::File(self.last_id) });
        Ok(self.last_id)
    }

    pub fn add_directory(&mut self, path: &str) -> io::Result<()> {
        match self.check_directory(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        self.add_directory(parent(path))?;
        self.names.change(Change::Add { path: path.to_owned(), node: Node::Directory });
        Ok(())
    }

    /// Mounts the file system with these names. Returns those of the one before.
    pub fn mount(&mut self, names: Names) -> Names {
        let before = std::mem::replace(&mut self.names, names);
        self.unmounted.extend(before.files());
        before
    }

    pub fn opened(&mut self, id: FileId) {
        *self.open.entry(id).or_default() += 1;
    }

    pub fn closed(&mut self, id: FileId) {
        if let Some(times) = self.open.get_mut(&id) {
            *times -= 1;
            if *times == 0 {
                self.open.remove(&id);
                self.forget();
            }
        }
    }

    /// Frees the content that nobody can reach any more.
    pub fn forget(&mut self) {
        let named = self.names.files();
        let Disk { unmounted, open, .. } = self;
        self.contents.retain(|id, _| named.contains(id) || open.contains_key(id) || unmounted.contains(id));
    }

    /// What all files take that have a name or are open.
    pub fn total_bytes(&self) -> u64 {
        let mut files: BTreeSet<FileId> = self.open.keys().copied().collect();
        files.extend(
            self.names.current().filter_map(|(_, node)| if let Node::File(id) = node { Some(id) } else { None }),
        );
        files.into_iter().map(|id| self.content(id).length()).sum()
    }

    /// How many more bytes there may be.
    pub fn room(&self) -> u64 {
        self.limit.map_or(u64::MAX, |limit| limit.saturating_sub(self.total_bytes()))
    }

    /// Writes as much of `bytes` as `done` says and as there is room for.
    pub fn write(&mut self, id: FileId, offset: u64, bytes: &[u8], done: Done) -> io::Result<()> {
        let length = self.content(id).length();
        // What lies behind the last byte that there is room for.
        let over = (offset + bytes.len() as u64).saturating_sub(length).saturating_sub(self.room());
        let fitting = bytes.len().saturating_sub(usize::try_from(over).unwrap());
        let (written, result) = match done {
            Done::Part(part, error) => (part.min(fitting), Err(error)),
            Done::All if fitting < bytes.len() => (fitting, Err(Errno::NOSPC.into())),
            Done::All => (bytes.len(), Ok(())),
        };
        if written > 0 {
            self.content_mut(id).edit(Edit::Write { offset, bytes: bytes[..written].to_vec() });
        }
        result
    }

    pub fn set_length(&mut self, id: FileId, length: u64) -> io::Result<()> {
        if length.saturating_sub(self.content(id).length()) > self.room() {
            return Err(Errno::NOSPC.into());
        }
        self.content_mut(id).edit(Edit::SetLength(length));
        Ok(())
    }

    pub fn after_power_cut(&self, seed: u64) -> Disk {
        let mut rng = StdRng::seed_from_u64(seed);
        let weights = [Surviving::None, Surviving::All, Surviving::Some, Surviving::Some];
        let mut surviving = || *weights.choose(&mut rng).unwrap();
        let (names, contents) = (surviving(), surviving());
        let names = self.names.after_power_cut(names, &mut rng);
        let named = names.files();
        let held = self.contents.iter().filter(|(id, _)| named.contains(id));
        let contents = held.map(|(id, content)| (*id, content.after_power_cut(contents, &mut rng))).collect();
        let forbidden = self.forbidden.clone();
        Disk { names, contents, limit: self.limit, forbidden, last_id: self.last_id, ..Disk::default() }
    }

    pub fn after_kill(&self) -> Disk {
        let mut disk =
            Disk { faults: Faults::default(), locks: BTreeSet::new(), open: BTreeMap::new(), ..self.clone() };
        disk.forget();
        disk
    }
}
