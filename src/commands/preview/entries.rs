//! Which entries of the configuration have the topic that is to be shown.

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::PATIENCE;
use crate::ros::{self, Node, RosError};
use iot_bridge_core::config::{self, ByName, DEFAULT_DIRECTORY, MqttVersion, Patterns, Problems, Version};
use iot_bridge_core::provisioning;

/// How often the graph is looked at for the topic's type.
const LOOK: Duration = Duration::from_millis(100);

/// What is to be shown.
pub struct Wish {
    pub thing: String,
    pub version: Version,
    /// The topic as the defaults have it.
    default: config::Topic,
    entries: Entries,
}

/// The entries that have the topic.
enum Entries {
    /// None.
    None,
    These(Vec<config::Topic>),
    /// One of these, which are those of the configuration: it depends on the topic's type.
    ByType(Vec<config::Topic>),
}

impl Wish {
    /// What the configuration at `config` says of `topic`.
    ///
    /// # Errors
    /// What is wrong with the configuration, or with the topic's name. No configuration at all is no error.
    pub fn load(config: Option<&Path>, topic: &str) -> Result<Wish, Problems> {
        const UNKNOWN_THING: &str = "thing";
        if config.is_none() && !config::is_there(Path::new(DEFAULT_DIRECTORY)) {
            let default = config::default_topic(UNKNOWN_THING, topic)?;
            eprintln!("There is no configuration yet; showing {} with the defaults.", default.ros);
            let entries = Entries::These(vec![default.clone()]);
            return Ok(Wish { thing: UNKNOWN_THING.to_owned(), version: MqttVersion::Auto.first(), default, entries });
        }
        let mut settings = config::load(config, std::env::vars_os())?.settings;
        provisioning::identify(&mut settings.aws);
        let default = config::default_topic(&settings.aws.thing, topic)?;
        let mut topics = settings.topics;
        let entries = match Patterns::of(&topics).by_name(&default.ros) {
            ByName::DependsOnType => Entries::ByType(topics),
            ByName::Entry(place) => Entries::These(vec![found(&topics[place], &default.ros, "")]),
            ByName::None => {
                topics.retain(|entry| entry.ros == default.ros);
                if topics.is_empty() { Entries::None } else { Entries::These(topics) }
            }
        };
        Ok(Wish { thing: settings.aws.thing, version: settings.mqtt.version.first(), default, entries })
    }

    /// The entries that have the topic, or the defaults if none has. Where that depends on its type, waits until somebody
    /// publishes it.
    ///
    /// # Errors
    /// rcl's own.
    pub async fn topics(self, node: &Node) -> Result<Vec<config::Topic>, RosError> {
        let name = self.default.ros.clone();
        let entries = match self.entries {
            Entries::These(entries) => return Ok(entries),
            Entries::None => None,
            Entries::ByType(entries) => {
                let types = types_of(&name, node).await?;
                let entry = Patterns::of(&entries).entry_of(&name, &types);
                entry.map(|(place, type_name)| vec![found(&entries[place], &name, type_name)])
            }
        };
        Ok(entries.unwrap_or_else(|| {
            eprintln!("{name} is not configured; showing it with the defaults.");
            vec![self.default]
        }))
    }
}

/// The pattern `entry` for the topic `name`; and says so.
fn found(entry: &config::Topic, name: &str, type_name: &str) -> config::Topic {
    match &entry.type_name {
        Some(wanted) => eprintln!("{name} is found by {} with the type {wanted}.", entry.ros),
        None => eprintln!("{name} is found by {}.", entry.ros),
    }
    entry.found(name, type_name)
}

/// The types of the topic `name`, once somebody publishes it.
async fn types_of(name: &str, node: &Node) -> Result<Vec<String>, RosError> {
    let mut tell_at = Some(Instant::now() + PATIENCE);
    loop {
        // Also what the bridge itself publishes.
        let published = ros::published(node, "")?;
        if let Some(topic) = published.into_iter().find(|topic| topic.name == name) {
            return Ok(topic.type_names);
        }
        if tell_at.take_if(|at| *at <= Instant::now()).is_some() {
            eprintln!(
                "Nobody publishes {name} yet, and which entry of the configuration has it depends on its type; waiting. \
                 Ctrl-C ends it."
            );
        }
        sleep(LOOK).await;
    }
}
