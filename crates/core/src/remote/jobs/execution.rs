//! A job as the service names it, and what the robot says of it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::remote::{Outcome, Verdict};

/// Longest name of a job, in characters (`jobId` in the API of AWS IoT).
const ID_LIMIT: usize = 64;

/// Most pairs of [`Details`].
const PAIRS: usize = 10;

/// Longest key of [`Details`], in characters (`DetailsKey` in the API of AWS IoT).
const KEY_LIMIT: usize = 128;

/// Longest value of [`Details`], in characters (`DetailsValue` in the API of AWS IoT).
const VALUE_LIMIT: usize = 1024;

/// The name of a job: 1 to 64 letters, digits, `-` and `_`. It stands in topics, where nothing else may come by it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct JobId(String);

impl JobId {
    /// `None` if no job can be called so.
    pub fn new(name: &str) -> Option<JobId> {
        let is_taken = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_');
        ((1..=ID_LIMIT).contains(&name.len()) && name.chars().all(is_taken)).then(|| JobId(name.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for JobId {
    type Error = NoJob;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        JobId::new(&name).ok_or(NoJob)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One run of a job on this thing. A job that comes to a thing once more, because the thing has left its group and come back, has
/// the number 2. As a text it is `job`, and then `job#2`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Execution {
    pub job: JobId,
    pub number: i64,
}

impl fmt::Display for Execution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            1 => self.job.fmt(f),
            number => write!(f, "{}#{number}", self.job),
        }
    }
}

impl FromStr for Execution {
    type Err = NoJob;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (job, number) = match text.split_once('#') {
            Some((job, number)) => (job, number.parse().map_err(|_| NoJob)?),
            None => (text, 1),
        };
        Ok(Execution { job: JobId::new(job).ok_or(NoJob)?, number })
    }
}

/// No job is called so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no job is called so")]
pub struct NoJob;

/// A job whose document asks for [`OPERATION`](super::OPERATION), and of which the service knows that it is in progress.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    pub execution: Execution,
    /// With `operation` in it.
    pub document: Map<String, Value>,
}

/// What a robot may say of a job ("Job execution states" in the developer guide). It never says REJECTED: that would be final, and
/// FAILED counts for the thresholds that end a roll-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    InProgress,
    Succeeded,
    Failed,
}

impl Status {
    /// As the service writes it.
    pub fn name(self) -> &'static str {
        match self {
            Status::InProgress => "IN_PROGRESS",
            Status::Succeeded => "SUCCEEDED",
            Status::Failed => "FAILED",
        }
    }

    /// Whether nothing can be said of the job after it.
    pub fn is_final(self) -> bool {
        self != Status::InProgress
    }
}

/// What is to be said of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    pub execution: Execution,
    pub status: Status,
    pub details: Details,
}

impl Update {
    /// The job has ended like this: SUCCEEDED if its configuration is in force and confirmed, else FAILED, with the version, what
    /// became of it, and the problems.
    pub fn ended(execution: Execution, outcome: &Outcome) -> Update {
        let Outcome { version, state, problems, .. } = outcome;
        let status = if *state == Verdict::Applied { Status::Succeeded } else { Status::Failed };
        let details = Details::default().with("version", version.as_deref().unwrap_or_default());
        Update { execution, status, details: details.with("state", state.name()).with_problems(problems) }
    }
}

/// The `statusDetails` of a job: what somebody sees beside its status. At most 10 pairs; keys of 1 to 128 letters, digits, `:`, `_`
/// and `-`, values of 1 to 1024 characters that can be seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Details(BTreeMap<String, String>);

impl Details {
    /// With `value` under `key`. What the service would not take is cut, or replaced by `?`; a pair of which nothing is left, and
    /// the eleventh, is not taken.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Details {
        let may_stand = |character: &char| character.is_ascii_alphanumeric() || matches!(character, ':' | '_' | '-');
        let key: String = key.chars().filter(may_stand).take(KEY_LIMIT).collect();
        let value = cut(value);
        if !key.is_empty() && !value.is_empty() && (self.0.len() < PAIRS || self.0.contains_key(&key)) {
            self.0.insert(key, value);
        }
        self
    }

    /// With `problems`: how many there are, and the first of them as far as there is room (`problem1`, `problem2`, …).
    #[must_use]
    pub fn with_problems<S: AsRef<str>>(mut self, problems: &[S]) -> Details {
        if !problems.is_empty() {
            self = self.with("problems", &problems.len().to_string());
        }
        for (number, problem) in (1..).zip(problems.iter().take(PAIRS)) {
            self = self.with(&format!("problem{number}"), problem.as_ref());
        }
        self
    }

    /// The pairs, by their keys.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// At most [`VALUE_LIMIT`] characters that the service takes. It wants none of the Unicode category "other", of which the standard
