//! A robot as its shadow shows it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Map, Value};

use super::configuration::{Configuration, without_others};
use super::outcome::Outcome;
use crate::aws::Aws;
use crate::failure::Failure;

/// What a shadow holds of a robot's configuration.
#[derive(Debug, Clone, Serialize)]
pub struct Robot {
    pub thing: String,
    /// `None` where there is no shadow.
    pub desired: Option<Map<String, Value>>,
    /// `None` where the robot has never reported.
    pub reported: Option<Map<String, Value>>,
    /// When it last did, in seconds since 1970.
    pub reported_at: Option<u64>,
    /// AWS's number of the document, which each update raises; `None` where there is no shadow.
    #[serde(skip)]
    pub document: Option<u64>,
}

impl Robot {
    /// Asks for the shadow of `thing`.
    pub async fn ask(aws: &Aws, thing: &str, shadow: &str) -> Result<Robot, Failure> {
        let document = aws.shadow(thing, shadow).await?;
        Ok(Robot::read(thing, document.as_ref()))
    }

    /// The robot of a shadow's document: `{"state":{"desired":…,"reported":…},"metadata":…,"version":…}`.
    pub fn read(thing: &str, document: Option<&Value>) -> Robot {
        let section = |name| document.and_then(|document| document["state"][name].as_object()).cloned();
        Robot {
            thing: thing.to_owned(),
            desired: document.map(|_| section("desired").unwrap_or_default()),
            reported: section("reported"),
            reported_at: document.and_then(|document| latest(&document["metadata"]["reported"])),
            document: document.and_then(|document| document["version"].as_u64()),
        }
    }

    /// What it is to be; `None` if nothing is desired.
    pub fn wish(&self) -> Option<Configuration> {
        let desired = self.desired.as_ref()?;
        let sections = desired.get("config")?.as_object()?;
        let sections = sections.iter().filter(|(_, section)| !section.is_null());
        let sections = sections.map(|(key, section)| (key.clone(), section.clone())).collect();
        let version = desired.get("version").and_then(Value::as_str).unwrap_or_default().to_owned();
        Some(Configuration { version, sections })
    }

    /// The version that is desired, also where it stands alone.
    pub fn desired_version(&self) -> &str {
        self.desired.as_ref().and_then(|desired| desired.get("version")?.as_str()).unwrap_or_default()
    }

    /// Whether something is desired beside it, which makes robots reject all of it.
    pub fn has_others(&self) -> bool {
        let others = without_others(self.desired.as_ref());
        others.keys().any(|key| !matches!(key.as_str(), "version" | "config"))
    }

    /// The version that the robot's last report is about.
    pub fn version(&self) -> Option<&str> {
        self.text("version")
    }

    /// `applied`, `rejected` or `rolled_back`.
    pub fn state(&self) -> Option<&str> {
        self.text("state")
    }

    pub fn problems(&self) -> Vec<String> {
        let problems = self.reported.as_ref().and_then(|reported| reported.get("problems")?.as_array());
        problems
            .into_iter()
            .flatten()
            .map(|problem| problem.as_str().map_or(problem.to_string(), str::to_owned))
            .collect()
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        self.reported.as_ref()?.get(key)?.as_str()
    }

    /// What has become of `version` by the last report, or why that is not known. `None`: of the robot's own configuration, which
    /// it reports without a version.
    pub fn outcome(&self, version: Option<&str>) -> Outcome {
        let is_of_it = self.reported.is_some() && self.version() == version;
        match self.state() {
            None if is_of_it && version.is_none() => Outcome::Applied,
            Some("applied") if is_of_it => Outcome::Applied,
            Some("rejected") if is_of_it => Outcome::Rejected(self.problems()),
            Some("rolled_back") if is_of_it => Outcome::RolledBack(self.problems()),
            _ => Outcome::Silent(match &self.reported {
                None => "it has never reported; does it run, does its [remote] name this shadow, and does its policy \
                         allow the shadow's topics?"
                    .to_owned(),
                Some(_) => format!(
                    "no report of it; the last one{} is of {}",
                    self.age().map_or_else(String::new, |age| format!(", {age} ago,")),
                    self.version().map_or("the local configuration".to_owned(), |version| format!("version {version}")),
                ),
            }),
        }
    }

    /// As [`Robot::outcome`] for what was sent to the robot as it was at `sent`, or for what was desired already, where
    /// `is_written` is false.
    pub fn outcome_since(&self, sent: &Robot, is_written: bool, version: Option<&str>) -> Outcome {
        let outcome = self.outcome(version);
        let is_old = (&self.reported, self.reported_at) == (&sent.reported, sent.reported_at);
        match (outcome, self.version(), self.state()) {
            (Outcome::Silent(_), Some(reported), Some("applied")) if !is_written => Outcome::Silent(format!(
                "nothing was written, as this version is desired already; the robot reports version {reported} as applied, \
                 maybe of a job. Push it with --job, or under another version"
            )),
            (outcome @ Outcome::Silent(_), ..) => outcome,
            (_, _, state) if is_written && is_old => Outcome::Silent(format!(
                "its last report{} of this version ({}) is older than this; no report since",
                self.age().map_or_else(String::new, |age| format!(", {age} ago,")),
                state.unwrap_or("its own configuration").replace('_', " "),
            )),
            (outcome, ..) => outcome,
        }
    }

