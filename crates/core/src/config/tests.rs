//! What the configuration promises as a whole. Single faults stand in `tests/broken_configs.rs`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

mod attacks;
mod page;
mod remote;
mod requests;
mod thinning;

/// Names every key that there is, built or not.
const EVERY_KEY: &str = include_str!("tests/every_key.toml");

const MINIMAL: &str = r#"
[aws]
endpoint = "broker.example"
thing = "robot1"
certificate = "robot1.pem"
private_key = "robot1.key"
[[topics]]
ros = "/odom"
"#;

/// A directory of configuration, and an environment.
struct Place {
    directory: tempfile::TempDir,
    environment: Vec<(OsString, OsString)>,
}

impl Place {
    fn new() -> Self {
        Place { directory: tempfile::tempdir().expect("a temporary directory"), environment: Vec::new() }
    }

    fn file(self, name: &str, content: &str) -> Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("in the directory")).expect("a writable directory");
        std::fs::write(path, content).expect("a writable file");
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn load(&self) -> Result<Loaded, Problems> {
        Ok(load_directory(self.directory.path(), self.environment.clone())?)
    }

    fn load_file(&self, name: &str) -> Result<Loaded, Problems> {
        Ok(load_file(&self.path(name), self.environment.clone())?)
    }

    fn settings(&self) -> Settings {
        self.load().unwrap_or_else(|problems| panic!("{problems}")).settings
    }
}

fn keys(problems: &Problems) -> Vec<&str> {
    problems.iter().map(|problem| problem.key.as_str()).collect()
}

#[test]
fn a_minimal_configuration_has_the_documented_defaults() {
    let settings = Place::new().file("config.toml", MINIMAL).settings();
    let expected = Settings {
        aws: Aws {
            endpoint: "broker.example".into(),
            port: 8883,
            thing: "robot1".into(),
            client_id: "robot1".into(),
            certificate: "robot1.pem".into(),
            private_key: "robot1.key".into(),
            root_ca: None,
            provisioning: None,
        },
        mqtt: Mqtt {
            version: MqttVersion::Auto,
            keep_alive: Duration::from_secs(60),
            ack_timeout: Duration::from_secs(20),
            reconnect: Reconnect {
                initial: Duration::from_secs(1),
                max: Duration::from_secs(120),
                stable_after: Duration::from_secs(30),
            },
            quotas: Quotas { publishes_per_second: Some(100), bytes_per_second: Some(512 << 10), in_flight: 100 },
            last_will: None,
            presence: None,
            proxy: None,
        },
        ros: Ros { node_name: "iot_bridge".into(), namespace: String::new() },
        queue: Queue {
            memory: 32 << 20,
            disk: 1 << 30,
            directory: "/var/lib/iot-bridge/queue".into(),
            durability: QueueDurability::Spill,
            sync: Duration::from_millis(100),
            overflow: Overflow::DropOldest,
            max_age: Duration::from_secs(7 * 86_400),
        },
        health: Health { metrics: None, diagnostics: true },
        commands: Vec::new(),
        services: Vec::new(),
        actions: Vec::new(),
        shadows: Vec::new(),
        remote: None,
        topics: vec![Topic {
            ros: "/odom".into(),
            type_name: None,
            mqtt: "robots/robot1/odom".into(),
            qos: Qos::AtLeastOnce,
            retain: false,
            payload: Payload::Message,
            batch: None,
            compression: None,
            except: Vec::new(),
            requested: None,
            limit: None,
            rate: None,
            every: None,
            window: None,
            aggregate: Vec::new(),
            fields: Vec::new(),
            exclude: Vec::new(),
            arrays: None,
            digits: None,
            on_change: None,
            compress_over: 1 << 10,
            compression_suffix: false,
            priority: Priority::Normal,
            max_age: Duration::from_secs(7 * 86_400),
            reliability: Reliability::Auto,
            durability: Durability::Auto,
            depth: 100,
        }],
    };
    assert_eq!(settings, expected);
}

