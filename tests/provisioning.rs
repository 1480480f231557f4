//! Fleet provisioning by claim: from nothing but a claim to telemetry, whatever comes between.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::aws_broker::{Asked, AwsBroker, Fleet, Limits, Mishap, Refusal};
use crate::support::certificates::{Authority, IdentityFiles, Valid};
use crate::support::domain;
use crate::support::program::{PATIENCE, Program, command};
use crate::support::robot::{Robot, number_in, numbered, publish};
use iot_bridge::health::report::Phase;
use iot_bridge_core::provisioning::{CLIENT_ID_PREFIX, Request, Topics};
use rumqttc::{AsyncClient, MqttOptions, QoS, TlsConfiguration, Transport};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tempfile::TempDir;
use tokio::time::timeout;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The thing that the template makes of this robot.
const THING: &str = "fleet-0012";

/// A robot that has a claim, and an account that takes it.
struct Delivery {
    authority: Arc<Authority>,
    broker: AwsBroker,
    directory: TempDir,
    claim: IdentityFiles,
}

impl Delivery {
    async fn new() -> Delivery {
        domain::enter();
        let authority = Arc::new(Authority::new("Test CA"));
        // The process is killed and started again faster than AWS IoT Core takes a client id.
        let limits = Limits { between_connects: Duration::ZERO, ..Limits::without_rates() };
        let broker = AwsBroker::start(&authority, limits).await;
        let directory = tempfile::tempdir().unwrap();
        let claim = authority.issue(&["claim"], Valid::Now);
        broker.provision(Fleet::new(&authority, &claim, "my-fleet"));
        let claim = claim.write(directory.path(), "claim");
        std::fs::write(directory.path().join("rootCA.crt"), &authority.pem).unwrap();
        Delivery { authority, broker, directory, claim }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What provisioning stores.
    fn own(&self, name: &str) -> PathBuf {
        self.path("certs").join(name)
    }

    fn key(&self) -> String {
        std::fs::read_to_string(self.own("robot.private.key")).unwrap()
    }

    /// A configuration with `more` in its `[aws]` section. Attempts come every second.
    fn configure(&self, more: &str) -> PathBuf {
        let path = self.path("config.toml");
        let text = format!(
            "[aws]\nendpoint = \"localhost\"\nport = {}\nroot_ca = {:?}\ncertificate = {:?}\nprivate_key = {:?}\n{more}\n\
             [aws.provisioning]\ntemplate = \"my-fleet\"\nclaim_certificate = {:?}\nclaim_private_key = {:?}\n\
             parameters = {{ SerialNumber = \"0012\" }}\n\n\
             [mqtt.reconnect]\ninitial = \"1 s\"\nmax = \"1 s\"\n[mqtt.presence]\ntopic = \"robots/{{thing}}/presence\"\n\
             [queue]\ndirectory = {:?}\n\
             [[topics]]\nros = \"/numbers\"\npayload = \"data\"\ndepth = 1000\n\
             [[topics]]\nros = \"/letters\"\npayload = \"envelope\"\nmqtt = \"letters/{{thing}}\"\n",
            self.broker.port,
            self.path("rootCA.crt"),
            self.own("robot.cert.pem"),
            self.own("robot.private.key"),
            self.claim.certificate,
            self.claim.private_key,
            self.path("queue"),
        );
        std::fs::write(&path, text).unwrap();
        // It holds what the hook may take as a proof.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// The same for a robot with another serial number and other topics.
    fn reconfigure(&self, changes: &[(&str, &str)]) -> PathBuf {
        let path = self.configure("");
        let text = std::fs::read_to_string(&path).unwrap();
        let changed = changes.iter().fold(text, |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
        std::fs::write(&path, changed).unwrap();
        path
    }

    /// Waits until the account has seen `count` requests of this kind.
    async fn await_asked(&self, asked: Asked, count: usize) {
        let comes = async {
            while self.broker.fleet().asked.get(&asked).copied().unwrap_or_default() < count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, comes).await.unwrap_or_else(|_| panic!("{asked:?} is not asked for {count} times"));
    }

    /// Waits for the next telemetry: topic and payload.
    async fn next(&mut self) -> (String, bytes::Bytes) {
        let next = async {
            loop {
                let (topic, payload) = self.broker.messages.recv().await.unwrap();
                if !topic.ends_with("/presence") {
                    return (topic, payload);
                }
            }
        };
        timeout(PATIENCE, next).await.expect("no telemetry arrives")
    }

    /// Key and certificate belong together, the account knows one certificate for one thing, which is this; the policy
    /// was kept to; and of the key nothing has left this machine, nor of the tokens anything is in `log`.
    fn check(&self, log: &[String]) {
        let fleet = self.broker.fleet();
        assert_eq!(fleet.violations, [""; 0]);
        let certificate = std::fs::read_to_string(self.own("robot.cert.pem")).unwrap();
        assert_eq!(fleet.things.into_iter().collect::<Vec<_>>(), [(THING.to_owned(), vec![certificate.clone()])]);
        let key = rcgen::KeyPair::from_pem(&self.key()).unwrap();
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        assert_eq!(certificate.public_key().raw, rcgen::PublicKeyData::subject_public_key_info(&key));

        let text = self.key();
        let secret = text.lines().nth(1).unwrap();
        let raw = key.serialize_der();
        for arrival in self.broker.record().arrivals {
            let sent = String::from_utf8_lossy(&arrival.payload);
            assert!(!sent.contains(secret) && !sent.contains("PRIVATE KEY"), "{sent}");
            assert!(!arrival.payload.windows(raw.len()).any(|window| window == raw));
        }
        for line in log {
            assert!(!line.contains(secret) && !line.contains("BEGIN"), "{line}");
            assert!(fleet.tokens.iter().all(|token| !line.contains(token)), "{line}");
        }
        for entry in std::fs::read_dir(self.path("certs")).unwrap() {
            let mode = entry.unwrap().metadata().unwrap().permissions().mode() & 0o7777;
            assert_eq!(mode, 0o600);
        }
        assert_eq!(std::fs::metadata(self.path("certs")).unwrap().permissions().mode() & 0o7777, 0o700);
    }
}

/// What `iot-bridge check` prints, and whether it is content.
fn check(config: &Path) -> (String, bool) {
    let output = command().args(["check", "--config"]).arg(config).output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (String::from_utf8(printed).unwrap(), output.status.success())
}

/// A robot without a name, a key and a certificate, whose broker is away at first: it is ready and says what it waits for,
/// its telemetry waits in the queue, and once the broker is there it is provisioned and everything arrives in order under
/// the name that the template gives, over a connection with the certificate that it got. What comes later carries the
/// name, the next start asks for nothing, and the private key has not left the machine.
#[tokio::test(flavor = "multi_thread")]
async fn from_a_claim_to_telemetry() {
    let mut delivery = Delivery::new().await;
    delivery.broker.refuse(Some(Refusal::Unavailable));
    let config = delivery.configure("");
    let (said, fine) = check(&config);
    assert!(fine && said.contains("# The robot is not provisioned yet"), "{said}");
    assert!(said.contains("robots/{thing}/numbers"), "{said}");

    let mut program = Program::start(&config);
    let status = program.await_note("STATUS=Not provisioned yet, next attempt");
    assert!(status.contains("not available"), "{status}");
    let report = program.await_report(|report| report.connection.provisioning.is_some());
    assert_eq!(report.connection.provisioning.as_deref(), Some("a connection with the claim certificate"));
    let mut robot = Robot::start();
    let (numbers, letters) = (robot.publisher("/numbers", 100), robot.publisher("/letters", 100));
    Robot::await_subscriber(&numbers);
    Robot::await_subscriber(&letters);
    (0..20).for_each(|number| publish(&numbers, numbered(number)));
    publish(&letters, "before".into());
    program.await_note("21 queued");

    delivery.broker.refuse(None);
    program.await_log(&format!("The robot is provisioned as the thing {THING}"));
    program.await_note("STATUS=Connected.");
    (20..40).for_each(|number| publish(&numbers, numbered(number)));
    let report = program.await_report(|report| matches!(report.connection.phase, Phase::Connected { .. }));
    assert_eq!((report.thing.as_str(), report.connection.provisioning), (THING, None));
    let (mut next_number, mut envelopes) = (0, Vec::new());
    while next_number < 40 || envelopes.len() < 2 {
        let (topic, payload) = delivery.next().await;
        if topic == format!("robots/{THING}/numbers") {
            assert_eq!(number_in(&payload), next_number);
            next_number += 1;
        } else {
            assert_eq!(topic, format!("letters/{THING}"));
            let envelope: serde_json::Value = serde_json::from_slice(&payload).unwrap();
            envelopes.push((envelope["thing"].clone(), envelope["msg"]["data"].clone()));
            // The name reaches the envelopes once the ROS thread has heard of it, which a later message shows.
            if envelopes.last().unwrap().0 != THING {
                publish(&letters, "after".into());
            }
        }
    }
    assert_eq!(envelopes[0], (serde_json::Value::Null, "before".into()));
    assert_eq!(envelopes.last().unwrap(), &(THING.into(), "after".into()));
    // A reload finds nothing changed: not the name, nor the files.
    program.reload();
    program.await_log("The configuration is reloaded: 0 topics added, 0 removed, 0 changed");
    assert_eq!(program.log_lines("have changed").len() + program.log_lines("has changed").len(), 0);
    assert_eq!(program.report().topics[0].mqtt, format!("robots/{THING}/numbers"));
    let presence = format!("robots/{THING}/presence");
    assert_eq!(delivery.broker.retained(&presence).as_deref(), Some(&b"online"[..]));
    let expires = program.await_report(|report| report.certificate_expires.is_some());
    assert!(expires.certificate_expires.is_some());
    assert_eq!(program.terminate().code(), Some(0));
    delivery.check(&program.log_lines(""));
    let (said, fine) = check(&config);
    assert!(fine && said.contains(&format!("# The robot is provisioned as the thing {THING}.")), "{said}");

    let asked = delivery.broker.fleet().asked;
    assert_eq!(asked, [(Asked::Certificate, 1), (Asked::Thing, 1)].into());
    // Otherwise the subscription of the process before may be taken for that of the next.
    Robot::await_nobody(&letters);
    let mut program = Program::start(&config);
    program.await_note("STATUS=Connected.");
    assert_eq!(program.report().thing, THING);
    Robot::await_subscriber(&letters);
    publish(&letters, "again".into());
    let (topic, payload) = delivery.next().await;
    assert_eq!(topic, format!("letters/{THING}"));
    assert!(payload.starts_with(format!("{{\"thing\":\"{THING}\"").as_bytes()), "{payload:?}");
    assert_eq!(program.terminate().code(), Some(0));
    assert_eq!(delivery.broker.fleet().asked, asked, "the second start asks for nothing");
    assert!(delivery.broker.record().connects.last().unwrap().client_id == THING);
    delivery.check(&program.log_lines(""));
}

/// Topics fit as long as `{thing}` is open, and not with the name that the template gives. What would go to such a topic is
/// dropped with a reason instead of closing the connection, the others arrive, and `check` says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_name_closes_no_connection() {
    let mut delivery = Delivery::new().await;
    let (serial, tail) = ("7".repeat(122), "x".repeat(150));
    let thing = format!("fleet-{serial}");
    let config = delivery.reconfigure(&[
        ("0012", &serial),
        ("letters/{thing}", &format!("letters/{{thing}}/{tail}")),
        ("robots/{thing}/presence", &format!("here/{{thing}}/{tail}")),
    ]);
    assert!(check(&config).1, "{}", check(&config).0);
    let mut program = Program::start(&config);
    let mut robot = Robot::start();
    let (numbers, letters) = (robot.publisher("/numbers", 100), robot.publisher("/letters", 100));
    Robot::await_subscriber(&numbers);
    Robot::await_subscriber(&letters);
    publish(&letters, "too far".into());
    program.await_log("There is no [mqtt.presence] at the broker");
    program.await_log(&format!("What is published to letters/{thing}/{tail} is dropped: it has 287 bytes"));
    (0..20).for_each(|number| publish(&numbers, numbered(number)));
    for number in 0..20 {
        let (topic, payload) = delivery.next().await;
        assert_eq!((topic, number_in(&payload)), (format!("robots/{thing}/numbers"), number));
    }
    let report = program.await_report(|report| report.topics.iter().any(|topic| topic.acknowledged == 20));
    let letters = report.topics.iter().find(|topic| topic.ros == "/letters").unwrap();
    assert_eq!(letters.dropped.get("unsupported"), Some(&1), "{letters:?}");
    assert_eq!(report.connection.connections, 1);
    assert_eq!(program.terminate().code(), Some(0));
    let (said, fine) = check(&config);
    assert!(!fine && said.matches("is no topic: it has").count() == 2, "{said}");
}

/// A name that no thing can have, with a slash in it, is not taken: the status says so, and nothing is stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_name_is_not_taken() {
    let delivery = Delivery::new().await;
    let config = delivery.reconfigure(&[("0012", "a/#")]);
    let mut program = Program::start(&config);
    let status = program.await_note("which no thing can be called");
    assert!(status.contains("the template my-fleet names the thing \"fleet-a/#\""), "{status}");
    assert!(!delivery.own("robot.cert.pem").exists());
    assert_eq!(program.terminate().code(), Some(0));
}

/// The process is killed after each step: the next start completes what is missing, with the same key, and the account has
/// one thing with one certificate.
#[tokio::test(flavor = "multi_thread")]
async fn killed_after_each_step() {
    const STEPS: [&str; 6] =
        ["key", "certificate asked for", "certificate stored", "answer lost", "registered", "done"];
    for step in STEPS {
        eprintln!("killed after: {step}");
        let delivery = Delivery::new().await;
        let (broker, config) = (&delivery.broker, delivery.configure(""));
        match step {
            "key" => broker.refuse(Some(Refusal::Unavailable)),
            "certificate asked for" => broker.mishap(Some((Asked::Certificate, Mishap::Ignored))),
            "certificate stored" => broker.mishap(Some((Asked::Thing, Mishap::Ignored))),
            "answer lost" => broker.mishap(Some((Asked::Thing, Mishap::AnswerLost))),
            _ => {}
        }
        let mut program = Program::start(&config);
        match step {
            "key" => _ = program.await_log("The private key"),
            "certificate asked for" => delivery.await_asked(Asked::Certificate, 1).await,
            "certificate stored" | "answer lost" => delivery.await_asked(Asked::Thing, 1).await,
            _ => _ = program.await_log("The robot is provisioned as"),
        }
        assert!(program.is_alive());
        let mut log = program.log_lines("");
        // SIGKILL.
        drop(program);
        let key = delivery.key();
        assert_eq!(delivery.own("robot.cert.pem").exists(), ["registered", "done"].contains(&step));
        if step == "registered" {
            // As if the process had ended between the two files.
            std::fs::remove_file(delivery.own("robot.cert.pem")).unwrap();
        }
        broker.refuse(None);
        broker.mishap(None);
        let mut program = Program::start(&config);
        program.await_note("STATUS=Connected.");
        assert_eq!(program.terminate().code(), Some(0));
        log.extend(program.log_lines(""));
        delivery.check(&log);
        assert_eq!(delivery.key(), key, "{step}");
        let certificates = if step == "certificate asked for" { 2 } else { 1 };
        assert_eq!(broker.fleet().asked[&Asked::Certificate], certificates, "{step}");
    }
}

/// Killed again and again at any moment, the robot is provisioned in the end, once.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment() {
    let delivery = Delivery::new().await;
    let config = delivery.configure("");
    let deadline = Instant::now() + PATIENCE;
    for round in 0.. {
        let program = Program::start(&config);
        let until = Instant::now() + Duration::from_millis(rand::random::<u64>() % 120);
        while Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop(program);
        if round >= 8 && delivery.own("robot.cert.pem").exists() || Instant::now() > deadline {
            break;
        }
    }
    let mut program = Program::start(&config);
    program.await_note("STATUS=Connected.");
    delivery.check(&program.log_lines(""));
}

