//! What provisioning has brought so far, on the disk.
//!
//! Three files, each written in full and durable before it has its name: the private key, the certificate, and beside
//! the certificate `provisioning.json`, which holds what is between them. All are for the service's user alone.
//!
//! The name of the thing stays in `provisioning.json` for good. The certificate is there as well, so that renaming that
//! file is the one moment from which on the robot is provisioned: what is missing then, the certificate's own file, is
//! made at the next start.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::key::{Key, KeyProblem};
use crate::config::Aws;
use crate::files::{Files, OsFiles, is_absence, read_whole, replace_whole};
use crate::pem;

/// The name of the file that says how far it is.
const STATE: &str = "provisioning.json";

/// How long an ownership token is used. AWS IoT Core takes it for an hour.
const TOKEN_LIFE: Duration = Duration::from_secs(55 * 60);

/// No file of ours is larger; more is not read.
const LARGEST: u64 = 1 << 20;

/// Where key, certificate and state are.
#[derive(Debug)]
pub struct Store {
    private_key: Place,
    certificate: Place,
    state: Place,
}

/// A file.
#[derive(Debug)]
struct Place {
    files: Arc<dyn Files>,
    /// Its name in the directory.
    name: String,
    /// For people.
    path: PathBuf,
}

/// How far it is.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is no certificate for the key.
    Begun,
    Issued(Issued),
    Registered(Registered),
}

/// A certificate that is not registered yet, so that it opens nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issued {
    pub certificate_id: String,
    pub certificate_pem: String,
    pub ownership_token: Token,
    /// When it was, in seconds since 1970.
    pub obtained: u64,
}

/// What the certificate is registered for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// The name of the thing.
    pub thing: String,
    pub certificate_id: String,
    pub certificate_pem: String,
    /// The template by which it was registered.
    pub template: String,
    /// What the template answers beside the thing. The bridge makes nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_configuration: Option<serde_json::Value>,
}

/// Proves who asked for a certificate. A secret: `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// `text`, which may come from elsewhere, without the token.
    pub fn cut_from(&self, text: &str) -> String {
        if self.0.is_empty() { text.to_owned() } else { text.replace(&self.0, "…") }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Token").finish_non_exhaustive()
    }
}

/// The content of [`STATE`].
#[derive(Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum State {
    Issued(Issued),
    Registered(Registered),
}

/// What keeps provisioning from storing what it has, or from going on with it. Each message names the file, and reads as
/// a sentence without its full stop.
#[derive(Debug, thiserror::Error)]
pub enum StoreProblem {
    #[error(
        "{} cannot be written ({source}); the service has to be able to write into that directory. aws.certificate and \
         aws.private_key may name files in another one; without them it is /var/lib/iot-bridge/certs",
        path.display()
    )]
    Unwritable { path: PathBuf, source: io::Error },
    #[error("{} cannot be read ({source})", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is damaged ({reason}); without this file the robot is provisioned anew", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("the private key {} {fault}; without this file the robot makes one", path.display())]
    UnusableKey { path: PathBuf, fault: pem::Fault },
    #[error("no private key can be made ({0})")]
    NoKey(KeyProblem),
}

impl Store {
    /// The files that `aws` names.
    pub fn new(aws: &Aws) -> Store {
        let (private_key, certificate) = (Place::of(&aws.private_key), Place::of(&aws.certificate));
        let state = certificate.beside(STATE);
        Store { private_key, certificate, state }
    }

    /// The key. It is made if there is none, and lasts from here on.
    pub fn key(&self) -> Result<Key, StoreProblem> {
        if let Some(pem) = self.private_key.read()? {
            // An earlier attempt may have ended between giving it its name and making that last.
            self.private_key.sync()?;
            let unusable = |fault| StoreProblem::UnusableKey { path: self.private_key.path.clone(), fault };
            return Key::from_pem(&pem).map_err(unusable);
        }
        let key = Key::generate().map_err(StoreProblem::NoKey)?;
        self.private_key.write(key.to_pem().as_bytes())?;
        tracing::info!("The private key {} is made.", self.private_key.path.display());
        Ok(key)
    }

