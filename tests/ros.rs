//! Generic reception against real publishers of another rcl context, over real DDS.

use crate::support::domain;

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver as Events, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use iot_bridge::ros::{self, Node, Receiver, RosThread, Sample, Silence, TopicState, Wanted};
use iot_bridge_core::codec::Schema;
use iot_bridge_core::config::{Durability, Reliability};
use r2r::QosProfile;
use r2r::std_msgs::msg::{Int32, String as RosString};

/// Discovery on a busy machine takes a while.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a receiver was told, in order.
#[derive(Debug, PartialEq)]
enum Event {
    Opened(usize, String),
    Received(usize, Vec<u8>),
    Lost(usize, u64),
    Refused(usize, &'static str),
    Changed(usize, TopicState),
    Silent(usize, Option<Silence>),
}

struct Teller {
    events: Sender<Event>,
    /// Taken for the time of each message: the test holds the ROS thread with it.
    gate: Arc<Mutex<()>>,
}

impl Receiver for Teller {
    fn opened(&mut self, topic: usize, schema: &Arc<Schema>) {
        let _ = self.events.send(Event::Opened(topic, schema.name.clone()));
    }
    fn received(&mut self, topic: usize, sample: &Sample<'_>) {
        let _passed = self.gate.lock().unwrap();
        assert!(sample.source_ns > 0 && sample.received_ns >= sample.source_ns - 1_000_000_000);
        let _ = self.events.send(Event::Received(topic, sample.cdr.to_vec()));
    }
    fn unreadable(&mut self, topic: usize) {
        panic!("a message of topic {topic} has another definition");
    }
    fn lost(&mut self, topic: usize, count: u64) {
        let _ = self.events.send(Event::Lost(topic, count));
    }
    fn refused(&mut self, topic: usize, policy: &'static str, _: u64) {
        let _ = self.events.send(Event::Refused(topic, policy));
    }
    fn changed(&mut self, topic: usize, state: TopicState) {
        let _ = self.events.send(Event::Changed(topic, state));
    }
    fn silent(&mut self, topic: usize, silence: Option<Silence>) {
        let _ = self.events.send(Event::Silent(topic, silence));
    }
    fn turned(&mut self) {}
}

fn wanted(topic: &str, type_name: Option<&str>) -> Wanted {
    Wanted {
        topic: topic.into(),
        type_name: type_name.map(Into::into),
        reliability: Reliability::Auto,
        durability: Durability::Auto,
        depth: 100,
    }
}

fn receive(wanted: Vec<Wanted>) -> (RosThread<Teller>, Events<Event>) {
    let (thread, events, _) = receive_through_a_gate(wanted);
    (thread, events)
}

fn receive_through_a_gate(wanted: Vec<Wanted>) -> (RosThread<Teller>, Events<Event>, Arc<Mutex<()>>) {
    let (sender, events) = mpsc::channel();
    let gate = Arc::new(Mutex::new(()));
    let node = Node::create("iot_bridge", "").unwrap();
    let teller = Teller { events: sender, gate: Arc::clone(&gate) };
    (ros::spawn(node, wanted, teller).unwrap(), events, gate)
}

fn publishing_node() -> r2r::Node {
    r2r::Node::create(r2r::Context::create().unwrap(), "robot", "").unwrap()
}

/// Waits for an event that `wish` accepts; the ones before it are dropped.
fn await_event(events: &Events<Event>, what: &str, mut wish: impl FnMut(&Event) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut passed = Vec::new();
    loop {
        match events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(event) if wish(&event) => return,
            Ok(event) => passed.push(event),
            Err(_) => panic!("no sign of {what}; what came: {passed:?}"),
        }
    }
}

fn text(data: &str) -> RosString {
    RosString { data: data.into() }
}

fn holds(event: &Event, topic: usize, text: &str) -> bool {
    matches!(event, Event::Received(index, cdr) if *index == topic && String::from_utf8_lossy(cdr).contains(text))
}

