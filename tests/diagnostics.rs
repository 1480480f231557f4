//! What the running bridge publishes on /diagnostics.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::killed_on_drop::KilledOnDrop;
use crate::support::program::Program;
use crate::support::robot::{Robot, numbered, publish};
use crate::support::stage::Stage;
use serde_json::Value;

/// An rclpy node that listens to /diagnostics.
pub struct Listener {
    _child: KilledOnDrop,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Listener {
    pub fn start() -> Listener {
        let mut child = Command::new("python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ros/show_diagnostics.py"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Listener { _child: KilledOnDrop(child), lines }
    }

    /// The next array.
    fn next(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().expect("the listener lives").unwrap()).unwrap()
    }

    /// Waits until the status `name` is at `level`, and answers it.
    pub fn status(&mut self, name: &str, level: u64) -> Value {
        for _ in 0..60 {
            let array = self.next();
            let statuses = array["statuses"].as_array().unwrap();
            let status = statuses.iter().find(|status| status["name"] == name).expect(name);
            if status["level"] == level {
                return status.clone();
            }
        }
        panic!("{name} never came to level {level}");
    }
}

/// rclpy understands what is published about once a second: connection, certificate, configuration, queue and each
/// topic, with a level that says how bad it is and the figures of `status`.
#[tokio::test(flavor = "multi_thread")]
async fn rclpy_understands_the_diagnostics() {
    let stage = Stage::set().await;
    let config = "[mqtt.reconnect]\ninitial = \"1 s\"\nmax = \"1 s\"\n[ros]\nnode_name = \"uplink\"\n\
                  [[topics]]\nros = \"/numbers\"\npayload = \"data\"\n\
                  [[topics]]\nros = \"/missing\"\ntype = \"no_such_msgs/msg/Thing\"\n";
    let mut program = Program::start(&stage.configure(config));
    let mut robot = Robot::start();
    let publisher = robot.publisher("/numbers", 100);
    Robot::await_subscriber(&publisher);
    (0..3).for_each(|number| publish(&publisher, numbered(number)));
    program.await_report(|report| report.topics[0].acknowledged == 3);

    let mut listener = Listener::start();
    let first = listener.next();
    let names: Vec<_> = first["statuses"].as_array().unwrap().iter().map(|status| status["name"].clone()).collect();
    let expected = ["connection", "certificate", "configuration", "queue", "topic /numbers", "topic /missing"];
    assert_eq!(names, expected.map(|name| Value::from(format!("uplink: {name}"))));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(first["sec"].as_u64().unwrap().abs_diff(now) < 60, "{first}");
    assert!(first["statuses"].as_array().unwrap().iter().all(|status| status["hardware_id"] == "robot1"), "{first}");

    assert_eq!(listener.status("uplink: connection", 0)["message"], "connected");
    listener.status("uplink: certificate", 0);
    let topic = listener.status("uplink: topic /numbers", 0);
    assert_eq!((&topic["values"]["acknowledged"], &topic["values"]["dropped"]), (&"3".into(), &"0".into()));
    let missing = listener.status("uplink: topic /missing", 2);
    assert!(missing["message"].as_str().unwrap().contains("no_such_msgs"), "{missing}");
    stage.link.shut().await;
    let connection = listener.status("uplink: connection", 1);
    assert!(!connection["values"]["last fault"].as_str().unwrap().is_empty(), "{connection}");
    let strange = stage.directory.path().join("robot1.private.key");
    std::fs::write(strange, "no key").unwrap();
    let connection = listener.status("uplink: connection", 2);
    assert!(connection["message"].as_str().unwrap().contains("private key"), "{connection}");
    assert_eq!(program.terminate().code(), Some(0));
}

/// Without `diagnostic_msgs` in the environment the bridge says so and forwards all the same; it can be switched off.
#[tokio::test(flavor = "multi_thread")]
async fn diagnostics_are_no_condition() {
    let stage = Stage::set().await;
    let config = stage.configure("[[topics]]\nros = \"/numbers\"\ntype = \"std_msgs/msg/String\"\n");
    let mut bare = Program::start_with(&config, &[("AMENT_PREFIX_PATH", "/nowhere")]);
    bare.await_note("STATUS=Connected.");
    let line = bare.await_log("/diagnostics is not published");
    assert!(line.contains("WARN") && line.contains("diagnostic_msgs"), "{line}");
    assert_eq!(bare.terminate().code(), Some(0));

    let off = stage.configure("[health]\ndiagnostics = false\n[[topics]]\nros = \"/numbers\"\n");
    let mut program = Program::start(&off);
    let mut robot = Robot::start();
    let publisher = robot.publisher("/numbers", 10);
    Robot::await_subscriber(&publisher);
    // By the time that its subscription is known, its publisher would be.
    let names = robot.topics();
    assert!(!names.iter().any(|name| name == "/diagnostics"), "{names:?}");
    assert_eq!(program.terminate().code(), Some(0));
}
