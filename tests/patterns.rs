//! Patterns of topics, on a real ROS graph.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::support::program::{Program, command};
use crate::support::robot::{Publisher, Robot, Stream, number_in, numbered, publish};
use crate::support::stage::Stage;
use iot_bridge::health::Report;
use iot_bridge::health::report::State;
use serde_json::{Value, json};

/// An entry for `ros` that passes texts on; `rest` follows.
fn entry(ros: &str, rest: &str) -> String {
    format!("[[topics]]\nros = \"{ros}\"\npayload = \"data\"\ndepth = 1000\n{rest}\n")
}

/// Names of the topics that are in force, with the pattern that has found each.
fn in_force(report: &Report) -> Vec<(&str, &str)> {
    let topics = report.topics.iter().filter(|topic| !matches!(topic.state, State::Vanished | State::Removed));
    topics.map(|topic| (&*topic.ros, topic.pattern.as_deref().unwrap_or_default())).collect()
}

fn has_vanished(report: &Report, ros: &str) -> bool {
    report.topics.iter().any(|topic| topic.ros == ros && topic.state == State::Vanished)
}

/// Topics are found as they appear, each by the entry that the rule gives it, with `except`, `type` and `limit`; hidden ones and
/// the bridge's own are not. One that nobody publishes any more is let go, is still shown, and goes on counting when it comes
/// again; one that waits takes its place.
#[tokio::test(flavor = "multi_thread")]
async fn topics_are_found_and_let_go() {
    let mut stage = Stage::set().await;
    let config = [
        entry("/named", "mqtt = \"named\""),
        entry("/s/**", "except = [\"/s/raw/**\"]\nlimit = 2"),
        entry("/s/*/info", "type = \"std_msgs/msg/String\"\nmqtt = \"info/{namespace}\""),
        entry("/typed/**", "type = \"sensor_msgs/msg/*\"").replace("data", "message"),
        entry("/**", "mqtt = \"rest{ros}\""),
        entry("/merged/*", "mqtt = \"merged\""),
    ];
    let config = stage.configure(&config.concat());
    let mut program = Program::start(&config);
    // Each with a node of its own, for a publisher ends with its node.
    let publisher = |name| {
        let mut robot = Robot::start();
        let publisher: Publisher = robot.publisher(name, 100);
        (robot, publisher)
    };
    let [a, b] = ["/s/a", "/s/b"].map(|name| {
        let of = publisher(name);
        Robot::await_subscriber(&of.1);
        publish(&of.1, format!("from {name}"));
        of
    });
    let seen = publisher("/h/seen");
    let mut robot = Robot::start();
    let [c, _hidden] = ["/s/c", "/h/_hidden"].map(|name| robot.publisher(name, 100));
    let names = ["/named", "/s/raw/x", "/s/front/info", "/typed/x"];
    let publishers = names.map(|name| (name, robot.publisher(name, 100)));
    for (name, publisher) in publishers.iter().map(|(name, of)| (*name, of)).chain([("/h/seen", &seen.1)]) {
        Robot::await_subscriber(publisher);
        publish(publisher, format!("from {name}"));
    }
    let mut arrived = HashSet::new();
    while arrived.len() < 7 {
        let (topic, payload) = stage.observer.next().await;
        arrived.insert((topic, String::from_utf8(payload.to_vec()).unwrap()));
    }
    let expected = [
        ("named", "/named"),
        ("robots/robot1/s/a", "/s/a"),
        ("robots/robot1/s/b", "/s/b"),
        ("rest/s/raw/x", "/s/raw/x"),
        ("info/s/front", "/s/front/info"),
        ("rest/typed/x", "/typed/x"),
        ("rest/h/seen", "/h/seen"),
    ];
    let expected = expected.map(|(mqtt, ros)| (mqtt.to_owned(), format!("from {ros}")));
    assert_eq!(arrived, HashSet::from(expected));
    let waits = program.await_log("/s/** has reached its limit of 2: 1 topic is not subscribed: /s/c.");
    assert!(waits.contains("WARN"), "{waits}");
    let report = program.report();
    assert_eq!(
        in_force(&report),
        [
            ("/named", ""),
            ("/s/a", "/s/**"),
            ("/s/b", "/s/**"),
            ("/s/front/info", "/s/*/info"),
            ("/h/seen", "/**"),
            ("/s/raw/x", "/**"),
            ("/typed/x", "/**"),
        ],
        "neither hidden topics nor the bridge's own /diagnostics"
    );
    let patterns: Vec<_> =
        report.patterns.iter().map(|pattern| (&*pattern.ros, pattern.topics, pattern.waiting)).collect();
    assert_eq!(
        patterns,
        [("/s/**", 2, 1), ("/s/*/info", 1, 0), ("/typed/**", 0, 0), ("/**", 3, 0), ("/merged/*", 0, 0)]
    );
    let shown = program.status().output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("/s/**: 2 topics, 1 more beyond its limit of 2\n"), "{shown}");

    // `check` comes to the same.
    let mut check = command();
    check.args(["check", "--json", "--config"]).arg(&config);
    let checked: Value = serde_json::from_slice(&check.output().unwrap().stdout).unwrap();
    let found = checked["graph"]["patterns"].as_array().unwrap().iter().flat_map(|pattern| {
        let topics = pattern["topics"].as_array().unwrap().iter();
        topics.map(|topic| (topic["ros"].as_str().unwrap(), pattern["ros"].as_str().unwrap()))
    });
    assert_eq!(found.collect::<Vec<_>>(), in_force(&report)[1..]);
    assert_eq!(checked["graph"]["patterns"][0]["waiting"], json!(["/s/c"]));
    assert_eq!(checked["graph"]["patterns"][3]["topics"][0]["mqtt"], "rest/h/seen");
    assert!(
        checked["warnings"].to_string().contains("different topics of /merged/* may go to one MQTT topic, merged;")
    );
    check.env_remove("AMENT_PREFIX_PATH");
    let checked: Value = serde_json::from_slice(&check.output().unwrap().stdout).unwrap();
    assert_eq!(checked["graph"]["skipped"], "no ROS environment is sourced");

    // A publisher that comes back at once finds its subscriber; one that stays away makes room.
    drop(seen);
    let _seen = publisher("/h/seen");
    drop(a);
    Robot::await_subscriber(&c);
    let report = program.await_report(|report| has_vanished(report, "/s/a"));
    assert!(in_force(&report).contains(&("/s/c", "/s/**")) && in_force(&report).contains(&("/h/seen", "/**")));
    assert_eq!(program.log_lines("/s/c").iter().filter(|line| line.contains("limit")).count(), 1, "it is named once");
    drop(b);
    let again = publisher("/s/a");
    Robot::await_subscriber(&again.1);
    publish(&again.1, "again".to_owned());
    let report = program.await_report(|report| !has_vanished(report, "/s/a") && has_vanished(report, "/s/b"));
    assert!(in_force(&report).contains(&("/s/a", "/s/**")));
    program.await_report(|report| report.topics.iter().any(|topic| topic.ros == "/s/a" && topic.acknowledged == 2));
    assert_eq!(program.terminate().code(), Some(0));
}

