//! The uplink against a real broker, over a link that fails as links do.

use std::time::{Duration, Instant, SystemTime};

use crate::support::aws_broker::{AckFaults, AwsBroker, Limits};
use crate::support::certificates::{Authority, Valid};
use crate::support::link::{Cut, Link};
use crate::support::mosquitto::Mosquitto;
use crate::support::scene::{Scene, route};
use bytes::Bytes;
use iot_bridge_core::config::{Aws, Qos, Reconnect, Version};
use iot_bridge_core::mqtt::FaultKind;
use iot_bridge_core::mqtt::session::Session;
use iot_bridge_core::queue::Record;
use iot_bridge_core::uplink::{Phase, Uplink, options};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

/// On a connection that stands, every record arrives once, in order, and is acknowledged; on request the uplink drains
/// the queue and stops with nothing left.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_admitted_arrives_once_and_in_order() {
    let mut scene = Scene::set().await;
    let mut running = scene.run();
    running.connected(1).await;
    (0..2000).for_each(|number| scene.admit(number));
    let connections = running.state.borrow().connections;
    assert_eq!(running.stop().await, 0);
    assert_eq!(scene.receive(2000).await, 0);
    scene.acknowledged(2000).await;
    assert_eq!((connections, scene.observer.rest().len()), (1, 0));
}

/// The broker is killed and started again, twice, during a stream of 500 records a second: all arrive, their first
/// receipts in order within each topic, and no more arrive twice than were in flight when a connection was lost.
#[tokio::test(flavor = "multi_thread")]
async fn survives_a_broker_that_is_killed() {
    let mut scene = Scene::set().await;
    let mut running = scene.run();
    running.connected(1).await;
    let admitting = scene.admit_at(500, 2000);
    for restart in 1..=2 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        scene.mosquitto.kill();
        scene.link.shut().await;
        scene.mosquitto.start_again();
        scene.observer.subscribe(scene.mosquitto.port()).await;
        scene.link.reopen().await;
        running.connected(1 + restart).await;
    }
    let duplicates = scene.receive(2000).await;
    admitting.join().unwrap();
    scene.acknowledged(2000).await;
    assert!(duplicates <= 200, "{duplicates}");
    assert_eq!(running.stop().await, 0);
}

/// The broker stands still for less than the PUBACK timeout during a stream of 500 records a second: the connection is
/// kept, and every record arrives once.
#[tokio::test(flavor = "multi_thread")]
async fn rides_out_a_broker_that_stands_still() {
    let mut scene = Scene::set().await;
    let mut running = scene.run();
    running.connected(1).await;
    let admitting = scene.admit_at(500, 1000);
    tokio::time::sleep(Duration::from_millis(500)).await;
    scene.mosquitto.pause();
    tokio::time::sleep(Duration::from_millis(1000)).await;
    scene.mosquitto.resume();
    assert_eq!(scene.receive(1000).await, 0);
    admitting.join().unwrap();
    scene.acknowledged(1000).await;
    assert_eq!(running.state.borrow().connections, 1);
    assert_eq!(running.stop().await, 0);
}

/// The broker stands still for longer than the PUBACK timeout: the connection is given up for that reason, and once
/// the broker goes on every record arrives, in order.
#[tokio::test(flavor = "multi_thread")]
async fn gives_up_a_connection_without_pubacks() {
    let mut scene = Scene::set().await;
    scene.mqtt.ack_timeout = Duration::from_millis(500);
    let mut running = scene.run();
    running.connected(1).await;
    let admitting = scene.admit_at(500, 1000);
    scene.receive(100).await;
    scene.mosquitto.pause();
    running.fault(FaultKind::AckOverdue).await;
    scene.mosquitto.resume();
    let duplicates = scene.receive(1000).await;
    admitting.join().unwrap();
    scene.acknowledged(1000).await;
    assert!(duplicates <= 100 * (running.state.borrow().connections as usize - 1), "{duplicates}");
    assert_eq!(running.stop().await, 0);
}

