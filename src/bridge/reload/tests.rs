//! Reload after reload, from the configuration through reception to the queue, without ROS.

use std::fmt::Write;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::*;
use crate::ros::{Receiver, Sample};
use iot_bridge_core::codec::{Count, Field, Kind, Schema};
use iot_bridge_core::config::{Overflow, load_file};

const PER_ROUND: usize = 200;

/// A configuration with these topics: the ROS topic and more keys.
fn settings(topics: &[(String, &str)]) -> Settings {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.toml");
    let mut text =
        "[aws]\nendpoint = \"localhost\"\nthing = \"robot1\"\ncertificate = \"-\"\nprivate_key = \"-\"\n".to_owned();
    for (ros, more) in topics {
        write!(text, "[[topics]]\nros = \"{ros}\"\n{more}\n").unwrap();
    }
    std::fs::write(&path, text).unwrap();
    load_file(&path, []).unwrap().settings
}

/// The running bridge, but for ROS and the uplink.
struct Bridge {
    configured: Configured,
    reception: Reception,
    queue: Arc<Queue>,
    /// The indices that the ROS thread has.
    wanted: Vec<Option<String>>,
    now: Instant,
}

impl Bridge {
    fn start(settings: &Settings) -> Bridge {
        let configured = Configured::new(settings.clone());
        let queue = Arc::new(Queue::in_memory(&config::Queue::in_memory(64 << 20, Overflow::DropOldest)));
        let reception = configured.reception(Arc::clone(&queue), Arc::new(Heartbeat::new()));
        let wanted = configured.wanted().into_iter().map(|wanted| Some(wanted.topic)).collect();
        Bridge { configured, reception, queue, wanted, now: Instant::now() }
    }

    fn reload(&mut self, settings: &Settings) {
        self.configured.settings.topics.clone_from(&settings.topics);
        self.configured.settings.shadows.clone_from(&settings.shadows);
        self.configured.interest = interest(&settings.topics);
        self.configured.published = self.configured.published_or_received();
        self.follow(Leaves::WhenDrained);
    }

    /// The graph has these topics now, all of one type. Returns whether the ROS thread has something to do.
    fn appear(&mut self, names: &[&str]) -> bool {
        let types = vec!["std_msgs/msg/Empty".to_owned()];
        let published = names.iter().map(|name| GraphTopic { name: (*name).to_owned(), types: types.clone() });
        self.configured.published = published.collect();
        self.follow(Leaves::AfterAWhile)
    }

    /// As the ROS thread does it. Returns whether that has something to do.
    fn follow(&mut self, leaves: Leaves) -> bool {
        let assigned = self.configured.assign(&self.configured.settings.topics, &self.configured.published);
        let plan = self.configured.plan_with(&assigned, reported(&self.configured.settings));
        let Carried { entries, reported, change } = plan.carry_out();
        let is_told = change.is_some();
        let change = change.unwrap_or_default();
        change.remove.iter().for_each(|index| self.wanted[*index] = None);
        (change.tell)(&mut self.reception);
        for wanted in change.add {
            let free = self.wanted.iter().position(Option::is_none);
            match free {
                Some(index) => self.wanted[index] = Some(wanted.topic),
                None => self.wanted.push(Some(wanted.topic)),
            }
        }
        for (index, wanted) in change.change {
            assert_eq!(self.wanted[index].as_ref(), Some(&wanted.topic), "another topic is changed");
        }
        self.configured.are_in_force(entries, assigned.patterns, leaves);
        self.configured.reported = reported;
        for (index, topic) in &self.configured.reported {
            assert_eq!(self.wanted[*index].as_ref(), Some(topic), "an index is another report's");
        }
        for entry in &self.configured.entries {
            let wanted = entry.index.and_then(|index| self.wanted[index].as_ref());
            assert_eq!(wanted.is_some(), is_received(&entry.settings));
            assert!(wanted.is_none_or(|wanted| *wanted == entry.settings.ros), "an index is another topic's");
        }
        is_told
    }

