use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::mpsc::{Receiver as Events, Sender};

use super::super::domain;
use super::super::graph::{ASKED, ASKED_FOR_ALL};
use super::super::publisher::Publisher;
use super::super::wait_set::{FAILS, WAITED_FOR};
use super::super::{Sample, Silence, TopicState};
use super::*;
use iot_bridge_core::codec::Schema;
use iot_bridge_core::config::{Durability, Reliability};

const TYPE: &str = "std_msgs/msg/Empty";
const MESSAGE: [u8; 5] = [0, 1, 0, 0, 0];
const TOPICS: usize = 200;
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, PartialEq)]
enum Event {
    Received(usize),
    /// So many publishers deliver.
    Publishers(usize, usize),
    /// Nobody publishes it.
    Silent(usize),
}

/// Signs of life.
static TURNED: AtomicUsize = AtomicUsize::new(0);

struct Teller(Sender<Event>);

/// Tells both bytes of each message, after the first was seen to be the number of the topic that has the index.
struct Judge {
    topics: Vec<u8>,
    messages: Sender<[u8; 2]>,
}

impl Receiver for Judge {
    fn opened(&mut self, _: usize, _: &Arc<Schema>) {}
    fn received(&mut self, topic: usize, sample: &Sample<'_>) {
        assert_eq!(sample.cdr[4], self.topics[topic], "a message of another topic than that of index {topic}");
        let _ = self.messages.send([sample.cdr[4], sample.cdr[5]]);
    }
    fn unreadable(&mut self, _: usize) {}
    fn lost(&mut self, _: usize, _: u64) {}
    fn refused(&mut self, _: usize, _: &'static str, _: u64) {}
    fn changed(&mut self, _: usize, _: TopicState) {}
    fn silent(&mut self, _: usize, _: Option<Silence>) {}
    fn turned(&mut self) {}
}

impl Receiver for Teller {
    fn opened(&mut self, _: usize, _: &Arc<Schema>) {}
    fn received(&mut self, topic: usize, _: &Sample<'_>) {
        let _ = self.0.send(Event::Received(topic));
    }
    fn unreadable(&mut self, _: usize) {}
    fn lost(&mut self, _: usize, _: u64) {}
    fn refused(&mut self, _: usize, _: &'static str, _: u64) {}
    fn changed(&mut self, topic: usize, state: TopicState) {
        if let TopicState::Subscribed { publishers, .. } = state {
            let _ = self.0.send(Event::Publishers(topic, publishers));
        }
    }
    fn silent(&mut self, topic: usize, silence: Option<Silence>) {
        let _ = silence.map(|_| self.0.send(Event::Silent(topic)));
    }
    fn turned(&mut self) {
        TURNED.fetch_add(1, Ordering::Relaxed);
    }
}

fn wanted(number: usize) -> Wanted {
    let (reliability, durability) = (Reliability::Auto, Durability::Auto);
    Wanted { topic: format!("/quiet{number}"), type_name: Some(TYPE.into()), reliability, durability, depth: 10 }
}

fn await_event(events: &Events<Event>, what: &str, mut wish: impl FnMut(&Event) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(event) if wish(&event) => return,
            Ok(_) => {}
            Err(_) => panic!("never {what}"),
        }
    }
}

fn read(counter: &AtomicUsize) -> usize {
    counter.load(Ordering::Relaxed)
}