#[test]
fn the_environment_overrides_drop_ins_and_drop_ins_override_the_file() {
    let main = format!("{MINIMAL}[mqtt.reconnect]\ninitial = \"2 s\"\nmax = \"10 s\"\nstable_after = \"20 s\"\n");
    let place = Place::new()
        .file("config.toml", &main)
        .file("conf.d/20-later.toml", "[mqtt.reconnect]\nmax = \"40 s\"\nstable_after = \"50 s\"\n")
        .file("conf.d/10-earlier.toml", "[mqtt.reconnect]\nmax = \"30 s\"\n")
        .file("conf.d/.hidden.toml", "this is no TOML")
        .file("conf.d/editors-copy.toml~", "this is no TOML")
        .variable("IOT_BRIDGE_MQTT__RECONNECT__STABLE_AFTER", "60 s")
        .variable("IOT_BRIDGE_AWS__PORT", "443")
        .variable("HOME", "/root");
    let loaded = place.load().unwrap_or_else(|problems| panic!("{problems}"));
    let reconnect = loaded.settings.mqtt.reconnect;
    assert_eq!(reconnect.initial, Duration::from_secs(2));
    assert_eq!(reconnect.max, Duration::from_secs(40));
    assert_eq!(reconnect.stable_after, Duration::from_secs(60));
    assert_eq!(loaded.settings.aws.port, 443);
    let sources = ["config.toml", "conf.d/10-earlier.toml", "conf.d/20-later.toml"].map(|name| place.path(name));
    assert_eq!(loaded.sources, sources);
    assert_eq!(loaded.variables, ["IOT_BRIDGE_AWS__PORT", "IOT_BRIDGE_MQTT__RECONNECT__STABLE_AFTER"]);
    assert!(!loaded.is_sample);
}

#[test]
fn drop_ins_append_their_topics_also_beside_a_file_given_by_path() {
    let place = Place::new()
        .file("mine.toml", MINIMAL)
        .file("conf.d/arm.toml", "[[topics]]\nros = \"/arm/joints\"\n[[topics]]\nros = \"/arm/state\"\n");
    let settings = place.load_file("mine.toml").unwrap_or_else(|problems| panic!("{problems}")).settings;
    let names: Vec<&str> = settings.topics.iter().map(|topic| topic.ros.as_str()).collect();
    assert_eq!(names, ["/odom", "/arm/joints", "/arm/state"]);
}

#[test]
fn a_problem_in_a_drop_in_is_counted_and_located_in_that_file() {
    let place = Place::new()
        .file("config.toml", MINIMAL)
        .file("conf.d/arm.toml", "[[topics]]\nros = \"/arm\"\n[[topics]]\nros = \"/leg\"\nqos = 2\n");
    let problems = place.load().expect_err("QoS 2");
    let problem = problems.iter().next().expect("one");
    assert_eq!(problem.source, place.path("conf.d/arm.toml").display().to_string());
    assert_eq!((problem.line, problem.key.as_str()), (Some(5), "topics[1].qos"));
}

#[test]
fn values_of_the_environment_are_text_where_text_is_wanted() {
    let settings = Place::new()
        .file("config.toml", MINIMAL)
        .variable("IOT_BRIDGE_AWS__THING", "12345")
        .variable("IOT_BRIDGE_AWS__CLIENT_ID", "true")
        .variable("IOT_BRIDGE_QUEUE__MEMORY", "2097152")
        .variable("IOT_BRIDGE_ROS__NAMESPACE", "")
        .variable("IOT_BRIDGE_MQTT__QUOTAS__IN_FLIGHT", "10")
        .settings();
    assert_eq!((settings.aws.thing.as_str(), settings.aws.client_id.as_str()), ("12345", "true"));
    assert_eq!((settings.queue.memory, settings.mqtt.quotas.in_flight), (2 << 20, 10));
}

#[test]
fn a_problem_with_a_variable_names_the_variable() {
    let place = Place::new()
        .file("config.toml", MINIMAL)
        .variable("IOT_BRIDGE_AWS__PORT", "99999")
        .variable("IOT_BRIDGE_AWS__ENDPONT", "x")
        .variable("IOT_BRIDGE_MQTT__VERSION", "4");
    let problems = place.load().expect_err("three faults");
    let said: Vec<_> = problems.iter().map(|p| (p.source.as_str(), p.key.as_str(), p.allowed.as_str())).collect();
    assert_eq!(
        said,
        [
            ("IOT_BRIDGE_AWS__ENDPONT", "aws.endpont", "did you mean IOT_BRIDGE_AWS__ENDPOINT?"),
            ("IOT_BRIDGE_AWS__PORT", "aws.port", "allowed is a whole number from 1 to 65535"),
            ("IOT_BRIDGE_MQTT__VERSION", "mqtt.version", "allowed is one of \"auto\", \"3.1.1\", \"5\""),
        ]
    );
}

