//! `[remote]`, and sections of the configuration that come from the cloud.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::load::load_file_over;
use super::*;

const REMOTE: &str = "[remote]\nshadow = \"iot-bridge\"\n";

/// All that can be allowed.
pub(super) const ALL: &str =
    "[remote]\nshadow = \"iot-bridge\"\nallow = [\"topics\", \"commands\", \"services\", \"actions\", \"shadows\"]\n";

/// Sections from the cloud, as problems call them.
pub(super) const NAME: &str = "the shadow iot-bridge, version 7";

/// [`MINIMAL`] with more, for sections from the cloud to lie over.
pub(super) struct Over(Place);

impl Over {
    pub fn new(more: &str) -> Over {
        Over(Place::new().file("config.toml", &format!("{MINIMAL}{more}")))
    }

    pub fn path(&self) -> PathBuf {
        self.0.path("config.toml")
    }

    pub fn load(&self, json: Value) -> Result<Loaded, Problems> {
        Ok(load_file_over(&self.path(), [], Some(&overlay(json)))?)
    }
}

/// What the sections of `json` are over `more`.
fn over(more: &str, json: Value) -> Result<Loaded, Problems> {
    Over::new(more).load(json)
}

pub(super) fn overlay(json: Value) -> Overlay {
    let Value::Object(sections) = json else { panic!("an object of sections: {json}") };
    Overlay { name: NAME.to_owned(), sections }
}

/// The keys of the problems with what comes from the cloud, with what was found and what is allowed.
fn problems(more: &str, json: Value) -> Vec<(String, String)> {
    let problems = over(more, json).expect_err("something is wrong");
    assert!(problems.iter().all(|problem| problem.source == NAME && problem.line.is_none()), "{problems}");
    problems.iter().map(|problem| (problem.key.clone(), format!("{}; {}", problem.found, problem.allowed))).collect()
}

/// Without `[remote]` nothing is taken; a shadow is all that it needs, and topics are what it allows.
#[test]
fn the_section_has_the_documented_defaults() {
    assert_eq!(Place::new().file("config.toml", MINIMAL).settings().remote, None);
    let remote = |text: &str| Place::new().file("config.toml", &format!("{MINIMAL}{text}")).settings().remote;
    let least = Remote {
        shadow: "iot-bridge".into(),
        allow: vec![Section::Topics],
        confirm: Duration::from_secs(120),
        jobs: false,
    };
    assert_eq!(remote(REMOTE), Some(least));
    let all = "[remote]\nshadow = \"c:1_$-\"\nallow = [\"shadows\", \"topics\", \"topics\"]\nconfirm = \"5 s\"\njobs = true\n";
    let set = Remote {
        shadow: "c:1_$-".into(),
        allow: vec![Section::Topics, Section::Shadows],
        confirm: Duration::from_secs(5),
        jobs: true,
    };
    assert_eq!(remote(all), Some(set));
    let none = remote("[remote]\nshadow = \"a\"\nallow = []\n");
    assert!(none.is_some_and(|remote| remote.allow.is_empty()));
    let settings = Place::new().file("config.toml", &format!("{MINIMAL}{all}")).settings();
    let printed = settings.to_toml().expect("prints");
    assert_eq!(Place::new().file("config.toml", &printed).settings(), settings, "{printed}");
}

/// Each fault of the section is told with what is allowed.
#[test]
fn faults_of_the_section_are_told() {
    for (text, key, words) in [
        ("[remote]\n", "remote.shadow", "this key is required"),
        ("[remote]\njobs = true\n", "remote.shadow", "IOT_BRIDGE_REMOTE__SHADOW"),
        ("[remote]\nshadow = \"\"\n", "remote.shadow", "named shadow"),
        ("[remote]\nshadow = \"a/b\"\n", "remote.shadow", "up to 64 letters"),
        ("[remote]\nshadow = \"a\"\nallow = [\"aws\"]\n", "remote.allow[0]", "one of \"topics\", \"commands\""),
        ("[remote]\nshadow = \"a\"\nallow = [\"aws\"]\n", "remote.allow[0]", "the robot's own"),
        ("[remote]\nshadow = \"a\"\nallow = \"topics\"\n", "remote.allow", "a list"),
        ("[remote]\nshadow = \"a\"\nconfirm = \"0 s\"\n", "remote.confirm", "from 1 s"),
        ("[remote]\nshadow = \"a\"\nconfrim = \"5 s\"\n", "remote.confrim", "did you mean `confirm`?"),
    ] {
        let problems = Place::new().file("config.toml", &format!("{MINIMAL}{text}")).load().expect_err(text);
        let [problem] = &problems.iter().collect::<Vec<_>>()[..] else { panic!("one problem: {problems}") };
        assert_eq!(problem.key, key, "{problems}");
        assert!(problem.allowed.contains(words), "{problems}");
    }
}

