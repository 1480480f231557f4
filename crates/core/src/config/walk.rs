//! The walk over what was read: every key is known, of the right kind, and within its bounds.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::Duration;

use figment::value::{Dict, Tag, Value};
use serde_json::Map;

use super::environment::{self, parse, variable_name};
use super::field_path::check_field_path;
use super::keys;
use super::kind::{Checked, Key, Kind, Presence, describe, number, shape};
use super::message::message;
use super::origins::Origins;
use super::problem::{NOTHING, Problem, Problems, key_part};
use super::settings::Deadband;
use super::suggest::{likely, nearest};

/// Problems, as they are found.
pub(super) struct Report<'a> {
    origins: &'a Origins,
    found: Vec<Problem>,
    /// Sources and keys of what was found.
    known: HashSet<(String, String)>,
    /// Keys of what was found.
    keys: HashSet<String>,
}

impl<'a> Report<'a> {
    /// Begins with problems that were found before.
    pub fn new(origins: &'a Origins, found: Vec<Problem>) -> Self {
        let mut report = Report { origins, found: Vec::new(), known: HashSet::new(), keys: HashSet::new() };
        found.into_iter().for_each(|problem| report.push(problem));
        report
    }

    fn push(&mut self, problem: Problem) {
        if self.known.insert((problem.source.clone(), problem.key.clone())) {
            self.keys.insert(problem.key.clone());
            self.found.push(problem);
        }
    }

    /// Adds a problem. A key has one at a time: the first.
    pub fn add(&mut self, tag: Tag, key: &str, found: String, allowed: String) {
        self.push(self.origins.get(tag).problem(key, found, allowed));
    }

    /// Adds a problem with `key` of what comes from the cloud.
    pub fn add_of_overlay(&mut self, key: &str, found: String, allowed: String) {
        if let Some(origin) = self.origins.overlay() {
            self.push(origin.problem(key, found, allowed));
        }
    }

    /// A problem with `key` of the source behind `tag`, which the report does not hold.
    pub fn problem(&self, tag: Tag, key: &str, found: String, allowed: String) -> Problem {
        self.origins.get(tag).problem(key, found, allowed)
    }

    /// Whether any source has a problem with `key`.
    fn has(&self, key: &str) -> bool {
        self.keys.contains(key)
    }

    /// The file behind `tag`, if it is one.
    pub fn file(&self, tag: Tag) -> Option<&Path> {
        self.origins.get(tag).path()
    }

    /// Whether the source behind `tag` is the cloud.
    pub fn is_of_overlay(&self, tag: Tag) -> bool {
        self.origins.get(tag).is_overlay()
    }

    /// Path or name of the source behind `tag`.
    pub fn source(&self, tag: Tag) -> String {
        self.origins.get(tag).name()
    }

    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The problems, in the order of the sources and their lines.
    pub fn finish(mut self) -> Problems {
        let order = self.origins.names();
        self.found.sort_by_key(|problem| (order.iter().position(|name| *name == problem.source), problem.line));
        Problems::new(self.found)
    }
}

/// The checked values of the whole configuration, or of one entry of a list of tables.
pub(super) struct Section {
    /// Its key as people read it, `topics[2]`; empty for the whole.
    pub key: String,
    /// Its source; for the whole, which has many, that of the main file.
    pub tag: Tag,
    values: BTreeMap<String, (Checked, Tag)>,
    lists: BTreeMap<&'static str, Vec<Section>>,
    /// Tables that have names of the user's own, by the key of the table that holds them and by their names.
    named: BTreeMap<String, BTreeMap<String, Section>>,
}

impl Section {
    fn new(key: String, tag: Tag) -> Self {
        Section { key, tag, values: BTreeMap::new(), lists: BTreeMap::new(), named: BTreeMap::new() }
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        match self.values.get(name) {
            Some((Checked::Text(text), _)) => Some(text),
            _ => None,
        }
    }

    pub fn bool(&self, name: &str) -> Option<bool> {
        match self.values.get(name) {
            Some((Checked::Bool(value), _)) => Some(*value),
            _ => None,
        }
    }

    pub fn integer(&self, name: &str) -> Option<u64> {
        match self.values.get(name) {
            Some((Checked::Integer(value), _)) => Some(*value),
            _ => None,
        }
    }

    pub fn duration(&self, name: &str) -> Option<Duration> {
        match self.values.get(name) {
            Some((Checked::Duration(value), _)) => Some(*value),
            _ => None,
        }
    }

    pub fn size(&self, name: &str) -> Option<u64> {
        match self.values.get(name) {
            Some((Checked::Size(value), _)) => Some(*value),
            _ => None,
        }
    }

