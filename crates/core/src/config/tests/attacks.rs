//! Whoever may write the shadow that configures a robot sets the sections that the robot allows, and nothing else.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::keys;
use super::super::kind::{Key, Kind};
use super::super::load::load_file_over;
use super::remote::{ALL, NAME, Over, overlay};
use super::*;

/// Nothing but lists of entries can be set, so no environment variable has a part in it, and of all sections only these.
#[test]
fn only_lists_of_entries_can_be_set() {
    for key in keys::ROOT {
        let may_be = Section::of(key.name).is_some();
        assert_eq!(matches!(key.kind, Kind::Tables(_)), may_be, "{}", key.name);
    }
    let own: Vec<&str> = keys::ROOT.iter().map(|key| key.name).filter(|name| Section::of(name).is_none()).collect();
    assert_eq!(own, ["aws", "mqtt", "ros", "queue", "remote", "health"]);
    for name in own.into_iter().chain(["", "AWS", "aws.endpoint", "topics[0]", "ruleset"]) {
        let error = Over::new(ALL).load(json!({ name: {}, "topics": [{ "ros": "/a" }] })).expect_err(name);
        let problem = error.iter().find(|problem| problem.found == "a section that the cloud may not set");
        assert_eq!(problem.map(|problem| problem.source.as_str()), Some(NAME), "{name}: {error}");
    }
}

/// What is not allowed on this robot is refused, with what is.
#[test]
fn what_is_not_allowed_is_refused() {
    let entries = |section: Section| match section {
        Section::Topics => json!([{ "ros": "/a" }]),
        Section::Commands => json!([{ "mqtt": "a", "ros": "/a", "type": "a/msg/B" }]),
        Section::Services => json!([{ "mqtt": "a", "service": "/a", "type": "a/srv/B" }]),
        Section::Actions => json!([{ "mqtt": "a", "action": "/a", "type": "a/action/B" }]),
        Section::Shadows => json!([{ "name": "a", "report": "/a" }]),
    };
    for allowed in Section::ALL {
        let remote = format!("[remote]\nshadow = \"iot-bridge\"\nallow = [{:?}]\n", allowed.name());
        let over = Over::new(&remote);
        for section in Section::ALL {
            let loaded = over.load(json!({ section.name(): entries(section) }));
            if section == allowed {
                let overlaid: Vec<_> = loaded.expect("allowed").overlaid.iter().map(|set| set.section).collect();
                assert_eq!(overlaid, [section]);
                continue;
            }
            let error = loaded.expect_err("it is not allowed");
            let [problem] = &error.iter().collect::<Vec<_>>()[..] else { panic!("one problem: {error}") };
            assert_eq!((problem.source.as_str(), problem.key.as_str()), (NAME, section.name()));
            assert_eq!(problem.allowed, format!("`remote.allow` of this robot names `{}`", allowed.name()));
        }
    }
    let error = Over::new("").load(json!({ "topics": entries(Section::Topics) })).expect_err("no [remote]");
    assert!(error.to_string().contains("this robot takes nothing from the cloud: it has no [remote]"), "{error}");
    let error = Over::new("[remote]\nshadow = \"a\"\nallow = []\n").load(json!({ "topics": [] })).expect_err("none");
    assert!(error.to_string().contains("`remote.allow` of this robot names none"), "{error}");
}