/// The password of a proxy is in no problem, however wrong the URL or the file is, and in no settings that are printed.
#[test]
fn the_password_of_a_proxy_stays_secret() {
    let url = "IOT_BRIDGE_MQTT__PROXY__URL";
    let settings = Place::new().file("config.toml", MINIMAL).variable(url, "http://robot:secret@proxy:3128").settings();
    let proxy = settings.mqtt.proxy.clone().expect("it is there");
    let proxy = proxy.proxy().expect("no file is needed");
    assert_eq!(proxy.credentials.as_ref().map(|found| found.password.as_str()), Some("secret"));
    let printed = settings.to_toml().expect("serializes");
    assert!(printed.contains("url = \"http://robot:***@proxy:3128\"") && !printed.contains("secret"), "{printed}");
    assert!(!format!("{settings:?}").contains("secret"));
    let wrong = Place::new().file("config.toml", MINIMAL).variable(url, "https://robot:secret@proxy:3128").load();
    let torn = format!("{MINIMAL}[mqtt.proxy]\nurl = \"http://robot:secret@proxy:3128\n");
    let half = Place::new().file("config.toml", MINIMAL).variable(url, "http://robot:secret").load();
    let table = Place::new().file("config.toml", MINIMAL).variable("IOT_BRIDGE_MQTT__PROXY", "secret").load();
    let as_file = |url| format!("{MINIMAL}[mqtt.proxy]\nurl_file = \"{url}\"\n");
    let as_file = |url| Place::new().file("config.toml", &as_file(url)).load();
    let as_key = MINIMAL.replace("robot1.key", "https://robot:secret@files/robot1.key");
    assert_ne!(as_key, MINIMAL);
    let misplaced =
        format!("{}\n[mqtt]\nproxy = \"secret\"\n", MINIMAL.replace("broker.example", "robot:secret@proxy"));
    for (problems, words) in [
        (wrong, "found text that is not shown, because it may be secret; allowed is the URL of an HTTP proxy"),
        (as_file("http://robot:secret@proxy:3128"), "allowed is the path of a file; a URL belongs in `url`"),
        (as_file("robot:secret@proxy"), "found text that is not shown, because it may be secret; allowed is the path"),
        (
            Place::new().file("config.toml", &as_key).load(),
            "found \"https://robot:***@files/robot1.key\"; allowed is a path",
        ),
        (half, "found text that is not shown, because it may be secret; allowed is a port"),
        (Place::new().file("config.toml", &torn).load(), "found `url = …`"),
        (table, "found text; allowed is a table"),
        (Place::new().file("config.toml", &misplaced).load(), "found text; allowed is a table"),
    ] {
        let said = problems.expect_err("it is wrong").to_string();
        assert!(
            said.contains(words)
                && !said.contains("=secret")
                && !said.contains("secret\"")
                && !said.contains("secret@"),
            "{said}"
        );
    }
}

#[test]
fn a_variable_cannot_take_the_place_of_a_section() {
    let place = Place::new().file("config.toml", MINIMAL).variable("IOT_BRIDGE_AWS", "broker.example");
    let problems = place.load().expect_err("a section is a table");
    assert_eq!(keys(&problems), ["aws"]);
    assert_eq!(problems.iter().next().map(|problem| problem.source.as_str()), Some("IOT_BRIDGE_AWS"));
}

#[test]
fn without_a_main_file_both_names_are_told() {
    let place = Place::new();
    let said = place.load().expect_err("nothing there").to_string();
    for name in ["config.toml", "config.json"] {
        assert!(said.contains(&place.path(name).display().to_string()), "{said}");
    }
}

