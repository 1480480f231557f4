//! Configuration from the cloud, through a broker that behaves as AWS IoT Core does, with real nodes of ROS.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::support::aws_broker::{AckFaults, Arrival, AwsBroker, Limits, Message};
use crate::support::certificates::Valid;
use crate::support::program::{PATIENCE, Program};
use crate::support::robot::{Robot, Stream, number_in, numbered, publish};
use crate::support::stage::Stage;
use iot_bridge::health::Report;
use iot_bridge::health::report::{Remote, RemoteState};
use iot_bridge_core::remote::{Store, Wish};

/// What is not about the topics.
const HEAD: &str = "[mqtt.reconnect]\ninitial = \"1 s\"\nmax = \"1 s\"\n[remote]\nshadow = \"iot-bridge\"\nconfirm = ";

struct Scene {
    stage: Stage,
    broker: AwsBroker,
}

/// An entry that passes the text of `topic` on.
fn entry(topic: &str) -> Value {
    json!({"ros": topic, "payload": "data", "depth": 1000})
}

/// A desired state with these topics.
fn topics(version: &str, topics: &[&str]) -> Value {
    let topics: Vec<Value> = topics.iter().map(|topic| entry(topic)).collect();
    json!({"version": version, "config": {"topics": topics}})
}

impl Scene {
    async fn set() -> Scene {
        let limits = Limits { between_connects: Duration::ZERO, ..Limits::without_rates() };
        let (stage, broker) = Stage::set_with_aws(limits).await;
        std::fs::create_dir(stage.directory.path().join("state")).unwrap();
        Scene { stage, broker }
    }

    /// A configuration with the local topics `/steady` and `/old`.
    fn configure(&self, confirm: &str) -> PathBuf {
        let local = ["/steady", "/old"]
            .map(|topic| format!("[[topics]]\nros = \"{topic}\"\npayload = \"data\"\ndepth = 1000\n"));
        self.stage.configure(&format!("{HEAD}\"{confirm}\"\n{}", local.concat()))
    }

    fn start(&self, path: &Path) -> Program {
        let state = self.stage.directory.path().join("state");
        Program::start_with(path, &[("STATE_DIRECTORY", state.to_str().unwrap())])
    }

    /// Somebody desires this, in the place of everything that was desired.
    fn desire(&self, desired: &Value) {
        let before = self.broker.shadow("robot1", "iot-bridge");
        let mut update: serde_json::Map<_, _> =
            before["desired"].as_object().into_iter().flatten().map(|(key, _)| (key.clone(), Value::Null)).collect();
        if !update.is_empty() {
            // Updates merge.
            self.broker.update_shadow("robot1", "iot-bridge", json!({"desired": update.clone()}));
        }
        update.clear();
        update.extend(desired.as_object().unwrap().clone());
        self.broker.update_shadow("robot1", "iot-bridge", json!({"desired": update}));
    }

