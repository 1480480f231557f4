//! What the configuration knows and the program can't do yet.
//!
//! Such a key is checked like any other and then refused: nothing that somebody asks for is ignored. Whoever builds
//! the feature takes its line from [`NOT_SUPPORTED_YET`], and the key is accepted.

use super::kind::Checked;

/// A key, or some values of it, that is refused for the time being.
pub(super) struct Planned {
    /// Path of the key, such as `topics[].rate`.
    pub key: &'static str,
    /// Whether the program can do already what this value asks for.
    accepted: fn(&Checked) -> bool,
    /// What to write for now.
    instead: &'static str,
}

/// Everything that is refused with "not supported yet".
pub(super) const NOT_SUPPORTED_YET: &[Planned] = &[
    unless("topics[].ros", |value| !contains(value, '*'), "allowed is the name of one topic, without `*`"),
    whole("topics[].except"),
    unless("topics[].limit", |value| *value == Checked::Integer(1000), "leave it out"),
    whole("commands"),
    whole("services"),
];

/// Whether `value` under the key at `path` is refused, and with which words.
pub(super) fn refusal(path: &str, value: &Checked) -> Option<String> {
    let planned = NOT_SUPPORTED_YET.iter().find(|planned| planned.key == path && !(planned.accepted)(value))?;
    Some(format!("not supported yet; {}", planned.instead))
}

/// Whether the program can do what the key at `path` asks for, such as `topics[].rate`.
pub fn is_supported(path: &str) -> bool {
    !is_whole(path)
}

/// Whether the table at `path`, or the list of tables at `path[]`, is refused whatever it says.
pub(super) fn is_whole(path: &str) -> bool {
    refusal(path.strip_suffix("[]").unwrap_or(path), &Checked::Other).is_some()
}

const fn whole(key: &'static str) -> Planned {
    Planned { key, accepted: |_| false, instead: "leave it out" }
}

const fn unless(key: &'static str, accepted: fn(&Checked) -> bool, instead: &'static str) -> Planned {
    Planned { key, accepted, instead }
}

fn contains(value: &Checked, character: char) -> bool {
    matches!(value, Checked::Text(text) if text.contains(character))
}