    /// Each topic gets its type, and `count` messages of it.
    fn receive(&mut self, type_name: &str, count: usize) {
        let schema = Arc::new(Schema { name: type_name.to_owned(), fields: Vec::new() });
        for index in (0..self.wanted.len()).filter(|index| self.wanted[*index].is_some()) {
            self.reception.opened(index, &schema);
            let sample = Sample { cdr: &[0, 1, 0, 0, 0], source_ns: 1, received_ns: 1 };
            (0..count).for_each(|_| self.reception.received(index, &sample));
        }
    }

    /// Sends all there is. Returns it.
    fn send(&mut self) -> Vec<(String, String)> {
        let leases = std::iter::from_fn(|| self.queue.lease(Instant::now()));
        let sent = leases.map(|lease| {
            assert!(self.queue.acknowledge(lease.id));
            (lease.record.route.mqtt.clone(), String::from_utf8(lease.record.payload.to_vec()).unwrap())
        });
        sent.collect()
    }

    /// Topics that are shown, that somebody has, and indices on the ROS thread.
    fn sizes(&mut self) -> [usize; 3] {
        self.now += Duration::from_secs(2);
        self.queue.maintain(self.now);
        self.configured.registry().leaving(self.now);
        let [shown, known, slots] = self.configured.registry().size();
        assert!(slots <= 6 * PER_ROUND, "{slots} slots");
        [shown, known, self.wanted.len()]
    }
}

/// With each reload two hundred topics come and as many go, each with messages, some of another type each time: what is
/// known of topics is after each what it was after the first.
#[test]
fn topics_that_come_and_go_with_reloads_leave_nothing() {
    let of_round = |round: usize| {
        let topics = (0..PER_ROUND).map(|topic| {
            let more = match topic % 4 {
                0 => "mqtt = \"typed/{name}/{type}\"",
                1 => "payload = \"cdr\"",
                2 => "depth = 3",
                _ => "",
            };
            (if topic % 10 == 0 { format!("/again_{topic}") } else { format!("/t_{round}_{topic}") }, more)
        });
        settings(&topics.collect::<Vec<_>>())
    };
    let mut bridge = Bridge::start(&of_round(0));
    let mut first = None;
    for round in 1..8 {
        bridge.receive(if round % 2 == 0 { "std_msgs/msg/Empty" } else { "std_srvs/msg/Nothing" }, 2);
        bridge.reload(&of_round(round));
        // What was queued of the topics that are gone is still shown.
        assert_eq!(bridge.configured.registry().leaving(bridge.now).len(), PER_ROUND / 10 * 9, "round {round}");
        assert_eq!(bridge.send().len(), 2 * PER_ROUND);
        let sizes = bridge.sizes();
        assert_eq!(sizes, *first.get_or_insert(sizes), "round {round}");
    }
    // Those with the type in their MQTT topics that are of each round have two.
    assert_eq!(first, Some([PER_ROUND, PER_ROUND + PER_ROUND / 20, PER_ROUND]));
    bridge.reload(&settings(&[("/last".to_owned(), "")]));
    assert_eq!(bridge.sizes()[..2], [1, 1]);
}

/// A topic that is taken out and put in again, or subscribed anew, never gets a number twice.
#[test]
fn numbers_never_go_back() {
    let envelope = "payload = \"envelope\"";
    let one = settings(&[("/odom".to_owned(), envelope), ("/scan".to_owned(), envelope)]);
    let deeper = settings(&[("/odom".to_owned(), "payload = \"envelope\"\ndepth = 5"), ("/scan".to_owned(), envelope)]);
    let without = settings(&[("/scan".to_owned(), envelope)]);
    let mut bridge = Bridge::start(&one);
    let mut numbers = Vec::new();
    for settings in [&one, &deeper, &without, &one] {
        bridge.reload(settings);
        bridge.receive("std_msgs/msg/Empty", 3);
        let sent = bridge.send();
        numbers.extend(sent.iter().filter(|(mqtt, _)| mqtt.ends_with("odom")).map(number));
    }
    assert_eq!(numbers.len(), 9);
    assert!(numbers.is_sorted_by(|one, other| one < other), "{numbers:?}");
    assert!(numbers[..6].windows(2).all(|two| two[1] == two[0] + 1), "{numbers:?}");
}

