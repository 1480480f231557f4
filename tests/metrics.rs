//! What Prometheus reads of the running bridge.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::certificates::Valid;
use crate::support::port::Port;
use crate::support::program::{PATIENCE, Program};
use crate::support::robot::{Robot, numbered, publish};
use crate::support::stage::Stage;
use iot_bridge::health::report::State;
use serde_json::Value;

/// Reads OpenMetrics with the parser of Prometheus' own Python library, and prints each sample as one line of JSON.
/// Debian installs the library for its own Python.
const PARSER: &str = r#"
import json, sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        print(json.dumps([family.type, family.documentation, sample.name, sample.labels, str(sample.value)]))
"#;

/// One series of a scrape.
#[derive(Debug)]
struct Sample {
    kind: String,
    name: String,
    labels: Value,
    value: f64,
}

/// What Prometheus 2 says that it takes.
const PROMETHEUS: &str = "Accept: application/openmetrics-text;version=1.0.0,application/openmetrics-text;\
                          version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n";

/// Sends `request` to `port`; answers head and body.
pub fn http(port: u16, request: &str) -> (String, String) {
    http_with(port, request, "Host: localhost\r\n")
}

/// As [`http`], with these header lines.
fn http_with(port: u16, request: &str, headers: &str) -> (String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "{request} HTTP/1.1\r\n{headers}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// Runs promtool on `input`; it may not have anything to say.
fn promtool(arguments: &[&str], input: &str) {
    let mut command = Command::new("promtool");
    let command = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = command.spawn().expect("promtool, of Debian's package prometheus");
    promtool.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.is_empty(), "promtool says\n{said}of\n{input}");
}

fn scrape(port: u16) -> Vec<Sample> {
    let (head, body) = http_with(port, "GET /metrics", &format!("Host: 127.0.0.1:{port}\r\n{PROMETHEUS}"));
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("application/openmetrics-text; version=1.0.0"), "{head}");
    let mut parser = Command::new("/usr/bin/python3")
        .args(["-c", PARSER])
        .env_remove("PYTHONPATH")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    parser.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let output = parser.wait_with_output().unwrap();
    assert!(output.status.success(), "this is no OpenMetrics:\n{body}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| {
            let [kind, help, name, labels, value]: [Value; 5] = serde_json::from_str(line).unwrap();
            assert!(help.as_str().is_some_and(|help| help.ends_with('.')), "{name} says {help}");
            let word = |value: Value| value.as_str().unwrap().to_owned();
            Sample { kind: word(kind), name: word(name), labels, value: word(value).parse().unwrap() }
        })
        .collect()
}

/// The sum of the samples called `name` that have all of `labels`; there has to be one.
fn sum(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    let has = |sample: &&Sample| {
        sample.name == name && labels.iter().all(|(label, value)| sample.labels[label].as_str() == Some(value))
    };
    let found: Vec<f64> = samples.iter().filter(has).map(|sample| sample.value).collect();
    assert!(!found.is_empty(), "no {name} with {labels:?} in {samples:#?}");
    found.iter().sum()
}

