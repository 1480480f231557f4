//! What `[[commands]]`, `[[services]]`, `[[actions]]` and `[[shadows]]` say, and what they can't say.

use std::time::Duration;

use serde_json::json;

use super::super::*;
use super::{FLEET, MINIMAL, Place};

/// [`MINIMAL`] without its topic.
fn without_topics() -> String {
    MINIMAL.split("[[topics]]").next().expect("the rest").to_owned()
}

/// Loads `text` beside what every configuration needs.
fn load(text: &str) -> Result<Settings, Problems> {
    Place::new().file("config.toml", &format!("{text}\n{}", without_topics())).load().map(|loaded| loaded.settings)
}

fn settings(text: &str) -> Settings {
    load(text).unwrap_or_else(|problems| panic!("{text}\n{problems}"))
}

/// Each problem: its key, and what is allowed.
fn problems(text: &str) -> Vec<(String, String)> {
    let problems = load(text).map(drop).expect_err(text);
    problems.iter().map(|problem| (problem.key.clone(), problem.allowed.clone())).collect()
}

const TWIST: &str = "[[commands]]\nmqtt = \"{thing}/cmd\"\nros = \"cmd_vel\"\ntype = \"geometry_msgs/msg/Twist\"\n";
const RESET: &str = "[[services]]\nmqtt = \"{thing}{ros}\"\nservice = \"/reset\"\ntype = \"std_srvs/srv/Trigger\"\n";
const GO: &str = "[[actions]]\nmqtt = \"{thing}/{name}/{type}\"\naction = \"/nav/go\"\ntype = \"a/action/Go\"\n";

/// Without its optional keys an entry has what the documentation says, and a configuration needs no topics beside it.
#[test]
fn defaults_are_as_documented() {
    let settings =
        settings(&format!("ros.namespace = \"/fleet\"\n{TWIST}{RESET}{GO}[[shadows]]\nreport = \"state\"\n"));
    assert_eq!(settings.topics, []);
    let command = Command {
        mqtt: "robot1/cmd".into(),
        ros: "/fleet/cmd_vel".into(),
        type_name: "geometry_msgs/msg/Twist".into(),
        payload: CommandPayload::Message,
        qos: Qos::AtMostOnce,
        max_rate: None,
        max_age: None,
        limits: Default::default(),
        on_silence: None,
        reply: None,
    };
    assert_eq!(settings.commands, [command]);
    let service = Service {
        mqtt: "robot1/reset".into(),
        service: "/reset".into(),
        type_name: "std_srvs/srv/Trigger".into(),
        timeout: Duration::from_secs(5),
        reply: "robot1/reset/reply".into(),
    };
    assert_eq!(settings.services, [service]);
    let action = Action {
        mqtt: "robot1/go/a/action/Go".into(),
        action: "/nav/go".into(),
        type_name: "a/action/Go".into(),
        feedback_rate: None,
    };
    assert_eq!(
        (&*action.reply(), &*action.feedback()),
        ("robot1/go/a/action/Go/reply", "robot1/go/a/action/Go/feedback")
    );
    assert_eq!(settings.actions, [action]);
    let shadow = Shadow {
        name: String::new(),
        report: Some("/fleet/state".into()),
        report_rate: Some(1.0),
        desired: None,
        desired_type: None,
    };
    assert_eq!(shadow.prefix("robot1"), "$aws/things/robot1/shadow");
    assert_eq!(settings.shadows, [shadow]);
}

const FULL: &str = r#"
[[commands]]
mqtt = "a"
ros = "/a"
type = "geometry_msgs/msg/Twist"
payload = "envelope"
qos = 1
max_rate = "2.5 Hz"
max_age = "1500 ms"
limits = { "linear.x" = [-0.5, 1], "poses[*].x" = [0, 0] }
reply = "$aws/rules/replies/{thing}"
[commands.on_silence]
after = "500 ms"
message = { linear = { x = -0.25, y = 1e300 }, names = ["", "b"], list = [{ a = 1 }, { a = [] }], mixed = [1, {}], on = true }
[[services]]
mqtt = "b"
service = "/b"
type = "a/srv/B"
timeout = "1 min"
reply = "b/answers"
[[actions]]
mqtt = "c"
action = "/c"
type = "a/action/C"
feedback_rate = "0.5 Hz"
[[shadows]]
name = "a:_-$1"
report = "/d"
report_rate = "2 Hz"
desired = "/e"
desired_type = "a/msg/E"
[[shadows]]
desired = "/f"
"#;

