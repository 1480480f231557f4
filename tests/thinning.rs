//! What the configuration holds back, as the broker, the status and the metrics see it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use crate::support::aws_broker::Limits;
use crate::support::port::Port;
use crate::support::program::{Program, command};
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
    let (stage, mut broker) = Stage::set_with_aws(Limits::documented()).await;
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

/// Of six values: those that differ from the last that was sent; the figures of a time that ends though nothing more comes;
/// those of a time that is over when the configuration changes, and when the process stops.
const VALUES: &str = r#"
[[topics]]
ros = "/value"
mqtt = "changes"
payload = "envelope"
on_change = { fields = ["data"], deadband = 0.01 }
[[topics]]
ros = "/value"
mqtt = "short"
window = "300 ms"
aggregate = ["mean", "min", "max"]
[[topics]]
ros = "/value"
mqtt = "long"
payload = "envelope"
window = "1 h"
aggregate = ["max", "last"]
"#;

const SENT: [f64; 6] = [1.0, 1.0, 1.005, 1.011, 1.0, 1.02];

/// The broker gets what `on_change` and `window` say, also when messages stop in the middle of a window, at a reload and at
/// the end; while a window is open the account holds with its messages in reception.
#[tokio::test(flavor = "multi_thread")]
async fn changes_and_windows_travel() {
    let (stage, mut broker) = Stage::set_with_aws(Limits::documented()).await;
    let mut program = Program::start(&stage.configure(VALUES));
    let mut robot = Robot::start();
    let publisher = robot.raw_publisher_of("/value", "std_msgs/msg/Float64");
    while publisher.get_inter_process_subscription_count().unwrap() < 3 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    program.await_report(|report| report.connection.phase.is_connected());
    let publish = |value: f64| publisher.publish_raw(&[&[0, 1, 0, 0], &value.to_le_bytes()[..]].concat()).unwrap();
    SENT.into_iter().for_each(publish);
    let report = program.await_report(|report| {
        for topic in &report.topics {
            assert_eq!(topic.received, accounted(topic), "{topic:?}");
        }
        let [changes, short, long] = &report.topics[..] else { panic!("three topics") };
        let is_done = |topic: &Topic| topic.received == 6 && topic.shaped_in_all() + topic.acknowledged == 6;
        is_done(changes) && is_done(short) && long.received == 6
    });
    let figures = |topic: &Topic, reason: &str| (topic.shaped[reason], topic.acknowledged, topic.in_reception);
    assert_eq!(figures(&report.topics[0], "unchanged"), (2, 4, 0));
    assert_eq!(figures(&report.topics[2], "window"), (0, 0, 6));
    let short = figures(&report.topics[1], "window");

    stage.configure(&VALUES.replace("\"long\"", "\"long\"\nqos = 0"));
    program.reload();
    let report = program.await_report(|report| report.topics[2].acknowledged == 1);
    assert_eq!(figures(&report.topics[2], "window"), (5, 1, 0));
    publish(7.0);
    program.await_report(|report| report.topics[2].in_reception == 1 && report.topics[0].acknowledged == 5);
    assert_eq!(program.terminate().code(), Some(0));

    let mut arrived: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    while let Ok((topic, payload)) = broker.messages.try_recv() {
        arrived.entry(topic).or_default().push(serde_json::from_slice(&payload).unwrap());
    }
    let changes = &arrived["changes"];
    let values: Vec<f64> = changes.iter().map(|change| change["msg"]["data"].as_f64().unwrap()).collect();
    assert_eq!(values, [1.0, 1.011, 1.0, 1.02, 7.0]);
    assert_no_gap(changes);

    let time = |record: &Value, key: &str| record[key].as_i64().unwrap();
    let windows = &arrived["short"];
    assert!(windows.windows(2).all(|pair| time(&pair[0], "to") <= time(&pair[1], "from")), "{windows:?}");
    let counts = windows.iter().map(|record| record["count"].as_u64().unwrap());
    assert_eq!(counts.sum::<u64>(), 7);
    // The last one was open when the process stopped.
    let (_, by_time) = windows.split_last().unwrap();
    assert!(by_time.iter().all(|record| time(record, "to") - time(record, "from") == 300_000_000), "{windows:?}");
    assert_eq!(short, (6 - by_time.len() as u64, by_time.len() as u64, 0));
    if let [record] = by_time {
        let mean = record["mean"]["data"].as_f64().unwrap();
        assert!((mean - SENT.iter().sum::<f64>() / 6.0).abs() < 1e-12, "{record}");
        assert_eq!((record["min"]["data"].as_f64(), record["max"]["data"].as_f64()), (Some(1.0), Some(1.02)));
    }

    let long = &arrived["long"];
    assert_no_gap(long);
    let figures = |number: usize| {
        let record = &long[number]["msg"];
        let lasted = time(record, "to") - time(record, "from");
        assert!((0..60_000_000_000).contains(&lasted), "{record}");
        (record["count"].as_u64(), record["max"]["data"].as_f64(), record["last"]["data"].as_f64())
    };
    assert_eq!(
        (long.len(), figures(0), figures(1)),
        (2, (Some(6), Some(1.02), Some(1.02)), (Some(1), Some(7.0), Some(7.0)))
    );
    assert_eq!(program.log_lines(" ERROR ").len(), 0);
    program.await_log("Topic /value: 7 received, 5 acknowledged, 2 shaped away, 0 dropped");
}

