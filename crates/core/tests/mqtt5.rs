//! The uplink in MQTT 5, against a broker that behaves like AWS IoT Core and against Mosquitto.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::support::aws_broker::{AckFaults, AwsBroker, Limits, Verdict};
use crate::support::link::Link;
use crate::support::scene::{Scene, admit, batches, packed, route};
use bytes::Bytes;
use iot_bridge_core::config::{Encoding, MqttVersion, Presence, Qos, Version};
use iot_bridge_core::mqtt::FaultKind;
use iot_bridge_core::packing::{Compression, Content, Packing, When};
use iot_bridge_core::queue::{Record, Route};
use iot_bridge_core::tally::DropReason;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A scene with a broker that has `limits`.
async fn with(limits: Limits) -> (Scene, AwsBroker) {
    let mut scene = Scene::set().await;
    let mut broker = AwsBroker::start(&scene.authority, limits).await;
    scene.link = Link::open(broker.port).await;
    scene.aws.port = scene.link.port();
    scene.mqtt.version = MqttVersion::V5;
    scene.observer.watch(&mut broker.messages);
    (scene, broker)
}

/// Waits until nothing of `routes` is queued or in flight.
async fn acknowledged(routes: &[Arc<Route>]) {
    let all = async {
        while routes.iter().any(|route| route.counters.queued() + route.counters.in_flight() > 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, all).await.expect("what can be sent is not sent");
}

/// Against Mosquitto: the broker is killed and started again during a stream, and the link is cut; all arrive, first
/// receipts in order, and on request the uplink drains and stops with nothing left.
#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_gets_everything_through_an_outage() {
    let mut scene = Scene::set().await;
    scene.mqtt.version = MqttVersion::Auto;
    let mut running = scene.run();
    assert_eq!(running.connected(1).await.version, Some(Version::V5));
    let admitting = scene.admit_at(500, 1500);
    scene.receive(300).await;
    scene.mosquitto.kill();
    scene.link.shut().await;
    scene.mosquitto.start_again();
    scene.observer.subscribe(scene.mosquitto.port()).await;
    scene.link.reopen().await;
    running.connected(2).await;
    scene.link.cut();
    let duplicates = scene.receive(1500).await;
    admitting.join().unwrap();
    scene.acknowledged(1500).await;
    assert!(duplicates <= 100 * (running.state.borrow().connections as usize - 1), "{duplicates}");
    assert_eq!(running.stop().await, 0);
}

/// The broker says that another client has the client id, in a DISCONNECT that ends with its reason; that is known at once
/// and backed off from: whoever is thrown out comes back after half of `max` at the earliest.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_id_used_twice_is_known_at_once() {
    let (mut scene, _broker) = with(Limits::without_rates()).await;
    scene.mqtt.reconnect.max = Duration::from_secs(8);
    let mut running = scene.run();
    running.connected(1).await;
    let mut other = scene.run_as(&scene.aws, Scene::empty_queue());
    let sentence = running.fault(FaultKind::TakenOver).await;
    let thrown_out = Instant::now();
    assert_eq!(sentence, "another client has connected with the client id robot1 (session taken over, 0x8e)");
    let state = running.state(|state| state.contested || state.connections > 1).await;
    assert_eq!((state.connections, state.failures.values().sum::<u64>()), (1, 1));
    running.connected(2).await;
    assert!(thrown_out.elapsed() >= Duration::from_secs(4), "{:?}", thrown_out.elapsed());
    other.fault(FaultKind::TakenOver).await;
    other.stop().await;
    scene.admit(0);
    scene.receive(1).await;
    assert_eq!(running.stop().await, 0);
}

