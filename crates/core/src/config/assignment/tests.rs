use std::cmp::Ordering;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::config::{Settings, load_file};

/// A configuration with these entries.
fn settings(topics: &str) -> Settings {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    let aws = "[aws]\nendpoint = \"localhost\"\nthing = \"robot1\"\ncertificate = \"-\"\nprivate_key = \"-\"\n";
    std::fs::write(&path, format!("{aws}{topics}")).unwrap();
    load_file(&path, []).unwrap_or_else(|problems| panic!("{problems}")).settings
}

fn published(topics: &[(&str, &str)]) -> Vec<GraphTopic> {
    let one = |(name, types): &(&str, &str)| GraphTopic {
        name: (*name).to_owned(),
        types: types.split(' ').map(str::to_owned).collect(),
    };
    topics.iter().map(one).collect()
}

fn of_type(names: &[&str]) -> Vec<GraphTopic> {
    published(&names.iter().map(|name| (*name, "std_msgs/msg/String")).collect::<Vec<_>>())
}

/// Each topic with the pattern that has found it; empty for what is named exactly.
fn outcome(assigned: &Assigned) -> Vec<(&str, &str)> {
    let pattern_at = |place: usize| assigned.patterns.iter().find(|found| found.place == place).unwrap();
    let pattern_of = |place: &Option<usize>| place.map_or("", |place| &pattern_at(place).ros);
    assigned.topics.iter().map(|(topic, place)| (&*topic.ros, pattern_of(place))).collect()
}

/// The example in the module's documentation, and each rule that decides.
#[test]
fn the_more_exact_entry_wins() {
    let entries = settings(
        "[[topics]]\nros = \"/**\"\nexcept = [\"/scan\"]\n[[topics]]\nros = \"/sensors/**\"\nexcept = [\"/sensors/raw/**\"]\n\
         [[topics]]\nros = \"/sensors/*\"\n",
    );
    let graph = of_type(&["/odom", "/scan", "/sensors/imu", "/sensors/raw/imu"]);
    let assigned = assign(&entries.topics, &graph, |_| false);
    assert_eq!(outcome(&assigned), [("/odom", "/**"), ("/sensors/raw/imu", "/**"), ("/sensors/imu", "/sensors/*")]);
    for (one, other, name) in [
        // An exact name, wherever it stands.
        ("/odom", "/**", "/odom"),
        // The longest part before the first wildcard.
        ("/sensors/raw/**", "/sensors/*/imu", "/sensors/raw/imu"),
        ("/sensors/r**", "/sensors/*", "/sensors/raw"),
        // Fewer `**`.
        ("/*/*/*", "/**/imu", "/sensors/raw/imu"),
        // Fewer `*`.
        ("/*/raw/imu", "/*/raw/*", "/sensors/raw/imu"),
        // The first in the file.
        ("/*/raw/imu", "/*/*aw/imu", "/sensors/raw/imu"),
    ] {
        let one = one.replace("r**", "r*");
        for order in [[&*one, other], [other, &*one]] {
            let text: String = order.iter().map(|ros| format!("[[topics]]\nros = \"{ros}\"\n")).collect();
            let assigned = assign(&settings(&text).topics, &of_type(&[name]), |_| false);
            let winner = if is_pattern(&one) { &*one } else { "" };
            assert_eq!(outcome(&assigned), [(name, winner)], "{order:?}");
        }
    }
    let alike = settings("[[topics]]\nros = \"/*a\"\nqos = 0\n[[topics]]\nros = \"/*a\"\nmqtt = \"b{ros}\"\n");
    assert_eq!(assign(&alike.topics, &of_type(&["/a"]), |_| false).topics[0].0.mqtt, "robots/robot1/a");
}

