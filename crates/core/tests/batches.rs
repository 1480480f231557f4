//! Messages that wait travel together, within the quotas of AWS IoT Core and past its quota of publishes.

use std::io::Read;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::aws_broker::{AckFaults, AwsBroker, Limits};
use crate::support::link::{Cut, Link};
use crate::support::scene::{Scene, admit, batches, numbers_in, packed};
use bytes::Bytes;
use iot_bridge_core::config::{Aws, Encoding, Quotas};
use iot_bridge_core::packing::{Batch, Compression, Packing, When};
use iot_bridge_core::queue::{Record, Route};

/// A scene with a broker that keeps these limits.
async fn before(limits: Limits) -> (Scene, AwsBroker) {
    let mut scene = Scene::set().await;
    let broker = AwsBroker::start(&scene.authority, limits).await;
    scene.link = Link::open(broker.port).await;
    scene.aws.port = scene.link.port();
    (scene, broker)
}

/// A scene whose uplink keeps to the documented quotas of a broker that enforces them.
async fn paced() -> (Scene, AwsBroker) {
    let (mut scene, broker) = before(Limits::documented()).await;
    scene.mqtt.quotas = Quotas { publishes_per_second: Some(100), bytes_per_second: Some(512 << 10), in_flight: 100 };
    (scene, broker)
}

/// For twenty seconds 1,500 messages of 200 bytes come in a second, and the link is down for the first half of it: all
/// arrive, in order; the broker sees no publish over its quotas; and what has piled up is gone within one and a half times what the
/// quota of bytes alone asks for.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_leaves_at_the_quota_of_bytes() {
    const RATE: u32 = 1500;
    const COUNT: usize = 20 * RATE as usize;
    let (mut scene, mut broker) = paced().await;
    scene.observer.watch(&mut broker.messages);
    scene.routes = scene.routes.iter().map(|route| packed(route, batches(50))).collect();
    scene.link.shut().await;
    let (start, mut running) = (Instant::now(), scene.run());
    let admitting = scene.admit_at(RATE, COUNT);
    tokio::time::sleep_until((start + Duration::from_secs(10)).into()).await;
    scene.link.reopen().await;
    running.connected(1).await;
    let (backlog, connected) = (scene.queue.figures().queued() as usize, Instant::now());
    assert!(backlog >= COUNT / 2 - RATE as usize, "only {backlog} have piled up");
    assert_eq!(scene.receive(backlog).await, 0);
    let (took, alone) = (connected.elapsed(), Duration::from_secs_f64(backlog as f64 * 201.0 / f64::from(512 << 10)));
    assert!(took < alone.mul_f64(1.5), "{took:?} for what the quota takes in {alone:?}");
    assert_eq!(scene.receive(COUNT).await, 0);
    admitting.join().unwrap();
    scene.acknowledged(COUNT).await;
    let record = broker.record();
    assert_eq!((record.violations(), record.delayed), (vec![], 0));
    assert!(record.most_publishes_in_a_second() <= 100, "{}", record.most_publishes_in_a_second());
    assert!(record.most_bytes_in_a_second() <= 512 << 10, "{}", record.most_bytes_in_a_second());
    assert!(record.arrivals.iter().all(|arrival| numbers_in(&arrival.payload).len() <= 50));
    assert_eq!(running.connected(1).await.connections, 1);
    running.stop().await;
}

/// Of the PUBACKs one in twenty is lost and one in twenty late, and connections are cut in the middle of whatever passes:
/// of 50,000 messages, most of them in batches, every one arrives, first receipts in order within each topic, and none
/// is blamed for it.
#[tokio::test(flavor = "multi_thread")]
async fn loses_nothing_over_a_wretched_link() {
    const COUNT: usize = 50_000;
    let (mut scene, mut broker) = before(Limits::without_rates()).await;
    scene.observer.watch(&mut broker.messages);
    broker.ack_faults(AckFaults { lost: 0.05, late: 0.05, late_by: Duration::from_millis(50) });
    for topic in 0..4 {
        scene.routes[topic] = packed(&scene.routes[topic], batches(5 << topic));
    }
    let cuts = [5_001, 90_003, 40_009, 200_017, 700_001, 1_000_003, 300_007, 2_000_003];
    scene.link.plan(cuts.map(Cut::ToBroker));
    scene.mqtt.ack_timeout = Duration::from_millis(500);
    let running = scene.run();
    let admitting = scene.admit_at(5000, COUNT);
    scene.receive(COUNT).await;
    admitting.join().unwrap();
    scene.acknowledged(COUNT).await;
    assert_eq!(running.state.borrow().set_aside, Vec::<String>::new());
    for route in &scene.routes {
        let account = scene.queue.account(&route.counters);
        assert_eq!((account.received, account.acknowledged, account.dropped), (10_000, 10_000, 0), "{}", route.ros);
    }
    running.stop().await;
}

