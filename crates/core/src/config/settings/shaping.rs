//! What a topic's configuration makes of its messages before they are queued.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::super::units::serialize_optional_duration;

/// What a record of a window holds of each numeric field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aggregate {
    Mean,
    Min,
    Max,
    /// The last message, of all fields.
    Last,
    /// How many messages there were; a record always says so.
    Count,
}

/// What becomes of arrays and sequences that are too long.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Arrays {
    /// Of all fields that `fields` does not name.
    #[serde(flatten)]
    pub all: Option<ArrayLimit>,
    /// By the path of the field.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, ArrayLimit>,
}

/// What becomes of an array of more than `max` elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ArrayLimit {
    pub max: u32,
    pub over: ArrayOver,
}

/// What becomes of an array that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ArrayOver {
    /// The first `max` elements travel.
    Truncate,
    /// The message does not travel.
    Drop,
    /// The field does not travel.
    Omit,
    /// Count, least, largest and mean travel.
    Summary,
}

/// When a message differs from the last one that was sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OnChange {
    /// Paths of the fields that are compared; empty for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// By how much a number has to differ; by anything without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadband: Option<Deadband>,
    /// A message that comes after this time travels, changed or not.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "serialize_optional_duration")]
    pub at_least_every: Option<Duration>,
}

/// By how much a number has to differ from the one that was sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Deadband {
    /// In the field's own unit.
    Absolute(f64),
    /// Of the magnitude of what was sent.
    Percent(f64),
}

impl Serialize for Deadband {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Deadband::Absolute(number) => serializer.serialize_f64(*number),
            Deadband::Percent(percent) => serializer.collect_str(&format_args!("{percent} %")),
        }
    }
}