/// Against the broker like AWS IoT Core, through lost connections: all arrive in order; a topic is named once on a
/// connection and then by its alias; what a publish holds and for how long it is of use arrives with it.
#[tokio::test(flavor = "multi_thread")]
async fn aliases_content_type_and_expiry_arrive() {
    let (mut scene, broker) = with(Limits::without_rates()).await;
    let compression = Compression::new(Encoding::Gzip, When::Over(100), false, "");
    scene.routes[1] = packed(&scene.routes[1], Packing { compression: Some(compression), ..Packing::default() });
    scene.routes[2] = packed(&scene.routes[2], Packing { content: Content::Cdr, ..Packing::default() });
    scene.routes[3] = packed(&scene.routes[3], Packing { content: Content::Text, ..Packing::default() });
    let compression = Compression::new(Encoding::Zstd, When::Over(100), false, "");
    let in_batches = Packing { compression: Some(compression), ..batches(5) };
    scene.routes[4] = packed(&route(4, Qos::AtMostOnce), in_batches);
    let mut running = scene.run();
    running.connected(1).await;
    // Too short to be compressed.
    for route in [&scene.routes[1], &scene.routes[4]] {
        let (payload, expires) = (Bytes::from_static(b"-1"), Instant::now() + HOUR);
        assert!(scene.queue.admit(Record { route: route.clone(), payload, received_ns: 0, expires }, Instant::now()));
    }
    let admitting = scene.admit_at(500, 1000);
    acknowledged_at_least(&scene.routes, 300).await;
    scene.link.cut();
    running.connected(2).await;
    admitting.join().unwrap();
    acknowledged(&scene.routes).await;
    running.stop().await;
    let record = broker.record();
    assert_eq!(record.violations(), []);
    for topic in 0..5 {
        let of_topic = |connection| {
            let name = &scene.routes[topic].mqtt;
            record.arrivals.iter().filter(move |found| found.connection == connection && found.topic == *name)
        };
        for connection in 0..2 {
            let names: Vec<bool> = of_topic(connection).map(|arrival| arrival.properties.by_alias).collect();
            assert!(names.len() > 10 && !names[0] && names[1..].iter().all(|by_alias| *by_alias), "{names:?}");
        }
        let kind = match topic {
            2 => "application/octet-stream",
            3 => "text/plain",
            _ => "application/json",
        };
        for arrival in of_topic(0).chain(of_topic(1)) {
            assert_eq!(arrival.properties.content_type.as_deref(), Some(kind));
            let encoding = match (topic, &arrival.payload[..]) {
                (1, b"-1") | (4, b"[-1]") | (0 | 2 | 3, _) => None,
                (1, payload) => payload.starts_with(&[0x1f, 0x8b]).then_some("gzip"),
                (_, payload) => payload.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]).then_some("zstd"),
            };
            assert_eq!(encoding.is_some(), matches!(topic, 1 | 4) && arrival.payload.len() > 4, "{arrival:?}");
            let expected = encoding.map(|encoding| ("content-encoding".to_owned(), encoding.to_owned()));
            assert_eq!(arrival.properties.user, Vec::from_iter(expected));
            let expiry = arrival.properties.message_expiry.map(u64::from).unwrap();
            assert!((HOUR.as_secs() - 120..=HOUR.as_secs()).contains(&expiry), "{expiry}");
        }
    }
}

async fn acknowledged_at_least(routes: &[Arc<Route>], count: u64) {
    let some = async {
        while routes.iter().map(|route| route.counters.acknowledged()).sum::<u64>() < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, some).await.expect("nothing is acknowledged");
}

