//! What the patterns of the configuration find on the ROS graph of the moment.

use std::fmt::{self, Display, Formatter};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::ros::{self, Node, Role, RosError};
use iot_bridge_core::config::{GraphTopic, Patterns, Settings, assign, fill_thing};
use iot_bridge_core::tally::counted;

/// How long is looked at the most, where topics go on appearing.
const MOST: Duration = Duration::from_secs(10);

const LOOK: Duration = Duration::from_millis(100);

/// The outcome, as `check --json` has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Graph {
    /// In the order of the configuration.
    Patterns(Vec<Pattern>),
    /// It was not looked at, for this reason.
    Skipped(String),
}

/// What a pattern finds.
#[derive(Debug, Serialize)]
pub(super) struct Pattern {
    ros: String,
    limit: usize,
    topics: Vec<Topic>,
    /// Names of those beyond the limit.
    waiting: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Topic {
    ros: String,
    /// What its publishers offer.
    types: Vec<String>,
    mqtt: String,
    /// Why AWS IoT Core does not take that MQTT topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

/// What the patterns of `settings` find now; `None` if there are none.
///
/// The process may become the same program once more, so nothing may have been printed before.
pub(super) fn look(settings: &Settings) -> Option<Graph> {
    let patterns = Patterns::of(&settings.topics);
    if patterns.is_empty() {
        return None;
    }
    Some(find(settings, &patterns).unwrap_or_else(Graph::Skipped))
}

fn find(settings: &Settings, patterns: &Patterns) -> Result<Graph, String> {
    if std::env::var_os("AMENT_PREFIX_PATH").is_none_or(|path| path.is_empty()) {
        return Err("no ROS environment is sourced".to_owned());
    }
    ros::meet_the_graph(Role::Lookout).map_err(|error| error.to_string())?;
    let node = Node::create("iot_bridge_check", "").map_err(|error| error.to_string())?;
    let own = format!("{}/{}", settings.ros.namespace, settings.ros.node_name);
    let look = || -> Result<Vec<GraphTopic>, RosError> {
        let published = ros::published(&node, &own)?.into_iter().filter(|topic| patterns.may_have(&topic.name));
        Ok(published.map(|topic| GraphTopic { name: topic.name, types: topic.type_names }).collect())
    };
    let start = Instant::now();
    let (mut published, mut changed) = (Vec::new(), start);
    while changed.elapsed() < ros::SETTLED && start.elapsed() < MOST {
        let now = look().map_err(|error| error.to_string())?;
        if now != published {
            (published, changed) = (now, Instant::now());
        }
        thread::sleep(LOOK);
    }
    let assigned = assign(&settings.topics, &published, |_| false);
    let types_of = |name: &str| {
        let topic = published.iter().find(|topic| topic.name == name);
        topic.map(|topic| topic.types.clone()).unwrap_or_default()
    };
    let mut found: Vec<_> = assigned.topics.into_iter().filter(|(_, place)| place.is_some()).collect();
    let mut topics_of = |place: usize| -> Vec<Topic> {
        let topics = found.extract_if(.., |(_, of)| *of == Some(place));
        let topic = |(topic, _): (iot_bridge_core::config::Topic, _)| Topic {
            types: types_of(&topic.ros),
            mqtt: fill_thing(&topic.mqtt, &settings.aws.thing).into_owned(),
            refused: topic.refusal(),
            ros: topic.ros,
        };
        topics.map(topic).collect()
    };
    let patterns = assigned.patterns.into_iter().map(|found| Pattern {
        topics: topics_of(found.place),
        ros: found.ros,
        limit: found.limit,
        waiting: found.waiting,
    });
    Ok(Graph::Patterns(patterns.collect()))
}

/// Lines of a comment.
impl Display for Graph {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let patterns = match self {
            Graph::Skipped(why) => return writeln!(f, "# What the patterns find was not looked at: {why}."),
            Graph::Patterns(patterns) => patterns,
        };
        for Pattern { ros, limit, topics, waiting } in patterns {
            if topics.is_empty() {
                writeln!(f, "# {ros} finds nothing on the ROS graph as it is now.")?;
                continue;
            }
            let count = counted(topics.len() as u64, "topic", "topics");
            writeln!(f, "# {ros} finds {count} on the ROS graph as it is now:")?;
            for Topic { ros, types, mqtt, refused } in topics {
                write!(f, "#   {ros} ({}) -> {mqtt}", types.join(", "))?;
                match refused {
                    Some(why) => writeln!(f, ", which is refused: {why}")?,
                    None => writeln!(f)?,
                }
            }
            if !waiting.is_empty() {
                writeln!(f, "#   and beyond its limit of {limit}, not subscribed: {}", waiting.join(", "))?;
            }
        }
        Ok(())
    }
}
