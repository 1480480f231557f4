//! Everything that an uplink needs around it: a broker, a link to it, an observer, certificates and a queue.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use iot_bridge_core::config::{
    Aws, Mqtt, MqttVersion, Overflow, Priority, Qos, Queue as QueueSettings, Quotas, Reconnect,
};
use iot_bridge_core::mqtt::FaultKind;
use iot_bridge_core::packing::{Batch, Packing};
use iot_bridge_core::queue::{Queue, Record, Route};
use iot_bridge_core::tally::Heartbeat;
use iot_bridge_core::topics::Registry;
use iot_bridge_core::uplink::{Uplink, UplinkState};
use tempfile::TempDir;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::certificates::{Authority, IdentityFiles, Valid};
use super::link::Link;
use super::mosquitto::Mosquitto;
use super::observer::Observer;

/// Longest wait for what has to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Topics that records are admitted for in turn.
pub const TOPICS: usize = 5;

pub struct Scene {
    pub authority: Authority,
    pub mosquitto: Mosquitto,
    pub link: Link,
    pub observer: Observer,
    pub queue: Arc<Queue>,
    pub heartbeat: Arc<Heartbeat>,
    pub routes: Vec<Arc<Route>>,
    pub directory: TempDir,
    /// The bridge's own certificate and key.
    pub files: IdentityFiles,
    pub aws: Aws,
    pub mqtt: Mqtt,
    /// First receipts of each topic.
    received: [usize; TOPICS],
    duplicates: usize,
}

/// An uplink that runs.
pub struct Running {
    pub state: watch::Receiver<UplinkState>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<u64>,
}

impl Scene {
    /// The broker runs, the link is open, the observer has subscribed; no uplink runs yet.
    pub async fn set() -> Self {
        let authority = Authority::new("Test CA");
        let mosquitto = Mosquitto::start(&authority);
        Self::set_with(authority, mosquitto).await
    }

    /// As [`Scene::set`], with a broker of the test's, which lets the observer in.
    pub async fn set_with(authority: Authority, mosquitto: Mosquitto) -> Self {
        let mut scene = Self::set_unobserved(authority, mosquitto).await;
        scene.observer.subscribe(scene.mosquitto.port()).await;
        scene
    }

    /// As [`Scene::set_with`], without a subscription.
    pub async fn set_unobserved(authority: Authority, mosquitto: Mosquitto) -> Self {
        let link = Link::open(mosquitto.port()).await;
        let directory = tempfile::tempdir().unwrap();
        let files = authority.issue(&["robot1"], Valid::Now).write(directory.path(), "robot1");
        let root_ca = directory.path().join("rootCA.crt");
        std::fs::write(&root_ca, &authority.pem).unwrap();
        let aws = Aws {
            endpoint: "localhost".into(),
            port: link.port(),
            thing: "robot1".into(),
            client_id: "robot1".into(),
            certificate: files.certificate.clone(),
            private_key: files.private_key.clone(),
            root_ca: Some(root_ca),
            provisioning: None,
        };
        let mqtt = Mqtt {
            version: MqttVersion::V3_1_1,
            keep_alive: Duration::from_secs(30),
            ack_timeout: Duration::from_secs(20),
            reconnect: Reconnect {
                initial: Duration::from_millis(100),
                max: Duration::from_secs(1),
                stable_after: Duration::from_secs(30),
            },
            quotas: Quotas { publishes_per_second: None, bytes_per_second: None, in_flight: 100 },
            last_will: None,
            presence: None,
            proxy: None,
        };
        let queue = Self::empty_queue();
        let routes = (0..TOPICS).map(|topic| route(topic, Qos::AtLeastOnce)).collect();
        let observer = Observer::new(&authority);
        let heartbeat = Arc::default();
        let (received, duplicates) = ([0; TOPICS], 0);
        Scene {
            authority,
            mosquitto,
            link,
            observer,
            queue,
            heartbeat,
            routes,
            directory,
            files,
            aws,
            mqtt,
            received,
            duplicates,
        }
    }

    /// A queue of 32 MiB.
    pub fn empty_queue() -> Arc<Queue> {
        Arc::new(Queue::in_memory(&QueueSettings::in_memory(32 << 20, Overflow::DropOldest)))
    }

    /// Starts an uplink with the scene's settings.
    pub fn run(&self) -> Running {
        self.run_as(&self.aws, self.queue.clone())
    }

    /// Starts an uplink for another client or queue.
    pub fn run_as(&self, aws: &Aws, queue: Arc<Queue>) -> Running {
        let (uplink, state) = Uplink::new(aws.clone(), self.mqtt.clone(), queue, self.heartbeat.clone()).unwrap();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        Running { state, stop, task: tokio::spawn(uplink.run(shutdown)) }
    }

