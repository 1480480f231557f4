//! docs/recipes.md's configuration of a whole robot, beside the robot that the page describes.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use iot_bridge::health::Report;
use iot_bridge::health::report::{State, Topic};
use serde_json::Value;

use crate::behind::judged_soon;
use crate::support::killed_on_drop::KilledOnDrop;
use crate::support::program::command;
use crate::support::stage::Stage;
use iot_bridge_core::price::steps;

const PAGE: &str = include_str!("../docs/recipes.md");

/// How a compressed payload begins.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The topics of the robot, by the messages that come of each in a second.
const ROBOT: [(&str, f64); 11] = [
    ("/imu", 100.0),
    ("/joint_states", 50.0),
    ("/odom", 50.0),
    ("/cmd_vel", 20.0),
    ("/camera_info", 15.0),
    ("/scan", 10.0),
    ("/battery", 1.0),
    ("/fix", 1.0),
    ("/pose", 1.0),
    ("/status_text", 1.0),
    ("/temperature", 1.0),
];

/// Writes a configuration with AWS IoT Core's quotas as `name`, for a client of this name.
fn configure(stage: &Stage, name: &str, topics: &str) -> PathBuf {
    let path = stage.configure(topics);
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.replacen("publishes_per_second = \"unlimited\"\nbytes_per_second = \"unlimited\"\n", "", 1);
    // What one bridge publishes is a topic like others to a second one that has not learnt its node's name yet.
    let own = format!("[health]\ndiagnostics = false\n[aws]\nclient_id = \"{name}\"\n");
    let text = text.replacen("[aws]\n", &own, 1);
    let text = text.replacen(stage.queue().to_str().unwrap(), stage.directory.path().join(name).to_str().unwrap(), 1);
    let path = stage.directory.path().join(format!("{name}.toml"));
    std::fs::write(&path, text).unwrap();
    path
}

/// `iot-bridge topics` for `config`, listening for 4 s.
fn topics(config: &Path) -> KilledOnDrop {
    let mut topics = command();
    topics.args(["topics", "--json", "--seconds", "4", "--config"]).arg(config).stdout(Stdio::piped());
    KilledOnDrop(topics.spawn().unwrap())
}

/// What it has printed.
fn told(mut topics: KilledOnDrop) -> Value {
    let mut text = String::new();
    topics.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(topics.0.wait().unwrap().success());
    serde_json::from_str(&text).unwrap()
}

/// The figure that stands in the last section of the page between `before` and `after`.
fn on_the_page(before: &str, after: &str) -> f64 {
    let section = PAGE.split("\n## ").last().unwrap();
    let figure = section.split_once(before).expect(before).1.split_once(after).expect(after).0;
    figure.parse().unwrap_or_else(|_| panic!("{figure:?} is no figure"))
}

#[track_caller]
fn assert_within(found: f64, wanted: f64, share: f64) {
    assert!((found / wanted - 1.0).abs() <= share, "{found} is not within {share} of {wanted}");
}

/// What `topics` tells of all topics: publishes a second, and dollars a month.
fn sum(told: &Value) -> [f64; 2] {
    ["publishes_per_second", "dollars_per_month"].map(|name| told["total"]["forwarded"][name].as_f64().unwrap())
}

/// Messages of all topics.
fn received(report: &Report) -> u64 {
    report.topics.iter().map(|topic| topic.received).sum()
}

/// The records in a publish, compressed or not.
fn records(payload: &[u8]) -> u64 {
    let plain = match payload.starts_with(&ZSTD) {
        true => zstd::bulk::decompress(payload, 1 << 20).unwrap(),
        false => payload.to_owned(),
    };
    serde_json::from_slice(&plain).map_or(1, |records: Vec<Value>| records.len() as u64)
}

