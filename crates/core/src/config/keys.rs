//! Every key of the configuration: its kind, and what holds without it.

use std::net::SocketAddr;
use std::time::Duration;

use super::credentials_directory::CREDENTIALS_DIRECTORY;
use super::endpoint::check_endpoint;
use super::field_path::check_field_path;
use super::kind::{Key, Kind, Presence, check_text};
use super::limits::PAYLOAD_LIMIT;
use super::problem::is_key_material;
use super::proxy::Proxy;
use super::ros_names;
use super::settings::Section;

const fn key(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, presence: Presence::Optional, note: None }
}

impl Key {
    const fn required(self) -> Self {
        Key { presence: Presence::Required, ..self }
    }

    const fn required_without(self, others: &'static [&'static str]) -> Self {
        Key { presence: Presence::RequiredWithout(others), ..self }
    }

    const fn or(self, default: &'static str) -> Self {
        Key { presence: Presence::Default(default), ..self }
    }

    const fn note(self, note: &'static str) -> Self {
        Key { note: Some(note), ..self }
    }
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// Ages and deadlines: a clock can count a year ahead, and below 100 ms nothing would ever be young enough.
const AGE: Kind = Kind::Duration(Duration::from_millis(100), YEAR);
/// A file that is only read; a credential of systemd's may stand there.
const FILE: Kind = Kind::Text(check_file);
const DIRECTORY: Kind = Kind::Text(check_path);
const ROS_TOPIC: Kind = Kind::Text(ros_names::check_topic);
/// The name of one topic.
const ONE_TOPIC: Kind = Kind::Text(ros_names::check_one_topic);
/// The name of a service or an action.
const ONE_NAME: Kind = Kind::Text(ros_names::check_service);
const ROS_TYPES: Kind = Kind::Text(ros_names::check_types);
/// An MQTT topic with placeholders; judged when they are filled in.
const TEMPLATE: Kind = Kind::Text(|_| Ok(()));
/// The payload of a message of the bridge's own.
const MESSAGE: Kind = Kind::Text(check_message);
const QOS: Kind = Kind::Integer(0, 1);
const NO_QOS_2: &str = "AWS IoT Core has no QoS 2";
/// Paths of fields.
const PATHS: Kind = Kind::List(&Kind::Text(check_field_path));

const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

/// The whole configuration.
pub(super) const ROOT: &[Key] = &[
    key("aws", Kind::Table(AWS)).required(),
    key("mqtt", Kind::Table(MQTT)).required(),
    key("ros", Kind::Table(ROS)).required(),
    key("queue", Kind::Table(QUEUE)).required(),
    key("topics", Kind::Tables(TOPIC))
        .required_without(&["commands", "services", "actions", "shadows", "remote"])
        .note("without a ROS topic there is nothing to forward, and there is nothing to ask the robot for either"),
    key("commands", Kind::Tables(COMMAND)),
    key("services", Kind::Tables(SERVICE)),
    key("actions", Kind::Tables(ACTION)),
    key("shadows", Kind::Tables(SHADOW)),
    key("remote", Kind::Table(REMOTE)),
    key("health", Kind::Table(HEALTH)).required(),
];

const AWS: &[Key] = &[
    key("endpoint", Kind::Text(check_endpoint)).required(),
    key("port", Kind::Integer(1, 65_535)).or("8883"),
    key("thing", Kind::Text(check_thing)).required_without(&["provisioning"]),
    key("client_id", Kind::Text(check_client_id)),
    key("certificate", FILE).required_without(&["provisioning"]),
    key("private_key", FILE).required_without(&["provisioning"]),
    key("root_ca", FILE),
    key("provisioning", Kind::Table(PROVISIONING)),
];

const PROVISIONING: &[Key] = &[
    key("template", Kind::Text(check_template)).required(),
    key("claim_certificate", FILE).required(),
    key("claim_private_key", FILE).required(),
    key("parameters", Kind::Names),
];