    /// How long ago the last report was: `3 min`.
    pub fn age(&self) -> Option<String> {
        let at = UNIX_EPOCH + Duration::from_secs(self.reported_at?);
        let seconds = SystemTime::now().duration_since(at).unwrap_or_default().as_secs();
        Some(match seconds {
            0..120 => format!("{seconds} s"),
            120..7_200 => format!("{} min", seconds / 60),
            7_200..172_800 => format!("{} h", seconds / 3_600),
            _ => format!("{} days", seconds / 86_400),
        })
    }
}

/// The latest `timestamp` in a shadow's metadata.
fn latest(metadata: &Value) -> Option<u64> {
    match metadata {
        Value::Object(fields) => {
            let own = fields.get("timestamp").and_then(Value::as_u64);
            own.into_iter().chain(fields.values().filter_map(latest)).max()
        }
        Value::Array(elements) => elements.iter().filter_map(latest).max(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What a robot reports decides what has become of a version, and a report of another version decides nothing.
    #[test]
    fn a_report_tells_the_outcome() {
        let robot = |reported: Value| {
            Robot::read(
                "a",
                Some(
                    &json!({ "state": { "reported": reported }, "metadata": { "reported": { "state": { "timestamp": 7 } } } }),
                ),
            )
        };
        let report = |state: &str| robot(json!({ "version": "2", "state": state, "problems": ["one", "two"] }));
        assert_eq!(report("applied").outcome(Some("2")), Outcome::Applied);
        assert_eq!(report("rejected").outcome(Some("2")), Outcome::Rejected(vec!["one".into(), "two".into()]));
        assert_eq!(report("rolled_back").outcome(Some("2")), Outcome::RolledBack(vec!["one".into(), "two".into()]));
        for (robot, words) in [
            (report("applied"), "is of version 2"),
            (report("trying"), "is of version 2"),
            (robot(json!({ "bridge": "0.2.0" })), "is of the local configuration"),
            (Robot::read("a", None), "it has never reported"),
            (Robot::read("a", Some(&json!({ "state": { "desired": {} } }))), "it has never reported"),
        ] {
            let Outcome::Silent(why) = robot.outcome(Some("3")) else { panic!("{robot:?}") };
            assert!(why.contains(words), "{why}");
        }
        assert_eq!(robot(json!({ "bridge": "0.2.0" })).outcome(None), Outcome::Applied);
        assert!(matches!(report("applied").outcome(None), Outcome::Silent(_)));
        assert_eq!(report("applied").reported_at, Some(7));
    }

    /// A report that was there before it was sent says nothing of it; and where nothing is sent, as it is desired, a report of
    /// another version says that something else has overtaken it.
    #[test]
    fn an_old_report_is_none() {
        let robot = |version: &str, at: u64| {
            let state = json!({ "reported": { "version": version, "state": "applied" } });
            let metadata = json!({ "reported": { "state": { "timestamp": at } } });
            Robot::read("a", Some(&json!({ "state": state, "metadata": metadata })))
        };
        let words = |outcome| match outcome {
            Outcome::Silent(why) => why,
            other => panic!("{other:?}"),
        };
        let sent = robot("2", 7);
        let why = words(robot("2", 7).outcome_since(&sent, true, Some("2")));
        assert!(why.contains("(applied) is older than this"), "{why}");
        assert_eq!(robot("2", 8).outcome_since(&sent, true, Some("2")), Outcome::Applied);
        assert_eq!(robot("2", 7).outcome_since(&sent, false, Some("2")), Outcome::Applied);
        let why = words(robot("3", 8).outcome_since(&sent, false, Some("2")));
        assert!(why.contains("reports version 3 as applied") && why.contains("--job"), "{why}");
        assert!(words(robot("3", 8).outcome_since(&sent, true, Some("2"))).contains("is of version 3"));
    }

    #[test]
    fn the_wish_is_what_is_not_null() {
        let document =
            json!({ "state": { "desired": { "version": "2", "config": { "topics": [], "commands": null } } } });
        let wish = Robot::read("a", Some(&document)).wish().expect("a wish");
        assert_eq!((wish.version.as_str(), wish.sections.len()), ("2", 1));
        for none in [json!({}), json!({ "version": "2" }), json!({ "config": 7 })] {
            assert_eq!(Robot::read("a", Some(&json!({ "state": { "desired": none } }))).wish(), None);
        }
    }
}
