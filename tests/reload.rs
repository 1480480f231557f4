//! Another configuration while the bridge runs.

use std::collections::HashSet;

use crate::support::certificates::Valid;
use crate::support::program::Program;
use crate::support::robot::{Robot, Stream, number_in, numbered, publish};
use crate::support::stage::Stage;
use iot_bridge::health::report::State;

const QUICK: &str = "[mqtt.reconnect]\ninitial = \"1 s\"\nmax = \"1 s\"\n";

/// An entry for `topic` that passes its text on; `rest` follows.
fn entry(topic: &str, rest: &str) -> String {
    format!("[[topics]]\nros = \"{topic}\"\npayload = \"data\"\ndepth = 1000\n{rest}\n")
}

/// A reload adds, removes and changes topics. A topic that stays the same loses nothing, no matter how often, and the
/// connection stands.
#[tokio::test(flavor = "multi_thread")]
async fn a_reload_touches_what_has_changed_alone() {
    let mut stage = Stage::set().await;
    let steady = entry("/steady", "");
    let before = format!("{QUICK}{steady}{}{}", entry("/moved", ""), entry("/removed", ""));
    let mut program = Program::start(&stage.configure(&before));
    let mut robot = Robot::start();
    let mut other = Robot::start();
    let [moved, removed, added] = ["/moved", "/removed", "/added"].map(|topic| other.publisher(topic, 100));
    let publisher = robot.publisher("/steady", 10_000);
    [&publisher, &moved, &removed].into_iter().for_each(Robot::await_subscriber);
    program.await_note("3 of 3 topics subscribed");
    let stream = Stream::start(robot, vec![publisher], 200, usize::MAX);
    publish(&moved, numbered(1));
    publish(&removed, numbered(1));
    program.await_report(|report| report.topics[1..].iter().all(|topic| topic.acknowledged == 1));

    let moved_entry = entry("/moved", "mqtt = \"elsewhere\"");
    stage.configure(&format!("{QUICK}{}{moved_entry}{steady}", entry("/added", "")));
    program.reload();
    program.await_log("The configuration is reloaded: 1 topic added, 1 removed, 1 changed.");
    Robot::await_subscriber(&added);
    publish(&moved, numbered(2));
    publish(&added, numbered(3));
    let report =
        program.await_report(|report| report.topics[0].acknowledged == 1 && report.topics[1].acknowledged == 2);
    let names: Vec<_> = report.topics.iter().map(|topic| (topic.ros.as_str(), topic.mqtt.as_str())).collect();
    assert_eq!(
        names,
        [("/added", "robots/robot1/added"), ("/moved", "elsewhere"), ("/steady", "robots/robot1/steady")],
        "in the new order, and one that has changed goes on counting"
    );
    assert!(matches!(report.topics[1].state, State::Subscribed { .. }), "{report:?}");
    for _ in 0..10 {
        program.reload();
    }
    program.await_log("0 topics added, 0 removed, 0 changed.");
    // DDS delivers for as long as the publisher is there.
    let stream = stream.stop();
    let published = stream.count;
    let report = program.await_report(|report| report.topics[2].acknowledged as usize == published);
    assert_eq!((report.connection.connections, report.topics[2].lost_in_dds), (1, 0));
    assert_eq!(removed.get_inter_process_subscription_count().unwrap(), 0);

    let (mut steady, mut others) = (Vec::new(), HashSet::new());
    while steady.len() < published || others.len() < 4 {
        let (topic, payload) = stage.observer.next().await;
        match topic.as_str() {
            "robots/robot1/steady" => steady.push(number_in(&payload)),
            _ => drop(others.insert((topic, number_in(&payload)))),
        }
    }
    assert!(steady.into_iter().eq(0..published), "something is missing, twice or out of order");
    let expected =
        [("robots/robot1/moved", 1), ("robots/robot1/removed", 1), ("elsewhere", 2), ("robots/robot1/added", 3)];
    assert_eq!(others, HashSet::from(expected.map(|(topic, number)| (topic.to_owned(), number))));
    assert_eq!(program.terminate().code(), Some(0));
}

