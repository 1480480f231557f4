//! `iot-bridge check --connect`: what the broker says before anything depends on it, and no running bridge disturbed.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::aws_broker::{Account, AwsBroker, Fleet, Limits, WithoutMqtt5};
use crate::support::certificates::{Authority, IdentityFiles, Valid};
use crate::support::domain;
use crate::support::program::{Program, command};
use crate::support::robot::{Robot, numbered, publish};
use crate::support::stage::Stage;
use iot_bridge_core::config::Version;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::spawn_blocking;

/// `check --config CONFIG --connect OPTIONS`, where no bridge has a status socket unless `beside` is one.
async fn check(config: &Path, options: &[&str], beside: Option<&Program>) -> Output {
    let mut check = command();
    check.args(["check", "--connect", "--config"]).arg(config).args(options);
    check.env("RUNTIME_DIRECTORY", beside.map_or(Path::new("/nowhere"), Program::runtime_directory));
    // The test's broker goes on meanwhile.
    spawn_blocking(move || check.output().unwrap()).await.unwrap()
}

/// The `connection` of `check --connect --json`, and the exit status.
async fn report(config: &Path, options: &[&str], beside: Option<&Program>) -> (Value, i32) {
    let output = check(config, &[options, &["--json"]].concat(), beside).await;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    assert_eq!(report["ok"], true, "{report:#}");
    (report["connection"].clone(), output.status.code().unwrap())
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn verdicts(connection: &Value) -> Vec<(&str, &str)> {
    let topics = connection["topics"].as_array().expect("topics");
    topics.iter().map(|topic| (topic["mqtt"].as_str().unwrap(), topic["verdict"].as_str().unwrap())).collect()
}

fn without(config: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(config).unwrap();
    assert!(text.contains(from), "{from}: {text}");
    fs::write(config, text.replace(from, to)).unwrap();
}

/// With a real broker each step is told. Nothing is published unless it is asked for; then the message says what it is.
#[tokio::test(flavor = "multi_thread")]
async fn each_step_is_told() {
    let mut stage = Stage::set().await;
    let config = stage.configure("[[topics]]\nros = \"/odom\"\n[mqtt.presence]\ntopic = \"robots/{thing}/presence\"\n");
    let output = check(&config, &[], None).await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let text = said(&output);
    let port = stage.link.port();
    for line in [
        "# The configuration is valid.".to_owned(),
        format!("# The connection to localhost:{port}:"),
        "#   client id  robot1, the configured one: no bridge runs here".to_owned(),
        format!("#   TCP        127.0.0.1:{port} answers"),
        "#   TLS        1.3; the broker's certificate is accepted".to_owned(),
        "#   MQTT       5; the broker accepts the client id".to_owned(),
        "#   topic      robots/robot1/odom: not known; nothing was published".to_owned(),
        "#   topic      robots/robot1/presence: never tried; it tells others that the bridge comes or goes".to_owned(),
        "#              Only a publish tells: --publish sends a test message to each topic.".to_owned(),
    ] {
        assert!(text.lines().any(|told| told == line), "{line}\n{text}");
    }
    assert!(text.lines().any(|line| line.starts_with("#   name       ") && line.contains("127.0.0.1")), "{text}");

    // What is printed is still a configuration.
    let printed = stage.directory.path().join("printed.toml");
    fs::write(&printed, &output.stdout).unwrap();
    let (connection, exit) = report(&printed, &["--publish"], None).await;
    assert_eq!(exit, 0, "{connection:#}");
    assert_eq!(verdicts(&connection), [("robots/robot1/odom", "allowed")]);
    for (field, value) in [("mqtt", "5"), ("tls", "1.3"), ("client_id", "robot1"), ("identity", "robot")] {
        assert_eq!(connection[field], value, "{connection:#}");
    }
    assert_eq!((&connection["ok"], &connection["bridge"]["state"]), (&true.into(), &"absent".into()));
    without(&config, "[mqtt.quotas]", "[mqtt]\nversion = \"3.1.1\"\n[mqtt.quotas]");
    let (connection, _) = report(&config, &["--publish"], None).await;
    assert_eq!((&connection["mqtt"], &connection["accepted"]), (&"3.1.1".into(), &true.into()));
    for _ in 0..2 {
        let (topic, payload) = stage.observer.next().await;
        let message: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(topic, "robots/robot1/odom");
        assert_eq!((&message["thing"], message["sent"].is_u64()), (&"robot1".into(), true), "{message}");
    }
    assert_eq!(stage.observer.rest(), []);
}

/// What keeps a connection from being made is said in the words of the status, with an exit status that tells what passes
/// by itself from what somebody has to mend, and within the time that is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn each_fault_is_named() {
    let stage = Stage::set().await;
    let config = stage.configure("[[topics]]\nros = \"/odom\"\n");
    let refused = |output: Output, exit: i32, sentence: &str| {
        let text = said(&output);
        assert_eq!(output.status.code(), Some(exit), "{text}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(sentence), "{sentence}\n{text}");
        assert!(!text.contains("the broker accepts"), "{text}");
    };

    stage.trust(&Authority::new("Another CA"));
    let root_ca = stage.root_ca();
    let sentence = format!(
        "No connection to localhost: the certificate of localhost is not signed by the root CA {}.",
        root_ca.display()
    );
    refused(check(&config, &[], None).await, 77, &sentence);
    refused(check(&config, &["--quiet"], None).await, 77, &sentence);
    stage.trust(&stage.authority);

    // The broker takes the certificates of this authority only.
    let stranger = Authority::new("Another CA").issue(&["robot1"], Valid::Now).write(stage.directory.path(), "robot1");
    assert_eq!(stranger.certificate, stage.files.certificate);
    refused(check(&config, &[], None).await, 77, "the broker does not accept the client certificate");
    let expired = stage.authority.issue(&["robot1"], Valid::NoLonger);
    expired.write(stage.directory.path(), "robot1");
    let output = check(&config, &[], None).await;
    let text = said(&output);
    assert_eq!(output.status.code(), Some(78), "{text}");
    assert!(text.contains("expired on") && text.contains("No connection was tried"), "{text}");
    stage.authority.issue(&["robot1"], Valid::Now).write(stage.directory.path(), "robot1");

    let link = format!("port = {}", stage.link.port());
    let to = |port: u16| without(&config, &link, &format!("port = {port}"));
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    to(closed);
    refused(check(&config, &[], None).await, 69, &format!("localhost:{closed} refuses connections."));
    without(&config, "endpoint = \"localhost\"", "endpoint = \"nowhere.invalid\"");
    refused(
        check(&config, &[], None).await,
        69,
        "No connection to nowhere.invalid: the name nowhere.invalid is not found",
    );

    // Somebody listens and never says a word.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    without(&config, "endpoint = \"nowhere.invalid\"", "endpoint = \"localhost\"");
    without(&config, &format!("port = {closed}"), &format!("port = {port}"));
    let begun = Instant::now();
    let output = check(&config, &["--timeout", "1"], None).await;
    let took = begun.elapsed();
    refused(output, 69, &format!("localhost:{port} has not accepted a connection within 1 s."));
    // Without the option it would be 20 s.
    assert!(took < Duration::from_secs(15), "{took:?}");
    let (connection, _) = report(&config, &["--timeout", "1"], None).await;
    assert_eq!(connection["address"], format!("127.0.0.1:{port}"));
    assert_eq!((&connection["tls"], &connection["fault"]["kind"]), (&Value::Null, &"timed_out".into()));
}

/// A robot, and an account whose policies are in force.
struct Robot1 {
    broker: AwsBroker,
    directory: TempDir,
    files: IdentityFiles,
}

impl Robot1 {
    async fn new() -> Robot1 {
        domain::enter();
        let authority = Authority::new("Test CA");
        let broker = AwsBroker::start(&authority, Limits::documented()).await;
        let directory = tempfile::tempdir().unwrap();
        let files = authority.issue(&["robot1"], Valid::Now).write(directory.path(), "robot1");
        fs::write(directory.path().join("rootCA.crt"), &authority.pem).unwrap();
        let robot = Robot1 { broker, directory, files };
        robot.allow(&[]);
        robot
    }

    /// The packaged policy, with `more` statements.
    fn allow(&self, more: &[Value]) {
        let packaged = fs::read_to_string("packaging/policy.json").unwrap();
        let more = serde_json::json!({ "Version": "2012-10-17", "Statement": more });
        self.broker.enforce(Account {
            prefix: "arn:aws:iot:REGION:ACCOUNT:".into(),
            documents: vec![serde_json::from_str(&packaged).unwrap(), more],
            things: vec!["robot1".into()],
            attached: "robot1".into(),
        });
    }

    fn configure(&self, version: &str, topics: &str) -> PathBuf {
        let path = self.directory.path().join("config.toml");
        let text = format!(
            "[aws]\nendpoint = \"localhost\"\nport = {}\nthing = \"robot1\"\ncertificate = {:?}\nprivate_key = {:?}\n\
             root_ca = {:?}\n[mqtt]\nversion = \"{version}\"\n[queue]\ndirectory = {:?}\n{topics}",
            self.broker.port,
            self.files.certificate,
            self.files.private_key,
            self.directory.path().join("rootCA.crt"),
            self.directory.path().join("queue"),
        );
        fs::write(&path, text).unwrap();
        path
    }

    /// The client ids that have connected, with whether they were let in.
    fn connects(&self) -> Vec<(String, bool)> {
        let connects = self.broker.record().connects;
        connects.into_iter().map(|connect| (connect.client_id, connect.accepted)).collect()
    }
}

/// Two ROS topics, one of which goes where the packaged policy does not allow it.
const TOPICS: &str = "[[topics]]\nros = \"/odom\"\npayload = \"data\"\n[[topics]]\nros = \"/imu\"\nmqtt = \"elsewhere{ros}\"\n\
                      [[topics]]\nros = \"/battery\"\n";

/// With the service stopped the configured client id is tried, and a test message shows of each topic what the policy
/// says, however the version of MQTT tells it.
#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_topic_is_named() {
    let robot = Robot1::new().await;
    for (version, sentence) in [
        ("3.1.1", "the broker closed the connection over it; the usual cause is a policy that does not allow it"),
        ("5", "the broker refuses a publish to elsewhere/imu: not authorized, 0x87"),
    ] {
        let config = robot.configure(version, TOPICS);
        let (connection, exit) = report(&config, &["--publish"], None).await;
        assert_eq!(exit, 77, "{connection:#}");
        let expected =
            [("robots/robot1/odom", "allowed"), ("elsewhere/imu", "refused"), ("robots/robot1/battery", "allowed")];
        assert_eq!(verdicts(&connection), expected, "{connection:#}");
        assert_eq!(connection["topics"][1]["because"], sentence);
        let output = check(&config, &["--publish", "--quiet"], None).await;
        assert_eq!(said(&output), format!("elsewhere/imu: {sentence}.\n"));
    }
    let connects = robot.connects();
    // No attempt was too early for AWS IoT Core: not that after a refusal, nor that of the next command.
    assert!(connects.iter().all(|connect| *connect == ("robot1".to_owned(), true)), "{connects:?}");
    assert_eq!(connects.len(), 6, "{connects:?}");

    // Another thing's name is not allowed, and there is no other way to say so in MQTT 3.1.1.
    let config = robot.configure("3.1.1", TOPICS);
    without(&config, "thing = \"robot1\"", "thing = \"robot2\"");
    let output = check(&config, &[], None).await;
    assert_eq!(output.status.code(), Some(77), "{}", said(&output));
    assert!(said(&output).contains("its policy may not allow the client id robot2"), "{}", said(&output));
    assert!(!said(&output).contains("beside a running bridge"), "{}", said(&output));
}