/// The topics in force: the ROS topic, the pattern and the index.
fn in_force(bridge: &Bridge) -> Vec<(&str, Option<&str>, Option<usize>)> {
    let entries = bridge.configured.entries.iter();
    entries.map(|entry| (&*entry.settings.ros, entry.pattern.as_deref(), entry.index)).collect()
}

fn with(topics: &[(&str, &str)]) -> Settings {
    settings(&topics.iter().map(|(ros, more)| ((*ros).to_owned(), *more)).collect::<Vec<_>>())
}

/// Topics come and go with the graph. An entry that names one takes it over where it is, and gives it back so; a change of
/// the pattern's entry reaches what it has found.
#[test]
fn patterns_follow_the_graph_and_reloads() {
    let mut bridge = Bridge::start(&with(&[("/odom", ""), ("/s/**", "limit = 2")]));
    assert_eq!(in_force(&bridge), [("/odom", None, Some(0))]);
    assert!(bridge.appear(&["/s/b", "/s/c"]));
    let (b, c) = (("/s/b", Some("/s/**"), Some(1)), ("/s/c", Some("/s/**"), Some(2)));
    assert_eq!(in_force(&bridge), [("/odom", None, Some(0)), b, c]);
    // Those that are there keep their places, and the ROS thread is not bothered.
    assert!(!bridge.appear(&["/s/a", "/s/b", "/s/c"]));
    assert_eq!(in_force(&bridge)[1..], [b, c]);
    assert_eq!(bridge.configured.registry().patterns()[0].waiting, ["/s/a"]);
    bridge.appear(&["/s/a", "/s/c"]);
    assert_eq!(in_force(&bridge)[1..], [("/s/a", Some("/s/**"), Some(1)), c]);
    bridge.receive("std_msgs/msg/Empty", 1);
    for health in bridge.configured.registry().configured() {
        let (type_name, publishers) = ("std_msgs/msg/Empty".to_owned(), 1);
        health.set_state(TopicState::Subscribed {
            type_name,
            publishers,
            incompatible: 0,
            redefined: 0,
            unmatched: None,
        });
    }
    assert_eq!(bridge.send().len(), 3);

    let exact = with(&[("/odom", ""), ("/s/**", "limit = 2\nmqtt = \"elsewhere{ros}\""), ("/s/c", "depth = 7")]);
    bridge.reload(&exact);
    assert_eq!(in_force(&bridge)[1..], [("/s/a", Some("/s/**"), Some(1)), ("/s/c", None, Some(2))]);
    // Before the graph has told anything more, and with the same subscriptions.
    let sample = Sample { cdr: &[0, 1, 0, 0, 0], source_ns: 1, received_ns: 1 };
    (1..3).for_each(|index| bridge.reception.received(index, &sample));
    let sent: Vec<_> = bridge.send().into_iter().map(|(mqtt, _)| mqtt).collect();
    assert_eq!(sent, ["elsewhere/s/a", "robots/robot1/s/c"]);
    bridge.reload(&with(&[("/odom", ""), ("/s/**", "limit = 2")]));
    assert_eq!(in_force(&bridge)[1..], [("/s/a", Some("/s/**"), Some(1)), c]);
    (1..3).for_each(|index| bridge.reception.received(index, &sample));
    assert_eq!(bridge.send().len(), 2);
    let [a, c] = ["/s/a", "/s/c"].map(|ros| {
        let configured = bridge.configured.registry().configured();
        configured.into_iter().find(|health| health.ros == ros).unwrap()
    });
    assert_eq!((a.counters.received(), a.counters.acknowledged()), (3, 3));
    assert_eq!((c.counters.received(), c.pattern().as_deref()), (3, Some("/s/**")));
}

