//! What robots are to send and obey: sections of the configuration under a version.

use std::path::Path;
use std::time::SystemTime;

use aws_sdk_iot::primitives::{DateTime, DateTimeFormat as Format};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::stop::Stop;
use iot_bridge_core::config::{self, Overlay, Problem, Problems, Section, Settings};
use iot_bridge_core::remote::{By, LONGEST_VERSION, Wish};

/// What stands for a version where nothing is desired, so that the robot's own configuration is in force. It is desired then:
/// without any version AWS IoT Core would send no delta, and the robot would notice within the hour only.
pub const LOCAL: &str = "local";

/// The version of what is desired, or what stands for it.
pub fn name_of(wish: Option<&Configuration>) -> &str {
    wish.map_or(LOCAL, |wish| &wish.version)
}

/// Sections with their version.
#[derive(Debug, Clone, PartialEq)]
pub struct Configuration {
    pub version: String,
    /// By their keys: `topics`. A section that is not there is the robot's own affair.
    pub sections: Map<String, Value>,
}

impl Configuration {
    /// The one in the file at `path`. Where that says no version, one is made of the date and a hash of the sections.
    ///
    /// # Errors
    /// If it can't be read, or holds something else than a version and sections that robots may take.
    pub fn read(path: &Path) -> Result<Configuration, Stop> {
        let mut sections = config::read_values(path)?;
        let mut problems = Vec::new();
        let version = match sections.remove("version") {
            None => None,
            Some(Value::String(version)) if is_version(&version) => Some(version),
            Some(_) => {
                let allowed = format!("allowed is a text of 1 to {LONGEST_VERSION} characters, such as \"12\"");
                problems.push(problem(path, "version", "no version".to_owned(), allowed));
                None
            }
        };
        sections.retain(|_, section| !section.is_null());
        let allowed = || names("`version`, ");
        for key in sections.keys().filter(|key| Section::of(key).is_none()) {
            let found = "a key that can't be sent to robots".to_owned();
            problems.push(problem(path, key, found, format!("allowed are {}", allowed())));
        }
        if sections.is_empty() && problems.is_empty() {
            let found = "no section".to_owned();
            problems.push(problem(path, "", found, format!("at least one of {} has to be there", names(""))));
        }
        match problems.is_empty() {
            true => {
                let version = version.unwrap_or_else(|| version_of(&sections, SystemTime::now()));
                Ok(Configuration { version, sections })
            }
            false => Err(Problems::new(problems).into()),
        }
    }

    /// Whether its version is one that was made, on whatever day.
    pub fn has_made_version(&self) -> bool {
        let made = version_of(&self.sections, SystemTime::now());
        let parts = |version: &str| version.rsplit_once('-').map(|(day, hash)| (day.len(), hash.to_owned()));
        parts(&self.version) == parts(&made)
    }

    /// Judges it as a robot does, for each of `things` and as far as it can be told without ROS and the robots' own files:
    /// what there is to warn of, in sentences without their full stops. `source` is what problems call it.
    ///
    /// # Errors
    /// Everything that is wrong with it, for the first thing for which something is.
    pub fn check(&self, source: &str, things: &[String], shadow: &str) -> Result<Vec<String>, Stop> {
        let overlay = Overlay { name: source.to_owned(), sections: self.sections.clone() };
        let mut warnings = Vec::new();
        for thing in things {
            let settings: Settings = config::load_overlay(&overlay, thing, shadow)?;
            if warnings.is_empty() {
                warnings.extend(settings.rates_over_quota().into_iter().chain(settings.cautions()));
            }
        }
        Ok(warnings)
    }

    /// What makes this the desired state in the place of `before`, the whole of it. Updates of a shadow merge: so each section that
    /// this one has not is taken away by a null, and so is each key that robots would not take.
    pub fn desired(&self, before: Option<&Map<String, Value>>) -> Value {
        let mut sections: Map<String, Value> =
            Section::ALL.iter().map(|section| (section.name().to_owned(), Value::Null)).collect();
        let config = before.and_then(|before| before.get("config")?.as_object());
        sections.extend(config.iter().flat_map(|before| before.keys()).map(|key| (key.clone(), Value::Null)));
        sections.extend(self.sections.clone());
        let mut desired = without_others(before);
        desired.insert("version".to_owned(), self.version.as_str().into());
        desired.insert("config".to_owned(), sections.into());
        desired.into()
    }
}

