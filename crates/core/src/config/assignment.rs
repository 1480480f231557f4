//! Which entry of `[[topics]]` has which ROS topic.
//!
//! Whoever names a topic exactly has it; several entries may. Another topic goes to one pattern at most: of those that
//! match its name and its type, and do not leave it out with `except`, the one with
//!
//! 1. the longest part before the first wildcard,
//! 2. then the fewest `**`,
//! 3. then the fewest `*`,
//! 4. then the first in the file.
//!
//! An example, with these entries in a file:
//!
//! | entry | `/sensors/imu` | `/sensors/raw/imu` | `/odom` | `/scan` |
//! | --- | --- | --- | --- | --- |
//! | `/**` with `except = ["/scan"]` | | `except` leads here | has it | nobody has it |
//! | `/sensors/**` with `except = ["/sensors/raw/**"]` | | | | |
//! | `/sensors/*` | has it | | | |
//!
//! Patterns never find [hidden](is_hidden) topics, nor what is [requested](Requested) by the cloud: the ROS topics of commands
//! and shadows, and topics whose MQTT topic would be one of requests. Of an entry's topics at most `limit` are in force: those that were
//! before, then by name. The others wait; they do not go to another entry.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::pattern::{Pattern, is_pattern};
use super::ros_names::check_topic;
use super::settings::{Requested, Topic};
use super::template::{SHORTEST_TYPE, fill_ros, may_become};

/// A topic that somebody publishes who is not the bridge.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GraphTopic {
    /// Absolute name.
    pub name: String,
    /// In order, as `package/msg/Name`.
    pub types: Vec<String>,
}

/// The patterns of a configuration.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    /// The most exact first.
    patterns: Vec<Entry>,
    /// What entries name exactly.
    exact: HashSet<String>,
}

#[derive(Debug, Clone)]
struct Entry {
    /// Its place among all entries.
    place: usize,
    pattern: Pattern,
    except: Vec<Pattern>,
    requested: Option<Arc<Requested>>,
    /// The template of the MQTT topic, and that of what is compressed where that is another.
    mqtt: Vec<String>,
    /// `package/msg/Name`, or `package/msg/*`.
    type_name: Option<String>,
}

impl Entry {
    fn is_meant(&self, name: &str) -> bool {
        self.pattern.matches(name) && !self.except.iter().any(|except| except.matches(name)) && !self.is_requested(name)
    }

    /// Whether the cloud asks for the topic `name`, or it would be published where the cloud asks.
    fn is_requested(&self, name: &str) -> bool {
        let Some(requested) = &self.requested else { return false };
        let comes_back = |template: &String| {
            let published = fill_ros(template, name);
            requested.mqtt.iter().any(|topic| may_become(&published, topic))
        };
        requested.ros.contains(name) || !requested.mqtt.is_empty() && self.mqtt.iter().any(comes_back)
    }

    /// The first of `types` that it takes.
    fn type_among<'a>(&self, types: &'a [String]) -> Option<&'a str> {
        let mut types = types.iter().map(String::as_str);
        match &self.type_name {
            None => types.next(),
            Some(wanted) => types.find(|name| is_type_like(wanted, name)),
        }
    }
}

/// Whether `name` is the type `wanted`, or one of its package: `sensor_msgs/msg/*`.
fn is_type_like(wanted: &str, name: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(package) => name.starts_with(package),
        None => name == wanted,
    }
}

/// Whether no pattern means the topic `name`: a part of it begins with `_`, each node has its own, or ROS takes no such
/// name.
pub fn is_hidden(name: &str) -> bool {
    const OF_EACH_NODE: [&str; 2] = ["/rosout", "/parameter_events"];
    name.contains("/_") || OF_EACH_NODE.contains(&name) || is_pattern(name) || check_topic(name).is_err()
}

impl Patterns {
    /// Those of `entries`.
    pub fn of(entries: &[Topic]) -> Patterns {
        let (patterns, exact): (Vec<_>, Vec<_>) =
            entries.iter().enumerate().partition(|(_, entry)| is_pattern(&entry.ros));
        let mut patterns: Vec<Entry> = patterns
            .into_iter()
            .map(|(place, entry)| Entry {
                place,
                pattern: Pattern::new(&entry.ros),
                except: entry.except.iter().map(|except| Pattern::new(except)).collect(),
                requested: entry.requested.clone(),
                mqtt: entry.mqtt_topics(),
                type_name: entry.type_name.clone(),
            })
            .collect();
        // Those that are alike stay in the order of the file.
        patterns.sort_by_key(|entry| entry.pattern.vagueness());
        Patterns { patterns, exact: exact.into_iter().map(|(_, entry)| entry.ros.clone()).collect() }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether one of them may have the topic `name`, whatever its type.
    pub fn may_have(&self, name: &str) -> bool {
        self.meant(name).next().is_some()
    }

    /// Which entry has the topic `name`, as far as that can be told before its type is known.
    pub fn by_name(&self, name: &str) -> ByName {
        match self.meant(name).next() {
            None => ByName::None,
            Some(Entry { type_name: None, place, .. }) => ByName::Entry(*place),
            Some(_) => ByName::DependsOnType,
        }
    }

    /// The place of the entry that has the topic `name`, which is of `types`, and the type that it takes.
    pub fn entry_of<'a>(&self, name: &str, types: &'a [String]) -> Option<(usize, &'a str)> {
        self.meant(name).find_map(|entry| Some((entry.place, entry.type_among(types)?)))
    }

