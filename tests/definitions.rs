//! Publishers that were built with another definition of a message type than the bridge sources.

use std::io::{BufRead, BufReader};

use crate::support::killed_on_drop::KilledOnDrop;
use crate::support::probe_msgs::{self, Environment};
use crate::support::program::Program;
use crate::support::rclpy::publish_all;
use crate::support::stage::Stage;
use iot_bridge::health::Report;
use iot_bridge::health::report::State;
use iot_bridge::ros::BUILT_FOR;
use serde_json::Value;

/// Messages of each type that a publisher publishes.
const MESSAGES: usize = 5;

/// How many of them reach the bridge from a publisher with another definition: DDS of Kilted (Fast DDS 3) does not let the
/// two meet, and the graph alone tells of it.
const FOREIGN: usize = if matches!(BUILT_FOR.as_bytes(), b"kilted") { 0 } else { MESSAGES };

/// Where both builds publish. The messages of the second type all have one size.
const SAMPLE: &str = "/all/probe_msgs/Sample";
const PLAIN: &str = "/all/probe_msgs/Plain";

/// An rclpy node that has published `MESSAGES` of both types, latched, and lives until it is dropped; and what is expected of
/// those of [`SAMPLE`].
fn publish(build: &Environment) -> (KilledOnDrop, Vec<Value>) {
    let arguments = ["--count", &MESSAGES.to_string(), "probe_msgs/msg/Sample", "probe_msgs/msg/Plain"];
    let mut child = publish_all(&arguments, build).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let said: Vec<Value> = lines.take(2 * MESSAGES).map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert_eq!(said.len(), 2 * MESSAGES);
    let samples = said.into_iter().filter(|line| line["topic"] == SAMPLE);
    (KilledOnDrop(child), samples.map(|line| line["expected"].clone()).collect())
}

/// Publishers of the topic `index`: those that deliver, and those with another definition.
fn publishers(report: &Report, index: usize) -> (usize, usize) {
    match report.topics[index].state {
        State::Subscribed { publishers, redefined, .. } => (publishers, redefined),
        _ => (0, 0),
    }
}

/// A publisher that was built with another definition of a type is named, in log, status line and status, whether its
/// messages have the right size by chance or none arrives; nothing of it is forwarded, and all that comes is counted.
/// One beside it that was built with the sourced definition is forwarded, value by value.
#[tokio::test(flavor = "multi_thread")]
async fn another_build_of_a_package_is_named_and_not_forwarded() {
    let (ours, theirs) = (probe_msgs::whole(), probe_msgs::revised());
    let mut stage = Stage::set().await;
    let topics = [SAMPLE, PLAIN].map(|ros| format!("[[topics]]\nros = {ros:?}\nmqtt = \"{{thing}}{{ros}}\"\n"));
    let variables: Vec<_> = ours.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut program = Program::start_with(&stage.configure(&topics.concat()), &variables);

    let (stranger, _) = publish(&theirs);
    let sentence = "it is published with another definition of probe_msgs/msg/Sample than the one sourced; \
                    source the robot's build and restart the service";
    let line = program.await_log(sentence);
    assert!(line.contains("ERROR") && line.contains(SAMPLE), "{line}");
    program.await_log("it is published with another definition of probe_msgs/msg/Plain");
    program.await_note(&format!("{SAMPLE}: {sentence}"));
    let report = program.await_report(|report| {
        (0..2).all(|topic| publishers(report, topic) == (0, 1))
            && report.topics[0].dropped["unsupported"] == FOREIGN as u64
    });
    assert_eq!((report.topics[0].received, report.topics[0].queued), (FOREIGN as u64, 0));
    let status = String::from_utf8(program.status().output().unwrap().stdout).unwrap();
    assert!(status.contains(sentence), "{status}");

    let (_friend, expected) = publish(&ours);
    for (number, expected) in expected.iter().enumerate() {
        let (topic, payload) = loop {
            let (topic, payload) = stage.observer.next().await;
            if topic.ends_with("Sample") {
                break (topic, payload);
            }
        };
        assert_eq!(topic, format!("robot1{SAMPLE}"));
        assert_eq!(&serde_json::from_slice::<Value>(&payload).unwrap(), expected, "message {number}");
    }
    let report = program
        .await_report(|report| report.topics[0].acknowledged == MESSAGES as u64 && publishers(report, 0) == (1, 1));
    assert_eq!(report.topics[0].received, (MESSAGES + FOREIGN) as u64);
    assert_eq!(report.topics[0].dropped["unsupported"], FOREIGN as u64);
    program.await_note("1 of 2 publishers publish it with another definition of probe_msgs/msg/Sample");

    drop(stranger);
    program.await_report(|report| (0..2).all(|topic| publishers(report, topic) == (1, 0)));
    program.await_note("2 of 2 topics subscribed.");
    assert_eq!(program.log_lines("with another definition").len(), 2);
    assert_eq!(program.terminate().code(), Some(0));
}
