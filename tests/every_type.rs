//! Every message type of the installed ROS, published by rclpy, arrives as the JSON of what rclpy holds.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::program::Program;
use crate::support::stage::Stage;
use serde::Deserialize;
use serde_json::Value;

/// The packages of common_interfaces, and the messages that ROS tests itself with.
const PACKAGES: &[&str] = &[
    "actionlib_msgs",
    "diagnostic_msgs",
    "geometry_msgs",
    "nav_msgs",
    "sensor_msgs",
    "shape_msgs",
    "std_msgs",
    "stereo_msgs",
    "test_msgs",
    "trajectory_msgs",
    "visualization_msgs",
];

/// Types that there have to be at least; fewer would mean that the list is not what it says.
const FEWEST_TYPES: usize = 120;

/// Messages of each type: defaults, extremes, and random ones.
const MESSAGES: usize = 5;

#[derive(Debug, Deserialize)]
struct Published {
    topic: String,
    #[serde(rename = "type")]
    type_name: String,
    #[serde(default)]
    expected: Value,
}

/// `publish_all.py`; killed when dropped.
struct Publisher(Child);

impl Publisher {
    fn command(arguments: &[&str], environment: &[(String, String)]) -> Command {
        let mut command = Command::new("python3");
        command
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ros/publish_all.py"))
            .args(arguments)
            .envs(environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        command
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn lines(text: impl BufRead) -> impl Iterator<Item = Published> {
    text.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}

/// Runs the bridge over all types of `packages`, has rclpy publish them, and compares what arrives. Returns the types.
async fn compare(packages: &[&str], environment: &[(String, String)]) -> Vec<String> {
    let mut stage = Stage::set().await;
    let listed = Publisher::command(&[&["--list"], packages].concat(), environment).output().unwrap();
    let types: Vec<Published> = lines(listed.stdout.as_slice()).collect();
    let mut topics = "memory = \"256 MiB\"\n".to_owned();
    for published in &types {
        // The type comes from the graph; the namespace would be a slash more than AWS IoT Core takes.
        topics += &format!("[[topics]]\nros = {:?}\nmqtt = \"{{thing}}{{ros}}\"\n", published.topic);
    }
    let variables: Vec<_> = environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut program = Program::start_with(&stage.configure(&topics), &variables);

    let count = MESSAGES.to_string();
    let arguments = [&["--count", count.as_str()], packages].concat();
    let mut publisher = Publisher(Publisher::command(&arguments, environment).spawn().unwrap());
    let mut expected: HashMap<String, Vec<Value>> = HashMap::new();
    let mut open = types.len() * MESSAGES;
    // The publisher says each message before it waits; a type whose messages are too large is none of these packages.
    for published in lines(BufReader::new(publisher.0.stdout.take().unwrap())).take(open) {
        expected.entry(published.topic).or_default().push(published.expected);
    }
    assert_eq!(expected.len(), types.len());

    let mut arrived: HashMap<String, usize> = HashMap::new();
    while open > 0 {
        let (topic, payload) = stage.observer.next().await;
        let ros = topic.strip_prefix("robot1").unwrap();
        let number = arrived.entry(ros.to_owned()).or_default();
        let text = String::from_utf8(payload.to_vec()).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{ros}: {error}: {text}"));
        assert_eq!(value, expected[ros][*number], "{ros}, message {number}: {text}");
        *number += 1;
        open -= 1;
    }
    assert_eq!(program.terminate().code(), Some(0));
    types.into_iter().map(|published| published.type_name).collect()
}

/// Every message type of common_interfaces and test_msgs, with defaults, extremes and random content, arrives as JSON
/// equal to what rclpy holds: on far more than a hundred topics at once, whose types the bridge was not built with.
#[tokio::test(flavor = "multi_thread")]
async fn every_message_type_arrives_as_rclpy_holds_it() {
    let types = compare(PACKAGES, &[]).await;
    assert!(types.len() >= FEWEST_TYPES, "only {} types", types.len());
}

/// A message package that was generated and built after the bridge arrives the same way.
#[tokio::test(flavor = "multi_thread")]
async fn a_package_built_after_the_bridge_arrives() {
    let directory = tempfile::tempdir().unwrap();
    let built = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ros/custom_package.sh"))
        .arg(directory.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let environment = std::fs::read_to_string(directory.path().join("environment")).unwrap();
    let environment: Vec<_> = environment
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let types = compare(&["probe_msgs"], &environment).await;
    assert_eq!(types, ["probe_msgs/msg/Plain", "probe_msgs/msg/Probe", "probe_msgs/msg/Sample"]);
}