/// A topic whose MQTT topic AWS IoT Core would not take is not received, and says so; another is not harmed.
#[test]
fn a_topic_that_is_too_deep_is_in_trouble() {
    let mut bridge = Bridge::start(&with(&[("/**", "")]));
    bridge.appear(&["/a/b/c/d/e/f/g", "/b"]);
    assert_eq!(in_force(&bridge), [("/a/b/c/d/e/f/g", Some("/**"), None), ("/b", Some("/**"), Some(0))]);
    let TopicState::Trouble(trouble) = bridge.configured.registry().configured()[0].state() else {
        panic!("no trouble")
    };
    assert_eq!(
        trouble,
        "it is not forwarded: its MQTT topic robots/robot1/a/b/c/d/e/f/g is refused: it has 8 slashes; AWS IoT Core takes \
         topics with at most 7 slashes"
    );
    bridge.appear(&["/b"]);
    assert_eq!(in_force(&bridge), [("/b", Some("/**"), Some(0))]);
    // What can be sent since a reload is received.
    bridge.appear(&["/a/b/c/d/e/f/g", "/b"]);
    bridge.reload(&with(&[("/**", "mqtt = \"{ros}\"")]));
    assert_eq!(in_force(&bridge)[0], ("/a/b/c/d/e/f/g", Some("/**"), Some(1)));
}

/// Topics with ever new names appear and vanish: what is known of them stays bounded, and ten minutes later nothing is left.
#[test]
fn topics_that_come_and_go_with_the_graph_leave_nothing() {
    let mut bridge = Bridge::start(&with(&[("/**", "limit = 1000")]));
    for round in 0..20 {
        let names: Vec<String> = (0..100).map(|topic| format!("/t_{round}_{topic}")).collect();
        bridge.appear(&names.iter().map(String::as_str).collect::<Vec<_>>());
        bridge.receive("std_msgs/msg/Empty", 1);
        assert_eq!(bridge.send().len(), 100, "round {round}");
        assert_eq!(bridge.wanted.len(), 100);
        bridge.sizes();
    }
    bridge.appear(&[]);
    let shown = bridge.configured.registry().leaving(Instant::now());
    assert!(shown.len() == 1000 && shown.iter().all(|left| left.has_vanished), "{}", shown.len());
    drop(shown);
    bridge.now += Duration::from_secs(601);
    assert_eq!(bridge.sizes(), [0, 0, 100]);
}

/// The `seq` of a message.
fn number((_, payload): &(String, String)) -> u64 {
    let seq = payload.split_once("\"seq\":").unwrap().1;
    seq.split(|other: char| !other.is_ascii_digit()).next().unwrap().parse().unwrap()
}

/// Of two entries with the same ROS topic and the same MQTT topic one has got more messages than the other. Subscribed anew,
/// both begin above all numbers that either has given.
#[test]
fn numbers_of_two_entries_never_go_back() {
    let twice = |type_name: &str| {
        let more = format!("payload = \"envelope\"\ntype = \"{type_name}\"");
        let mut settings = settings(&[("/odom".to_owned(), more.as_str())]);
        // In a file of its own this is refused.
        settings.topics.push(settings.topics[0].clone());
        settings
    };
    for counts in [[5, 2], [2, 5]] {
        let mut bridge = Bridge::start(&twice("a/msg/A"));
        let receive = |bridge: &mut Bridge, type_name: &str, counts: [usize; 2]| {
            let schema = Arc::new(Schema { name: type_name.to_owned(), fields: Vec::new() });
            for (index, count) in counts.into_iter().enumerate() {
                bridge.reception.opened(index, &schema);
                let sample = Sample { cdr: &[0, 1, 0, 0, 0], source_ns: 1, received_ns: 1 };
                (0..count).for_each(|_| bridge.reception.received(index, &sample));
            }
            bridge.send().iter().map(number).collect::<Vec<_>>()
        };
        let before = receive(&mut bridge, "a/msg/A", counts);
        bridge.reload(&twice("a/msg/B"));
        let after = receive(&mut bridge, "a/msg/B", [1, 1]);
        assert_eq!((before.len(), after.len()), (7, 2));
        assert!(after.iter().min() > before.iter().max(), "{counts:?}: {before:?}, {after:?}");
    }
}