/// With a broker that does not know MQTT 5, whichever way it says so, the version that it does know is found and told, with
/// the reason, by the check and by the status of a bridge that runs.
#[tokio::test(flavor = "multi_thread")]
async fn the_version_that_the_broker_knows_is_told() {
    let robot = Robot1::new().await;
    let config = robot.configure("auto", TOPICS);
    let refuses = "the broker does not speak MQTT 5";
    for (how, because) in [
        (WithoutMqtt5::InMqtt5, refuses),
        (WithoutMqtt5::InMqtt3, refuses),
        (WithoutMqtt5::Silently, "the broker closes connections in MQTT 5 without an answer"),
    ] {
        robot.broker.forget_mqtt5(Some(how));
        let (connection, exit) = report(&config, &[], None).await;
        assert_eq!(exit, 0, "{connection:#}");
        assert_eq!((&connection["mqtt"], &connection["mqtt_because"]), (&"3.1.1".into(), &because.into()));
    }
    robot.broker.forget_mqtt5(Some(WithoutMqtt5::InMqtt3));
    let text = said(&check(&config, &[], None).await);
    let line = format!("#   MQTT       3.1.1, because {refuses}; the broker accepts the client id");
    assert!(text.lines().any(|told| told == line), "{text}");
    let bridge = Program::start(&config);
    let connection = bridge.await_report(|report| report.connection.phase.is_connected()).connection;
    assert_eq!((connection.mqtt, connection.mqtt_because.as_deref()), (Some(Version::V3_1_1), Some(refuses)));
    assert_eq!(connection.last_fault, None, "that is no fault");
}

