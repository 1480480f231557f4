//! The uplink within the quotas of AWS IoT Core, against a broker that keeps them.

use std::time::{Duration, Instant};

use crate::support::aws_broker::{AckFaults, AwsBroker, Limits};
use crate::support::link::Link;
use crate::support::scene::{Scene, admit};
use bytes::Bytes;
use iot_bridge_core::config::Quotas;
use iot_bridge_core::queue::Record;

/// A scene whose uplink keeps to the documented quotas of a broker that enforces them.
async fn paced() -> (Scene, AwsBroker) {
    let mut scene = Scene::set().await;
    let mut broker = AwsBroker::start(&scene.authority, Limits::documented()).await;
    scene.link = Link::open(broker.port).await;
    scene.aws.port = scene.link.port();
    scene.observer.watch(&mut broker.messages);
    scene.mqtt.quotas = Quotas { publishes_per_second: Some(100), bytes_per_second: Some(512 << 10), in_flight: 100 };
    (scene, broker)
}

/// A backlog leaves at the quota of publishes: the broker takes every one, no second has more than 100, and it takes
/// little longer than the quota alone asks for.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_small_records_leaves_at_the_quota_of_publishes() {
    const COUNT: usize = 800;
    let (mut scene, broker) = paced().await;
    (0..COUNT).for_each(|number| scene.admit(number));
    let (start, mut running) = (Instant::now(), scene.run());
    assert_eq!(scene.receive(COUNT).await, 0);
    let took = start.elapsed();
    scene.acknowledged(COUNT).await;
    let record = broker.record();
    assert_eq!(record.violations(), []);
    assert!(record.most_publishes_in_a_second() <= 100, "{}", record.most_publishes_in_a_second());
    assert!(took < Duration::from_secs(8).mul_f64(1.5), "{took:?} for what the quota takes in 8 s");
    assert_eq!(running.connected(1).await.connections, 1);
    running.stop().await;
}

/// A backlog of large records leaves at the quota of bytes: none is delayed by the broker.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_large_records_leaves_at_the_quota_of_bytes() {
    const COUNT: usize = 80;
    let (mut scene, broker) = paced().await;
    let now = Instant::now();
    for number in 0..COUNT {
        let record = Record {
            route: scene.routes[number % scene.routes.len()].clone(),
            payload: Bytes::from(format!("{number:50000}")),
            received_ns: 0,
            expires: now + Duration::from_secs(3600),
        };
        assert!(scene.queue.admit(record, now));
    }
    let (start, running) = (Instant::now(), scene.run());
    assert_eq!(scene.receive(COUNT).await, 0);
    let (took, alone) = (start.elapsed(), Duration::from_secs_f64(COUNT as f64 * 50_000.0 / f64::from(512 << 10)));
    scene.acknowledged(COUNT).await;
    let record = broker.record();
    assert_eq!((record.violations(), record.delayed), (vec![], 0));
    assert!(record.most_bytes_in_a_second() <= 512 << 10, "{}", record.most_bytes_in_a_second());
    assert!(took < alone.mul_f64(1.5), "{took:?} for what the quota takes in {alone:?}");
    running.stop().await;
}

/// Over a link that stalls and bunches, with PUBACKs that come late and a connection that is lost, no second at the
/// broker sees more than the quota either.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_link_does_not_push_a_second_over_the_quota() {
    const COUNT: usize = 800;
    let (mut scene, broker) = paced().await;
    broker.ack_faults(AckFaults { lost: 0.0, late: 0.2, late_by: Duration::from_millis(200) });
    (0..COUNT).for_each(|number| scene.admit(number));
    let running = scene.run();
    for round in 1..=4 {
        scene.receive(round * 100).await;
        scene.link.pause();
        tokio::time::sleep(Duration::from_millis(250)).await;
        scene.link.resume();
    }
    scene.link.cut();
    scene.receive(COUNT).await;
    scene.acknowledged(COUNT).await;
    let record = broker.record();
    assert_eq!(record.violations(), []);
    assert!(record.most_publishes_in_a_second() <= 100, "{}", record.most_publishes_in_a_second());
    running.stop().await;
}

/// A flood on one topic delays only itself: each record of another topic, ten a second, arrives after no more than a few
/// of the flood, a hundredth of a second each.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_delays_only_itself() {
    const FLOOD: usize = 1500;
    let (mut scene, mut broker) = paced().await;
    let (flood, calm) = (scene.routes[0].clone(), scene.routes[1].clone());
    // From its own line of messages, not the observer's.
    scene.observer.watch(&mut broker.messages);
    let mut running = scene.run();
    running.connected(1).await;
    (0..FLOOD).for_each(|number| admit(&scene.queue, std::slice::from_ref(&flood), number));
    let mut worst = 0;
    for number in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let before = broker.record().arrivals.len();
        admit(&scene.queue, std::slice::from_ref(&calm), number);
        loop {
            let (topic, _) = broker.messages.recv().await.unwrap();
            if topic == calm.mqtt {
                break;
            }
        }
        let arrivals = broker.record().arrivals;
        let place = arrivals.iter().rposition(|arrival| arrival.topic == calm.mqtt).unwrap();
        worst = worst.max(place - before);
    }
    assert!(flood.counters.queued() > 0, "the flood was over too soon");
    assert!(worst < 10, "{worst} publishes of the flood came before");
    assert_eq!(broker.record().violations(), []);
    running.stop().await;
}