/// Of twenty topics one is forbidden: the broker says so, and the connection stands. The nineteen flow at once and stay
/// undisturbed; the one waits with all of its records, in order, and flows once the policy allows it.
#[tokio::test(flavor = "multi_thread")]
async fn one_forbidden_topic_among_twenty() {
    const FORBIDDEN: usize = 7;
    let (mut scene, mut broker) = with(Limits::without_rates()).await;
    // From its own line of messages, not the observer's.
    scene.observer.watch(&mut broker.messages);
    let routes: Vec<_> = (0..20).map(|topic| route(topic, Qos::AtLeastOnce)).collect();
    let allowed: Vec<_> = (0..20).filter(|topic| *topic != FORBIDDEN).map(|topic| routes[topic].clone()).collect();
    broker.forbid(&routes[FORBIDDEN].mqtt);
    (0..400).for_each(|number| admit(&scene.queue, &routes, number));
    let (mut running, begun) = (scene.run(), Instant::now());
    acknowledged(&allowed).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let state = running.state(|state| !state.set_aside.is_empty()).await;
    assert_eq!((&state.set_aside[..], state.connections), (&[routes[FORBIDDEN].mqtt.clone()][..], 1));
    assert!(state.remarks(SystemTime::now()).contains(&"The broker refuses publishes to robots/robot1/topic7".into()));
    for number in 400..800 {
        admit(&scene.queue, &routes, number);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    acknowledged(&allowed).await;
    assert_eq!(routes[FORBIDDEN].counters.queued(), 40, "all wait in the queue, none is in flight");
    let refused = broker.record().violations().len();
    assert!(refused <= 21, "{refused} publishes were refused");

    broker.allow_all();
    acknowledged(&routes).await;
    let state = running.state(|state| state.set_aside.is_empty()).await;
    assert_eq!((state.connections, state.failures.len()), (1, 0));
    for route in &routes {
        assert_eq!((route.counters.acknowledged(), route.counters.dropped_in_all()), (40, 0), "{}", route.ros);
    }
    running.stop().await;
    let mut next = [0; 20];
    while let Ok((topic, payload)) = broker.messages.try_recv() {
        let topic: usize = topic.strip_prefix("robots/robot1/topic").unwrap().parse().unwrap();
        let number: usize = std::str::from_utf8(&payload).unwrap().trim().parse().unwrap();
        assert_eq!(number / 20, next[topic], "topic {topic}");
        next[topic] += 1;
    }
    assert_eq!(next, [40; 20]);
}

/// A broker that takes fewer publishes than the quotas say refuses some: the uplink slows down, says so, and sends what
/// was refused again; the connection stands, each record arrives once, after none of its topic that was not under way behind
/// it, and few more are refused than were under way.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_a_quota_is_sent_again_and_more_slowly() {
    const COUNT: usize = 300;
    let (mut scene, broker) = with(Limits { publishes_per_second: 40, ..Limits::without_rates() }).await;
    let mut running = scene.run();
    (0..COUNT).for_each(|number| scene.admit(number));
    let state = running.state(|state| state.slowed).await;
    let remark = "The broker takes fewer publishes than mqtt.quotas allow";
    assert!(state.remarks(SystemTime::now()).contains(&remark.into()));
    acknowledged(&scene.routes).await;
    scene.acknowledged(COUNT).await;
    assert_eq!(running.state.borrow().connections, 1);
    let record = broker.record();
    let refused = record.violations().iter().filter(|(_, verdict)| *verdict == Verdict::OverRate).count();
    assert!(refused > 0 && refused <= 150, "{refused}");
    for (index, refused) in record.arrivals.iter().enumerate().filter(|(_, found)| found.verdict == Verdict::OverRate) {
        let of_topic = record.arrivals[index + 1..].iter().filter(|found| found.topic == refused.topic);
        let before_it = of_topic.take_while(|found| found.payload != refused.payload);
        // What was under way comes at once, and everything else after the wait of a second.
        let others = before_it.filter(|found| found.at - refused.at > Duration::from_millis(500));
        let overtaken =
            others.map(|found| number_of(&found.payload)).find(|other| *other > number_of(&refused.payload));
        assert_eq!(overtaken, None, "before {:?}", refused.payload);
    }
    let mut numbers: Vec<usize> = scene.observer.rest().iter().map(|(_, payload)| number_of(payload)).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..COUNT).collect::<Vec<_>>());
    running.stop().await;
}

/// What is refused waits for the answers to what is in flight of its topic, however late these come, and nothing of the topic
/// is sent meanwhile: at most a window of later records arrives before it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_overtaken_by_a_window_at_most() {
    const WINDOW: usize = 10;
    let (mut scene, broker) = with(Limits { publishes_per_second: 5, ..Limits::without_rates() }).await;
    broker.ack_faults(AckFaults { lost: 0.0, late: 1.0, late_by: Duration::from_secs(3) });
    scene.mqtt.quotas.in_flight = WINDOW;
    scene.routes.truncate(1);
    let running = scene.run();
    (0..60).for_each(|number| scene.admit(number));
    acknowledged(&scene.routes).await;
    let arrivals = broker.record().arrivals;
    let refused = arrivals.iter().enumerate().filter(|(_, found)| found.verdict == Verdict::OverRate);
    let overtaken = refused.map(|(index, refused)| {
        let before_it = arrivals[index + 1..].iter().take_while(|found| found.payload != refused.payload);
        before_it.filter(|found| number_of(&found.payload) > number_of(&refused.payload)).count()
    });
    let most = overtaken.max().expect("some are refused");
    assert!(most < WINDOW, "{most}");
    scene.observer.rest();
    running.stop().await;
}