/// Mosquitto is killed and started again, twice, during a stream in batches: all arrive, first receipts in order within
/// each topic.
#[tokio::test(flavor = "multi_thread")]
async fn survives_a_broker_that_is_killed() {
    const COUNT: usize = 8000;
    let mut scene = Scene::set().await;
    scene.routes = scene.routes.iter().map(|route| packed(route, batches(50))).collect();
    let mut running = scene.run();
    running.connected(1).await;
    let admitting = scene.admit_at(2000, COUNT);
    for restart in 1..=2 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        scene.mosquitto.kill();
        scene.link.shut().await;
        scene.mosquitto.start_again();
        scene.observer.subscribe(scene.mosquitto.port()).await;
        scene.link.reopen().await;
        running.connected(1 + restart).await;
    }
    scene.receive(COUNT).await;
    admitting.join().unwrap();
    scene.acknowledged(COUNT).await;
    assert_eq!(running.stop().await, 0);
}

/// On a connection that has nothing else to do a message leaves at once, as an array of one, like each batch.
#[tokio::test(flavor = "multi_thread")]
async fn a_lone_message_is_an_array_of_one() {
    let (scene, mut broker) = paced().await;
    let route = packed(&scene.routes[0], batches(50));
    let mut running = scene.run();
    running.connected(1).await;
    let begun = Instant::now();
    for number in 0..20 {
        admit(&scene.queue, std::slice::from_ref(&route), number);
        let (_, payload) = broker.messages.recv().await.unwrap();
        assert_eq!((payload[0], numbers_in(&payload)), (b'[', vec![number]));
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}, a tenth of a second each", begun.elapsed());
    running.stop().await;
}

/// With `linger` messages wait for others, and leave when the batch is full, or when the first has waited for so long;
/// when the bridge is told to stop, at once. Those of another topic do not wait with them.
#[tokio::test(flavor = "multi_thread")]
async fn messages_linger_to_travel_together() {
    let (mut scene, mut broker) = before(Limits::documented()).await;
    const LINGER: Duration = Duration::from_millis(1500);
    let batch = Batch { max: 10, linger: LINGER };
    scene.routes[0] = packed(&scene.routes[0], Packing { batch: Some(batch), ..Packing::default() });
    let (lingers, other) = (&scene.routes[..1], &scene.routes[1..2]);
    let mut running = scene.run();
    running.connected(1).await;
    let mut numbers = async || numbers_in(&broker.messages.recv().await.unwrap().1);

    let admitted = Instant::now();
    admit(&scene.queue, lingers, 0);
    admit(&scene.queue, lingers, 1);
    admit(&scene.queue, other, 100);
    assert_eq!(numbers().await, [100]);
    assert_eq!(numbers().await, [0, 1]);
    assert!(admitted.elapsed() >= LINGER, "{:?}", admitted.elapsed());

    (2..25).for_each(|number| admit(&scene.queue, lingers, number));
    assert_eq!(numbers().await, (2..12).collect::<Vec<_>>());
    assert_eq!(numbers().await, (12..22).collect::<Vec<_>>());
    assert_eq!(scene.queue.figures().queued(), 3, "the rest waits for others");
    assert_eq!(running.stop().await, 0);
    assert_eq!(numbers().await, [22, 23, 24]);
}

/// What is compressed is what was sent, whole batches of it, on a topic of its own where that is asked for; what is too
/// short for it is sent as it is.
#[tokio::test(flavor = "multi_thread")]
async fn batches_are_compressed_as_one() {
    const COUNT: usize = 3000;
    let (scene, mut broker) = paced().await;
    for (topic, encoding, suffix) in [(0, Encoding::Gzip, false), (1, Encoding::Zstd, true)] {
        let plain = &scene.routes[topic];
        let compression = Compression::new(encoding, When::Over(1000), suffix, &plain.mqtt);
        let route = packed(plain, Packing { compression: Some(compression), ..batches(50) });
        (0..COUNT).for_each(|number| admit(&scene.queue, std::slice::from_ref(&route), number));
    }
    let running = scene.run();
    scene.acknowledged(2 * COUNT).await;
    let mut next = [0; 2];
    for arrival in broker.record().arrivals {
        let (topic, payload) = match arrival.topic.as_str() {
            "robots/robot1/topic0" => (0, gunzip(&arrival.payload)),
            "robots/robot1/topic1/zstd" => (1, zstd::bulk::decompress(&arrival.payload, 1 << 20).unwrap()),
            other => panic!("a publish to {other}"),
        };
        assert!(arrival.payload.len() < payload.len() / 4, "{} of {}", arrival.payload.len(), payload.len());
        for number in numbers_in(&payload) {
            assert_eq!(number, next[topic]);
            next[topic] += 1;
        }
    }
    assert_eq!(next, [COUNT; 2]);
    let publishes = scene.routes[1].counters.publishes();
    assert_eq!(publishes, COUNT as u64 / 50, "samples of a publish");
    admit(&scene.queue, &[packed(&scene.routes[1], batches(50))], 7);
    while broker.messages.recv().await.unwrap().0 != scene.routes[1].mqtt {}
    running.stop().await;
}