    /// Waits until the bridge has reported what `wanted` accepts.
    fn await_reported(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let reported = self.broker.shadow("robot1", "iot-bridge")["reported"].clone();
            if wanted(&reported) {
                return reported;
            }
            assert!(Instant::now() < deadline, "what is reported is {reported}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn await_state(&self, version: &str, state: &str) -> Value {
        self.await_reported(|reported| reported["version"] == version && reported["state"] == state)
    }

    /// The numbers that have arrived at this MQTT topic, in their order.
    fn numbers(&self, topic: &str) -> Vec<usize> {
        let arrivals = self.broker.record().arrivals.into_iter();
        arrivals.filter(|arrival| arrival.topic == topic).map(|arrival| number_in(&arrival.payload)).collect()
    }
}

fn remote(report: &Report) -> &Remote {
    report.configuration.remote.as_ref().unwrap()
}

fn names(report: &Report) -> Vec<&str> {
    let is_configured = |ros: &str| ros.starts_with('/');
    report.topics.iter().map(|topic| topic.ros.as_str()).filter(|ros| is_configured(ros)).collect()
}

fn shown(program: &Program) -> String {
    String::from_utf8(program.status().output().unwrap().stdout).unwrap()
}

/// A wish comes into force without a lost message of the topics that stay; it is in force after a restart without a network, and
/// stays so when files are reloaded. When files do not allow it, or do not go with it, the local configuration is in force until
/// they do; when it is taken away, for good.
#[tokio::test(flavor = "multi_thread")]
async fn a_wish_comes_into_force_and_stays() {
    let scene = Scene::set().await;
    let path = scene.configure("10 s");
    let mut program = scene.start(&path);
    let mut robot = Robot::start();
    let publisher = robot.publisher("/steady", 10_000);
    Robot::await_subscriber(&publisher);
    let local = scene.await_reported(|reported| reported["state"] == "applied");
    assert_eq!((&local["version"], &local["problems"]), (&Value::Null, &Value::Null), "{local}");
    assert_eq!(remote(&program.report()).state, RemoteState::Applied);
    assert!(
        shown(&program).contains("nothing is desired in the shadow iot-bridge; the local configuration is in force")
    );
    let stream = Stream::start(robot, vec![publisher], 200, usize::MAX);

    scene.desire(&topics("7", &["/new", "/steady"]));
    let reported = scene.await_state("7", "applied");
    let report = program.report();
    assert_eq!(names(&report), ["/new", "/steady"]);
    let Remote { shadow, version, state, problems, in_force, sections, .. } = remote(&report).clone();
    assert_eq!((shadow.as_str(), version.as_deref(), state), ("iot-bridge", Some("7"), RemoteState::Applied));
    assert_eq!((problems.len(), in_force.as_deref(), sections), (0, Some("7"), vec!["topics".to_owned()]));
    assert!(shown(&program).contains("Remote       version 7 of the shadow iot-bridge is in force for "));
    assert!(program.await_log("version 7, is in force on trial: if the broker").contains("INFO"));
    assert!(program.await_log("version 7, is confirmed.").contains("INFO"));
    assert_eq!(program.log_lines("version 7").len(), 2, "each change is said once");
    assert_eq!(reported["problems"], Value::Null);
    assert_eq!((&reported["bridge"], &reported["ros_distro"]), (&json!(env!("CARGO_PKG_VERSION")), &json!("jazzy")));
    let digest = reported["config"].as_str().unwrap().to_owned();
    assert!(digest.len() == 64 && digest != local["config"].as_str().unwrap(), "{digest}");
    let figures = ["behind", "dropped", "oldest_s"].map(|figure| reported[figure].clone());
    assert_eq!(figures[..2], [json!(false), json!(0)], "{reported}");
    assert!(figures[2].is_u64());

    // What is repeated, stale or out of order changes nothing.
    let version = scene.broker.shadow("robot1", "iot-bridge")["version"].as_u64().unwrap();
    for (version, wish) in [(version, "7"), (version - 1, "6"), (1, "1")] {
        let payload = json!({"version": version, "state": topics(wish, &["/stale"])}).to_string().into();
        let topic = "$aws/things/robot1/shadow/name/iot-bridge/update/delta".to_owned();
        scene.broker.publish(Message { topic, payload, ..Message::default() });
    }

    // A reload of the files keeps what the cloud has set.
    program.reload();
    program.await_log("The configuration is reloaded: 0 topics added, 0 removed, 0 changed.");
    let stream = stream.stop();
    let published = stream.count;
    let steady = |report: &Report| report.topics.iter().find(|topic| topic.ros == "/steady").unwrap().clone();
    let report = program.await_report(|report| steady(report).acknowledged as usize == published);
    assert_eq!((report.connection.connections, steady(&report).lost_in_dds), (1, 0));
    assert_eq!((names(&report), remote(&report).in_force.as_deref()), (vec!["/new", "/steady"], Some("7")));
    let arrived = scene.numbers("robots/robot1/steady");
    assert!(arrived.into_iter().eq(0..published), "something is missing, twice or out of order");
    drop(stream);

    assert_eq!(program.terminate().code(), Some(0));
    scene.stage.link.shut().await;
    let mut program = scene.start(&path);
    let report = program.report();
    assert_eq!((names(&report), remote(&report).in_force.as_deref()), (vec!["/new", "/steady"], Some("7")));
    assert!(!report.connection.phase.is_connected());
    scene.stage.link.reopen().await;
    program.await_note("STATUS=Connected.");

    // The files do not allow it any more.
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("[remote]", "[remote]\nallow = []")).unwrap();
    program.reload();
    let is_rejected = |reported: &Value, why: &str| {
        let problem = reported["problems"][0].as_str().unwrap_or_default();
        reported["version"] == "7" && reported["state"] == "rejected" && problem.contains(why)
    };
    scene.await_reported(|reported| is_rejected(reported, "remote.allow"));
    let report = program.report();
    assert_eq!((names(&report), remote(&report).in_force.as_deref()), (vec!["/steady", "/old"], None));
    assert_eq!(program.terminate().code(), Some(0));
    // It does not go with the files: there the bridge tells whether it is connected.
    std::fs::write(&path, format!("{text}[mqtt.presence]\ntopic = \"robots/{{thing}}/new\"\n")).unwrap();
    let mut program = scene.start(&path);
    let report = program.report();
    assert_eq!((names(&report), remote(&report).in_force.as_deref()), (vec!["/steady", "/old"], None));
    scene.await_reported(|reported| is_rejected(reported, "topics[0].mqtt"));
    assert!(program.await_log("version 7, is rejected, for 1 problem; the local one stays in force.").contains("WARN"));
    assert_eq!(program.terminate().code(), Some(0));
    std::fs::write(&path, text).unwrap();
    let mut program = scene.start(&path);
    assert_eq!(names(&program.report()), ["/new", "/steady"]);
    scene.await_state("7", "applied");