/// Every metric has the name, the labels and the kind that dashboards depend on, is OpenMetrics as Prometheus' own
/// parser reads it, and the counters of a topic add up. Two entries for one ROS topic are one series.
#[tokio::test(flavor = "multi_thread")]
async fn prometheus_reads_the_metrics() {
    let stage = Stage::set().await;
    let port = Port::reserve();
    let config = format!(
        "[mqtt.reconnect]\ninitial = \"1 s\"\nmax = \"1 s\"\n[health]\nmetrics = \"127.0.0.1:{}\"\n\
         [[topics]]\nros = \"/numbers\"\npayload = \"data\"\n\
         [[topics]]\nros = \"/numbers\"\nmqtt = \"again\"\npriority = \"low\"\n\
         [[topics]]\nros = \"/bytes\"\n[[topics]]\nros = \"/nobody\"\n\
         [[topics]]\nros = \"/strange\"\ntype = \"no_such_package/msg/Thing\"\n",
        port.number()
    );
    let mut program = Program::start(&stage.configure(&config));
    let mut robot = Robot::start();
    let (publisher, bytes) = (robot.publisher("/numbers", 100), robot.raw_publisher("/bytes"));
    Robot::await_subscribers(&publisher, 2);
    while bytes.get_inter_process_subscription_count().unwrap() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (0..10).for_each(|number| publish(&publisher, numbered(number)));
    bytes.publish_raw(&[0, 1, 0, 0, 255, 255, 255, 255]).unwrap();
    program.await_report(|report| report.topics[1].acknowledged == 10 && report.topics[2].dropped_in_all() == 1);
    stage.link.shut().await;
    program.await_report(|report| !report.connection.failures.is_empty());
    (0..5).for_each(|number| publish(&publisher, numbered(number)));
    // The age of the oldest is of whole seconds.
    program.await_report(|report| {
        report.queue.waiting() == 10
            && report.queue.oldest().is_some_and(|oldest| oldest < report.at)
            && matches!(report.topics[4].state, State::Trouble { .. })
    });

    let samples = scrape(port.number());
    let numbers = &[("topic", "/numbers")];
    for (kind, name, labels, expected) in [
        ("counter", "iot_bridge_messages_received_total", &numbers[..], Some(30.0)),
        ("counter", "iot_bridge_messages_acknowledged_total", numbers, Some(20.0)),
        ("counter", "iot_bridge_messages_dropped_total", &[("topic", "/bytes"), ("reason", "malformed")], Some(1.0)),
        ("counter", "iot_bridge_messages_dropped_total", numbers, Some(0.0)),
        ("counter", "iot_bridge_messages_lost_in_dds_total", numbers, Some(0.0)),
        ("counter", "iot_bridge_topic_publishes_total", numbers, Some(20.0)),
        ("counter", "iot_bridge_topic_publish_bytes_total", numbers, None),
        ("gauge", "iot_bridge_topic_queued", numbers, Some(10.0)),
        ("gauge", "iot_bridge_topic_in_flight", numbers, Some(0.0)),
        ("gauge", "iot_bridge_queue_records", &[("lane", "normal")], Some(5.0)),
        ("gauge", "iot_bridge_queue_records", &[("lane", "low")], Some(5.0)),
        ("gauge", "iot_bridge_queue_bytes", &[("lane", "high"), ("where", "memory")], Some(0.0)),
        ("gauge", "iot_bridge_queue_bytes", &[("lane", "high"), ("where", "disk")], Some(0.0)),
        ("counter", "iot_bridge_messages_recovered_total", numbers, Some(0.0)),
        ("gauge", "iot_bridge_in_flight", &[], Some(0.0)),
        ("gauge", "iot_bridge_queue_disk_works", &[], Some(1.0)),
        ("gauge", "iot_bridge_queue_disk_bytes", &[], None),
        ("gauge", "iot_bridge_connected", &[], Some(0.0)),
        ("counter", "iot_bridge_connections_total", &[], Some(1.0)),
        ("counter", "iot_bridge_connection_failures_total", &[], None),
        ("counter", "iot_bridge_publishes_total", &[], Some(20.0)),
        ("counter", "iot_bridge_publish_bytes_total", &[], None),
        ("histogram", "iot_bridge_publish_latency_seconds_count", &[], Some(20.0)),
        ("histogram", "iot_bridge_publish_latency_seconds_bucket", &[("le", "+Inf")], Some(20.0)),
        ("gauge", "iot_bridge_config_reload_successful", &[], Some(1.0)),
        ("gauge", "iot_bridge_config_last_reload_success_timestamp_seconds", &[], None),
        ("gauge", "iot_bridge_certificate_expiry_timestamp_seconds", &[], None),
        ("gauge", "iot_bridge_build_info", &[("version", env!("CARGO_PKG_VERSION"))], Some(1.0)),
        ("gauge", "process_start_time_seconds", &[], None),
        ("gauge", "iot_bridge_topic_subscribed", numbers, Some(1.0)),
        ("gauge", "iot_bridge_topic_subscribed", &[("topic", "/nobody")], Some(0.0)),
        ("gauge", "iot_bridge_topic_publishers", numbers, Some(1.0)),
        ("gauge", "iot_bridge_topic_publishers", &[("topic", "/nobody")], Some(0.0)),
        ("gauge", "iot_bridge_topic_publishers_incompatible", numbers, Some(0.0)),
        ("gauge", "iot_bridge_topic_publishers_redefined", numbers, Some(0.0)),
        ("gauge", "iot_bridge_topic_in_trouble", numbers, Some(0.0)),
        ("gauge", "iot_bridge_topic_in_trouble", &[("topic", "/strange")], Some(1.0)),
        ("gauge", "iot_bridge_topic_set_aside", numbers, Some(0.0)),
        ("gauge", "iot_bridge_queue_oldest_age_seconds", &[("lane", "high")], Some(0.0)),
        ("gauge", "iot_bridge_queue_oldest_age_seconds", &[("lane", "low")], None),
        ("gauge", "iot_bridge_queue_memory_bytes", &[], None),
        ("gauge", "iot_bridge_queue_bound_bytes", &[("where", "memory")], Some(33_554_432.0)),
        ("gauge", "iot_bridge_queue_bound_bytes", &[("where", "disk")], Some(1_073_741_824.0)),
        ("gauge", "iot_bridge_connection_needs_somebody", &[], Some(0.0)),
        ("gauge", "iot_bridge_client_id_contested", &[], Some(0.0)),
        ("gauge", "iot_bridge_slowed", &[], Some(0.0)),
        ("gauge", "iot_bridge_subscriptions_refused", &[], Some(0.0)),
        ("counter", "iot_bridge_arrivals_missed_total", &[], Some(0.0)),
        ("gauge", "iot_bridge_behind", &[], Some(0.0)),
    ] {
        let found = sum(&samples, name, labels);
        assert!(expected.map_or(found > 0.0, |expected| found == expected), "{name} {labels:?} is {found}");
        assert!(samples.iter().all(|sample| sample.name != name || sample.kind == kind), "{name} is no {kind}");
    }
    for topic in ["/numbers", "/bytes"] {
        let of = |name: &str| sum(&samples, name, &[("topic", topic)]);
        let ended = of("iot_bridge_messages_dropped_total") + of("iot_bridge_messages_acknowledged_total");
        let held = of("iot_bridge_topic_queued") + of("iot_bridge_topic_in_flight");
        let came = of("iot_bridge_messages_received_total") + of("iot_bridge_messages_recovered_total");
        assert_eq!(came, ended + held, "{topic}");
    }
    let (head, text) = http_with(port.number(), "GET /metrics", "Host: localhost\r\nAccept: text/plain\r\n");
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    promtool(&["check", "metrics"], &text);
    for sample in samples.iter().filter(|sample| sample.kind == "counter") {
        assert!(
            text.contains(&format!("# TYPE {} counter\n", sample.name)),
            "{} is no counter in\n{text}",
            sample.name
        );
    }
    assert!(http(port.number(), "GET /").0.starts_with("HTTP/1.1 404"));
    assert!(http(port.number(), "POST /metrics").0.starts_with("HTTP/1.1 405"));
    assert_eq!(program.terminate().code(), Some(0));
}