const MQTT: &[Key] = &[
    key("version", Kind::Choice(&["auto", "3.1.1", "5"])).or("auto"),
    key("keep_alive", Kind::Duration(Duration::from_secs(5), Duration::from_secs(1_200))).or("60 s"),
    key("ack_timeout", Kind::Duration(SECOND, Duration::from_secs(600))).or("20 s"),
    key("reconnect", Kind::Table(RECONNECT)).required(),
    key("quotas", Kind::Table(QUOTAS)).required(),
    key("last_will", Kind::Table(LAST_WILL)),
    key("presence", Kind::Table(PRESENCE)),
    key("proxy", Kind::Table(PROXY)),
];

const RECONNECT: &[Key] = &[
    key("initial", Kind::Duration(SECOND, HOUR))
        .or("1 s")
        .note("AWS IoT Core takes one connection attempt a second for a client id"),
    key("max", Kind::Duration(SECOND, HOUR)).or("2 min"),
    key("stable_after", Kind::Duration(SECOND, HOUR)).or("30 s"),
];

const QUOTAS: &[Key] = &[
    key("publishes_per_second", Kind::WordOr("unlimited", &Kind::Integer(1, 1_000_000))).or("100"),
    key("bytes_per_second", Kind::WordOr("unlimited", &Kind::Size(1, TIB))).or("512 KiB"),
    key("in_flight", Kind::Integer(1, 100))
        .or("100")
        .note("AWS IoT Core takes 100 unacknowledged publishes on a connection"),
];

const LAST_WILL: &[Key] = &[
    key("topic", TEMPLATE).required(),
    key("payload", MESSAGE).or("offline"),
    key("qos", QOS).or("1").note(NO_QOS_2),
    key("retain", Kind::Bool).or("false"),
];

const PRESENCE: &[Key] =
    &[key("topic", TEMPLATE).required(), key("online", MESSAGE).or("online"), key("offline", MESSAGE).or("offline")];

const PROXY: &[Key] = &[
    key("url", Kind::Text(|url| Proxy::parse(url).map(drop)))
        .required_without(&["url_file"])
        .note("or `url_file` names a file that holds it"),
    key("url_file", Kind::Text(check_url_file)),
];

const ROS: &[Key] = &[
    key("node_name", Kind::Text(ros_names::check_node)).or("iot_bridge"),
    key("namespace", Kind::Text(ros_names::check_namespace)).or(""),
];

const QUEUE: &[Key] = &[
    key("memory", Kind::Size(MIB, TIB)).or("32 MiB"),
    key("disk", Kind::Size(0, 1 << 50)).or("1 GiB"),
    key("directory", DIRECTORY).or("/var/lib/iot-bridge/queue"),
    key("durability", Kind::Choice(&["memory", "spill", "always"])).or("spill"),
    key("sync", Kind::WordOr("each", &Kind::Duration(Duration::from_millis(1), MINUTE))).or("100 ms"),
    key("overflow", Kind::Choice(&["drop-oldest", "drop-newest"])).or("drop-oldest"),
    key("max_age", AGE).or("7 days"),
];

const TOPIC: &[Key] = &[
    key("ros", ROS_TOPIC).required(),
    key("type", ROS_TYPES),
    key("mqtt", TEMPLATE).or("robots/{thing}{ros}"),
    key("qos", QOS).or("1").note(NO_QOS_2),
    key("retain", Kind::Bool).or("false"),
    key("except", Kind::List(&ROS_TOPIC)),
    key("limit", Kind::Integer(1, 100_000)).or("200"),
    key("rate", Kind::Rate),
    key("every", Kind::Integer(1, u32::MAX as u64)),
    key("window", AGE),
    key("aggregate", Kind::List(&Kind::Choice(&["mean", "min", "max", "last", "count"]))),
    key("fields", PATHS),
    key("exclude", PATHS),
    key("arrays", Kind::Table(ARRAYS)),
    key("digits", Kind::Integer(1, 17)),
    key("on_change", Kind::Table(ON_CHANGE)),
    key("payload", Kind::Choice(&["message", "envelope", "data", "cdr"])).or("message"),
    key("batch", Kind::Table(BATCH)),
    key("compression", Kind::Choice(&["none", "gzip", "zstd"])).or("none"),
    key("compress_over", Kind::Size(0, MIB)).or("1 KiB"),
    key("compression_suffix", Kind::Bool).or("false"),
    key("priority", Kind::Choice(&["high", "normal", "low"])).or("normal"),
    key("max_age", AGE),
    key("reliability", Kind::Choice(&["auto", "reliable", "best-effort"])).or("auto"),
    key("durability", Kind::Choice(&["auto", "volatile", "transient-local"])).or("auto"),
    key("depth", Kind::Integer(1, 100_000)).or("100"),
];

