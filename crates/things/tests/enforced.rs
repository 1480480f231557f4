//! A generated policy, enforced by a broker that evaluates it as AWS IoT Core does.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rumqttc::{AsyncClient, ClientError, Event, Incoming, LastWill, MqttOptions, QoS};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::bench::{Bench, said};
use crate::support::aws_api::{ACCOUNT, REGION};
use crate::support::aws_broker::{Account, AwsBroker, Limits, Message, Record, Verdict};
use crate::support::certificates::{IdentityFiles, Valid};
use crate::support::domain;
use crate::support::observer::transport;
use crate::support::program::Program;
use crate::support::robot::{Publisher, Robot, numbered, publish};

const THING: &str = "robot1";
/// Messages that are published of each size.
const EACH: usize = 10;
const PATIENCE: Duration = Duration::from_secs(60);

/// A configuration, and what it publishes to.
struct Case {
    /// In `[aws]`, if it is another than the thing's name.
    client_id: &'static str,
    config: &'static str,
    /// MQTT topics, and whether what goes there is retained.
    reached: &'static [(&'static str, bool)],
    /// Policies that it takes.
    documents: usize,
    will: bool,
}

const ORDINARY: Case = Case { client_id: THING, config: "", reached: &[], documents: 1, will: false };

const CASES: &[Case] = &[
    Case {
        config: "[[topics]]\nros = \"/numbers\"\npayload = \"data\"",
        reached: &[("robots/robot1/numbers", false)],
        ..ORDINARY
    },
    // The variable is of no use: the client id is not the name of a thing.
    Case {
        client_id: "another",
        config: "[[topics]]\nros = \"/numbers\"",
        reached: &[("robots/robot1/numbers", false)],
        ..ORDINARY
    },
    Case {
        config: "[[topics]]\nros = \"/numbers\"\nretain = true\n[[topics]]\nros = \"/numbers\"\nmqtt = \"all/{thing}\"\nqos = 0\n\
                 payload = \"envelope\"\n[[topics]]\nros = \"/numbers\"\nmqtt = \"numbers\"\nbatch = { max = 5 }",
        reached: &[("robots/robot1/numbers", true), ("all/robot1", false), ("numbers", false)],
        ..ORDINARY
    },
    Case {
        config: "[[topics]]\nros = \"/numbers\"\nmqtt = \"any/{type}/{thing}\"\n[[topics]]\nros = \"/numbers\"\n\
                 type = \"std_msgs/msg/String\"\nmqtt = \"one/{type}\"",
        reached: &[("any/std_msgs/msg/String/robot1", false), ("one/std_msgs/msg/String", false)],
        ..ORDINARY
    },
    Case {
        config: "[[topics]]\nros = \"/numbers\"\n[mqtt.presence]\ntopic = \"robots/{thing}/presence\"",
        reached: &[("robots/robot1/numbers", false), ("robots/robot1/presence", true)],
        will: true,
        ..ORDINARY
    },
    Case {
        client_id: "another",
        config: "[[topics]]\nros = \"/numbers\"\n[mqtt.last_will]\ntopic = \"wills/{thing}\"\npayload = \"gone\"",
        reached: &[("robots/robot1/numbers", false)],
        will: true,
        ..ORDINARY
    },
    Case {
        config: "[[topics]]\nros = \"/numbers\"\ncompression = \"gzip\"\ncompression_suffix = true\nretain = true\n\
                 [[topics]]\nros = \"/numbers\"\nmqtt = \"z/{thing}\"\ncompression = \"zstd\"\ncompression_suffix = true",
        reached: &[
            ("robots/robot1/numbers", true),
            ("robots/robot1/numbers/gzip", true),
            ("z/robot1", false),
            ("z/robot1/zstd", false),
        ],
        ..ORDINARY
    },
    Case {
        config: "[mqtt]\nversion = \"5\"\n[mqtt.presence]\ntopic = \"here/{thing}\"\n[[topics]]\nros = \"/numbers\"",
        reached: &[("robots/robot1/numbers", false), ("here/robot1", true)],
        will: true,
        ..ORDINARY
    },
    Case {
        config: "[[topics]]\nros = \"/numbers\"\nmqtt = \"$aws/rules/telemetry/{thing}{ros}\"",
        reached: &[("$aws/rules/telemetry/robot1/numbers", false)],
        ..ORDINARY
    },
];

