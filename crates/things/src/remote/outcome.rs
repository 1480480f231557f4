//! What has become of a configuration on each robot, and how that is told.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::plural;
use crate::stop::Stop;
use iot_bridge_core::terminal::printable;

/// What has become of it on one robot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Applied,
    /// Nothing was changed, because of these problems.
    Rejected(Vec<String>),
    /// It was in force, and the one before is again.
    RolledBack(Vec<String>),
    /// The job is over for the robot, and why it was not applied.
    Ended(String),
    /// The robot has not said, and what is known besides.
    Silent(String),
    /// It is desired, and nobody waits for the robot.
    Sent,
    /// Whether it is desired is not known, and why.
    Unknown(String),
    /// It is not desired, because of this.
    Failed(String),
    /// It is not for this robot, and why.
    Left(String),
    /// The command was over before it came to this robot.
    NotSent,
}

/// A version and what has become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub version: String,
    pub outcome: Outcome,
}

/// What has become of what was sent to robots.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// By the things' names.
    pub of: BTreeMap<String, Row>,
    /// The id of the job, if it was sent by one.
    pub job: Option<String>,
    /// Whether somebody has pressed Ctrl-C.
    pub interrupted: bool,
}

impl Outcome {
    /// Whether it changes no more.
    fn is_final(&self) -> bool {
        !matches!(self, Outcome::Silent(_) | Outcome::Sent | Outcome::NotSent)
    }

    fn is_good(&self) -> bool {
        matches!(self, Outcome::Applied | Outcome::Sent | Outcome::Left(_))
    }

    fn word(&self) -> &'static str {
        match self {
            Outcome::Applied => "applied",
            Outcome::Rejected(_) => "rejected",
            Outcome::RolledBack(_) => "rolled back",
            Outcome::Ended(_) => "ended",
            Outcome::Silent(_) => "silent",
            Outcome::Sent => "sent",
            Outcome::Unknown(_) => "unknown",
            Outcome::Failed(_) => "failed",
            Outcome::Left(_) => "left alone",
            Outcome::NotSent => "not sent",
        }
    }

    fn problems(&self) -> &[String] {
        match self {
            Outcome::Rejected(problems) | Outcome::RolledBack(problems) => problems,
            Outcome::Ended(why)
            | Outcome::Silent(why)
            | Outcome::Unknown(why)
            | Outcome::Failed(why)
            | Outcome::Left(why) => std::slice::from_ref(why),
            Outcome::Applied | Outcome::Sent | Outcome::NotSent => &[],
        }
    }
}

impl Outcomes {
    /// Nothing is sent yet to these things, each with its version.
    pub fn new(things: impl IntoIterator<Item = (String, String)>) -> Outcomes {
        let row = |(thing, version)| (thing, Row { version, outcome: Outcome::NotSent });
        Outcomes { of: things.into_iter().map(row).collect(), ..Outcomes::default() }
    }

    pub fn set(&mut self, thing: &str, outcome: Outcome) {
        if let Some(row) = self.of.get_mut(thing) {
            row.outcome = outcome;
        }
    }

    /// From now on somebody waits for those to which it was sent, so that it has to be known what became of it there.
    pub fn wait_for_all(&mut self) {
        for row in self.of.values_mut().filter(|row| row.outcome == Outcome::Sent) {
            row.outcome = Outcome::Silent("it was not asked yet".into());
        }
    }

    /// The things whose outcome may still change.
    pub fn open(&self) -> Vec<String> {
        self.of.iter().filter(|(_, row)| !row.outcome.is_final()).map(|(thing, _)| thing.clone()).collect()
    }