/// The number in a message "number N."; `None` for every other event.
fn number(event: &Event) -> Option<usize> {
    let Event::Received(_, cdr) = event else { return None };
    String::from_utf8_lossy(cdr).split_once("number ")?.1.split('.').next()?.parse().ok()
}

/// Publishes `message` until it is received: a volatile publisher's first messages go to nobody.
fn publish_until_received<T: r2r::WrappedTypesupport + 'static>(
    publisher: &r2r::Publisher<T>,
    message: &T,
    events: &Events<Event>,
    what: &str,
    mut wish: impl FnMut(&Event) -> bool,
) {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        publisher.publish(message).unwrap();
        let pause = Instant::now() + Duration::from_millis(100);
        while let Ok(event) = events.recv_timeout(pause.saturating_duration_since(Instant::now())) {
            if wish(&event) {
                return;
            }
        }
    }
    panic!("{what} was never received");
}

/// A topic that does not exist yet is subscribed, with the type of its publisher, when it appears.
#[test]
fn a_topic_is_subscribed_when_it_appears() {
    domain::enter();
    let (thread, events) = receive(vec![wanted("/late", None)]);
    let mut node = publishing_node();
    let publisher = node.create_publisher::<RosString>("/late", QosProfile::default()).unwrap();
    await_event(&events, "the type", |event| *event == Event::Opened(0, "std_msgs/msg/String".into()));
    publish_until_received(&publisher, &text("hello"), &events, "hello", |event| holds(event, 0, "hello"));
    thread.stop().unwrap();
}

/// QoS `auto` follows the publishers, also those that come later; what was delivered before is not delivered again.
#[test]
fn auto_qos_follows_publishers_that_come_later() {
    domain::enter();
    let (thread, events) = receive(vec![wanted("/mixed", Some("std_msgs/msg/String"))]);
    let mut node = publishing_node();
    let latched = QosProfile::default().reliable().transient_local();
    let first = node.create_publisher::<RosString>("/mixed", latched).unwrap();
    first.publish(&text("latched")).unwrap();
    await_event(&events, "the latched message", |event| holds(event, 0, "latched"));
    let second = node.create_publisher::<RosString>("/mixed", QosProfile::default().best_effort()).unwrap();
    let mut again = 0;
    publish_until_received(&second, &text("best effort"), &events, "best effort", |event| {
        again += usize::from(holds(event, 0, "latched"));
        holds(event, 0, "best effort")
    });
    publish_until_received(&first, &text("reliable"), &events, "reliable", |event| {
        again += usize::from(holds(event, 0, "latched"));
        holds(event, 0, "reliable")
    });
    // Alone again, the first publisher gets its transient-local subscription back, and with it a repeat from DDS.
    node.destroy_publisher(second);
    publish_until_received(&first, &text("alone"), &events, "alone", |event| {
        again += usize::from(holds(event, 0, "latched"));
        holds(event, 0, "alone")
    });
    assert_eq!(again, 0, "the latched message was delivered again");
    thread.stop().unwrap();
}