fn number_of(payload: &Bytes) -> usize {
    std::str::from_utf8(payload).unwrap().trim().parse().unwrap()
}

/// What the CONNACK says is kept to: no more without PUBACK than the receive maximum, no higher alias, and none where none
/// is taken, no larger packet: a record that would be one is dropped with a count, and the broker has nothing to object to.
#[tokio::test(flavor = "multi_thread")]
async fn the_limits_of_the_connack_are_kept() {
    for (topic_aliases, by_alias) in [(2, 150..250), (0, 0..1)] {
        let limits = Limits { unacknowledged: 7, topic_aliases, packet: 20_000, ..Limits::without_rates() };
        let (mut scene, broker) = with(limits).await;
        // Publishes wait at the broker, so that there would be more.
        broker.ack_faults(AckFaults { lost: 0.0, late: 1.0, late_by: Duration::from_millis(20) });
        let mut running = scene.run();
        let (route, now) = (scene.routes[0].clone(), Instant::now());
        for size in [19_900, 20_000] {
            let payload = Bytes::from(format!("{:size$}", 0));
            route.counters.count_received();
            let record = Record { route: route.clone(), payload, received_ns: 0, expires: now + HOUR };
            assert!(scene.queue.admit(record, now));
        }
        (0..500).for_each(|number| scene.admit(number));
        acknowledged(&scene.routes).await;
        assert_eq!((route.counters.acknowledged(), route.counters.dropped(DropReason::TooLarge)), (101, 1));
        let record = broker.record();
        assert_eq!((record.violations(), record.connects.len()), (vec![], 1));
        let found = record.arrivals.iter().filter(|arrival| arrival.properties.by_alias).count();
        assert!(by_alias.contains(&found), "{found} of 501 are by one of {topic_aliases} aliases");
        assert_eq!(running.connected(1).await.connections, 1);
        scene.observer.rest();
        running.stop().await;
    }
}

/// A broker that says, by mistake, that it takes only tiny packets, costs no record: the topics whose records are larger are
/// named and wait, and flow on the next connection, where it says otherwise; the others flow all the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_tiny_packet_size_drops_nothing() {
    let (mut scene, broker) = with(Limits { packet: 150, ..Limits::without_rates() }).await;
    let short = scene.routes.remove(4);
    let mut running = scene.run();
    running.connected(1).await;
    (0..100).for_each(|number| scene.admit(number));
    for number in 0..10 {
        let (payload, expires) = (Bytes::from(number.to_string()), Instant::now() + HOUR);
        short.counters.count_received();
        let record = Record { route: short.clone(), payload, received_ns: 0, expires };
        assert!(scene.queue.admit(record, Instant::now()));
    }
    acknowledged(std::slice::from_ref(&short)).await;
    let state = running.state(|state| state.set_aside.len() == 4).await;
    let topics: Vec<_> = scene.routes.iter().map(|route| route.mqtt.clone()).collect();
    assert_eq!((&state.set_aside, state.connections, short.counters.acknowledged()), (&topics, 1, 10));
    broker.change(Limits::without_rates());
    broker.kick("robot1");
    acknowledged(&scene.routes).await;
    let state = running.state(|state| state.set_aside.is_empty()).await;
    assert_eq!((state.connections, broker.record().violations()), (2, vec![]));
    for route in &scene.routes {
        assert_eq!((route.counters.acknowledged(), route.counters.dropped_in_all()), (25, 0), "{}", route.ros);
    }
    running.stop().await;
}

/// A broker that wants a shorter keep-alive time than the bridge's own gets it: a link on which nothing comes back is found
/// dead within that.
#[tokio::test(flavor = "multi_thread")]
async fn the_keep_alive_time_of_the_broker_holds() {
    let shorter = Duration::from_secs(4);
    let (scene, broker) = with(Limits { keep_alive: Duration::ZERO..=shorter, ..Limits::without_rates() }).await;
    let mut running = scene.run();
    running.connected(1).await;
    broker.freeze("robot1");
    let frozen = Instant::now();
    running.fault(FaultKind::TimedOut).await;
    assert!(frozen.elapsed() < shorter.mul_f64(1.5), "{:?}", frozen.elapsed());
    running.stop().await;
}