    scene.desire(&json!({}));
    let reported = scene.await_reported(|reported| reported["version"].is_null() && reported["state"] == "applied");
    assert_eq!(reported["config"], local["config"]);
    let report = program.await_report(|report| remote(report).in_force.is_none());
    assert_eq!(names(&report), ["/steady", "/old"]);
    assert_eq!(program.terminate().code(), Some(0));
}

/// Whoever can write the shadow sets topics, and nothing else: neither endpoint, keys nor commands come from there, and no file
/// outside of the state directory changes. What is wrong is rejected with all problems, and nothing is touched.
#[tokio::test(flavor = "multi_thread")]
async fn a_wish_that_is_wrong_changes_nothing() {
    let scene = Scene::set().await;
    let mut program = scene.start(&scene.configure("10 s"));
    scene.await_reported(|reported| reported["state"] == "applied");
    let elsewhere = scene.stage.directory.path().join("elsewhere");
    let before = files(scene.stage.directory.path());

    let secret = "-----BEGIN PRIVATE KEY-----MIIEvQIBADANBgkqhkiG9w0BAQEFAASC";
    let cases = [
        (json!({"topics": [{"ros": "/a b"}, {"ros": "/x", "qos": 7}]}), vec!["topics[0].ros", "topics[1].qos"]),
        (json!({"aws": {"endpoint": "evil.example.com", "private_key": elsewhere}}), vec!["aws"]),
        (json!({"topics": [entry("/x")], "mqtt": {"proxy": {"url": "http://evil.example.com"}}}), vec!["mqtt"]),
        (json!({"queue": {"directory": elsewhere}}), vec!["queue"]),
        (json!({"remote": {"allow": ["commands"]}, "health": {"metrics": "0.0.0.0:1"}}), vec!["remote", "health"]),
        (
            json!({"commands": [{"mqtt": "cmd", "ros": "/cmd_vel", "type": "geometry_msgs/msg/Twist"}]}),
            vec!["commands"],
        ),
        (json!({"topics": [{"ros": "/x", "private_key": secret}]}), vec!["topics[0].private_key"]),
        (json!({"topics": [{"ros": "/x", "mqtt": "a/#"}]}), vec!["topics[0].mqtt"]),
        (
            json!({"topics": [{"ros": "/x", "mqtt": "$aws/things/robot1/shadow/name/iot-bridge/update"}]}),
            vec!["topics[0].mqtt"],
        ),
        (json!({"topics": [{"ros": "/x", "mqtt": "$aws/things/{thing}/jobs/get"}]}), vec!["topics[0].mqtt"]),
        // The type is there, and has no such field.
        (
            json!({"topics": [{"ros": "/x", "type": "nav_msgs/msg/Odometry", "fields": ["pose", "poze"]}]}),
            vec!["topics[0].fields[1]"],
        ),
        (json!({"topics": {"ros": "/x"}}), vec!["topics"]),
        (json!({"topics": [[[[]]]]}), vec!["topics[0]"]),
        (json!({"topics": 7}), vec!["topics"]),
        (json!({}), vec![]),
        (json!("who knows"), vec!["config"]),
        (json!([1, 2]), vec!["config"]),
    ];
    for (number, (config, keys)) in cases.iter().enumerate() {
        let version = format!("case {number:02}");
        scene.desire(&json!({"version": version, "config": config}));
        let reported = scene.await_state(&version, "rejected");
        let problems: Vec<&str> = reported["problems"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        program.await_log(&format!("version {version}, is rejected, for "));
        let logged = program.log_lines(&version);
        for key in keys {
            assert!(problems.iter().any(|problem| problem.contains(key)), "{key} is not in {problems:?}");
            let is_logged = logged.iter().any(|line| line.contains("ERROR") && line.contains(key));
            assert!(is_logged, "{key} is not in {logged:?}");
        }
        assert!(problems.len() >= keys.len().max(1) && !format!("{problems:?}").contains("MIIEvQ"), "{problems:?}");
    }
    let report = program.report();
    assert_eq!((remote(&report).state, &remote(&report).in_force), (RemoteState::Rejected, &None));
    assert!(shown(&program).contains("was rejected"), "{}", shown(&program));
    assert_eq!(report.requests[0].outcomes["rejected"], cases.len() as u64);

    // What is no wish at all, and what is no JSON.
    for desired in [json!({"version": 7, "config": {"topics": []}}), json!({"config": {"topics": []}})] {
        scene.desire(&desired);
        scene.await_reported(|reported| reported["state"] == "rejected" && reported["version"].is_null());
    }
    let say = |what: &str, payload: String| {
        let topic = format!("$aws/things/robot1/shadow/name/iot-bridge/{what}");
        scene.broker.publish(Message { topic, payload: payload.into(), ..Message::default() });
    };
    say("get/accepted", "[".repeat(8192));
    say("update/delta", "\u{0}".repeat(8192));
    say("update/accepted", r#"{"state":"who knows"}"#.to_owned());
    program.await_report(|report| report.requests[0].outcomes["malformed"] >= 2);

    // Another schema has no `config`: nothing is desired.
    scene.desire(&json!({"welcome": "aws-iot"}));
    scene.await_reported(|reported| reported["state"] == "applied" && reported["version"].is_null());
    // As large as a shadow may be, with problems that do not fit beside it.
    let wrong: Vec<Value> = (0..100).map(|number| json!({"ros": format!("/{number} {}", "x".repeat(30))})).collect();
    scene.desire(&json!({"version": "large", "config": {"topics": wrong}}));
    let reported = scene.await_state("large", "rejected");
    assert!(reported.to_string().len() <= 2048, "{reported}");
    // A report that is refused once is made again.
    scene.broker.refuse_shadow_updates([409]);
    scene.desire(&topics("fine", &["/fine"]));
    let mut robot = Robot::start();
    let publisher = robot.publisher("/fine", 1);
    Robot::await_subscriber(&publisher);
    publish(&publisher, numbered(0));
    scene.await_state("fine", "applied");
    assert_eq!(names(&program.report()), ["/fine"]);
    let arrivals = scene.broker.record().arrivals;
    let is_report = |arrival: &&Arrival| {
        let said: Value = serde_json::from_slice(&arrival.payload).unwrap_or_default();
        arrival.topic.ends_with("/shadow/name/iot-bridge/update") && said["state"]["reported"]["version"] == "fine"
    };
    assert!(arrivals.iter().filter(is_report).count() >= 2, "none was refused");

    let report = program.report();
    assert_eq!(report.connection.connections, 1);
    assert_eq!(report.endpoint, format!("localhost:{}", scene.stage.link.port()));
    assert!(!elsewhere.exists());
    assert_eq!(files(scene.stage.directory.path()), before, "a file outside of the state directory has changed");
    assert_eq!(program.terminate().code(), Some(0));
}

/// The files below `directory` but for those of the state directory and of the queue, with what is in them.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for file in std::fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        match path.is_dir() {
            true if path.ends_with("state") || path.ends_with("queue") => {}
            true => found.extend(files(&path)),
            false => _ = found.insert(path.clone(), std::fs::read(&path).unwrap()),
        }
    }
    found
}