fn gunzip(compressed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(compressed).read_to_end(&mut plain).unwrap();
    plain
}

/// A flood in publishes of its own, or in batches of any size, costs a message of another topic, ten a second, less than
/// a tenth of a second in 99 of 100 cases: that much more than one takes at the same moment over a connection without a
/// flood, which the machine slows down as much.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_costs_others_little_time() {
    latency_beside(Packing::default(), 2_000).await;
}

/// The same of a flood in batches.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_in_batches_costs_others_little_time() {
    latency_beside(batches(100_000), 60_000).await;
}

async fn latency_beside(packing: Packing, flood: usize) {
    const CALM: usize = 100;
    let (scene, mut broker) = paced().await;
    let flooded = packed(&scene.routes[0], packing);
    let (calm, control) = (scene.routes[1].clone(), scene.routes[2].clone());
    let (mut running, idle) = (scene.run(), Scene::empty_queue());
    let other = Aws { client_id: "robot2".into(), ..scene.aws.clone() };
    let mut beside = scene.run_as(&other, idle.clone());
    running.connected(1).await;
    beside.connected(1).await;
    // The other topic is no news to the bridge.
    admit(&scene.queue, std::slice::from_ref(&calm), CALM);
    broker.messages.recv().await.unwrap();
    (0..flood).for_each(|number| admit(&scene.queue, std::slice::from_ref(&flooded), number));
    let (mut costs, mut tick) = (Vec::new(), tokio::time::interval(Duration::from_millis(100)));
    for number in 0..CALM {
        tick.tick().await;
        let start = Instant::now();
        admit(&scene.queue, std::slice::from_ref(&calm), number);
        admit(&idle, std::slice::from_ref(&control), number);
        let (mut took, mut alone) = (None, None);
        while took.is_none() || alone.is_none() {
            match broker.messages.recv().await.unwrap().0 {
                topic if topic == calm.mqtt => took = Some(start.elapsed()),
                topic if topic == control.mqtt => alone = Some(start.elapsed()),
                _ => {}
            }
        }
        costs.push(took.unwrap().saturating_sub(alone.unwrap()));
    }
    assert!(flooded.counters.queued() > 0, "the flood was over too soon");
    assert_eq!((broker.record().violations(), broker.record().delayed), (vec![], 0));
    costs.sort();
    let p99 = costs[CALM * 99 / 100 - 1];
    assert!(p99 < Duration::from_millis(100), "{p99:?}; the worst {:?}", costs.last());
    beside.stop().await;
    drop(running);
}

/// A record of any size is in a batch, or a publish of its own, within the limit of a payload.
#[tokio::test(flavor = "multi_thread")]
async fn no_batch_is_over_the_limit_of_a_payload() {
    let (mut scene, mut broker) = before(Limits::without_rates()).await;
    scene.observer.watch(&mut broker.messages);
    let route: Arc<Route> = packed(&scene.routes[0], batches(100_000));
    let now = Instant::now();
    let sizes = [131_070, 1, 131_067, 131_068, 2, 65_535, 65_534, 65_535, 65_535, 131_071, 3];
    for (number, size) in sizes.iter().enumerate() {
        let digits = number.to_string();
        let payload = Bytes::from(" ".repeat(size - digits.len()) + &digits);
        let record = Record { route: route.clone(), payload, received_ns: 0, expires: now + Duration::from_secs(60) };
        route.counters.count_received();
        assert!(scene.queue.admit(record, now));
    }
    let running = scene.run();
    while !scene.queue.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let record = broker.record();
    assert_eq!(record.violations(), []);
    let arrived: Vec<_> = record.arrivals.iter().map(|arrival| numbers_in(&arrival.payload)).collect();
    let expected: [&[usize]; 8] = [&[0], &[1, 2], &[3], &[4, 5], &[6, 7], &[8], &[10], &[]];
    assert_eq!(arrived, expected[..7]);
    assert_eq!(route.counters.dropped_in_all(), 1, "131071 bytes and two brackets are over the limit");
    running.stop().await;
}