/// The bench with a broker, and a certificate that is the thing's.
struct Stage {
    bench: Bench,
    broker: AwsBroker,
    files: IdentityFiles,
}

impl Stage {
    async fn set() -> Stage {
        domain::enter();
        let bench = Bench::set();
        let limits = Limits { between_connects: Duration::ZERO, ..Limits::without_rates() };
        let broker = AwsBroker::start(&bench.authority, limits).await;
        let files = bench.authority.issue(&[THING], Valid::Now).write(bench.directory.path(), THING);
        Stage { bench, broker, files }
    }

    /// Writes the configuration of `case`.
    fn configure(&self, case: &Case) -> PathBuf {
        let path = self.bench.path("config.toml");
        let aws = format!(
            "[aws]\nendpoint = \"localhost\"\nport = {}\nthing = {THING:?}\nclient_id = {:?}\ncertificate = {:?}\n\
             private_key = {:?}\nroot_ca = {:?}\n[queue]\ndirectory = {:?}\n",
            self.broker.port,
            case.client_id,
            self.files.certificate,
            self.files.private_key,
            self.bench.path("authority.pem"),
            self.bench.path("queue"),
        );
        fs::write(&path, format!("{}\n{aws}", case.config)).unwrap();
        path
    }

    /// Writes the configuration of `case`, and has the broker enforce what `policy` prints for it.
    fn enforce(&self, case: &Case) -> PathBuf {
        let path = self.configure(case);
        let output = self.bench.program(&["policy", "--config", "config.toml", "--account", ACCOUNT]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let documents: Vec<Value> =
            serde_json::Deserializer::from_slice(&output.stdout).into_iter().collect::<Result<_, _>>().unwrap();
        assert_eq!(documents.len(), case.documents, "{}", case.config);
        self.broker.enforce(account(documents, THING));
        path
    }
}

/// The account, where `documents` are attached to the certificate of `thing`.
fn account(documents: Vec<Value>, thing: &str) -> Account {
    Account {
        prefix: format!("arn:aws:iot:{REGION}:{ACCOUNT}:"),
        documents,
        things: vec![thing.into(), "robot2".into(), "robots".into()],
        attached: thing.into(),
    }
}

/// With the policy that is generated for it each configuration works: everything is acknowledged, on the topics that it
/// says, over one connection.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_generated_is_enough() {
    let stage = Stage::set().await;
    let mut robot = Robot::start();
    let publisher = robot.publisher("/numbers", 1000);
    for case in CASES {
        let config = stage.enforce(case);
        works(&stage, case, &config, &publisher).await;
    }
}

/// Topics and client ids that a policy would take as a pattern, of all robots' topics or for all client ids, get none: not
/// printed, and not made.
#[tokio::test]
async fn no_configuration_widens_a_policy() {
    let stage = Stage::set().await;
    let bench = &stage.bench;
    for (client_id, topic, words) in [
        (THING, "robots/{thing}/*", "the MQTT topic \"robots/{thing}/*\" holds `*`"),
        (THING, "robots/?", "the MQTT topic \"robots/?\" holds `?`"),
        ("*", "robots/{thing}", "the client id \"*\" holds `*`"),
        ("${iot:ClientId}", "robots/{thing}", "the client id \"${iot:ClientId}\" holds `${`"),
    ] {
        let config = format!("[[topics]]\nros = \"/numbers\"\nmqtt = {topic:?}");
        stage.configure(&Case { client_id, config: config.clone().leak(), ..ORDINARY });
        let output = bench.program(&["policy", "--config", "config.toml", "--account", ACCOUNT]).output().unwrap();
        assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
        let (status, text) = said(output);
        assert!(status == 1 && text.contains(words), "{words}: {text}");

        fs::write(bench.path("fleet.toml"), format!("[aws]\nclient_id = {client_id:?}\n{config}")).unwrap();
        let (status, text) = bench.run(&["create", "--config", "fleet.toml"]);
        assert!(status == 1 && text.contains("stands for other characters"), "{text}");
        assert!(bench.api.everything().is_empty(), "{:?}", bench.api.everything());
    }
}