/// `preview` prints what travels alone; with `--explain` it tells of each message what each stage decides and why, its payload
/// and what AWS IoT Core counts for it.
#[tokio::test(flavor = "multi_thread")]
async fn preview_explains_each_stage() {
    let stage = Stage::set().await;
    let topic = r#"
[[topics]]
ros = "/value"
type = "std_msgs/msg/Float64"
every = 2
rate = "1000 Hz"
on_change = { deadband = "10 %" }
digits = 2
"#;
    let path = stage.configure(topic);
    let preview = |more: &[&str]| {
        let mut preview = command();
        let preview = preview.args(["preview", "/value", "--config", path.to_str().unwrap()]).args(more);
        preview.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let previews = [preview(&["--explain", "--count", "20"]), preview(&["--count", "2"])];
    let mut robot = Robot::start();
    let publisher = robot.raw_publisher_of("/value", "std_msgs/msg/Float64");
    let ended = tokio::task::spawn_blocking(|| previews.map(|child| child.wait_with_output().unwrap()));
    // Each begins where it finds the publisher: no message is the first for both.
    let mut value = 1.0f64;
    while !ended.is_finished() {
        publisher.publish_raw(&[&[0, 1, 0, 0], &value.to_le_bytes()[..]].concat()).unwrap();
        value *= 1.01;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let [explained, plain] = ended.await.unwrap();
    let printed = text(&plain.stdout);
    let values: Vec<f64> =
        printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["data"].as_f64().unwrap()).collect();
    // Every second message, 2 % more each: the sixth of them is the first that is 10 % more.
    assert!(values.len() == 2 && (1.05..1.2).contains(&(values[1] / values[0])), "{printed}");
    assert!(text(&plain.stderr).contains("Not every message of /value travels by itself; `--explain`"));

    let explained = text(&explained.stdout);
    let messages: Vec<&str> = explained.split("/value: a message of 12 bytes in ROS\n").skip(1).collect();
    assert_eq!(messages.len(), 20, "{explained}");
    let first = messages[0];
    for part in [
        "  every: goes on, as the first or one of 2\n  rate: goes on; at most 1000 Hz, the one after it is due in 0.00",
        "\n  on_change: goes on; it is the first one\n  fields, exclude, arrays, digits: ",
        "\n  /value -> robots/robot1/value (",
        " bytes are counted, 1 step of 5,120\n{\"data\":",
    ] {
        assert!(first.contains(part), "{part:?} is missing in\n{first}");
    }
    let second =
        "  every: held back; the first travels, and then one of 2\n  -> nothing: it counts as shaped (every).\n";
    assert_eq!(messages[1], second);
    let held_back = "\n  on_change: held back; it does not differ from the one that travelled last\n  -> nothing: it counts as \
                     shaped (unchanged).\n";
    assert!(messages.iter().any(|message| message.ends_with(held_back)), "{explained}");
    let differs = "\n  on_change: goes on; it differs from the one that travelled last\n";
    assert!(messages[2..].iter().any(|message| message.contains(differs)), "{explained}");
}