    /// `3 applied, 1 silent`.
    pub fn counts(&self) -> String {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for row in self.of.values() {
            *counts.entry(row.outcome.word()).or_default() += 1;
        }
        counts.iter().map(|(word, count)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
    }

    /// Prints them. The exit status is 0 if all have applied it, or if it is desired of all and nobody waits.
    pub fn print(&self, as_json: bool) -> Result<ExitCode, Stop> {
        match as_json {
            true => println!("{}", pretty(&self.json())?),
            false => print!("{}", self.text()),
        }
        let all_good = !self.interrupted && self.of.values().all(|row| row.outcome.is_good());
        Ok(if all_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn json(&self) -> Value {
        let thing = |(thing, Row { version, outcome }): (&String, &Row)| {
            let state = outcome.word().replace(' ', "_");
            json!({ "thing": thing, "version": version, "state": state, "problems": outcome.problems() })
        };
        let things: Vec<Value> = self.of.iter().map(thing).collect();
        json!({ "job": self.job, "interrupted": self.interrupted, "things": things })
    }

    /// A line for each robot, and its problems below it. What went well comes first, so that the rest is seen.
    fn text(&self) -> String {
        let width = self.of.keys().map(String::len).max().unwrap_or(0);
        let versions = self.of.values().map(|row| plain(&row.version).chars().count()).max().unwrap_or(0);
        let mut rows: Vec<_> = self.of.iter().collect();
        rows.sort_by_key(|(_, row)| !row.outcome.is_good());
        let mut text = String::new();
        for (thing, Row { version, outcome }) in rows {
            text += &format!("{thing:width$}  {:versions$}  {}\n", plain(version), outcome.word());
            text += &below(outcome.problems());
        }
        let interrupted =
            if self.interrupted { " Interrupted; what is sent already, the robots go on with." } else { "" };
        format!("{text}{}: {}.{interrupted}\n", plural(self.of.len(), "thing"), self.counts())
    }
}

/// `text` of a robot, without what a terminal obeys.
pub fn plain(text: &str) -> String {
    let mut text = text.to_owned();
    printable::clean_text(&mut text);
    text
}

/// The lines of `problems`, as they stand below a robot.
pub fn below(problems: &[String]) -> String {
    problems.iter().flat_map(|problem| problem.lines()).map(|line| format!("    {}\n", plain(line))).collect()
}

/// `value` as JSON for people and programs: the same value, and a terminal obeys nothing of it.
///
/// # Errors
/// Never of what is here; as serde says.
pub fn pretty(value: &Value) -> Result<String, Stop> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Stop::Failed(error.to_string()))?;
    Ok(text.lines().map(printable::json).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A robot that was taken over says nothing to the operator's terminal, in text or JSON.
    #[test]
    fn terminals_obey_no_robot() {
        let hostile = "a\u{1b}]0;b\u{7}\u{9b}2J\u{202e}\nc\td";
        let mut outcomes = Outcomes::new([("a".to_owned(), hostile.replace('\n', ""))]);
        outcomes.set("a", Outcome::Rejected(vec![hostile.into()]));
        let text = outcomes.text();
        assert!(text.contains("\n    a\\u{1b}]0;b\\u{7}\\u{9b}2J\\u{202e}\n    c\\u{9}d\n"), "{text}");
        let json = pretty(&outcomes.json()).unwrap();
        let is_plain = |text: &str| text.lines().all(|line| plain(line) == line);
        assert!(is_plain(&text) && is_plain(&json), "{text}{json}");
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), outcomes.json());
    }

    /// The table has a line for each robot, what went wrong last, and its problems below it.
    #[test]
    fn the_table_ends_with_what_went_wrong() {
        let mut outcomes = Outcomes::new(["a", "bb", "c", "d"].map(|thing| (thing.to_owned(), "7".to_owned())));
        outcomes.set("a", Outcome::Rejected(vec!["topics[0].ros\n  found 7".into(), "another".into()]));
        outcomes.set("bb", Outcome::Applied);
        outcomes.set("c", Outcome::Silent("no report".into()));
        assert_eq!(
            outcomes.text(),
            "bb  7  applied\na   7  rejected\n    topics[0].ros\n      found 7\n    another\nc   7  silent\n    no report\n\
             d   7  not sent\n4 things: 1 applied, 1 not sent, 1 rejected, 1 silent.\n"
        );
        assert_eq!(outcomes.open(), ["c", "d"]);
        assert_eq!(outcomes.json()["things"][0]["problems"][1], "another");
        assert_eq!(outcomes.json()["things"][3]["state"], "not_sent");
    }
}
