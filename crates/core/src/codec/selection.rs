//! What is wanted of the messages of a type, and whether the type has it.

use std::collections::HashSet;
use std::sync::Arc;

use thiserror::Error;

use super::error::SchemaError;
use super::schema::{Count, Field, Kind, Schema};
use crate::config::{self, ArrayLimit, ArrayOver, FieldPath, PathPart, nearest};

/// What is wanted of the messages of a type, and how it is written. The default is everything, as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selection {
    /// Fields that are wanted, with all that is in them; empty for all. An element that is chosen by its index stands in an
    /// array of those that are: `poses[0].position` gives `{"poses":[{"position":{…}}]}`, and `{"poses":[]}` of a message
    /// without poses.
    pub fields: Vec<FieldPath>,
    /// Fields that are not wanted, even if `fields` has them.
    pub exclude: Vec<FieldPath>,
    /// What becomes of long arrays that `array_fields` does not name. What counts is what is left of their elements.
    pub arrays: Option<ArrayLimit>,
    /// What becomes of these arrays when they are long. Where several paths lead to one, the last holds.
    pub array_fields: Vec<(FieldPath, ArrayLimit)>,
    /// Significant digits of floating-point numbers, 1 to 17; as many as read back the same without it.
    pub digits: Option<u8>,
}

/// Why nothing can be selected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SelectionError {
    /// The type has no decoder.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// What stands under a key is no path. A configuration that was loaded has none.
    #[error("`{path}` in `{key}` is no path: {why}")]
    NoPath { key: &'static str, path: String, why: String },
    /// The type has nothing at a path.
    #[error("`{path}` in `{key}` matches nothing in {type_name}: {why}")]
    NoMatch { key: &'static str, path: String, type_name: String, why: String },
    /// There are fields, and `exclude` leaves none of them.
    #[error("`fields` and `exclude` leave nothing of {type_name}")]
    NothingLeft { type_name: String },
}

impl SelectionError {
    /// The same of paths that stand under `key` in the configuration, if it says that they stand under `other`.
    pub fn under(mut self, other: &str, key: &'static str) -> Self {
        if let SelectionError::NoMatch { key: known, .. } = &mut self
            && *known == other
        {
            *known = key;
        }
        self
    }
}

impl Selection {
    /// Whether messages with long arrays are dropped.
    pub fn drops_messages(&self) -> bool {
        let limits = self.array_fields.iter().map(|(_, limit)| limit).chain(&self.arrays);
        limits.into_iter().any(|limit| limit.over == ArrayOver::Drop)
    }

    /// What the configuration of a topic wants of its messages.
    ///
    /// # Errors
    /// [`SelectionError::NoPath`], which a configuration that was loaded does not have.
    pub fn of(topic: &config::Topic) -> Result<Self, SelectionError> {
        let paths = |key, paths: &[String]| paths.iter().map(|path| parse(key, path)).collect::<Result<Vec<_>, _>>();
        let arrays = topic.arrays.as_ref();
        let array_fields = arrays.into_iter().flat_map(|arrays| &arrays.fields);
        Ok(Selection {
            fields: paths(FIELDS, &topic.fields)?,
            exclude: paths(EXCLUDE, &topic.exclude)?,
            arrays: arrays.and_then(|arrays| arrays.all),
            array_fields: array_fields
                .map(|(path, limit)| Ok((parse(ARRAYS, path)?, *limit)))
                .collect::<Result<_, SelectionError>>()?,
            digits: topic.digits,
        })
    }

    /// The fields at `paths`, or all if there are none. `key` is where the paths stand in the configuration.
    ///
    /// # Errors
    /// As of [`Selection::of`].
    pub fn of_paths(key: &'static str, paths: &[String]) -> Result<Self, SelectionError> {
        let fields = paths.iter().map(|path| parse(key, path)).collect::<Result<_, _>>()?;
        Ok(Selection { fields, ..Selection::default() })
    }

    /// What is wrong with it for messages of the type that `schema` describes, everything: a
    /// [`NoMatch`](SelectionError::NoMatch) for each path that leads nowhere, or the one error of [`Decoder::select`].
    ///
    /// [`Decoder::select`]: super::Decoder::select
    pub fn faults(&self, schema: &Arc<Schema>) -> Vec<SelectionError> {
        let lost: Vec<_> = self.lost(schema).collect();
        if lost.is_empty() {
            super::Decoder::select(Arc::clone(schema), self).err().into_iter().collect()
        } else {
            lost
        }
    }

    /// An error for each path that leads nowhere in messages of the type that `schema` describes.
    pub(super) fn lost(&self, schema: &Arc<Schema>) -> impl Iterator<Item = SelectionError> {
        let fields = self.fields.iter().map(|path| (FIELDS, path));
        let exclude = self.exclude.iter().map(|path| (EXCLUDE, path));
        let arrays = self.array_fields.iter().map(|(path, _)| (ARRAYS, path));
        fields.chain(exclude).chain(arrays).filter_map(|(key, path)| {
            let mut search = Search { path, only_arrays: key == ARRAYS, seen: HashSet::new(), furthest: None };
            (!search.message(schema, 0)).then(|| SelectionError::NoMatch {
                key,
                path: path.to_string(),
                type_name: schema.name.clone(),
                why: search.why(),
            })
        })
    }
}

const FIELDS: &str = "fields";
const EXCLUDE: &str = "exclude";
const ARRAYS: &str = "arrays.fields";

fn parse(key: &'static str, path: &str) -> Result<FieldPath, SelectionError> {
    FieldPath::parse(path).map_err(|why| SelectionError::NoPath { key, path: path.to_owned(), why })
}

/// The way of one path down a schema.
struct Search<'a> {
    path: &'a FieldPath,
    /// Whether it has to end at an array or sequence.
    only_arrays: bool,
    /// Where it was already: by the address of the schema and the parts that were met.
    seen: HashSet<(*const Schema, usize)>,
    /// After how many parts most of it was met, and why it went no further.
    furthest: Option<(usize, Obstacle)>,
}

