//! What is wrong with a configuration, for people and for programs.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

/// What is found of a key that is not there.
pub const NOTHING: &str = "nothing";

/// One fault in the configuration.
///
/// As JSON: `{"source":"/etc/iot-bridge/config.toml","line":14,"key":"topics[2].rate","found":"\"banana\"",
/// "allowed":"allowed is a rate such as \"10 Hz\""}`; `line` is absent where it isn't known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Path of the file or name of the environment variable.
    pub source: String,
    /// Line of the key in the file, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The key, as `topics[2].rate`; entries of a list are counted from 0, in each file of its own. Empty where the
    /// whole file is concerned.
    pub key: String,
    /// What stands there. Text is quoted and cut to a readable length.
    pub found: String,
    /// What may stand there instead, or why it is refused.
    pub allowed: String,
}

impl Problem {
    /// The problem in one line, as a sentence for the log.
    pub fn sentence(&self) -> String {
        let mut sentence = self.to_string().replace("\n    ", ": ");
        if !sentence.ends_with('?') {
            sentence.push('.');
        }
        sentence
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        match self.found.as_str() {
            NOTHING => write!(f, "\n    not set; {}", self.allowed),
            found => write!(f, "\n    found {found}; {}", self.allowed),
        }
    }
}

/// Everything that is wrong with a configuration: never empty when it is returned as an error.
///
/// Displayed with two lines a problem, in the order of the files and their lines.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Problems {
    pub(super) found: Vec<Problem>,
}

impl Problems {
    pub fn new(problems: Vec<Problem>) -> Self {
        Problems { found: problems }
    }

    /// The problems, in the order of the files and their lines.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.found.iter()
    }

    /// How many there are.
    #[allow(clippy::len_without_is_empty, reason = "an error without a problem is none")]
    pub fn len(&self) -> usize {
        self.found.len()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.found.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Longest quotation of a value, in characters.
const LONGEST_QUOTE: usize = 60;

/// `text` in quotes, without control characters, cut to a readable length, and without what may be a password or a key.
pub fn quote(text: &str) -> String {
    let text = without_password(text);
    let text = without_key(&text);
    match text.char_indices().nth(LONGEST_QUOTE) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// `text` with stars in the place of the password, if it holds a URL that has one, be it with mistakes: whatever stands
/// between a colon and the last `@`, or, where there is none, behind a colon that no port follows.
fn without_password(text: &str) -> Cow<'_, str> {
    let user = text.find("://").map_or(0, |scheme| scheme + "://".len());
    match (text[user..].find(':').map(|colon| user + colon + 1), text.rfind('@')) {
        (Some(from), Some(to)) if from <= to => format!("{}***{}", &text[..from], &text[to..]).into(),
        (Some(from), None) if user > 0 && !is_port(&text[from..]) => format!("{}***", &text[..from]).into(),
        _ => text.into(),
    }
}

/// Whether `text` begins with the number of a port, and nothing else up to a slash.
fn is_port(text: &str) -> bool {
    text.split('/').next().is_some_and(|port| port.parse::<u16>().is_ok())
}

/// From so many characters in a row on, text of capitals, small letters and digits may be a key in base64: no name is as
/// long, and no line of a key is shorter but for its last.
const SHORTEST_KEY: usize = 24;

/// `text` without what follows the first line of a PEM file, and with an ellipsis in the place of what looks like base64.
pub(super) fn without_key(text: &str) -> Cow<'_, str> {
    if let Some(begin) = text.find(PEM) {
        return format!("{}…", &text[..begin + PEM.len()]).into();
    }
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '=');
    let is_key = |word: &str| {
        let has = |what: fn(&char) -> bool| word.chars().any(|c| what(&c));
        word.len() >= SHORTEST_KEY
            && has(char::is_ascii_uppercase)
            && has(char::is_ascii_lowercase)
            && has(char::is_ascii_digit)
    };
    match text.split(|c| !is_base64(c)).find(|word| is_key(word)) {
        Some(word) => {
            // What stands before it may belong to it: base64 has slashes.
            let before = text.split(word).next().unwrap_or_default();
            format!("{}…", before.trim_end_matches(|c| is_base64(c) || c == '/')).into()
        }
        None => text.into(),
    }
}

/// What a PEM file begins with.
pub(super) const PEM: &str = "-----BEGIN ";

