//! More is offered than may leave: what the bridge says of it.
//!
//! That takes minutes to judge. So the bridge is this very file, in a process of its own, with a judge whose spans last less
//! than a second instead of ten.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::diagnostics::Listener;
use crate::metrics::http;
use crate::support::itself;
use crate::support::port::Port;
use crate::support::program::{Program, command};
use crate::support::robot::{Robot, Stream};
use crate::support::stage::Stage;
use iot_bridge::bridge;
use iot_bridge::health::report::Limit;
use iot_bridge::health::{Judge, logging};
use iot_bridge_core::config;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

#[test]
#[ignore = "it is the bridge that the tests start"]
fn bridge_that_judges_soon() {
    logging::start();
    let settings = config::load_file(env::var("CONFIG").unwrap().as_ref(), []).unwrap().settings;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_never, reloads) = mpsc::channel(1);
    let judge = Judge::with_span(Duration::from_millis(800));
    let stopped = async {
        signal(SignalKind::terminate()).unwrap().recv().await;
        "SIGTERM"
    };
    runtime.block_on(bridge::run_with(judge, settings, reloads, None, stopped)).unwrap();
}

/// A bridge with the configuration `path` whose judge has spans of 0.8 s, once it is ready.
pub fn judged_soon(path: &Path) -> Program {
    let mut bridge = Command::new(itself::program());
    bridge.args(itself::arguments("behind::bridge_that_judges_soon")).arg("--ignored").env("CONFIG", path);
    bridge.env_remove("RUST_LOG").stdout(Stdio::null());
    let mut program = Program::spawn(bridge);
    program.await_note("READY=1");
    program
}

/// As [`Stage::configure`], with a quota of 5 publishes a second.
fn configure(stage: &Stage, rest: &str) -> PathBuf {
    let path = stage.configure(rest);
    let text = std::fs::read_to_string(&path).unwrap();
    let unlimited = "publishes_per_second = \"unlimited\"";
    assert!(text.contains(unlimited));
    std::fs::write(&path, text.replace(unlimited, "publishes_per_second = 5")).unwrap();
    path
}

/// Of publishers that offer more than the quotas let leave the log says so once, with the topics and the lines that would
/// help; status line, `status`, its JSON, metrics and diagnostics say the same; and when they have stopped it is said once
/// that it is over, though much still waits.
#[tokio::test(flavor = "multi_thread")]
async fn falling_behind_is_said_and_taken_back() {
    let stage = Stage::set().await;
    let port = Port::reserve();
    let rest = format!(
        "[health]\nmetrics = \"127.0.0.1:{}\"\n[[topics]]\nros = \"/odom\"\npayload = \"data\"\n[[topics]]\nros = \"/imu\"\n\
         payload = \"data\"\n[[topics]]\nros = \"/battery\"\n",
        port.number()
    );
    let path = configure(&stage, &rest);
    let mut program = judged_soon(&path);

    let mut robot = Robot::start();
    let publishers = ["/imu", "/odom", "/imu"].map(|topic| robot.publisher(topic, 100));
    publishers.iter().for_each(Robot::await_subscriber);
    let mut listener = Listener::start();
    let stream = Stream::start(robot, publishers.into(), 20, usize::MAX);

    let line = program.await_log("More is offered than may leave");
    assert!(line.contains("WARN") && line.contains("publishes/s of the 5 that mqtt.quotas allow"), "{line}");
    assert!(line.contains("; most by /imu and /odom. "), "{line}");
    for topic in ["/imu", "/odom"] {
        let advice = line.split_once(&format!(" {topic} offers ")).expect(topic).1;
        let (advice, _) = advice.split_once(". ").unwrap_or((advice, ""));
        assert!(advice.contains(" publishes/s: `rate = \""), "{advice}");
        assert!(advice.contains(" publishes/s of it, `batch = { max = 50 }` "), "{advice}");
    }
    program.await_note("dropped. More is offered than may leave: ");
    let behind = program.await_report(|report| report.behind.is_some()).behind.unwrap();
    assert_eq!((behind.limit, behind.allowed_publishes_per_second), (Limit::PublishesPerSecond, Some(5.0)));
    assert!(behind.offered_publishes_per_second > 10.0 && behind.offered_bytes_per_second > 2000.0, "{behind:?}");
    assert_eq!((behind.allowed_bytes_per_second, behind.advice.len()), (None, 2));
    assert_eq!(behind.topics, ["/imu", "/odom"]);
    let shown = String::from_utf8(program.status().output().unwrap().stdout).unwrap();
    assert!(shown.contains("\nBehind       for ") && shown.contains("\n  /imu offers "), "{shown}");
    let metrics = http(port.number(), "GET /metrics").1;
    assert!(metrics.contains("\niot_bridge_behind 1.0\n"), "{metrics}");
    let queue = listener.status("iot_bridge: queue", 1);
    assert!(queue["message"].as_str().unwrap().starts_with("More is offered than may leave: "), "{queue}");

    let stream = stream.stop();
    let line = program.await_log("The bridge keeps up again, after ");
    assert!(line.contains("INFO"), "{line}");
    let json: Value = serde_json::to_value(program.report()).unwrap();
    assert_eq!(json["behind"], Value::Null);
    assert!(json["topics"][0]["queued"].as_u64().unwrap() > 0, "{json}");
    assert!(http(port.number(), "GET /metrics").1.contains("\niot_bridge_behind 0.0\n"));
    listener.status("iot_bridge: queue", 0);
    while program.await_note("STATUS=").contains("More is offered") {}
    assert_eq!(program.log_lines("More is offered than may leave").len(), 1);
    assert_eq!(program.log_lines("The bridge keeps up again").len(), 1);
    drop(stream);
}

/// Rates that can't fit the quota are told by `check`, which is content otherwise, and once by the start.
#[tokio::test(flavor = "multi_thread")]
async fn rates_that_can_not_fit_are_told_before() {
    let stage = Stage::set().await;
    let topics = "[[topics]]\nros = \"/odom\"\nrate = \"2 Hz\"\n[[topics]]\nros = \"/imu\"\nrate = \"4 Hz\"\n";
    let path = configure(&stage, topics);
    let checked = command().args(["check", "--json", "--config"]).arg(&path).output().unwrap();
    assert_eq!(checked.status.code(), Some(0));
    let told: Value = serde_json::from_slice(&checked.stdout).unwrap();
    let warning = told["warnings"][0].as_str().expect("a warning");
    let expected = "The configured rates come to 6 publishes a second, and mqtt.quotas.publishes_per_second allows 5: \
                    /imu 4, /odom 2; lower a `rate`, ";
    assert!(told["ok"] == true && warning.starts_with(expected), "{told:#}");
    let mut program = Program::start(&path);
    let lines = program.log_lines(warning);
    assert!(lines.len() == 1 && lines[0].contains("WARN"), "{lines:?}");
    assert_eq!(program.terminate().code(), Some(0));
}