    /// The patterns that mean the topic `name` if it is of the right type, the most exact first; none if an entry names it
    /// exactly.
    fn meant(&self, name: &str) -> impl Iterator<Item = &Entry> {
        let is_for_patterns = !self.exact.contains(name) && !is_hidden(name);
        self.patterns.iter().filter(move |entry| is_for_patterns && entry.is_meant(name))
    }
}

/// Which pattern has a topic whose type is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByName {
    /// No pattern, whatever its type.
    None,
    /// That of the entry at this place, whatever its type.
    Entry(usize),
    /// The first pattern that means its name wants a type.
    DependsOnType,
}

/// What entries become on a graph.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Assigned {
    /// Topics by their names, in the entries' order, those of a pattern by name; each with the place of the pattern that has
    /// found it among the entries.
    pub topics: Vec<(Topic, Option<usize>)>,
    /// How it stands with each pattern, in their order.
    pub patterns: Vec<Found>,
}

/// What a pattern has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Place of the entry. Several may have the same pattern.
    pub place: usize,
    /// The pattern.
    pub ros: String,
    pub limit: usize,
    /// Topics that are in force.
    pub topics: usize,
    /// Names of those beyond the limit.
    pub waiting: Vec<String>,
}

/// What `entries` become where `published` is on the graph. Topics that are `in_force` keep their places.
pub fn assign(entries: &[Topic], published: &[GraphTopic], in_force: impl Fn(&str) -> bool) -> Assigned {
    let patterns = Patterns::of(entries);
    let mut found: HashMap<usize, Vec<(&GraphTopic, &str)>> = HashMap::new();
    for topic in published {
        if let Some((place, type_name)) = patterns.entry_of(&topic.name, &topic.types) {
            found.entry(place).or_default().push((topic, type_name));
        }
    }
    let mut assigned = Assigned::default();
    for (place, entry) in entries.iter().enumerate() {
        if !entry.is_pattern() {
            assigned.topics.push((entry.clone(), None));
            continue;
        }
        let mut topics = found.remove(&place).unwrap_or_default();
        let limit = entry.limit.unwrap_or(usize::MAX);
        topics.sort_by_key(|(topic, _)| (!in_force(&topic.name), &topic.name));
        let waiting = topics.split_off(topics.len().min(limit));
        topics.sort_by_key(|(topic, _)| &topic.name);
        assigned.patterns.push(Found {
            place,
            ros: entry.ros.clone(),
            limit,
            topics: topics.len(),
            waiting: waiting.into_iter().map(|(topic, _)| topic.name.clone()).collect(),
        });
        let of_entry = topics.into_iter().map(|(topic, type_name)| entry.found(&topic.name, type_name));
        assigned.topics.extend(of_entry.map(|topic| (topic, Some(place))));
    }
    assigned
}

impl Topic {
    /// Whether it stands for several topics.
    pub fn is_pattern(&self) -> bool {
        is_pattern(&self.ros)
    }

    /// What this pattern says of the topic `name`, which is of the type `type_name`; empty if that is not known. AWS IoT Core
    /// may not take its MQTT topic.
    pub fn found(&self, name: &str, type_name: &str) -> Topic {
        let wanted = self.type_name.as_deref().map(|wanted| if is_pattern(wanted) { type_name } else { wanted });
        Topic {
            ros: name.to_owned(),
            mqtt: fill_ros(&self.mqtt, name),
            type_name: wanted.filter(|name| !name.is_empty()).map(str::to_owned),
            except: Vec::new(),
            requested: None,
            limit: None,
            ..self.clone()
        }
    }

    /// The MQTT topics that it may have, as policies write them: `*` stands for any characters.
    pub fn mqtt_globs(&self) -> Vec<String> {
        Pattern::new(&self.ros).globs().iter().map(|glob| fill_ros(&self.mqtt, glob)).collect()
    }

    /// Whether topics that it finds may go to one MQTT topic.
    pub fn merges(&self) -> bool {
        let (name, namespace) = Pattern::new(&self.ros).varies();
        let says = |placeholder: &str| self.mqtt.contains(placeholder);
        self.is_pattern() && !says("{ros}") && (name && !says("{name}") || namespace && !says("{namespace}"))
    }

    /// Why AWS IoT Core takes its MQTT topic with no type, if that is so.
    pub fn refusal(&self) -> Option<String> {
        self.mqtt_for(self.type_name.as_deref().unwrap_or(SHORTEST_TYPE)).err().map(|fault| fault.to_string())
    }
}

#[cfg(test)]
mod tests;