/// What the cloud asks for is found by no pattern, and neither is what would be published where it asks: it would come back.
/// An entry that names the topic has it.
#[test]
fn what_the_cloud_asks_for_is_not_found() {
    let requests = "[[commands]]\nmqtt = \"robots/{thing}/drive\"\nros = \"/base/cmd_vel\"\ntype = \"a/msg/B\"\n\
                    [[services]]\nmqtt = \"robots/{thing}/x/std_msgs/msg/String\"\nservice = \"/reset\"\ntype = \"a/srv/B\"\n\
                    [[actions]]\nmqtt = \"robots/{thing}/act/zstd\"\naction = \"/act\"\ntype = \"a/action/B\"\n\
                    [[shadows]]\nreport = \"/state\"\ndesired = \"/wish\"\n";
    let graph = of_type(&["/act", "/base/cmd_vel", "/drive", "/odom", "/reset", "/state", "/wish", "/x"]);
    let names = |topics: &str| {
        let entries = settings(&format!("{topics}{requests}")).topics;
        let patterns = Patterns::of(&entries);
        let assigned = assign(&entries, &graph, |_| false);
        let of_pattern = assigned.topics.iter().filter(|(_, place)| place.is_some());
        for (topic, place) in of_pattern {
            let types = ["std_msgs/msg/String".to_owned()];
            assert!(patterns.may_have(&topic.ros));
            assert_eq!(patterns.entry_of(&topic.ros, &types).map(|(place, _)| place), *place);
            assert_eq!(topic.requested, None);
        }
        assigned.topics.into_iter().map(|(topic, _)| topic.ros).collect::<Vec<_>>()
    };
    assert_eq!(names("[[topics]]\nros = \"/**\"\n"), ["/act", "/odom", "/reset", "/state", "/x"]);
    assert_eq!(
        names("[[topics]]\nros = \"/**\"\nmqtt = \"robots/{thing}/{name}/{type}\"\n"),
        ["/act", "/drive", "/odom", "/reset", "/state"]
    );
    let compressed = "[[topics]]\nros = \"/**\"\ncompression = \"zstd\"\ncompression_suffix = true\n";
    assert_eq!(names(compressed), ["/odom", "/reset", "/state", "/x"]);
    // What one pattern can't have another one may.
    let elsewhere =
        "[[topics]]\nros = \"/d*\"\n[[topics]]\nros = \"/**\"\nmqtt = \"all{ros}\"\n[[topics]]\nros = \"/wish\"\n";
    assert_eq!(names(elsewhere), ["/act", "/drive", "/odom", "/reset", "/state", "/x", "/wish"]);
}

/// The topic gets the entry's settings, with its own names.
#[test]
fn a_found_topic_has_its_entrys_settings() {
    let entries = settings(
        "[[topics]]\nros = \"/camera/*/info\"\nmqtt = \"c/{thing}/{namespace}/{name}/{type}\"\nqos = 0\nlimit = 3\n\
         except = [\"/camera/rear/info\"]\n",
    );
    let graph = of_type(&["/camera/front/info", "/camera/rear/info"]);
    let assigned = assign(&entries.topics, &graph, |_| false);
    let [(topic, Some(0))] = &assigned.topics[..] else { panic!("{assigned:?}") };
    assert_eq!(topic.ros, "/camera/front/info");
    assert_eq!(topic.mqtt, "c/robot1/camera/front/info/{type}");
    assert_eq!((u8::from(topic.qos), &topic.type_name, topic.limit), (0, &None, None));
    assert!(topic.except.is_empty() && !topic.is_pattern());
    assert_eq!(entries.topics[0].mqtt_globs(), ["c/robot1/camera/*/info/{type}"]);
}

#[test]
fn hidden_topics_are_not_found() {
    let entries = settings("[[topics]]\nros = \"/**\"\n[[topics]]\nros = \"/exact/_hidden\"\n");
    let graph = of_type(&["/a/_b/c", "/_a", "/rosout", "/parameter_events", "/exact/_hidden", "/a_", "/2a"]);
    let assigned = assign(&entries.topics, &graph, |_| false);
    assert_eq!(outcome(&assigned), [("/a_", "/**"), ("/exact/_hidden", "")]);
    let patterns = Patterns::of(&entries.topics);
    assert!(patterns.may_have("/a_") && !patterns.may_have("/_a") && !patterns.may_have("/exact/_hidden"));
}