/// With the page's lines eleven ordinary topics keep far below the quotas, and the bridge keeps up, which it does not with two
/// lines a topic; nothing is lost; what arrives at the broker, and what `topics` tells, is less than a tenth of what it is with
/// two lines a topic; and the page has the same figures.
#[tokio::test(flavor = "multi_thread")]
async fn the_whole_robot_keeps_within_the_quotas() {
    let mut stage = Stage::set().await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ros/ordinary_robot.py");
    let mut robot = KilledOnDrop(Command::new("python3").arg(script).stderr(Stdio::null()).spawn().unwrap());
    let page = PAGE.rsplit("```toml\n").next().unwrap().split_once("```").unwrap().0;
    let plain: String =
        ROBOT.iter().map(|(ros, _)| format!("[[topics]]\nros = \"{ros}\"\nmqtt = \"plain{{ros}}\"\n")).collect();
    let [page, plain] = [("page", page), ("plain", &*plain)].map(|(name, topics)| configure(&stage, name, topics));
    let listening = [&page, &plain].map(|config| topics(config));
    let plain_bridge = judged_soon(&plain);
    let mut bridge = judged_soon(&page);

    // Every topic has come, and the judge has seen that the other bridge does not keep up.
    bridge.await_report(|report| report.topics.iter().filter(|topic| topic.received > 0).count() == ROBOT.len());
    let before = stage.observer.rest();
    let begun = Instant::now();
    plain_bridge.await_log("More is offered than may leave");
    let [page_told, plain_told] = listening.map(told);
    let seconds = begun.elapsed().as_secs_f64();
    let arrived = stage.observer.rest();
    let report = bridge.report();
    assert!(report.behind.is_none() && bridge.log_lines("More is offered").is_empty(), "{:?}", report.behind);

    // What is told of it, and what the page says.
    let rows = page_told["topics"].as_array().unwrap();
    for (name, hz) in ROBOT {
        let row = rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_within(row["hz"].as_f64().unwrap(), hz, 0.05);
        assert!(row["forwarded"] == true && row["trouble"] == Value::Null, "{row}");
    }
    let ([publishes, dollars], [plain_publishes, plain_dollars]) = (sum(&page_told), sum(&plain_told));
    assert!(publishes <= 100.0 && dollars <= plain_dollars / 10.0, "${dollars}, and ${plain_dollars}");
    assert_within(publishes, on_the_page("That is ", " publishes a second"), 0.1);
    assert_within(dollars, on_the_page("and **$", " a month**"), 0.1);
    assert_within(plain_publishes, on_the_page("these are ", " publishes a second"), 0.05);
    assert_within(plain_dollars, on_the_page("would cost **$", " a month**"), 0.05);

    // The battery came once a second, what lingers did not come yet, and the quota was used up by the other bridge.
    let of = |prefix: &str| arrived.iter().filter(|(topic, _)| topic.starts_with(prefix)).count() as f64 / seconds;
    drop(plain_bridge);
    assert!(of("robots/") <= 1.5 && of("plain/") <= 105.0, "{} and {}", of("robots/"), of("plain/"));

    // Nothing is lost: what was received is shaped, or has arrived when what lingers has left as well.
    assert!(Command::new("kill").arg(robot.0.id().to_string()).status().unwrap().success());
    assert!(robot.0.wait().unwrap().success());
    let mut last = 0;
    let report = bridge.await_report(|report| {
        let is_gone = |topic: &Topic| matches!(topic.state, State::Subscribed { publishers: 0, .. });
        report.topics.iter().all(is_gone) && std::mem::replace(&mut last, received(report)) == last
    });
    let mut travelling = 0;
    for topic in &report.topics {
        assert_eq!((topic.dropped_in_all(), topic.lost_in_dds), (0, 0), "{topic:#?}");
        let sent = topic.queued + topic.in_flight + topic.acknowledged;
        assert_eq!(topic.received, sent + topic.shaped.values().sum::<u64>(), "{topic:#?}");
        assert!(sent > 0, "{topic:#?}");
        travelling += sent;
    }
    assert_eq!(bridge.terminate().code(), Some(0));
    let (mut found, mut metered) = (0, 0);
    let mut arrived = before.into_iter().chain(arrived);
    while found < travelling {
        let (topic, payload) = match arrived.next() {
            Some(arrived) => arrived,
            None => stage.observer.next().await,
        };
        if topic.starts_with("robots/") {
            metered += steps(topic.len() + payload.len());
            found += records(&payload);
        }
    }
    assert_eq!(found, travelling);
    // In so short a time batches are short: even so they are less than a tenth of the steps with two lines a topic.
    assert!(metered * 10 <= received(&report), "{metered} of {}", received(&report));
}