/// An entry that names a topic takes it over from a pattern, and gives it back, while messages come: none is missing, twice or
/// out of order. A change of the pattern reaches what it has found.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_changes_hands_without_a_loss() {
    let mut stage = Stage::set().await;
    let pattern = entry("/s/*", "");
    let mut program = Program::start(&stage.configure(&pattern));
    let mut robot = Robot::start();
    let publisher = robot.publisher("/s/steady", 10_000);
    Robot::await_subscriber(&publisher);
    let stream = Stream::start(robot, vec![publisher], 200, usize::MAX);
    let named = entry("/s/steady", "type = \"std_msgs/msg/String\"").replace("1000", "2000");
    let changed = entry("/s/*", "max_age = \"2 h\"\nreliability = \"reliable\"");
    for (config, found) in [
        (format!("{pattern}{named}"), ""),
        (pattern.clone(), "/s/*"),
        (changed.clone(), "/s/*"),
        (format!("{named}{changed}"), ""),
        (pattern, "/s/*"),
    ] {
        stage.configure(&config);
        program.reload();
        assert_eq!(in_force(&program.report()), [("/s/steady", found)]);
        let count = program.report().topics[0].received;
        program.await_report(|report| report.topics[0].received > count + 50);
    }
    let stream = stream.stop();
    let report = program.await_report(|report| report.topics[0].acknowledged as usize == stream.count);
    assert_eq!(report.topics[0].lost_in_dds, 0);
    for number in 0..stream.count {
        let (topic, payload) = stage.observer.next().await;
        assert_eq!((&*topic, number_in(&payload)), ("robots/robot1/s/steady", number));
    }
    assert_eq!(program.terminate().code(), Some(0));
}