/// PUBACKs that come out of order are taken; one that never comes costs the connection after its time, on which
/// everything else went on meanwhile. Packet identifiers are used several times over.
#[tokio::test(flavor = "multi_thread")]
async fn assumes_nothing_of_pubacks() {
    let mut scene = Scene::set().await;
    let mut broker = AwsBroker::start(&scene.authority, Limits::without_rates()).await;
    broker.ack_faults(AckFaults { lost: 0.0, late: 0.5, late_by: Duration::from_millis(30) });
    broker.swallow([250, 250]);
    scene.aws.port = broker.port;
    scene.mqtt.ack_timeout = Duration::from_millis(700);
    scene.observer.watch(&mut broker.messages);
    let mut running = scene.run();
    let admitting = scene.admit_at(1000, 4000);
    let duplicates = scene.receive(4000).await;
    admitting.join().unwrap();
    scene.acknowledged(4000).await;
    let state = running.connected(3).await;
    assert_eq!(state.failures.into_iter().collect::<Vec<_>>(), [(FaultKind::AckOverdue.label(), 2)]);
    assert!((1..=200).contains(&duplicates), "{duplicates}");
    assert_eq!(running.stop().await, 0);
}

/// Of the PUBACKs one in twenty is lost and one in twenty late, and connections are cut in the middle of whatever passes:
/// every record arrives, first receipts in order within each topic, and none is blamed for it.
#[tokio::test(flavor = "multi_thread")]
async fn loses_nothing_over_a_wretched_link() {
    const COUNT: usize = 10_000;
    let mut scene = Scene::set().await;
    let mut broker = AwsBroker::start(&scene.authority, Limits::without_rates()).await;
    broker.ack_faults(AckFaults { lost: 0.05, late: 0.05, late_by: Duration::from_millis(50) });
    scene.link = Link::open(broker.port).await;
    scene.aws.port = scene.link.port();
    scene.link.plan([5_001, 90_003, 40_009, 200_017].map(Cut::ToBroker));
    scene.mqtt.ack_timeout = Duration::from_millis(500);
    scene.observer.watch(&mut broker.messages);
    let running = scene.run();
    let admitting = scene.admit_at(2000, COUNT);
    scene.receive(COUNT).await;
    admitting.join().unwrap();
    // What is left waits for PUBACKs, which it gets sooner or later.
    scene.acknowledged(COUNT).await;
    assert_eq!(running.state.borrow().set_aside, Vec::<String>::new());
    running.stop().await;
}

/// Connections are cut at bytes all over the handshake and the stream, in either direction, with publishes and PUBACKs
/// half-way: every record arrives, in order.
#[tokio::test(flavor = "multi_thread")]
async fn survives_cuts_at_any_byte() {
    let mut scene = Scene::set().await;
    let cuts = [
        Cut::ToBroker(1),
        Cut::FromBroker(700),
        Cut::ToBroker(2_500),
        Cut::FromBroker(2_800),
        Cut::ToBroker(9_001),
        Cut::FromBroker(3_333),
        Cut::ToBroker(50_003),
        Cut::FromBroker(5_007),
    ];
    scene.link.plan(cuts);
    let mut running = scene.run();
    let admitting = scene.admit_at(500, 3000);
    let duplicates = scene.receive(3000).await;
    admitting.join().unwrap();
    scene.acknowledged(3000).await;
    let state = running.state(|state| state.failures.values().sum::<u64>() >= cuts.len() as u64).await;
    // Some last so shortly that the row of them looks like a client id used twice.
    let known = [FaultKind::Closed.label(), FaultKind::TakenOver.label()];
    assert!(state.failures.keys().all(|label| known.contains(label)), "{:?}", state.failures);
    assert!(duplicates <= 100 * (state.connections as usize - 1), "{duplicates}");
    assert_eq!(running.stop().await, 0);
}

/// A link that stalls without a word for less than the PUBACK timeout costs nothing; one that stalls for longer costs
/// the connection, and no record.
#[tokio::test(flavor = "multi_thread")]
async fn survives_a_link_that_stalls() {
    let mut scene = Scene::set().await;
    scene.mqtt.ack_timeout = Duration::from_secs(2);
    let mut running = scene.run();
    running.connected(1).await;
    let admitting = scene.admit_at(500, 1000);
    scene.link.pause();
    tokio::time::sleep(Duration::from_millis(500)).await;
    scene.link.resume();
    scene.receive(300).await;
    assert_eq!(running.state.borrow().connections, 1);
    scene.link.pause();
    running.fault(FaultKind::AckOverdue).await;
    scene.link.resume();
    scene.receive(1000).await;
    admitting.join().unwrap();
    scene.acknowledged(1000).await;
    assert_eq!(running.stop().await, 0);
}