const ARRAYS: &[Key] = &[
    key("max", ELEMENTS).required_without(&["fields"]),
    key("over", OVER).or("truncate"),
    key("fields", Kind::NamedTables(ARRAYS_OF_FIELD)),
];

const ARRAYS_OF_FIELD: &[Key] = &[key("max", ELEMENTS).required(), key("over", OVER).or("truncate")];

const ELEMENTS: Kind = Kind::Integer(0, u32::MAX as u64);
const OVER: Kind = Kind::Choice(&["truncate", "drop", "omit", "summary"]);

const ON_CHANGE: &[Key] = &[key("fields", PATHS), key("deadband", Kind::NumberOrPercent), key("at_least_every", AGE)];

const BATCH: &[Key] =
    &[key("max", Kind::Integer(1, 100_000)).required(), key("linger", Kind::Duration(Duration::ZERO, HOUR)).or("0 s")];

const COMMAND: &[Key] = &[
    key("mqtt", TEMPLATE).required(),
    key("ros", ONE_TOPIC).required(),
    key("type", Kind::Text(ros_names::check_type)).required(),
    key("payload", Kind::Choice(&["message", "envelope"])).or("message"),
    key("qos", QOS).or("0").note(NO_QOS_2),
    key("max_rate", Kind::Rate),
    key("max_age", AGE),
    key("limits", Kind::Limits),
    key("on_silence", Kind::Table(ON_SILENCE)),
    key("reply", TEMPLATE),
];

const ON_SILENCE: &[Key] =
    &[key("after", Kind::Duration(Duration::from_millis(50), HOUR)).required(), key("message", Kind::Message).or("{}")];

const SERVICE: &[Key] = &[
    key("mqtt", TEMPLATE).required(),
    key("service", ONE_NAME).required(),
    key("type", Kind::Text(ros_names::check_service_type)).required(),
    key("timeout", Kind::Duration(Duration::from_millis(100), HOUR)).or("5 s"),
    key("reply", TEMPLATE),
];

const ACTION: &[Key] = &[
    key("mqtt", TEMPLATE).required(),
    key("action", ONE_NAME).required(),
    key("type", Kind::Text(ros_names::check_action_type)).required(),
    key("feedback_rate", Kind::Rate),
];

const SHADOW: &[Key] = &[
    key("name", Kind::Text(check_shadow)).or(""),
    key("report", ONE_TOPIC).required_without(&["desired"]),
    key("report_rate", Kind::Rate).or("1 Hz"),
    key("desired", ONE_TOPIC),
    key("desired_type", Kind::Text(ros_names::check_type)),
];

const REMOTE: &[Key] = &[
    key("shadow", Kind::Text(check_named_shadow)).required(),
    key("allow", Kind::List(&Kind::Choice(&SECTIONS)))
        .or("[\"topics\"]")
        .note("all others are the robot's own: its connection, its queue, and what the cloud may set"),
    key("confirm", Kind::Duration(SECOND, DAY)).or("2 min"),
    key("jobs", Kind::Bool).or("false"),
];

/// Names of the sections that the cloud may set.
const SECTIONS: [&str; Section::ALL.len()] = {
    let mut names = [""; Section::ALL.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = Section::ALL[index].name();
        index += 1;
    }
    names
};

const HEALTH: &[Key] = &[key("metrics", Kind::Text(check_address)), key("diagnostics", Kind::Bool).or("true")];