/// What takes away all of `before` but what stands in each shadow that AWS's console has made, which robots pass over.
pub fn without_others(before: Option<&Map<String, Value>>) -> Map<String, Value> {
    let others = before.into_iter().flat_map(Map::keys).filter(|key| *key != "welcome");
    others.map(|key| (key.clone(), Value::Null)).collect()
}

/// A version for `sections`: the day in UTC, and eight digits of their hash.
pub fn version_of(sections: &Map<String, Value>, now: SystemTime) -> String {
    let digest = Sha256::digest(Value::Object(sections.clone()).to_string());
    let hash = u32::from_be_bytes(digest.first_chunk().copied().unwrap_or_default());
    let date = DateTime::from(now).fmt(Format::DateTime).unwrap_or_default();
    format!("{}-{hash:08x}", date.get(.."2026-11-28".len()).unwrap_or_default())
}

/// Whether robots take it.
fn is_version(text: &str) -> bool {
    let wish = json!({ "version": text, "config": { Section::Topics.name(): [] } });
    wish.as_object().is_some_and(|wish| Wish::read(wish, By::Shadow, &Section::ALL).is_ok())
}

/// The sections' names, after `before`.
fn names(before: &str) -> String {
    before.to_owned() + &Section::ALL.map(|section| format!("`{}`", section.name())).join(", ")
}

fn problem(path: &Path, key: &str, found: String, allowed: String) -> Problem {
    Problem { source: path.display().to_string(), line: None, key: key.to_owned(), found, allowed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Configuration, String> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("fleet.toml");
        std::fs::write(&path, text).expect("written");
        Configuration::read(&path).map_err(|stop| stop.to_string())
    }

    /// Sections and a version are taken, and nothing else is; without a version there is one that follows from the content.
    #[test]
    fn a_file_has_sections_and_a_version() {
        let one = read("version = \"7\"\n[[topics]]\nros = \"/odom\"").expect("valid");
        assert_eq!((one.version.as_str(), one.sections.len()), ("7", 1));
        let made = read("[[topics]]\nros = \"/odom\"").expect("valid");
        assert_eq!(made.version, version_of(&one.sections, SystemTime::now()));
        assert_eq!(made.version.len(), "2026-11-28-00000000".len());
        let other = read("[[topics]]\nros = \"/scan\"").expect("valid");
        assert_ne!(made.version, other.version);
        for (text, words) in [
            ("", ["no section", "`topics`, `commands`"]),
            ("version = \"7\"", ["no section", "`shadows`"]),
            ("[aws]\nthing = \"x\"\n[[topics]]\nros = \"/odom\"", ["aws", "allowed are `version`, `topics`"]),
            ("version = 7\n[[topics]]\nros = \"/odom\"", ["version", "a text of 1 to 64"]),
            ("version = \"\"\n[[topics]]\nros = \"/odom\"", ["version", "a text of 1 to 64"]),
        ] {
            let why = read(text).expect_err(text);
            assert!(words.iter().all(|word| why.contains(word)), "{text}: {why}");
        }
    }

    /// What was desired before and is not any more is taken away.
    #[test]
    fn sections_of_before_become_null() {
        let new = read("version = \"7\"\n[[topics]]\nros = \"/odom\"").expect("valid");
        let before =
            json!({ "version": "6", "config": { "commands": [{}], "other": 1 }, "mode": 7, "welcome": "aws-iot" });
        let desired = new.desired(before.as_object());
        assert_eq!(
            (&desired["version"], desired.get("mode"), desired.get("welcome")),
            (&json!("7"), Some(&Value::Null), None)
        );
        assert_eq!(desired["config"]["topics"][0]["ros"], "/odom");
        for key in ["commands", "other", "services", "actions", "shadows"] {
            assert_eq!(desired["config"].get(key), Some(&Value::Null), "{key}");
        }
    }
}