/// A link that is slower than the PUBACKs: while a long backlog is still being written, what is acknowledged is done. No
/// publish is sent twice, and none is given up for want of its PUBACK.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_link_costs_no_connection() {
    const COUNT: usize = 150;
    let mut scene = Scene::set().await;
    scene.link = Link::slow(scene.mosquitto.port(), 2 << 20).await;
    scene.aws.port = scene.link.port();
    scene.mqtt.ack_timeout = Duration::from_secs(1);
    let (route, now) = (scene.routes[0].clone(), Instant::now());
    for number in 0..COUNT {
        let payload = Bytes::from(format!("{number:60000}"));
        route.counters.count_received();
        let expires = now + Duration::from_secs(3600);
        assert!(scene.queue.admit(Record { route: route.clone(), payload, received_ns: 0, expires }, now));
    }
    let running = scene.run();
    for number in 0..COUNT {
        let (_, payload) = scene.observer.next().await;
        assert_eq!(std::str::from_utf8(&payload).unwrap().trim().parse(), Ok(number));
    }
    scene.acknowledged(COUNT).await;
    assert_eq!(running.state.borrow().connections, 1);
    assert_eq!(running.stop().await, 0);
}

/// A link on which nothing is sent, and over which nothing comes back any more, is found dead within the keep-alive time.
#[tokio::test(flavor = "multi_thread")]
async fn finds_a_half_open_link_within_keep_alive() {
    let mut scene = Scene::set().await;
    let broker = AwsBroker::start(&scene.authority, Limits::documented()).await;
    scene.aws.port = broker.port;
    scene.mqtt.keep_alive = Duration::from_secs(6);
    let mut running = scene.run();
    running.connected(1).await;
    broker.freeze("robot1");
    let frozen = Instant::now();
    let sentence = running.fault(FaultKind::TimedOut).await;
    assert!(frozen.elapsed() < scene.mqtt.keep_alive.mul_f64(1.5), "{:?}", frozen.elapsed());
    assert_eq!(sentence, "the broker has not answered a ping within the keep-alive time");
    running.stop().await;
}

/// A broker that is down at the start is normal: the uplink says that it is refused, beats its heart, and sends what
/// was admitted meanwhile once the broker is there.
#[tokio::test(flavor = "multi_thread")]
async fn waits_for_a_broker_that_is_down_at_the_start() {
    let mut scene = Scene::set().await;
    scene.link.shut().await;
    let mut running = scene.run();
    (0..500).for_each(|number| scene.admit(number));
    let sentence = running.fault(FaultKind::Refused).await;
    assert_eq!(sentence, format!("localhost:{} refuses connections", scene.link.port()));
    let state = running.state(|state| state.failed_attempts >= 3).await;
    assert_eq!(state.connections, 0);
    assert!(scene.heartbeat.age() < Duration::from_secs(2), "{:?}", scene.heartbeat.age());
    scene.link.reopen().await;
    assert_eq!(scene.receive(500).await, 0);
    scene.acknowledged(500).await;
    assert_eq!(running.stop().await, 0);
}

/// However fast connections fail, two attempts begin at least a second apart.
#[tokio::test(flavor = "multi_thread")]
async fn connects_at_most_once_a_second() {
    let mut scene = Scene::set().await;
    scene.mqtt.reconnect.initial = Duration::from_millis(1);
    scene.mqtt.reconnect.max = Duration::from_millis(1);
    scene.link.plan([Cut::FromBroker(100); 3]);
    let (mut running, start) = (scene.run(), Instant::now());
    running.state(|state| state.failures.values().sum::<u64>() >= 3).await;
    running.connected(1).await;
    assert!(start.elapsed() >= Duration::from_secs(3), "{:?}", start.elapsed());
    running.stop().await;
}

