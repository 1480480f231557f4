//! Every message type of the installed ROS, published by rclpy, arrives as the JSON of what rclpy holds; and from that JSON,
//! sent back as a command, it becomes a message again, in which rclpy finds the same.

use std::collections::HashMap;
use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{self, Receiver};
use std::time::Instant;

use iot_bridge::ros::TypeSupport;
use iot_bridge_core::codec::{Decoder, Encoder, JsonBuffer};
use iot_bridge_core::config::MAX_FILTERS;

use crate::support::itself;
use crate::support::killed_on_drop::KilledOnDrop;
use crate::support::probe_msgs;
use crate::support::program::{PATIENCE, Program};
use crate::support::rclpy::publish_all;
use crate::support::stage::Stage;
use serde::Deserialize;
use serde_json::Value;

/// The packages of common_interfaces, and the messages that ROS tests itself with.
pub const PACKAGES: &[&str] = &[
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
pub const FEWEST_TYPES: usize = 120;

/// Types with keys (`@key`), where ROS has them: order is by key there.
pub const KEYED: &[&str] =
    &["/all/test_msgs/ComplexNestedKey", "/all/test_msgs/KeyedLong", "/all/test_msgs/KeyedString"];

/// Messages of each type: defaults, extremes, and random ones.
const MESSAGES: usize = 5;

/// In the `[queue]` table.
const MEMORY: &str = "memory = \"256 MiB\"\n";

#[derive(Debug, Deserialize)]
struct Published {
    #[serde(default)]
    topic: String,
    #[serde(rename = "type")]
    type_name: String,
    #[serde(default)]
    expected: Value,
}

impl Published {
    /// It has to be what is left of `expected` after its way through JSON.
    fn is_after_json(&self, expected: &Value) {
        // As text, in which -0.0 is not 0.0.
        assert_eq!(self.expected.to_string(), after_json(expected).to_string(), "{}", self.type_name);
    }
}

/// What rclpy holds of the messages that come on the topics of commands, in a process that subscribes to all of them.
struct Subscriber {
    _process: KilledOnDrop,
    lines: Receiver<Published>,
}

impl Subscriber {
    fn start(packages: &[&str], environment: &[(String, String)]) -> Subscriber {
        let arguments = [&["--subscribe"], packages].concat();
        let mut process = KilledOnDrop(publish_all(&arguments, environment).spawn().unwrap());
        let stdout = BufReader::new(process.0.stdout.take().unwrap());
        let (said, lines) = mpsc::channel();
        std::thread::spawn(move || self::lines(stdout).try_for_each(|line| said.send(line)));
        Subscriber { _process: process, lines }
    }

    fn next(&self) -> Published {
        self.lines.recv_timeout(PATIENCE).expect("a message that was sent comes")
    }
}

fn lines(text: impl BufRead) -> impl Iterator<Item = Published> {
    text.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap())
}

/// What is left of `expected` after its way through JSON, where NaN and the infinities are null, and null is NaN.
fn after_json(expected: &Value) -> Value {
    match expected {
        Value::Null => "nan".into(),
        Value::Array(items) => items.iter().map(after_json).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), after_json(value))).collect(),
        other => other.clone(),
    }
}

