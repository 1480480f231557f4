//! Commands from the cloud, through a broker that behaves as AWS IoT Core does, to real nodes of ROS.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rumqttc::v5::mqttbytes::v5::PubAckReason;
use serde_json::{Value, json};

use crate::support::aws_broker::{AwsBroker, Limits, Message};
use crate::support::controller::{Controller, Heard};
use crate::support::program::Program;
use crate::support::robot::{Robot, Stream};
use crate::support::stage::Stage;
use iot_bridge::health::Report;
use iot_bridge::health::report::{Request, State};

const TWIST: &str = "geometry_msgs/msg/Twist";
const CMD_VEL: &str = "robots/robot1/cmd_vel";
const QUICK: &str = "[mqtt.reconnect]\ninitial = \"1 s\"\nmax = \"1 s\"\n";

/// An entry that drives a robot; `rest` follows.
fn drive(rest: &str) -> String {
    format!("[[commands]]\nmqtt = \"robots/{{thing}}/cmd_vel\"\nros = \"/cmd_vel\"\ntype = \"{TWIST}\"\n{rest}\n")
}

struct Scene {
    stage: Stage,
    broker: AwsBroker,
}

impl Scene {
    async fn set() -> Scene {
        let (mut stage, mut broker) = Stage::set_with_aws(Limits::documented()).await;
        stage.observer.watch(&mut broker.messages);
        Scene { stage, broker }
    }

    /// Sends `payload` to the topic of [`drive`], with QoS 0.
    fn send(&self, payload: &str) {
        let (topic, payload) = (CMD_VEL.to_owned(), Bytes::from(payload.to_owned()));
        self.broker.send_direct("robot1", Message { topic, payload, ..Message::default() });
    }

    /// The next message that the bridge publishes, as JSON.
    async fn next(&mut self) -> (String, Value) {
        let (topic, payload) = self.stage.observer.next().await;
        (topic, serde_json::from_slice(&payload).unwrap())
    }

    /// Sends `payload` and returns the reply.
    async fn ask(&mut self, payload: &str) -> Value {
        self.send(payload);
        let (topic, reply) = self.next().await;
        assert_eq!(topic, format!("{CMD_VEL}/reply"));
        reply
    }
}

fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64
}

/// How the only entry stands.
fn entry(report: &Report) -> &Request {
    &report.requests[0]
}

/// Waits until somebody takes commands.
fn await_subscriber(program: &Program) {
    program.await_report(|report| entry(report).peers == Some(1));
}

fn speed(heard: &Heard) -> f64 {
    heard.message["linear"]["x"].as_f64().unwrap()
}