/// With a root CA that has not signed the broker's certificate the uplink stays alive and says so, and connects by
/// itself once the file is mended.
#[tokio::test(flavor = "multi_thread")]
async fn heals_once_the_root_ca_is_mended() {
    let scene = Scene::set().await;
    let root_ca = scene.aws.root_ca.clone().unwrap();
    std::fs::write(&root_ca, Authority::new("Another CA").pem).unwrap();
    let sentence = fault_then_mended(scene, FaultKind::BrokerAuthorityUnknown, |scene| {
        std::fs::write(&root_ca, &scene.authority.pem).unwrap();
    });
    assert_eq!(
        sentence.await,
        format!("the certificate of localhost is not signed by the root CA {}", root_ca.display())
    );
}

/// The same for a client certificate that has expired.
#[tokio::test(flavor = "multi_thread")]
async fn heals_once_an_expired_certificate_is_replaced() {
    let scene = Scene::set().await;
    let file = scene.files.certificate.clone();
    scene.authority.issue(&["robot1"], Valid::NoLonger).write(scene.directory.path(), "robot1");
    let sentence = fault_then_mended(scene, FaultKind::Credentials, |scene| {
        scene.authority.issue(&["robot1"], Valid::Now).write(scene.directory.path(), "robot1");
    });
    let expected = format!("the client certificate {} expired on Jan  1 00:00:00 2020 +00:00", file.display());
    assert_eq!(sentence.await, expected);
}

/// The same for a key that belongs to another certificate.
#[tokio::test(flavor = "multi_thread")]
async fn heals_once_the_key_belongs_to_the_certificate() {
    let scene = Scene::set().await;
    let files = scene.files.clone();
    let (right, wrong) = (std::fs::read(&files.private_key).unwrap(), scene.authority.issue(&["robot2"], Valid::Now));
    std::fs::write(&files.private_key, wrong.private_key).unwrap();
    let key = files.private_key.clone();
    let sentence = fault_then_mended(scene, FaultKind::Credentials, |_| std::fs::write(&key, right).unwrap());
    let expected = format!(
        "the private key {} does not belong to the client certificate {}",
        files.private_key.display(),
        files.certificate.display()
    );
    assert_eq!(sentence.await, expected);
}

/// The same for a client certificate that the broker does not accept, which with TLS 1.3 it says after the handshake.
#[tokio::test(flavor = "multi_thread")]
async fn heals_once_the_broker_accepts_the_certificate() {
    let scene = Scene::set().await;
    Authority::new("Another CA").issue(&["robot1"], Valid::Now).write(scene.directory.path(), "robot1");
    let sentence = fault_then_mended(scene, FaultKind::CertificateRejected, |scene| {
        scene.authority.issue(&["robot1"], Valid::Now).write(scene.directory.path(), "robot1");
    });
    assert!(sentence.await.starts_with("the broker does not accept the client certificate"));
}

/// A broker that does not authorize the client is told apart too, and asked again.
#[tokio::test(flavor = "multi_thread")]
async fn heals_once_the_broker_authorizes_the_client() {
    let authority = Authority::new("Test CA");
    let mosquitto = Mosquitto::start_with(&authority, &authority, "allow_anonymous false");
    let mut scene = Scene::set_unobserved(authority, mosquitto).await;
    scene.admit(0);
    let mut running = scene.run();
    let sentence = running.fault(FaultKind::NotAuthorized).await;
    assert_eq!(sentence, "the broker does not authorize robot1 to connect");
    scene.mosquitto.kill();
    scene.link.shut().await;
    scene.mosquitto.configure("allow_anonymous true");
    scene.mosquitto.start_again();
    scene.observer.subscribe(scene.mosquitto.port()).await;
    scene.link.reopen().await;
    scene.receive(1).await;
    running.connected(1).await;
    assert_eq!(running.stop().await, 0);
}

/// Two clients with one client id, which close each other's connections without a word, are recognised; the records of
/// both arrive nevertheless once one has gone.
#[tokio::test(flavor = "multi_thread")]
async fn recognises_a_client_id_used_twice() {
    let mut scene = Scene::set().await;
    let mut running = scene.run();
    running.connected(1).await;
    let idle = Scene::empty_queue();
    let mut other = scene.run_as(&scene.aws, idle);
    let admitting = scene.admit_at(200, 1000);
    let sentence = running.fault(FaultKind::TakenOver).await;
    assert!(sentence.contains("the usual cause is another client with the client id robot1"), "{sentence}");
    other.fault(FaultKind::TakenOver).await;
    other.stop().await;
    scene.receive(1000).await;
    admitting.join().unwrap();
    scene.acknowledged(1000).await;
    assert_eq!(running.stop().await, 0);
}