/// Batches are no longer than the largest packet that the CONNACK names: a backlog travels together and loses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn batches_fit_the_packets_of_the_connack() {
    const COUNT: usize = 500;
    let (mut scene, broker) = with(Limits { packet: 4096, ..Limits::without_rates() }).await;
    scene.routes.iter_mut().for_each(|route| *route = packed(route, batches(100)));
    (0..COUNT).for_each(|number| scene.admit(number));
    let running = scene.run();
    acknowledged(&scene.routes).await;
    running.stop().await;
    let taken: u64 = scene.routes.iter().map(|route| route.counters.acknowledged()).sum();
    let record = broker.record();
    assert_eq!((taken, record.violations(), record.connects.len()), (COUNT as u64, vec![], 1));
    assert!(record.arrivals.len() < COUNT / 10, "{} publishes", record.arrivals.len());
}

/// Of batches that the broker refuses for what is in them each record is sent by itself, on the same connection: only the
/// one that it does not take is lost.
#[tokio::test(flavor = "multi_thread")]
async fn the_records_of_a_refused_batch_go_one_by_one() {
    const COUNT: usize = 200;
    let (mut scene, broker) = with(Limits::without_rates()).await;
    broker.cannot_read(" 77");
    scene.routes.iter_mut().for_each(|route| *route = packed(route, batches(20)));
    (0..COUNT).for_each(|number| scene.admit(number));
    let mut running = scene.run();
    acknowledged(&scene.routes).await;
    assert_eq!(running.connected(1).await.connections, 1);
    running.stop().await;
    let taken: u64 = scene.routes.iter().map(|route| route.counters.acknowledged()).sum();
    let dropped: u64 = scene.routes.iter().map(|route| route.counters.dropped(DropReason::Refused)).sum();
    assert_eq!((taken, dropped), (COUNT as u64 - 1, 1));
}

/// Presence is true in MQTT 5 too, and where retained publishes are refused it is set aside while the records flow.
#[tokio::test(flavor = "multi_thread")]
async fn presence_and_last_will() {
    const TOPIC: &str = "robots/robot1/presence";
    let (mut scene, broker) = with(Limits::without_rates()).await;
    scene.mqtt.presence = Some(Presence { topic: TOPIC.into(), online: "here".into(), offline: "gone".into() });
    let mut running = scene.run();
    running.connected(1).await;
    await_retained(&broker, TOPIC, "here").await;
    // While it is shut no new connection says "here" again before the look.
    scene.link.shut().await;
    await_retained(&broker, TOPIC, "gone").await;
    scene.link.reopen().await;
    running.connected(2).await;
    await_retained(&broker, TOPIC, "here").await;
    assert_eq!(running.stop().await, 0);
    await_retained(&broker, TOPIC, "gone").await;
    broker.forbid_retain();
    let mut running = scene.run();
    (0..100).for_each(|number| scene.admit(number));
    scene.acknowledged(100).await;
    let state = running.state(|state| state.set_aside == [TOPIC]).await;
    assert_eq!(state.connections, 1);
    running.stop().await;
}

async fn await_retained(broker: &AwsBroker, topic: &str, expected: &str) {
    let comes = async {
        while broker.retained(topic).as_deref() != Some(expected.as_bytes()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, comes).await.unwrap_or_else(|_| panic!("presence is never {expected:?}"));
}

/// A broker that is silent is found dead within the keep-alive time although publishes wait for it; one that hears
/// nothing says so itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_link_is_found_with_data_under_way() {
    let (mut scene, broker) = with(Limits::without_rates()).await;
    scene.mqtt.keep_alive = Duration::from_secs(6);
    let mut running = scene.run();
    running.connected(1).await;
    broker.freeze("robot1");
    let frozen = Instant::now();
    (0..200).for_each(|number| scene.admit(number));
    running.fault(FaultKind::TimedOut).await;
    assert!(frozen.elapsed() < scene.mqtt.keep_alive.mul_f64(1.5), "{:?}", frozen.elapsed());
    scene.receive(200).await;
    scene.acknowledged(200).await;
    running.stop().await;
}