/// A type, or all of a package's; a topic of another type goes to the next entry. Of several types the one that is meant is
/// subscribed to.
#[test]
fn a_type_decides() {
    let entries = settings(
        "[[topics]]\nros = \"/a/*\"\ntype = \"sensor_msgs/msg/*\"\n[[topics]]\nros = \"/*/*\"\ntype = \"nav_msgs/msg/Odometry\"\n\
         [[topics]]\nros = \"/**\"\n",
    );
    let graph = published(&[
        ("/a/both", "nav_msgs/msg/Odometry sensor_msgs/msg/Imu"),
        ("/a/imu", "sensor_msgs/msg/Imu"),
        ("/a/odom", "nav_msgs/msg/Odometry"),
        ("/a/other", "sensor_msgs_2/msg/Imu"),
    ]);
    let assigned = assign(&entries.topics, &graph, |_| false);
    let expected = [("/a/both", "/a/*"), ("/a/imu", "/a/*"), ("/a/odom", "/*/*"), ("/a/other", "/**")];
    assert_eq!(outcome(&assigned), expected);
    let types = assigned.topics.iter().map(|(topic, _)| topic.type_name.as_deref());
    let imu = Some("sensor_msgs/msg/Imu");
    assert!(types.eq([imu, imu, Some("nav_msgs/msg/Odometry"), None]));
    let patterns = Patterns::of(&entries.topics);
    assert_eq!(patterns.by_name("/a/imu"), ByName::DependsOnType);
    assert_eq!([patterns.by_name("/odom"), patterns.by_name("/_a")], [ByName::Entry(2), ByName::None]);
    assert_eq!(patterns.entry_of("/a/odom", &[]), None, "no type is the right one");
}

/// Those that are in force keep their places; who waits takes that of one that has gone.
#[test]
fn a_limit_keeps_who_was_first() {
    let entries = settings("[[topics]]\nros = \"/*\"\nlimit = 2\n[[topics]]\nros = \"/**\"\n");
    let graph = of_type(&["/a", "/b", "/c", "/d"]);
    let first = assign(&entries.topics, &graph, |_| false);
    assert_eq!(outcome(&first), [("/a", "/*"), ("/b", "/*")], "those that wait go to no other entry");
    let found = Found { place: 0, ros: "/*".into(), limit: 2, topics: 2, waiting: vec!["/c".into(), "/d".into()] };
    assert_eq!(first.patterns[0], found);
    let kept = assign(&entries.topics, &graph, |name| ["/c", "/d"].contains(&name));
    assert_eq!(outcome(&kept), [("/c", "/*"), ("/d", "/*")]);
    let next = assign(&entries.topics, &graph[1..], |name| ["/a", "/d"].contains(&name));
    assert_eq!(outcome(&next), [("/b", "/*"), ("/d", "/*")]);
    assert_eq!(next.patterns[0].waiting, ["/c"]);
}

#[test]
fn what_merges_topics_is_known() {
    for (ros, mqtt, merges) in [
        ("/a/*", "b{ros}", false),
        ("/a/*", "b/{name}", false),
        ("/a/*", "b", true),
        ("/*/info", "b/{name}", true),
        ("/*/info", "b/{namespace}", false),
        ("/a/**", "b/{name}", true),
        ("/a/**", "b/{namespace}", true),
        ("/a/**", "b/{namespace}/{name}", false),
        ("/a", "b", false),
    ] {
        let settings = settings(&format!("[[topics]]\nros = \"{ros}\"\nmqtt = \"{mqtt}\"\n"));
        assert_eq!(settings.topics[0].merges(), merges, "{ros} {mqtt}");
    }
}

/// An entry, for what is the same in all.
static TEMPLATE: LazyLock<Topic> = LazyLock::new(|| settings("[[topics]]\nros = \"/**\"\n").topics.remove(0));

