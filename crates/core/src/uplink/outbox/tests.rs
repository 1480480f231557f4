//! Single steps of the outbox; `suspects::model` has it together with the search.

use super::*;

use bytes::Bytes;

use crate::config::{self, MqttVersion, Overflow, Priority, Qos, Quotas, Reconnect};
use crate::packing::{Correlated, Packing};
use crate::queue::{Record, Since};
use crate::topics::Registry;

const SECOND: Duration = Duration::from_secs(1);

/// A client that keeps what is published, in order: packet ids count from 1.
#[derive(Default)]
struct Wire {
    limits: Limits,
    topics: Vec<String>,
}

impl Publisher for Wire {
    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn size_with(&self, message: &Message<'_>, payload: usize) -> usize {
        message.topic.len() + payload
    }

    fn publish(&mut self, message: &Message<'_>) -> usize {
        self.topics.push(message.topic.to_owned());
        self.size_with(message, message.payload.len())
    }

    fn was_refused(&mut self, _topic: &str) {}
}

struct Scene {
    wire: Wire,
    outbox: Outbox,
    rules: Rules,
    queue: Queue,
    now: Instant,
}

impl Scene {
    fn set(quotas: Quotas) -> Scene {
        let mqtt = Mqtt {
            version: MqttVersion::V5,
            keep_alive: 60 * SECOND,
            ack_timeout: 20 * SECOND,
            reconnect: Reconnect { initial: SECOND, max: 120 * SECOND, stable_after: 30 * SECOND },
            quotas,
            last_will: None,
            presence: None,
            proxy: None,
        };
        let wire = Wire::default();
        Scene {
            outbox: Outbox::new("robot1".into(), &mqtt, &wire.limits, Arc::default()),
            wire,
            rules: Rules::new(&mqtt),
            queue: Queue::in_memory(&config::Queue::in_memory(32 << 20, Overflow::DropNewest)),
            now: Instant::now(),
        }
    }

    fn admit(&self, route: &Arc<Route>, payload: Bytes) {
        let (route, expires) = (Arc::clone(route), self.now + 3600 * SECOND);
        assert!(self.queue.admit(Record { route, payload, received_ns: 0, expires }, self.now));
    }

    /// Feeds. Returns the topics of what was published, in order.
    fn feed(&mut self) -> Vec<String> {
        let (before, now) = (self.wire.topics.len(), self.now);
        self.outbox.feed(&mut self.wire, &mut self.rules, &self.queue, || now);
        for sent in before..self.wire.topics.len() {
            self.note(Event::Sent { packet_id: Some(sent as u16 + 1) });
        }
        self.wire.topics[before..].to_vec()
    }

    fn note(&mut self, event: Event) {
        self.outbox.note(event, &mut self.wire, &mut self.rules, &self.queue, self.now).unwrap();
    }

    fn answer(&mut self, packet_id: u16, reason: Reason) {
        self.note(Event::Acknowledged { packet_id, answer: reason.into() });
    }
}

fn route(topic: &str, priority: Priority, packing: Packing) -> Arc<Route> {
    let topic = Registry::default().topic(topic, topic);
    Arc::new(Route { topic, qos: Qos::AtLeastOnce, retain: false, priority, packing })
}

/// A reply to a topic that the policy forbids is dropped with a count, and nothing is kept of the topic; one to a topic that
/// it allows arrives. Telemetry of a forbidden topic waits.
#[test]
fn a_reply_that_is_forbidden_in_words_is_dropped() {
    let mut scene = Scene::set(Quotas { publishes_per_second: None, bytes_per_second: None, in_flight: 100 });
    let replies = ["a", "b", "c"].map(|topic| route(topic, Priority::High, Packing::of_replies()));
    let telemetry = route("odom", Priority::Normal, Packing::default());
    replies.iter().for_each(|route| scene.admit(route, Correlated::join(None, b"{}").unwrap()));
    scene.admit(&telemetry, Bytes::from_static(b"{}"));
    assert_eq!(scene.feed(), ["a", "b", "c", "odom"]);
    scene.answer(1, Reason::NOT_AUTHORIZED);
    scene.answer(2, Reason::NOT_AUTHORIZED);
    scene.answer(3, Reason::SUCCESS);
    scene.answer(4, Reason::NOT_AUTHORIZED);
    let dropped = replies.each_ref().map(|route| route.counters.dropped(DropReason::Refused));
    assert_eq!((dropped, telemetry.counters.dropped(DropReason::Refused)), ([1, 1, 0], 0));
    assert_eq!(scene.rules.suspects.set_aside(), ["odom"]);
    assert_eq!((scene.rules.never_taken.len(), scene.queue.figures().queued()), (1, 1));
    // Nothing of the topic waits: the next reply is sent at once.
    scene.admit(&replies[0], Correlated::join(None, b"{}").unwrap());
    assert_eq!(scene.feed(), ["a"]);
}