/// A link that holds for five seconds at a time, closed in order or reset, is used for more than half of the time, and no
/// other client is blamed for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_holds_for_seconds_is_used() {
    const ROUNDS: u64 = 4;
    let (mut scene, second) = (Scene::set().await, Duration::from_secs(1));
    let broker = AwsBroker::start(&scene.authority, Limits::documented()).await;
    let link = Link::open(broker.port).await;
    scene.aws.port = link.port();
    // The defaults.
    scene.mqtt.reconnect = Reconnect { initial: second, max: 120 * second, stable_after: 30 * second };
    let mut running = scene.run();
    let admitting = scene.admit_at(10, 350);
    running.connected(1).await;
    let (start, mut connected) = (Instant::now(), Duration::ZERO);
    for round in 1..=ROUNDS {
        let since = Instant::now();
        tokio::time::sleep(5 * second).await;
        match round % 2 {
            0 => link.cut(),
            _ => broker.kick("robot1"),
        }
        connected += since.elapsed();
        let state = running.connected(1 + round).await;
        assert!(!state.contested && !state.failures.contains_key(FaultKind::TakenOver.label()), "{state:?}");
    }
    let part = connected.as_secs_f64() / start.elapsed().as_secs_f64();
    assert!(part > 0.5, "connected for {part} of the time");
    admitting.join().unwrap();
    scene.acknowledged(350).await;
    running.stop().await;
}

/// A certificate that expires soon is a remark on the state while the connection stands, and none any more once the
/// file was replaced and the connection is another.
#[tokio::test(flavor = "multi_thread")]
async fn warns_of_a_certificate_that_expires_soon() {
    let scene = Scene::set().await;
    scene.authority.issue(&["robot1"], Valid::ForDays(10)).write(scene.directory.path(), "robot1");
    let mut running = scene.run();
    let state = running.connected(1).await;
    assert_eq!(state.remarks(SystemTime::now()), ["The client certificate expires in 9 days"]);
    scene.authority.issue(&["robot1"], Valid::ForDays(365)).write(scene.directory.path(), "robot1");
    scene.link.cut();
    let state = running.connected(2).await;
    assert_eq!(state.remarks(SystemTime::now()), Vec::<String>::new());
    running.stop().await;
}

/// QoS 0 records arrive, are done when they are sent, and travel beside QoS 1 records.
#[tokio::test(flavor = "multi_thread")]
async fn qos_0_needs_no_puback() {
    let mut scene = Scene::set().await;
    scene.routes[1] = route(1, Qos::AtMostOnce);
    scene.routes[3] = route(3, Qos::AtMostOnce);
    let mut running = scene.run();
    running.connected(1).await;
    (0..1000).for_each(|number| scene.admit(number));
    assert_eq!(scene.receive(1000).await, 0);
    scene.acknowledged(1000).await;
    assert_eq!(running.stop().await, 0);
}

/// Told to stop without a connection, the uplink stops at once and says how many records it leaves.
#[tokio::test(flavor = "multi_thread")]
async fn stops_at_once_without_a_connection() {
    let scene = Scene::set().await;
    scene.link.shut().await;
    (0..7).for_each(|number| scene.admit(number));
    let mut running = scene.run();
    running.fault(FaultKind::Refused).await;
    let (view, asked) = (running.state.clone(), Instant::now());
    assert_eq!(running.stop().await, 7);
    // With a connection it would drain for five seconds.
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert_eq!(view.borrow().phase, Phase::Stopped);
}

/// Told to stop while the broker stands still, the uplink drains for no longer than it may.
#[tokio::test(flavor = "multi_thread")]
async fn drains_for_a_bounded_time() {
    let scene = Scene::set().await;
    let mut running = scene.run();
    running.connected(1).await;
    scene.mosquitto.pause();
    (0..500).for_each(|number| scene.admit(number));
    let asked = Instant::now();
    assert_eq!(running.stop().await, 500);
    assert!((5..8).contains(&asked.elapsed().as_secs()), "{:?}", asked.elapsed());
}