/// Runs the bridge over all types of `packages`, has rclpy publish them, and compares what arrives; sends that back as commands,
/// and compares what rclpy gets. Returns the types.
async fn compare(packages: &[&str], environment: &[(String, String)]) -> Vec<String> {
    let mut stage = Stage::set().await;
    let listed = publish_all(&[&["--list"], packages].concat(), environment).output().unwrap();
    let types: Vec<Published> = lines(listed.stdout.as_slice()).collect();
    let mut topics = MEMORY.to_owned();
    for published in &types {
        // The type comes from the graph; the namespace would be a slash more than AWS IoT Core takes.
        topics += &format!("[[topics]]\nros = {:?}\nmqtt = \"{{thing}}{{ros}}\"\n", published.topic);
    }
    let variables: Vec<_> = environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut program = Program::start_with(&stage.configure(&topics), &variables);

    let count = MESSAGES.to_string();
    let arguments = [&["--count", count.as_str()], packages].concat();
    let mut publisher = KilledOnDrop(publish_all(&arguments, environment).spawn().unwrap());
    let mut expected: HashMap<String, Vec<Value>> = HashMap::new();
    let mut open = types.len() * MESSAGES;
    // The publisher says each message before it waits; a type whose messages are too large is none of these packages.
    for published in lines(BufReader::new(publisher.0.stdout.take().unwrap())).take(open) {
        expected.entry(published.topic).or_default().push(published.expected);
    }
    assert_eq!(expected.len(), types.len());
    let subscriber = Subscriber::start(packages, environment);

    // At the places of those that were published.
    let mut arrived: HashMap<String, Vec<String>> = HashMap::new();
    while open > 0 {
        let (topic, payload) = stage.observer.next().await;
        let ros = topic.strip_prefix("robot1").unwrap();
        let texts = arrived.entry(ros.to_owned()).or_insert_with(|| vec![String::new(); MESSAGES]);
        let text = String::from_utf8(payload.to_vec()).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{ros}: {error}: {text}"));
        let mut places = (0..MESSAGES).filter(|at| texts[*at].is_empty());
        let at = match KEYED.contains(&ros) {
            true => places.find(|at| value == expected[ros][*at]),
            false => places.next(),
        };
        let at = at.unwrap_or_else(|| panic!("{ros} was not published, or not so often: {text}"));
        assert_eq!(value, expected[ros][at], "{ros}, message {at}: {text}");
        texts[at] = text;
        open -= 1;
    }
    drop(publisher);
    command(&mut stage, &mut program, &types, &subscriber, &arrived, &expected).await;
    assert_eq!(program.terminate().code(), Some(0));

    let texts = types.iter().map(|published| (published.type_name.as_str(), arrived[&published.topic].as_slice()));
    let held = hold(stage.directory.path(), texts, environment);
    let expected: Vec<_> = types.iter().flat_map(|published| &expected[&published.topic]).collect();
    assert_eq!(held.len(), expected.len());
    for (held, expected) in held.iter().zip(expected) {
        held.is_after_json(expected);
    }
    types.into_iter().map(|published| published.type_name).collect()
}

/// Sends the texts of each topic that `arrived` back as commands for its type: as many topics at a time as a connection can have
/// subscriptions. What `subscriber` holds then has to be what is `expected`.
async fn command(
    stage: &mut Stage,
    program: &mut Program,
    types: &[Published],
    subscriber: &Subscriber,
    arrived: &HashMap<String, Vec<String>>,
    expected: &HashMap<String, Vec<Value>>,
) {
    let held = |topic: &str| topic.replacen("/all/", "held/", 1);
    for types in types.chunks(MAX_FILTERS) {
        let mut entries = MEMORY.to_owned();
        for Published { topic, type_name, .. } in types {
            let mqtt = held(topic);
            entries +=
                &format!("[[commands]]\nmqtt = \"{mqtt}\"\nros = \"/{mqtt}\"\ntype = \"{type_name}\"\nqos = 1\n");
        }
        stage.configure(&entries);
        program.reload();
        program.await_report(|report| {
            let requests = &report.requests;
            requests.len() == types.len() && requests.iter().all(|request| request.peers == Some(1))
        });
        // What is no JSON is counted, and reaches nobody, once the subscription is in force.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let requests = program.report().requests;
            let mut waiting = requests.iter().filter(|request| request.outcomes["malformed"] == 0).peekable();
            if waiting.peek().is_none() {
                break;
            }
            assert!(Instant::now() < deadline, "nothing comes to {:?}", waiting.collect::<Vec<_>>());
            for request in waiting {
                stage.observer.publish(&request.mqtt, "?").await;
            }
        }
        // One by one: the bridge has room for a few, and takes no more from a sender that is faster.
        for Published { topic, type_name, .. } in types {
            for (text, expected) in arrived[topic].iter().zip(&expected[topic]) {
                stage.observer.publish(&held(topic), text).await;
                let came = subscriber.next();
                assert_eq!(came.type_name, *type_name);
                came.is_after_json(expected);
            }
        }
    }
}