/// A configuration of a command alone: what is accepted reaches ROS with its defaults and is answered; everything else is
/// answered with its reason, counted, shown and logged, and reaches nobody. A response topic and correlation data take the place
/// of `reply`.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_published_or_refused_with_a_reason() {
    let mut scene = Scene::set().await;
    let settings = "payload = \"envelope\"\nqos = 1\nmax_rate = \"1 Hz\"\nmax_age = \"1 h\"\n\
                    limits = { \"linear.x\" = [-0.5, 0.5] }\nreply = \"robots/{thing}/cmd_vel/reply\"";
    let mut program = Program::start(&scene.stage.configure(&format!("{QUICK}{}", drive(settings))));
    program.await_note("STATUS=Connected.");
    program.await_report(|report| entry(report).peers == Some(0));
    let envelope = |id: u32, msg: &str| format!(r#"{{"id":{id},"sent":{},"msg":{msg}}}"#, now_ns());
    let refused = |reply: &Value, reason: &str| {
        assert_eq!((&reply["accepted"], &reply["reason"]), (&json!(false), &json!(reason)), "{reply}");
        assert!(reply["detail"].as_str().is_some_and(|detail| detail.len() > 5), "{reply}");
    };
    refused(&scene.ask(&envelope(1, "{}")).await, "unavailable");

    let controller = Controller::start("/cmd_vel", TWIST);
    await_subscriber(&program);
    // With QoS 1, upon a response topic of its own.
    let command = Message {
        topic: CMD_VEL.to_owned(),
        payload: envelope(2, r#"{"linear":{"x":0.25},"angular":{"z":-1}}"#).into(),
        qos: 1,
        response_topic: Some("cloud/answers".to_owned()),
        correlation_data: Some(Bytes::from_static(b"which")),
        ..Message::default()
    };
    scene.broker.publish(command);
    assert_eq!(scene.next().await, ("cloud/answers".to_owned(), json!({"accepted": true})));
    let heard = controller.next().message;
    let expected = json!({"linear": {"x": 0.25, "y": 0.0, "z": 0.0}, "angular": {"x": 0.0, "y": 0.0, "z": -1.0}});
    assert_eq!(heard, expected);
    let answer = scene.broker.record().arrivals.into_iter().next_back().unwrap();
    assert_eq!(answer.properties.correlation_data.as_deref(), Some(&b"which"[..]));
    let acknowledged = || scene.broker.record().pubacks.iter().any(|(_, reason)| *reason == PubAckReason::Success);
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !acknowledged() {
        assert!(std::time::Instant::now() < deadline, "no PUBACK");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    refused(&scene.ask(&envelope(3, "{}")).await, "too_fast");
    refused(&scene.ask(&envelope(2, "{}")).await, "duplicate");
    let unknown = scene.ask(&envelope(4, r#"{"linear":{"speed":"secret words"}}"#)).await;
    refused(&unknown, "malformed");
    assert!(unknown["detail"].as_str().unwrap().contains("linear.speed"), "{unknown}");
    refused(&scene.ask(&envelope(5, r#"{"linear":{"x":0.51}}"#)).await, "out_of_limits");
    let old = now_ns() - 2 * 3600 * 1_000_000_000;
    refused(&scene.ask(&format!(r#"{{"id":6,"sent":{old},"msg":{{}}}}"#)).await, "too_old");
    let last = scene.ask(r#"{"id":"x""#).await;
    refused(&last, "malformed");
    assert_eq!(controller.rest(), [], "nothing that was refused reaches the robot");

    let report = program.await_report(|report| report.topics[0].acknowledged == 8);
    let request = entry(&report);
    let counts: Vec<_> = request.outcomes.iter().map(|(outcome, count)| (outcome.as_str(), *count)).collect();
    let expected = [
        ("accepted", 1),
        ("duplicate", 1),
        ("malformed", 2),
        ("out_of_limits", 1),
        ("retained", 0),
        ("too_fast", 1),
        ("too_old", 1),
        ("unavailable", 1),
    ];
    assert_eq!(counts, expected);
    assert_eq!(request.last_accepted.as_ref().unwrap().id.as_deref(), Some("2"));
    assert_eq!(request.last_refused.as_ref().unwrap().reason, "malformed");
    let replies = &report.topics[0];
    assert_eq!(
        (&*replies.ros, &*replies.mqtt, &replies.state),
        (CMD_VEL, "robots/robot1/cmd_vel/reply", &State::Replies)
    );
    assert_eq!((replies.received, replies.dropped_in_all(), replies.queued), (8, 0, 0));
    let status = String::from_utf8(program.status().output().unwrap().stdout).unwrap();
    for part in ["From the cloud", "command robots/robot1/cmd_vel for /cmd_vel, 1 subscriber; 1 accepted", "(id 2)"] {
        assert!(status.contains(part), "{status}");
    }
    let line = program.await_log("was refused as malformed");
    assert!(line.contains("WARN") && line.contains("linear.speed"), "{line}");
    assert_eq!(program.log_lines("was refused as malformed").len(), 1, "once a minute");
    assert_eq!(program.log_lines("secret words"), Vec::<String>::new());
    assert_eq!(program.terminate().code(), Some(0));
}

/// The robot is stopped `after` the last command, whether the link stands or not, once; and at once when the command goes from
/// the configuration and when the process stops, before what is queued is sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_robot_is_stopped_when_commands_stay_away() {
    const AFTER: Duration = Duration::from_millis(400);
    let scene = Scene::set().await;
    let with = |after: &str| {
        let silence = format!("on_silence = {{ after = \"{after}\", message = {{ angular = {{ z = 9 }} }} }}\n");
        format!("{QUICK}{}", drive(&format!("{silence}reply = \"robots/{{thing}}/cmd_vel/reply\"")))
    };
    let mut program = Program::start(&scene.stage.configure(&with("400 ms")));
    program.await_note("STATUS=Connected.");
    let controller = Controller::start("/cmd_vel", TWIST);
    await_subscriber(&program);
    assert_eq!(controller.rest(), [], "nothing is stopped before a first command");
    let is_stop = |heard: &Heard| heard.message["angular"]["z"] == 9.0;
    let drives = |speed_wanted: f64| {
        scene.send(&format!(r#"{{"linear":{{"x":{speed_wanted}}}}}"#));
        let heard = controller.next();
        assert_eq!(speed(&heard), speed_wanted);
        heard.at
    };
    let stops = |since: Duration| {
        let heard = controller.next();
        assert!(is_stop(&heard), "{heard:?}");
        heard.at - since
    };
    let silence = stops(drives(0.2));
    println!("stopped {silence:?} after the last command");
    // To the millisecond it is held by tests without a robot, which hears the one or the other message late.
    let is_in_time = |silence: Duration| silence >= AFTER / 2 && silence < AFTER * 4;
    assert!(is_in_time(silence), "{silence:?}");

    let last = drives(0.3);
    scene.stage.link.shut().await;
    let silence = stops(last);
    println!("stopped {silence:?} after the last command, with the link cut");
    assert!(is_in_time(silence), "{silence:?}");
    program.await_note("STATUS=Not connected");
    scene.stage.link.reopen().await;
    program.await_note("STATUS=Connected.");
    assert_eq!(controller.rest(), [], "once");

    // From here on it is not the time that stops the robot.
    scene.stage.configure(&with("1 h"));
    program.reload();
    await_subscriber(&program);
    drives(0.4);
    scene.stage.configure(&format!("{QUICK}[[topics]]\nros = \"/other\"\n"));
    program.reload();
    assert!(is_stop(&controller.next()));
    program.await_report(|report| report.requests.is_empty());
    scene.stage.configure(&with("50 min"));
    program.reload();
    program.await_report(|report| report.requests.first().is_some_and(|entry| entry.peers == Some(1)));
    drives(0.5);
    // A file that can't be read holds up neither a reload nor the end.
    let certificate = &scene.stage.files.certificate;
    let kept = std::fs::read(certificate).unwrap();
    std::fs::remove_file(certificate).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(certificate).status().unwrap().success());
    scene.stage.configure(&with("1 h"));
    program.signal("HUP");
    assert!(is_stop(&controller.next()), "also when it changes");
    program.await_report(|report| entry(report).peers == Some(1));
    drives(0.6);
    // What can't be sent keeps the process from ending, and not the robot from stopping.
    scene.stage.link.pause();
    scene.broker.freeze("robot1");
    let signalled = Duration::from_nanos(now_ns() as u64);
    program.signal("TERM");
    let stop = controller.next();
    assert!(is_stop(&stop), "{stop:?}");
    std::fs::write(certificate, kept).unwrap();
    program.wait();
    let (stopped, ended) = (stop.at.saturating_sub(signalled), Duration::from_nanos(now_ns() as u64) - signalled);
    println!("stopped {stopped:?} after SIGTERM, the process {ended:?} after it");
    assert!(stopped * 3 < ended, "{stopped:?} of {ended:?}");
}

/// Retained messages are never commands, not even on a subscription; a command on a subscription is.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_has_kept_is_no_command() {
    let mut scene = Scene::set().await;
    let command = |retain, payload: &'static str| Message {
        topic: CMD_VEL.to_owned(),
        payload: payload.into(),
        qos: 1,
        retain,
        ..Message::default()
    };
    scene.broker.publish(command(true, r#"{"linear":{"x":1}}"#));
    let settings = "reply = \"robots/{thing}/cmd_vel/reply\"";
    let mut program = Program::start(&scene.stage.configure(&format!("{QUICK}{}", drive(settings))));
    let controller = Controller::start("/cmd_vel", TWIST);
    let (_, reply) = scene.next().await;
    assert_eq!((&reply["accepted"], &reply["reason"]), (&json!(false), &json!("retained")), "{reply}");
    await_subscriber(&program);
    scene.broker.publish(command(false, r#"{"linear":{"x":2}}"#));
    assert_eq!(speed(&controller.next()), 2.0);
    assert_eq!(program.terminate().code(), Some(0));
}

/// Commands at 10 Hz beside telemetry at the full quota: each reaches ROS, in order, and of telemetry nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn telemetry_does_not_hold_commands_up() {
    const COMMANDS: u32 = 20;
    let scene = Scene::set().await;
    let telemetry = "[[topics]]\nros = \"/telemetry\"\npayload = \"data\"\ndepth = 1000\nbatch = { max = 50 }\n";
    let mut program = Program::start(&scene.stage.configure(&format!("{QUICK}{telemetry}{}", drive(""))));
    program.await_note("STATUS=Connected.");
    let controller = Controller::start("/cmd_vel", TWIST);
    await_subscriber(&program);
    let mut robot = Robot::start();
    let publisher = robot.publisher("/telemetry", 1000);
    Robot::await_subscriber(&publisher);
    let stream = Stream::start(robot, vec![publisher], 500, usize::MAX);
    let mut took = Vec::new();
    for number in 0..COMMANDS {
        let sent = Duration::from_nanos(now_ns() as u64);
        scene.send(&format!(r#"{{"linear":{{"x":{number}}}}}"#));
        let heard = controller.next();
        assert_eq!(speed(&heard), f64::from(number));
        took.push(heard.at - sent);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    took.sort_unstable();
    println!("commands took {:?} at the median, {:?} at most", took[took.len() / 2], took[took.len() - 1]);
    assert!(took[took.len() / 2] < Duration::from_millis(200), "{took:?}");
    // As long as it is there, its publisher sees to it that the last message arrives.
    let stream = stream.stop();
    let published = stream.count as u64;
    let report = program.await_report(|report| report.topics[0].acknowledged == published);
    assert_eq!((report.topics[0].dropped_in_all(), report.topics[0].lost_in_dds), (0, 0));
    assert_eq!(entry(&report).outcomes["accepted"], u64::from(COMMANDS));
    assert_eq!(program.terminate().code(), Some(0));
}