/// A robot may leave it to the cloud what it sends.
#[test]
fn with_it_a_robot_needs_no_topics() {
    let least = MINIMAL.replace("[[topics]]\nros = \"/odom\"\n", REMOTE);
    assert!(Place::new().file("config.toml", &least).settings().topics.is_empty());
    let loaded = over(REMOTE, json!({ "topics": [] })).expect("nothing is sent");
    assert!(loaded.settings.topics.is_empty());
}

/// A section that comes from the cloud takes the place of all that files say of it, and of nothing else.
#[test]
fn a_section_takes_the_place_of_the_local_one_and_of_nothing_else() {
    let place = Place::new()
        .file("config.toml", &format!("{MINIMAL}[ros]\nnamespace = \"/fleet\"\n{REMOTE}"))
        .file(
            "conf.d/a.toml",
            "[[topics]]\nros = \"/arm\"\n[[commands]]\nmqtt = \"c\"\nros = \"/c\"\ntype = \"a/msg/B\"\n",
        )
        .file("conf.d/b.toml", "[mqtt]\nkeep_alive = \"30 s\"\n");
    let variable = [("IOT_BRIDGE_AWS__PORT".into(), "443".into())];
    let local = load_file(&place.path("config.toml"), variable.clone()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(local.overlaid, []);
    let topics = overlay(json!({
        "topics": [{ "ros": "scan", "rate": "2 Hz", "arrays": { "max": 7 }, "digits": 3 }, { "ros": "/odom", "qos": 0 }],
        "commands": null,
    }));
    let loaded = load_file_over(&place.path("config.toml"), variable, Some(&topics)).unwrap_or_else(|e| panic!("{e}"));
    let names: Vec<_> = loaded.settings.topics.iter().map(|topic| (topic.ros.as_str(), topic.qos)).collect();
    assert_eq!(names, [("/fleet/scan", Qos::AtLeastOnce), ("/odom", Qos::AtMostOnce)]);
    assert_eq!(loaded.settings.topics[0].digits, Some(3));
    let rest = |loaded: &Loaded| Settings { topics: Vec::new(), ..loaded.settings.clone() };
    assert_eq!(rest(&loaded), rest(&local));
    let hidden = ["config.toml", "conf.d/a.toml"].map(|name| place.path(name)).into();
    assert_eq!(loaded.overlaid, [Overlaid { section: Section::Topics, hidden }]);
    assert_eq!((&loaded.sources, &loaded.variables), (&local.sources, &local.variables));
}

/// What gives way is not judged.
#[test]
fn a_local_section_that_gives_way_may_be_wrong() {
    for wrong in ["[[topics]]\nros = \"/a\"\nqos = 2\n", "[[topics]]\nros = 1\n"] {
        let more = format!("{wrong}{REMOTE}");
        assert!(Place::new().file("config.toml", &format!("{MINIMAL}{more}")).load().is_err());
        let loaded = over(&more, json!({ "topics": [{ "ros": "/b" }] })).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(loaded.settings.topics[0].ros, "/b");
    }
}

/// The digest is of what is in force, whatever files say it.
#[test]
fn the_digest_is_of_what_is_in_force() {
    let [one, same, other] = [json!([{ "ros": "/odom" }]), json!([{ "ros": "/odom", "qos": 1 }]), json!([])]
        .map(|topics| over(REMOTE, json!({ "topics": topics })).expect("valid").digest);
    let local = Place::new().file("config.toml", &format!("{MINIMAL}{REMOTE}")).load().expect("valid").digest;
    assert!(one.len() == 64 && one.bytes().all(|byte| byte.is_ascii_hexdigit()), "{one}");
    assert_eq!((&one, &one), (&same, &local));
    assert_ne!(one, other);
}

/// What is wrong with sections from the cloud has their name, the key as `check` gives it, and near names; all at once.
#[test]
fn problems_have_the_name_of_the_overlay() {
    let wrong = json!({
        "topics": [{ "ros": "/a", "qos": 2 }, { "rose": "/b", "rate": "banana" }, 3, null],
        "aws": { "endpoint": "evil.example" },
        "topcis": [],
        "commands": {},
    });
    let expected = [
        ("commands", "a table; allowed is a list of objects"),
        ("topics[0].qos", "2; allowed is a whole number from 0 to 1"),
        ("topics[1].rate", "\"banana\"; "),
        ("topics[1].rose", "an unknown key; did you mean `ros`?"),
        ("topics[1].ros", "nothing; this key is required"),
        ("topics[2]", "a number; allowed is a table"),
        ("topics[3]", "null; allowed is a table"),
        ("aws", "a section that the cloud may not set; `remote.allow` of this robot names `topics`"),
        ("topcis", "a section that the cloud may not set; did you mean `topics`?"),
    ];
    let found = problems(REMOTE, wrong);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for ((key, found), (expected, words)) in found.iter().zip(expected) {
        assert_eq!(key, expected);
        assert!(found.starts_with(words), "{key}: {found}");
    }
}