/// Each key of these sections that takes a text, with what the text names: nothing of it is a file, a host, a credential or
/// a client. Whoever adds one has to say here why it may come from the cloud.
#[test]
fn no_text_names_a_file_a_host_or_a_client() {
    const KNOWN: [(&str, &str); 23] = [
        ("topics[].ros", "a ROS topic"),
        ("topics[].type", "a ROS type"),
        ("topics[].mqtt", "an MQTT topic of its own"),
        ("topics[].except", "ROS topics"),
        ("topics[].fields", "fields"),
        ("topics[].exclude", "fields"),
        ("topics[].on_change.fields", "fields"),
        ("commands[].mqtt", "an MQTT topic"),
        ("commands[].ros", "a ROS topic"),
        ("commands[].type", "a ROS type"),
        ("commands[].reply", "an MQTT topic of its own"),
        ("services[].mqtt", "an MQTT topic"),
        ("services[].service", "a ROS service"),
        ("services[].type", "a ROS type"),
        ("services[].reply", "an MQTT topic of its own"),
        ("actions[].mqtt", "an MQTT topic"),
        ("actions[].action", "a ROS action"),
        ("actions[].type", "a ROS type"),
        ("shadows[].name", "a shadow of this thing"),
        ("shadows[].report", "a ROS topic"),
        ("shadows[].desired", "a ROS topic"),
        ("shadows[].desired_type", "a ROS type"),
        // Its texts go into a message as they are.
        ("commands[].on_silence.message", "a message"),
    ];
    fn collect(keys: &[Key], prefix: &str, texts: &mut BTreeSet<String>) {
        for key in keys {
            let path = format!("{prefix}{}", key.name);
            match key.kind {
                Kind::Table(inner) => collect(inner, &format!("{path}."), texts),
                Kind::Tables(inner) => collect(inner, &format!("{path}[]."), texts),
                Kind::NamedTables(inner) => collect(inner, &format!("{path}.*."), texts),
                Kind::Text(_) | Kind::List(Kind::Text(_)) | Kind::Names | Kind::Message => _ = texts.insert(path),
                _ => {}
            }
        }
    }
    let mut texts = BTreeSet::new();
    for key in keys::ROOT.iter().filter(|key| Section::of(key.name).is_some()) {
        collect(std::slice::from_ref(key), "", &mut texts);
    }
    assert_eq!(texts, KNOWN.iter().map(|(path, _)| (*path).to_owned()).collect());
}

