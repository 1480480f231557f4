//! `iot-bridge topics`: what is on the ROS graph, measured, and what a month of it would cost.

mod advice;
mod gauge;
mod listen;
mod pace;
mod report;
mod table;

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::{distribution, fail, print, refuse};
use crate::cli::TopicsWish;
use crate::ros::Published;
use iot_bridge_core::config::{self, DEFAULT_DIRECTORY, GraphTopic, Mqtt, Problems, units};
use iot_bridge_core::price::Prices;
use iot_bridge_core::provisioning;
use iot_bridge_core::terminal::EXIT_CONFIG;
use report::Report;

/// What the configuration says that matters here.
struct Configured {
    thing: String,
    mqtt: Mqtt,
    topics: Vec<config::Topic>,
    /// The full name of the bridge's node.
    node: String,
    /// Age after which a record is dropped whose topic does not say otherwise.
    max_age: Option<Duration>,
}

impl Configured {
    /// # Errors
    /// What is wrong with the configuration. None at all is no error.
    fn load(path: Option<&Path>) -> Result<Configured, Problems> {
        if path.is_none() && !config::is_there(Path::new(DEFAULT_DIRECTORY)) {
            eprintln!("There is no configuration yet; topics are told with the defaults.");
            let (thing, node) = ("thing".to_owned(), "/iot_bridge".to_owned());
            return Ok(Configured { thing, mqtt: config::default_mqtt()?, topics: Vec::new(), node, max_age: None });
        }
        let mut settings = config::load(path, std::env::vars_os())?.settings;
        provisioning::identify(&mut settings.aws);
        Ok(Configured {
            thing: settings.aws.thing,
            mqtt: settings.mqtt,
            topics: settings.topics,
            node: format!("{}/{}", settings.ros.namespace, settings.ros.node_name),
            max_age: Some(settings.queue.max_age),
        })
    }

    /// What the entries say of `topics`, by their names: those that name one, or the pattern that has it, unless its limit is
    /// reached with others.
    fn entries_of<'a>(&self, topics: impl Iterator<Item = &'a Published>) -> HashMap<String, Vec<config::Topic>> {
        let topics = topics.map(|topic| GraphTopic { name: topic.name.clone(), types: topic.type_names.clone() });
        let topics: Vec<GraphTopic> = topics.collect();
        let mut entries: HashMap<String, Vec<config::Topic>> = HashMap::new();
        for (entry, _) in config::assign(&self.topics, &topics, |_| false).topics {
            entries.entry(entry.ros.clone()).or_default().push(entry);
        }
        entries
    }

    /// What an entry for `ros` means that says nothing else.
    ///
    /// # Errors
    /// Why there can be none: a sentence without its full stop.
    fn usual(&self, ros: &str) -> Result<config::Topic, String> {
        let mut topic = config::default_topic(&self.thing, ros).map_err(|problems| {
            let problems: Vec<_> = problems.iter().map(|problem| problem.allowed.as_str()).collect();
            problems.join("; ")
        })?;
        topic.max_age = self.max_age.unwrap_or(topic.max_age);
        Ok(topic)
    }
}

pub fn execute(wish: &TopicsWish) -> ExitCode {
    if let Err(exit) = distribution::expect_the_sourced() {
        return exit;
    }
    let configured = match Configured::load(wish.config.config.as_deref()) {
        Ok(configured) => configured,
        Err(problems) => return refuse(&problems),
    };
    let prices = match Prices::load(wish.prices.as_deref()) {
        Ok(prices) => prices,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    match tell(wish, &configured, &prices) {
        Ok(exit) => exit,
        Err(error) => fail(&format!("{error:#}")),
    }
}

fn tell(wish: &TopicsWish, configured: &Configured, prices: &Prices) -> anyhow::Result<ExitCode> {
    let heard = listen::listen(configured, Duration::from_secs(wish.seconds))?;
    if heard.topics.is_empty() {
        eprintln!("{}.", heard.nothing);
    }
    let report = Report::new(&heard, configured, prices);
    let advice =
        wish.budget.filter(|_| !heard.topics.is_empty()).map(|dollars| report.advice(configured, prices, dollars));
    let (advice, too_dear) = match advice.transpose()? {
        Some(Ok(advice)) => (Some(advice), None),
        Some(Err(too_dear)) => (None, Some(too_dear)),
        None => (None, None),
    };
    let text = if wish.json {
        serde_json::to_string_pretty(&report.json(advice.as_ref()))? + "\n"
    } else {
        let advice = advice.map(|advice| advice.text()).transpose()?;
        report.text(table::terminal_width())? + &advice.unwrap_or_default()
    };
    let printed = print(text.as_bytes());
    Ok(match too_dear {
        None => printed,
        Some(too_dear) => fail(&format!("nothing brings the sum below the budget: {too_dear}")),
    })
}

/// A number of bytes in a second, as people read it.
fn bytes_per_second(bytes: f64) -> String {
    format!("{}/s", indicatif::HumanBytes(bytes.round() as u64))
}

/// The allowed bytes in a second, as the configuration writes them.
fn allowed_bytes(bytes: u64) -> String {
    format!("{}/s", units::format_size(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pattern with `limit` has as many of the topics as the bridge would forward, the first by name; a topic that an entry
    /// names is none of them.
    #[test]
    fn a_pattern_has_no_more_topics_than_its_limit() {
        let entry = |ros: &str, limit| config::Topic {
            ros: ros.to_owned(),
            limit,
            ..config::default_topic("robot1", "/t").unwrap()
        };
        let configured = Configured {
            thing: "robot1".to_owned(),
            mqtt: config::default_mqtt().unwrap(),
            topics: vec![entry("/arm/*", Some(2)), entry("/arm/a", None)],
            node: "/iot_bridge".to_owned(),
            max_age: None,
        };
        let published = ["/arm/d", "/arm/a", "/arm/c", "/arm/b", "/leg/a"].map(|name| Published {
            name: name.to_owned(),
            type_names: vec!["std_msgs/msg/String".to_owned()],
            publishers: 1,
            reliability: None,
            durability: None,
        });
        let entries = configured.entries_of(published.iter());
        let mut names: Vec<&str> = entries.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["/arm/a", "/arm/b", "/arm/c"]);
        assert!(entries.values().all(|entries| entries.len() == 1));
    }
}