/// A bridge that starts with a certificate that has expired tells when that was, so that an alert can fire: in the
/// metrics, and in the status.
#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_has_its_metric() {
    let stage = Stage::set().await;
    stage.authority.issue(&["robot1"], Valid::NoLonger).write(stage.directory.path(), "robot1");
    let port = Port::reserve();
    let health = format!("[health]\nmetrics = \"127.0.0.1:{}\"\n[[topics]]\nros = \"/numbers\"\n", port.number());
    let mut program = Program::start(&stage.configure(&health));
    let line = program.await_note(" expired on Jan  1 00:00:00 2020");
    assert!(!line.contains("certificate expires") && !line.contains("has expired"), "said twice: {line}");
    let samples = scrape(port.number());
    assert_eq!(sum(&samples, "iot_bridge_certificate_expiry_timestamp_seconds", &[]), 1_577_836_800.0);
    assert_eq!(sum(&samples, "iot_bridge_connection_needs_somebody", &[]), 1.0);
    let status = String::from_utf8(program.status().output().unwrap().stdout).unwrap();
    assert!(status.contains("\nCertificate  expired "), "{status}");
    assert_eq!(program.terminate().code(), Some(0));
}

/// Clients that ask again and again, and those that send half a request, keep nobody else from the metrics; a
/// connection serves one request. A request for another machine's name is refused.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_keeps_others_from_the_metrics() {
    let stage = Stage::set().await;
    let port = Port::reserve();
    let health = format!("[health]\nmetrics = \"0.0.0.0:{}\"\n[[topics]]\nros = \"/numbers\"\n", port.number());
    let mut program = Program::start(&stage.configure(&health));
    assert!(program.await_log("for everybody who reaches this address").contains("WARN"));
    let port = port.number();

    let goes_on = Arc::new(AtomicBool::new(true));
    let askers: Vec<_> = (0..16)
        .map(|_| {
            let goes_on = Arc::clone(&goes_on);
            std::thread::spawn(move || {
                let mut answered = 0;
                while goes_on.load(Ordering::Relaxed) {
                    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
                    // As long as the connection is kept, this asks again.
                    while write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").is_ok()
                        && stream.read(&mut [0; 1 << 16]).is_ok_and(|length| length > 0)
                        && goes_on.load(Ordering::Relaxed)
                    {
                        answered += 1;
                        std::thread::sleep(Duration::from_millis(100));
                    }
                }
                answered
            })
        })
        .collect();
    let half_way: Vec<_> = (0..40)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            write!(stream, "GET /metrics HTTP/1.1\r\nHo").unwrap();
            stream
        })
        .collect();
    for _ in 0..5 {
        let (head, body) = http(port, "GET /metrics");
        assert!(head.starts_with("HTTP/1.1 200") && body.contains("\niot_bridge_connected "), "{head}\n{body}");
    }
    goes_on.store(false, Ordering::Relaxed);
    drop(half_way);
    assert!(askers.into_iter().map(|asker| asker.join().unwrap()).sum::<u32>() > 0);

    let machine = rustix::system::uname().nodename().to_str().unwrap().to_owned();
    for (host, status) in [
        (format!("127.0.0.1:{port}"), 200),
        ("[::1]".to_owned(), 200),
        (format!("{machine}:{port}"), 200),
        ("attacker.example".to_owned(), 421),
        (format!("{machine}.attacker.example:{port}"), 421),
    ] {
        let (head, body) = http_with(port, "GET /metrics", &format!("Host: {host}\r\n"));
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {head}");
        assert_eq!(body.contains("iot_bridge"), status == 200, "{host}: {body}");
    }
    assert!(program.await_log("under the name \"attacker.example\" was refused").contains("WARN"));
    assert_eq!(program.log_lines("was refused").len(), 1);
    assert_eq!(program.terminate().code(), Some(0));
}

/// An address that something else has is told, and does not stop the bridge; metrics are off unless they are wanted.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_does_not_stop_the_bridge() {
    let stage = Stage::set().await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = stage.configure(&format!("[health]\nmetrics = \"{address}\"\n[[topics]]\nros = \"/numbers\"\n"));
    let mut program = Program::start(&config);
    program.await_note("STATUS=Connected.");
    assert!(program.await_log(&format!("Metrics cannot be served at {address}")).contains("WARN"));
    assert_eq!(program.terminate().code(), Some(0));
    let mut silent = Program::start(&stage.configure("[[topics]]\nros = \"/numbers\"\n"));
    silent.await_note("STATUS=Connected.");
    assert!(silent.log_lines("etrics").is_empty());
    assert_eq!(silent.terminate().code(), Some(0));
}