/// What an attacker would write into each of these keys is refused, at the key.
#[test]
fn attacks_are_refused() {
    let over = Over::new(&format!(
        "{ALL}[mqtt.presence]\ntopic = \"robots/{{thing}}/presence\"\n\
         [[commands]]\nmqtt = \"robots/{{thing}}/drive\"\nros = \"/drive\"\ntype = \"a/msg/B\"\n"
    ));
    let topic = |mqtt: &str| json!({ "topics": [{ "ros": "/a", "mqtt": mqtt }] });
    let command = |key: &str, value: &str| {
        let mut command = json!({ "mqtt": "c", "ros": "/c", "type": "a/msg/B" });
        command[key] = value.into();
        json!({ "commands": [command] })
    };
    let reserved = "of the topics that start with `$` allowed are those of Basic Ingest";
    let of_aws = "topics that start with `$` are AWS IoT Core's own";
    let presence = "there the bridge itself tells whether it is connected";
    let own = "`remote.shadow` names this shadow";
    let longest = "$aws/things/{thing}/shadow/name/iot-bridge/update";
    for (json, key, words) in [
        // Another configuration for itself, and for others; jobs; the registry; whatever AWS reserves.
        (topic(longest), "topics[0].mqtt", reserved),
        (topic("$aws/things/robot2/shadow/name/iot-bridge/update"), "topics[0].mqtt", reserved),
        (topic("$aws/things/{thing}/shadow/update"), "topics[0].mqtt", reserved),
        (topic("$aws/things/{thing}/jobs/start-next"), "topics[0].mqtt", reserved),
        (topic("$aws/{name}"), "topics[0].mqtt", "reserved"),
        (topic("$aws/provisioning-templates/fleet/provision/json"), "topics[0].mqtt", "reserved"),
        (topic("$aws/rules/../things/robot1/shadow/update"), "topics[0].mqtt", "the name of a rule"),
        (topic("$SYS/a"), "topics[0].mqtt", "reserved"),
        (topic("robots/+/a"), "topics[0].mqtt", "a wildcard"),
        (topic("robots/{thing}/\0"), "topics[0].mqtt", "NUL"),
        // A lie about whether the robot is connected, retained or not; the robot's own commands.
        (json!({ "topics": [{ "ros": "/presence", "retain": true }] }), "topics[0].mqtt", presence),
        (topic("robots/{thing}/drive"), "topics[0].mqtt", "the robot would command itself"),
        (command("reply", "robots/{thing}/presence"), "commands[0].reply", presence),
        (command("reply", longest), "commands[0].reply", of_aws),
        (command("mqtt", longest), "commands[0].mqtt", of_aws),
        (command("mqtt", "$aws/things/{thing}/jobs/notify"), "commands[0].mqtt", of_aws),
        (command("mqtt", "$share/a/robots/robot2/drive"), "commands[0].mqtt", "reserved"),
        (command("mqtt", "robots/#"), "commands[0].mqtt", "a wildcard"),
        // Files, by way of the libraries that types are read from.
        (json!({ "topics": [{ "ros": "/a", "type": "../../tmp/evil/msg/A" }] }), "topics[0].type", "a message type"),
        (json!({ "topics": [{ "ros": "/a", "type": "/tmp/evil.so" }] }), "topics[0].type", "a message type"),
        (command("type", "..//msg/A"), "commands[0].type", "a message type"),
        (json!({ "topics": [{ "ros": "/../../etc/passwd" }] }), "topics[0].ros", ""),
        (json!({ "topics": [{ "ros": "file:///etc/passwd" }] }), "topics[0].ros", ""),
        (json!({ "topics": [{ "ros": "/a", "directory": "/etc" }] }), "topics[0].directory", "queue.directory"),
        (json!({ "topics": [{ "ros": "/a", "certificate": "/x" }] }), "topics[0].certificate", "aws.certificate"),
        // Shadows: that of its configuration, those of others.
        (json!({ "shadows": [{ "name": "iot-bridge", "desired": "/d" }] }), "shadows[0].name", own),
        (json!({ "shadows": [{ "name": "a/../iot-bridge", "desired": "/d" }] }), "shadows[0].name", "letters"),
        (json!({ "shadows": [{ "name": "+", "desired": "/d" }] }), "shadows[0].name", "letters"),
        (
            json!({ "services": [{ "mqtt": "s", "service": "/s", "type": "a/srv/B", "reply": longest }] }),
            "services[0].reply",
            of_aws,
        ),
        (
            json!({ "services": [{ "mqtt": "s", "service": "/s", "type": "a/srv/B", "reply": "robots/{thing}/presence" }] }),
            "services[0].reply",
            presence,
        ),
        (json!({ "services": [{ "mqtt": longest, "service": "/s", "type": "a/srv/B" }] }), "services[0].mqtt", of_aws),
        (json!({ "actions": [{ "mqtt": longest, "action": "/s", "type": "a/action/B" }] }), "actions[0].mqtt", of_aws),
    ] {
        let error = over.load(json.clone()).err().unwrap_or_else(|| panic!("{json} is taken"));
        let problem = error.iter().find(|problem| problem.source == NAME && problem.key == key);
        let problem = problem.unwrap_or_else(|| panic!("{key} of {json}: {error}"));
        assert!(problem.allowed.contains(words), "{json}: {error}");
    }
}

/// What patterns from the cloud find stays away from the topics on which the bridge tells of itself, and those of others.
#[test]
fn patterns_from_the_cloud_stay_away_from_what_is_not_theirs() {
    let over = Over::new(&format!("{ALL}[mqtt.last_will]\ntopic = \"robots/{{thing}}/gone\"\n"));
    let loaded = over.load(json!({ "topics": [{ "ros": "/**" }] })).expect("valid");
    let patterns = Patterns::of(&loaded.settings.topics);
    assert!(!patterns.may_have("/gone") && patterns.may_have("/here"));
    // Of the robot's own that is the owner's choice.
    let local = over.load(json!({})).expect("valid");
    let own = [Topic { ros: "/**".into(), mqtt: "robots/robot1{ros}".into(), ..local.settings.topics[0].clone() }];
    assert!(Patterns::of(&own).may_have("/gone"));
}