/// A certificate that was not registered within the life of its token is given up for another one, for the same key.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_has_expired_is_replaced() {
    let delivery = Delivery::new().await;
    let config = delivery.configure("");
    delivery.broker.mishap(Some((Asked::Thing, Mishap::Ignored)));
    let program = Program::start(&config);
    delivery.await_asked(Asked::Thing, 1).await;
    drop(program);
    let key = delivery.key();
    delivery.broker.expire_tokens();
    delivery.broker.mishap(None);
    let mut program = Program::start(&config);
    program.await_note("STATUS=Connected.");
    assert_eq!(delivery.broker.fleet().asked, [(Asked::Certificate, 2), (Asked::Thing, 3)].into());
    assert_eq!(delivery.key(), key);
    delivery.check(&program.log_lines(""));
}

/// Each refusal is the status, with what to do; the process lives, and is provisioned once the cause is gone.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_a_status_and_heal() {
    let delivery = Delivery::new().await;
    let broker = &delivery.broker;
    broker.change_fleet(|fleet| fleet.template = "other-fleet".into());
    // Over what the policy of the claim does not allow AWS IoT Core closes the connection in MQTT 3.1.1, and says so in 5.
    // Neither is counted with the ends of other connections, nor with what AWS IoT Core rejects.
    for (version, what, kind) in [
        ("3.1.1", "closed the connection over", "provisioning_closed"),
        ("5", "refuses the subscription to", "provisioning_forbidden"),
    ] {
        let mut program = Program::start(&delivery.configure(&format!("[mqtt]\nversion = \"{version}\"\n")));
        let status = program.await_note("STATUS=Not provisioned yet, next attempt");
        let sentence = format!("the broker {what} $aws/provisioning-templates/my-fleet");
        assert!(status.contains(&sentence) && status.contains("the claim certificate"), "{status}");
        assert_eq!(program.report().connection.failures.into_keys().collect::<Vec<_>>(), [kind]);
    }
    broker.change_fleet(|fleet| {
        fleet.template = "my-fleet".into();
        fleet.allowed = Some("0013".into());
    });
    let mut program = Program::start(&delivery.configure(""));
    let status = program.await_note("AccessDenied");
    for part in ["The pre-provisioning hook denies it (AccessDenied, 403)", "my-fleet", "has SerialNumber"] {
        assert!(status.contains(part), "{status}");
    }
    let line = program.await_log("The robot is not provisioned yet: AWS IoT Core does not register the robot");
    assert!(line.contains("ERROR") && !line.contains("0012"), "{line}");
    let report = program.report();
    assert_eq!(report.connection.provisioning.as_deref(), Some("the registration of the thing"));
    assert!(report.connection.failures["provisioning_rejected"] > 0);
    assert!(program.is_alive());
    broker.change_fleet(|fleet| fleet.allowed = None);
    program.await_note("STATUS=Connected.");
    let fleet = broker.fleet();
    assert!(fleet.violations.iter().all(|violation| violation.contains("my-fleet")), "{:?}", fleet.violations);
    assert_eq!(fleet.things[THING].len(), 1);
    assert_eq!(program.terminate().code(), Some(0));
}

