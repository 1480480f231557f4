//! The configuration of the AWS sample for ROS 2 robots, taken as it is.
//!
//! `iot_config.json` of aws-iot-robot-connectivity-samples-ros2 is a flat JSON object. With it the bridge does what the
//! sample does: the text of each `std_msgs/msg/String` on `mock_telemetry` goes to `ros2_mock_telemetry_topic` with
//! QoS 1. `region`, `retryWaitTime` and `retryAttempts` belong to the sample's search for a Greengrass core and have no
//! meaning here. `rootCAPath` may be missing, then the system's trust store is used; so may `port`, then it is 8883.

use figment::value::{Dict, Value};

use super::document::Document;
use super::keys::is_thing_character;
use super::origins::Origin;
use super::problem::{Problem, key_part};
use super::suggest::nearest;

/// Our keys, and what they are called in the sample.
pub(super) const ALIASES: &[(&str, &str)] = &[
    ("aws.endpoint", "endpoint"),
    ("aws.port", "port"),
    ("aws.client_id", "clientID"),
    ("aws.thing", "clientID"),
    ("aws.certificate", "certificatePath"),
    ("aws.private_key", "privateKeyPath"),
    ("aws.root_ca", "rootCAPath"),
];

/// Keys that only the sample has; one of them tells it from our own format.
const TELLING: &[&str] = &["rootCAPath", "certificatePath", "privateKeyPath", "clientID"];

const WITHOUT_MEANING: &[&str] = &["region", "retryWaitTime", "retryAttempts"];

/// Whether these are the sample's keys.
pub(super) fn is_sample(values: &Dict) -> bool {
    !values.contains_key("aws") && TELLING.iter().any(|key| values.contains_key(*key))
}

/// The document's values in our own format; its unknown keys are problems.
pub(super) fn translate(document: &Document, origin: &Origin) -> (Dict, Vec<Problem>) {
    let mut aws = Dict::new();
    let mut problems = Vec::new();
    for (name, value) in &document.values {
        let ours =
            ALIASES.iter().filter(|(_, theirs)| theirs == name).filter_map(|(ours, _)| ours.strip_prefix("aws."));
        let before = aws.len();
        for key in ours {
            aws.insert(key.to_owned(), translated(key, value));
        }
        if aws.len() == before && !WITHOUT_MEANING.contains(&name.as_str()) {
            let known = ALIASES.iter().map(|(_, theirs)| *theirs).chain(WITHOUT_MEANING.iter().copied());
            problems.push(origin.problem(&key_part(name), "an unknown key".into(), nearest(name, known)));
        }
    }
    let topic = [
        ("ros", "mock_telemetry"),
        ("type", "std_msgs/msg/String"),
        ("mqtt", "ros2_mock_telemetry_topic"),
        ("payload", "data"),
    ];
    let topic: Dict = topic.into_iter().map(|(key, value)| (key.to_owned(), Value::from(value))).collect();
    let topics: Vec<Value> = vec![topic.into()];
    (Dict::from([("aws".to_owned(), aws.into()), ("topics".to_owned(), topics.into())]), problems)
}

fn translated(key: &str, value: &Value) -> Value {
    match (key, value.as_str()) {
        // The template's PORT is replaced as text, with or without quotes around it.
        ("port", Some(text)) => text.parse::<u64>().map_or_else(|_| value.clone(), Value::from),
        // A client id may hold what the name of a thing may not. No topic of the sample has it.
        ("thing", Some(id)) => {
            id.chars().map(|c| if is_thing_character(c) { c } else { '_' }).collect::<String>().into()
        }
        _ => value.clone(),
    }
}
