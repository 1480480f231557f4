//! Publishes that the broker closes the connection over, without a word: topics that its policy forbids, and records
//! that it does not take.

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::support::aws_broker::{AwsBroker, Limits};
use crate::support::scene::{Scene, admit, batches, numbers_in, packed, route};
use bytes::Bytes;
use iot_bridge_core::config::{Encoding, Qos, Reconnect};
use iot_bridge_core::packing::{Compression, Packing, When};
use iot_bridge_core::queue::{Record, Route};
use iot_bridge_core::tally::DropReason;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);

/// A scene with a broker that closes over what it does not take.
async fn strict(limits: Limits) -> (Scene, AwsBroker) {
    let mut scene = Scene::set().await;
    let broker = AwsBroker::start(&scene.authority, limits).await;
    scene.aws.port = broker.port;
    (scene, broker)
}

/// Waits until nothing of `routes` is queued or in flight.
async fn acknowledged(scene: &Scene, routes: &[Arc<Route>]) {
    let all = async {
        while routes.iter().any(|route| route.counters.queued() + route.counters.in_flight() > 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let figures = timeout(PATIENCE, all).await.map_err(|_| scene.queue.figures());
    figures.expect("what can be sent is not sent");
}

/// Of twenty topics one is forbidden: it is found with four connections, of which the waits between (at most 1, 2 and
/// 4 s) leave most of 10 s; the nineteen flow, and stay undisturbed; nothing is dropped. Once the policy allows it, the
/// topic flows too.
#[tokio::test(flavor = "multi_thread")]
async fn one_forbidden_topic_among_twenty() {
    const FORBIDDEN: usize = 7;
    let (mut scene, mut broker) = strict(Limits::without_rates()).await;
    // The defaults.
    let second = Duration::from_secs(1);
    scene.mqtt.reconnect = Reconnect { initial: second, max: 120 * second, stable_after: 30 * second };
    let routes: Vec<_> = (0..20).map(|topic| route(topic, Qos::AtLeastOnce)).collect();
    let allowed: Vec<_> = (0..20).filter(|topic| *topic != FORBIDDEN).map(|topic| routes[topic].clone()).collect();
    broker.forbid(&routes[FORBIDDEN].mqtt);
    (0..400).for_each(|number| admit(&scene.queue, &routes, number));
    let mut running = scene.run();
    acknowledged(&scene, &allowed).await;
    let state = running.state(|state| state.is_connected() && !state.set_aside.is_empty()).await;
    assert_eq!(state.set_aside, [routes[FORBIDDEN].mqtt.clone()]);
    assert!(state.remarks(SystemTime::now()).contains(&"The broker refuses publishes to robots/robot1/topic7".into()));
    assert!(state.connections <= 4, "{} connections", state.connections);

    let mut undisturbed = 0;
    for number in 400..1400 {
        admit(&scene.queue, &routes, number);
        undisturbed += u64::from(number % 20 != FORBIDDEN);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    acknowledged(&scene, &allowed).await;
    assert_eq!(running.state.borrow().connections, state.connections);
    assert_eq!(allowed.iter().map(|route| route.counters.acknowledged()).sum::<u64>(), 19 * 20 + undisturbed);
    assert_eq!(routes[FORBIDDEN].counters.queued(), 70);

    broker.allow_all();
    acknowledged(&scene, &routes).await;
    assert_eq!(running.state(|state| state.set_aside.is_empty()).await.connections, state.connections);
    assert_eq!(routes.iter().map(|route| route.counters.dropped_in_all()).sum::<u64>(), 0);
    running.stop().await;
    let mut next = [0; 20];
    while let Ok((topic, payload)) = broker.messages.try_recv() {
        let topic: usize = topic.strip_prefix("robots/robot1/topic").unwrap().parse().unwrap();
        let number: usize = std::str::from_utf8(&payload).unwrap().trim().parse().unwrap();
        assert!(number / 20 <= next[topic], "{number} of topic {topic} came too early");
        next[topic] = next[topic].max(number / 20 + 1);
    }
    assert_eq!(next, [70; 20]);
}

/// A topic that flowed until its permission is taken away, while the bridge runs: it is named and set aside within ten
/// connections, nothing is dropped, the other topics go on, and once it is allowed again it flows, in order.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_forbidden_later_is_set_aside() {
    const FORBIDDEN: usize = 1;
    let (scene, mut broker) = strict(Limits::without_rates()).await;
    let mut running = scene.run();
    (0..100).for_each(|number| scene.admit(number));
    acknowledged(&scene, &scene.routes).await;
    let before = running.connected(1).await.connections;
    broker.forbid(&scene.routes[FORBIDDEN].mqtt);
    let admitting = scene.admit_at(100, 1500);
    let state = running.state(|state| !state.set_aside.is_empty()).await;
    let forbidden = scene.routes[FORBIDDEN].clone();
    assert_eq!(state.set_aside, std::slice::from_ref(&forbidden.mqtt));
    assert!(state.remarks(SystemTime::now()).contains(&"The broker refuses publishes to robots/robot1/topic1".into()));
    admitting.join().unwrap();
    let others: Vec<_> = scene.routes.iter().filter(|route| route.ros != forbidden.ros).cloned().collect();
    acknowledged(&scene, &others).await;
    let connections = running.connected(1).await.connections;
    assert!(connections - before <= 10, "{} connections", connections - before);
    (1500..2000).for_each(|number| scene.admit(number));
    acknowledged(&scene, &others).await;
    assert_eq!(running.state.borrow().connections, connections, "the others are undisturbed");
    assert_eq!(others.iter().map(|route| route.counters.acknowledged()).sum::<u64>(), 4 * 420);
    assert_eq!((forbidden.counters.acknowledged(), forbidden.counters.queued()), (20, 400));
    broker.allow_all();
    acknowledged(&scene, &scene.routes).await;
    running.state(|state| state.set_aside.is_empty()).await;
    assert_eq!(scene.routes.iter().map(|route| route.counters.dropped_in_all()).sum::<u64>(), 0);
    running.stop().await;
    let mut of_forbidden = Vec::new();
    while let Ok((topic, payload)) = broker.messages.try_recv() {
        if topic == forbidden.mqtt {
            of_forbidden.extend(numbers_in(&payload));
        }
    }
    let numbers = |count: usize| (0..count).filter(|number| number % 5 == FORBIDDEN);
    assert_eq!(of_forbidden, numbers(100).chain(numbers(2000)).collect::<Vec<_>>());
}

/// A record that the broker does not take, of a topic that it takes, is dropped with a count; the topic goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_poisonous_record_is_given_up() {
    let (scene, broker) = strict(Limits { payload: 1000, ..Limits::without_rates() }).await;
    let mut running = scene.run();
    (0..100).for_each(|number| scene.admit(number));
    acknowledged(&scene, &scene.routes).await;
    let (poisoned, now) = (scene.routes[2].clone(), Instant::now());
    poisoned.counters.count_received();
    let record = Record {
        route: poisoned.clone(),
        payload: Bytes::from(vec![b' '; 2000]),
        received_ns: 0,
        expires: now + Duration::from_secs(3600),
    };
    assert!(scene.queue.admit(record, now));
    (100..200).for_each(|number| scene.admit(number));
    acknowledged(&scene, &scene.routes).await;
    assert_eq!(poisoned.counters.dropped(DropReason::Poison), 1);
    for route in &scene.routes {
        assert_eq!(route.counters.acknowledged(), 40, "{}", route.ros);
        assert_eq!(scene.queue.account(&route.counters).in_reception(), 0);
    }
    assert_eq!(running.connected(1).await.set_aside, Vec::<String>::new());
    assert!(broker.record().connects.len() <= 8, "{}", broker.record().connects.len());
    running.stop().await;
}

/// Around the limits of payload and packet a record is delivered, or dropped with a count before it is sent: the broker
/// never closes the connection over one.
#[tokio::test(flavor = "multi_thread")]
async fn sizes_around_the_limits_close_no_connection() {
    let (mut scene, mut broker) = strict(Limits::documented()).await;
    scene.observer.watch(&mut broker.messages);
    let mut running = scene.run();
    let (route, now) = (scene.routes[0].clone(), Instant::now());
    for size in [131_071, 131_072, 131_073, 149_481, 149_482, 1 << 20] {
        let payload = Bytes::from(vec![b' '; size]);
        let expires = now + Duration::from_secs(3600);
        assert!(scene.queue.admit(Record { route: route.clone(), payload, received_ns: 0, expires }, now));
    }
    acknowledged(&scene, &scene.routes).await;
    assert_eq!((route.counters.acknowledged(), route.counters.dropped(DropReason::TooLarge)), (2, 4));
    assert_eq!(scene.observer.next().await.1.len(), 131_071);
    assert_eq!(scene.observer.next().await.1.len(), 131_072);
    let record = broker.record();
    assert_eq!((record.violations(), record.connects.len()), (vec![], 1));
    assert_eq!(running.connected(1).await.connections, 1);
    running.stop().await;
}

/// The same sizes of a topic that compresses, where payloads that become small enough are delivered and the others are
/// dropped with a count: what is over a mebibyte, and what does not get smaller.
#[tokio::test(flavor = "multi_thread")]
async fn sizes_around_the_limits_close_no_connection_compressed() {
    let (scene, broker) = strict(Limits::documented()).await;
    let mut running = scene.run();
    let sizes = [131_071, 131_072, 131_073, 149_481, 149_482, 1 << 20, (1 << 20) + 1];
    let admit = |route: &Arc<Route>, payload: Vec<u8>| {
        let now = Instant::now();
        let (payload, expires) = (Bytes::from(payload), now + Duration::from_secs(3600));
        assert!(scene.queue.admit(Record { route: route.clone(), payload, received_ns: 0, expires }, now));
    };
    let mut noise = 1u64;
    let mut noise = std::iter::repeat_with(move || {
        noise = noise.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (noise >> 56) as u8
    });
    let compressed = [Encoding::Gzip, Encoding::Zstd].map(|encoding| {
        let route = &scene.routes[encoding as usize];
        let compression = Compression::new(encoding, When::Over(1024), false, &route.mqtt);
        packed(route, Packing { compression: Some(compression), ..Packing::default() })
    });
    for route in &compressed {
        for size in sizes {
            admit(route, vec![b' '; size]);
            admit(route, noise.by_ref().take(size).collect());
        }
    }
    acknowledged(&scene, &compressed).await;
    for route in &compressed {
        let account = (route.counters.acknowledged(), route.counters.dropped(DropReason::TooLarge));
        // The blanks but for the longest, and two of noise.
        assert_eq!(account, (6 + 2, 1 + 5), "{}", route.ros);
    }
    let record = broker.record();
    assert_eq!((record.violations(), record.connects.len()), (vec![], 1));
    let of_gzip = record.arrivals.iter().filter(|arrival| arrival.topic == compressed[0].mqtt);
    let lengths: Vec<usize> = of_gzip
        .map(|arrival| match arrival.payload.starts_with(&[0x1f, 0x8b]) {
            true => flate2::read::GzDecoder::new(&*arrival.payload).read_to_end(&mut Vec::new()).unwrap(),
            false => arrival.payload.len(),
        })
        .collect();
    assert_eq!(lengths, [131_071, 131_071, 131_072, 131_072, 131_073, 149_481, 149_482, 1 << 20]);
    assert_eq!(running.connected(1).await.connections, 1);
    running.stop().await;
}

/// Of a batch over which the broker closes the connection only the record at fault is dropped, with a count; the others
/// arrive one by one, and then in batches again.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_poison_of_a_batch_is_given_up() {
    const POISON: usize = 33;
    let (scene, mut broker) = strict(Limits { payload: 11_000, ..Limits::without_rates() }).await;
    let route = packed(&scene.routes[0], batches(50));
    admit(&scene.queue, std::slice::from_ref(&route), 0);
    let running = scene.run();
    acknowledged(&scene, std::slice::from_ref(&route)).await;
    for number in 1..200 {
        let now = Instant::now();
        let length = if number == POISON { 12_000 } else { 200 };
        let payload = Bytes::from(format!("{number:length$}"));
        let expires = now + Duration::from_secs(3600);
        route.counters.count_received();
        assert!(scene.queue.admit(Record { route: route.clone(), payload, received_ns: 0, expires }, now));
    }
    acknowledged(&scene, std::slice::from_ref(&route)).await;
    let (dropped, poison) = (route.counters.dropped_in_all(), route.counters.dropped(DropReason::Poison));
    assert_eq!((route.counters.acknowledged(), dropped, poison), (199, 1, 1));
    running.stop().await;
    let (mut first_receipts, mut last) = (Vec::new(), 0);
    while let Ok((_, payload)) = broker.messages.try_recv() {
        let numbers = numbers_in(&payload);
        last = numbers.len();
        // What was in flight with the poison came twice.
        let highest = first_receipts.last().copied();
        first_receipts.extend(numbers.into_iter().filter(|number| highest.is_none_or(|highest| *number > highest)));
    }
    assert_eq!(first_receipts, (0..200).filter(|number| *number != POISON).collect::<Vec<_>>());
    assert!(last > 1, "batches again");
}

/// A forbidden topic with QoS 0, whose publishes nobody acknowledges, is found too, and no other is blamed.
#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_topic_with_qos_0_is_found() {
    let (mut scene, broker) = strict(Limits::without_rates()).await;
    scene.routes[3] = route(3, Qos::AtMostOnce);
    broker.forbid(&scene.routes[3].mqtt);
    let mut running = scene.run();
    let admitting = scene.admit_at(100, 1000);
    let state = running.state(|state| state.is_connected() && !state.set_aside.is_empty()).await;
    assert_eq!(state.set_aside, [scene.routes[3].mqtt.clone()]);
    admitting.join().unwrap();
    scene.routes.remove(3);
    acknowledged(&scene, &scene.routes).await;
    for route in &scene.routes {
        assert_eq!((route.counters.acknowledged(), route.counters.dropped_in_all()), (200, 0), "{}", route.ros);
    }
    running.stop().await;
}