/// What is urgent goes before a large record that waits for the quota of bytes, but not for ever: under a flood of it that
/// record is sent all the same.
#[test]
fn a_flood_of_what_is_urgent_ends_for_what_is_in_hand() {
    let bytes_per_second = Some(100_000);
    let mut scene = Scene::set(Quotas { publishes_per_second: None, bytes_per_second, in_flight: 100 });
    let image = route("image", Priority::Normal, Packing::default());
    let urgent = route("urgent", Priority::High, Packing::default());
    let mut sent: Vec<(String, Instant)> = Vec::new();
    let start = scene.now;
    scene.admit(&image, Bytes::from(vec![b'1'; 50_000]));
    // What is urgent is as much as the quota takes.
    while scene.now < start + 10 * SECOND {
        if scene.queue.figures().lanes[0].queued < 2 {
            scene.admit(&urgent, Bytes::from(vec![b'1'; 1000]));
        }
        let before = scene.wire.topics.len();
        let now = scene.now;
        sent.extend(scene.feed().into_iter().map(|topic| (topic, now)));
        (before..scene.wire.topics.len()).for_each(|id| scene.answer(id as u16 + 1, Reason::SUCCESS));
        if scene.queue.figures().lanes[1].queued == 0 && scene.queue.figures().in_flight() == 0 {
            scene.admit(&image, Bytes::from(vec![b'1'; 50_000]));
        }
        scene.now += SECOND / 100;
    }
    let images: Vec<_> = sent.iter().filter(|(topic, _)| topic == "image").map(|(_, at)| *at).collect();
    assert!(images.len() >= 4 && sent.len() > 100, "{} of {}", images.len(), sent.len());
    assert!(images.windows(2).all(|two| two[1] - two[0] < 3 * SECOND), "{images:?}");
}

/// Only a PUBACK that says success, of a record that was admitted since, shows that the broker takes a topic: not one with an
/// error, not that of what waited before, and not the handing over of QoS 0.
#[test]
fn only_a_puback_with_success_confirms() {
    let mut scene = Scene::set(Quotas { publishes_per_second: None, bytes_per_second: None, in_flight: 100 });
    let [odom, map] = ["odom", "map"].map(|topic| route(topic, Priority::Normal, Packing::default()));
    let camera = Arc::new(Route {
        qos: Qos::AtMostOnce,
        ..Arc::into_inner(route("camera", Priority::Normal, Packing::default())).unwrap()
    });
    scene.admit(&odom, Bytes::from_static(b"before"));
    assert_eq!(scene.feed(), ["odom"]);
    let mark = scene.queue.mark();
    let since = |scene: &Scene| {
        let since = scene.queue.since(mark, [&odom, &map, &camera].into_iter().map(|route| &*route.counters));
        <[Since; 3]>::try_from(since).unwrap()
    };
    let is = |admitted, confirmed, has_older| Since { admitted, confirmed, has_older };
    let nothing = Since::default();
    assert_eq!(since(&scene), [is(false, false, true), nothing, nothing]);
    scene.admit(&odom, Bytes::from_static(b"since"));
    scene.admit(&map, Bytes::from_static(b"since"));
    assert_eq!(scene.feed(), ["odom", "map"]);
    scene.answer(1, Reason::SUCCESS);
    scene.answer(3, Reason::TOPIC_NAME_INVALID);
    scene.admit(&camera, Bytes::from_static(b"since"));
    let now = scene.now;
    scene.outbox.feed(&mut scene.wire, &mut scene.rules, &scene.queue, || now);
    scene.note(Event::Sent { packet_id: None });
    assert_eq!((camera.counters.acknowledged(), map.counters.dropped(DropReason::Refused)), (1, 1));
    let unconfirmed = is(true, false, false);
    assert_eq!(since(&scene), [unconfirmed; 3]);
    scene.answer(2, Reason::SUCCESS);
    assert_eq!(since(&scene), [is(true, true, false), unconfirmed, unconfirmed]);
    let later = scene.queue.mark();
    assert_eq!(scene.queue.since(later, [&*odom.counters].into_iter()), [nothing]);
}