/// How long it takes from the appearance of the last of `names` until all are subscribed, by a bridge with `topics`.
async fn time_until_all(topics: &str, names: &[String]) -> Duration {
    let stage = Stage::set().await;
    let mut program = Program::start(&stage.configure(topics));
    let mut robot = Robot::start();
    let publishers: Vec<_> = names.iter().map(|name| robot.publisher(name, 10)).collect();
    let appeared = Instant::now();
    publishers.iter().for_each(Robot::await_subscriber);
    let took = appeared.elapsed();
    assert_eq!(program.terminate().code(), Some(0));
    took
}

/// On a graph of 500 topics a pattern for everything is in force soon after the last has appeared: within 2 s more than what
/// topics take that are named. What is slow here, on a machine that does other things too, is slow for both.
#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_topics_are_soon_in_force() {
    let names: Vec<String> = (0..500).map(|number| format!("/many/t{number}")).collect();
    let named: String = names.iter().map(|name| entry(name, "")).collect();
    let named = time_until_all(&named, &names).await;
    let found = time_until_all(&entry("/**", "limit = 500"), &names).await;
    eprintln!("500 topics that are named are subscribed after {named:?}, those that are found after {found:?}");
    assert!(found < Duration::from_secs(2) + 3 * named, "{found:?} instead of {named:?}");
}

/// In each of so many rounds, so many topics with new names appear, publish a message each once they are subscribed, and vanish.
/// Returns the bridge's memory after each round.
async fn churn(rounds: usize, topics: usize, pause: Duration) -> Vec<u64> {
    let mut stage = Stage::set().await;
    let mut program = Program::start(&stage.configure(&entry("/churn/**", "limit = 100000")));
    let mut memory = Vec::new();
    for round in 0..rounds {
        let mut robot = Robot::start();
        let names: HashSet<String> = (0..topics).map(|number| format!("/churn/r{round}/t{number}")).collect();
        let publishers: Vec<_> = names.iter().map(|name| robot.publisher(name, 10)).collect();
        publishers.iter().for_each(Robot::await_subscriber);
        publishers.iter().for_each(|publisher| publish(publisher, numbered(round)));
        let mut missing: HashSet<String> = names.iter().map(|name| format!("robots/robot1{name}")).collect();
        while !missing.is_empty() {
            let (topic, payload) = stage.observer.next().await;
            assert_eq!(number_in(&payload), round);
            assert!(missing.remove(&topic), "{topic} comes twice");
        }
        drop((publishers, robot));
        tokio::time::sleep(pause).await;
        memory.push(program.resident_bytes());
        eprintln!("round {round}: {} KiB", program.resident_bytes() / 1024);
    }
    let last = format!("/churn/r{}/", rounds - 1);
    let report = program.await_report(|report| in_force(report).is_empty());
    assert!(report.topics.iter().filter(|topic| topic.ros.starts_with(&last)).count() == topics);
    assert!(report.topics.iter().all(|topic| topic.received == 1 && topic.acknowledged == 1));
    assert_eq!(program.terminate().code(), Some(0));
    memory
}

/// Topics with ever new names appear and vanish: of none a message is missed, and in the end all are let go.
#[tokio::test(flavor = "multi_thread")]
async fn topics_that_come_and_go_are_all_received() {
    churn(4, 50, Duration::ZERO).await;
}

/// The same with 2,000 topics for five minutes: the memory does not grow.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes five minutes"]
async fn thousands_of_topics_come_and_go_for_minutes() {
    let memory = churn(20, 2000, Duration::from_secs(10)).await;
    let (early, late) = (memory[memory.len() / 4], memory[memory.len() - 1]);
    assert!(late < early + early / 5, "{memory:?}");
}
