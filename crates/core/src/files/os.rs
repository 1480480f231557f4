//! The real file system.

use std::fmt::Debug;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::{Entry, EntryKind, File, Files, Named};

/// The files below a directory. The directory itself may be a link; a link in it is listed as
/// [`Other`](EntryKind::Other), and opening it is an error.
#[derive(Debug)]
pub struct OsFiles {
    directory: PathBuf,
}

impl OsFiles {
    /// Touches nothing yet.
    pub fn new(directory: PathBuf) -> Self {
        OsFiles { directory }
    }

    /// Keeps others from [locking](Files::lock) `path`, as others that only look may at the same time, until the answer
    /// is dropped. Changes nothing, and answers nothing where there is no such file. An error of the kind
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if another process has the lock.
    pub fn share_lock(&self, path: &str) -> io::Result<Option<impl Debug + Send + use<>>> {
        let file = match options(OpenOptions::new().read(true)).open(self.path(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        file.try_lock_shared()?;
        Ok(Some(file))
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }
}

impl Files for OsFiles {
    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.path(path))? {
            let entry = entry?;
            let kind = match entry.metadata() {
                Ok(metadata) if metadata.is_file() => EntryKind::File { length: metadata.len() },
                Ok(metadata) if metadata.is_dir() => EntryKind::Directory,
                Ok(_) => EntryKind::Other,
                // Somebody has removed it meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            entries.push(Entry { name: entry.file_name().to_string_lossy().into_owned(), kind });
        }
        Ok(entries)
    }

    fn make_directory(&self, path: &str) -> io::Result<()> {
        let directory = self.path(path);
        // The current directory is the "" above a relative path.
        let missing: Vec<_> = directory.ancestors().take_while(|above| !above.is_dir() && *above != "").collect();
        for directory in missing.into_iter().rev() {
            DirBuilder::new().mode(0o700).create(directory)?;
            match directory.parent() {
                Some(above) if above != "" => sync_directory(above)?,
                _ => sync_directory(Path::new("."))?,
            }
        }
        Ok(())
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn File>> {
        open(OpenOptions::new().read(true).write(true).create_new(true), &self.path(path))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn File>> {
        open(OpenOptions::new().read(true), &self.path(path))
    }

    fn open_to_write(&self, path: &str) -> io::Result<Box<dyn File>> {
        open(OpenOptions::new().read(true).write(true), &self.path(path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.path(path))
    }

    fn sync_directory(&self, path: &str) -> io::Result<()> {
        sync_directory(&self.path(path))
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn Named>> {
        let path = self.path(path);
        let file = options(OpenOptions::new().read(true).write(true).create(true)).open(&path)?;
        file.try_lock()?;
        Ok(Box::new(OsFile { file, path }))
    }
}

/// A file of ours is a regular one: no link is followed, and a pipe of that name does not block.
fn options(options: &mut OpenOptions) -> &mut OpenOptions {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options.mode(0o600).custom_flags(flags.bits().cast_signed())
}

fn open(how: &mut OpenOptions, path: &Path) -> io::Result<Box<dyn File>> {
    Ok(Box::new(OsFile { file: options(how).open(path)?, path: path.to_owned() }))
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let flags = OFlags::DIRECTORY.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)?.sync_all()
}

#[derive(Debug)]
struct OsFile {
    file: fs::File,
    path: PathBuf,
}

impl Named for OsFile {
    fn check_name(&self) -> io::Result<()> {
        let (own, named) = (self.file.metadata()?, fs::symlink_metadata(&self.path)?);
        if (own.dev(), own.ino()) == (named.dev(), named.ino()) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }
}

impl File for OsFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let (mut offset, mut rest) = (offset, buffer);
        let mut filled = 0;
        while !rest.is_empty() {
            match self.file.read_at(rest, offset) {
                Ok(0) => break,
                Ok(read) => {
                    filled += read;
                    offset += read as u64;
                    rest = rest.split_at_mut(read).1;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn set_length(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    /// `fdatasync` writes what is needed to read the data again, and so the length as well.
    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use tempfile::TempDir;

    use super::*;

    fn files() -> (TempDir, OsFiles) {
        let directory = tempfile::tempdir().unwrap();
        let files = OsFiles::new(directory.path().to_owned());
        (directory, files)
    }

    fn mode(path: PathBuf) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
    }

    /// Nobody but the owner reads what is written, and nobody but the owner lists it, the queue's directory included.
    #[test]
    fn modes_are_private() {
        let (directory, _) = files();
        let files = OsFiles::new(directory.path().join("state/queue"));
        files.make_directory("lanes/high").unwrap();
        files.make_directory("lanes/high").unwrap();
        files.create("lanes/high/1").unwrap();
        let _lock = files.lock("lock").unwrap();

        let queue = directory.path().join("state/queue");
        for path in ["..", "", "lanes", "lanes/high"] {
            assert_eq!(mode(queue.join(path)), 0o700, "{path}");
        }
        for path in ["lanes/high/1", "lock"] {
            assert_eq!(mode(queue.join(path)), 0o600, "{path}");
        }
        for path in ["", "lanes", "lanes/high"] {
            files.sync_directory(path).unwrap();
        }
    }

    /// A file that is there is never made anew, and one that is not there is only made by `create`.
    #[test]
    fn create_makes_and_open_does_not() {
        let (_directory, files) = files();
        assert_eq!(files.open("1").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(files.open_to_write("1").unwrap_err().kind(), io::ErrorKind::NotFound);
        files.create("1").unwrap().write_at(0, b"kept").unwrap();
        assert_eq!(files.create("1").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(files.open("1").unwrap().length().unwrap(), 4);
        assert!(files.open("1").unwrap().write_at(0, b"lost").is_err());
        files.open_to_write("1").unwrap().write_at(4, b" too").unwrap();
        assert_eq!(files.open("1").unwrap().length().unwrap(), 8);
    }

    /// What was written is read back from any place; what lies behind the end is not made up.
    #[test]
    fn reads_end_with_the_file() {
        let (_directory, files) = files();
        let mut file = files.create("1").unwrap();
        file.write_at(2, b"abcdef").unwrap();
        file.set_length(7).unwrap();
        file.sync().unwrap();

        let mut buffer = [b'-'; 4];
        assert_eq!(file.read_at(0, &mut buffer).unwrap(), 4);
        assert_eq!(&buffer, b"\0\0ab");
        let mut buffer = [b'-'; 4];
        assert_eq!(file.read_at(5, &mut buffer).unwrap(), 2);
        assert_eq!(&buffer, b"de--");
        assert_eq!(file.read_at(7, &mut buffer).unwrap(), 0);
        assert_eq!(file.read_at(1000, &mut buffer).unwrap(), 0);
    }

    /// One directory belongs to one holder of its lock, until that lets go.
    #[test]
    fn a_lock_has_one_holder() {
        let (directory, files) = files();
        let lock = files.lock("lock").unwrap();
        let other = OsFiles::new(directory.path().to_owned());
        assert_eq!(other.lock("lock").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(lock);
        other.lock("lock").unwrap();
    }

    /// Who only looks keeps nobody out who only looks, but everybody who would change something, and makes no lock.
    #[test]
    fn a_shared_lock_keeps_writers_out() {
        let (directory, files) = files();
        assert!(files.share_lock("lock").unwrap().is_none());
        assert_eq!(files.list("").unwrap(), []);

        drop(files.lock("lock").unwrap());
        let other = OsFiles::new(directory.path().to_owned());
        let looking = (files.share_lock("lock").unwrap(), other.share_lock("lock").unwrap());
        assert_eq!(files.lock("lock").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(looking);
        let _lock = files.lock("lock").unwrap();
        assert_eq!(other.share_lock("lock").unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    /// A listing tells files with their length, directories, and what is neither.
    #[test]
    fn a_listing_tells_kinds() {
        let (directory, files) = files();
        files.create("file").unwrap().write_at(0, b"12345").unwrap();
        files.make_directory("directory").unwrap();
        symlink("file", directory.path().join("link")).unwrap();
        let _socket = UnixListener::bind(directory.path().join("socket")).unwrap();

        let mut entries: Vec<_> = files.list("").unwrap().into_iter().map(|entry| (entry.name, entry.kind)).collect();
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        let expected = [
            ("directory", EntryKind::Directory),
            ("file", EntryKind::File { length: 5 }),
            ("link", EntryKind::Other),
            ("socket", EntryKind::Other),
        ];
        assert_eq!(entries, expected.map(|(name, kind)| (name.to_owned(), kind)));
        assert_eq!(files.list("directory").unwrap(), []);
        assert_eq!(files.list("none").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(files.list("file").unwrap_err().kind(), io::ErrorKind::NotADirectory);
    }

    /// A link in the queue's directory leads nowhere; the directory itself may be one.
    #[test]
    fn links_are_not_followed() {
        let (directory, files) = files();
        files.make_directory("real").unwrap();
        files.create("real/target").unwrap();
        symlink("real", directory.path().join("queue")).unwrap();
        symlink("target", directory.path().join("real/link")).unwrap();
        symlink("nothing", directory.path().join("real/dangling")).unwrap();

        let files = OsFiles::new(directory.path().join("queue"));
        files.make_directory("").unwrap();
        files.sync_directory("").unwrap();
        files.open("target").unwrap();
        for link in ["link", "dangling"] {
            assert!(files.open(link).is_err(), "{link}");
            assert!(files.open_to_write(link).is_err(), "{link}");
            assert!(files.lock(link).is_err(), "{link}");
            assert_eq!(files.create(link).unwrap_err().kind(), io::ErrorKind::AlreadyExists, "{link}");
        }
        assert!(!directory.path().join("real/nothing").exists());
    }

    /// A pipe under a name of ours does not make anybody wait for its other end.
    #[test]
    fn a_pipe_does_not_block() {
        let (directory, files) = files();
        let pipe = directory.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(files.open("pipe").and_then(|file| file.read_at(0, &mut [0])).is_err());
    }

    /// A renamed file takes the place of another, and a removed one is gone.
    #[test]
    fn names_change() {
        let (_directory, files) = files();
        files.make_directory("old").unwrap();
        files.create("1").unwrap().write_at(0, b"one").unwrap();
        files.create("old/1").unwrap().write_at(0, b"other").unwrap();
        files.rename("1", "old/1").unwrap();
        assert_eq!(files.open("old/1").unwrap().length().unwrap(), 3);
        assert_eq!(files.rename("1", "2").unwrap_err().kind(), io::ErrorKind::NotFound);
        files.remove("old/1").unwrap();
        assert_eq!(files.remove("old/1").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(files.list("old").unwrap(), []);
    }
}
