//! What the cloud wishes: sections of a configuration under a version.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::{Section, key_part};
use crate::shadows::State;

/// Sections of a configuration that take the place of the local ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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

/// Longest wish as JSON, in bytes: that of the document of a job ("AWS IoT Jobs limits"). A shadow has 8 KiB.
const LONGEST: usize = 32 * 1024;

/// How deep lists and objects may stand in one another in `config`. Settings need no more than a message of `on_silence`
/// does; what is read back from the disk may have 128 with what is around it.
const DEEPEST: usize = 32;

/// What the console of AWS IoT Core writes into each shadow that it makes. It says nothing.
const WELCOME: &str = "welcome";

/// Why what was wished is no wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The version, if it could be read.
    pub version: Option<String>,
    /// What is wrong, each a sentence, never empty. No value is quoted.
    pub problems: Vec<String>,
}

impl Wish {
    /// Reads a desired state (`{"version":"7","config":{"topics":[…]}}`) or the document of a job, which has
    /// `"operation"` besides. A section that is `null` is not set. `None` if the shadow desires nothing: it has no `config`,
    /// nor anything else that somebody may have taken for one.
    ///
    /// # Errors
    /// If it is anything else, names a section that is not in `allow`, or none. Everything that is wrong is told at once.
    pub fn read(desired: &State, by: By, allow: &[Section]) -> Result<Option<Wish>, Unread> {
        let config = desired.get("config").filter(|config| !config.is_null());
        let (beside, allowed): (&[&str], _) = match by {
            By::Shadow => (&["version", "config", WELCOME], "version and config"),
            By::Job(_) => (&["operation", "version", "config"], "operation, version and config"),
        };
        let mut problems: Vec<_> = desired
            .keys()
            .filter(|name| !beside.contains(&name.as_str()))
            .map(|name| format!("{} is not known; allowed are {allowed}.", key_part(name)))
            .collect();
        if config.is_none() && by == By::Shadow && problems.is_empty() {
            return Ok(None);
        }
        let version = match desired.get("version") {
            Some(Value::String(version)) if is_version(version) => Some(version.clone()),
            other => {
                let found = other.map_or("not set", |version| match version {
                    Value::String(_) => "another text",
                    other => kind(other),
                });
                problems.push(format!(
                    "version is {found}; allowed is a text of 1 to {LONGEST_VERSION} letters, digits, signs and blanks."
                ));
                None
            }
        };
        let sections = match config {
            Some(Value::Object(config)) => read_sections(config, allow, &mut problems),
            other => {
                let found = other.map_or("not set", kind);
                problems.push(format!("config is {found}; allowed is an object with the sections {}.", names(allow)));
                Map::new()
            }
        };
        match version {
            Some(version) if problems.is_empty() => Ok(Some(Wish { version, sections, by })),
            version => Err(Unread { version, problems }),
        }
    }

    /// Whether all of its sections are in `allow`.
    pub fn is_allowed(&self, allow: &[Section]) -> bool {
        self.sections.keys().all(|name| is_allowed(name, allow))
    }

    /// What problems of it name as their source: `the shadow iot-bridge, version 7`, or `the job 4711, version 7`.
    pub fn source(&self, shadow: &str) -> String {
        match &self.by {
            By::Shadow => format!("the shadow {shadow}, version {}", self.version),
            By::Job(id) => format!("the job {id}, version {}", self.version),
        }
    }
}

