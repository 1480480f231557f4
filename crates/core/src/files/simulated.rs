//! A file system in memory, for tests: it knows what a power cut leaves, and fails where it is told to.
//!
//! The model:
//!
//! - **Content.** What was written is read back at once, by everybody (the page cache). It lasts from the next
//!   successful [`sync`](File::sync) of that file on. Of what is not synced, each write is lost, kept, or kept in some
//!   of its sectors of 512 bytes, whichever they are; each change of length is lost or kept; and the file may be as
//!   long as it was, with zeros where nothing was kept. So a later write may be there where an earlier one is a hole.
//!   Bytes that were durable and not written since stay as they were, also beside others in their sector.
//! - **A sync that fails** leaves what it was to write in doubt for good, as Linux does: it still reads back, a later
//!   sync of the same file succeeds without having written it, and a power cut may or may not take it.
//! - **Names.** What was created, renamed and removed is seen at once and lasts from the next successful
//!   [`sync_directory`](Files::sync_directory) on. Of what is not synced, the first so many changes of each directory
//!   are kept, in their order. A rename is kept or lost as one, also between two directories; syncing one of them is
//!   enough. A file in a directory whose own name is lost, is lost. The name says nothing of the content: syncing a
//!   file does not make its name last, nor the other way round.
//! - **The process ends** ([`SimulatedFiles::after_kill`]): everything is there, as synced or not as it was.
//! - **Room.** With a limit, a write goes as far as there is room and then fails with `ENOSPC`; so does what creates,
//!   once there is none. A removed file takes room while it is open.
//! - **Faults.** Each operation that changes something has a number, from 0, and a [`Fault`] may wait for it. Reading,
//!   listing, opening and locking have none. Nothing is random but what a power cut leaves, and that by its seed.
//!
//! The root is there from the beginning. There are no links, and of file modes only what may not be opened at all.

mod content;
mod disk;
mod faults;
mod names;
#[cfg(test)]
mod tests;

use std::fmt::{self, Debug};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::{Entry, EntryKind, File, Files, Named};
use content::Edit;
use disk::Disk;
use faults::Done;
pub use faults::{Action, Fault, Operation};
use names::{Change, FileId, Names, Node, name, parent};

/// Clones are the same file system, as seen from the same process.
#[derive(Clone, Default)]
pub struct SimulatedFiles {
    disk: Arc<Mutex<Disk>>,
}

/// A file system that nothing leads to.
#[derive(Debug, Default)]
pub struct Unmounted(Names);

/// How much of what was not synced a power cut leaves: the extremes are cases of their own, or they would hardly occur.
#[derive(Debug, Clone, Copy)]
enum Surviving {
    None,
    All,
    Some,
}

impl SimulatedFiles {
    /// An empty file system without faults or limit.
    pub fn new() -> Self {
        SimulatedFiles::default()
    }

    /// Lets the operation of that number (from 0) have `fault`.
    pub fn fault_at(&self, operation: u64, fault: Fault) {
        self.disk().faults.plan(operation, fault);
    }

    /// Opening what is at `path` fails with `EACCES` from now on.
    pub fn forbid(&self, path: &str) {
        self.disk().forbidden.insert(path.to_owned());
    }

    /// Reads that touch `range` of the file fail with `EIO`, whatever its name becomes.
    pub fn fail_reads(&self, path: &str, range: Range<u64>) {
        self.edit(path, |content| content.spoil(range));
    }

    /// Ends all faults, planned ones too; only who is dead stays so.
    pub fn heal(&self) {
        let mut disk = self.disk();
        disk.faults.heal();
        disk.forbidden.clear();
        disk.contents_mut().for_each(content::Content::mend);
    }

    /// Bounds the bytes of all files together from now on. `None`: no bound.
    pub fn set_limit(&self, bytes: Option<u64>) {
        self.disk().limit = bytes;
    }

    /// A file system as the disk holds it when the power is back, for the process that is started then. What of the
    /// unsynced is there depends on `seed`. Limit and unreadable places stay, other faults do not.
    pub fn after_power_cut(&self, seed: u64) -> SimulatedFiles {
        SimulatedFiles::of(self.disk().after_power_cut(seed))
    }

