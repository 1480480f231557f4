//! Which operation fails, and how.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;

/// What happens to an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails and does nothing. After a sync that failed, no later one makes last what that one was to.
    Fail(Errno),
    /// It and all after it fail, and locking and opening for writing with them, until [`heal`](super::SimulatedFiles::heal).
    FailFrom(Errno),
    /// So many bytes of a write are written, and then it fails. On what is no write it is [`Fault::Fail`].
    WriteShort { bytes: usize, errno: Errno },
    /// The process ends with the power, once so many bytes of it are written if it is a write: it and everything
    /// after it fails, reading too.
    PowerCut { written: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    MakeDirectory,
    Create,
    Rename,
    Remove,
    SyncDirectory,
    /// Of so many bytes.
    Write {
        offset: u64,
        bytes: usize,
    },
    SetLength(u64),
    Sync,
}

/// One that changes something, with what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    pub action: Action,
    /// For a rename, the old one. Of an open file, the one under which it was opened.
    pub path: Arc<str>,
    pub fault: Option<Fault>,
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} {:?}", self.action, self.path)?;
        self.fault.map_or(Ok(()), |fault| write!(formatter, ": {fault:?}"))
    }
}

#[derive(Debug, Clone, Default)]
pub struct Faults {
    plan: BTreeMap<u64, Fault>,
    /// A [`Fault::FailFrom`] that has begun.
    lasting: Option<Fault>,
    dead: bool,
    log: Vec<Operation>,
}

/// How much of an operation is done.
#[derive(Debug)]
pub enum Done {
    All,
    /// So many bytes of a write, nothing of anything else.
    Part(usize, io::Error),
}

impl Faults {
    pub fn plan(&mut self, operation: u64, fault: Fault) {
        self.plan.insert(operation, fault);
    }

    pub fn heal(&mut self) {
        self.plan.clear();
        self.lasting = None;
    }

    pub fn log(&self) -> &[Operation] {
        &self.log
    }

    /// Counts an operation. Returns what becomes of it.
    pub fn begin(&mut self, action: Action, path: &Arc<str>) -> Done {
        if let Err(error) = self.check_alive() {
            return Done::Part(0, error);
        }
        let fault = self.plan.remove(&(self.log.len() as u64)).or(self.lasting);
        self.log.push(Operation { action, path: Arc::clone(path), fault });
        match fault {
            None => Done::All,
            Some(Fault::Fail(errno)) => Done::Part(0, errno.into()),
            Some(Fault::FailFrom(errno)) => {
                self.lasting = fault;
                Done::Part(0, errno.into())
            }
            Some(Fault::WriteShort { bytes, errno }) => Done::Part(bytes, errno.into()),
            Some(Fault::PowerCut { written }) => {
                self.dead = true;
                Done::Part(written, dead())
            }
        }
    }

    /// An error if the process has ended.
    pub fn check_alive(&self) -> io::Result<()> {
        if self.dead { Err(dead()) } else { Ok(()) }
    }

    /// An error if nothing can be written, for what is not counted.
    pub fn check_writable(&self) -> io::Result<()> {
        self.check_alive()?;
        match self.lasting {
            Some(Fault::FailFrom(errno)) => Err(errno.into()),
            _ => Ok(()),
        }
    }
}

fn dead() -> io::Error {
    io::Error::other("the power is cut")
}