    pub fn names(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        match self.values.get(name) {
            Some((Checked::Names(names), _)) => Some(names),
            _ => None,
        }
    }

    /// In hertz.
    pub fn rate(&self, name: &str) -> Option<f64> {
        match self.values.get(name) {
            Some((Checked::Rate(value), _)) => Some(*value),
            _ => None,
        }
    }

    pub fn deadband(&self, name: &str) -> Option<Deadband> {
        match self.values.get(name) {
            Some((Checked::Deadband(value), _)) => Some(*value),
            _ => None,
        }
    }

    /// The lowest and the highest number by paths of fields; none if nobody has written one.
    pub fn limits(&self, name: &str) -> BTreeMap<String, [f64; 2]> {
        match self.values.get(name) {
            Some((Checked::Limits(limits), _)) => limits.clone(),
            _ => BTreeMap::new(),
        }
    }

    pub fn message(&self, name: &str) -> Option<&Map<String, serde_json::Value>> {
        match self.values.get(name) {
            Some((Checked::Message(message), _)) => Some(message),
            _ => None,
        }
    }

    /// The texts of a list; none if nobody has written one.
    pub fn texts(&self, name: &str) -> &[String] {
        match self.values.get(name) {
            Some((Checked::List(texts), _)) => texts,
            _ => &[],
        }
    }

    /// The tables with names of the user's own under `name`.
    pub fn named(&self, name: &str) -> impl Iterator<Item = (&String, &Section)> {
        self.named.get(name).into_iter().flatten()
    }

    /// Whether somebody has written a table or value of this name.
    pub fn is_there(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Whether somebody has written this value, so that it is no default.
    pub fn is_written(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|(_, tag)| !tag.is_default())
    }

    pub fn list(&self, name: &str) -> &[Section] {
        self.lists.get(name).map_or(&[], Vec::as_slice)
    }

    /// Where the value of `name` comes from; a default has the section's own source.
    pub fn tag_of(&self, name: &str) -> Tag {
        self.values.get(name).map(|(_, tag)| *tag).filter(|tag| !tag.is_default()).unwrap_or(self.tag)
    }

    /// The key of `name` as people read it.
    pub fn key_of(&self, name: &str) -> String {
        join(&self.key, name)
    }
}

/// Looks at everything under the root. What fails is in the report and missing in the answer.
pub(super) fn walk(values: &Dict, report: &mut Report<'_>) -> Section {
    let mut root = Section::new(String::new(), Tag::Default);
    Walker { report }.table(keys::ROOT, values, "", "", &mut root);
    root
}

struct Walker<'r, 'a> {
    report: &'r mut Report<'a>,
}

impl Walker<'_, '_> {
    /// Looks at one table. `path` leads to it in the list of keys (`topics[]`), `within` from the section it is in.
    fn table(&mut self, keys: &'static [Key], dict: &Dict, path: &str, within: &str, section: &mut Section) {
        for (name, value) in dict {
            match keys.iter().find(|key| key.name == name) {
                Some(key) => self.entry(key, value, dict, path, within, section),
                None => self.unknown(name, value.tag(), keys, path, &join(&section.key, within)),
            }
        }
        for key in keys.iter().filter(|key| !dict.contains_key(key.name)) {
            match key.presence {
                Presence::RequiredWithout(others) if self.has_one_of(others, dict, &join(&section.key, within)) => {}
                _ => self.absent(key, path, within, section),
            }
        }
    }

    /// Whether the table `shown` has one of the keys `names`, other than as an empty list.
    fn has_one_of(&self, names: &[&str], dict: &Dict, shown: &str) -> bool {
        let is_empty = |value: &Value| matches!(value, Value::Array(_, values) if values.is_empty());
        // What was there in a wrong shape may have been taken out.
        let has = |name: &str| dict.get(name).map_or(self.report.has(&join(shown, name)), |value| !is_empty(value));
        names.iter().any(|name| has(name))
    }

