//! Device shadows, through a broker that behaves as AWS IoT Core does, to real nodes of ROS.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::support::aws_broker::{AwsBroker, Limits, Message};
use crate::support::controller::Controller;
use crate::support::program::{PATIENCE, Program};
use crate::support::rclpy::Rclpy;
use crate::support::robot::{Robot, publish};
use crate::support::stage::Stage;
use iot_bridge::health::Report;
use iot_bridge::health::report::Topic;

const PAGE: &str = include_str!("../docs/shadows.md");

const QUICK: &str = "[mqtt.reconnect]\ninitial = \"1 s\"\nmax = \"1 s\"\n";

struct Scene {
    stage: Stage,
    broker: AwsBroker,
}

impl Scene {
    async fn set() -> Scene {
        let (stage, broker) = Stage::set_with_aws(Limits::documented()).await;
        Scene { stage, broker }
    }

    fn configure(&self, shadows: &str) -> PathBuf {
        self.stage.configure(&format!("{QUICK}{shadows}"))
    }

    /// Waits until the shadow called `name` is so.
    fn await_shadow(&self, name: &str, desired: &Value, reported: &Value) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shadow = self.broker.shadow("robot1", name);
            if shadow["desired"] == *desired && shadow["reported"] == *reported {
                return;
            }
            assert!(Instant::now() < deadline, "the shadow is {shadow}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// What stands on the page in the block of this language.
fn block(language: &str) -> &'static str {
    PAGE.split_once(&format!("```{language}\n")).unwrap().1.split_once("```").unwrap().0
}

/// docs/shadows.md's example: the cloud wishes a digit, the page's node of rclpy turns its dial there and reports where it is, and
/// the wish is cleared. What was wished before the node was there waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_has_an_example_that_works() {
    let scene = Scene::set().await;
    let mut program = Program::start(&scene.configure(block("toml")));
    program.await_note("STATUS=Connected.");
    scene.broker.update_shadow("robot1", "dial", json!({"desired": {"digit": 42}}));
    program.await_report(|report| report.requests[0].shadow.as_ref().is_some_and(|shadow| shadow.delta.is_some()));
    assert_eq!(scene.broker.shadow("robot1", "dial")["desired"], json!({"digit": 42}), "it was cleared unseen");

    let _dial = Rclpy::run(block("python"));
    scene.await_shadow("dial", &json!({}), &json!({"digit": 42}));
    scene.broker.update_shadow("robot1", "dial", json!({"desired": {"digit": 41}}));
    scene.await_shadow("dial", &json!({}), &json!({"digit": 41}));
    assert_eq!(program.report().requests[0].outcomes["delivered"], 2);
    program.terminate();
}

/// Two shadows of the thing; what one reports is forwarded too.
const SHADOWS: &str = r#"
[[topics]]
ros = "/robot_state"
payload = "data"
[[shadows]]
name = "state"
report = "/robot_state"
report_rate = "20 Hz"
desired = "/desired_state"
[[shadows]]
desired = "/wish"
desired_type = "geometry_msgs/msg/Twist"
"#;

/// How often this has been an outcome of the entry `number`.
fn outcome(report: &Report, number: usize, name: &str) -> u64 {
    report.requests[number].outcomes.get(name).copied().unwrap_or(0)
}

impl Scene {
    /// What the bridge has said to the shadow called `name`, without tokens.
    fn updates(&self, name: &str) -> Vec<Value> {
        let topic = format!("$aws/things/robot1/shadow/name/{name}/update");
        let of_it = self.broker.record().arrivals.into_iter().filter(|arrival| arrival.topic == topic);
        let read = |payload: Bytes| serde_json::from_slice::<Value>(&payload).unwrap()["state"].clone();
        of_it.map(|arrival| read(arrival.payload)).collect()
    }

    /// The service says `payload` to the shadow `state`.
    fn say(&self, what: &str, payload: &str) {
        let topic = format!("$aws/things/robot1/shadow/name/state/{what}");
        self.broker.publish(Message { topic, payload: payload.to_owned().into(), ..Message::default() });
    }
}