    /// A file system as the next process finds it when this one was killed: all is there, and nobody holds a lock.
    /// Limit and unreadable places stay, other faults do not.
    pub fn after_kill(&self) -> SimulatedFiles {
        SimulatedFiles::of(self.disk().after_kill())
    }

    /// Another file system, with nothing on it, is mounted in its place. Returns how to get the first one back: as
    /// [`mount`](SimulatedFiles::mount) does.
    pub fn mount_empty(&self) -> Unmounted {
        self.mount(Unmounted::default())
    }

    /// Mounts what was unmounted before. Returns what was mounted until now. What is open stays what it was.
    pub fn mount(&self, mounted: Unmounted) -> Unmounted {
        Unmounted(self.disk().mount(mounted.0))
    }

    /// How many operations there were; the next one has this number.
    pub fn operations(&self) -> u64 {
        self.disk().faults.log().len() as u64
    }

    /// The operations by their number.
    pub fn log(&self) -> Vec<Operation> {
        self.disk().faults.log().to_vec()
    }

    /// What a file reads as, if it is there.
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        let disk = self.disk();
        disk.file(path).ok().map(|id| disk.content(id).current().to_vec())
    }

    /// Overwrites what is on the disk.
    pub fn corrupt(&self, path: &str, offset: u64, bytes: &[u8]) {
        self.edit(path, |content| content.damage(Edit::Write { offset, bytes: bytes.to_vec() }));
    }

    /// Changes a file's length on the disk.
    pub fn truncate(&self, path: &str, length: u64) {
        self.edit(path, |content| content.damage(Edit::SetLength(length)));
    }

    /// The longest buffer that something was read into.
    pub fn longest_read(&self) -> usize {
        self.disk().longest_read
    }

    /// All files, in the order of their paths.
    pub fn paths(&self) -> Vec<String> {
        let disk = self.disk();
        let files = disk.names.current().filter(|(_, node)| *node != Node::Directory);
        files.map(|(path, _)| path.to_owned()).collect()
    }

    /// What all files take, with those that are removed and still open.
    pub fn total_bytes(&self) -> u64 {
        self.disk().total_bytes()
    }

    fn of(disk: Disk) -> Self {
        SimulatedFiles { disk: Arc::new(Mutex::new(disk)) }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        // A test that fails closes its files on the way out.
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to a file that is there.
    fn edit(&self, path: &str, edit: impl FnOnce(&mut content::Content)) {
        let mut disk = self.disk();
        let id = disk.file(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        edit(disk.content_mut(id));
    }

    /// Counts an operation that changes names. Returns the disk to do it on, if it may be done.
    fn begin(&self, action: Action, path: &str) -> io::Result<MutexGuard<'_, Disk>> {
        let mut disk = self.disk();
        match disk.faults.begin(action, &Arc::from(path)) {
            Done::All => Ok(disk),
            Done::Part(_, error) => Err(error),
        }
    }

    fn opened(&self, disk: &mut Disk, path: &str, id: FileId, writable: bool) -> Box<dyn File> {
        disk.opened(id);
        Box::new(SimulatedFile { files: self.clone(), path: Arc::from(path), id, writable })
    }
}

/// Says how far it is; the content would fill the screen.
impl Debug for SimulatedFiles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SimulatedFiles").field("operations", &self.operations()).finish_non_exhaustive()
    }
}