/// The sections of `config`; everything that is wrong is added to `problems`.
fn read_sections(config: &Map<String, Value>, allow: &[Section], problems: &mut Vec<String>) -> Map<String, Value> {
    let set: Map<_, _> =
        config.iter().filter(|(_, value)| !value.is_null()).map(|(n, v)| (n.clone(), v.clone())).collect();
    let before = problems.len();
    for name in set.keys().filter(|name| !is_allowed(name, allow)) {
        let why = match Section::of(name) {
            Some(_) => "is not in remote.allow",
            None => "is none that the cloud may set",
        };
        problems.push(format!("config.{} {why}; allowed are {}.", key_part(name), names(allow)));
    }
    if set.is_empty() {
        problems.push(format!("config has no section; allowed are {}.", names(allow)));
    }
    if problems.len() > before {
        return set;
    }
    for (name, value) in set.iter().filter(|(_, value)| depth_is_over(value, DEEPEST)) {
        problems.push(format!("config.{name} is {} more than {DEEPEST} deep.", kind(value)));
    }
    // What is too deep is not written here: the depth is bounded by who has read it.
    let length = serde_json::to_vec(&set).map_or(usize::MAX, |json| json.len());
    if length > LONGEST {
        problems.push(format!("config has {length} bytes; allowed are {LONGEST}."));
    }
    set
}

fn is_allowed(name: &str, allow: &[Section]) -> bool {
    Section::of(name).is_some_and(|section| allow.contains(&section))
}

fn names(allow: &[Section]) -> String {
    if allow.is_empty() {
        return "none, as remote.allow is empty".to_owned();
    }
    allow.iter().map(|section| section.name()).collect::<Vec<_>>().join(", ")
}

/// What a value is, without what it says.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Whether it can be told apart by those who read it, and printed anywhere.
fn is_version(text: &str) -> bool {
    let is_printable = |c: char| c.is_alphanumeric() || c.is_ascii_graphic() || c == ' ';
    !text.is_empty() && text.chars().count() <= LONGEST_VERSION && text.trim() == text && text.chars().all(is_printable)
}