/// Reports: only what has changed is sent, what is refused is not sent again, what is too large is never sent; the topic is
/// forwarded beside it, and reloads take reports away and bring them back.
#[tokio::test(flavor = "multi_thread")]
async fn reports_become_reported() {
    let scene = Scene::set().await;
    let path = scene.configure(SHADOWS);
    let mut program = Program::start(&path);
    let mut robot = Robot::start();
    let publisher = robot.publisher("/robot_state", 10);
    Robot::await_subscribers(&publisher, 2);
    program.await_report(|report| report.requests[0].shadow.is_some() && report.connection.phase.is_connected());
    let say = |state: &Value| publish(&publisher, state.to_string());
    let nothing = json!({});
    for state in [
        json!({"mode": "idle", "battery": {"percent": 50, "volts": 24.5}, "path": [1, 2]}),
        json!({"mode": "idle", "battery": {"percent": 49, "volts": 24.5}, "path": [1, 2]}),
        json!({"mode": "idle", "battery": {"percent": 49}, "path": [3]}),
    ] {
        say(&state);
        scene.await_shadow("state", &nothing, &state);
    }
    let sent = [
        json!({"reported": {"mode": "idle", "battery": {"percent": 50, "volts": 24.5}, "path": [1, 2]}}),
        json!({"reported": {"battery": {"percent": 49}}}),
        json!({"reported": {"battery": {"volts": null}, "path": [3]}}),
    ];
    assert_eq!(scene.updates("state"), sent);

    scene.broker.refuse_shadow_updates([400]);
    say(&json!({"mode": "odd"}));
    let line =
        program.await_log("has refused an update of the shadow state, which is not sent again unless it changes: 400");
    assert!(line.contains("WARN") && !line.contains("odd"), "{line}");
    say(&json!({"mode": "odd"}));
    say(&json!({"log": "x".repeat(9000)}));
    let line = program.await_log("A message is not reported in the shadow state: ");
    assert!(line.contains("bytes of `reported`; a shadow holds 8192") && !line.contains("xxx"), "{line}");
    assert_eq!(scene.updates("state").len(), 4);
    say(&json!({"mode": "fine"}));
    scene.await_shadow("state", &nothing, &json!({"mode": "fine"}));
    let report = program.await_report(|report| outcome(report, 0, "updated") == 4);
    assert_eq!((outcome(&report, 0, "rejected"), outcome(&report, 0, "too_large")), (1, 1));
    let shadow = report.requests[0].shadow.clone().unwrap();
    assert_eq!((shadow.version, shadow.updated.is_some(), shadow.delta), (Some(4), true, None));
    let shown = String::from_utf8(program.status().output().unwrap().stdout).unwrap();
    assert!(shown.contains("shadow $aws/things/{thing}/shadow/name/state for /desired_state"), "{shown}");
    assert!(shown.contains("version 4, last update "), "{shown}");

    // A reload takes the report away, and brings it back; the topic is forwarded all the while.
    std::fs::write(&path, std::fs::read_to_string(&path).unwrap().replace("\nreport", "\n#report")).unwrap();
    program.reload();
    Robot::await_count(&publisher, |found| found == 1);
    say(&json!({"mode": "unseen"}));
    std::fs::write(&path, std::fs::read_to_string(&path).unwrap().replace("\n#report", "\nreport")).unwrap();
    program.reload();
    Robot::await_subscribers(&publisher, 2);
    say(&json!({"mode": "seen"}));
    scene.await_shadow("state", &nothing, &json!({"mode": "seen"}));
    let is_account_right = |report: &Report| {
        let replies: Vec<_> = report.topics.iter().filter(|topic| topic.ros.starts_with("$aws/")).collect();
        let forwarded = report.topics.iter().find(|topic| topic.ros == "/robot_state").unwrap();
        let all = |topic: &&Topic| topic.received > 0 && topic.received == topic.acknowledged;
        forwarded.received == 9 && forwarded.acknowledged == 9 && replies.len() == 2 && replies.iter().all(all)
    };
    program.await_report(is_account_right);
    assert!(!format!("{:?}", scene.updates("state")).contains("unseen"));
    program.terminate();
}