/// library knows only a part: what is neither ASCII, a letter nor a number is replaced.
fn cut(text: &str) -> String {
    let text = text.trim();
    let shown = |character: char| match character {
        ' '..='~' => character,
        _ if character.is_alphanumeric() => character,
        _ if character.is_whitespace() => ' ',
        _ => '?',
    };
    let mut kept: String = text.chars().take(VALUE_LIMIT).map(shown).collect();
    if text.chars().nth(VALUE_LIMIT).is_some() {
        let end = kept.char_indices().nth(VALUE_LIMIT - 3).map_or(kept.len(), |(at, _)| at);
        kept.replace_range(end.., "...");
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::By;

    /// What would lead to another topic is no name of a job.
    #[test]
    fn a_name_stays_in_its_level() {
        for name in ["a", "job-1_B", &"x".repeat(64)] {
            assert_eq!(JobId::new(name).map(|id| id.to_string()).as_deref(), Some(name));
        }
        for name in ["", "$next", "a/b", "+", "#", "ä", "a b", "a\0", &"x".repeat(65)] {
            assert_eq!(JobId::new(name), None, "{name}");
            assert!(serde_json::from_value::<JobId>(name.into()).is_err());
        }
    }

    /// A run of a job is read as it is written.
    #[test]
    fn an_execution_is_a_text() {
        let execution = |number| Execution { job: JobId::new("job-1").unwrap(), number };
        for (number, text) in [(1, "job-1"), (2, "job-1#2")] {
            assert_eq!((execution(number).to_string().as_str(), text.parse()), (text, Ok(execution(number))));
        }
        for text in ["", "a/b", "#2", "job-1#", "job-1#x", "job-1#1#2"] {
            assert_eq!(text.parse::<Execution>(), Err(NoJob));
        }
    }

    /// What is confirmed has succeeded, and nothing else.
    #[test]
    fn only_what_is_confirmed_has_succeeded() {
        let of = |state, problems: &[&str]| {
            let problems = problems.iter().map(|&problem| problem.to_owned()).collect();
            let outcome = Outcome { by: By::Job("job-1".to_owned()), version: Some("7".to_owned()), state, problems };
            let Update { status, details, .. } = Update::ended("job-1".parse().unwrap(), &outcome);
            let details: Vec<_> = details.pairs().map(|(key, value)| format!("{key}={value}")).collect();
            (status, details.join(" "))
        };
        assert_eq!(of(Verdict::Applied, &[]), (Status::Succeeded, "state=applied version=7".to_owned()));
        let rejected = "problem1=no problem2=never problems=2 state=rejected version=7";
        assert_eq!(of(Verdict::Rejected, &["no", "never"]), (Status::Failed, rejected.to_owned()));
        for (state, name) in [(Verdict::RolledBack, "rolled_back"), (Verdict::Replaced, "replaced")] {
            assert_eq!(of(state, &[]), (Status::Failed, format!("state={name} version=7")));
        }
    }

    /// However many problems there are and whatever they quote, the service takes what is said of them.
    #[test]
    fn details_are_what_the_service_takes() {
        let long = "\u{202e}ä\u{0}\n".repeat(400);
        let problems: Vec<String> = (0..50).map(|n| format!("{n} {long}")).collect();
        let details = Details::default().with("version", "7").with("a key / ä", "x").with("", "x").with("empty", " \n");
        let details = details.with_problems(&problems).with("version", "8");
        let pairs: Vec<_> = details.pairs().collect();
        assert_eq!(pairs.len(), PAIRS);
        assert!(
            pairs.contains(&("version", "8")) && pairs.contains(&("akey", "x")) && pairs.contains(&("problems", "50"))
        );
        let (_, first) = pairs.iter().find(|(key, _)| *key == "problem1").unwrap();
        assert!(first.starts_with("0 ?ä? ?ä? ") && first.ends_with("..."), "{first}");
        for (key, value) in pairs {
            assert!((1..=VALUE_LIMIT).contains(&value.chars().count()), "{key}");
            assert!(value.chars().all(|character| !character.is_control()), "{value}");
        }
        assert!(Details::default().with_problems::<String>(&[]).is_empty());
        let read: Details = serde_json::from_str(r#"{"version":"7"}"#).unwrap();
        assert_eq!(read, Details::default().with("version", "7"));
    }
}