/// Paths of all keys, such as `mqtt.reconnect.max`, `topics[].rate` and `topics[].arrays.fields.*.max`, where `*` is a name
/// of the user's own; tables before what is in them.
pub(super) fn paths() -> Vec<String> {
    fn collect(keys: &[Key], prefix: &str, paths: &mut Vec<String>) {
        for key in keys {
            let path = format!("{prefix}{}", key.name);
            paths.push(path.clone());
            match key.kind {
                Kind::Table(inner) => collect(inner, &format!("{path}."), paths),
                Kind::Tables(inner) => collect(inner, &format!("{path}[]."), paths),
                Kind::NamedTables(inner) => collect(inner, &format!("{path}.*."), paths),
                _ => {}
            }
        }
    }
    let mut paths = Vec::new();
    collect(ROOT, "", &mut paths);
    paths
}

/// Whether the value of the key that people read as `key` is never quoted, whatever it is. Where a file with a secret is
/// named, the secret itself may stand by mistake.
pub(super) fn is_secret(key: &str) -> bool {
    matches!(key, "mqtt.proxy.url" | "mqtt.proxy.url_file") || key.starts_with("aws.provisioning.parameters.")
}

fn check_message(text: &str) -> Result<(), String> {
    match text.len() {
        0..=PAYLOAD_LIMIT => Ok(()),
        length => Err(format!("it has {length} bytes; AWS IoT Core takes payloads of at most {PAYLOAD_LIMIT} bytes")),
    }
}

fn check_file(path: &str) -> Result<(), String> {
    match path.strip_prefix(CREDENTIALS_DIRECTORY) {
        Some("" | "/") => Err(format!("the name of a credential has to follow `{CREDENTIALS_DIRECTORY}/`")),
        Some(name) if name.starts_with('/') => check_path(name),
        _ => check_path(path),
    }
}

/// Whoever writes the URL here has its password printed wherever the path is.
fn check_url_file(path: &str) -> Result<(), String> {
    let plain = path.starts_with('/') && !path.starts_with("//") || path.starts_with(CREDENTIALS_DIRECTORY);
    if path.contains("://") || path.contains('@') && !plain {
        return Err("allowed is the path of a file; a URL belongs in `url`".into());
    }
    check_file(path)
}

fn check_path(path: &str) -> Result<(), String> {
    check_text(path)?;
    if path.contains("://") {
        return Err("allowed is a path; what stands here is a URL".into());
    }
    if is_key_material(path) {
        return Err("allowed is the path of a file; what stands here looks like what is in one".into());
    }
    if path.contains(char::is_control) {
        return Err("a path can't contain control characters such as line breaks".into());
    }
    if path.starts_with('~') || path.contains('$') {
        return Err(format!(
            "a path is taken as it stands, `~` and variables are not replaced, but for `{CREDENTIALS_DIRECTORY}/` at the \
             start of a certificate's, a key's and `url_file`'s; write it in full"
        ));
    }
    Ok(())
}

/// Longest client id and thing name, in bytes ("AWS IoT Core message broker and protocol limits and quotas").
const LONGEST_NAME: usize = 128;

fn check_client_id(id: &str) -> Result<(), String> {
    if id.is_empty() || id.len() > LONGEST_NAME || id.chars().any(char::is_control) {
        return Err(format!("allowed are 1 to {LONGEST_NAME} bytes of text without control characters"));
    }
    Ok(())
}

/// Whether AWS IoT Core takes `name` as that of a thing. Returns what is allowed.
pub fn check_thing(name: &str) -> Result<(), String> {
    // arn:aws:iot:REGION:ACCOUNT:thing/NAME
    if let Some((_, thing)) = name.split_once(":thing/").filter(|_| name.starts_with("arn:")) {
        check_thing(thing)?;
        return Err(format!("this is the thing's ARN; allowed is its name alone, {thing:?}"));
    }
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(is_thing_character) {
        return Err(format!("allowed are 1 to {LONGEST_NAME} letters, digits, `:`, `_` and `-`"));
    }
    Ok(())
}

/// Whether AWS IoT Core takes `c` in the name of a thing ("CreateThing" in its API reference).
pub(super) fn is_thing_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-')
}

/// Longest name of a provisioning template ("CreateProvisioningTemplate" in the API reference of AWS IoT).
const LONGEST_TEMPLATE: usize = 36;

