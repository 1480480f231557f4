//! What lies over the files: sections of the configuration that come from the cloud.
//!
//! A section of the overlay takes the place of the local one as a whole, whatever files it stands in. Only sections that the
//! local `[remote]` allows may be set, and only lists of entries are: of all keys these have, none names a file, a host or a
//! key. Environment variables can't set them either, so nothing lies over the overlay.

use std::borrow::Cow;
use std::path::PathBuf;

use figment::value::{Dict, Empty, Tag, Value};
use serde_json::{Map, Value as Json};

use super::kind::shape;
use super::origins::Origin;
use super::problem::{Problem, key_part, without_key};
use super::settings::{Remote, Section};
use super::suggest::likely;
use super::walk::Report;

/// Deepest nesting of what comes from the cloud. The deepest key has four levels below its section, and a message of
/// `on_silence` has those of its type.
const DEEPEST: usize = 32;

/// Sections from the cloud.
#[derive(Debug, Clone, PartialEq)]
pub struct Overlay {
    /// How problems call it, for example `the shadow iot-bridge, version 7`.
    pub name: String,
    /// The sections by their keys. One that is null is not set.
    pub sections: Map<String, Json>,
}

/// A section that an overlay has set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlaid {
    pub section: Section,
    /// The files whose entries of this section are out of force therefore, in the order of reading.
    pub hidden: Vec<PathBuf>,
}

impl Overlay {
    /// What problems with it have as their source: its name, without what may be a key.
    pub fn source(&self) -> Cow<'_, str> {
        without_key(&self.name)
    }

    /// The keys that it sets.
    fn set(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.sections.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.as_str(), value))
    }

    /// The sections that it sets and that there are, in the order of [`Section::ALL`].
    pub fn sections(&self) -> Vec<Section> {
        Section::ALL.into_iter().filter(|section| self.set().any(|(name, _)| name == section.name())).collect()
    }

    /// The values of its sections, without those that are no lists, and a problem for each of these.
    pub(super) fn values(&self, origin: &Origin) -> (Dict, Vec<Problem>) {
        let (mut values, mut problems) = (Dict::new(), Vec::new());
        for (name, json) in self.set().filter(|(name, _)| Section::of(name).is_some()) {
            match value(json, DEEPEST) {
                Some(list @ Value::Array(..)) => _ = values.insert(name.to_owned(), list),
                Some(other) => {
                    let allowed = "allowed is a list of objects, one for each entry".to_owned();
                    problems.push(origin.problem(name, shape(&other).to_owned(), allowed));
                }
                None => {
                    let allowed = format!("allowed are at most {DEEPEST} levels of lists and objects");
                    problems.push(origin.problem(name, "values that are nested deeper".to_owned(), allowed));
                }
            }
        }
        (values, problems)
    }

    /// Notes each key that `remote`, which is that of the robot, does not allow.
    pub(super) fn check_allowed(&self, remote: Option<&Remote>, report: &mut Report<'_>) {
        let allow = remote.map_or(&[][..], |remote| &remote.allow);
        let names = allow.iter().map(|section| section.name());
        for (name, _) in self.set().filter(|(name, _)| !allow.iter().any(|section| section.name() == *name)) {
            let allowed = match (remote, likely(name, names.clone()).filter(|_| Section::of(name).is_none())) {
                (None, _) => "this robot takes nothing from the cloud: it has no [remote]".to_owned(),
                (Some(_), Some(meant)) => format!("did you mean `{meant}`?"),
                (Some(_), None) if allow.is_empty() => "`remote.allow` of this robot names none".to_owned(),
                (Some(_), None) => {
                    let names: Vec<String> = names.clone().map(|name| format!("`{name}`")).collect();
                    format!("`remote.allow` of this robot names {}", names.join(", "))
                }
            };
            report.add_of_overlay(&key_part(name), "a section that the cloud may not set".to_owned(), allowed);
        }
    }
}

/// `json` as the other sources have values, or `None` if it has more than `levels` levels.
fn value(json: &Json, levels: usize) -> Option<Value> {
    Some(match json {
        Json::Null => Value::Empty(Tag::Default, Empty::None),
        Json::Bool(boolean) => (*boolean).into(),
        Json::String(text) => text.as_str().into(),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => number.into(),
            (None, Some(number)) => number.into(),
            (None, None) => number.as_f64().unwrap_or(f64::NAN).into(),
        },
        Json::Array(list) => {
            let levels = levels.checked_sub(1)?;
            list.iter().map(|element| value(element, levels)).collect::<Option<Vec<_>>>()?.into()
        }
        Json::Object(fields) => {
            let levels = levels.checked_sub(1)?;
            let fields = fields.iter().map(|(name, field)| Some((name.clone(), value(field, levels)?)));
            fields.collect::<Option<Dict>>()?.into()
        }
    })
}