#[test]
fn json_says_the_same_as_toml_and_is_taken_if_there_is_no_toml() {
    let json = r#"{"aws": {"endpoint": "broker.example", "thing": "robot1", "certificate": "robot1.pem",
        "private_key": "robot1.key"}, "topics": [{"ros": "/odom"}]}"#;
    let from_json = Place::new().file("config.json", json).settings();
    assert_eq!(from_json, Place::new().file("config.toml", MINIMAL).settings());
    let both = Place::new().file("config.json", "{}").file("config.toml", MINIMAL);
    assert_eq!(both.load().expect("TOML wins").sources, [both.path("config.toml")]);
}

#[test]
fn printed_settings_read_back_as_the_same() {
    let main = r#"
        [aws]
        endpoint = "broker.example"
        port = 443
        thing = "robot1"
        client_id = "robot 1"
        certificate = "robot1.pem"
        private_key = "robot1.key"
        root_ca = "ca.pem"
        [mqtt]
        keep_alive = "90 s"
        [mqtt.quotas]
        publishes_per_second = 20
        bytes_per_second = "unlimited"
        in_flight = 7
        [mqtt.last_will]
        topic = "{thing}/gone"
        payload = "{\"gone\": true}"
        qos = 0
        [ros]
        namespace = "/fleet/robot1"
        [queue]
        memory = "1.5 MiB"
        overflow = "drop-newest"
        [health]
        metrics = "[::1]:9464"
        diagnostics = false
        [[topics]]
        ros = "odom"
        mqtt = "x/{type}/{name}"
        qos = 0
        retain = true
        payload = "envelope"
        priority = "high"
        max_age = "1500 ms"
        reliability = "best-effort"
        durability = "transient-local"
        depth = 1
        fields = ["pose", "twist.twist.linear.x"]
        exclude = ["*.covariance"]
        digits = 6
        arrays = { max = 9, over = "omit", fields = { "a[*].b" = { max = 0, over = "summary" } } }
        [[topics]]
        ros = "/chat"
        type = "std_msgs/msg/String"
        mqtt = "{namespace}|{type}"
        payload = "data"
        batch = { max = 20, linger = "1.5 s" }
        compression = "zstd"
        compress_over = "0 B"
        compression_suffix = true
        "#;
    let settings = Place::new().file("config.toml", main).settings();
    assert_eq!(settings.topics[0].ros, "/fleet/robot1/odom");
    assert_eq!(settings.topics[0].mqtt, "x/{type}/odom");
    assert_eq!(settings.topics[0].mqtt_for("a/msg/B").as_deref(), Ok("x/a/msg/B/odom"));
    assert_eq!(settings.topics[1].mqtt, "|std_msgs/msg/String");
    let printed = settings.to_toml().expect("prints");
    assert_eq!(Place::new().file("config.toml", &printed).settings(), settings, "{printed}");
    assert!(printed.contains("keep_alive = \"90 s\""), "{printed}");
    let json = serde_json::to_string(&settings).expect("prints");
    assert_eq!(Place::new().file("config.json", &json).settings(), settings, "{json}");
}

const FLEET: &str = r#"
[aws]
endpoint = "broker.example"
[aws.provisioning]
template = "my-fleet"
claim_certificate = "claim.pem"
claim_private_key = "claim.key"
[mqtt.last_will]
topic = "robots/{thing}/gone"
[[topics]]
ros = "/odom"
"#;

/// With provisioning a robot needs no name, certificate and key: it gets them. The files are where the service may
/// write, and the name stays open in topics.
#[test]
fn with_provisioning_the_robots_own_may_be_left_out() {
    let settings = Place::new().file("config.toml", FLEET).settings();
    let aws = &settings.aws;
    assert_eq!((aws.thing.as_str(), aws.client_id.as_str(), aws.is_named()), (UNNAMED, UNNAMED, false));
    assert_eq!(aws.certificate, Path::new("/var/lib/iot-bridge/certs/robot.cert.pem"));
    assert_eq!(aws.private_key, Path::new("/var/lib/iot-bridge/certs/robot.private.key"));
    assert_eq!(settings.topics[0].mqtt, "robots/{thing}/odom");
    assert_eq!(fill_thing(&settings.topics[0].mqtt, "robot7"), "robots/robot7/odom");
    assert_eq!(settings.mqtt.last_will.as_ref().map(|will| will.topic.as_str()), Some("robots/{thing}/gone"));
    let printed = settings.to_toml().expect("prints");
    assert_eq!(Place::new().file("config.toml", &printed).settings(), settings, "{printed}");

    let mut named = settings.aws.clone();
    named.name("robot7");
    assert_eq!((named.thing.as_str(), named.client_id.as_str()), ("robot7", "robot7"));
    named.name("robot8");
    assert_eq!(named.thing, "robot7", "what has a name keeps it");
}