/// A claim certificate that has expired and a directory that can't be written are named, by `check` too where it can
/// know, and the robot is provisioned once they are mended.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_on_the_robot_is_a_status_and_heals() {
    let delivery = Delivery::new().await;
    let config = delivery.configure("");
    let good = std::fs::read_to_string(&delivery.claim.certificate).unwrap();
    let expired = delivery.authority.issue(&["claim"], Valid::NoLonger);
    std::fs::write(&delivery.claim.certificate, &expired.certificate).unwrap();
    // A file where the directory has to be keeps even root from writing.
    std::fs::write(delivery.path("certs"), "").unwrap();
    let mut program = Program::start(&config);
    let status = program.await_note("cannot be");
    assert!(status.contains("certs/robot.") && status.starts_with("STATUS=Not provisioned yet"), "{status}");
    std::fs::remove_file(delivery.path("certs")).unwrap();

    let status = program.await_note("expired on");
    assert!(status.contains("claim.cert.pem"), "{status}");
    let (said, fine) = check(&config);
    assert!(!fine && said.contains("aws.provisioning.claim_certificate") && said.contains("expired on"), "{said}");
    assert!(!said.contains("robot.cert.pem"), "{said}");
    std::fs::write(&delivery.claim.certificate, good).unwrap();
    program.await_note("STATUS=Connected.");
    delivery.check(&program.log_lines(""));
}

