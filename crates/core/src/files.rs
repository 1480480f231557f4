//! The one way to the file system: all file access of the queue goes through these traits, so that tests inject faults.
//!
//! Paths are relative to the queue's directory, with `/` between their parts.

mod os;
#[cfg(any(test, feature = "fuzzing"))]
pub mod simulated;
mod whole;

use std::fmt::Debug;
use std::io;

pub use os::OsFiles;
pub use whole::{is_absence, read_whole, replace_whole};

/// A directory with what the queue keeps in it.
pub trait Files: Debug + Send + Sync {
    /// What is in the directory at `path`, in no order. `""` is the queue's directory itself.
    fn list(&self, path: &str) -> io::Result<Vec<Entry>>;

    /// Makes a directory with mode 0700, and those above it, if they are not there. Its name lasts once
    /// [`sync_directory`](Files::sync_directory) on the directory above it has answered; that of the queue's directory
    /// itself, which has none above it here, once this has.
    fn make_directory(&self, path: &str) -> io::Result<()>;

    /// Makes a new file with mode 0600, open for reading and writing. An error of the kind
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) if there is one. The name lasts once
    /// [`sync_directory`](Files::sync_directory) has answered.
    fn create(&self, path: &str) -> io::Result<Box<dyn File>>;

    /// Opens a file for reading.
    fn open(&self, path: &str) -> io::Result<Box<dyn File>>;

    /// Opens a file for reading and writing.
    fn open_to_write(&self, path: &str) -> io::Result<Box<dyn File>>;

    /// Renames a file within the queue's directory, over another of that name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    fn remove(&self, path: &str) -> io::Result<()>;

    /// Makes what was created, renamed and removed in the directory at `path` last through a power cut.
    fn sync_directory(&self, path: &str) -> io::Result<()>;

    /// Takes the lock at `path`, making the file if need be, until the answer is dropped. An error of the kind
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if another process holds it.
    fn lock(&self, path: &str) -> io::Result<Box<dyn Named>>;
}

/// Something that was opened by its path.
pub trait Named: Debug + Send {
    /// An error of the kind [`NotFound`](io::ErrorKind::NotFound) if its path does not lead to it any more: somebody has
    /// removed or replaced it, or a directory above it.
    fn check_name(&self) -> io::Result<()>;
}

/// An open file.
pub trait File: Named {
    /// Length in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset` on. Returns how much of it was filled; less than all means that the file ends.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`. After an error any part of it may have been written.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file off, or lengthens it with zeros.
    fn set_length(&mut self, length: u64) -> io::Result<()>;

    /// Makes content and length last through a power cut. After an error, nothing is known of what was written since
    /// the last success.
    fn sync(&mut self) -> io::Result<()>;
}

/// What stands in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Lossy, where it is not UTF-8: such a name is never one of ours.
    pub name: String,
    pub kind: EntryKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file of this many bytes.
    File {
        length: u64,
    },
    Directory,
    /// A link, a socket, a device.
    Other,
}
