//! `iot-bridge topics`: what is on the graph, how often it comes, what it costs, and what brings it below a budget.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::support::program::{Program, command};
use crate::support::robot::{Robot, Stream, numbered};
use crate::support::stage::Stage;

/// What `iot-bridge topics` prints with these arguments.
fn topics(config: &Path, arguments: &[&str]) -> Output {
    command().arg("topics").args(arguments).arg("--config").arg(config).output().unwrap()
}

/// The same as JSON, of six seconds.
fn json(config: &Path, arguments: &[&str]) -> Value {
    let output = topics(config, &[arguments, &["--json", "--seconds", "6"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Publishes texts of 200 bytes on `topic`.
fn stream(topic: &str, rate: u32) -> Stream {
    let mut robot = Robot::start();
    let publisher = robot.publisher(topic, 1000);
    Stream::start(robot, vec![publisher], rate, usize::MAX)
}

#[track_caller]
fn assert_within(found: &Value, wanted: f64, share: f64) {
    let value = found.as_f64().unwrap();
    assert!((value / wanted - 1.0).abs() <= share, "{value} is not within {share} of {wanted}");
}

/// Beside the running bridge, each topic of others is found, with its rate and its bytes to 5 %, whether it comes once a second
/// or 500 times; its publishes and its price as it is configured, or as two lines would configure it; and one whose messages
/// are too large is marked and costs nothing. What is hidden, the bridge's own and what was published before do not count.
#[tokio::test(flavor = "multi_thread")]
async fn the_graph_is_measured() {
    const NAMES: [&str; 14] = [
        "bytes_per_second",
        "dollars_per_month",
        "durability",
        "forwarded",
        "hz",
        "json_bytes",
        "metered_per_month",
        "name",
        "publishers",
        "publishes_per_second",
        "reliability",
        "trouble",
        "type",
        "untold",
    ];
    let stage = Stage::set().await;
    let config = stage.configure(
        "[health]\ndiagnostics = true\n[[topics]]\nros = \"/fast\"\npayload = \"data\"\nbatch = { max = 10, linger = \"1 s\" }\n",
    );
    let text = fs::read_to_string(&config).unwrap().replacen("publishes_per_second = \"unlimited\"\n", "", 1);
    fs::write(&config, text).unwrap();
    let mut program = Program::start(&config);
    let streams = [("/slow", 1), ("/fast", 500), ("/_hidden/topic", 10)].map(|(topic, rate)| stream(topic, rate));
    let large = large_messages();
    let told = json(&config, &[]);
    assert_eq!(program.terminate().code(), Some(0));
    let rows = told["topics"].as_array().unwrap();
    for row in rows {
        let names: Vec<_> = row.as_object().unwrap().keys().collect();
        assert_eq!(names, NAMES);
    }
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["/fast", "/slow", "/large"], "{told:#}");
    let [fast, slow, large_row] = &rows[..] else { unreachable!() };

    // A text has a length of 4 bytes and an end of 1, and CDR a head of 4.
    assert_within(&fast["hz"], 500.0, 0.05);
    assert_within(&slow["hz"], 1.0, 0.05);
    assert_within(&fast["bytes_per_second"], 500.0 * 209.0, 0.05);
    assert_within(&slow["bytes_per_second"], 209.0, 0.05);
    assert_eq!((&fast["publishers"], &fast["type"]), (&1.into(), &"std_msgs/msg/String".into()));
    assert_eq!((&fast["reliability"], &fast["durability"]), (&"reliable".into(), &"volatile".into()));
    // In a batch a text is a JSON string, in two quotes; as two lines would have it, {"data":"…"}.
    assert_eq!((&fast["forwarded"], &fast["json_bytes"]), (&true.into(), &202.into()));
    assert_eq!((&slow["forwarded"], &slow["json_bytes"]), (&false.into(), &211.into()));
    assert_within(&fast["publishes_per_second"], 50.0, 0.05);
    assert_within(&fast["dollars_per_month"], 50.0 * 2.592, 0.05);
    assert_within(&slow["metered_per_month"], 2_592_000.0, 0.05);
    assert_within(&slow["dollars_per_month"], 2.592, 0.05);
    for nothing in ["publishes_per_second", "metered_per_month", "dollars_per_month"] {
        assert_eq!(large_row[nothing], 0.0, "{large_row}");
    }
    assert_eq!(large_row["json_bytes"], Value::Null);
    assert_eq!((&large_row["untold"], &told["total"]["untold"]), (&false.into(), &0.into()));
    assert!(large_row["trouble"].as_str().unwrap().contains("takes 131072 bytes"), "{large_row}");

    let total = &told["total"];
    let sum = |name: &str| rows.iter().map(|row| row[name].as_f64().unwrap()).sum::<f64>();
    for name in ["hz", "bytes_per_second", "publishes_per_second", "metered_per_month"] {
        assert_within(&total[name], sum(name), 1e-9);
    }
    // The connection, for 43,200 minutes.
    assert_within(&total["dollars_per_month"], sum("dollars_per_month") + 0.003456, 1e-9);
    assert_within(
        &total["forwarded"]["dollars_per_month"],
        fast["dollars_per_month"].as_f64().unwrap() + 0.003456,
        1e-9,
    );
    assert_eq!((&total["topics"], &total["forwarded"]["topics"]), (&3.into(), &1.into()));
    assert_eq!(total["allowed_publishes_per_second"], 100);
    assert_eq!(total["allowed_published_bytes_per_second"], Value::Null);
    for stream in streams.into_iter().chain([large]) {
        stream.stop();
    }
}

/// Publishes texts that are too large to be sent.
fn large_messages() -> Stream {
    let mut robot = Robot::start();
    let publisher = robot.publisher("/large", 2);
    Stream::start_of(robot, vec![publisher], 3, usize::MAX, |number| numbered(number).repeat(750))
}

/// What is proposed for a budget costs what it said, to 10 %, when it is the configuration: as `topics` tells it, and as the
/// bridge publishes. Text is plain when it is piped, and a file takes the place of the table of prices.
#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_kept() {
    let stage = Stage::set().await;
    let streams = [("/fast", 200), ("/slower", 40)].map(|(topic, rate)| stream(topic, rate));
    let config = stage.configure("[[topics]]\nros = \"/fast\"\n[[topics]]\nros = \"/slower\"\n");
    let told = json(&config, &["--budget", "50"]);
    assert_within(&told["total"]["forwarded"]["dollars_per_month"], 240.0 * 2.592, 0.05);
    let proposal = &told["proposal"];
    let said = proposal["dollars_per_month"].as_f64().unwrap();
    assert!((1.0..50.0).contains(&said), "{proposal:#}");
    assert_within(&proposal["dollars_per_month_before"], 240.0 * 2.592, 0.05);

    let lines = proposal["toml"].as_str().unwrap();
    assert!(lines.contains("ros = \"/fast\"\nbatch = {"), "{lines}");
    // An entry that stays as it is stands in the file.
    let kept = if lines.contains("/slower") { "" } else { "[[topics]]\nros = \"/slower\"\n" };
    let config = stage.configure(&format!("{lines}{kept}"));
    let again = json(&config, &[]);
    assert_within(&again["total"]["forwarded"]["dollars_per_month"], said, 0.1);

    // What the bridge makes of it: records in a publish, whatever the machine's load does to both.
    let mut program = Program::start(&config);
    let begun = program.await_report(|report| report.published.publishes >= 5);
    let done = program.await_report(|report| report.published.publishes >= begun.published.publishes + 100);
    let acknowledged =
        |report: &iot_bridge::health::Report| -> u64 { report.topics.iter().map(|topic| topic.acknowledged).sum() };
    let records = (acknowledged(&done) - acknowledged(&begun)) as f64;
    let publishes = (done.published.publishes - begun.published.publishes) as f64;
    let forwarded = &again["total"]["forwarded"];
    let told = again["total"]["hz"].as_f64().unwrap() / forwarded["publishes_per_second"].as_f64().unwrap();
    assert!((records / publishes / told - 1.0).abs() < 0.1, "{} instead of {told}", records / publishes);
    assert_eq!(program.terminate().code(), Some(0));

    let prices = stage.directory.path().join("prices.toml");
    let table =
        "date = \"today\"\nsource = \"a contract\"\nconnection = 0\nrule = 0\naction = 0\n[[messages]]\nprice = 10\n";
    fs::write(&prices, table).unwrap();
    let output = topics(&config, &["--seconds", "2", "--prices", prices.to_str().unwrap(), "--budget", "1000000"]);
    let text = String::from_utf8(output.stdout).unwrap();
    for words in
        ["Prices of today: a contract.", "Nothing has to change for $1000000.00 a month", "Of these, 2 are forwarded"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(text.starts_with("topic    type                 pubs  QoS"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
    for stream in streams {
        stream.stop();
    }
}

/// Nothing on the graph is said, and is no failure; what can't be done is: a wrong configuration or table of prices, and a budget
/// below the price of the connection.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said() {
    let stage = Stage::set().await;
    let config = stage.configure("[[topics]]\nros = \"/odom\"\n");
    let output = topics(&config, &["--seconds", "1", "--json"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.starts_with("No other ROS node is seen in domain ") || said.contains("none publishes"), "{said}");
    let empty: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(empty["topics"], Value::Array(Vec::new()));
    assert_within(&empty["total"]["dollars_per_month"], 0.003456, 1e-9);

    let stream = stream("/odom", 10);
    let output = topics(&config, &["--seconds", "1", "--budget", "0.001"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("the connection alone costs $0.0035 a month"), "{said}");
    assert!(String::from_utf8(output.stdout).unwrap().contains("/odom"));
    stream.stop();

    let wrong = stage.directory.path().join("prices.toml");
    fs::write(&wrong, "price = 1\n").unwrap();
    let output = topics(&config, &["--prices", wrong.to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert!(said.contains("prices.toml:1") && said.contains("allowed is a table of prices"), "{said}");
    let wrong = stage.configure("[[topics]]\nros = \"/a b\"\n");
    assert_eq!(topics(&wrong, &[]).status.code(), Some(78));
    for arguments in [["--seconds", "0"], ["--budget", "-1"]] {
        assert_eq!(topics(&config, &arguments).status.code(), Some(2), "{arguments:?}");
    }
}