    /// Looks at one value of the table `dict`.
    fn entry(
        &mut self,
        key: &'static Key,
        value: &Value,
        dict: &Dict,
        path: &str,
        within: &str,
        section: &mut Section,
    ) {
        let table = join(&section.key, within);
        let (path, within) = (join(path, key.name), join(within, key.name));
        let shown = join(&section.key, &within);
        let problems = self.report.found.len();
        let checked = match (key.kind, value) {
            (Kind::Table(keys), Value::Dict(_, dict)) => {
                self.table(keys, dict, &path, &within, section);
                Some(Checked::Other)
            }
            (Kind::Tables(_), Value::Array(_, values))
                if values.is_empty()
                    && matches!(key.presence, Presence::RequiredWithout(others) if !self.has_one_of(others, dict, &table)) =>
            {
                self.report.add(value.tag(), &shown, describe(value), key.note.unwrap_or_default().to_owned());
                return;
            }
            (Kind::Tables(keys), Value::Array(_, values)) => {
                let sections = self.entries(keys, values, &path, &shown);
                section.lists.insert(key.name, sections);
                return;
            }
            (Kind::List(kind), Value::Array(_, values)) => {
                let mut texts = Vec::with_capacity(values.len());
                for (index, value) in values.iter().enumerate() {
                    if let Some(Checked::Text(text)) = self.single(key, kind, value, &format!("{shown}[{index}]")) {
                        texts.push(text);
                    }
                }
                Some(Checked::List(texts))
            }
            (Kind::NamedTables(keys), Value::Dict(_, dict)) => {
                let mut named = BTreeMap::new();
                for (name, value) in dict {
                    let shown = format!("{shown}.{}", key_part(name));
                    let Value::Dict(tag, dict) = value else {
                        self.report.add(value.tag(), &shown, shape(value).into(), Kind::Table(keys).allowed());
                        continue;
                    };
                    let mut inner = Section::new(shown, *tag);
                    self.table(keys, dict, &join(&path, "*"), "", &mut inner);
                    named.insert(name.clone(), inner);
                }
                section.named.insert(within.clone(), named);
                Some(Checked::Other)
            }
            (Kind::Limits, Value::Dict(_, dict)) => {
                let limits = dict.iter().filter_map(|(path, value)| {
                    Some((path.clone(), self.limit(path, value, &format!("{shown}.{}", key_part(path)))?))
                });
                Some(Checked::Limits(limits.collect()))
            }
            (Kind::Message, Value::Dict(_, dict)) => {
                let origins = self.report.origins;
                match message(dict, &shown, &|tag, key| origins.get(tag).is_date(key)) {
                    Ok(message) => Some(Checked::Message(message)),
                    Err(faults) => {
                        for fault in faults {
                            self.report.add(fault.tag, &fault.key, fault.found, fault.allowed.to_owned());
                        }
                        None
                    }
                }
            }
            (Kind::Names, Value::Dict(_, dict)) => {
                let mut names = BTreeMap::new();
                for (name, value) in dict {
                    let shown = format!("{shown}.{}", key_part(name));
                    // A variable that holds the whole table is not the text of what is in it.
                    let in_table = self.report.origins.text(value.tag()).is_some_and(|text| text.starts_with('{'));
                    if in_table && value.as_str().is_none() {
                        self.report.add(value.tag(), &shown, shape(value).into(), Kind::Text(|_| Ok(())).allowed());
                        continue;
                    }
                    if let Some(Checked::Text(text)) = self.single(key, &Kind::Text(|_| Ok(())), value, &shown) {
                        names.insert(name.clone(), text.clone());
                        // Each may come from a source of its own.
                        let within = join(&within, &key_part(name));
                        section.values.insert(within, (Checked::Text(text), value.tag()));
                    }
                }
                Some(Checked::Names(names))
            }
            (kind, value) => self.single(key, &kind, value, &shown),
        };
        if let Some(checked) = checked.filter(|_| self.report.found.len() == problems) {
            section.values.insert(within, (checked, value.tag()));
        }
    }

    /// The lowest and the highest number that `value` allows for the field at `path`.
    fn limit(&mut self, path: &str, value: &Value, shown: &str) -> Option<[f64; 2]> {
        if let Err(allowed) = check_field_path(path) {
            self.report.add(value.tag(), shown, "a name that is no path of a field".into(), allowed);
            return None;
        }
        let number = |value: &Value| number(value).filter(|number| number.is_finite());
        let numbers: Vec<_> = value.as_array().into_iter().flatten().map(number).collect();
        let (found, allowed) = match numbers[..] {
            [Some(low), Some(high)] if low <= high => return Some([low, high]),
            [Some(low), Some(high)] => (format!("[{low:?}, {high:?}]"), "the lowest number stands first"),
            _ => (shape(value).to_owned(), "allowed are the lowest and the highest number, such as [-0.5, 0.5]"),
        };
        self.report.add(value.tag(), shown, found, allowed.to_owned());
        None
    }

    /// The entries of a list of tables; each is counted within its own file.
    fn entries(&mut self, keys: &'static [Key], values: &[Value], path: &str, shown: &str) -> Vec<Section> {
        let mut counts: BTreeMap<Tag, usize> = BTreeMap::new();
        let mut sections = Vec::with_capacity(values.len());
        for value in values {
            let count = counts.entry(value.tag()).or_default();
            let shown = format!("{shown}[{count}]");
            *count += 1;
            let Value::Dict(tag, dict) = value else {
                self.report.add(value.tag(), &shown, shape(value).into(), Kind::Table(keys).allowed());
                continue;
            };
            let mut section = Section::new(shown, *tag);
            self.table(keys, dict, &format!("{path}[]"), "", &mut section);
            sections.push(section);
        }
        sections
    }