/// What nothing is acknowledged of is rolled back, with the reason, and not tried again: where the policy forbids all of it, at
/// once. What has nothing to send is confirmed by its report.
#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_is_acknowledged_of_is_rolled_back() {
    let scene = Scene::set().await;
    let path = scene.configure("4 s");
    let mut program = scene.start(&path);
    scene.await_reported(|reported| reported["state"] == "applied");
    let mut robot = Robot::start();
    let publishers = ["/steady", "/forbidden"].map(|topic| robot.publisher(topic, 100));
    let stream = Stream::start(robot, publishers.into(), 20, usize::MAX);

    scene.desire(&topics("quiet", &["/quiet", "/steady"]));
    scene.await_state("quiet", "applied");
    scene.desire(&topics("silent", &["/silent"]));
    scene.await_state("silent", "applied");

    scene.broker.forbid("robots/robot1/forbidden");
    scene.desire(&topics("forbidden", &["/forbidden"]));
    let reported = scene.await_state("forbidden", "rolled_back");
    let problem = reported["problems"][0].as_str().unwrap();
    assert!(problem.contains("/forbidden") && problem.contains("policy"), "{problem}");
    let line = program.await_log("version forbidden, is rolled back; that of the shadow iot-bridge, version silent, is in force again. The broker");
    assert!(line.contains("ERROR") && line.contains(problem), "{line}");
    let report = program.await_report(|report| remote(report).state == RemoteState::RolledBack);
    assert_eq!((names(&report)[0], remote(&report).in_force.as_deref()), ("/silent", Some("silent")));
    assert!(shown(&program).contains("was rolled back"), "{}", shown(&program));
    program.await_note("The configuration forbidden of the shadow iot-bridge was rolled back: ");

    // All PUBACKs are lost, so that of the report as well.
    scene.broker.ack_faults(AckFaults { lost: 1.0, ..AckFaults::default() });
    scene.desire(&topics("deaf", &["/steady"]));
    program.await_log("version deaf, is in force on trial");
    program.await_log("version deaf, is rolled back; ");
    let report = program.report();
    let problems = &remote(&report).problems;
    assert!(problems[0].starts_with("Nothing was acknowledged within 4 s"), "{problems:?}");
    scene.broker.ack_faults(AckFaults::default());
    scene.await_state("deaf", "rolled_back");

    // It is desired all the while, and not tried again: not after a restart either.
    program.terminate();
    let mut program = scene.start(&path);
    assert_eq!(remote(&program.report()).in_force.as_deref(), Some("silent"));
    program.await_report(|report| report.requests[0].shadow.as_ref().is_some_and(|shadow| shadow.delta.is_some()));
    assert!(program.log_lines("version deaf, is in force on trial").is_empty());
    // The same topics under another version are.
    scene.desire(&topics("heard", &["/steady"]));
    scene.await_state("heard", "applied");
    drop(stream.stop());
    assert_eq!(program.terminate().code(), Some(0));
}

