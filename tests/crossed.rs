//! Jazzy and Kilted on one wire, and in each other's place.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;

use iot_bridge::ros::BUILT_FOR;
use serde_json::Value;

use crate::every_type::{FEWEST_TYPES, KEYED, PACKAGES};
use crate::support::cache;
use crate::support::killed_on_drop::KilledOnDrop;
use crate::support::program::Program;
use crate::support::rclpy::publish_all;
use crate::support::stage::Stage;

/// Messages of each type: defaults, extremes, and random ones.
const MESSAGES: usize = 3;

/// Of the random content: the same for each publisher.
const SEED: &str = "20";

/// What a ROS environment consists of, of which there is one at a time.
const VARIABLES: [&str; 6] =
    ["AMENT_PREFIX_PATH", "CMAKE_PREFIX_PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "ROS_DISTRO", "ROS_VERSION"];

/// Variables of a ROS environment; none for the one that the test has.
type Environment = Vec<(String, String)>;

/// The environment that `setup.bash` makes.
fn sourced(setup: &Path) -> Environment {
    let mut bash = Command::new("bash");
    bash.args(["-c", ". \"$0\" && env -0"]).arg(setup);
    for variable in VARIABLES {
        bash.env_remove(variable);
    }
    let output = bash.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let variables = text.split('\0').filter_map(|variable| variable.split_once('='));
    let wanted = variables.filter(|(name, _)| *name == "PATH" || VARIABLES.contains(name));
    wanted.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Where `scripts/lib/setup` puts a distribution from wheels.
fn prefix(distribution: &str) -> PathBuf {
    cache::directory().join(format!("ros-{distribution}"))
}

/// The types of [`PACKAGES`], without those with keys, each with the topic that it is published on.
fn types(environment: &Environment) -> BTreeMap<String, String> {
    let output = publish_all(&[&["--list"], PACKAGES].concat(), environment).output().unwrap();
    let lines = output.stdout.lines().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let types = lines.map(|line| ["type", "topic"].map(|name| line[name].as_str().unwrap().to_owned()));
    types.filter(|[_, topic]| !KEYED.contains(&topic.as_str())).map(|[name, topic]| (name, topic)).collect()
}

/// What the broker gets of each topic while the node of `environment` publishes all of `types`, and what rclpy held.
async fn published(
    stage: &mut Stage,
    types: &BTreeMap<String, String>,
    environment: &Environment,
) -> BTreeMap<String, Vec<(String, Value)>> {
    let names: Vec<&str> = types.keys().map(String::as_str).collect();
    let count = MESSAGES.to_string();
    let mut arguments = vec!["--seed", SEED, "--count", &count];
    arguments.extend(names);
    let mut publisher = KilledOnDrop(publish_all(&arguments, environment).spawn().unwrap());
    let lines = BufReader::new(publisher.0.stdout.take().unwrap()).lines();
    let mut expected: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in lines.take(types.len() * MESSAGES) {
        let mut line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        expected.entry(line["topic"].as_str().unwrap().to_owned()).or_default().push(line["expected"].take());
    }
    let mut arrived: BTreeMap<String, Vec<(String, Value)>> = BTreeMap::new();
    for _ in 0..types.len() * MESSAGES {
        let (topic, payload) = stage.observer.next().await;
        let ros = topic.strip_prefix("robot1").unwrap().to_owned();
        let text = String::from_utf8(payload.to_vec()).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let texts = arrived.entry(ros.clone()).or_default();
        let held = &expected[&ros][texts.len()];
        assert_eq!(value, *held, "{ros}, message {}: {text}", texts.len());
        texts.push((text, value));
    }
    arrived
}

/// Every type but those with keys, published by either distribution, becomes the same bytes of JSON, whether the bridge runs
/// in the environment that it was built for or in the other one, which it says as a warning.
#[tokio::test(flavor = "multi_thread")]
async fn jazzy_and_kilted_understand_each_other() {
    let other = match BUILT_FOR {
        "jazzy" => "kilted",
        "kilted" => "jazzy",
        _ => return println!("    Skipped: this is built for {BUILT_FOR}, neither Jazzy nor Kilted."),
    };
    let setup = prefix(other).join("setup.bash");
    if !setup.exists() {
        let made = format!("IOT_BRIDGE_ROS={other} scripts/test --ros");
        return println!("    Skipped: there is no {other} in {}; {made} makes it.", setup.display());
    }
    let (here, there) = (Environment::new(), sourced(&setup));
    let mut stage = Stage::set().await;
    let theirs = types(&there);
    let types: BTreeMap<_, _> = types(&here).into_iter().filter(|(name, _)| theirs.contains_key(name)).collect();
    assert!(types.len() >= FEWEST_TYPES, "only {} types are in both", types.len());
    let mut topics = "memory = \"256 MiB\"\n".to_owned();
    for topic in types.values() {
        topics += &format!("[[topics]]\nros = {topic:?}\nmqtt = \"{{thing}}{{ros}}\"\n");
    }
    let config = stage.configure(&topics);

    let mut all = Vec::new();
    for place in [&here, &there] {
        let variables: Vec<_> = place.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut program = Program::start_with(&config, &variables);
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", program.pid())).unwrap();
        assert_eq!(maps.contains(&format!("/ros-{other}/")), !place.is_empty(), "whose libraries it has");
        for publisher in [&here, &there] {
            all.push(published(&mut stage, &types, publisher).await);
        }
        assert_eq!(program.log_lines("ERROR"), Vec::<String>::new());
        let warnings = program.log_lines("was built for ROS 2");
        assert_eq!(warnings.len(), usize::from(!place.is_empty()), "{warnings:?}");
        assert!(warnings.iter().all(|line| line.contains("WARN") && line.contains(other)), "{warnings:?}");
        assert_eq!(program.terminate().code(), Some(0));
    }
    for others in &all[1..] {
        for (topic, texts) in &all[0] {
            assert_eq!(&others[topic], texts, "{topic}");
        }
    }
}
