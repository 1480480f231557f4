//! Where the configuration names paths of fields, for whoever knows the type of the messages.

use super::problem::{Problem, key_part};
use super::walk::{Report, Section};

/// A place where a path of fields stands.
#[derive(Debug, Clone, PartialEq)]
pub struct PathPlace {
    /// The topic, by its index in [`Settings::topics`](super::Settings::topics).
    pub topic: usize,
    /// The topic's key: `fields`, `exclude`, `on_change.fields` or `arrays.fields`.
    pub key: &'static str,
    pub path: String,
    /// Without what was found and what is allowed.
    place: Problem,
}

impl PathPlace {
    /// A problem with the path.
    pub fn problem(&self, found: String, allowed: String) -> Problem {
        Problem { found, allowed, ..self.place.clone() }
    }

    pub(super) fn find(root: &Section, report: &Report<'_>) -> Vec<PathPlace> {
        let mut places = Vec::new();
        for (topic, section) in root.list("topics").iter().enumerate() {
            let at = |tag, name: &str| report.problem(tag, &section.key_of(name), String::new(), String::new());
            for key in ["fields", "exclude", "on_change.fields"] {
                for (index, path) in section.texts(key).iter().enumerate() {
                    let place = at(section.tag_of(key), &format!("{key}[{index}]"));
                    places.push(PathPlace { topic, key, path: path.clone(), place });
                }
            }
            let key = "arrays.fields";
            for (path, of_path) in section.named(key) {
                let place = at(of_path.tag, &format!("{key}.{}", key_part(path)));
                places.push(PathPlace { topic, key, path: path.clone(), place });
            }
        }
        places
    }
}