/// A bridge that runs keeps its connection and tells what it knows. Another client id is tried, and what the policy needs
/// for it is said; with that it is let in. A bridge without a status socket is seen by its queue.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_bridge_is_not_disturbed() {
    for version in ["3.1.1", "5"] {
        let robot = Robot1::new().await;
        let config = robot.configure(version, TOPICS);
        let bridge = Program::start(&config);
        let mut node = Robot::start();
        let (odom, imu) = (node.publisher("/odom", 10), node.publisher("/imu", 10));
        Robot::await_subscriber(&odom);
        Robot::await_subscriber(&imu);
        publish(&odom, numbered(1));
        bridge.await_report(|report| report.topics[0].acknowledged == 1);
        let before = robot.connects();
        assert_eq!(before, [("robot1".to_owned(), true)]);

        let output = check(&config, &[], Some(&bridge)).await;
        let text = said(&output);
        assert_eq!(output.status.code(), Some(77), "{text}");
        let line = text.lines().find(|line| line.contains("\"Effect\"")).expect("what the policy needs");
        let statement: Value = serde_json::from_str(line).unwrap();
        for sentence in [
            "#   client id  iot-bridge-check-robot1, because a bridge runs here, which has robot1",
            "#   TLS        1.3; the broker's certificate is accepted",
            "#   bridge     the running one is connected",
            "#   topic      robots/robot1/odom: allowed; the running bridge has had publishes to it acknowledged",
            "#   topic      robots/robot1/battery: not known; the running bridge has had no publish to it acknowledged yet",
        ] {
            assert!(text.lines().any(|line| line == sentence), "{sentence}\n{text}");
        }
        assert!(
            text.contains("Or stop the service (systemctl stop iot-bridge): then robot1 itself is used."),
            "{text}"
        );

        robot.allow(&[statement]);
        for (socket, state) in [(Some(&bridge), Some(true)), (None, None)] {
            let (connection, exit) = report(&config, &["--publish"], socket).await;
            assert_eq!((exit, &connection["accepted"]), (0, &true.into()), "{connection:#}");
            assert_eq!(connection["client_id"], "iot-bridge-check-robot1");
            assert_eq!(connection["bridge"]["connected"].as_bool(), state, "{connection:#}");
            let odom = if socket.is_some() { "allowed" } else { "unknown" };
            assert_eq!(verdicts(&connection)[0], ("robots/robot1/odom", odom));
        }
        let connects = robot.connects();
        let of_bridge = connects.iter().filter(|(client_id, _)| client_id == "robot1").count();
        assert_eq!(of_bridge, 1, "the running bridge was thrown out: {connects:?}");
        assert_eq!(bridge.report().connection.connections, 1);
        let published = robot.broker.record().arrivals.len();
        assert_eq!(published, 1, "a test message was sent beside a running bridge");
    }
}