/// Bridges side by side, so that fifty kills do not take fifty times as long as one.
const ROBOTS: usize = 5;
const KILLS_EACH: usize = 10;

/// SIGKILL at any moment of an update: each start comes up, with what was kept last, whole.
#[tokio::test(flavor = "multi_thread")]
async fn no_kill_leaves_a_bridge_without_a_configuration() {
    let scene = Scene::set().await;
    let mut robot = Robot::start();
    let publisher = robot.publisher("/steady", 100);
    let stream = Stream::start(robot, vec![publisher], 20, usize::MAX);
    let local = std::fs::read_to_string(scene.configure("10 s")).unwrap();
    std::thread::scope(|threads| {
        for number in 0..ROBOTS {
            let (scene, local) = (&scene, local.as_str());
            threads.spawn(move || killed_again_and_again(scene, local, number));
        }
    });
    drop(stream.stop());
}

/// `local` is the configuration of `robot1`, of which each has its own.
fn killed_again_and_again(scene: &Scene, local: &str, number: usize) {
    let thing = format!("robot{}", 10 + number);
    let directory = scene.stage.directory.path().join(&thing);
    std::fs::create_dir(&directory).unwrap();
    let files = scene.stage.authority.issue(&[&thing], Valid::Now).write(&directory, &thing);
    let own = local
        .replace("thing = \"robot1\"", &format!("thing = \"{thing}\""))
        .replace(scene.stage.files.certificate.to_str().unwrap(), files.certificate.to_str().unwrap())
        .replace(scene.stage.files.private_key.to_str().unwrap(), files.private_key.to_str().unwrap())
        .replace(scene.stage.queue().to_str().unwrap(), directory.join("queue").to_str().unwrap())
        .replace("[mqtt.reconnect]", &format!("[ros]\nnode_name = \"{thing}\"\n[mqtt.reconnect]"));
    let path = directory.join("config.toml");
    std::fs::write(&path, own).unwrap();
    let kept = directory.join("remote.json");
    let mut random = StdRng::seed_from_u64(number as u64);
    let desire = |round: usize| {
        // Of each version another topic goes with the one that speaks.
        let desired = topics(&round.to_string(), &["/steady", &format!("/extra{round}")]);
        scene.broker.update_shadow(&thing, "iot-bridge", json!({"desired": desired}));
    };
    for round in 0..KILLS_EACH {
        let expected = expected_after(&directory);
        desire(round);
        let mut program = start_and_await_status(&path);
        let started = std::fs::read(&kept).ok();
        // What is newly desired may have come already.
        program.await_report(|report| {
            is_whole(report, |in_force| *in_force == expected || *in_force == Some(round.to_string()))
        });
        // Half of them as soon as something of the update is on the disk, the others at any time before or after it is confirmed,
        // which takes a quarter of `confirm` at least.
        let until = Instant::now() + Duration::from_millis(random.gen_range(0..4000));
        let at_once = random.r#gen::<bool>();
        while Instant::now() < until && !(at_once && std::fs::read(&kept).ok() != started) {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(random.gen_range(0..50)));
        program.signal("KILL");
        program.wait();
        // What it has said to be confirmed is not lost.
        let last = program.log_lines(", is confirmed.").pop();
        if let Some(confirmed) =
            last.and_then::<usize, _>(|line| line.split_once("version ")?.1.split(',').next()?.parse().ok())
        {
            let kept = expected_after(&directory);
            let is_kept = kept.as_ref().is_some_and(|kept| kept.parse::<usize>().is_ok_and(|kept| kept >= confirmed));
            let all = Store::new(directory.clone()).look();
            assert!(
                is_kept,
                "{confirmed} was confirmed, and this is kept: {all:?}; {:?}",
                program.log_lines("version")
            );
        }
    }
    desire(KILLS_EACH);
    let mut program = start_and_await_status(&path);
    let is_applied = |report: &Report| {
        let remote = remote(report);
        (remote.state, remote.version.as_deref()) == (RemoteState::Applied, Some(&*KILLS_EACH.to_string()))
    };
    program.await_report(is_applied);
    assert_eq!(program.terminate().code(), Some(0));
}

/// It is ready before its status can be asked for.
fn start_and_await_status(path: &Path) -> Program {
    let program = Program::start(path);
    let deadline = Instant::now() + PATIENCE;
    while !program.runtime_directory().join("status.sock").exists() {
        assert!(Instant::now() < deadline, "there is no status");
        std::thread::sleep(Duration::from_millis(1));
    }
    program
}

/// Whether what `is_allowed` says is in force, and the topics are those of that version.
fn is_whole(report: &Report, is_allowed: impl Fn(&Option<String>) -> bool) -> bool {
    let in_force = &remote(report).in_force;
    let second = in_force.as_ref().map_or("/old".to_owned(), |version| format!("/extra{version}"));
    is_allowed(in_force) && names(report) == ["/steady", &second]
}

/// The version that a start begins with after what is kept: what is on trial, unless it has been so too often, or what is confirmed.
fn expected_after(directory: &Path) -> Option<String> {
    let kept = Store::new(directory.to_owned()).look().expect("what is kept is whole");
    let version = |wish: &Wish| Some(wish.version.clone());
    match kept.trial {
        Some(trial) if trial.attempts < 2 => version(&trial.wish),
        _ => kept.confirmed.as_ref().and_then(version),
    }
}
