//! Paths of fields beside the types of their topics, where the configuration names the type and ROS is sourced.

use std::collections::BTreeSet;

use crate::ros;
use iot_bridge_core::codec::{Selection, SelectionError};
use iot_bridge_core::config::{Loaded, Problem, TypePlace, quote};

/// What a look at the types has found.
#[derive(Debug, Default)]
pub struct Compared {
    pub problems: Vec<Problem>,
    /// Of types that could not be looked at, each a sentence without its full stop.
    pub unseen: Vec<String>,
}

impl Compared {
    /// Adds what `other` has and this has not.
    pub fn add(&mut self, other: Compared) {
        let (problems, unseen) = (other.problems.into_iter(), other.unseen.into_iter());
        let problems: Vec<_> = problems.filter(|problem| !self.problems.contains(problem)).collect();
        let unseen: Vec<_> = unseen.filter(|why| !self.unseen.contains(why)).collect();
        self.problems.extend(problems);
        self.unseen.extend(unseen);
    }
}

/// Compares the paths of all topics with their types.
pub fn inspect(loaded: &Loaded) -> Compared {
    let mut paths = Compared::default();
    let with_paths: BTreeSet<usize> = places(loaded).map(|place| place.entry).collect();
    for (index, topic) in with_paths.into_iter().filter_map(|index| Some((index, loaded.settings.topics.get(index)?))) {
        let Some(type_name) = &topic.type_name else { continue };
        let schema = match ros::schema_of(type_name) {
            Ok(schema) => schema,
            Err(error) => {
                let why = if is_sourced() { error.to_string() } else { "no ROS is sourced".to_owned() };
                paths.unseen.push(format!("The paths of {} were not compared with {type_name}: {why}", topic.ros));
                continue;
            }
        };
        let faults = |selection: Result<Selection, SelectionError>| {
            selection.map_or_else(|error| vec![error], |selection| selection.faults(&schema))
        };
        let compared = topic.on_change.iter().flat_map(|on_change| {
            faults(Selection::of_paths(ON_CHANGE, &on_change.fields))
                .into_iter()
                .map(|fault| fault.under("fields", ON_CHANGE))
        });
        let faults = faults(Selection::of(topic)).into_iter().chain(compared);
        paths.problems.extend(faults.filter_map(|fault| problem(loaded, index, fault)));
    }
    paths
}

const ON_CHANGE: &str = "on_change.fields";

/// Whether there is a ROS environment to find types in.
pub(super) fn is_sourced() -> bool {
    std::env::var_os("AMENT_PREFIX_PATH").is_some_and(|prefixes| !prefixes.is_empty())
}

/// The paths of topics.
fn places(loaded: &Loaded) -> impl DoubleEndedIterator<Item = &TypePlace> + Clone {
    loaded.places.iter().filter(|place| place.list == "topics")
}

/// The problem at the place that `fault` is about; one that is about none is at the topic's last path.
fn problem(loaded: &Loaded, topic: usize, fault: SelectionError) -> Option<Problem> {
    let mut places = places(loaded).filter(|place| place.entry == topic);
    let last = places.clone().next_back()?;
    Some(match fault {
        SelectionError::NoMatch { key, path, type_name, why } => {
            let place = places.find(|place| place.key == key && place.path == path).unwrap_or(last);
            place.problem(quote(&path), format!("it leads nowhere in {type_name}: {why}"))
        }
        SelectionError::NoPath { why, .. } => last.problem(quote(&last.path), why),
        fault @ (SelectionError::NothingLeft { .. } | SelectionError::Schema(_)) => {
            last.problem(quote(&last.path), fault.to_string())
        }
    })
}