#[test]
fn what_is_set_is_in_the_settings_and_reads_back_as_printed() {
    let settings = settings(FULL);
    let command = &settings.commands[0];
    assert_eq!((command.payload, command.qos), (CommandPayload::Envelope, Qos::AtLeastOnce));
    assert_eq!((command.max_rate, command.max_age), (Some(2.5), Some(Duration::from_millis(1500))));
    let limits: Vec<_> = command.limits.iter().map(|(path, limits)| (path.as_str(), *limits)).collect();
    assert_eq!(limits, [("linear.x", [-0.5, 1.0]), ("poses[*].x", [0.0, 0.0])]);
    assert_eq!(command.reply.as_deref(), Some("$aws/rules/replies/robot1"));
    let on_silence = command.on_silence.as_ref().expect("it is there");
    assert_eq!(on_silence.after, Duration::from_millis(500));
    let message = json!({ "linear": { "x": -0.25, "y": 1e300 }, "names": ["", "b"], "list": [{ "a": 1 }, { "a": [] }],
        "mixed": [1, {}], "on": true });
    assert_eq!(serde_json::Value::from(on_silence.message.clone()), message);
    assert_eq!(settings.shadows[0].prefix("t"), "$aws/things/t/shadow/name/a:_-$1");
    assert_eq!(settings.shadows[1].report_rate, None);

    let printed = settings.to_toml().expect("prints");
    assert_eq!(Place::new().file("config.toml", &printed).settings(), settings, "{printed}");
    let json = serde_json::to_string(&settings).expect("prints");
    assert_eq!(Place::new().file("config.json", &json).settings(), settings, "{json}");
}

/// The name of the thing may be open, and what is refused does not depend on it.
#[test]
fn the_thing_may_be_open() {
    let fleet = FLEET.split("[[topics]]").next().expect("the rest");
    let settings = Place::new().file("config.toml", &format!("{fleet}{TWIST}{RESET}")).settings();
    assert_eq!((&*settings.commands[0].mqtt, &*settings.services[0].reply), ("{thing}/cmd", "{thing}/reset/reply"));
    let back = format!("{fleet}{TWIST}[[topics]]\nros = \"/x\"\nmqtt = \"{{thing}}/cmd\"\n");
    assert!(Place::new().file("config.toml", &back).load().is_err());
}