/// What a transient-local publisher has published before arrives also when a volatile one is beside it, whichever was
/// there first; what both publish afterwards arrives, and nothing comes twice.
#[test]
fn latched_messages_beside_a_volatile_publisher_arrive_once() {
    domain::enter();
    let mut node = publishing_node();
    let latched = QosProfile::default().reliable().transient_local();
    let names = ["/before", "/after"];
    let volatile: Vec<_> =
        names.iter().map(|name| node.create_publisher::<RosString>(name, QosProfile::default()).unwrap()).collect();
    let before = node.create_publisher::<RosString>(names[0], latched.clone()).unwrap();
    (0..3).for_each(|number| before.publish(&text(&format!("latched {number}"))).unwrap());
    let (thread, events) = receive(names.iter().map(|name| wanted(name, None)).collect());
    let mut texts: [Vec<String>; 2] = Default::default();
    let note = |event: &Event, texts: &mut [Vec<String>; 2]| match event {
        Event::Received(topic, cdr) => {
            texts[*topic].push(String::from_utf8_lossy(&cdr[8..cdr.len() - 1]).into_owned());
        }
        Event::Lost(..) | Event::Refused(..) => panic!("{event:?}"),
        _ => {}
    };
    let end = |publisher: &r2r::Publisher<RosString>, topic: usize, last: &str, texts: &mut [Vec<String>; 2]| {
        publish_until_received(publisher, &text(last), &events, last, |event| {
            note(event, texts);
            holds(event, topic, last)
        });
    };
    end(&volatile[0], 0, "volatile", &mut texts);
    end(&volatile[1], 1, "volatile", &mut texts);
    // The second topic has a volatile subscription by now; its latched publisher comes later.
    let after = node.create_publisher::<RosString>(names[1], latched).unwrap();
    (0..3).for_each(|number| after.publish(&text(&format!("latched {number}"))).unwrap());
    for (topic, publisher) in [&before, &after].into_iter().enumerate() {
        if !texts[topic].contains(&"latched 2".to_owned()) {
            await_event(&events, "what is latched", |event| {
                note(event, &mut texts);
                holds(event, topic, "latched 2")
            });
        }
        // It is matched by now.
        publisher.publish(&text("live")).unwrap();
        end(&volatile[topic], topic, "the end", &mut texts);
    }
    for texts in &texts {
        let latched: Vec<_> = texts.iter().filter(|text| text.starts_with("latched")).collect();
        assert_eq!(latched, ["latched 0", "latched 1", "latched 2"], "{texts:?}");
        assert_eq!(texts.iter().filter(|text| *text == "live").count(), 1, "{texts:?}");
    }
    thread.stop().unwrap();
}

/// A stream loses nothing, and nothing of it comes twice, when a publisher with another QoS comes and goes beside it.
#[test]
fn a_change_of_qos_loses_nothing() {
    domain::enter();
    let (thread, events) = receive(vec![wanted("/stream", Some("std_msgs/msg/String"))]);
    let mut node = publishing_node();
    let stream = node.create_publisher::<RosString>("/stream", QosProfile::default().keep_last(1000)).unwrap();
    publish_until_received(&stream, &text("start"), &events, "start", |event| holds(event, 0, "start"));
    let stop = Arc::new(AtomicBool::new(false));
    let publishing = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                stream.publish(&text(&format!("number {count}."))).unwrap();
                count += 1;
                std::thread::sleep(Duration::from_millis(2));
            }
            (count, stream)
        }
    });
    let (mut numbers, received) = (Vec::new(), Cell::new(0));
    let mut note = |event: &Event| {
        assert!(!matches!(event, Event::Lost(..)), "{event:?}");
        numbers.extend(number(event));
        received.set(numbers.len());
        numbers.len()
    };
    for _ in 0..2 {
        let other = node.create_publisher::<RosString>("/stream", QosProfile::default().best_effort()).unwrap();
        publish_until_received(&other, &text("other"), &events, "the other publisher", |event| {
            note(event);
            holds(event, 0, "other")
        });
        node.destroy_publisher(other);
        // Long enough for the subscription to follow back, and for the one before it to end.
        let until = received.get() + 1000;
        await_event(&events, "the stream", |event| note(event) >= until);
    }
    stop.store(true, Ordering::Relaxed);
    let (count, _stream) = publishing.join().unwrap();
    if received.get() < count {
        await_event(&events, "the end of the stream", |event| note(event) >= count);
    }
    assert_eq!(numbers, (0..count).collect::<Vec<_>>());
    thread.stop().unwrap();
}