/// A robot does not configure itself, whoever says what it sends.
#[test]
fn nothing_is_published_where_the_robot_gets_its_configuration() {
    let own = |mqtt: &str, more: &str| {
        let topics = format!("[[topics]]\nros = \"/own\"\nmqtt = \"$aws/things/{{thing}}/{mqtt}\"\n{more}");
        Over::new(&format!("{topics}{ALL}")).load(json!({}))
    };
    for end in ["shadow/name/iot-bridge/update", "shadow/name/iot-bridge/get", "shadow/name/iot-bridge/delete"] {
        let error = own(end, "").expect_err(end);
        assert!(error.to_string().contains("topics[1].mqtt\n"), "{error}");
        assert!(error.to_string().contains("there the robot asks for its configuration"), "{error}");
    }
    own("shadow/name/other/update", "").expect("another shadow");
    let pattern = "[[topics]]\nros = \"/*/update\"\nmqtt = \"$aws/things/{thing}/shadow/name/iot-bridge/{name}\"\n";
    let loaded = own("shadow/name/other/update", pattern).expect("valid");
    assert!(!Patterns::of(&loaded.settings.topics).may_have("/a/update"));
}

/// Of the 50 subscriptions of a connection, those of the robot's configuration count.
#[test]
fn the_subscriptions_of_the_configuration_count() {
    let services = |count: usize| {
        let service = |n: usize| json!({ "mqtt": format!("s{n}"), "service": "/s", "type": "a/srv/B" });
        json!({ "services": (0..count).map(service).collect::<Vec<_>>() })
    };
    let with_jobs = format!("{ALL}jobs = true\n");
    for (remote, most) in [(ALL, MAX_FILTERS - 5), (&with_jobs, MAX_FILTERS - 6)] {
        let over = Over::new(remote);
        assert_eq!(over.load(services(most)).expect("they fit").settings.services.len(), most);
        let error = over.load(services(most + 1)).expect_err("one too many");
        let words = format!(
            "subscription 51 of the connection; AWS IoT Core takes at most 50 on a connection; each command, service \
                     and action needs 1, each shadow 5, [remote] {}",
            MAX_FILTERS - most
        );
        assert!(error.to_string().contains(&format!("services[{most}]\n    found {words}")), "{error}");
    }
}

/// A key that somebody has pasted into the shadow, as a value or as a name, is in no problem.
#[test]
fn no_problem_quotes_a_key() {
    const SECRET: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg4aJHv0V9x3nUeT";
    let over = Over::new(ALL);
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{SECRET}\n");
    let url = "http://robot:hunter2@proxy";
    for text in [SECRET, &pem, url] {
        for json in [
            json!({ text: [] }),
            json!({ "topics": text }),
            json!({ "topics": [text] }),
            json!({ "topics": [{ text: text }] }),
            json!({ "topics": [{ "ros": text, "mqtt": text, "type": text, "rate": text, "payload": text, "qos": text }] }),
            json!({ "topics": [{ "ros": "/a", "fields": [text], "arrays": { "fields": { text: {} } } }] }),
            json!({ "commands": [{ "mqtt": text, "limits": { text: text }, "on_silence": { "message": { text: null } } }] }),
            json!({ "shadows": [{ "name": text }] }),
        ] {
            let error = over.load(json.clone()).expect_err("none of it is valid").to_string();
            assert!(!error.contains(&SECRET[30..]) && !error.contains("hunter2"), "{json}: {error}");
        }
    }
    let named = Overlay { name: format!("the shadow a, version {SECRET}"), ..overlay(json!({ "topics": 1 })) };
    let error = load_file_over(&over.path(), [], Some(&named)).expect_err("a number").to_string();
    assert!(error.starts_with("the shadow a, version …") && !error.contains(SECRET), "{error}");
}