/// A name in the configuration stays in force where the template gives another, which is said in log and status.
#[tokio::test(flavor = "multi_thread")]
async fn a_configured_name_wins_and_the_difference_is_said() {
    let delivery = Delivery::new().await;
    delivery.broker.change_fleet(|fleet| fleet.any_client_id = true);
    let config = delivery.configure("thing = \"robot1\"");
    for _ in 0..2 {
        let mut program = Program::start(&config);
        let status = program.await_note("STATUS=Connected.");
        assert!(
            status.contains(&format!("The certificate is that of the thing {THING}, not of aws.thing")),
            "{status}"
        );
        let line = program.await_log("while aws.thing is robot1");
        assert!(line.contains("WARN"), "{line}");
        let report = program.report();
        assert_eq!((report.thing.as_str(), report.connection.other_thing.as_deref()), ("robot1", Some(THING)));
        assert_eq!(program.terminate().code(), Some(0));
    }
    assert_eq!(delivery.broker.record().connects.last().unwrap().client_id, "robot1");
    let (said, _) = check(&config);
    assert!(said.contains("aws.thing is robot1, which stays in force"), "{said}");
}

/// A certificate that did not come from provisioning says nothing of its thing: the bridge and `check` ask for it, and do
/// not connect under a made-up name.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_from_elsewhere_needs_a_name() {
    let delivery = Delivery::new().await;
    std::fs::create_dir(delivery.path("certs")).unwrap();
    delivery.authority.issue(&["robot1"], Valid::Now).write(&delivery.path("certs"), "robot");
    let config = delivery.configure("");
    let (said, fine) = check(&config);
    assert!(!fine && said.contains("aws.thing"), "{said}");
    let mut program = Program::start(&config);
    let status = program.await_note("STATUS=Not connected");
    assert!(status.contains("set aws.thing"), "{status}");
    drop(program);
    let mut program = Program::start(&delivery.configure("thing = \"robot1\""));
    program.await_note("STATUS=Connected.");
    assert_eq!(delivery.broker.fleet().asked, [].into());
}