    fn single(&mut self, key: &Key, kind: &Kind, value: &Value, shown: &str) -> Option<Checked> {
        match kind.check(value, self.report.origins.text(value.tag())) {
            Ok(checked) => Some(checked),
            Err(allowed) => {
                let allowed = key.note.map_or(allowed.clone(), |note| format!("{allowed}; {note}"));
                self.report.add(value.tag(), shown, found(value, kind, shown), allowed);
                None
            }
        }
    }

    fn absent(&mut self, key: &'static Key, path: &str, within: &str, section: &mut Section) {
        let (path, within) = (join(path, key.name), join(within, key.name));
        let required = matches!(key.presence, Presence::Required | Presence::RequiredWithout(_));
        if required && self.report.has(&join(&section.key, &within)) {
            // It was there, in a shape that hides what it says.
            return;
        }
        match (key.presence, key.kind) {
            (Presence::Required, Kind::Table(keys)) => self.table(keys, &Dict::new(), &path, &within, section),
            (Presence::Required | Presence::RequiredWithout(_), _) => {
                let mut allowed = match key.presence {
                    Presence::RequiredWithout([other]) if path.contains('[') => {
                        format!("this key or `{other}` is required")
                    }
                    _ => "this key is required".to_owned(),
                };
                if !path.contains('[') && !matches!(key.kind, Kind::Tables(_)) {
                    allowed += &format!(", in a file or as {}", variable_name(&path));
                }
                if let Some(note) = key.note {
                    allowed += &format!("; {note}");
                }
                self.report.add(section.tag, &join(&section.key, &within), NOTHING.into(), allowed);
            }
            (Presence::Default(text), kind) => {
                // Every default passes its check: a test looks at each.
                if let Ok(checked) = kind.check(&parse(text), Some(text)) {
                    section.values.insert(within, (checked, Tag::Default));
                }
            }
            (Presence::Optional, _) => {}
        }
    }

    fn unknown(&mut self, name: &str, tag: Tag, keys: &'static [Key], path: &str, shown: &str) {
        let known = keys.iter().map(|key| key.name);
        let allowed = if self.report.origins.text(tag).is_some() {
            let variables = environment::known_variables();
            match likely(&variable_name(&join(path, name)), variables.iter().map(String::as_str)) {
                Some(variable) => format!("did you mean {variable}?"),
                None => "no key has this name".to_owned(),
            }
        } else {
            match (likely(name, known.clone()), elsewhere(name)) {
                (None, Some(elsewhere)) => format!("there is `{elsewhere}`; is it under the wrong header?"),
                _ => nearest(name, known),
            }
        };
        self.report.add(tag, &join(shown, &key_part(name)), "an unknown key".into(), allowed);
    }
}

/// A key of the same name in another table.
fn elsewhere(name: &str) -> Option<String> {
    keys::paths().into_iter().find(|path| path.rsplit_once('.').is_some_and(|(_, last)| last == name))
}

/// What stands under the key `shown`, which `kind` does not take: as it is, where that may be told.
fn found(value: &Value, kind: &Kind, shown: &str) -> String {
    if keys::is_secret(shown) {
        format!("{} that is not shown, because it may be secret", shape(value))
    } else if kind.is_structured() {
        // Whoever writes a value where a table belongs may have meant one that is secret.
        shape(value).to_owned()
    } else {
        describe(value)
    }
}

fn join(path: &str, name: &str) -> String {
    match (path, name) {
        ("", name) => name.to_owned(),
        (path, "") => path.to_owned(),
        (path, name) => format!("{path}.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_key(keys: &'static [Key], path: &str, visit: &mut dyn FnMut(&str, &Key)) {
        for key in keys {
            let path = join(path, key.name);
            visit(&path, key);
            match key.kind {
                Kind::Table(inner) => every_key(inner, &path, visit),
                Kind::Tables(inner) => every_key(inner, &format!("{path}[]"), visit),
                Kind::NamedTables(inner) => every_key(inner, &join(&path, "*"), visit),
                _ => {}
            }
        }
    }

    #[test]
    fn every_default_passes_its_own_check() {
        every_key(keys::ROOT, "", &mut |path, key| {
            if let Presence::Default(text) = key.presence {
                key.kind.check(&parse(text), Some(text)).unwrap_or_else(|allowed| panic!("{path}: {allowed}"));
            }
        });
    }
}