/// Why a path goes no further.
enum Obstacle {
    /// These messages have none of that name.
    NoField { types: Vec<Arc<Schema>> },
    /// The field is an array or sequence, and the path goes on as if it were not.
    IsArray { field: String },
    /// The field is none, and the path has an index.
    IsNoArray { field: String },
    /// The index is beyond the array's end.
    Beyond { field: String, count: usize },
    /// The field is a number or text, without fields of its own.
    NoMessage { field: String },
}

impl Search<'_> {
    /// Whether what comes after `met` parts of the path is in a message of `schema`.
    fn message(&mut self, schema: &Arc<Schema>, met: usize) -> bool {
        if !self.seen.insert((Arc::as_ptr(schema), met)) {
            return false;
        }
        let part = &self.path.parts()[met];
        let meets = |field: &&Field| match part {
            PathPart::Field(name) => *name == field.name,
            _ => true,
        };
        let (mut found, mut any) = (false, false);
        for field in schema.fields.iter().filter(meets) {
            any = true;
            // All of them are looked at, so that the reason is the best of all.
            found |= self.field(field, met + 1);
        }
        if !any {
            match &mut self.furthest {
                Some((furthest, Obstacle::NoField { types })) if *furthest == met => types.push(Arc::clone(schema)),
                _ => self.stop(met, Obstacle::NoField { types: vec![Arc::clone(schema)] }),
            }
        }
        found
    }

    /// Whether the rest of the path is in `field`, which is the part before.
    fn field(&mut self, field: &Field, met: usize) -> bool {
        let name = || field.name.clone();
        match (self.path.parts().get(met), field.count) {
            (None, Count::One) if self.only_arrays => {
                self.stop(met, Obstacle::IsNoArray { field: name() });
                false
            }
            (None, _) => true,
            (Some(PathPart::Field(_) | PathPart::AnyField), Count::One) => self.value(field, met),
            (Some(PathPart::Field(_) | PathPart::AnyField), _) => {
                self.stop(met, Obstacle::IsArray { field: name() });
                false
            }
            (Some(PathPart::Element(_) | PathPart::AnyElement), Count::One) => {
                self.stop(met, Obstacle::IsNoArray { field: name() });
                false
            }
            (Some(PathPart::Element(index)), Count::Array(count) | Count::Sequence { bound: Some(count) })
                if *index >= count =>
            {
                self.stop(met, Obstacle::Beyond { field: name(), count });
                false
            }
            (Some(_), _) if met + 1 == self.path.parts().len() => {
                if self.only_arrays {
                    // ROS has no arrays of arrays.
                    self.stop(met, Obstacle::IsNoArray { field: format!("an element of {}", field.name) });
                }
                !self.only_arrays
            }
            (Some(_), _) => self.value(field, met + 1),
        }
    }

    /// Whether the rest of the path is in a value of `field`.
    fn value(&mut self, field: &Field, met: usize) -> bool {
        match &field.kind {
            Kind::Message(nested) => self.message(nested, met),
            _ => {
                self.stop(met, Obstacle::NoMessage { field: field.name.clone() });
                false
            }
        }
    }

    fn stop(&mut self, met: usize, obstacle: Obstacle) {
        // Names that are near help more than what is no message.
        let is_better = |(furthest, known): &(usize, Obstacle)| {
            let names = |obstacle: &Obstacle| matches!(obstacle, Obstacle::NoField { .. });
            (met, names(&obstacle)) > (*furthest, names(known))
        };
        if self.furthest.as_ref().is_none_or(is_better) {
            self.furthest = Some((met, obstacle));
        }
    }

    /// Why the path leads nowhere, in words.
    fn why(&self) -> String {
        let Some((met, obstacle)) = &self.furthest else { return "it has no fields".into() };
        match obstacle {
            Obstacle::NoField { types } => {
                let PathPart::Field(name) = &self.path.parts()[*met] else {
                    return format!("{} has no fields", types[0].name);
                };
                let known = types.iter().flat_map(|schema| &schema.fields).map(|field| field.name.as_str());
                match types.as_slice() {
                    [one] if one.fields.is_empty() => format!("{} has no fields", one.name),
                    [one] => format!("{} has no field `{name}`; {}", one.name, nearest(name, known)),
                    _ => format!("no field `{name}` is there; {}", nearest(name, known)),
                }
            }
            Obstacle::IsArray { field } => {
                format!("`{field}` is an array; write `{field}[*]` for each element, or `{field}[0]` for the first")
            }
            Obstacle::IsNoArray { field } if self.only_arrays => format!("`{field}` is no array"),
            Obstacle::IsNoArray { field } => format!("`{field}` is no array and has no elements"),
            Obstacle::Beyond { field, count } => {
                format!("`{field}` has at most {count} elements, the last one is `{field}[{}]`", count - 1)
            }
            Obstacle::NoMessage { field } => format!("`{field}` is a single value, without fields"),
        }
    }
}