fn check_template(name: &str) -> Result<(), String> {
    check_text(name)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if name.len() > LONGEST_TEMPLATE || !name.chars().all(allowed) {
        return Err(format!("allowed are 1 to {LONGEST_TEMPLATE} letters, digits, `_` and `-`"));
    }
    Ok(())
}

/// Longest name of a shadow, and what may be in it ("UpdateThingShadow" in the API reference of AWS IoT). The classic
/// shadow has none.
const LONGEST_SHADOW: usize = 64;

fn check_shadow(name: &str) -> Result<(), String> {
    let allowed = |c: char| is_thing_character(c) || c == '$';
    if name.len() > LONGEST_SHADOW || !name.chars().all(allowed) {
        return Err(format!(
            "allowed are up to {LONGEST_SHADOW} letters, digits, `:`, `_`, `-` and `$`, or \"\" for the classic shadow"
        ));
    }
    Ok(())
}

fn check_named_shadow(name: &str) -> Result<(), String> {
    match name {
        "" => Err(
            "allowed is the name of a named shadow, such as \"iot-bridge\": the classic one is for the robot's state"
                .into(),
        ),
        name => check_shadow(name),
    }
}

fn check_address(address: &str) -> Result<(), String> {
    let parsed: Result<SocketAddr, _> = address.parse();
    parsed.map(|_| ()).map_err(|_| "allowed is an IP address with a port, such as \"127.0.0.1:9464\"".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_things_and_client_ids_are_as_aws_takes_them() {
        assert!(check_thing("Robot:1_a-b").is_ok());
        assert!(check_thing("robot 1").is_err());
        let arn = check_thing("arn:aws:iot:eu-west-1:123456789012:thing/robot1").expect_err("an ARN");
        assert_eq!(arn, "this is the thing's ARN; allowed is its name alone, \"robot1\"");
        assert!(check_thing(&"x".repeat(129)).is_err());
        assert!(check_client_id("robot 1").is_ok());
        assert!(check_client_id(&"ü".repeat(65)).is_err());
        assert!(check_client_id("a\nb").is_err());
    }

    #[test]
    fn paths_are_taken_as_they_stand() {
        assert!(check_file("certs/robot1.pem").is_ok());
        assert!(check_file("~/certs/robot1.pem").is_err());
        assert!(check_file("$HOME/robot1.pem").is_err());
        assert!(check_file(" ").is_err());
        assert!(check_path("${CREDENTIALS_DIRECTORY}/queue").is_err());
    }

    /// A URL may have a password, which is not to be printed as a path is. An `@` alone is no URL.
    #[test]
    fn a_url_is_no_path() {
        for wrong in ["http://robot:hunter2@proxy:3128", "robot:hunter2@proxy", "//robot:hunter2@proxy"] {
            let allowed = check_url_file(wrong).expect_err(wrong);
            assert!(allowed.contains("belongs in `url`") && !allowed.contains("hunter2"), "{allowed}");
        }
        let allowed = check_file("https://robot:hunter2@files/robot.key").expect_err("a URL");
        assert_eq!(allowed, "allowed is a path; what stands here is a URL");
        for right in ["/etc/iot-bridge/proxy@site:1", "${CREDENTIALS_DIRECTORY}/proxy@site", "proxy"] {
            assert_eq!(check_url_file(right), Ok(()), "{right}");
        }
        assert_eq!(check_file("certs/robot@site.key"), Ok(()));
    }

    /// systemd's directory of credentials may begin a path, and nothing else of the kind.
    #[test]
    fn a_path_may_begin_with_systemds_credentials() {
        assert_eq!(check_file("${CREDENTIALS_DIRECTORY}/robot.key"), Ok(()));
        for wrong in [
            "${CREDENTIALS_DIRECTORY}",
            "${CREDENTIALS_DIRECTORY}/",
            "${CREDENTIALS_DIRECTORY}x",
            "$CREDENTIALS_DIRECTORY/robot.key",
            "/a/${CREDENTIALS_DIRECTORY}/robot.key",
            "${CREDENTIALS_DIRECTORY}/$HOME",
        ] {
            assert!(check_file(wrong).is_err(), "{wrong}");
        }
    }
}
