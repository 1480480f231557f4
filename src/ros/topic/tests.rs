use std::thread;

use super::*;
use crate::ros::domain;
use crate::ros::publisher::Publisher;
use iot_bridge_core::codec::Schema;
use iot_bridge_core::config::{Durability, Reliability};

const TYPE: &str = "std_msgs/msg/Empty";

/// A message of it in CDR.
const EMPTY: &[u8] = &[0, 1, 0, 0, 0];

/// Counts what arrives.
#[derive(Default)]
struct Counted {
    received: u64,
    lost: u64,
    unreadable: u64,
    /// How long it takes for each message.
    pause: Duration,
}

impl Receiver for Counted {
    fn opened(&mut self, _: usize, _: &Arc<Schema>) {}
    fn received(&mut self, _: usize, _: &Sample<'_>) {
        self.received += 1;
        thread::sleep(self.pause);
    }
    fn unreadable(&mut self, _: usize) {
        self.unreadable += 1;
    }
    fn lost(&mut self, _: usize, count: u64) {
        self.lost += count;
    }
    fn refused(&mut self, _: usize, _: &'static str, _: u64) {}
    fn changed(&mut self, _: usize, _: TopicState) {}
    fn silent(&mut self, _: usize, _: Option<Silence>) {}
    fn turned(&mut self) {}
}

fn qos(reliable: bool, transient_local: bool) -> Qos {
    Qos { reliable, transient_local, depth: 100 }
}

/// In a domain of the test's own.
fn node() -> Arc<Node> {
    domain::enter();
    Arc::new(Node::create("iot_bridge", "").unwrap())
}

fn topic() -> Topic {
    let (reliability, durability) = (Reliability::Auto, Durability::Auto);
    let wanted = Wanted { topic: "/ended".into(), type_name: None, reliability, durability, depth: 100 };
    Topic::new(0, wanted, c"/ended".into(), &Arrivals::of_test())
}

/// A subscribed topic and its publisher, of which a message has come. Each that is published has a second to come, so that
/// none is on its way afterwards.
fn met(buffer: &mut Buffer) -> (Topic, Publisher) {
    let (node, mut topic, mut receiver) = (node(), topic(), Counted::default());
    let support = Arc::new(TypeSupport::load(TYPE).unwrap());
    let publisher = Publisher::create(&node, "/ended", TYPE).unwrap();
    topic.subscribe(&node, &support, TYPE, qos(true, false), None).unwrap();
    for attempt in 0.. {
        if attempt % 100 == 0 {
            publisher.publish(EMPTY).unwrap();
        }
        thread::sleep(Duration::from_millis(10));
        topic.take_last(buffer, &mut receiver);
        if receiver.received > 0 {
            break;
        }
    }
    (topic, publisher)
}

/// However often the QoS changes, each subscription that is open is read.
#[test]
fn each_open_subscription_is_read() {
    let node = node();
    let support = Arc::new(TypeSupport::load(TYPE).unwrap());
    let (mut topic, mut buffer, mut receiver) = (topic(), Buffer::new().unwrap(), Counted::default());
    for wanted in [qos(true, false), qos(false, false), qos(true, true), qos(false, true), qos(true, false)] {
        for latched in [Some(qos(true, true)), None] {
            topic.subscribe(&node, &support, TYPE, wanted, latched.filter(|latched| *latched != wanted)).unwrap();
            topic.retire_early(&mut buffer, &mut receiver);
            let open = topic.open.as_ref().unwrap();
            let count = 1 + usize::from(open.latched.is_some()) + topic.retiring.len();
            assert_eq!(topic.subscriptions().count(), count);
        }
    }
    assert_eq!(topic.retiring.len(), IN_USE);
}

/// What there is no time to hand on before the topic is closed is counted as lost.
#[test]
fn what_is_left_of_a_closed_topic_is_counted() {
    const COUNT: u64 = 60;
    let mut buffer = Buffer::new().unwrap();
    let (mut topic, publisher) = met(&mut buffer);
    let mut receiver = Counted { pause: Duration::from_millis(50), ..Counted::default() };
    (0..COUNT).for_each(|_| publisher.publish(EMPTY).unwrap());
    topic.take_last(&mut buffer, &mut receiver);
    let ended = topic.close();
    topic.drop_subscriptions(ended, &mut buffer, &mut receiver);
    assert!(receiver.lost > 0, "all {} were handed on", receiver.received);
    assert_eq!((receiver.received + receiver.lost, receiver.unreadable), (COUNT, 0));
}

/// A turn has an end also where nothing that comes is handed on.
#[test]
fn a_turn_ends_in_time_whatever_comes() {
    let node = node();
    let support = Arc::new(TypeSupport::load(TYPE).unwrap());
    let publisher = Publisher::create(&node, "/ended", TYPE).unwrap();
    let (mut topic, mut buffer, mut receiver) = (topic(), Buffer::new().unwrap(), Counted::default());
    // Each message comes from both.
    topic.subscribe(&node, &support, TYPE, qos(true, false), Some(qos(false, false))).unwrap();
    let mut turns = 0;
    while receiver.received < 20 {
        (0..10).for_each(|_| publisher.publish(EMPTY).unwrap());
        topic.begin_round();
        loop {
            let taken = topic.take(Instant::now(), &mut buffer, &mut receiver);
            assert!(taken.count <= 1, "{taken:?}");
            turns += taken.count;
            if taken.left != Left::Due {
                break;
            }
        }
    }
    assert!(turns as u64 > receiver.received, "nothing came twice");
}

/// Where DDS has as much as it keeps, a turn sees that nothing is left: what is missing is then soon told as lost.
#[test]
fn a_full_turn_sees_that_nothing_is_left() {
    const DEPTH: usize = 100;
    let (mut buffer, mut receiver) = (Buffer::new().unwrap(), Counted::default());
    let (mut topic, publisher) = met(&mut buffer);
    (0..2 * DEPTH).for_each(|_| publisher.publish(EMPTY).unwrap());
    // Each of them is in DDS's hands; how soon it overwrites is its own affair.
    thread::sleep(Duration::from_millis(300));
    topic.begin_round();
    let taken = topic.take(Instant::now() + Duration::from_secs(10), &mut buffer, &mut receiver);
    assert_eq!((taken.count, taken.left), (DEPTH, Left::Nothing));
}
