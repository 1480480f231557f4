//! What is made of a topic's messages: `fields`, `exclude`, `arrays`, `digits`.

use super::word;
use crate::config::field_path::check_field_path;
use crate::config::problem::{key_part, quote};
use crate::config::settings::{ArrayLimit, Arrays};
use crate::config::walk::{Report, Section};

pub(super) fn arrays(section: &Section) -> Option<Arrays> {
    let limit = |section: &Section, within: &str| {
        let max = section.integer(&format!("{within}max"))?.try_into().ok()?;
        Some(ArrayLimit { max, over: word(section.text(&format!("{within}over"))?)? })
    };
    let fields = section.named("arrays.fields").filter_map(|(path, section)| Some((path.clone(), limit(section, "")?)));
    section.is_there("arrays").then(|| Arrays { all: limit(section, "arrays."), fields: fields.collect() })
}

/// What these keys ask of each other.
pub(super) fn check(section: &Section, report: &mut Report<'_>) {
    let mut refuse = |name: &str, found: String, allowed: &str| {
        report.add(section.tag_of(name), &section.key_of(name), found, allowed.to_owned());
    };
    if section.is_there("fields") && section.texts("fields").is_empty() {
        refuse("fields", "an empty list".into(), "allowed is at least one path; without the key all fields travel");
    }
    // Without `fields` it is `max` that is missed.
    if section.is_written("arrays.over") && section.is_there("arrays.fields") && !section.is_there("arrays.max") {
        refuse("arrays.over", quote(section.text("arrays.over").unwrap_or_default()), "it needs `max` beside it");
    }
    for (path, of_path) in section.named("arrays.fields") {
        if let Err(allowed) = check_field_path(path) {
            let key = section.key_of(&format!("arrays.fields.{}", key_part(path)));
            report.add(of_path.tag, &key, "a name that is no path of fields".into(), allowed);
        }
    }
}