/// What is set stays in force beside provisioning, and its parameters are as written, also from the environment.
#[test]
fn what_is_set_beside_provisioning_stays_in_force() {
    let own = "[aws]\nthing = \"robot1\"\nclient_id = \"id1\"\ncertificate = \"own.pem\"\n";
    let settings = Place::new()
        .file("config.toml", &FLEET.replace("[aws]\n", own))
        .file("conf.d/serial.toml", "[aws.provisioning.parameters]\nSerialNumber = \"0012\"\n")
        .settings();
    let aws = &settings.aws;
    assert_eq!((aws.thing.as_str(), aws.client_id.as_str()), ("robot1", "id1"));
    assert_eq!(aws.certificate, Path::new("own.pem"));
    let provisioning = aws.provisioning.as_ref().expect("it is there");
    assert_eq!(provisioning.parameters, [("SerialNumber".to_owned(), "0012".to_owned())].into());
    // They may be a proof of who asks: printed by name only, whatever way, and written whole where that is meant.
    let printed = settings.to_toml().expect("prints");
    assert!(printed.contains("SerialNumber = \"***\"") && !printed.contains("0012"), "{printed}");
    assert!(!format!("{settings:?}").contains("0012") && format!("{settings:?}").contains("SerialNumber"));
    let written = settings.to_secret_toml().expect("prints");
    assert_eq!(Place::new().file("config.toml", &written).settings(), settings, "{written}");

    let variable = "IOT_BRIDGE_AWS__PROVISIONING__PARAMETERS";
    let table = Place::new().file("config.toml", FLEET).variable(variable, "{SerialNumber=\"0012\"}").settings();
    assert_eq!(table.aws.provisioning.expect("it is there").parameters, provisioning.parameters);
    let number = Place::new().file("config.toml", FLEET).variable(variable, "{SerialNumber=12}");
    assert_eq!(keys(&number.load().expect_err("a number")), ["aws.provisioning.parameters.SerialNumber"]);
}

/// As the sample's template is filled in by its instructions.
const SAMPLE: &str = r#"{
    "endpoint": "a1b2c3d4-ats.iot.us-west-2.amazonaws.com",
    "rootCAPath": "/certs/rootCA.crt",
    "privateKeyPath": "/certs/my_ros2_robot_thing.private.key",
    "certificatePath": "/certs/my_ros2_robot_thing.cert.pem",
    "clientID": "my_ros2_robot_thing",
    "port": 8883
}"#;

#[test]
fn the_samples_configuration_does_what_the_sample_does() {
    let place = Place::new().file("iot_config.json", SAMPLE).file("conf.d/other.toml", "not looked at");
    let loaded = place.load_file("iot_config.json").unwrap_or_else(|problems| panic!("{problems}"));
    assert!(loaded.is_sample);
    assert_eq!(loaded.sources, [place.path("iot_config.json")]);
    let aws = &loaded.settings.aws;
    assert_eq!((aws.endpoint.as_str(), aws.port), ("a1b2c3d4-ats.iot.us-west-2.amazonaws.com", 8883));
    assert_eq!(aws.client_id, "my_ros2_robot_thing");
    assert_eq!(aws.root_ca.as_deref(), Some(Path::new("/certs/rootCA.crt")));
    assert_eq!(aws.certificate, Path::new("/certs/my_ros2_robot_thing.cert.pem"));
    assert_eq!(aws.private_key, Path::new("/certs/my_ros2_robot_thing.private.key"));
    let [topic] = &loaded.settings.topics[..] else { panic!("one topic") };
    assert_eq!((topic.ros.as_str(), topic.mqtt.as_str()), ("/mock_telemetry", "ros2_mock_telemetry_topic"));
    assert_eq!(topic.type_name.as_deref(), Some("std_msgs/msg/String"));
    assert_eq!((topic.payload, topic.qos, topic.retain), (Payload::Data, Qos::AtLeastOnce, false));
}