/// What DDS overwrites before it can be taken is counted as lost: nothing is missing without a word.
#[test]
fn overwritten_messages_are_counted() {
    domain::enter();
    const COUNT: usize = 50;
    let shallow = Wanted { depth: 5, ..wanted("/burst", Some("std_msgs/msg/String")) };
    let (thread, events, gate) = receive_through_a_gate(vec![shallow]);
    let mut node = publishing_node();
    let publisher = node.create_publisher::<RosString>("/burst", QosProfile::default().keep_last(1000)).unwrap();
    let mut published = 0;
    let mut publish = |count: usize| {
        for _ in 0..count {
            publisher.publish(&text(&format!("number {published}."))).unwrap();
            published += 1;
        }
        published
    };
    // A volatile publisher's first messages go to nobody; from the first one that comes on, each has to be told of.
    let first = loop {
        publish(1);
        if let Some(first) = events.recv_timeout(Duration::from_millis(100)).ok().as_ref().and_then(number) {
            break first;
        }
    };
    {
        let _held = gate.lock().unwrap();
        publish(COUNT);
        // Each of them is in DDS's hands; how soon it overwrites is its own affair.
        std::thread::sleep(Duration::from_millis(300));
    }
    let total = publish(1) - first;
    let (mut received, mut lost) = (1, 0);
    // A message that is missing may be late, so a loss is told a little later.
    await_event(&events, "all of them", |event| {
        match event {
            Event::Lost(_, count) => lost += *count as usize,
            event => received += usize::from(number(event).is_some()),
        }
        received + lost >= total
    });
    assert_eq!(received + lost, total);
    assert!(lost >= COUNT - 10, "only {lost} of {COUNT} were overwritten");
    thread.stop().unwrap();
}

/// A topic whose publisher comes back with another type is followed.
#[test]
fn a_changed_type_is_followed() {
    domain::enter();
    let (thread, events) = receive(vec![wanted("/shape", None)]);
    let mut node = publishing_node();
    let before = node.create_publisher::<RosString>("/shape", QosProfile::default()).unwrap();
    publish_until_received(&before, &text("text"), &events, "text", |event| holds(event, 0, "text"));
    node.destroy_publisher(before);
    let after = node.create_publisher::<Int32>("/shape", QosProfile::default()).unwrap();
    await_event(&events, "the new type", |event| *event == Event::Opened(0, "std_msgs/msg/Int32".into()));
    publish_until_received(&after, &Int32 { data: 7 }, &events, "7", |event| {
        *event == Event::Received(0, vec![0, 1, 0, 0, 7, 0, 0, 0])
    });
    thread.stop().unwrap();
}

/// A topic that can't be received is reported once, and the others flow.
#[test]
fn trouble_with_a_topic_is_its_own() {
    domain::enter();
    let (thread, events) = receive(vec![
        wanted("/absent", Some("absent_msgs/msg/Thing")),
        wanted("/wrong", Some("std_msgs/msg/Int32")),
        wanted("/good", None),
    ]);
    let mut node = publishing_node();
    let _wrong = node.create_publisher::<RosString>("/wrong", QosProfile::default()).unwrap();
    let good = node.create_publisher::<RosString>("/good", QosProfile::default()).unwrap();
    let mut troubles = Vec::new();
    let mut seen = |event: &Event| {
        if let Event::Changed(topic, TopicState::Trouble(trouble)) = event {
            troubles.push((*topic, trouble.clone()));
        }
        holds(event, 2, "fine")
    };
    for round in 0..3 {
        let what = format!("round {round}");
        publish_until_received(&good, &text("fine"), &events, &what, &mut seen);
    }
    troubles.sort();
    let words = [
        "package `absent_msgs` is not in the ROS environment",
        "published as std_msgs/msg/String, but configured as std_msgs/msg/Int32",
    ];
    assert_eq!(troubles.len(), 2, "{troubles:?}");
    for ((topic, trouble), (index, word)) in troubles.iter().zip(words.iter().enumerate()) {
        assert!(*topic == index && trouble.contains(word), "{trouble}");
    }
    thread.stop().unwrap();
}

