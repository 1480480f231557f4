//! What is kept on the disk of the configuration from the cloud: `remote.json` in the state directory.
//!
//! `{"format":1,"crc32c":…,"kept":{…}}`, the checksum being that of the text of `kept`. It is written in full under another
//! name, made to last, and renamed over the one before.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{By, Outcome, Wish};
use crate::files::{Files, OsFiles, read_whole, replace_whole};

/// The name of the file.
pub const FILE: &str = "remote.json";

/// Where a file that can't be used is set aside.
const ASIDE: &str = "remote.json.damaged";

/// What this program writes, and reads.
const FORMAT: u32 = 1;

/// No file of ours is larger; more is not read.
const LARGEST: u64 = 1 << 20;

/// Everything that outlives the process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kept {
    /// The shadow that wishes have come by.
    pub shadow: String,
    /// What is in force unless something is on trial, and comes back if that is not confirmed. `None`: the local
    /// configuration.
    pub confirmed: Option<Wish>,
    pub trial: Option<Trying>,
    /// The desired state of the shadow that was taken up last, as JSON, whatever has become of it: seen again it is nothing
    /// new. `{}` if nothing was desired, `None` if it was never seen.
    pub desired: Option<String>,
    pub checking: Option<Checking>,
    /// What has become of the last thing that was desired, if it is not in force.
    pub refused: Option<Outcome>,
    /// The last job.
    pub job: Option<KeptJob>,
}

impl Kept {
    /// Forgets what has come by another shadow than is asked now.
    pub(super) fn forget_the_shadow(&mut self) {
        let is_of_shadow = |by: &By| *by == By::Shadow;
        self.confirmed.take_if(|wish| is_of_shadow(&wish.by));
        self.trial.take_if(|trying| is_of_shadow(&trying.wish.by));
        self.checking.take_if(|checking| is_of_shadow(&checking.by));
        self.refused.take_if(|refused| is_of_shadow(&refused.by));
        self.desired = None;
    }
}

/// A wish that is in force and not confirmed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trying {
    pub wish: Wish,
    /// In how many processes it was in force, without those that were stopped in an orderly way.
    pub attempts: u32,
}

/// Something desired is being checked: if the process ends, that may have been the reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checking {
    /// The shadow's is [`Kept::desired`].
    pub by: By,
    /// In how many processes, without those that were stopped in an orderly way.
    pub attempts: u32,
}

/// A job that was taken up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptJob {
    pub id: String,
    /// `None` until it has ended.
    pub outcome: Option<Outcome>,
}

/// The content of the file.
#[derive(Serialize, Deserialize)]
struct Content<'a> {
    format: u32,
    crc32c: u32,
    #[serde(borrow)]
    kept: &'a RawValue,
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
    /// aside, so that it is said once.
    pub problem: Option<String>,
}

impl Store {
    /// The file in `directory`, which need not be there yet.
    pub fn new(directory: PathBuf) -> Store {
        Store::on(Arc::new(OsFiles::new(directory.clone())), directory)
    }

    /// The same on `files`, which people know as `directory`.
    pub fn on(files: Arc<dyn Files>, directory: PathBuf) -> Store {
        Store { files, path: directory.join(FILE) }
    }

    /// Reads it without changing anything, for whoever only wants to know. Nothing is kept if there is no file.
    ///
    /// # Errors
    /// Why it can't be used: a sentence without its full stop that names the file.
    pub fn look(&self) -> Result<Kept, String> {
        let path = self.path.display();
        match read_whole(&*self.files, FILE, LARGEST) {
            Ok(None) => Ok(Kept::default()),
            Ok(Some(content)) => read(&content).map_err(|reason| format!("{path} {reason}")),
            Err(error) => Err(format!("{path} cannot be read ({error})")),
        }
    }

    /// Reads it at the start of the bridge. A file that can't be used is set aside. Waits for the disk.
    pub fn open(&self) -> Found {
        match self.look() {
            Ok(kept) => {
                // A process that was killed may not have come to this: what is read here must not be another after the power
                // was gone. Where the disk does not do it, nothing can be kept, and that is told when it is tried.
                let _ = self.files.sync_directory("");
                Found { kept, problem: None }
            }
            Err(problem) => {
                let aside = self.files.rename(FILE, ASIDE).and_then(|()| self.files.sync_directory(""));
                let place = self.path.with_file_name(ASIDE);
                let problem = match aside {
                    Ok(()) => format!(
                        "{problem}: it is set aside as {}, and the local configuration is in force.",
                        place.display()
                    ),
                    Err(error) => format!(
                        "{problem}: the local configuration is in force. It cannot be set aside as {} either ({error}).",
                        place.display()
                    ),
                };
                Found { kept: Kept::default(), problem: Some(problem) }
            }
        }
    }

    /// Keeps it, in full or not at all; it lasts once this has returned. Waits for the disk.
    ///
    /// # Errors
    /// Why it can't be written: a sentence without its full stop that names the file. What was kept before may still be
    /// there, or this.
    pub fn keep(&self, kept: &Kept) -> Result<(), String> {
        let written = serde_json::value::to_raw_value(kept).and_then(|kept| {
            serde_json::to_vec(&Content { format: FORMAT, crc32c: crc32c::crc32c(kept.get().as_bytes()), kept: &kept })
        });
        let written = written.map_err(std::io::Error::other).and_then(|mut content| {
            content.push(b'\n');
            replace_whole(&*self.files, FILE, &content)
        });
        written.map_err(|error| format!("{} cannot be written ({error})", self.path.display()))
    }
}

/// Reads the content of the file. Returns what is wrong with it as the rest of a sentence about it.
fn read(content: &[u8]) -> Result<Kept, String> {
    // What is wrong is told without the text around it.
    let damaged = |error: serde_json::Error| format!("is damaged (line {}, column {})", error.line(), error.column());
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let Format { format } = serde_json::from_slice(content).map_err(damaged)?;
    if format != FORMAT {
        return Err(format!("has the format {format}, of which this program knows only {FORMAT}"));
    }
    let content: Content<'_> = serde_json::from_slice(content).map_err(damaged)?;
    if crc32c::crc32c(content.kept.get().as_bytes()) != content.crc32c {
        return Err("is damaged (its checksum is another)".to_owned());
    }
    serde_json::from_str(content.kept.get()).map_err(damaged)
}

#[cfg(test)]
mod tests;