/// What is queued of a removed topic is still sent, and shown until then.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_queued_of_a_removed_topic_arrives() {
    let mut stage = Stage::set().await;
    let stays = entry("/stays", "");
    let mut program = Program::start(&stage.configure(&format!("{QUICK}{stays}{}", entry("/removed", ""))));
    let mut robot = Robot::start();
    let publisher = robot.publisher("/removed", 100);
    Robot::await_subscriber(&publisher);
    program.await_note("STATUS=Connected.");
    stage.link.shut().await;
    program.await_note("STATUS=Not connected");
    (0..3).for_each(|number| publish(&publisher, numbered(number)));
    program.await_report(|report| report.topics[1].queued == 3);
    stage.configure(&format!("{QUICK}{stays}"));
    program.reload();
    let report = program.report();
    assert_eq!((&report.topics[1].state, report.topics[1].queued), (&State::Removed, 3));
    stage.link.reopen().await;
    for number in 0..3 {
        assert_eq!(number_in(&stage.observer.next().await.1), number);
    }
    program.await_report(|report| report.topics.len() == 1);
    assert_eq!(program.terminate().code(), Some(0));
}

/// A batch that comes with a reload reaches what waits already: twenty messages that were queued without it leave as one
/// publish once there is a connection, though no other message comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_batch_reaches_what_waits() {
    let mut stage = Stage::set().await;
    let topic = format!("{QUICK}[[topics]]\nros = \"/waits\"\n");
    let mut program = Program::start(&stage.configure(&topic));
    let mut robot = Robot::start();
    let publisher = robot.publisher("/waits", 100);
    Robot::await_subscriber(&publisher);
    program.await_note("STATUS=Connected.");
    stage.link.shut().await;
    program.await_note("STATUS=Not connected");
    (0..20).for_each(|number| publish(&publisher, numbered(number)));
    program.await_report(|report| report.topics[0].queued == 20);
    stage.configure(&format!("{topic}batch = {{ max = 50 }}\n"));
    program.reload();
    program.await_log("The configuration is reloaded: 0 topics added, 0 removed, 1 changed.");
    stage.link.reopen().await;
    let (topic, payload) = stage.observer.next().await;
    assert_eq!(topic, "robots/robot1/waits");
    let batch: Vec<serde_json::Value> = serde_json::from_slice(&payload).unwrap();
    let numbers = batch.iter().map(|element| number_in(element["data"].as_str().unwrap().as_bytes()));
    assert!(numbers.eq(0..20), "{}", String::from_utf8_lossy(&payload));
    program.await_report(|report| report.topics[0].acknowledged == 20);
    assert_eq!(program.terminate().code(), Some(0));
}

/// A wrong configuration is refused with its problems, and the one before stays in force; that is shown until a good one
/// comes. What can't be changed while the bridge runs is said.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_changes_nothing() {
    let mut stage = Stage::set().await;
    let mut program = Program::start(&stage.configure(&format!("{QUICK}{}", entry("/numbers", ""))));
    let mut robot = Robot::start();
    let publisher = robot.publisher("/numbers", 100);
    Robot::await_subscriber(&publisher);
    program.await_note("STATUS=Connected.");
    stage.configure("[[topics]]\nros = \"/numbers\"\nqos = 7\n[[topics]]\nros = \"/a b\"\n");
    program.reload();
    for problem in ["topics[0].qos", "topics[1].ros"] {
        assert!(program.await_log(problem).contains("ERROR"));
    }
    program.await_log("The configuration is not reloaded; the one before stays in force.");
    let configuration = program.report().configuration;
    let refused = configuration.refused.unwrap();
    assert_eq!(refused.problems, 2);
    assert!(refused.first.ends_with(".toml:17: topics[0].qos"), "{refused:?}");
    assert!(refused.at >= configuration.loaded);
    let sentence = format!(" UTC was refused: 2 problems, {}", refused.first);
    program.await_note(&sentence);
    let shown = String::from_utf8(program.status().output().unwrap().stdout).unwrap();
    assert!(shown.contains("Refused      The configuration of ") && shown.contains(&sentence), "{shown}");
    publish(&publisher, numbered(1));
    assert_eq!(number_in(&stage.observer.next().await.1), 1);

    stage.configure(&format!("memory = \"2 MiB\"\n{QUICK}{}", entry("/numbers", "")));
    program.reload();
    assert!(program.await_log("[queue] has changed, which a restart").contains("WARN"));
    let later = program.report().configuration;
    assert_eq!(later.refused, None, "a good one was taken");
    assert!(later.loaded >= refused.at);
    stage.configure(&format!("[ros]\nnamespace = \"/other\"\n{}", entry("numbers", "")));
    program.reload();
    assert!(program.await_log("nothing is reloaded").contains("WARN"));
    let configuration = program.report().configuration;
    assert_eq!(configuration.loaded, later.loaded);
    assert_eq!(configuration.refused.unwrap().first, "the thing's name or [ros] has changed, which takes a restart");
    assert_eq!(program.report().topics[0].ros, "/numbers");
    assert_eq!(program.terminate().code(), Some(0));
}

