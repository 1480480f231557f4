//! Publishes that the broker closes the connection over, without a word: topics that its policy forbids, and records
//! that it does not take.

#[allow(dead_code, reason = "shared by tests that need different parts of it")]
mod support {
    pub mod aws_broker;
    pub mod certificates;
    pub mod link;
    pub mod mosquitto;
    pub mod observer;
    pub mod port;
    pub mod scene;
}

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use iot_bridge::config::{Qos, Reconnect};
use iot_bridge::health::DropReason;
use iot_bridge::queue::{Record, Route};
use support::aws_broker::{AwsBroker, Limits};
use support::scene::{Scene, admit, route};
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