impl Files for SimulatedFiles {
    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        let disk = self.disk();
        disk.faults.check_alive()?;
        disk.check_directory(path)?;
        let within = disk.names.current().filter(|(child, _)| !child.is_empty() && parent(child) == path);
        let entries = within.map(|(child, node)| {
            let kind = match node {
                Node::File(id) => EntryKind::File { length: disk.content(id).length() },
                Node::Directory => EntryKind::Directory,
            };
            Entry { name: name(child).to_owned(), kind }
        });
        Ok(entries.collect())
    }

    fn make_directory(&self, path: &str) -> io::Result<()> {
        let mut disk = self.begin(Action::MakeDirectory, path)?;
        if disk.names.get(path).is_none() && disk.room() == 0 {
            return Err(Errno::NOSPC.into());
        }
        disk.add_directory(path)
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn File>> {
        let mut disk = self.begin(Action::Create, path)?;
        if disk.names.get(path).is_none() && disk.room() == 0 {
            return Err(Errno::NOSPC.into());
        }
        let id = disk.add_file(path)?;
        Ok(self.opened(&mut disk, path, id, true))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn File>> {
        let mut disk = self.disk();
        disk.faults.check_alive()?;
        let id = disk.file(path)?;
        disk.check_allowed(path)?;
        Ok(self.opened(&mut disk, path, id, false))
    }

    fn open_to_write(&self, path: &str) -> io::Result<Box<dyn File>> {
        let mut disk = self.disk();
        disk.faults.check_writable()?;
        let id = disk.file(path)?;
        disk.check_allowed(path)?;
        Ok(self.opened(&mut disk, path, id, true))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.begin(Action::Rename, from)?;
        disk.file(from)?;
        disk.check_directory(parent(to))?;
        if disk.names.get(to) == Some(Node::Directory) {
            return Err(Errno::ISDIR.into());
        }
        if from != to {
            disk.names.change(Change::Rename { from: from.to_owned(), to: to.to_owned() });
        }
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut disk = self.begin(Action::Remove, path)?;
        disk.file(path)?;
        disk.names.change(Change::Remove { path: path.to_owned() });
        Ok(())
    }

    fn sync_directory(&self, path: &str) -> io::Result<()> {
        let mut disk = self.begin(Action::SyncDirectory, path)?;
        disk.check_directory(path)?;
        disk.names.sync(path);
        disk.forget();
        Ok(())
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn Named>> {
        let mut disk = self.disk();
        disk.faults.check_writable()?;
        match disk.add_file(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let id = disk.file(path)?;
        if !disk.locks.insert(id) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let file = self.opened(&mut disk, path, id, false);
        Ok(Box::new(SimulatedLock { files: self.clone(), id, file }))
    }
}

#[derive(Debug)]
struct SimulatedLock {
    files: SimulatedFiles,
    id: FileId,
    file: Box<dyn File>,
}

impl Named for SimulatedLock {
    fn check_name(&self) -> io::Result<()> {
        self.file.check_name()
    }
}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        self.files.disk().locks.remove(&self.id);
    }
}

#[derive(Debug)]
struct SimulatedFile {
    files: SimulatedFiles,
    path: Arc<str>,
    id: FileId,
    writable: bool,
}

impl SimulatedFile {
    /// Counts an operation on the file.
    fn begin(&self, action: Action) -> io::Result<(MutexGuard<'_, Disk>, Done)> {
        if !self.writable {
            return Err(Errno::BADF.into());
        }
        let mut disk = self.files.disk();
        let done = disk.faults.begin(action, &self.path);
        Ok((disk, done))
    }
}

impl Named for SimulatedFile {
    fn check_name(&self) -> io::Result<()> {
        let disk = self.files.disk();
        disk.faults.check_alive()?;
        if disk.file(&self.path)? == self.id { Ok(()) } else { Err(Errno::NOENT.into()) }
    }
}

impl File for SimulatedFile {
    fn length(&self) -> io::Result<u64> {
        let disk = self.files.disk();
        disk.faults.check_alive()?;
        Ok(disk.content(self.id).length())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut disk = self.files.disk();
        disk.faults.check_alive()?;
        disk.longest_read = disk.longest_read.max(buffer.len());
        disk.content(self.id).read(offset, buffer)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let (mut disk, done) = self.begin(Action::Write { offset, bytes: bytes.len() })?;
        disk.write(self.id, offset, bytes, done)
    }

    fn set_length(&mut self, length: u64) -> io::Result<()> {
        match self.begin(Action::SetLength(length))? {
            (mut disk, Done::All) => disk.set_length(self.id, length),
            (_, Done::Part(_, error)) => Err(error),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let (mut disk, done) = self.begin(Action::Sync)?;
        match done {
            Done::All => {
                disk.content_mut(self.id).sync();
                Ok(())
            }
            Done::Part(_, error) => {
                disk.content_mut(self.id).fail_sync();
                Err(error)
            }
        }
    }
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        self.files.disk().closed(self.id);
    }
}
