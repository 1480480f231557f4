//! A file system at each operation of which something else happens, as other threads make it happen.

use std::fmt::Debug;
use std::io;
use std::sync::{Arc, Mutex};

use crate::files::{Entry, File, Files, Named};

/// What happens. It is called before the operation, and may not work on the files itself.
pub(in crate::queue) type Meddle = dyn FnMut() + Send;

#[derive(Clone)]
pub(in crate::queue) struct Meddler {
    files: Arc<dyn Files>,
    meddle: Arc<Mutex<Box<Meddle>>>,
}

impl Meddler {
    pub fn new(files: Arc<dyn Files>, meddle: Box<Meddle>) -> Meddler {
        Meddler { files, meddle: Arc::new(Mutex::new(meddle)) }
    }

    fn meddle(&self) {
        // After a panic the test has failed; what is closed then meddles no more.
        if let Ok(mut meddle) = self.meddle.lock() {
            meddle();
        }
    }

    fn file(&self, file: Box<dyn File>) -> Box<dyn File> {
        Box::new(MeddledFile { file, meddler: self.clone() })
    }
}

impl Debug for Meddler {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.files.fmt(formatter)
    }
}

impl Files for Meddler {
    fn list(&self, path: &str) -> io::Result<Vec<Entry>> {
        self.meddle();
        self.files.list(path)
    }

    fn make_directory(&self, path: &str) -> io::Result<()> {
        self.meddle();
        self.files.make_directory(path)
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn File>> {
        self.meddle();
        Ok(self.file(self.files.create(path)?))
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn File>> {
        self.meddle();
        Ok(self.file(self.files.open(path)?))
    }

    fn open_to_write(&self, path: &str) -> io::Result<Box<dyn File>> {
        self.meddle();
        Ok(self.file(self.files.open_to_write(path)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.meddle();
        self.files.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.meddle();
        self.files.remove(path)
    }

    fn sync_directory(&self, path: &str) -> io::Result<()> {
        self.meddle();
        self.files.sync_directory(path)
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn Named>> {
        self.files.lock(path)
    }
}

#[derive(Debug)]
struct MeddledFile {
    file: Box<dyn File>,
    meddler: Meddler,
}

impl Named for MeddledFile {
    fn check_name(&self) -> io::Result<()> {
        self.file.check_name()
    }
}

impl File for MeddledFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.meddler.meddle();
        self.file.read_at(offset, buffer)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.meddler.meddle();
        self.file.write_at(offset, bytes)
    }

    fn set_length(&mut self, length: u64) -> io::Result<()> {
        self.meddler.meddle();
        self.file.set_length(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.meddler.meddle();
        self.file.sync()
    }
}