/// The policy that the package brings as an example is enough for a robot whose topics are below `robots/{thing}`, with
/// all that needs a permission of its own.
#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_the_package_is_enough() {
    let case = Case {
        config: "[[topics]]\nros = \"/numbers\"\nretain = true\ncompression = \"zstd\"\ncompression_suffix = true\n\
                 [mqtt.presence]\ntopic = \"robots/{thing}/presence\"",
        reached: &[
            ("robots/robot1/numbers", true),
            ("robots/robot1/numbers/zstd", true),
            ("robots/robot1/presence", true),
        ],
        ..ORDINARY
    };
    let stage = Stage::set().await;
    let mut robot = Robot::start();
    let publisher = robot.publisher("/numbers", 1000);
    let example = include_str!("../../../packaging/policy.json").replace("REGION", REGION).replace("ACCOUNT", ACCOUNT);
    stage.broker.enforce(account(vec![serde_json::from_str(&example).unwrap()], THING));
    let config = stage.configure(&case);
    works(&stage, &case, &config, &publisher).await;
}

/// The bridge runs with `config`: everything is acknowledged over one connection, on the topics that `case` says.
async fn works(stage: &Stage, case: &Case, config: &Path, publisher: &Publisher) {
    let before = stage.broker.record();
    let mut program = Program::start(config);
    let topics = case.config.matches("ros =").count();
    Robot::await_subscribers(publisher, topics);
    for number in 0..EACH {
        publish(publisher, numbered(number));
        publish(publisher, format!("{number:5000}"));
    }
    let done = |topic: &iot_bridge::health::report::Topic| topic.acknowledged as usize == 2 * EACH;
    let report = program.await_report(|report| {
        assert_eq!(stage.broker.record().denied, Vec::<String>::new(), "{}", case.config);
        report.topics.len() == topics && report.topics.iter().all(done)
    });
    assert!(report.topics.iter().all(|topic| topic.dropped_in_all() == 0), "{}: {report:#?}", case.config);
    assert!(program.terminate().success());
    Robot::await_nobody(publisher);
    let record = stage.broker.record();
    assert_eq!(record.denied, Vec::<String>::new(), "{}", case.config);
    assert_eq!(record.connects.len() - before.connects.len(), 1, "{}", case.config);
    let arrivals = &record.arrivals[before.arrivals.len()..];
    assert!(arrivals.iter().all(|arrival| arrival.verdict == Verdict::Accepted));
    let reached: BTreeSet<_> = arrivals.iter().map(|arrival| (arrival.topic.as_str(), arrival.retain)).collect();
    assert_eq!(reached, case.reached.iter().copied().collect(), "{}", case.config);
    assert!(arrivals.iter().all(|arrival| arrival.client_id == case.client_id));
}