/// Runs an uplink into a fault of `kind`, mends what causes it, and checks that what was admitted before then arrives.
/// Returns the fault's sentence.
async fn fault_then_mended(mut scene: Scene, kind: FaultKind, mend: impl FnOnce(&Scene)) -> String {
    let mut running = scene.run();
    (0..10).for_each(|number| scene.admit(number));
    let sentence = running.fault(kind).await;
    let again = running.state(|state| state.failed_attempts >= 2).await;
    assert_eq!(again.connections, 0);
    mend(&scene);
    scene.receive(10).await;
    scene.acknowledged(10).await;
    let state = running.connected(1).await;
    assert!(state.certificate_expires.is_some());
    assert_eq!(running.stop().await, 0);
    sentence
}

/// What is published to a session waits at the broker and in the session until it is taken: a broker that sends so many
/// publishes ahead of their PUBACKs sends no more while nothing is taken, and then the rest, in order, each once. In MQTT 3.1.1
/// this one sends 20 of the 150, in MQTT 5 as many as the session has room for.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_to_a_session_waits_until_it_is_taken() {
    let authority = Authority::new("Test CA");
    let settings = "allow_anonymous true\nmax_inflight_messages 20";
    let mosquitto = Mosquitto::start_with(&authority, &authority, settings);
    let mut scene = Scene::set_with(authority, mosquitto).await;
    for (version, ahead) in [(Version::V3_1_1, 20), (Version::V5, 100)] {
        scene.mqtt.version = version.into();
        let mut listener = Session::connect(&options(&scene.aws, &scene.mqtt, version)).await.unwrap();
        listener.subscribe("to/robot1", Qos::AtLeastOnce).await.unwrap();
        let sender = Aws { client_id: "sender".into(), ..scene.aws.clone() };
        let mut sender = Session::connect(&options(&sender, &scene.mqtt, version)).await.unwrap();
        for number in 0..150 {
            sender.publish("to/robot1", Qos::AtLeastOnce, number.to_string().into()).await.unwrap();
        }
        let mut held: Vec<_> = Vec::new();
        while held.len() < ahead {
            held.push(listener.arrival().await.unwrap());
        }
        assert!(timeout(Duration::from_millis(500), listener.arrival()).await.is_err(), "nothing was taken yet");
        let mut numbers: Vec<usize> = Vec::new();
        while numbers.len() < 150 {
            let arrival = if held.is_empty() { listener.arrival().await.unwrap() } else { held.remove(0) };
            numbers.push(String::from_utf8_lossy(&arrival.payload).parse().unwrap());
            arrival.taken();
        }
        assert!(numbers.into_iter().eq(0..150) && listener.missed() == 0);
        listener.leave().await;
        sender.leave().await;
    }
}

/// Told to stop in the second in which it changes connections, the uplink makes the other one and sends over it what is
/// queued: a broker that stands still has that second last.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_connections_change_sends_what_is_queued() {
    let mut scene = Scene::set().await;
    let queue = scene.queue.clone();
    let (uplink, mut state) =
        Uplink::new(scene.aws.clone(), scene.mqtt.clone(), queue, scene.heartbeat.clone()).unwrap();
    let mut renewal = uplink.renewal().await;
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(uplink.run(async { _ = stopped.await }));
    state.wait_for(|state| state.is_connected()).await.unwrap();
    scene.mosquitto.pause();
    scene.authority.issue(&["robot1"], Valid::Now).write(scene.directory.path(), "robot1");
    renewal.ask_if_changed().await;
    // No event tells that DISCONNECT is under way. It is within half a second, for a second. Too early or too late, the
    // test passes without proving this.
    sleep(Duration::from_millis(750)).await;
    (0..100).for_each(|number| scene.admit(number));
    stop.send(()).unwrap();
    sleep(Duration::from_millis(100)).await;
    scene.mosquitto.resume();
    assert_eq!(running.await.unwrap(), 0, "left in the queue");
    assert_eq!(scene.receive(100).await, 0);
    assert_eq!(state.borrow().connections, 2);
}
