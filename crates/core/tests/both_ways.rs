//! Commands and replies beside telemetry at the full quota of AWS IoT Core.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::aws_broker::{AwsBroker, Limits, Message};
use crate::support::scene::{Scene, packed, route};
use bytes::Bytes;
use iot_bridge_core::config::{MqttVersion, Priority, Qos, Quotas};
use iot_bridge_core::mqtt::client::Arrival;
use iot_bridge_core::packing::{Correlated, Packing};
use iot_bridge_core::queue::{Queue, Record, Route};
use iot_bridge_core::uplink::{Subscription, Uplink, UplinkState};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const COMMANDS: usize = 25;

/// What may leave at once, as the time in which the quota would allow it.
const BURST: Duration = Duration::from_millis(50);

/// How long commands and their replies were under way.
#[derive(Debug)]
struct Taken {
    commands: Vec<Duration>,
    replies: Vec<Duration>,
}

impl Taken {
    /// The longest but one, so that one hiccup of the machine says nothing.
    fn longest(times: &[Duration]) -> Duration {
        let mut times = times.to_vec();
        times.sort();
        times[times.len() - 2]
    }
}

/// Has the cloud send a command every `every`, each of which is replied to at once.
async fn talk(
    broker: &AwsBroker,
    arrivals: &mut mpsc::Receiver<Arrival>,
    queue: &Queue,
    replies: &Arc<Route>,
    every: Duration,
) -> Taken {
    let before = broker.record().arrivals.len();
    let (mut commands, mut sent) = (Vec::new(), Vec::new());
    for number in 0..COMMANDS {
        tokio::time::sleep(every).await;
        let begun = Instant::now();
        broker.publish(Message { topic: "to/robot1/go".into(), payload: "{}".into(), ..Message::default() });
        let arrival = timeout(PATIENCE, arrivals.recv()).await.expect("no command arrives").unwrap();
        commands.push(begun.elapsed());
        arrival.taken();
        let payload = Correlated::join(Some(&[7]), format!("{number}").as_bytes()).unwrap();
        let now = Instant::now();
        sent.push(now);
        replies.counters.count_received();
        assert!(queue.admit(Record { route: replies.clone(), payload, received_ns: 0, expires: now + HOUR }, now));
    }
    let came = || {
        let arrivals = broker.record().arrivals;
        let of_replies = arrivals[before..].iter().filter(|arrival| arrival.topic == replies.mqtt);
        of_replies.map(|arrival| arrival.at).collect::<Vec<_>>()
    };
    let all = async {
        while came().len() < COMMANDS {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, all).await.expect("a reply does not arrive");
    let replies = came().into_iter().zip(&sent).map(|(came, sent)| came.saturating_duration_since(*sent)).collect();
    Taken { commands, replies }
}

/// Beside a backlog that leaves at the quota of publishes, and beside one at that of bytes: commands reach their handler as
/// they do without one, replies leave before the backlog, within the time that the quotas ask for between two publishes, and no
/// telemetry is lost.
#[tokio::test(flavor = "multi_thread")]
async fn commands_and_replies_beside_telemetry_at_full_quota() {
    let mut scene = Scene::set().await;
    let broker = AwsBroker::start(&scene.authority, Limits::documented()).await;
    scene.aws.port = broker.port;
    scene.mqtt.version = MqttVersion::V5;
    scene.mqtt.quotas = Quotas { publishes_per_second: Some(100), bytes_per_second: Some(512 << 10), in_flight: 100 };
    let queue = scene.queue.clone();
    let (mut uplink, mut state) =
        Uplink::new(scene.aws.clone(), scene.mqtt.clone(), queue.clone(), Arc::default()).unwrap();
    let (subscriptions, mut arrivals) = uplink.listen(10);
    subscriptions.set(vec![Subscription { filter: "to/{thing}/go".into(), qos: Qos::AtMostOnce }]);
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(uplink.run(async { _ = stopped.await }));
    timeout(PATIENCE, state.wait_for(UplinkState::is_connected)).await.unwrap().unwrap();
    let replies = Arc::into_inner(packed(&route(9, Qos::AtLeastOnce), Packing::of_replies())).unwrap();
    let replies = Arc::new(Route { priority: Priority::High, ..replies });

    let idle = talk(&broker, &mut arrivals, &queue, &replies, Duration::from_millis(20)).await;
    let mut telemetry = 0;
    for (name, records, bytes, between) in [("publishes", 500, 200, 10), ("bytes", 20, 120_000, 250)] {
        let now = Instant::now();
        for number in 0..records {
            let route = scene.routes[number % scene.routes.len()].clone();
            let payload = Bytes::from(format!("{}{number}", " ".repeat(bytes)));
            route.counters.count_received();
            assert!(queue.admit(Record { route, payload, received_ns: 0, expires: now + HOUR }, now));
        }
        telemetry += records as u64;
        let busy = talk(&broker, &mut arrivals, &queue, &replies, Duration::from_millis(100)).await;
        let left: u64 = scene.routes.iter().map(|route| route.counters.queued()).sum();
        assert!(left > 0, "the backlog was over too soon");
        let (commands, idle_commands) = (Taken::longest(&busy.commands), Taken::longest(&idle.commands));
        let (answers, idle_answers) = (Taken::longest(&busy.replies), Taken::longest(&idle.replies));
        println!("{name}: commands {commands:?}, idle {idle_commands:?}; replies {answers:?}, idle {idle_answers:?}");
        let slack = 10 * idle_commands.max(idle_answers);
        assert!(commands < Duration::from_millis(50) + slack, "{name}: {commands:?}, idle {idle_commands:?}");
        let between = Duration::from_millis(between);
        assert!(answers < between + BURST + slack, "{name}: {answers:?}, idle {idle_answers:?}");
    }
    let all = async {
        while !queue.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, all).await.expect("the backlog does not leave");
    let _ = stop.send(());
    assert_eq!(timeout(PATIENCE, running).await.unwrap().unwrap(), 0);
    let acknowledged: u64 = scene.routes.iter().map(|route| route.counters.acknowledged()).sum();
    assert_eq!((acknowledged, replies.counters.acknowledged()), (telemetry, 3 * COMMANDS as u64));
    let record = broker.record();
    assert_eq!((record.violations(), record.delayed, state.borrow().connections), (vec![], 0, 1));
}