/// The broker of these tests keeps a claim to its purpose: it closes the connection over anything else, and answers only
/// who has subscribed.
#[tokio::test(flavor = "multi_thread")]
async fn the_claim_opens_nothing_else() {
    let delivery = Delivery::new().await;
    let connect = |id: &str, files: &IdentityFiles| {
        let aws = iot_bridge_core::config::Aws {
            endpoint: "localhost".into(),
            port: delivery.broker.port,
            thing: id.into(),
            client_id: id.into(),
            certificate: files.certificate.clone(),
            private_key: files.private_key.clone(),
            root_ca: Some(delivery.path("rootCA.crt")),
            provisioning: None,
        };
        let tls =
            iot_bridge_core::mqtt::tls::load(&iot_bridge_core::uplink::broker(&aws), std::time::SystemTime::now())
                .unwrap()
                .config;
        let mut options = MqttOptions::new(id, "localhost", delivery.broker.port);
        options.set_transport(Transport::Tls(TlsConfiguration::Rustls(tls)));
        AsyncClient::new(options, 10)
    };
    let (_client, mut events) = connect("robot1", &delivery.claim);
    assert!(events.poll().await.is_err(), "another client id");
    let create = "$aws/certificates/create-from-csr/json";
    for (forbidden, subscribes) in [("robots/robot1/odom", false), ("robots/#", true), (create, true)] {
        let (client, mut events) = connect("iot-bridge-claim-1", &delivery.claim);
        events.poll().await.unwrap();
        match subscribes {
            true => client.subscribe(forbidden, QoS::AtLeastOnce).await.unwrap(),
            false => client.publish(forbidden, QoS::AtLeastOnce, false, "x").await.unwrap(),
        }
        timeout(PATIENCE, async { while events.poll().await.is_ok() {} }).await.expect(forbidden);
    }
    assert_eq!(delivery.broker.fleet().violations.len(), 4);

    // Without a subscription a request is acknowledged and answered to nobody.
    let (client, mut events) = connect("iot-bridge-claim-2", &delivery.claim);
    client.publish(create, QoS::AtLeastOnce, false, "{}").await.unwrap();
    let hears = async {
        loop {
            match events.poll().await.unwrap() {
                rumqttc::Event::Incoming(rumqttc::Packet::PubAck(_)) => break client.try_disconnect().unwrap(),
                rumqttc::Event::Incoming(rumqttc::Packet::Publish(publish)) => panic!("{publish:?}"),
                _ => {}
            }
        }
        while let Ok(event) = events.poll().await {
            assert!(!matches!(event, rumqttc::Event::Incoming(rumqttc::Packet::Publish(_))));
        }
    };
    timeout(PATIENCE, hears).await.unwrap();
}

