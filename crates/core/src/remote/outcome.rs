//! What has become of a wish.

use serde::{Deserialize, Serialize};

use super::{By, Wish};
use crate::shadows::State;

/// What is told of something that was desired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    pub by: By,
    /// Of the wish; `None` if nothing is desired, so that the local configuration is in force, or if it has none that can be
    /// read.
    pub version: Option<String>,
    pub state: Verdict,
    /// Why, each a sentence; empty where everything is well.
    pub problems: Vec<String>,
}

/// How it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is in force, and confirmed.
    Applied,
    /// It is not in force, as it can't be.
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

/// Most problems that are kept; a last one says how many more there are.
const MOST_PROBLEMS: usize = 50;

/// Longest problem that is kept, in characters.
const LONGEST_PROBLEM: usize = 500;

impl Outcome {
    /// With no more of `problems` than may be kept.
    pub(super) fn new(by: By, version: Option<String>, state: Verdict, mut problems: Vec<String>) -> Outcome {
        let more = problems.len().saturating_sub(MOST_PROBLEMS);
        if more > 0 {
            problems.truncate(MOST_PROBLEMS);
            problems.push(format!("There are {more} more problems."));
        }
        problems.iter_mut().for_each(cut);
        Outcome { by, version, state, problems }
    }
}

impl Outcome {
    /// `wish` is in force and confirmed, or the local configuration by what `by` says.
    pub(super) fn applied(by: By, wish: Option<&Wish>) -> Outcome {
        Outcome {
            by: wish.map_or(by, |wish| wish.by.clone()),
            version: wish.map(|wish| wish.version.clone()),
            state: Verdict::Applied,
            problems: Vec::new(),
        }
    }

    /// The same with another problem, which is of something else and has room besides.
    pub(super) fn and(mut self, mut problem: String) -> Outcome {
        cut(&mut problem);
        self.problems.push(problem);
        self
    }

    /// Whether the same may be taken by another program or with other local files.
    pub(super) fn may_be_mended(&self) -> bool {
        self.state == Verdict::Rejected && self.by == By::Shadow
    }
}

/// Makes a problem no longer than is kept.
fn cut(problem: &mut String) {
    if let Some((end, _)) = problem.char_indices().nth(LONGEST_PROBLEM) {
        problem.truncate(end);
        problem.push('…');
    }
}

/// A job whose document wishes a configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    pub id: String,
    /// With `operation`, `version` and `config`.
    pub document: State,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However much is wrong, what is kept of it is bounded and says how much more there was.
    #[test]
    fn problems_are_bounded() {
        let problems = (0..1000).map(|number| format!("{number} {}", "ü".repeat(1000))).collect();
        let outcome = Outcome::new(By::Shadow, None, Verdict::Rejected, problems);
        assert_eq!((outcome.problems.len(), outcome.problems[0].chars().count()), (51, 501));
        assert_eq!(outcome.problems[50], "There are 950 more problems.");
        let outcome = outcome.and("Another.".to_owned());
        assert_eq!(outcome.problems[50..], ["There are 950 more problems.", "Another."]);
    }
}