/// The policy that is generated for a configuration allows nothing else: no other client id, no neighbour's topic, no
/// level more or less, nothing retained and no last will where there is none, no subscription.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_generated_allows_nothing_else() {
    let stage = Stage::set().await;
    for case in CASES {
        stage.enforce(case);
        let allowed = Intruder { stage: &stage, client_id: case.client_id };
        for (topic, retain) in case.reached {
            assert_eq!(allowed.publishes(topic, *retain).await, None, "{}", case.config);
        }
        for other in ["robot2", "robots", "stranger", "robot1x", "robot", "*", "another", "robot1"] {
            if other != case.client_id {
                let refused = Intruder { stage: &stage, client_id: other }.connects(None).await;
                assert_eq!(refused, Some(format!("{other}: iot:Connect client/{other}")), "{}", case.config);
            }
        }
        let will = LastWill::new("robots/robot1/will", "gone", QoS::AtLeastOnce, false);
        let refused = allowed.connects(Some(will)).await.unwrap_or_else(|| panic!("a will: {}", case.config));
        assert_eq!(refused.contains("iot:Connect"), !case.will, "{refused}");

        let neighbours = case.reached.iter().flat_map(|(topic, _)| {
            let parent = topic.rsplit_once('/').map_or("", |(parent, _)| parent);
            let (robot2, service) = (topic.replace("robot1", "robot2"), topic.replace("/msg/", "/srv/"));
            [robot2, service, format!("{topic}/more"), format!("x{topic}"), parent.to_owned()]
        });
        let others =
            ["elf/robot1", "robots/robot2/numbers", "robots/robot1/presence", "wills/robot2", "$aws/rules/other/a"];
        let topics: BTreeSet<String> = neighbours.chain(others.map(str::to_owned)).collect();
        let reaches = |topic: &String| case.reached.iter().any(|(reached, _)| reached == topic);
        for topic in topics.iter().filter(|topic| !topic.is_empty() && !reaches(topic)) {
            let refused = format!("{}: iot:Publish topic/{topic}", case.client_id);
            assert_eq!(allowed.publishes(topic, false).await, Some(refused), "{}", case.config);
        }
        for (topic, _) in case.reached.iter().filter(|(_, retain)| !retain) {
            let refused = format!("{}: iot:RetainPublish topic/{topic}", case.client_id);
            assert_eq!(allowed.publishes(topic, true).await, Some(refused), "{}", case.config);
        }
        for filter in case.reached.iter().map(|(topic, _)| *topic).chain(["#", "elf/robot1"]) {
            let refused = format!("{}: iot:Subscribe topicfilter/{filter}", case.client_id);
            assert_eq!(allowed.subscribes(filter).await, Some(refused), "{}", case.config);
        }
    }
}

/// One of each of what the cloud may ask.
const REQUESTS: &str = r#"
[[commands]]
mqtt = "robots/{thing}/drive"
ros = "/cmd_vel"
type = "geometry_msgs/msg/Twist"
reply = "robots/{thing}/drive/reply"
[[services]]
mqtt = "services/{thing}{ros}"
service = "/reset"
type = "std_srvs/srv/Trigger"
[[actions]]
mqtt = "actions/{thing}"
action = "/count"
type = "test_msgs/action/Fibonacci"
[[shadows]]
name = "state"
report = "/state"
"#;