/// Whether lists and objects stand more than `most` deep in one another.
fn depth_is_over(value: &Value, most: usize) -> bool {
    match value {
        Value::Array(values) => most == 0 || values.iter().any(|value| depth_is_over(value, most - 1)),
        Value::Object(values) => most == 0 || values.values().any(|value| depth_is_over(value, most - 1)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TOPICS: &[Section] = &[Section::Topics];

    fn read(desired: Value, by: By, allow: &[Section]) -> Result<Option<Wish>, Unread> {
        Wish::read(desired.as_object().unwrap(), by, allow)
    }

    fn problems(desired: Value) -> Vec<String> {
        read(desired, By::Shadow, TOPICS).unwrap_err().problems
    }

    fn job() -> By {
        By::Job("update-7".to_owned())
    }

    /// A desired state and the document of a job become the same wish; sections that are null are not set.
    #[test]
    fn a_wish_is_read() {
        let config = json!({"topics": [{"ros": "/odom"}], "commands": null});
        let sections = json!({"topics": [{"ros": "/odom"}]}).as_object().unwrap().clone();
        let wish = |by| Wish { version: "7".to_owned(), sections: sections.clone(), by };
        let desired = json!({"version": "7", "config": config, "welcome": "aws-iot"});
        assert_eq!(read(desired, By::Shadow, TOPICS), Ok(Some(wish(By::Shadow))));
        let document = json!({"operation": "iot-bridge/config", "version": "7", "config": config});
        assert_eq!(read(document, job(), TOPICS), Ok(Some(wish(job()))));
        assert_eq!(wish(By::Shadow).source("iot-bridge"), "the shadow iot-bridge, version 7");
        assert_eq!(wish(job()).source("iot-bridge"), "the job update-7, version 7");
        assert!(wish(job()).is_allowed(TOPICS) && !wish(job()).is_allowed(&[Section::Commands]));
    }

    /// Without a config nothing is desired by a shadow; a job always wants something.
    #[test]
    fn nothing_is_desired_without_a_config() {
        for desired in [json!({}), json!({"config": null}), json!({"version": "8"}), json!({"welcome": "aws-iot"})] {
            assert_eq!(read(desired.clone(), By::Shadow, TOPICS), Ok(None), "{desired}");
        }
        let document = json!({"operation": "iot-bridge/config", "version": "7"});
        let problem = "config is not set; allowed is an object with the sections topics.";
        assert_eq!(read(document, job(), TOPICS).unwrap_err().problems, [problem]);
        assert_eq!(problems(json!({"topics": []}))[0], "topics is not known; allowed are version and config.");
    }

    /// A section that is not allowed, and one that never is, are named with what is allowed, and all of it at once.
    #[test]
    fn what_is_not_allowed_is_named() {
        let config = json!({"aws": {"endpoint": "evil"}, "commands": [], "topics": [], "to\u{1b}pics": []});
        let expected = [
            "config.aws is none that the cloud may set; allowed are topics.",
            "config.commands is not in remote.allow; allowed are topics.",
            "config.\"to\\u{1b}pics\" is none that the cloud may set; allowed are topics.",
        ];
        assert_eq!(problems(json!({"version": "7", "config": config})), expected);
        let none = read(json!({"version": "7", "config": {"topics": []}}), By::Shadow, &[]).unwrap_err();
        assert_eq!(none.version.as_deref(), Some("7"));
        assert_eq!(
            none.problems,
            ["config.topics is not in remote.allow; allowed are none, as remote.allow is empty."]
        );
        let nulls = json!({"version": "7", "config": {"topics": null, "aws": null}});
        assert_eq!(problems(nulls), ["config has no section; allowed are topics."]);
    }

    /// Garbage is refused in words that quote nothing of it but the names of keys.
    #[test]
    fn garbage_is_refused_in_words() {
        let expected = [
            "MIGH is not known; allowed are version and config.",
            "version is a number; allowed is a text of 1 to 64 letters, digits, signs and blanks.",
            "config is a list; allowed is an object with the sections topics.",
        ];
        assert_eq!(problems(json!({"version": 7, "config": ["secret"], "MIGH": 1})), expected);
        for version in ["", " 7", "7\n", "\u{202e}7", &"7".repeat(65)] {
            let unread = read(json!({"version": version, "config": {"topics": []}}), By::Shadow, TOPICS).unwrap_err();
            assert_eq!(unread.version, None, "{version:?}");
            assert!(unread.problems[0].starts_with("version is another text; "), "{:?}", unread.problems);
        }
        let longest = "ü".repeat(64);
        let wish = read(json!({"version": longest, "config": {"topics": []}}), By::Shadow, TOPICS);
        assert_eq!(wish.unwrap().unwrap().version, longest);
    }

    /// What is nested or long beyond all use is refused before anybody walks through it, and what is just within can be kept.
    #[test]
    fn depth_and_length_are_bounded() {
        let nested = |depth| (0..depth).fold(json!(1), |inner, _| json!([inner]));
        let wish = |topics| read(json!({"version": "7", "config": {"topics": topics}}), job(), TOPICS);
        let wish = |topics: Value| match wish(topics) {
            Ok(wish) => Ok(wish.unwrap()),
            Err(unread) => Err(unread.problems),
        };
        let deepest = wish(nested(DEEPEST)).unwrap();
        let text = serde_json::to_string(&deepest).unwrap();
        assert_eq!(serde_json::from_str::<Wish>(&text).unwrap(), deepest);
        assert_eq!(wish(nested(DEEPEST + 1)).unwrap_err(), ["config.topics is a list more than 32 deep."]);
        let brackets = format!("{}{}", "[".repeat(4000), "]".repeat(4000));
        assert!(serde_json::from_str::<Value>(&brackets).is_err(), "such a thing is not even read");
        let frame = json!({"topics": [""]}).to_string().len();
        assert!(wish(json!(["x".repeat(LONGEST - frame)])).is_ok());
        assert_eq!(
            wish(json!(["x".repeat(LONGEST - frame + 1)])).unwrap_err(),
            ["config has 32769 bytes; allowed are 32768."]
        );
    }
}
