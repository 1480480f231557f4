//! Commands of many types, and what rclpy holds of them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use serde_json::Value;

use crate::support::aws_broker::{AwsBroker, Limits, Message};
use crate::support::link::Link;
use crate::support::program::Program;
use crate::support::stage::Stage;

/// Longest wait for what has to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Messages of each type.
const MESSAGES: usize = 3;

/// `probe_msgs` is a package that is built after the bridge.
const TYPES: [&str; 10] = [
    "probe_msgs/msg/Probe",
    "probe_msgs/msg/Sample",
    "geometry_msgs/msg/TwistStamped",
    "geometry_msgs/msg/PoseWithCovarianceStamped",
    "trajectory_msgs/msg/JointTrajectory",
    "sensor_msgs/msg/Joy",
    "sensor_msgs/msg/PointCloud2",
    "std_msgs/msg/Empty",
    "std_msgs/msg/ByteMultiArray",
    "diagnostic_msgs/msg/DiagnosticArray",
];

/// tests/ros/publish_all.py, which says lines of JSON; killed when dropped.
struct Rclpy {
    child: Child,
    lines: Receiver<Value>,
}

impl Rclpy {
    fn start(arguments: &[&str], environment: &[(String, String)]) -> Rclpy {
        let mut child = Command::new("python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ros/publish_all.py"))
            .args(arguments)
            .args(TYPES)
            .envs(environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (said, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = said.send(serde_json::from_str(&line).unwrap());
            }
        });
        Rclpy { child, lines }
    }

    fn next(&self) -> Value {
        self.lines.recv_timeout(PATIENCE).expect("rclpy says nothing")
    }
}

impl Drop for Rclpy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the cloud sends is what rclpy holds, value by value: of common types and of a package that was built after the bridge, with
/// defaults, extremes and anything between.
#[tokio::test(flavor = "multi_thread")]
async fn rclpy_holds_what_the_cloud_sends() {
    let mut stage = Stage::set().await;
    let package = stage.directory.path().join("package");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ros/custom_package.sh");
    assert!(Command::new(script).arg(&package).stdin(Stdio::null()).status().unwrap().success());
    let environment = std::fs::read_to_string(package.join("environment")).unwrap();
    let environment: Vec<(String, String)> = environment
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let broker = AwsBroker::start(&stage.authority, Limits::documented()).await;
    stage.link = Link::open(broker.port).await;
    let name = |type_name: &str| type_name.replace("/msg/", "/");
    let entries: String = TYPES
        .iter()
        .map(|type_name| {
            let name = name(type_name);
            format!("[[commands]]\nmqtt = \"held/{name}\"\nros = \"/held/{name}\"\ntype = \"{type_name}\"\n")
        })
        .collect();
    let variables: Vec<_> = environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut program = Program::start_with(&stage.configure(&entries), &variables);
    program.await_note("STATUS=Connected.");
    let subscriber = Rclpy::start(&["--subscribe"], &environment);
    // The messages of this one are on other topics; what it says is taken.
    let maker = Rclpy::start(&["--count", &MESSAGES.to_string()], &environment);
    program.await_report(|report| report.requests.iter().all(|request| request.peers == Some(1)));
    let mut sent = BTreeMap::<String, Vec<Value>>::new();
    for _ in 0..TYPES.len() * MESSAGES {
        let made = maker.next();
        let type_name = made["type"].as_str().unwrap().to_owned();
        let (topic, payload) = (format!("held/{}", name(&type_name)), made["expected"].to_string().into());
        broker.send_direct("robot1", Message { topic, payload, ..Message::default() });
        sent.entry(type_name).or_default().push(made["expected"].clone());
    }
    let mut held = BTreeMap::<String, Vec<Value>>::new();
    for _ in 0..TYPES.len() * MESSAGES {
        let message = subscriber.next();
        held.entry(message["type"].as_str().unwrap().to_owned()).or_default().push(message["expected"].clone());
    }
    for (type_name, sent) in sent {
        assert_eq!(held[&type_name], sent, "{type_name}");
    }
    assert_eq!(program.terminate().code(), Some(0));
}