/// What the cloud may ask is subscribed to and received and answered, by the bridge too; and the policy allows no other
/// subscription, nothing else to be received, and nothing else to be published, not even where the cloud asks.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_cloud_may_ask_is_allowed_and_nothing_else() {
    let stage = Stage::set().await;
    let config = stage.enforce(&Case { config: REQUESTS, documents: 2, ..ORDINARY });
    let shadow = |ending: &str| format!("$aws/things/robot1/shadow/name/state/{ending}");
    let asked = ["robots/robot1/drive", "services/robot1/reset", "actions/robot1"].map(str::to_owned);
    let of_shadow = ["get/accepted", "get/rejected", "update/accepted", "update/rejected", "update/delta"].map(shadow);
    let heard: BTreeSet<String> = asked.iter().cloned().chain(of_shadow).collect();

    let mut program = Program::start(&config);
    let replied = |record: &Record| record.arrivals.iter().any(|arrival| arrival.topic == "robots/robot1/drive/reply");
    let subscribed = |record: &Record| -> BTreeSet<String> {
        record.subscribes.iter().flat_map(|(_, filters)| filters).cloned().collect()
    };
    program.await_report(|_| subscribed(&stage.broker.record()).contains(&asked[0]));
    stage.broker.publish(message(&asked[0], "nothing that drives"));
    program.await_report(|_| replied(&stage.broker.record()));
    assert!(program.terminate().success());
    let record = stage.broker.record();
    assert_eq!(record.denied, Vec::<String>::new());
    assert!(subscribed(&record).is_subset(&heard), "{:?}", subscribed(&record));

    let robot = Intruder { stage: &stage, client_id: THING };
    for topic in &heard {
        assert_eq!(robot.subscribes(topic).await, None, "{topic}");
        assert!(robot.receives(topic, &asked[0]).await, "{topic}");
    }
    let answers = ["robots/robot1/drive/reply", "services/robot1/reset/reply", "actions/robot1/reply"];
    let answers = answers.map(str::to_owned).into_iter().chain(["actions/robot1/feedback".to_owned()]);
    for topic in answers.chain(["get", "update"].map(shadow)) {
        assert_eq!(robot.publishes(&topic, false).await, None, "{topic}");
        assert!(robot.publishes(&topic, true).await.is_some(), "{topic}");
    }
    let neighbours = heard.iter().flat_map(|topic| {
        let parent = topic.rsplit_once('/').map_or("", |(parent, _)| parent);
        [
            topic.replace("robot1", "robot2"),
            format!("{topic}/more"),
            format!("{parent}/#"),
            format!("{parent}/+"),
            format!("{topic}/#"),
        ]
    });
    let others = ["#", "+/robot1/drive", "robots/robot1/drive/reply", "elf/robot1", "$aws/things/robot1/jobs/notify"];
    let others = others.map(str::to_owned).into_iter().chain([
        shadow("update/documents"),
        shadow("delete/accepted"),
        "$aws/things/robot1/shadow/update/delta".to_owned(),
    ]);
    for other in neighbours.chain(others).collect::<BTreeSet<_>>() {
        assert_eq!(robot.subscribes(&other).await, Some(format!("robot1: iot:Subscribe topicfilter/{other}")));
        if !other.contains(['#', '+']) {
            assert!(!robot.receives(&other, &asked[0]).await, "{other}");
        }
    }
    for topic in heard.iter().cloned().chain([shadow("delete"), "$aws/things/robot1/shadow/update".to_owned()]) {
        assert_eq!(robot.publishes(&topic, false).await, Some(format!("robot1: iot:Publish topic/{topic}")));
    }
}

