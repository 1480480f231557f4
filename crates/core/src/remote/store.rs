//! What is kept on the disk of the configuration from the cloud: `remote.json` in the state directory.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{By, Outcome, Wish};
use crate::files::Files;
use crate::shadows::State;

/// The name of the file.
pub const FILE: &str = "remote.json";

/// Everything that outlives the process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The shadow that `desired` is of, and what has come by it.
    pub shadow: String,
    /// What is in force unless something is on trial, and comes back if that is not confirmed. `None`: the local
    /// configuration.
    #[serde(default)]
    pub confirmed: Option<Wish>,
    #[serde(default)]
    pub trial: Option<Trying>,
    /// The desired state of the shadow that was taken up last, whatever has become of it: seen again it is nothing new.
    /// `{}` if nothing was desired, `None` if it was never seen.
    #[serde(default)]
    pub desired: Option<State>,
    #[serde(default)]
    pub checking: Option<Checking>,
    /// What has become of the last thing that was desired, if it is not in force.
    #[serde(default)]
    pub refused: Option<Outcome>,
    /// The last job.
    #[serde(default)]
    pub job: Option<KeptJob>,
}

/// A wish that is in force and not confirmed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trying {
    pub wish: Wish,
    /// In how many processes it was in force, without one that was stopped in an orderly way.
    pub attempts: u32,
}

/// Something desired is being checked: if the process ends, it may have been the reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checking {
    /// The desired state of the shadow is in [`Kept::desired`].
    pub by: By,
    /// In how many processes, without one that was stopped in an orderly way.
    pub attempts: u32,
}

/// A job that was taken up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptJob {
    pub id: String,
    /// `None` until it has ended.
    #[serde(default)]
    pub outcome: Option<Outcome>,
}

/// The file.
#[derive(Debug)]
pub struct Store {
    files: Arc<dyn Files>,
    /// For people.
    path: PathBuf,
}

/// What was found at the start.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub kept: Kept,
    /// What was wrong with the file, a sentence: then nothing is kept, and the local configuration is in force. It was set
    /// aside under another name, so that it is said once.
    pub problem: Option<String>,
}

/// Why something could not be kept. Reads as a sentence without its full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotKept(String);

impl fmt::Display for NotKept {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for NotKept {}

impl Store {
    /// The file in `directory`, which need not be there yet.
    pub fn new(directory: PathBuf) -> Store {
        Store { files: Arc::new(crate::files::OsFiles::new(directory.clone())), path: directory.join(FILE) }
    }

    /// Reads it, without changing anything: for `check`.
    ///
    /// # Errors
    /// If it is there and can't be read or understood.
    pub fn look(&self) -> Result<Kept, String> {
        let _ = (&self.files, &self.path);
        todo!("being written")
    }

    /// Reads it at the start of the bridge. One that can't be used is set aside.
    pub fn open(&self) -> Found {
        todo!("being written")
    }

    /// Keeps it, in full or not at all; it lasts once this has returned. Waits for the disk.
    ///
    /// # Errors
    /// If it can't be written. What was kept before may still be there, or this.
    pub fn keep(&self, kept: &Kept) -> Result<(), NotKept> {
        let _ = kept;
        todo!("being written")
    }
}