#[test]
fn drop_ins_beside_the_samples_file_in_a_directory_of_configuration_are_problems() {
    let broken = SAMPLE.replace("8883", "\"PORT\"");
    for (main, found) in [(SAMPLE, ["", ""].as_slice()), (&broken, &["port", "", ""])] {
        let place = Place::new().file("config.json", main).file("conf.d/a.toml", MINIMAL).file("conf.d/b.toml", "");
        let problems = place.load().expect_err("they have no effect");
        assert_eq!(keys(&problems), found, "{problems}");
        let said = problems.to_string();
        let config = place.path("config.json").display().to_string();
        assert!(said.contains(&format!("found a file that is not read beside {config}, which")), "{said}");
        assert!(said.contains(&place.path("conf.d/b.toml").display().to_string()), "{said}");
    }
    let place = Place::new().file("config.json", SAMPLE).file("conf.d/.hidden.toml", "no file of ours");
    assert!(place.load().expect("none that would be read").is_sample);
}

#[test]
fn later_versions_of_the_sample_and_a_port_in_quotes_are_understood() {
    let later = SAMPLE
        .replace("8883", "\"443\"")
        .replace('{', "{ \"region\": \"us-west-2\", \"retryWaitTime\": 5, \"retryAttempts\": 10,")
        .replace("my_ros2_robot_thing\",", "robot 1/left\",");
    let settings = Place::new().file("config.json", &later).variable("IOT_BRIDGE_ROS__NAMESPACE", "/robot1").settings();
    assert_eq!(settings.aws.port, 443);
    assert_eq!((settings.aws.client_id.as_str(), settings.aws.thing.as_str()), ("robot 1/left", "robot_1_left"));
    assert_eq!(settings.topics[0].ros, "/robot1/mock_telemetry");
}

#[test]
fn problems_of_the_sample_are_told_in_its_own_words() {
    let broken = SAMPLE
        .replace("\"port\": 8883", "\"port\": \"PORT\", \"rootCaPath\": \"x\"")
        .replace("\"privateKeyPath\": \"/certs/my_ros2_robot_thing.private.key\",", "")
        .replace("\"clientID\": \"my_ros2_robot_thing\"", "\"clientID\": 7");
    let problems = Place::new().file("config.json", &broken).load().expect_err("four faults");
    let keys: BTreeSet<&str> = keys(&problems).into_iter().collect();
    assert_eq!(keys, BTreeSet::from(["clientID", "port", "privateKeyPath", "rootCaPath"]), "{problems}");
    assert!(problems.to_string().contains("did you mean `rootCAPath`?"), "{problems}");
}

#[test]
fn every_key_is_accepted() {
    let problems = Place::new().file("config.toml", EVERY_KEY).load().expect_err("two exclude others");
    // The file has both of two that stand for each other.
    assert_eq!(keys(&problems), ["mqtt.last_will", "mqtt.proxy.url_file"]);
}

#[test]
fn the_file_with_every_key_has_every_key() {
    let document: toml_edit::ImDocument<&str> = toml_edit::ImDocument::parse(EVERY_KEY).expect("valid");
    for path in super::keys::paths() {
        assert!(page::has(document.as_item(), &path), "{path} is missing in every_key.toml");
    }
}

/// What holds without the key at `path`.
fn default_of(path: &str) -> Option<&'static str> {
    let (mut keys, mut default) = (super::keys::ROOT, None);
    for name in path.replace("[]", "").replace(".*", "").split('.') {
        let key = keys.iter().find(|key| key.name == name).expect("a path of a key");
        match (key.kind, key.presence) {
            (super::kind::Kind::Table(inner) | super::kind::Kind::Tables(inner), _) => keys = inner,
            (super::kind::Kind::NamedTables(inner), _) => keys = inner,
            (_, super::kind::Presence::Default(text)) => default = Some(text),
            _ => {}
        }
    }
    default
}