/// A robot that is configured from the cloud takes what its shadow desires, and a job, by the policy that is generated for it;
/// which allows no other job's topics, no subscription more, and nothing of another thing or shadow.
#[tokio::test(flavor = "multi_thread")]
async fn the_cloud_may_configure_the_robot_and_nothing_else() {
    let stage = Stage::set().await;
    let config = "[remote]\nshadow = \"iot-bridge\"\njobs = true\nconfirm = \"1 s\"\n";
    let config = stage.enforce(&Case { config, documents: 2, ..ORDINARY });
    let wish = |version: &str| json!({ "version": version, "config": { "topics": [] } });
    stage.broker.update_shadow(THING, "iot-bridge", json!({ "desired": wish("1") }));
    let mut program = Program::start(&config);
    let reported = || stage.broker.shadow(THING, "iot-bridge")["reported"].clone();
    program.await_report(|_| reported()["state"] == "applied" && reported()["version"] == "1");
    let mut document = wish("2");
    document["operation"] = "iot-bridge/config".into();
    stage.broker.create_job(THING, "job-1", document);
    program.await_report(|_| stage.broker.job(THING, "job-1")["status"] == "SUCCEEDED");
    assert!(program.terminate().success());
    assert_eq!(stage.broker.record().denied, Vec::<String>::new());

    let robot = Intruder { stage: &stage, client_id: THING };
    let own = |ending: &str| format!("$aws/things/robot1/{ending}");
    let notify = own("jobs/notify");
    assert_eq!(robot.subscribes(&notify).await, None);
    for answer in ["jobs/get/accepted", "jobs/job-1/get/rejected", "jobs/job-1/update/accepted"].map(own) {
        assert!(robot.receives(&answer, &notify).await, "{answer}");
        assert_eq!(robot.subscribes(&answer).await, Some(format!("robot1: iot:Subscribe topicfilter/{answer}")));
    }
    for other in ["jobs/notify-next", "jobs/#", "jobs/+/update/accepted", "shadow/name/other/update/delta"].map(own) {
        assert_eq!(robot.subscribes(&other).await, Some(format!("robot1: iot:Subscribe topicfilter/{other}")));
    }
    let others = [
        "jobs/start-next",
        "jobs/notify",
        "shadow/update",
        "shadow/name/iot-bridge/delete",
        "shadow/name/other/update",
    ];
    let others = others.map(own).into_iter().chain(
        ["jobs/get", "jobs/job-1/update", "shadow/name/iot-bridge/update"]
            .map(|ending| format!("$aws/things/robot2/{ending}")),
    );
    for other in others.chain(["robots/robot1/anything".to_owned()]) {
        assert_eq!(robot.publishes(&other, false).await, Some(format!("robot1: iot:Publish topic/{other}")));
    }
}

fn message(topic: &str, payload: &'static str) -> Message {
    Message { topic: topic.to_owned(), payload: payload.into(), ..Message::default() }
}

/// What does not fit into one policy is in several, and they allow the same together: each of the topics and no other.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_split_is_enough() {
    let stage = Stage::set().await;
    let name = |number: usize| format!("sensors/a_rather_long_name_of_a_sensor_{number}");
    let config: String = (0..80)
        .map(|number| format!("[[topics]]\nros = \"/{}\"\nretain = {}\n", name(number), number % 2 == 0))
        .collect();
    let case = Case { config: config.leak(), documents: 6, ..ORDINARY };
    stage.enforce(&case);
    let robot = Intruder { stage: &stage, client_id: THING };
    for number in 0..80 {
        let topic = format!("robots/{THING}/{}", name(number));
        assert_eq!(robot.publishes(&topic, number % 2 == 0).await, None);
        assert_eq!(robot.publishes(&topic, true).await.is_none(), number % 2 == 0, "{topic}");
    }
    assert!(robot.publishes(&format!("robots/{THING}/{}", name(80)), false).await.is_some());
}

/// The policy of `create` without a configuration lets `send` and `subscribe` use their own topic, and no other; and what
/// is refused is told with what to do.
#[tokio::test(flavor = "multi_thread")]
async fn a_thing_may_try_its_connection() {
    let stage = Stage::set().await;
    fs::create_dir(stage.bench.path("things")).unwrap();
    let path = stage.bench.template(stage.broker.port, "[[topics]]\nros = \"/numbers\"\n");
    fs::rename(path, stage.bench.path("things/template.toml")).unwrap();
    stage.bench.succeed(&["create"]);
    let policy = stage.bench.register()["policies"][0]["name"].as_str().unwrap().to_owned();
    let document = stage.bench.api.get(&format!("/policies/{policy}"))["policyDocument"].as_str().unwrap().to_owned();
    stage.broker.enforce(account(vec![serde_json::from_str(&document).unwrap()], "thing_0"));

    let mut subscriber = stage.bench.program(&["subscribe", "--duration", "5min"]);
    let (out, err) = (std::process::Stdio::piped(), std::process::Stdio::piped());
    let mut subscriber = subscriber.stdout(out).stderr(err).spawn().unwrap();
    let mut heard = std::io::BufRead::lines(std::io::BufReader::new(subscriber.stderr.take().unwrap()));
    assert_eq!(heard.next().unwrap().unwrap(), "thing_0: subscribed to elf/thing_0.");
    subscriber.kill().unwrap();
    subscriber.wait().unwrap();
    let text = stage.bench.succeed(&["send", "--duration", "0.1"]);
    assert!(text.contains("thing_0  1 acknowledged on elf/thing_0"), "{text}");
    assert_eq!(stage.broker.record().denied, Vec::<String>::new());
    for command in ["send", "subscribe"] {
        let arguments = [command, "--topic", "elf/thing_1", "--duration", "5s"];
        let (status, text) = said(stage.bench.program(&arguments).output().unwrap());
        assert_eq!(status, 1, "{text}");
        assert!(text.contains("policy may not allow elf/thing_1; `iot-bridge-things policy`"), "{text}");
    }
}

