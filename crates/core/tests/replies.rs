//! Replies to what the cloud has asked, on their way through the queue to a broker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::aws_broker::{AwsBroker, Limits};
use crate::support::scene::Scene;
use iot_bridge_core::config::{MqttVersion, Overflow, Priority, Qos, Queue as QueueSettings, QueueDurability};
use iot_bridge_core::packing::{Correlated, MOST_CORRELATION, Packing};
use iot_bridge_core::queue::disk::survey::go_on;
use iot_bridge_core::queue::{DiskThread, Queue, Record, Route};
use iot_bridge_core::topics::Registry;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn open(settings: &QueueSettings, registry: &Arc<Registry>) -> (Arc<Queue>, DiskThread) {
    let registry = Arc::clone(registry);
    let topics = Arc::new(move |ros: &str, mqtt: &str| registry.topic(ros, mqtt));
    let (queue, thread) = Queue::open(settings, 100, topics, &mut go_on).unwrap();
    (Arc::new(queue), thread.unwrap())
}

/// A reply brings back the correlation data of its request, as JSON and with the time for which it is of use, also after a
/// restart, from the disk. In MQTT 3.1.1, which has no place for it, its payload arrives without.
#[tokio::test(flavor = "multi_thread")]
async fn replies_bring_the_correlation_data_back() {
    let mut scene = Scene::set().await;
    let broker = AwsBroker::start(&scene.authority, Limits::without_rates()).await;
    scene.aws.port = broker.port;
    let settings = QueueSettings {
        disk: 16 << 20,
        durability: QueueDurability::Always,
        directory: scene.directory.path().join("queue"),
        ..QueueSettings::in_memory(4 << 20, Overflow::DropOldest)
    };
    let data: [Option<&[u8]>; 4] = [Some(&[0, 0xff, 0x80]), None, Some(&[]), Some(&[7; MOST_CORRELATION])];
    for version in [MqttVersion::V5, MqttVersion::V3_1_1] {
        scene.mqtt.version = version;
        let registry = Arc::new(Registry::default());
        let (queue, thread) = open(&settings, &registry);
        for (number, data) in data.iter().enumerate() {
            let topic = format!("cloud/answers/{number}");
            let route = Arc::new(Route {
                topic: registry.topic(&topic, &topic),
                qos: Qos::AtLeastOnce,
                retain: false,
                priority: Priority::High,
                packing: Packing::of_replies(),
            });
            let payload = Correlated::join(*data, format!("{{\"id\":{number}}}").as_bytes()).unwrap();
            route.counters.count_received();
            let record = Record { route, payload, received_ns: 0, expires: Instant::now() + HOUR };
            assert!(queue.admit(record, Instant::now()));
        }
        thread.close();
        let (queue, thread) = open(&settings, &Arc::new(Registry::default()));
        assert_eq!(queue.figures().queued(), 4);
        let before = broker.record().arrivals.len();
        let mut running = scene.run_as(&scene.aws, queue.clone());
        running.connected(1).await;
        let sent = async {
            while !queue.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, sent).await.expect("a reply is not acknowledged");
        running.stop().await;
        thread.close();
        let record = broker.record();
        assert_eq!((record.violations(), record.arrivals.len() - before), (vec![], 4));
        for (number, data) in data.iter().enumerate() {
            let topic = format!("cloud/answers/{number}");
            let arrival = record.arrivals[before..].iter().find(|arrival| arrival.topic == topic).unwrap();
            assert_eq!(arrival.payload, format!("{{\"id\":{number}}}"), "{version:?}");
            let found = &arrival.properties;
            let expires = found.message_expiry.is_some();
            let found = (found.content_type.as_deref(), found.correlation_data.as_deref(), expires);
            let in_mqtt5 = (Some("application/json"), *data, true);
            let expected = if version == MqttVersion::V5 { in_mqtt5 } else { (None, None, false) };
            assert_eq!(found, expected, "{version:?}, reply {number}");
        }
    }
}