/// What comes to the robot has one taker, and nothing that the bridge publishes comes to it.
#[test]
fn a_topic_of_requests_is_of_one_entry_and_nothing_is_published_there() {
    let topic = |ros: &str, more: &str| format!("[[topics]]\nros = \"{ros}\"\n{more}\n");
    let taken = |key: &str| format!("{key} of /");
    for (text, key, words) in [
        (format!("{TWIST}{TWIST}"), "commands[1].mqtt", taken("commands[0]")),
        (
            format!("{TWIST}{RESET}mqtt = \"robot1/cmd\"\n").replace("mqtt = \"{thing}{ros}\"\n", ""),
            "services[0].mqtt",
            taken("commands[0]"),
        ),
        // The same topic, also where another is between.
        (format!("{TWIST}{}", topic("/cmd_vel", "mqtt = \"robot1/cmd\"")), "topics[0].mqtt", "command itself".into()),
        (format!("{TWIST}{}", topic("/other", "mqtt = \"robot1/cmd\"")), "topics[0].mqtt", taken("commands[0]")),
        (format!("{RESET}{}", topic("/reset", "mqtt = \"{thing}{ros}\"")), "topics[0].mqtt", taken("services[0]")),
        (format!("{GO}{}", topic("/go", "mqtt = \"robot1/go/{type}\"")), "topics[0].mqtt", taken("actions[0]")),
        (
            format!(
                "{}{}",
                TWIST.replace("/cmd\"", "/x/zstd\""),
                topic("/x", "mqtt = \"{thing}/x\"\ncompression = \"zstd\"\ncompression_suffix = true")
            ),
            "topics[0].mqtt",
            taken("commands[0]"),
        ),
        (format!("{TWIST}reply = \"{{thing}}/cmd\"\n"), "commands[0].reply", "take it for a request".into()),
        (format!("{}{RESET}", TWIST.replace("/cmd\"", "/reset/reply\"")), "services[0].mqtt", taken("commands[0]")),
        (
            format!("{}{GO}", TWIST.replace("/cmd\"", "/go/a/action/Go/feedback\"")),
            "actions[0].mqtt",
            taken("commands[0]"),
        ),
        (format!("{TWIST}[mqtt.last_will]\ntopic = \"robot1/cmd\"\n"), "mqtt.last_will.topic", taken("commands[0]")),
        (format!("{TWIST}[mqtt.presence]\ntopic = \"robot1/cmd\"\n"), "mqtt.presence.topic", taken("commands[0]")),
    ] {
        let found = problems(&text);
        assert!(found.len() == 1 && found[0].0 == key && found[0].1.contains(&words), "{text}\n{found:?}");
    }
    // Several commands may have one ROS topic, and it may be forwarded elsewhere.
    let twice = format!("{TWIST}{}{}", TWIST.replace("/cmd\"", "/joystick\""), topic("/cmd_vel", ""));
    assert_eq!(settings(&twice).commands.len(), 2);
}