/// Wishes: each reaches ROS and is cleared; what comes late or is garbage is dropped; a conflict is resolved; what was wished
/// while the link was down comes with the next connection; a wish that does not fit its type stays in the shadow.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_desired_reaches_ros_and_is_cleared() {
    let scene = Scene::set().await;
    let mut program = Program::start(&scene.configure(SHADOWS));
    let texts = Controller::start("/desired_state", "std_msgs/msg/String");
    let twists = Controller::start("/wish", "geometry_msgs/msg/Twist");
    program.await_report(|report| {
        report.requests.iter().all(|entry| entry.peers == Some(1) && entry.shadow.is_some())
            && report.connection.phase.is_connected()
    });
    let wish = |name: &str, desired: Value| scene.broker.update_shadow("robot1", name, json!({ "desired": desired }));
    let heard = || serde_json::from_str::<Value>(texts.next().message["data"].as_str().unwrap()).unwrap();
    let nothing = json!({});
    // How many requests of a shadow the service has taken. Once it was asked for, wishes come as deltas.
    let taken = |report: &Report, is_named: bool| {
        let mut topics = report.topics.iter().filter(|topic| topic.ros.starts_with("$aws/"));
        topics.find(|topic| topic.ros.contains("/name/") == is_named).map_or(0, |topic| topic.acknowledged)
    };
    program.await_report(|report| taken(report, true) == 1 && taken(report, false) == 1);

    wish("state", json!({"digit": 1, "lamp": {"on": true}}));
    assert_eq!(heard(), json!({"digit": 1, "lamp": {"on": true}}));
    program.await_report(|report| outcome(report, 0, "updated") == 1);
    assert_eq!(scene.updates("state"), [json!({"desired": {"digit": null, "lamp": {"on": null}}})]);

    // Late, twice, and what is no delta.
    scene.say("update/delta", r#"{"version":1,"state":{"digit":7}}"#);
    scene.say("update/delta", r#"{"version":[],"state":"who knows"}"#);
    scene.say("get/accepted", &"[".repeat(8192));
    scene.say("update/rejected", "\u{0}");
    let report = program.await_report(|report| outcome(report, 0, "malformed") == 3);
    assert_eq!(outcome(&report, 0, "stale"), 1);

    // The clearing is refused as if somebody had written meanwhile.
    scene.broker.refuse_shadow_updates([409]);
    wish("state", json!({"digit": 2}));
    assert_eq!(heard(), json!({"digit": 2}));
    program.await_report(|report| outcome(report, 0, "conflict") == 1 && outcome(report, 0, "updated") == 2);

    scene.stage.link.shut().await;
    wish("state", json!({"digit": 3}));
    wish("state", json!({"digit": 4}));
    scene.stage.link.reopen().await;
    assert_eq!(heard(), json!({"digit": 4}));
    program.await_report(|report| outcome(report, 0, "updated") == 3);
    let shadow = scene.broker.shadow("robot1", "state");
    assert!(!shadow["desired"].to_string().contains("digit"), "{shadow}");

    program.await_report(|report| taken(report, false) == 2);
    wish("", json!({"linear": {"x": 0.5}}));
    let expected = json!({"linear": {"x": 0.5, "y": 0.0, "z": 0.0}, "angular": {"x": 0.0, "y": 0.0, "z": 0.0}});
    assert_eq!(twists.next().message, expected);
    program.await_report(|report| outcome(report, 1, "updated") == 1);
    wish("", json!({"linear": {"speed": 0.5}}));
    let line = program.await_log("What is desired in the classic shadow does not fit its type and stays there: ");
    assert!(line.contains("WARN") && line.contains("linear.speed"), "{line}");
    let report = program.await_report(|report| outcome(report, 1, "malformed") == 1);
    assert!(report.requests[1].last_refused.as_ref().unwrap().detail.contains("linear.speed"));
    assert_eq!(scene.broker.shadow("robot1", "")["desired"], json!({"linear": {"speed": 0.5}}));
    assert_eq!((texts.rest(), twists.rest()), (vec![], vec![]), "something came twice, or what should not come");
    // Asked for once on each connection, of each shadow; after the conflict; and after the clearing of what a delta had, of each
    // shadow one, as more may be left of a wish.
    let gets = || scene.broker.record().arrivals.iter().filter(|arrival| arrival.topic.ends_with("/get")).count();
    program.await_report(|_| gets() >= 2 * 2 + 1 + 2);
    assert_eq!(gets(), 2 * 2 + 1 + 2);
    assert_eq!(nothing, scene.broker.shadow("robot1", "state")["reported"]);
    program.terminate();
}