    /// How far it is with `key` at `now`, in seconds since 1970.
    pub fn progress(&self, key: &Key, now: u64) -> Result<Progress, StoreProblem> {
        let state = self.state()?;
        if state.is_some() {
            self.state.sync()?;
        }
        Ok(match state {
            // By a clock that is not set yet a token may be from the future, or from long ago: there are others.
            Some(State::Issued(issued))
                if key.fits(&issued.certificate_pem)
                    && now.checked_sub(issued.obtained).is_some_and(|age| age < TOKEN_LIFE.as_secs()) =>
            {
                Progress::Issued(issued)
            }
            Some(State::Registered(registered)) if key.fits(&registered.certificate_pem) => {
                Progress::Registered(registered)
            }
            _ => Progress::Begun,
        })
    }

    /// The thing that the robot was registered for, if it was.
    pub fn registered(&self) -> Result<Option<Registered>, StoreProblem> {
        Ok(match self.state()? {
            Some(State::Registered(registered)) => Some(registered),
            Some(State::Issued(_)) | None => None,
        })
    }

    /// Keeps a certificate that is still to be registered.
    pub fn keep_issued(&self, issued: Issued) -> Result<(), StoreProblem> {
        self.keep(&State::Issued(issued))
    }

    /// Keeps the registration. From here on the robot is provisioned, though [`Store::finish`] is still to be called.
    pub fn keep_registered(&self, registered: Registered) -> Result<(), StoreProblem> {
        self.keep(&State::Registered(registered))
    }

    /// Makes the certificate's own file, which is the sign of it all.
    pub fn finish(&self, registered: &Registered) -> Result<(), StoreProblem> {
        self.certificate.write(registered.certificate_pem.as_bytes())
    }

    /// Whether the certificate has a file.
    pub fn has_certificate(&self) -> Result<bool, StoreProblem> {
        match std::fs::metadata(&self.certificate.path) {
            Ok(_) => Ok(true),
            Err(error) if is_absence(&error) => Ok(false),
            Err(source) => Err(StoreProblem::Unreadable { path: self.certificate.path.clone(), source }),
        }
    }

    fn keep(&self, state: &State) -> Result<(), StoreProblem> {
        let mut json = serde_json::to_vec_pretty(state).expect("texts under names are JSON");
        json.push(b'\n');
        self.state.write(&json)
    }

    fn state(&self) -> Result<Option<State>, StoreProblem> {
        let Some(json) = self.state.read()? else { return Ok(None) };
        let damaged = |error: serde_json::Error| StoreProblem::Damaged {
            path: self.state.path.clone(),
            // The text around the fault may be the token.
            reason: format!("line {}, column {}", error.line(), error.column()),
        };
        serde_json::from_slice(&json).map(Some).map_err(damaged)
    }
}

impl Place {
    fn of(path: &Path) -> Place {
        let directory = path.parent().filter(|above| *above != "").unwrap_or(Path::new(".")).to_owned();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Place { files: Arc::new(OsFiles::new(directory)), name, path: path.to_owned() }
    }

    fn beside(&self, name: &str) -> Place {
        Place { files: Arc::clone(&self.files), name: name.to_owned(), path: self.path.with_file_name(name) }
    }

    /// What is in the file; nothing if it is not there.
    fn read(&self) -> Result<Option<Vec<u8>>, StoreProblem> {
        read_whole(&*self.files, &self.name, LARGEST)
            .map_err(|source| StoreProblem::Unreadable { path: self.path.clone(), source })
    }

    /// Writes the file, in full or not at all, and makes it last.
    fn write(&self, content: &[u8]) -> Result<(), StoreProblem> {
        replace_whole(&*self.files, &self.name, content).map_err(|source| self.unwritable(source))
    }

    /// Makes the name of the file last.
    fn sync(&self) -> Result<(), StoreProblem> {
        self.files.sync_directory("").map_err(|source| self.unwritable(source))
    }

    fn unwritable(&self, source: io::Error) -> StoreProblem {
        StoreProblem::Unwritable { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests;
