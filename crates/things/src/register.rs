//! `things.json`: what was made, recorded before and after each call, so that whatever happens in between it tells what
//! may be there.
//!
//! It holds names, identifiers and paths, nothing secret. It is replaced as a whole, and durable before a call goes out.

mod check;
mod elf;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::files::{self, PUBLIC};
use super::policy::Place;
use super::stop::Stop;

/// Name of the file.
pub const FILE: &str = "things.json";

/// What the file says of itself.
const FORMAT: &str = "iot-bridge-things 1";

/// Everything that is recorded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Register {
    format: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Host name that the things connect to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The configuration that the things were made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<PathBuf>,
    #[serde(default)]
    pub policies: Vec<Policy>,
    #[serde(default)]
    pub things: Vec<Thing>,
}

/// A policy that things have, or had.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    pub name: String,
    pub origin: Origin,
}

/// Where something comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Made here, or about to be.
    Made,
    /// It was there before.
    Found,
}

/// A thing and what belongs to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Thing {
    pub name: String,
    /// Nothing as long as AWS was not asked whether there is a thing of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// The last one is in use, or to be; those before it are to be deleted.
    #[serde(default)]
    pub certificates: Vec<Certificate>,
    /// Policies that are attached to the certificate, or about to be.
    #[serde(default)]
    pub policies: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Everything is made, attached and written.
    #[serde(default)]
    pub complete: bool,
    /// Directory of a configuration that the files were put into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed: Option<PathBuf>,
}

/// A certificate that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// What it is marked with, if its key was made here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
    /// When it was asked for, in seconds since 1970.
    pub asked: u64,
    /// Nothing as long as the answer has not come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued: Option<Issued>,
}

/// What AWS calls a certificate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Issued {
    pub id: String,
    pub arn: String,
}

impl Thing {
    pub fn new(name: &str) -> Thing {
        Thing {
            name: name.to_owned(),
            origin: None,
            certificates: Vec::new(),
            policies: Vec::new(),
            groups: Vec::new(),
            complete: false,
            installed: None,
        }
    }
}

impl Certificate {
    /// One that is asked for now.
    pub fn asked_for(mark: Option<String>) -> Certificate {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Certificate { mark, asked: now.as_secs(), issued: None }
    }

    pub fn asked_at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.asked)
    }
}

impl Register {
    fn new() -> Register {
        Register { format: FORMAT.into(), ..Register::default() }
    }

    pub fn thing(&self, name: &str) -> Option<&Thing> {
        self.things.iter().find(|thing| thing.name == name)
    }

    /// The entry of a thing, a new one if there was none.
    pub fn entry(&mut self, name: &str) -> &mut Thing {
        let at = self.things.iter().position(|thing| thing.name == name).unwrap_or_else(|| {
            self.things.push(Thing::new(name));
            self.things.len() - 1
        });
        &mut self.things[at]
    }

    pub fn policy(&self, name: &str) -> Option<&Policy> {
        self.policies.iter().find(|policy| policy.name == name)
    }

    /// Whether nothing in AWS is recorded any more.
    pub fn is_empty(&self) -> bool {
        self.things.is_empty() && self.policies.is_empty()
    }
}

/// The register of a directory, for one process at a time.
#[derive(Debug)]
pub struct Ledger {
    directory: PathBuf,
    register: Mutex<Register>,
    /// Held as long as the process works with the directory.
    _lock: File,
}