/// A client with the thing's certificate that tries what it may not.
struct Intruder<'a> {
    stage: &'a Stage,
    client_id: &'a str,
}

impl Intruder<'_> {
    /// Returns what was denied, if it was.
    async fn connects(&self, will: Option<LastWill>) -> Option<String> {
        self.tries(will, |_| Ok(()), |answer| matches!(answer, Incoming::ConnAck(_))).await
    }

    async fn publishes(&self, topic: &str, retain: bool) -> Option<String> {
        let publish = |client: &AsyncClient| client.try_publish(topic, QoS::AtLeastOnce, retain, "1");
        self.tries(None, publish, |answer| matches!(answer, Incoming::PubAck(_))).await
    }

    async fn subscribes(&self, filter: &str) -> Option<String> {
        let subscribe = |client: &AsyncClient| client.try_subscribe(filter, QoS::AtMostOnce);
        self.tries(None, subscribe, |answer| matches!(answer, Incoming::SubAck(_))).await
    }

    /// Returns whether something of `topic` reaches the client, without a subscription; of `allowed` it does.
    async fn receives(&self, topic: &str, allowed: &str) -> bool {
        let mut options = MqttOptions::new(self.client_id, "localhost", self.stage.broker.port);
        options.set_transport(transport(&self.stage.bench.authority));
        let (_client, mut event_loop) = AsyncClient::new(options, 10);
        let mut received = false;
        loop {
            match timeout(PATIENCE, event_loop.poll()).await.expect("nothing happens").unwrap() {
                Event::Incoming(Incoming::ConnAck(_)) => {
                    self.stage.broker.send_direct(self.client_id, message(topic, "1"));
                    self.stage.broker.send_direct(self.client_id, message(allowed, "the last"));
                }
                Event::Incoming(Incoming::Publish(publish)) if publish.payload == "the last" => return received,
                Event::Incoming(Incoming::Publish(publish)) => {
                    assert_eq!(publish.topic, topic);
                    received = true;
                }
                _ => {}
            }
        }
    }

    /// Connects and does `what` until its answer comes; answers what the broker denied, if it ended the connection instead.
    async fn tries(
        &self,
        will: Option<LastWill>,
        what: impl FnOnce(&AsyncClient) -> Result<(), ClientError>,
        is_answer: impl Fn(&Incoming) -> bool,
    ) -> Option<String> {
        let before = self.stage.broker.record().denied.len();
        let mut options = MqttOptions::new(self.client_id, "localhost", self.stage.broker.port);
        options.set_transport(transport(&self.stage.bench.authority));
        if let Some(will) = will {
            options.set_last_will(will);
        }
        let (client, mut event_loop) = AsyncClient::new(options, 10);
        what(&client).unwrap();
        loop {
            match timeout(PATIENCE, event_loop.poll()).await.expect("nothing happens") {
                Ok(Event::Incoming(answer)) if is_answer(&answer) => return None,
                Ok(_) => {}
                Err(error) => {
                    let denied = self.stage.broker.record().denied;
                    let denied = denied.get(before).unwrap_or_else(|| panic!("not for the policy: {error}"));
                    return Some(denied.clone());
                }
            }
        }
    }
}