/// A publisher of another type that comes and goes again and again is a state each time, and one line in the log.
#[test]
fn a_publisher_that_comes_and_goes_is_said_once() {
    domain::enter();
    let log = Arc::new(Mutex::new(Vec::new()));
    let lines = Arc::clone(&log);
    tracing_subscriber::fmt().with_writer(move || Log(Arc::clone(&lines))).init();
    let (thread, events) = receive(vec![wanted("/flaps", Some("std_msgs/msg/String"))]);
    for _ in 0..5 {
        let mut node = publishing_node();
        let _publisher = node.create_publisher::<Int32>("/flaps", QosProfile::default()).unwrap();
        await_event(&events, "the trouble", |event| matches!(event, Event::Changed(0, TopicState::Trouble(_))));
        drop(node);
        await_event(&events, "its end", |event| matches!(event, Event::Changed(0, TopicState::Subscribed { .. })));
    }
    thread.stop().unwrap();
    let log = String::from_utf8(log.lock().unwrap().clone()).unwrap();
    assert_eq!(log.matches("can't be received").count(), 1, "{log}");
    assert_eq!(log.matches("Subscribed to").count(), 1, "{log}");
}

/// Where log lines go.
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A configured QoS that a publisher does not satisfy is reported by DDS and seen in the topic's state.
#[test]
fn an_incompatible_publisher_is_reported() {
    domain::enter();
    let strict = Wanted { reliability: Reliability::Reliable, ..wanted("/strict", Some("std_msgs/msg/String")) };
    let (thread, events) = receive(vec![strict]);
    let mut node = publishing_node();
    let _publisher = node.create_publisher::<RosString>("/strict", QosProfile::default().best_effort()).unwrap();
    let (mut refused, mut seen) = (false, false);
    await_event(&events, "the refusal", |event| {
        refused |= *event == Event::Refused(0, "reliability");
        seen |= matches!(event, Event::Changed(0, TopicState::Subscribed { incompatible: 1, publishers: 0, .. }));
        refused && seen
    });
    thread.stop().unwrap();
}

/// A bridge without other nodes says so, and names the domain; with them, it says which topics nobody publishes, and what
/// may be meant; it takes that back when somebody does.
#[test]
fn silence_is_told_with_what_may_be_meant() {
    domain::enter();
    let (sender, events) = mpsc::channel();
    let teller = Teller { events: sender, gate: Arc::default() };
    let node = Node::create("iot_bridge", "").unwrap();
    let topics = vec![wanted("/odomm", None), wanted("/scan", Some("std_msgs/msg/String"))];
    let thread = ros::spawn_patient(node, topics, teller, Duration::from_millis(500)).unwrap();
    let own: usize = std::env::var("ROS_DOMAIN_ID").unwrap().parse().unwrap();
    for index in 0..2 {
        await_event(&events, "loneliness", |event| match event {
            Event::Silent(topic, Some(Silence::Alone { domain, discovery })) => {
                *topic == index && *domain == own && discovery == "discovery LOCALHOST"
            }
            _ => false,
        });
    }
    let mut node = publishing_node();
    let _odom = node.create_publisher::<RosString>("/odom", QosProfile::default()).unwrap();
    // Subscribed, but not published: that is nothing to point at.
    let _wish = node.subscribe::<RosString>("/odommm", QosProfile::default()).unwrap();
    let meant = |topic, nearest: Option<&str>| {
        Event::Silent(topic, Some(Silence::Unpublished { nearest: nearest.map(str::to_owned) }))
    };
    let mut told = 0;
    await_event(&events, "what is meant", |event| {
        told += usize::from(*event == meant(0, Some("/odom"))) + usize::from(*event == meant(1, None));
        told == 2
    });
    let scan = node.create_publisher::<RosString>("/robot1/scan", QosProfile::default()).unwrap();
    await_event(&events, "the scan", |event| *event == meant(1, Some("/robot1/scan")));
    drop(scan);
    let scan = node.create_publisher::<RosString>("/scan", QosProfile::default()).unwrap();
    await_event(&events, "the end of the silence", |event| *event == Event::Silent(1, None));
    node.destroy_publisher(scan);
    await_event(&events, "another silence", |event| {
        matches!(event, Event::Silent(1, Some(Silence::Unpublished { .. })))
    });
    thread.stop().unwrap();
}