/// What a reload plans that changes one topic grows with the number of topics, not with its square; the one alone is
/// changed.
#[test]
fn a_plan_grows_with_the_topics() {
    /// The processor time that this thread has used.
    fn used() -> Duration {
        let used = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
    }
    /// The least processor time of some that it takes with so many.
    fn plan_with(topics: usize) -> Duration {
        let with = |more| {
            let names = (0..topics).map(|number| format!("/robot/part{number}/state"));
            let last = topics - 1;
            settings(&names.enumerate().map(|(n, ros)| (ros, if n == last { more } else { "" })).collect::<Vec<_>>())
        };
        let (before, after) = (with(""), with("max_age = \"2 h\""));
        let configured = Configured::new(before);
        let times = (0..5).map(|_| {
            let start = used();
            let plan = configured.plan(&configured.assign(&after.topics, &[]));
            let took = used() - start;
            assert_eq!((plan.added, plan.changed, plan.removed, plan.change.len()), (0, 1, 0, 1));
            assert_eq!(plan.change[0].settings.ros, format!("/robot/part{}/state", topics - 1));
            took
        });
        times.min().unwrap()
    }
    let (few, many) = (plan_with(200), plan_with(3200));
    assert!(many < 80 * few, "16 times as many topics take {many:?} instead of {few:?}");
}

/// Another `rate` or `every` is no other subscription; with any other change the counting goes on where it was.
#[test]
fn what_is_held_back_changes_without_a_new_subscription() {
    let with = |more: &'static str| settings(&[("/fast".to_owned(), more)]);
    let mut bridge = Bridge::start(&with("every = 100"));
    bridge.receive("a/msg/B", 150);
    assert_eq!(bridge.send().len(), 2);
    for (more, sent) in [
        ("every = 100\npayload = \"envelope\"", 1),
        ("every = 100\nqos = 0", 2),
        ("every = 50", 3),
        ("rate = \"0.001 Hz\"", 1),
        ("rate = \"0.001 Hz\"\nretain = true", 0),
    ] {
        let plan = bridge.configured.plan(&bridge.configured.assign(&with(more).topics, &[]));
        assert_eq!((plan.changed, plan.change.len(), plan.add.len() + plan.remove.len()), (1, 1, 0), "{more}");
        bridge.reload(&with(more));
        bridge.receive("a/msg/B", 150);
        assert_eq!(bridge.send().len(), sent, "{more}");
    }
}

/// A topic without `type` gets one by a reload, other than it was subscribed as, with a field that only that has: it is not in
/// trouble until then, and its numbers go on.
#[test]
fn another_type_is_not_measured_by_the_one_before() {
    let envelope = "payload = \"envelope\"";
    let mut bridge = Bridge::start(&with(&[("/a", envelope)]));
    bridge.receive("a/msg/A", 3);
    let (type_name, publishers) = ("a/msg/A".to_owned(), 1);
    let subscribed = TopicState::Subscribed { type_name, publishers, incompatible: 0, redefined: 0, unmatched: None };
    bridge.reception.changed(0, subscribed.clone());
    let typed = format!("{envelope}\ntype = \"a/msg/B\"\nfields = [\"only_in_b\"]");
    bridge.reload(&with(&[("/a", &typed)]));
    assert_eq!(bridge.configured.registry().configured()[0].state(), subscribed);
    let only_in_b = Field { name: "only_in_b".to_owned(), kind: Kind::U8, count: Count::One };
    bridge.reception.opened(0, &Arc::new(Schema { name: "a/msg/B".to_owned(), fields: vec![only_in_b] }));
    bridge.reception.received(0, &Sample { cdr: &[0, 1, 0, 0, 5], source_ns: 1, received_ns: 1 });
    let sent = bridge.send();
    let numbers: Vec<_> = sent.iter().map(number).collect();
    assert!(numbers.len() == 4 && numbers.windows(2).all(|two| two[1] == two[0] + 1), "{numbers:?}");
    assert!(sent[3].1.contains("\"only_in_b\":5"), "{}", sent[3].1);
}