/// The guide's configuration loads, and its policy for the claim is the one that is installed, which allows what the
/// bridge does with a claim and no topic beside that.
#[test]
fn the_guide_is_right() {
    let guide = include_str!("../docs/provisioning.md").split_once("\n## A fleet by claim").unwrap().1;
    let blocks = |language: &str| -> Vec<&str> {
        let begins = format!("```{language}\n");
        guide.split(&begins).skip(1).map(|rest| rest.split_once("```").unwrap().0).collect()
    };
    let [main, parameters] = blocks("toml")[..] else { panic!("two configurations") };
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("conf.d")).unwrap();
    std::fs::write(directory.path().join("config.toml"), format!("{main}[[topics]]\nros = \"/odom\"\n")).unwrap();
    std::fs::write(directory.path().join("conf.d/serial.toml"), parameters).unwrap();
    let settings = iot_bridge_core::config::load_directory(directory.path(), []).unwrap().settings;
    assert_eq!(settings.aws.provisioning.unwrap().parameters["SerialNumber"], "0012");

    let policy = include_str!("../packaging/claim-policy.json");
    let json = blocks("json");
    assert!(json.contains(&policy));
    json.iter().for_each(|block| _ = serde_json::from_str::<serde_json::Value>(block).expect(block));

    let policy: serde_json::Value = serde_json::from_str(&policy.replace("TEMPLATE", "my-fleet")).unwrap();
    let allows = |action: &str, kind: &str, name: &str| {
        policy["Statement"].as_array().unwrap().iter().any(|statement| {
            let all = |value: &serde_json::Value| match value {
                serde_json::Value::Array(list) => list.clone(),
                one => vec![one.clone()],
            };
            let covers = |resource: &str| {
                let pattern = resource.strip_prefix(&format!("arn:aws:iot:REGION:ACCOUNT:{kind}/"));
                pattern.is_some_and(|pattern| name.starts_with(pattern.strip_suffix('*').unwrap()))
            };
            all(&statement["Action"]).contains(&action.into())
                && all(&statement["Resource"]).iter().any(|resource| covers(resource.as_str().unwrap()))
        })
    };
    assert!(allows("iot:Connect", "client", CLIENT_ID_PREFIX) && !allows("iot:Connect", "client", THING));
    for request in [Request::Certificate, Request::Registration] {
        let Topics { request, accepted, rejected } = Topics::of(request, "my-fleet");
        assert!(allows("iot:Publish", "topic", &request));
        for answer in [accepted, rejected] {
            assert!(allows("iot:Subscribe", "topicfilter", &answer) && allows("iot:Receive", "topic", &answer));
        }
    }
    assert!(!allows("iot:Publish", "topic", "robots/robot1/odom"));
}