/// What rclpy holds of the messages that the encoder makes of the JSON `texts` of each type, in their order.
fn hold<'a>(
    directory: &Path,
    texts: impl Iterator<Item = (&'a str, &'a [String])>,
    environment: &[(String, String)],
) -> Vec<Published> {
    let [texts_file, messages_file] = ["texts", "messages"].map(|name| directory.join(name));
    let lines: Vec<_> = texts.map(|(type_name, texts)| serde_json::json!([type_name, texts]).to_string()).collect();
    fs::write(&texts_file, lines.join("\n")).unwrap();
    // Type supports are found in the environment that a process starts with.
    let encoder = Command::new(itself::program())
        .args(itself::arguments("every_type::encoder_of_texts"))
        .arg("--ignored")
        .envs(environment.iter().cloned())
        .envs([("TEXTS", &texts_file), ("MESSAGES", &messages_file)])
        .output()
        .unwrap();
    assert!(encoder.status.success(), "{}", String::from_utf8_lossy(&encoder.stderr));
    let messages = File::open(&messages_file).unwrap();
    let held = publish_all(&["--hold"], environment).stdin(messages).output().unwrap();
    assert!(held.status.success());
    self::lines(held.stdout.as_slice()).collect()
}

/// Encodes the lines of the file `TEXTS`, each `[type, [text, …]]` with the default message first, into lines of the file
/// `MESSAGES`, each `{"type": …, "cdr": hexadecimal}`. Each message has to have the text that it was made of, and the text that
/// says nothing makes the default message.
#[test]
#[ignore = "it is the encoder that the tests start"]
fn encoder_of_texts() {
    let [texts, messages] = ["TEXTS", "MESSAGES"].map(|name| env::var(name).unwrap());
    let mut messages = File::create(messages).unwrap();
    for line in fs::read_to_string(texts).unwrap().lines() {
        let (type_name, texts): (String, Vec<String>) = serde_json::from_str(line).unwrap();
        let support = TypeSupport::load(&type_name).unwrap();
        let encoder = Encoder::new(support.schema(), &support.defaults().unwrap(), &[]).unwrap();
        let decoder = Decoder::new(support.schema().clone()).unwrap();
        let mut cdr = Vec::new();
        let mut round = |text: &str, expected: &str| {
            encoder.encode(text.as_bytes(), &mut cdr).unwrap_or_else(|error| panic!("{type_name}: {error}: {text}"));
            let mut back = JsonBuffer::new(1 << 20);
            decoder.write_json(&cdr, &mut back).unwrap();
            assert_eq!(str::from_utf8(back.as_bytes()).unwrap(), expected, "{type_name}");
            cdr.iter().map(|octet| format!("{octet:02x}")).collect::<String>()
        };
        round("{}", &texts[0]);
        for text in &texts {
            let cdr = round(text, text);
            writeln!(messages, "{}", serde_json::json!({"type": type_name, "cdr": cdr})).unwrap();
        }
    }
}

/// Every message type of common_interfaces and test_msgs, with defaults, extremes and random content, arrives as JSON
/// equal to what rclpy holds, on far more than a hundred topics at once, whose types the bridge was not built with; and it gets
/// back to rclpy as a command.
#[tokio::test(flavor = "multi_thread")]
async fn every_message_type_arrives_as_rclpy_holds_it() {
    let types = compare(PACKAGES, &[]).await;
    assert!(types.len() >= FEWEST_TYPES, "only {} types", types.len());
}

/// A message package that the bridge was not built with arrives the same way, and gets back.
#[tokio::test(flavor = "multi_thread")]
async fn a_package_of_its_own_arrives() {
    let types = compare(&["probe_msgs"], &probe_msgs::whole()).await;
    assert_eq!(types, ["probe_msgs/msg/Plain", "probe_msgs/msg/Probe", "probe_msgs/msg/Sample"]);
}