/// A topic beyond a limit that comes and goes is named once, ever new ones once a minute, and what is kept of them is bounded.
#[test]
fn topics_beyond_a_limit_are_named_once() {
    let (mut beyond, start) = (Beyond::default(), Instant::now());
    let mut named = |minute: u64, topics: usize, waiting: &[&str]| {
        let waiting = waiting.iter().map(|name| (*name).to_owned()).collect();
        let found = Found { place: 0, ros: "/**".to_owned(), limit: 2, topics, waiting };
        beyond.take_new(&found, start + Duration::from_secs(60 * minute)).join(" ")
    };
    assert_eq!(named(0, 2, &["/c"]), "/c");
    assert_eq!(named(0, 2, &["/c", "/d"]), "");
    assert_eq!(named(1, 2, &["/c", "/d"]), "/d");
    assert_eq!(named(2, 2, &[]), "");
    assert_eq!(named(2, 2, &["/c", "/d"]), "", "they are back");
    assert_eq!(named(3, 1, &[]), "");
    assert_eq!(named(3, 2, &["/c"]), "/c", "the limit is reached anew");
    for minute in 4..30 {
        let names: Vec<_> = (0..100).map(|topic| format!("/t_{minute}_{topic}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        assert_eq!(named(minute, 2, &names), names.join(" "));
    }
    assert!(beyond.named.len() <= KNOWN, "{}", beyond.named.len());
}

/// A configuration with these topics, of which shadows report those in `reports`.
fn reporting(topics: &[&str], reports: &[&str]) -> Settings {
    let mut settings = with(&topics.iter().map(|topic| (*topic, "")).collect::<Vec<_>>());
    let shadow = |report: &&str| config::Shadow {
        name: report.trim_start_matches('/').to_owned(),
        report: Some((*report).to_owned()),
        report_rate: None,
        desired: None,
        desired_type: None,
    };
    settings.shadows = reports.iter().map(shadow).collect();
    settings
}

/// Topics that shadows report come and go with reloads and share indices with those that are forwarded: each gets its own
/// messages, also one that is both, and one that stays is not subscribed anew.
#[test]
fn reports_come_and_go_with_reloads() {
    let mut bridge = Bridge::start(&reporting(&["/a", "/b"], &["/a", "/r"]));
    let rounds: [(&[&str], &[&str]); 5] = [
        (&["/a", "/b"], &["/a", "/r"]),
        (&["/b", "/c"], &["/r", "/s"]),
        (&["/c", "/d", "/r"], &["/s", "/r"]),
        (&["/d"], &[]),
        (&["/e", "/d"], &["/a"]),
    ];
    let mut before: Vec<(usize, String)> = Vec::new();
    let mut readers: HashMap<String, reports::Reader> = HashMap::new();
    for (topics, reports) in rounds {
        bridge.reload(&reporting(topics, reports));
        let reported = bridge.configured.reported.clone();
        for (index, topic) in &before {
            assert!(reported.iter().all(|(other, same)| same != topic || other == index), "{topic} is subscribed anew");
        }
        bridge.receive("a_msgs/msg/Empty", 1);
        let received: Vec<_> = bridge.configured.entries.iter().map(|entry| entry.health.counters.received()).collect();
        assert!(received.iter().all(|received| *received > 0), "{received:?}");
        assert_eq!(bridge.send().len(), topics.len());
        let slots = bridge.configured.reports();
        let mut expected = reports.to_vec();
        expected.sort_unstable();
        assert_eq!(reported.iter().map(|(_, topic)| topic.as_str()).collect::<Vec<_>>(), expected);
        readers.retain(|topic, _| reports.contains(&topic.as_str()));
        for (_, topic) in &reported {
            let reader = readers.entry(topic.clone()).or_insert_with(|| slots.reader(topic));
            assert!(reader.take().is_some(), "{topic} has no message");
        }
        assert_eq!(bridge.wanted.iter().flatten().count(), topics.len() + reports.len());
        before = reported;
    }
}