/// What is nested without an end is told, whatever holds it.
#[test]
fn deep_values_are_told() {
    let over = Over::new(ALL);
    let deep = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    let error = over.load(json!({ "topics": deep(200), "commands": deep(10) })).expect_err("lists of lists");
    assert!(
        error.to_string().contains("topics\n    found values that are nested deeper; allowed are at most 32"),
        "{error}"
    );
    assert!(error.to_string().contains("commands[0]\n    found a list; "), "{error}");
    // A message may have the levels of its type.
    let message = (0..20).fold(json!({}), |inner, _| json!({ "a": inner }));
    let command =
        json!({ "mqtt": "c", "ros": "/c", "type": "a/msg/B", "on_silence": { "after": "1 s", "message": message } });
    over.load(json!({ "commands": [command] })).expect("valid");
}

/// JSON of any shape, with names and texts that mean something mixed in.
fn any_json() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(WORDS.to_vec()).prop_map(Value::from);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        prop::num::f64::ANY.prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        words.clone(),
        words,
    ];
    leaf.prop_recursive(6, 48, 6, |inner| {
        let name = prop_oneof![
            prop::sample::select(super::super::keys::paths())
                .prop_map(|path| { path.rsplit('.').next().unwrap_or_default().trim_end_matches("[]").to_owned() }),
            ".{0,6}",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Texts that some key takes.
const WORDS: [&str; 20] = [
    "/a",
    "/**",
    "/a/*",
    "a/msg/B",
    "a/srv/B",
    "a/action/B",
    "robots/{thing}{ros}",
    "{type}",
    "m",
    "data",
    "envelope",
    "cdr",
    "2 Hz",
    "1 s",
    "1 KiB",
    "1 %",
    "mean",
    "a.b[*]",
    "iot-bridge",
    "2026-11-28T01:02:03Z",
];

/// MQTT topics, of which some are not for whoever writes the shadow.
const TOPICS: [&str; 6] = [
    "robots/{thing}/a",
    "b/{type}",
    "$aws/rules/a/{thing}",
    "$aws/things/{thing}/shadow/name/iot-bridge/update",
    "$aws/things/robot2/jobs/get",
    "$aws/{name}",
];

/// Keys of several sections with values that they take, as JSON.
const GOOD: [(&str, &str); 12] = [
    ("qos", "0"),
    ("retain", "true"),
    ("rate", "\"2 Hz\""),
    ("fields", "[\"a.b\"]"),
    ("on_change", "{\"deadband\":0.5}"),
    ("batch", "{\"max\":5}"),
    ("except", "null"),
    ("limits", "{\"x\":[0,1]}"),
    ("on_silence", "{\"after\":\"1 s\",\"message\":{\"a\":[1,\"/etc/passwd\"]}}"),
    ("reply", "\"r\""),
    ("timeout", "\"1 s\""),
    ("feedback_rate", "\"1 Hz\""),
];

/// A list of entries that are mostly right.
fn entries(of: Section) -> impl Strategy<Value = Value> {
    let right = match of {
        Section::Topics => json!({ "ros": "/a" }),
        Section::Commands => json!({ "mqtt": "c", "ros": "/c", "type": "a/msg/B" }),
        Section::Services => json!({ "mqtt": "s", "service": "/s", "type": "a/srv/B" }),
        Section::Actions => json!({ "mqtt": "g", "action": "/g", "type": "a/action/B" }),
        Section::Shadows => json!({ "name": "n", "report": "/r" }),
    };
    let keys = keys::ROOT.iter().find_map(|key| match key.kind {
        Kind::Tables(keys) if key.name == of.name() => Some(keys),
        _ => None,
    });
    let keys: Vec<&str> = keys.expect("a section").iter().map(|key| key.name).collect();
    let any = (prop::sample::select(keys), any_json()).prop_map(|(key, value)| vec![(key, value)]);
    let good = prop::sample::select(GOOD.to_vec())
        .prop_map(|(key, json)| vec![(key, serde_json::from_str(json).expect("JSON"))]);
    let more = prop_oneof![3 => Just(Vec::new()).boxed(), 2 => good.boxed(), 1 => any.boxed()];
    let entry = (more, prop::option::of(prop::sample::select(TOPICS.to_vec()))).prop_map(move |(more, mqtt)| {
        let mut entry = right.clone();
        if let Some(mqtt) = mqtt.filter(|_| of != Section::Shadows) {
            entry["mqtt"] = mqtt.into();
        }
        for (key, value) in more {
            entry[key] = value;
        }
        entry
    });
    prop::collection::vec(prop_oneof![19 => entry.boxed(), 1 => any_json().boxed()], 0..3).prop_map(Value::from)
}

/// Sections that may or may not be what a robot takes.
fn sections() -> impl Strategy<Value = Map<String, Value>> {
    let of = |section: Section| {
        let list = prop_oneof![19 => entries(section).boxed(), 1 => any_json().boxed()];
        prop::option::weighted(0.4, list).prop_map(move |list| Some((section.name().to_owned(), list?)))
    };
    let other = prop_oneof![
        19 => Just(None),
        1 => (prop::sample::select(vec!["aws", "mqtt", "queue", "remote", "x"]), any_json())
            .prop_map(|(name, value)| Some((name.to_owned(), value))),
    ];
    let [topics, commands, services, actions, shadows] = Section::ALL.map(of);
    (topics, commands, services, actions, shadows, other)
        .prop_map(|(a, b, c, d, e, f)| [a, b, c, d, e, f].into_iter().flatten().collect())
}

/// The settings without what the cloud may set.
fn own(settings: &Settings) -> Settings {
    let settings = settings.clone();
    let (topics, commands, services, actions, shadows) = Default::default();
    Settings { topics, commands, services, actions, shadows, ..settings }
}

/// Whatever comes, it is taken or refused: what is taken sets nothing but its sections, reads back as printed and makes
/// nothing speak to AWS's own topics; what is refused has a problem, and no panic.
#[test]
fn whatever_comes_sets_nothing_else() {
    let over = Over::new(ALL);
    let local = over.load(json!({})).expect("valid");
    let taken = std::cell::Cell::new(0);
    let runner = |sections: Map<String, Value>| {
        let overlay = Overlay { name: NAME.into(), sections };
        match load_file_over(&over.path(), [], Some(&overlay)) {
            Ok(loaded) => {
                taken.set(taken.get() + 1);
                prop_assert_eq!(own(&loaded.settings), own(&local.settings));
                prop_assert_eq!(&loaded.credentials, &local.credentials);
                let set: Vec<_> = loaded.overlaid.iter().map(|set| set.section).collect();
                prop_assert_eq!(&set, &overlay.sections());
                if !set.contains(&Section::Topics) {
                    prop_assert_eq!(&loaded.settings.topics[0].ros, "/odom");
                }
                let topics = loaded.settings.topics.iter().flat_map(Topic::mqtt_topics);
                let topics = topics.chain(loaded.settings.answered()).chain(loaded.settings.asked().map(str::to_owned));
                for topic in topics {
                    prop_assert!(!topic.starts_with('$') || topic.starts_with("$aws/rules/"), "{topic}");
                }
                let printed = loaded.settings.to_toml().expect("prints");
                let again = Place::new().file("config.toml", &printed).settings();
                prop_assert_eq!(again, loaded.settings, "{}", printed);
            }
            Err(error) => {
                let problems = error.problems.iter().collect::<Vec<_>>();
                prop_assert!(!problems.is_empty());
                for problem in problems {
                    prop_assert!(problem.key.chars().count() < 400 && problem.found.chars().count() < 400, "{problem}");
                }
            }
        }
        Ok(())
    };
    let mut test = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    test.run(&sections(), runner).unwrap_or_else(|failure| panic!("{failure}"));
    assert!(taken.get() > 20, "{} of 300 are taken: the test looks at too little", taken.get());
}