#[test]
fn the_example_for_operators_loads_and_names_every_key() {
    let example = include_str!("../../../../etc/config.toml");
    // As it is installed, nothing is sent anywhere.
    let problems = Place::new().file("config.toml", example).load().expect_err("nobody has edited it");
    assert_eq!(keys(&problems), ["topics", "aws.endpoint", "aws.thing", "aws.certificate", "aws.private_key"]);
    // With its commented settings in force it loads.
    let uncommented: String = example
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line).to_owned() + "\n")
        .collect();
    Place::new().file("config.toml", &uncommented).settings();
    let document: toml_edit::ImDocument<&str> = toml_edit::ImDocument::parse(uncommented.as_str()).expect("valid");
    let within = |path: &str, table: &str| path.strip_prefix(table).is_some_and(|rest| rest.starts_with(['.', '[']));
    let paths = super::keys::paths();
    for path in &paths {
        if within(path, "mqtt.presence") || ["mqtt.presence", "mqtt.proxy.url_file"].contains(&path.as_str()) {
            // It can't be in force beside [mqtt.last_will] or `url`.
            let name = path.rsplit('.').next().expect("a name");
            assert!(example.contains(&format!("# {name} = ")) || example.contains(&format!("# [{path}]")), "{path}");
            continue;
        }
        let is_table = paths.iter().any(|other| within(other, path));
        if is_table {
            continue;
        }
        let mut items: Vec<&toml_edit::Item> = vec![document.as_item()];
        for part in path.replace("[]", "").split('.') {
            let tables = items.iter().flat_map(|item| match item.as_array_of_tables() {
                Some(list) => (0..list.len()).filter_map(|index| item.get(index)).collect(),
                None => vec![*item],
            });
            items = match part {
                "*" => tables.filter_map(|item| Some(item.as_table_like()?.iter().next()?.1)).collect(),
                part => tables.filter_map(|item| item.get(part)).collect(),
            };
        }
        assert!(!items.is_empty(), "{path} is missing in etc/config.toml");
        if let Some(default) = default_of(path) {
            let shown = items[0].to_string();
            assert_eq!(shown.trim().trim_matches('"'), default, "etc/config.toml shows another default of {path}");
        }
    }
}

/// What systemd hands to the service is found where the environment says, and stays as it is written where it does not.
#[test]
fn credentials_of_systemd_are_found_by_their_name() {
    let text = format!(
        "{}\n[mqtt.proxy]\nurl_file = \"${{CREDENTIALS_DIRECTORY}}/proxy\"\n",
        MINIMAL.replace("robot1.key", "${CREDENTIALS_DIRECTORY}/robot1.key")
    );
    let place = Place::new().file("config.toml", &text);
    let settings = place.settings();
    assert_eq!(settings.aws.private_key, Path::new("${CREDENTIALS_DIRECTORY}/robot1.key"));
    let loaded = place.variable("CREDENTIALS_DIRECTORY", "/run/credentials/iot-bridge.service").load().unwrap();
    assert_eq!(loaded.settings.aws.private_key, Path::new("/run/credentials/iot-bridge.service/robot1.key"));
    assert_eq!(loaded.credentials.aws.private_key, loaded.settings.aws.private_key);
    let file = PathBuf::from("/run/credentials/iot-bridge.service/proxy");
    assert_eq!(loaded.credentials.proxy_file.as_ref(), Some(&file));
    assert_eq!(loaded.settings.mqtt.proxy, Some(ProxySource::File { url_file: file }));
    assert_eq!(loaded.settings.aws.certificate, Path::new("robot1.pem"));
}

/// The URL of a proxy stands in one place.
#[test]
fn a_proxy_has_one_url() {
    let both = format!("{MINIMAL}\n[mqtt.proxy]\nurl = \"http://proxy\"\nurl_file = \"/proxy\"\n");
    let problems = Place::new().file("config.toml", &both).load().expect_err("two");
    assert_eq!(keys(&problems), ["mqtt.proxy.url_file"]);
    assert!(problems.iter().all(|problem| problem.allowed.contains("one of the two")), "{problems}");
}
