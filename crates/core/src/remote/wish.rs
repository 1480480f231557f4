//! What the cloud wishes: sections of a configuration under a version.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::Section;
use crate::shadows::State;

/// Sections of a configuration that take the place of the local ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wish {
    /// What whoever wishes it calls it: 1 to [`LONGEST_VERSION`] characters that can be printed.
    pub version: String,
    /// By their names, at least one. What is in them is not checked yet.
    pub sections: Map<String, Value>,
    pub by: By,
}

/// How a wish has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// As the desired state of the shadow that `[remote]` names.
    Shadow,
    /// As the document of the IoT Job of this id.
    Job(String),
}

/// Longest version, in characters.
pub const LONGEST_VERSION: usize = 64;

/// Why what was wished is no wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The version, if it could be read.
    pub version: Option<String>,
    /// What is wrong, never empty. No value is quoted that a key could be in.
    pub problems: Vec<String>,
}

impl Wish {
    /// Reads a desired state (`{"version":"7","config":{"topics":[…]}}`) or the document of a job, which has
    /// `"operation"` besides. `None` if nothing is desired: there is no `config`.
    ///
    /// # Errors
    /// If it is anything else, names a section that is not in `allow`, or none.
    pub fn read(desired: &State, by: By, allow: &[Section]) -> Result<Option<Wish>, Unread> {
        let _ = (desired, by, allow);
        todo!("being written")
    }

    /// Whether all of its sections are in `allow`.
    pub fn is_allowed(&self, allow: &[Section]) -> bool {
        self.sections.keys().all(|name| Section::of(name).is_some_and(|section| allow.contains(&section)))
    }

    /// What problems of it name as their source: `the shadow iot-bridge, version 7`, or `the job 4711, version 7`.
    pub fn source(&self, shadow: &str) -> String {
        match &self.by {
            By::Shadow => format!("the shadow {shadow}, version {}", self.version),
            By::Job(id) => format!("the job {id}, version {}", self.version),
        }
    }
}
