//! What the configuration holds back, as the broker, the status and the metrics see it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::Bytes;
use serde_json::Value;

use crate::support::aws_broker::{AwsBroker, Limits};
use crate::support::link::Link;
use crate::support::port::Port;
use crate::support::program::Program;
use crate::support::robot::{Robot, Stream};
use crate::support::stage::Stage;
use iot_bridge::health::report::Topic;

const COUNT: usize = 300;

/// Of 300 messages in 3 s: all, to compare with; each tenth; at most 5 a second; each hundredth as its text.
const TOPICS: &str = r#"
[[topics]]
ros = "/fast"
mqtt = "all"
payload = "envelope"
batch = { max = 100, linger = "1 s" }
depth = 1000
[[topics]]
ros = "/fast"
mqtt = "every"
every = 10
payload = "envelope"
depth = 1000
[[topics]]
ros = "/fast"
mqtt = "rate"
rate = "5 Hz"
payload = "envelope"
depth = 1000
[[topics]]
ros = "/fast"
mqtt = "text"
every = 100
payload = "data"
depth = 1000
"#;

/// The number in the text of an envelope's message.
fn number(envelope: &Value) -> usize {
    envelope["msg"]["data"].as_str().unwrap().trim().parse().unwrap()
}

fn received(envelope: &Value) -> i64 {
    envelope["received"].as_i64().unwrap()
}

/// Panics if a number of `seq` is missing.
fn assert_no_gap(envelopes: &[Value]) {
    let numbers: Vec<u64> = envelopes.iter().map(|envelope| envelope["seq"].as_u64().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
}

/// What has become of a topic's messages, in all.
fn accounted(topic: &Topic) -> u64 {
    topic.shaped_in_all()
        + topic.dropped_in_all()
        + topic.in_reception
        + topic.queued
        + topic.in_flight
        + topic.acknowledged
}

/// The value of the series `name` in what Prometheus reads from `port`.
fn metric(port: u16, name: &str) -> f64 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let line = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {answer}")).trim().parse().unwrap()
}

/// The broker gets what `every` and `rate` say and nothing else, under numbers without a gap; the account holds all the
/// while in the status, and in the metrics; nothing of it is an error or a loss.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_back_is_counted_and_no_loss() {
    let mut stage = Stage::set().await;
    let mut broker = AwsBroker::start(&stage.authority, Limits::documented()).await;
    stage.link = Link::open(broker.port).await;
    let port = Port::reserve();
    let metrics = format!("[health]\nmetrics = \"127.0.0.1:{}\"\n", port.number());
    let mut program = Program::start(&stage.configure(&format!("{metrics}{TOPICS}")));
    let mut robot = Robot::start();
    let publisher = robot.publisher("/fast", 1000);
    Robot::await_subscribers(&publisher, 4);
    program.await_report(|report| report.connection.phase.is_connected());
    let stream = Stream::start(robot, vec![publisher], 100, COUNT);
    let report = program.await_report(|report| {
        for topic in &report.topics {
            assert_eq!(topic.received, accounted(topic), "{topic:?}");
        }
        report.topics.iter().all(|topic| topic.received == COUNT as u64 && topic.queued + topic.in_flight == 0)
    });
    stream.join();
    let mut arrived: BTreeMap<String, Vec<Bytes>> = BTreeMap::new();
    while let Ok((topic, payload)) = broker.messages.try_recv() {
        arrived.entry(topic).or_default().push(payload);
    }
    let json = |payload: &Bytes| serde_json::from_slice::<Value>(payload).unwrap();
    let envelopes = |topic: &str| arrived[topic].iter().map(json).collect::<Vec<_>>();
    let all: Vec<Value> = envelopes("all").into_iter().flat_map(|batch| batch.as_array().unwrap().clone()).collect();
    assert_eq!(all.len(), COUNT);

    let every = envelopes("every");
    assert_eq!(every.iter().map(number).collect::<Vec<_>>(), (0..COUNT).step_by(10).collect::<Vec<_>>());
    assert_no_gap(&every);
    assert_eq!(arrived["text"].len(), COUNT / 100);
    assert!(arrived["text"][1].ends_with(b" 100"));

    let rate = envelopes("rate");
    assert_no_gap(&rate);
    const MS: i64 = 1_000_000;
    // What the machine is late by is late for each subscription by itself.
    let longest = all.windows(2).map(|pair| received(&pair[1]) - received(&pair[0])).max().unwrap() + 20 * MS;
    for (first, from) in rate.iter().enumerate() {
        for (k, to) in rate[first..].iter().enumerate() {
            let apart = received(to) - received(from);
            assert!(apart >= k as i64 * 200 * MS - longest, "{k} more after {apart} ns");
        }
    }
    let apart = rate.windows(2).map(|pair| received(&pair[1]) - received(&pair[0])).max().unwrap();
    assert!(apart <= 200 * MS + 2 * longest, "{apart} ns without any, {longest} ns between messages");

    for (topic, sent) in report.topics.iter().zip([COUNT, every.len(), rate.len(), COUNT / 100]) {
        let reason = if topic.mqtt == "rate" { "rate" } else { "every" };
        assert_eq!(topic.shaped.keys().collect::<Vec<_>>(), ["arrays", "every", "rate", "unchanged", "window"]);
        let counted = (topic.shaped[reason], topic.shaped_in_all(), topic.dropped_in_all(), topic.acknowledged);
        let shaped = (COUNT - sent) as u64;
        assert_eq!(counted, (shaped, shaped, 0, sent as u64), "{topic:?}");
    }
    let shaped = |reason: &str| {
        let name = format!("iot_bridge_messages_shaped_total{{topic=\"/fast\",reason=\"{reason}\"}}");
        metric(port.number(), &name) as usize
    };
    assert_eq!((shaped("every"), shaped("rate"), shaped("unchanged")), (270 + 297, COUNT - rate.len(), 0));
    let shown = String::from_utf8(program.status().output().unwrap().stdout).unwrap();
    assert!(shown.contains("\n  shaped: 270 every\n"), "{shown}");
    assert_eq!(program.terminate().code(), Some(0));
    program.await_log("Topic /fast: 300 received, 30 acknowledged, 270 shaped away, 0 dropped");
    assert_eq!(program.log_lines(" ERROR ").len() + program.log_lines(" WARN ").len(), 0);
    assert_eq!(broker.record().violations(), []);
}