/// Whether `text`, where a path should be, is or begins like what a key's or a certificate's file holds. A path from the
/// root or with a dot may have any names in it: base64 begins with `M`, as DER does, and has no dots.
pub(super) fn is_key_material(text: &str) -> bool {
    let is_path = text.starts_with('/') || text.contains('.');
    text.contains(PEM) || !is_path && text.len() >= 64 && matches!(without_key(text), Cow::Owned(_))
}

/// `name` as a part of a key: as it is, or quoted if it couldn't be read otherwise.
pub(crate) fn key_part(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let is_key = matches!(without_key(name), Cow::Owned(_));
    if !name.is_empty() && name.len() <= LONGEST_QUOTE && name.chars().all(bare) && !is_key {
        name.to_owned()
    } else {
        quote(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem() -> Problem {
        Problem {
            source: "/etc/iot-bridge/config.toml".into(),
            line: Some(14),
            key: "topics[2].rate".into(),
            found: "\"banana\"".into(),
            allowed: "allowed is a rate such as \"10 Hz\"".into(),
        }
    }

    #[test]
    fn a_person_reads_where_what_and_what_instead() {
        assert_eq!(
            Problems::new(vec![problem(), Problem { line: None, key: String::new(), ..problem() }]).to_string(),
            "/etc/iot-bridge/config.toml:14: topics[2].rate\n    found \"banana\"; allowed is a rate such as \"10 Hz\"\n\
             /etc/iot-bridge/config.toml\n    found \"banana\"; allowed is a rate such as \"10 Hz\""
        );
    }

    #[test]
    fn a_program_reads_a_list_of_objects() {
        let json = serde_json::to_value(Problems::new(vec![problem()])).expect("serializes");
        assert_eq!(json[0]["line"], 14);
        assert_eq!(json[0]["key"], "topics[2].rate");
    }

    /// A password in a URL is not quoted, whatever else is wrong with that.
    #[test]
    fn quotations_hold_no_password() {
        for text in [
            "https://robot:secret@proxy:3128",
            "robot:secret@proxy",
            "url = \"http://robot:se@cr:et@proxy",
            "http:/robot:secret@proxy",
        ] {
            let quoted = quote(text);
            assert!(quoted.contains("***@proxy") && !quoted.contains("et@"), "{quoted}");
        }
        assert_eq!(quote("http://robot:secret"), "\"http://robot:***\"");
        assert_eq!(quote("http://proxy:3128"), "\"http://proxy:3128\"");
        assert_eq!(quote("a@b:c"), "\"a@b:c\"");
    }

    /// A key that was pasted in the place of something else is not quoted.
    #[test]
    fn quotations_hold_no_key() {
        let key = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg4a";
        for (text, quoted) in [
            (format!("-----BEGIN PRIVATE KEY-----\\n{key}"), "\"-----BEGIN …\""),
            (format!("private_key = {key}"), "\"private_key = …\""),
            (format!("a/b+c/{key}"), "\"…\""),
            (
                "/home/robot/ws/install/share/Robot1/certs/robot1.private.key".into(),
                "\"/home/robot/ws/install/share/Robot1/certs/robot1.private.key\"",
            ),
            (
                "a1b2c3d4e5f6g7-ats.iot.us-west-2.amazonaws.com".into(),
                "\"a1b2c3d4e5f6g7-ats.iot.us-west-2.amazonaws.com\"",
            ),
        ] {
            assert_eq!(quote(&text), quoted);
        }
    }

    /// Directories may have long names, of capitals, small letters and digits too.
    #[test]
    fn a_path_is_no_key() {
        let key = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg4aJHv0V9x/3+nUeT";
        for text in [key, "-----BEGIN PRIVATE KEY-----", &format!("/-----BEGIN PRIVATE KEY-----\n{key}")] {
            assert!(is_key_material(text), "{text}");
        }
        let path = "srv/robots/RobotFleetProduction2024Certificates/robot1/robot1.private.key";
        for text in [path, &format!("/{path}"), "/srv/robots/RobotFleetProduction2024CertificatesOfAllThePlants/robot1"]
        {
            assert!(text.len() >= 64 && !is_key_material(text), "{text}");
        }
    }

    #[test]
    fn quotations_are_short_and_harmless_to_a_terminal() {
        assert_eq!(quote("a\u{1b}[31m\n"), "\"a\\u{1b}[31m\\n\"");
        assert!(quote(&"ü".repeat(1000)).chars().count() < 70);
        assert_eq!(key_part("a-b_1"), "a-b_1");
        assert_eq!(key_part("a.b"), "\"a.b\"");
        assert_eq!(key_part(""), "\"\"");
    }
}
