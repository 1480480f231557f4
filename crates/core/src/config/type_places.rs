//! Where the configuration says what is right or wrong for a type, for whoever knows the type.

use super::problem::{Problem, key_part, without_key};
use super::walk::{Report, Section};

/// A place where a type stands, or something that is right or wrong for the type of its entry.
#[derive(Debug, Clone, PartialEq)]
pub struct TypePlace {
    /// The section: `topics`, `commands`, `services`, `actions` or `shadows`.
    pub list: &'static str,
    /// The entry, by its index in that list of [`Settings`](super::Settings).
    pub entry: usize,
    /// The entry's key. Of topics `fields`, `exclude`, `on_change.fields` and `arrays.fields`; of commands `type`, `limits` and
    /// `on_silence.message`; of services and actions `type`; of shadows `desired_type`.
    pub key: &'static str,
    /// The path of fields that stands there; empty where there is none.
    pub path: String,
    /// Without what was found and what is allowed.
    place: Problem,
}

impl TypePlace {
    /// A problem with what stands there.
    pub fn problem(&self, found: String, allowed: String) -> Problem {
        // Advice that repeats a part of a value repeats nothing of a key.
        let allowed = without_key(&allowed).into_owned();
        Problem { found, allowed, ..self.place.clone() }
    }

    pub(super) fn find(root: &Section, report: &Report<'_>) -> Vec<TypePlace> {
        let mut finder = Finder { report, places: Vec::new() };
        for (entry, section) in root.list("topics").iter().enumerate() {
            finder.paths_of_topic(entry, section);
        }
        for (entry, section) in root.list("commands").iter().enumerate() {
            finder.value("commands", entry, "type", section);
            for path in section.limits("limits").into_keys() {
                let key = section.key_of(&format!("limits.{}", key_part(&path)));
                finder.add(("commands", entry, "limits"), path, section.tag_of("limits"), &key);
            }
            finder.value("commands", entry, "on_silence.message", section);
        }
        for (list, key) in [("services", "type"), ("actions", "type"), ("shadows", "desired_type")] {
            for (entry, section) in root.list(list).iter().enumerate() {
                finder.value(list, entry, key, section);
            }
        }
        finder.places
    }
}

struct Finder<'a> {
    report: &'a Report<'a>,
    places: Vec<TypePlace>,
}

impl Finder<'_> {
    fn paths_of_topic(&mut self, entry: usize, section: &Section) {
        for key in ["fields", "exclude", "on_change.fields"] {
            for (index, path) in section.texts(key).iter().enumerate() {
                let shown = section.key_of(&format!("{key}[{index}]"));
                self.add(("topics", entry, key), path.clone(), section.tag_of(key), &shown);
            }
        }
        let key = "arrays.fields";
        for (path, of_path) in section.named(key) {
            let shown = section.key_of(&format!("{key}.{}", key_part(path)));
            self.add(("topics", entry, key), path.clone(), of_path.tag, &shown);
        }
    }

    /// The value of `key`, if somebody has written one.
    fn value(&mut self, list: &'static str, entry: usize, key: &'static str, section: &Section) {
        if section.is_there(key) {
            self.add((list, entry, key), String::new(), section.tag_of(key), &section.key_of(key));
        }
    }

    fn add(
        &mut self,
        (list, entry, key): (&'static str, usize, &'static str),
        path: String,
        tag: figment::value::Tag,
        shown: &str,
    ) {
        let place = self.report.problem(tag, shown, String::new(), String::new());
        self.places.push(TypePlace { list, entry, key, path, place });
    }
}