/// Topics on which nothing happens are not waited for, and the graph is not asked who publishes them: neither when another
/// gets a message or a publisher, nor when another node comes and goes with topics of its own.
#[test]
fn quiet_topics_are_left_alone() {
    domain::enter();
    let (sender, events) = mpsc::channel();
    let node = Node::create("iot_bridge", "").unwrap();
    let ros = spawn(node, (0..TOPICS).map(wanted).collect(), Teller(sender)).unwrap();
    for _ in 0..TOPICS {
        await_event(&events, "subscribed", |event| matches!(event, Event::Publishers(_, 0)));
    }
    let robot = Arc::new(Node::create("robot", "").unwrap());
    let busy = Publisher::create(&robot, "/quiet7", TYPE).unwrap();
    await_event(&events, "published", |event| matches!(event, Event::Publishers(7, 1)));
    // What is published before DDS has told the publisher of the subscription is lost.
    let mut received = 0;
    while received < 100 {
        busy.publish(&MESSAGE).unwrap();
        let event = events.recv_timeout(Duration::from_millis(100));
        received += usize::from(event == Ok(Event::Received(7)));
    }
    assert_eq!(read(&WAITED_FOR), 0, "subscriptions are waited for");

    for number in 0..2 {
        let (start, before, looks) = (Instant::now(), read(&ASKED), read(&ASKED_FOR_ALL));
        let other = Arc::new(Node::create("other", "").unwrap());
        let _published = Publisher::create(&other, &format!("/others{number}"), TYPE).unwrap();
        while read(&ASKED_FOR_ALL) == looks {
            thread::sleep(Duration::from_millis(5));
        }
        let more = Publisher::create(&other, &format!("/quiet{number}"), TYPE).unwrap();
        await_event(&events, "published", |event| *event == Event::Publishers(number, 1));
        drop(more);
        await_event(&events, "left", |event| *event == Event::Publishers(number, 0));
        // Every few seconds some are looked at in turn.
        let in_turn = (start.elapsed().as_secs() as usize / LOOK_AGAIN.as_secs() as usize + 1) * IN_TURN;
        let asked = read(&ASKED) - before;
        assert!(asked < 10 + in_turn, "asked {asked} times for a change of one topic");
    }
    ros.stop().unwrap();
}

/// While it is said of two thousand topics that nobody publishes them, each compared with hundreds that are published, the
/// messages of another topic go on being received.
#[test]
fn topics_that_nobody_publishes_hold_nobody_up() {
    domain::enter();
    const SILENT: usize = 2000;
    let (sender, events) = mpsc::channel();
    let robot = Arc::new(Node::create("robot", "").unwrap());
    let publisher = |name: &str| Publisher::create(&robot, name, TYPE).unwrap();
    let _others: Vec<_> = (0..200).map(|number| publisher(&format!("/robot/part{number}/situation{number}"))).collect();
    let busy = publisher("/quiet0");
    // Without a type and a publisher there is nothing to subscribe to.
    let silent = (1..=SILENT).map(|number| Wanted { type_name: None, ..wanted(number) });
    let node = Node::create("iot_bridge", "").unwrap();
    let wanted = std::iter::once(wanted(0)).chain(silent).collect();
    let ros = spawn_patient(node, wanted, Teller(sender), Duration::from_millis(500)).unwrap();
    await_event(&events, "published", |event| matches!(event, Event::Publishers(0, 1)));
    while busy.subscriptions().unwrap() == 0 {
        thread::sleep(Duration::from_millis(5));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let publishing = thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            busy.publish(&MESSAGE).unwrap();
            thread::sleep(Duration::from_millis(10));
        }
    });
    let (mut last, mut longest, mut told) = (Instant::now(), Duration::ZERO, 0);
    await_event(&events, "silent", |event| {
        match event {
            Event::Received(0) => {
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
            Event::Silent(1..) => told += 1,
            _ => {}
        }
        told == SILENT
    });
    longest = longest.max(last.elapsed());
    stop.store(true, Ordering::Relaxed);
    publishing.join().unwrap();
    assert!(longest < Duration::from_millis(500), "nothing was received for {longest:?}");
    ros.stop().unwrap();
}

/// Messages that DDS tells of are handed on although rcl can't wait any more; without messages there is no sign of life then.
#[test]
fn messages_are_received_while_rcl_can_not_wait() {
    domain::enter();
    let (sender, events) = mpsc::channel();
    let node = Node::create("iot_bridge", "").unwrap();
    let ros = spawn(node, vec![wanted(0)], Teller(sender)).unwrap();
    let robot = Arc::new(Node::create("robot", "").unwrap());
    let publisher = Publisher::create(&robot, "/quiet0", TYPE).unwrap();
    await_event(&events, "published", |event| matches!(event, Event::Publishers(0, 1)));
    while publisher.subscriptions().unwrap() == 0 {
        thread::sleep(Duration::from_millis(5));
    }
    FAILS.store(true, Ordering::Relaxed);
    // The first one ends a wait that rcl had begun before; later ones come further apart than those for which the thread parks.
    for _ in 0..5 {
        publisher.publish(&MESSAGE).unwrap();
        await_event(&events, "received", |event| *event == Event::Received(0));
        thread::sleep(Duration::from_millis(100));
    }
    let before = read(&TURNED);
    thread::sleep(5 * TURN);
    assert_eq!(read(&TURNED), before, "a sign of life without a wait");
    ros.stop().unwrap();
}

