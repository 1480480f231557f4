//! What has become of a wish.

use serde::{Deserialize, Serialize};

use super::By;

/// What is reported of the last thing that was desired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub by: By,
    /// Of the wish; `None` if nothing is desired, so that the local configuration is in force, or if it has none.
    pub version: Option<String>,
    pub state: Verdict,
    /// Why, each a sentence; empty where everything is well. At most [`Outcome::MOST_PROBLEMS`].
    pub problems: Vec<String>,
}

/// How it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is in force, and confirmed.
    Applied,
    /// It was never in force.
    Rejected,
    /// It was in force and not confirmed: the one before is in force again.
    RolledBack,
    /// Of a job: something that was desired later has taken its place before it was confirmed. Never of a shadow's wish.
    Replaced,
}

impl Verdict {
    /// As it is reported.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Applied => "applied",
            Verdict::Rejected => "rejected",
            Verdict::RolledBack => "rolled_back",
            Verdict::Replaced => "replaced",
        }
    }
}

impl Outcome {
    /// Most problems that are kept. A last one says how many more there are.
    pub const MOST_PROBLEMS: usize = 50;
}

/// A job whose document wishes a configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    pub id: String,
    /// With `operation`, `version` and `config`.
    pub document: crate::shadows::State,
}
