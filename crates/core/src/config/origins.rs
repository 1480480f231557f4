//! Where each value comes from: which file and line, or which environment variable.

use figment::value::{Dict, Map, Tag};
use figment::{Figment, Metadata, Profile, Provider, Source};

use super::document::{Dates, Document, Lines};
use super::problem::{Problem, without_key};

/// Stands before the name of what comes from the cloud, so that it is the name of no variable.
const OVERLAY: &str = "overlay: ";

/// One source of values: a file, an environment variable, or what comes from the cloud.
pub(super) struct Origin {
    source: Source,
    kind: OriginKind,
}

enum OriginKind {
    File {
        lines: Lines,
        dates: Dates,
        /// Keys that are called otherwise in this file: ours, and its own.
        aliases: &'static [(&'static str, &'static str)],
    },
    Variable {
        text: String,
    },
    Overlay,
}

impl Origin {
    /// A file, whose values are taken elsewhere.
    pub fn file(document: &mut Document, aliases: &'static [(&'static str, &'static str)]) -> Self {
        let (lines, dates) = (std::mem::take(&mut document.lines), std::mem::take(&mut document.dates));
        Origin { source: Source::File(document.path.clone()), kind: OriginKind::File { lines, dates, aliases } }
    }

    /// The environment variable `name`.
    pub fn variable(name: &str, text: String) -> Self {
        Origin { source: Source::Custom(name.to_owned()), kind: OriginKind::Variable { text } }
    }

    /// What comes from the cloud, as people call it.
    pub fn overlay(name: &str) -> Self {
        Origin { source: Source::Custom(format!("{OVERLAY}{name}")), kind: OriginKind::Overlay }
    }

    /// Whether it comes from the cloud.
    pub fn is_overlay(&self) -> bool {
        matches!(self.kind, OriginKind::Overlay)
    }

    /// Its path, if it is a file.
    pub fn path(&self) -> Option<&std::path::Path> {
        self.source.file_path()
    }

    /// Path or name, for people.
    pub fn name(&self) -> String {
        match &self.source {
            Source::File(path) => path.display().to_string(),
            Source::Custom(name) => name.strip_prefix(OVERLAY).unwrap_or(name).to_owned(),
            other => other.to_string(),
        }
    }

    /// Whether the value of `key` was a date or a time of day, of which only the text is left.
    pub fn is_date(&self, key: &str) -> bool {
        matches!(&self.kind, OriginKind::File { dates, .. } if dates.contains(key))
    }

    /// A problem with `key`, which is called as in our own format.
    pub fn problem(&self, key: &str, found: String, allowed: String) -> Problem {
        let (line, key) = match &self.kind {
            OriginKind::File { lines, aliases, .. } => {
                let alias = aliases.iter().find(|(ours, _)| *ours == key).map_or(key, |(_, theirs)| theirs);
                (line_near(lines, key), alias)
            }
            OriginKind::Variable { .. } | OriginKind::Overlay => (None, key),
        };
        // Advice that repeats a part of a value repeats nothing of a key.
        let allowed = without_key(&allowed).into_owned();
        Problem { source: self.name(), line, key: key.to_owned(), found, allowed }
    }
}

/// The line of `key`, or of the innermost table around it that has one.
fn line_near(lines: &Lines, key: &str) -> Option<usize> {
    let mut key = key;
    loop {
        if let Some(line) = lines.get(key) {
            return Some(*line);
        }
        key = &key[..key.rfind(['.', '['])?];
    }
}

/// All sources, and the values that came out of them one over the other.
pub(super) struct Origins {
    figment: Figment,
    all: Vec<Origin>,
}

impl Origins {
    /// Begins with the main file.
    pub fn new(main: Origin, values: Dict) -> Self {
        let figment = Figment::from(Layer { source: main.source.clone(), values });
        Origins { figment, all: vec![main] }
    }

    /// Adds a source. What it says takes the place of what was said before; its lists are appended.
    pub fn add(&mut self, origin: Origin, values: Dict) {
        let layer = Layer { source: origin.source.clone(), values };
        self.figment = std::mem::take(&mut self.figment).admerge(layer);
        self.all.push(origin);
    }

    /// The values, each with the tag of its source.
    pub fn values(&self) -> Dict {
        self.figment.data().ok().and_then(|mut profiles| profiles.remove(&Profile::Default)).unwrap_or_default()
    }

    /// The source behind `tag`. What has none of its own, such as a value that is missing, belongs to the main file,
    /// which is the first.
    pub fn get(&self, tag: Tag) -> &Origin {
        let source = self.figment.get_metadata(tag).and_then(|metadata| metadata.source.as_ref());
        source.and_then(|source| self.all.iter().find(|origin| origin.source == *source)).unwrap_or(&self.all[0])
    }

    /// Paths and names of the sources, in the order of reading.
    pub fn names(&self) -> Vec<String> {
        self.all.iter().map(Origin::name).collect()
    }

    /// The text of the environment variable behind `tag`, if it is one.
    pub fn text(&self, tag: Tag) -> Option<&str> {
        match &self.get(tag).kind {
            OriginKind::Variable { text } => Some(text),
            OriginKind::File { .. } | OriginKind::Overlay => None,
        }
    }

    /// Files that were read, the main one first.
    pub fn files(&self) -> impl Iterator<Item = &std::path::Path> {
        self.all.iter().filter_map(Origin::path)
    }

    /// Names of the environment variables that were taken.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        let variables = self.all.iter().filter(|origin| matches!(origin.kind, OriginKind::Variable { .. }));
        variables.filter_map(|origin| origin.source.custom())
    }

    /// What comes from the cloud, if anything does.
    pub fn overlay(&self) -> Option<&Origin> {
        self.all.iter().find(|origin| origin.is_overlay())
    }
}

/// One layer of values, as figment takes it.
struct Layer {
    source: Source,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::from("configuration", self.source.clone())
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}