/// Topics take each other's indices while messages come, of which DDS may have told before and tells after: each message is handed
/// on as that of its topic, and none is left behind, of a new topic nor of one that stays.
#[test]
fn an_index_that_is_used_again_is_that_of_its_topic() {
    const NUMBER: &str = "std_msgs/msg/UInt16";
    const AT_A_TIME: u8 = 4;
    const ROUNDS: u8 = 20;
    domain::enter();
    let wanted = |number: u8| Wanted { topic: format!("/number{number}"), type_name: Some(NUMBER.into()), ..wanted(0) };
    let (sender, messages) = mpsc::channel();
    let node = Node::create("iot_bridge", "").unwrap();
    // The first one stays.
    let of_round = |round: u8| 1 + AT_A_TIME * round..1 + AT_A_TIME * (round + 1);
    let numbers: Vec<u8> = [0].into_iter().chain(of_round(0)).collect();
    let judge = Judge { topics: numbers.clone(), messages: sender };
    let ros = spawn(node, numbers.iter().copied().map(wanted).collect(), judge).unwrap();
    let robot = Arc::new(Node::create("robot", "").unwrap());
    let publisher = |number: u8| Arc::new(Publisher::create(&robot, &format!("/number{number}"), NUMBER).unwrap());
    let publish = |publisher: &Publisher, message: [u8; 2]| {
        publisher.publish(&[0, 1, 0, 0, message[0], message[1]]).unwrap();
    };
    // No other one comes after it that would have it taken.
    let is_received = |message: [u8; 2], publisher: &Publisher| {
        let deadline = Instant::now() + PATIENCE;
        while publisher.subscriptions().unwrap() == 0 {
            assert!(Instant::now() < deadline, "{message:?} is not subscribed");
            thread::sleep(Duration::from_millis(1));
        }
        publish(publisher, message);
        loop {
            match messages.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(received) if received == message => return,
                Ok(_) => {}
                Err(_) => panic!("{message:?} is left behind"),
            }
        }
    };
    let stays = publisher(0);
    for round in 0..ROUNDS {
        let mut publishers: Vec<_> = of_round(round).map(|number| (number, publisher(number))).collect();
        publishers.push((0, Arc::clone(&stays)));
        for (number, publisher) in &publishers {
            is_received([*number, 1 + round], publisher);
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let flood = thread::spawn({
            let is_over = Arc::clone(&is_over);
            move || {
                while !is_over.load(Ordering::Relaxed) {
                    publishers.iter().for_each(|(number, publisher)| publish(publisher, [*number, 0]));
                }
            }
        });
        // So that DDS has told of some.
        let of_flood = messages.iter().find(|message| message[1] == 0);
        assert!(of_flood.is_some());
        let (has_changed, changed) = mpsc::channel();
        let next: Vec<u8> = of_round(round + 1).collect();
        let change = Change {
            remove: (1..=usize::from(AT_A_TIME)).collect(),
            add: next.iter().copied().map(wanted).collect(),
            tell: Box::new(move |judge: &mut Judge| {
                judge.topics.truncate(1);
                judge.topics.extend(next);
                let _ = has_changed.send(());
            }),
            ..Change::default()
        };
        ros.change(change).unwrap();
        changed.recv_timeout(PATIENCE).unwrap();
        is_over.store(true, Ordering::Relaxed);
        flood.join().unwrap();
    }
    ros.stop().unwrap();
}

/// The end of a thread that has panicked is told when it has, and not before.
#[test]
fn the_death_of_the_thread_is_told() {
    domain::enter();
    let (messages, _received) = mpsc::channel();
    let node = Node::create("iot_bridge", "").unwrap();
    // A message that says 1 is one of another topic, upon which the judge panics.
    let ros = spawn(node, vec![wanted(0)], Judge { topics: vec![0], messages }).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let dies_within = |time| runtime.block_on(async { tokio::time::timeout(time, ros.death()).await.is_ok() });
    assert!(!dies_within(Duration::from_millis(100)), "it lives");
    let robot = Arc::new(Node::create("robot", "").unwrap());
    let publisher = Publisher::create(&robot, "/quiet0", TYPE).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while publisher.subscriptions().unwrap() == 0 {
        assert!(Instant::now() < deadline, "nobody subscribes");
        thread::sleep(Duration::from_millis(1));
    }
    publisher.publish(&[0, 1, 0, 0, 1, 0]).unwrap();
    assert!(dies_within(PATIENCE), "nobody tells");
    assert!(ros.stop().is_err());
}
