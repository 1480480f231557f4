//! Reload after reload, from the configuration through reception to the queue, without ROS.

use std::fmt::Write;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::*;
use crate::ros::{Receiver, Sample};
use iot_bridge_core::codec::Schema;
use iot_bridge_core::config::{Overflow, load_file};
use iot_bridge_core::queue::Queue;
use iot_bridge_core::tally::Heartbeat;

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
        let health = configured.registry().configured();
        let reception = Reception::new(settings, &health, Arc::clone(&queue), Arc::new(Heartbeat::new()));
        let wanted = settings.topics.iter().map(|topic| Some(topic.ros.clone())).collect();
        Bridge { configured, reception, queue, wanted, now: Instant::now() }
    }

    /// As the ROS thread does it.
    fn reload(&mut self, settings: &Settings) {
        let (entries, change) = self.configured.plan(&settings.topics).carry_out();
        change.remove.iter().for_each(|index| self.wanted[*index] = None);
        (change.tell)(&mut self.reception);
        for wanted in change.add {
            let free = self.wanted.iter().position(Option::is_none);
            match free {
                Some(index) => self.wanted[index] = Some(wanted.topic),
                None => self.wanted.push(Some(wanted.topic)),
            }
        }
        self.configured.are_in_force(entries, settings.topics.clone());
        for entry in &self.configured.entries {
            assert_eq!(self.wanted[entry.index].as_deref(), Some(&*entry.settings.ros), "an index is another topic's");
        }
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
        self.configured.registry().leaving();
        let [shown, known, slots] = self.configured.registry().size();
        assert!(slots <= 3 * PER_ROUND, "{slots} slots");
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
        assert_eq!(bridge.configured.registry().leaving().len(), PER_ROUND / 10 * 9, "round {round}");
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

/// The `seq` of a message.
fn number((_, payload): &(String, String)) -> u64 {
    let seq = payload.split_once("\"seq\":").unwrap().1;
    seq.split(|other: char| !other.is_ascii_digit()).next().unwrap().parse().unwrap()
}

/// Of two entries with the same ROS topic and the same MQTT topic one has got more messages than the other. Subscribed anew,
/// both begin above all numbers that either has given.
#[test]
fn numbers_of_two_entries_never_go_back() {
    let twice = |depth: u32| {
        let more = format!("payload = \"envelope\"\ndepth = {depth}");
        let mut settings = settings(&[("/odom".to_owned(), more.as_str())]);
        // In a file of its own this is refused.
        settings.topics.push(settings.topics[0].clone());
        settings
    };
    let schema = Arc::new(Schema { name: "std_msgs/msg/Empty".to_owned(), fields: Vec::new() });
    for counts in [[5, 2], [2, 5]] {
        let mut bridge = Bridge::start(&twice(1));
        let receive = |bridge: &mut Bridge, counts: [usize; 2]| {
            for (index, count) in counts.into_iter().enumerate() {
                bridge.reception.opened(index, &schema);
                let sample = Sample { cdr: &[0, 1, 0, 0, 0], source_ns: 1, received_ns: 1 };
                (0..count).for_each(|_| bridge.reception.received(index, &sample));
            }
            bridge.send().iter().map(number).collect::<Vec<_>>()
        };
        let before = receive(&mut bridge, counts);
        bridge.reload(&twice(5));
        let after = receive(&mut bridge, [1, 1]);
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
            let plan = configured.plan(&after.topics);
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
        let plan = bridge.configured.plan(&with(more).topics);
        assert_eq!((plan.changed, plan.change.len(), plan.add.len() + plan.remove.len()), (1, 1, 0), "{more}");
        bridge.reload(&with(more));
        bridge.receive("a/msg/B", 150);
        assert_eq!(bridge.send().len(), sent, "{more}");
    }
}