    /// Admits the record number `number`: each topic gets every fifth, and the payload says which it is.
    pub fn admit(&self, number: usize) {
        admit(&self.queue, &self.routes, number);
    }

    /// Admits `count` records at `rate` a second from a thread of its own, as ROS does.
    pub fn admit_at(&self, rate: u32, count: usize) -> std::thread::JoinHandle<()> {
        let (queue, routes) = (self.queue.clone(), self.routes.clone());
        std::thread::spawn(move || {
            let start = Instant::now();
            for number in 0..count {
                let due = start + Duration::from_secs(number as u64) / rate;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                admit(&queue, &routes, number);
            }
        })
    }

    /// Waits until `count` records have arrived since the scene was set. First receipts have to be in order within
    /// each topic. Returns how many arrived twice so far.
    pub async fn receive(&mut self, count: usize) -> usize {
        while self.received.iter().sum::<usize>() < count {
            let (topic, payload) = self.observer.next().await;
            let topic: usize = topic.strip_prefix("robots/robot1/topic").unwrap().parse().unwrap();
            for number in numbers_in(&payload) {
                assert_eq!(number % TOPICS, topic);
                let expected = self.received[topic] * TOPICS + topic;
                assert!(number <= expected, "{number} arrived before {expected}");
                if number == expected {
                    self.received[topic] += 1;
                } else {
                    self.duplicates += 1;
                }
            }
        }
        self.duplicates
    }

    /// Waits until every record was acknowledged, and checks that `count` were and none was dropped.
    pub async fn acknowledged(&self, count: usize) {
        let all = async {
            while !self.queue.is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, all).await.expect("the queue does not empty");
        let acknowledged: u64 = self.routes.iter().map(|route| route.counters.acknowledged()).sum();
        let dropped: u64 = self.routes.iter().map(|route| route.counters.dropped_in_all()).sum();
        assert_eq!((acknowledged, dropped), (count as u64, 0));
    }
}

impl Running {
    /// Waits until the state is as `wanted`; answers it.
    pub async fn state(&mut self, wanted: impl FnMut(&UplinkState) -> bool) -> UplinkState {
        let state = timeout(PATIENCE, self.state.wait_for(wanted)).await;
        state.expect("the state does not come").expect("the uplink has ended").clone()
    }

    /// Waits until the broker has accepted `connections` connections.
    pub async fn connected(&mut self, connections: u64) -> UplinkState {
        self.state(|state| state.is_connected() && state.connections >= connections).await
    }

    /// Waits until the last fault is of `kind`; answers its sentence.
    pub async fn fault(&mut self, kind: FaultKind) -> String {
        let is = |state: &UplinkState| state.last_fault.as_ref().is_some_and(|(fault, _)| fault.kind == kind);
        self.state(is).await.last_fault.unwrap().0.sentence
    }

    /// Stops the uplink; answers how many records it left.
    pub async fn stop(self) -> u64 {
        let _ = self.stop.send(());
        timeout(PATIENCE, self.task).await.expect("the uplink does not stop").expect("the uplink has panicked")
    }
}

const HOUR: Duration = Duration::from_secs(3600);

/// The route of `/topic<topic>`.
pub fn route(topic: usize, qos: Qos) -> Arc<Route> {
    Arc::new(Route {
        topic: Registry::default().topic(&format!("/topic{topic}"), &format!("robots/robot1/topic{topic}")),
        qos,
        retain: false,
        priority: Priority::Normal,
        packing: Default::default(),
    })
}

/// As `route`, with its records packed like this.
pub fn packed(route: &Route, packing: Packing) -> Arc<Route> {
    Arc::new(Route {
        topic: route.topic.clone(),
        qos: route.qos,
        retain: route.retain,
        priority: route.priority,
        packing,
    })
}

/// Batches of at most `max` records that wait for no others.
pub fn batches(max: usize) -> Packing {
    Packing { batch: Some(Batch { max, linger: Duration::ZERO }), ..Packing::default() }
}

/// The numbers in a payload: of one record, or of a batch.
pub fn numbers_in(payload: &[u8]) -> Vec<usize> {
    match payload.first() {
        Some(b'[') => serde_json::from_slice(payload).unwrap(),
        _ => vec![serde_json::from_slice(payload).unwrap()],
    }
}

/// Admits a record of 200 bytes that holds its number.
pub fn admit(queue: &Queue, routes: &[Arc<Route>], number: usize) {
    let now = Instant::now();
    let route = &routes[number % routes.len()];
    route.counters.count_received();
    let received_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64;
    let payload = Bytes::from(format!("{number:200}"));
    assert!(queue.admit(Record { route: route.clone(), payload, received_ns, expires: now + HOUR }, now));
}