/// The rule that decides between two patterns, word for word.
fn is_more_exact(one: &str, other: &str) -> Ordering {
    let before = |text: &str| text.split('*').next().unwrap().len();
    let many = |text: &str| text.split('/').filter(|level| *level == "**").count();
    let single = |text: &str| text.replace("**", "").matches('*').count();
    before(other).cmp(&before(one)).then(many(one).cmp(&many(other))).then(single(one).cmp(&single(other)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the entries and the graph, each topic has the entry that the rule gives it, and no entry has more than its
    /// limit.
    #[test]
    fn topics_have_the_entries_of_the_rule(
        entries in prop::collection::vec(("(/(a|b|a\\*|\\*|\\*\\*)){1,3}", prop::option::of("(/(a|b|\\*)){1,3}"), 0..3_usize, 1..4_usize), 1..6),
        graph in prop::collection::btree_map("(/(a|b|ab|_a)){1,3}", prop::collection::btree_set(0..3_usize, 1..3), 0..12),
    ) {
        const TYPES: [&str; 3] = ["p/msg/A", "p/msg/B", "q/msg/A"];
        const WANTED: [&str; 3] = ["", "p/msg/*", "q/msg/A"];
        let entries: Vec<Topic> = entries.iter().map(|(ros, except, wanted, limit)| {
            let pattern = is_pattern(ros);
            Topic {
                ros: ros.clone(),
                except: except.iter().filter(|_| pattern).cloned().collect(),
                type_name: Some(WANTED[*wanted]).filter(|wanted| pattern && !wanted.is_empty()).map(str::to_owned),
                limit: pattern.then_some(*limit),
                ..TEMPLATE.clone()
            }
        }).collect();
        let graph: Vec<GraphTopic> = graph.into_iter().map(|(name, types)| GraphTopic {
            name,
            types: types.into_iter().map(|place| TYPES[place].to_owned()).collect(),
        }).collect();
        let assigned = assign(&entries, &graph, |name| name.ends_with('b'));
        let mut expected: Vec<Vec<&str>> = vec![Vec::new(); entries.len()];
        for topic in &graph {
            let name = &*topic.name;
            if name.contains("/_") || entries.iter().any(|entry| entry.ros == *name) {
                continue;
            }
            let takes = |entry: &&Topic| entry.is_pattern()
                && Pattern::new(&entry.ros).matches(name)
                && !entry.except.iter().any(|except| Pattern::new(except).matches(name))
                && match entry.type_name.as_deref() {
                    None => true,
                    Some("p/msg/*") => topic.types.iter().any(|name| name.starts_with("p/")),
                    Some(exact) => topic.types.iter().any(|name| name == exact),
                };
            let takers = entries.iter().enumerate().filter(|(_, entry)| takes(entry));
            let winner = takers.min_by(|(i, one), (k, other)| is_more_exact(&one.ros, &other.ros).then(i.cmp(k)));
            if let Some((place, _)) = winner {
                expected[place].push(name);
            }
        }
        let mut had = assigned.topics.iter();
        for ((entry, found), place) in entries.iter().filter(|entry| entry.is_pattern()).zip(&assigned.patterns).zip(
            (0..).filter(|place| entries.get(*place).is_some_and(Topic::is_pattern))
        ) {
            let all = &expected[place];
            prop_assert_eq!(found.topics, all.len().min(entry.limit.unwrap()));
            prop_assert_eq!(found.topics + found.waiting.len(), all.len());
            let is_waiting = |name: &str| found.waiting.iter().any(|waits| waits == name);
            prop_assert!(found.waiting.iter().all(|name| all.contains(&&**name)));
            // Nobody who was there waits for one who was not.
            let kept = all.iter().filter(|name| !is_waiting(name));
            prop_assert!(!found.waiting.iter().any(|name| name.ends_with('b')) || kept.clone().all(|name| name.ends_with('b')));
            let mut topics = had.by_ref().skip_while(|(_, pattern)| pattern.is_none());
            for name in kept {
                let (topic, pattern) = topics.next().unwrap();
                prop_assert_eq!((&*topic.ros, *pattern), (*name, Some(place)));
            }
        }
        prop_assert_eq!(
            assigned.topics.len(),
            entries.iter().filter(|entry| !entry.is_pattern()).count()
                + assigned.patterns.iter().map(|found| found.topics).sum::<usize>()
        );
    }
}