/// A reload with another certificate in the same files connects with it; with the same one it leaves the connection
/// alone. Nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_taken() {
    let mut stage = Stage::set().await;
    let mut program = Program::start(&stage.configure(&format!("{QUICK}{}", entry("/numbers", ""))));
    let mut robot = Robot::start();
    let publisher = robot.publisher("/numbers", 10_000);
    Robot::await_subscriber(&publisher);
    program.await_note("STATUS=Connected.");
    let stream = Stream::start(robot, vec![publisher], 100, usize::MAX);
    program.reload();
    stage.authority.issue(&["robot1"], Valid::Now).write(stage.directory.path(), "robot1");
    assert_eq!(program.report().connection.connections, 1);
    program.reload();
    program.await_log("The certificates have changed");
    let report = program.await_report(|report| report.connection.connections == 2);
    assert!(report.connection.failures.is_empty(), "{report:?}");
    // DDS delivers for as long as the publisher is there.
    let stream = stream.stop();
    let published = stream.count;
    let mut arrived = HashSet::new();
    while arrived.len() < published {
        arrived.insert(number_in(&stage.observer.next().await.1));
    }
    assert_eq!(program.terminate().code(), Some(0));
}

/// A reload with certificates that can't be used, or that are half replaced, says so and keeps the connection; mended, they
/// are taken. Files that only a restart brings into force change nothing.
#[tokio::test(flavor = "multi_thread")]
async fn broken_certificates_leave_the_connection_alone() {
    let mut stage = Stage::set().await;
    let config = stage.configure(&format!("{QUICK}{}", entry("/numbers", "")));
    let mut program = Program::start(&config);
    let mut robot = Robot::start();
    let publisher = robot.publisher("/numbers", 100);
    Robot::await_subscriber(&publisher);
    program.await_note("STATUS=Connected.");
    let (certificate, key) = (stage.files.certificate.clone(), stage.files.private_key.clone());
    let (first_certificate, first_key) = (read(&certificate), read(&key));
    let expired = stage.authority.issue(&["robot1"], Valid::NoLonger);
    let other = stage.authority.issue(&["robot1"], Valid::Now);
    let not_yet = stage.authority.issue(&["robot1"], Valid::NotYet);
    let root_ca = read(&stage.root_ca());
    for (number, (pem, private, authority, words)) in [
        ("garbage", &first_key[..], &root_ca[..], "robot1.cert.pem holds no certificate"),
        (&first_certificate, &other.private_key, &root_ca, "robot1.private.key does not belong to"),
        (&expired.certificate, &expired.private_key, &root_ca, "robot1.cert.pem expired on"),
        (&not_yet.certificate, &not_yet.private_key, &root_ca, "robot1.cert.pem is not valid before"),
        (&first_certificate, &first_key, "", "rootCA.crt is empty"),
    ]
    .into_iter()
    .enumerate()
    {
        std::fs::write(&certificate, pem).unwrap();
        std::fs::write(&key, private).unwrap();
        std::fs::write(stage.root_ca(), authority).unwrap();
        program.reload();
        let line = program.await_log(words);
        assert!(line.contains("ERROR") && line.contains("The certificates are not reloaded: the "), "{line}");
        publish(&publisher, numbered(number));
        assert_eq!(number_in(&stage.observer.next().await.1), number);
        let connection = program.report().connection;
        assert_eq!((connection.connections, connection.failures.len()), (1, 0), "{words}");
    }
    // As they were: nothing to do.
    std::fs::write(stage.root_ca(), root_ca).unwrap();
    program.reload();
    assert_eq!(program.log_lines("The certificates have changed"), Vec::<String>::new());
    other.write(stage.directory.path(), "robot1");
    program.reload();
    program.await_report(|report| report.connection.connections == 2);

    let elsewhere = stage.authority.issue(&["robot1"], Valid::Now).write(stage.directory.path(), "elsewhere");
    let text = read(&config).replace(certificate.to_str().unwrap(), elsewhere.certificate.to_str().unwrap());
    std::fs::write(&config, text).unwrap();
    program.reload();
    program.await_log("[aws] has changed, which a restart");
    publish(&publisher, numbered(7));
    assert_eq!(number_in(&stage.observer.next().await.1), 7);
    assert_eq!(program.log_lines("The certificates have changed").len(), 1);
    assert_eq!(program.report().connection.connections, 2);
    assert_eq!(program.terminate().code(), Some(0));
}

fn read(path: &std::path::Path) -> String {
    std::fs::read_to_string(path).unwrap()
}