/// What the running bridge has found out of a forbidden topic is told.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_running_bridge_has_set_aside_is_told() {
    let robot = Robot1::new().await;
    let allow = serde_json::json!({
        "Effect": "Allow", "Action": "iot:Connect", "Resource": "arn:aws:iot:REGION:ACCOUNT:client/iot-bridge-check-*"
    });
    robot.allow(&[allow]);
    let config = robot.configure("5", &TOPICS.replace("ros = \"/imu\"\n", "ros = \"/imu\"\npayload = \"data\"\n"));
    let bridge = Program::start(&config);
    let mut node = Robot::start();
    let imu = node.publisher("/imu", 10);
    Robot::await_subscriber(&imu);
    publish(&imu, numbered(1));
    bridge.await_report(|report| report.connection.set_aside == ["elsewhere/imu"]);
    let (connection, exit) = report(&config, &[], Some(&bridge)).await;
    assert_eq!(exit, 77, "{connection:#}");
    assert_eq!(verdicts(&connection)[1], ("elsewhere/imu", "refused"));
    assert_eq!(bridge.report().connection.connections, 1);
}

/// A robot that waits for provisioning shows its claim, and asks for nothing with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_not_consumed() {
    let authority = Arc::new(Authority::new("Test CA"));
    let broker = AwsBroker::start(&authority, Limits::documented()).await;
    let directory = tempfile::tempdir().unwrap();
    let claim = authority.issue(&["claim"], Valid::Now);
    broker.provision(Fleet::new(&authority, &claim, "my-fleet"));
    let claim = claim.write(directory.path(), "claim");
    let (root_ca, own) = (directory.path().join("rootCA.crt"), directory.path().join("certs/robot"));
    fs::write(&root_ca, &authority.pem).unwrap();
    let config = directory.path().join("config.toml");
    let text = format!(
        "[aws]\nendpoint = \"localhost\"\nport = {}\nroot_ca = {root_ca:?}\ncertificate = {own:?}\nprivate_key = {own:?}\n\
         [aws.provisioning]\ntemplate = \"my-fleet\"\nclaim_certificate = {:?}\nclaim_private_key = {:?}\n\
         parameters = {{ SerialNumber = \"0012\" }}\n[queue]\ndirectory = {:?}\n[[topics]]\nros = \"/odom\"\n",
        broker.port,
        claim.certificate,
        claim.private_key,
        directory.path().join("queue"),
    );
    fs::write(&config, text).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    let output = check(&config, &["--publish"], None).await;
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let told = |what: &str| text.lines().any(|line| line.contains(what));
    assert!(told(", with the claim: the robot is not provisioned yet"), "{text}");
    assert!(told("robots/{thing}/odom: not known; nothing was published"), "{text}");
    assert!(told("The robot's own certificate is asked for when the bridge is started."), "{text}");
    let connects = broker.record().connects;
    assert!(connects.len() == 1 && connects[0].client_id.starts_with("iot-bridge-claim-"), "{connects:?}");
    assert!(broker.fleet().asked.is_empty() && broker.fleet().violations.is_empty(), "something was asked for");
    assert!(!directory.path().join("certs").exists());
}