impl Ledger {
    /// Opens the register of `directory`; with `create`, an empty one where there is none. One of ELF's is taken over.
    ///
    /// # Errors
    /// If there is none, it is damaged, or another process works with it.
    pub fn open(directory: &Path, create: bool) -> Result<Ledger, Stop> {
        if create {
            files::make_directory(directory).map_err(Stop::file("make the directory", directory))?;
        }
        let path = directory.join(FILE);
        let none = || {
            Stop::Failed(format!(
                "there is no {}; `iot-bridge-things create` makes things, and --output names the directory of those that \
                 are made",
                path.display()
            ))
        };
        let lock = match File::open(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(none()),
            other => other.map_err(Stop::file("open", directory))?,
        };
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| match error {
            rustix::io::Errno::WOULDBLOCK => {
                Stop::Failed(format!("another iot-bridge-things works with {}; wait for it", directory.display()))
            }
            error => Stop::file("lock", directory)(error.into()),
        })?;
        let (register, elfs) = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && create => (Register::new(), false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(none()),
            Err(error) => return Err(Stop::file("read", &path)(error)),
            Ok(text) => read(&text, directory)?,
        };
        let ledger = Ledger { directory: directory.to_owned(), register: Mutex::new(register), _lock: lock };
        if elfs {
            ledger.change(|_| ())?;
        }
        Ok(ledger)
    }

    /// Where the things' files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What is recorded now.
    pub fn read(&self) -> Register {
        self.lock().clone()
    }

    /// What is recorded of a thing; of one that is not there, nothing.
    pub fn thing(&self, name: &str) -> Thing {
        self.lock().thing(name).cloned().unwrap_or_else(|| Thing::new(name))
    }

    /// Changes the register. When this returns, the change is on the disk.
    ///
    /// # Errors
    /// If it can't be written; it is not changed then.
    pub fn change<T>(&self, change: impl FnOnce(&mut Register) -> T) -> Result<T, Stop> {
        let mut register = self.lock();
        let mut changed = register.clone();
        let answer = change(&mut changed);
        let path = self.directory.join(FILE);
        let mut text = serde_json::to_vec_pretty(&changed).map_err(|error| Stop::file("write", &path)(error.into()))?;
        text.push(b'\n');
        files::write(&path, &text, PUBLIC).map_err(Stop::file("write", &path))?;
        *register = changed;
        Ok(answer)
    }

    /// Notes that everything is of `place`, or finds out that it is of another one.
    ///
    /// # Errors
    /// If what is recorded is of another account or region.
    pub fn claim(&self, place: &Place) -> Result<(), Stop> {
        let register = self.read();
        let path = self.directory.join(FILE);
        if let Some(account) = register.account.as_ref().filter(|account| **account != place.account) {
            return Err(Stop::Failed(format!(
                "{} is of the AWS account {account}, and the credentials are of {}; choose others with --profile, or \
                 another directory with --output",
                path.display(),
                place.account
            )));
        }
        if let Some(region) = register.region.as_ref().filter(|region| **region != place.region) {
            return Err(Stop::Failed(format!(
                "{} is of the region {region}, and the command is for {}; give --region {region}, or another directory \
                 with --output",
                path.display(),
                place.region
            )));
        }
        if register.account.is_some() && register.region.is_some() {
            return Ok(());
        }
        self.change(|register| {
            (register.account, register.region) = (Some(place.account.clone()), Some(place.region.clone()));
        })
    }

    /// Deletes the file.
    pub fn delete(&self) -> Result<(), Stop> {
        let path = self.directory.join(FILE);
        files::remove(&path).map_err(Stop::file("delete", &path))
    }

    fn lock(&self) -> MutexGuard<'_, Register> {
        self.register.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The register in `text`, and whether it was ELF's.
fn read(text: &str, directory: &Path) -> Result<(Register, bool), Stop> {
    let path = directory.join(FILE);
    let damaged = |why: String| {
        Stop::Failed(format!(
            "{} is no register of things ({why}); bring it back from a copy, or move it away to start anew",
            path.display()
        ))
    };
    // What the parser says may quote the file, and aws-iot-elf's has private keys in it.
    let damaged_at = |error: serde_json::Error| damaged(format!("line {}, column {}", error.line(), error.column()));
    let value: serde_json::Value = serde_json::from_str(text).map_err(damaged_at)?;
    if value.is_array() {
        return elf::adopt(&value, directory).map(|register| (register, true));
    }
    let register: Register = serde_json::from_str(text).map_err(damaged_at)?;
    if register.format != FORMAT {
        return Err(damaged(format!("its format is {:?}, and this program knows {FORMAT:?}", register.format)));
    }
    check::check(&register).map_err(damaged)?;
    Ok((register, false))
}

#[cfg(test)]
mod tests;