/// What is refused of single entries. What broken files say stands in `tests/broken_configs.rs`.
#[test]
fn keys_that_need_others_and_topics_that_are_none() {
    for (text, expected) in [
        (format!("{TWIST}max_age = \"1 s\"\n"), &[("commands[0].max_age", "payload = \"envelope\"")][..]),
        (format!("{TWIST}limits = {{ x = [1, 0] }}\n"), &[("commands[0].limits.x", "the lowest number stands first")]),
        (
            format!("{TWIST}limits = {{ \"x[\" = [0, 1], y = [0], z = [0, nan], a = 3 }}\n"),
            &[
                ("commands[0].limits.a", "such as [-0.5, 0.5]"),
                ("commands[0].limits.\"x[\"", "an index from 0"),
                ("commands[0].limits.y", "such as [-0.5, 0.5]"),
                ("commands[0].limits.z", "such as [-0.5, 0.5]"),
            ],
        ),
        (format!("{TWIST}limits = 3\n"), &[("commands[0].limits", "the lowest and the highest")]),
        (format!("{TWIST}on_silence = {{ message = {{}} }}\n"), &[("commands[0].on_silence.after", "required")]),
        (
            format!(
                "{TWIST}on_silence = {{ after = \"1 s\", message = {{ a = {{ b = [1, 07:32:00] }}, c = inf }} }}\n"
            ),
            &[("commands[0].on_silence.message.a.b[1]", "no dates"), ("commands[0].on_silence.message.c", "finite")],
        ),
        (
            format!("{TWIST}on_silence = {{ after = \"1 s\", message = 1 }}\n"),
            &[("commands[0].on_silence.message", "as JSON")],
        ),
        (TWIST.replace("{thing}/cmd", "{thing}/+"), &[("commands[0].mqtt", "wildcard")]),
        (TWIST.replace("{thing}/cmd", "$aws/rules/a/b"), &[("commands[0].mqtt", "AWS IoT Core's own")]),
        (format!("{TWIST}reply = \"$aws/things/a/shadow/update\"\n"), &[("commands[0].reply", "AWS IoT Core's own")]),
        (RESET.replace("{thing}{ros}", "a/b/c/d/e/f/g/h"), &[("services[0].mqtt", "set `reply`")]),
        (
            GO.replace("{thing}/{name}/{type}", &"x".repeat(250)),
            &[("actions[0].mqtt", "/feedback\": it has 259 bytes")],
        ),
        (RESET.replace("std_srvs/srv", "std_srvs"), &[("services[0].type", "did you mean \"std_srvs/srv/Trigger\"?")]),
        (RESET.replace("/srv/", "/msg/"), &[("services[0].type", "the type of a service")]),
        (GO.replace("/action/", "/srv/"), &[("actions[0].type", "the type of an action")]),
        (TWIST.replace("cmd_vel", "/cmd/*"), &[("commands[0].ros", "one ROS topic")]),
        (
            format!("{TWIST}{}", TWIST.replace("/cmd\"", "/joystick\"").replace("Twist", "TwistStamped")),
            &[("commands[1].type", "the type that commands[0]")],
        ),
        (
            format!("{TWIST}[[shadows]]\ndesired = \"cmd_vel\"\n"),
            &[("shadows[0].desired", "\"geometry_msgs/msg/Twist\"")],
        ),
        ("[[shadows]]\nname = \"a b\"\nreport = \"/a\"\n".into(), &[("shadows[0].name", "up to 64 letters")]),
        (
            format!("[[shadows]]\nname = \"{}\"\nreport = \"/a\"\n", "x".repeat(65)),
            &[("shadows[0].name", "up to 64 letters")],
        ),
        ("[[shadows]]\nname = \"a\"\n".into(), &[("shadows[0].report", "this key or `desired` is required")]),
        ("[[shadows]]\nreport = \"/a\"\ndesired = \"/a\"\n".into(), &[("shadows[0].desired", "as if it were so")]),
        (
            "[[shadows]]\nreport = \"/a\"\ndesired_type = \"a/msg/B\"\n".into(),
            &[("shadows[0].desired_type", "`desired`")],
        ),
        ("[[shadows]]\ndesired = \"/a\"\nreport_rate = \"1 Hz\"\n".into(), &[("shadows[0].report_rate", "`report`")]),
        (
            "[[shadows]]\nreport = \"/a\"\n[[shadows]]\nname = \"\"\ndesired = \"/b\"\n".into(),
            &[("shadows[1].name", "shadows[0] of")],
        ),
        ("commands = []\nactions = []\n".into(), &[("topics", "nothing to forward")]),
    ] {
        let found = problems(&text);
        let is_expected = found.len() == expected.len()
            && found.iter().all(|(key, allowed)| expected.iter().any(|(k, words)| key == k && allowed.contains(words)));
        assert!(is_expected, "{text}\n{found:#?}");
    }
}

/// A null and a number that TOML can't print stand in JSON alone.
#[test]
fn a_message_in_json_has_what_toml_has() {
    let config = json!({
        "aws": { "endpoint": "broker.example", "thing": "robot1", "certificate": "c", "private_key": "k" },
        "commands": [{ "mqtt": "a", "ros": "/a", "type": "a/msg/B",
            "on_silence": { "after": "1 s", "message": { "a": null, "b": u64::MAX, "c": "2026-11-28" } } }],
    });
    let problems = Place::new().file("config.json", &config.to_string()).load().expect_err("two values");
    let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["commands[0].on_silence.message.a", "commands[0].on_silence.message.b"]);
}

/// AWS IoT Core takes 50 subscriptions on a connection, of which a shadow needs five.
#[test]
fn there_are_at_most_fifty_subscriptions() {
    let commands = |number: usize| -> String {
        let command = |n| format!("[[commands]]\nmqtt = \"c/{n}\"\nros = \"/c\"\ntype = \"a/msg/B\"\n");
        (0..number).map(command).collect()
    };
    let shadows = "[[shadows]]\nreport = \"/a\"\n[[shadows]]\nname = \"b\"\nreport = \"/b\"\n";
    assert_eq!(settings(&format!("{}{shadows}", commands(40))).commands.len(), 40);
    for (text, key) in [(commands(51), "commands[50]"), (format!("{}{shadows}", commands(41)), "shadows[1]")] {
        let found = problems(&text);
        assert!(found.len() == 1 && found[0].0 == key && found[0].1.contains("at most 50"), "{found:?}");
    }
}
