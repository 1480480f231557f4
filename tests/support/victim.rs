//! A process with a queue on a disk, to be killed: the test's own program, started once more.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use iot_bridge_core::config::{
    Aws, Mqtt, MqttVersion, Overflow, Priority, Qos, Queue as QueueSettings, QueueDurability, Quotas, Reconnect,
};
use iot_bridge_core::queue::disk::survey::go_on;
use iot_bridge_core::queue::{DiskThread, Queue, Record, Route};
use iot_bridge_core::tally::{DropReason, Heartbeat};
use iot_bridge_core::topics::Registry;
use iot_bridge_core::uplink::Uplink;

use super::itself;
use rand::Rng;
use serde::{Deserialize, Serialize};

/// Set in the process that is a victim.
const ORDERS: &str = "IOT_BRIDGE_TEST_VICTIM";

/// What begins a line on standard error that is a report.
const REPORT: &str = "report ";

/// Topics that records are admitted for in turn.
pub const TOPICS: u64 = 5;

/// Most records that a victim has admitted beyond its last report.
pub const BURST: u64 = 40;

/// Most records that are in flight.
pub const WINDOW: usize = 100;

/// What a victim is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Orders {
    pub directory: PathBuf,
    pub durability: QueueDurability,
    pub sync: Duration,
    /// The number of the first record that it admits.
    pub first: u64,
    /// It admits one for each topic, and ends when its queue is empty; else it goes on until it is killed.
    pub is_last: bool,
    /// To where its records go: the broker's port, and where the certificates are. Nothing: it leases and acknowledges
    /// some of them itself.
    pub broker: Option<(u16, PathBuf)>,
}

/// What a victim says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The number that the next record admitted gets.
    pub next: u64,
    /// None of those before was in memory only, at one moment.
    pub all_durable: bool,
    /// What it acknowledges next, itself.
    pub acknowledged: Vec<u64>,
    /// When, by [`clock`].
    pub at: Duration,
}

/// A clock that all processes share.
pub fn clock() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::try_from(now).unwrap()
}

/// The running victim.
pub struct Victim {
    child: Child,
    reports: JoinHandle<Vec<Report>>,
}

impl Victim {
    /// Starts a victim from the test function called `test`, which has to begin with [`obey`].
    pub fn start(test: &str, orders: &Orders) -> Victim {
        let mut child = Command::new(itself::program())
            .args(itself::arguments(test))
            .env(ORDERS, serde_json::to_string(orders).unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let reports = std::thread::spawn(move || {
            let mut reports = Vec::new();
            for line in stderr.lines().map_while(Result::ok) {
                match line.strip_prefix(REPORT) {
                    Some(report) => reports.push(serde_json::from_str(report).unwrap()),
                    None => eprintln!("    victim: {line}"),
                }
            }
            reports
        });
        Victim { child, reports }
    }

    /// SIGKILL. Returns what it has said.
    pub fn kill(mut self) -> Vec<Report> {
        assert!(self.child.try_wait().unwrap().is_none(), "the victim has ended by itself");
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.reports.join().unwrap()
    }

    /// Waits for its end.
    pub fn join(mut self) {
        let ended = self.child.wait().unwrap();
        assert!(ended.success(), "{ended}");
    }
}

/// In a victim's process, does what was ordered, and answers true in the end. Else answers false at once.
pub fn obey() -> bool {
    let Some(orders) = std::env::var_os(ORDERS) else { return false };
    let orders: Orders = serde_json::from_str(orders.to_str().unwrap()).unwrap();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::WARN).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (queue, worker) = open(&orders.directory, orders.durability, orders.sync);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let uplink = orders.broker.as_ref().map(|(port, certificates)| {
        let uplink = Uplink::new(aws(*port, certificates), mqtt(), queue.clone(), Arc::<Heartbeat>::default());
        runtime.spawn(uplink.unwrap().0.run(async {
            let _ = stopped.await;
        }))
    });
    if !orders.is_last {
        live(&queue, orders.first, orders.broker.is_none());
    }
    (orders.first..orders.first + TOPICS).for_each(|number| admit(&queue, &route(number % TOPICS), number));
    while !queue.is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(stop);
    if let Some(uplink) = uplink {
        runtime.block_on(uplink).unwrap();
    }
    worker.close();
    true
}

/// Admits records in bursts without end.
fn live(queue: &Queue, first: u64, acknowledges: bool) -> ! {
    let routes: Vec<_> = (0..TOPICS).map(route).collect();
    let mut next = first;
    loop {
        for _ in 0..rand::thread_rng().gen_range(1..BURST) {
            admit(queue, &routes[(next % TOPICS) as usize], next);
            next += 1;
        }
        let some = if acknowledges { rand::thread_rng().gen_range(0..30) } else { 0 };
        let leases: Vec<_> = std::iter::from_fn(|| queue.lease(Instant::now())).take(some).collect();
        // Before it is done, since the end may come between.
        let acknowledged = leases.iter().map(|lease| number_in(&lease.record.payload)).collect();
        report(&Report { next, all_durable: false, acknowledged, at: clock() });
        leases.iter().for_each(|lease| assert!(queue.acknowledge(lease.id)));
        // Now and then it waits for the disk to catch up.
        let patience = Instant::now() + Duration::from_secs(u64::from(rand::random::<u8>() < 50) * 2);
        while Instant::now() < patience {
            if queue.figures().memory_only() == 0 {
                report(&Report { next, all_durable: true, acknowledged: Vec::new(), at: clock() });
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(rand::random::<u64>() % 20));
    }
}

/// In one write, so that none is seen in part.
fn report(report: &Report) {
    let line = format!("{REPORT}{}\n", serde_json::to_string(report).unwrap());
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// Of the process, as in the bridge.
static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::default);

/// Opens the queue in `directory`.
pub fn open(directory: &Path, durability: QueueDurability, sync: Duration) -> (Arc<Queue>, DiskThread) {
    let settings = QueueSettings {
        disk: 32 << 20,
        directory: directory.to_owned(),
        durability,
        sync,
        ..QueueSettings::in_memory(8 << 20, Overflow::DropOldest)
    };
    let find = |ros: &str, mqtt: &str| REGISTRY.topic(ros, mqtt);
    let (queue, worker) = Queue::open(&settings, WINDOW, Arc::new(find), &mut go_on).unwrap();
    (Arc::new(queue), worker.unwrap())
}

/// The number in a record's payload, which has to be whole.
pub fn number_in(payload: &[u8]) -> u64 {
    assert_eq!(payload.len(), 200, "{payload:?}");
    std::str::from_utf8(payload).unwrap().trim_start().parse().unwrap()
}

fn admit(queue: &Queue, route: &Arc<Route>, number: u64) {
    let now = Instant::now();
    route.counters.count_received();
    let received_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64;
    let payload = Bytes::from(format!("{number:200}"));
    let expires = now + Duration::from_secs(3600);
    assert!(queue.admit(Record { route: route.clone(), payload, received_ns, expires }, now));
    for reason in DropReason::ALL {
        assert_eq!(route.counters.dropped(reason), 0, "{reason:?}: {:?}", queue.figures());
    }
}

fn route(topic: u64) -> Arc<Route> {
    Arc::new(Route {
        topic: REGISTRY.topic(&format!("/topic{topic}"), &format!("robots/robot1/topic{topic}")),
        qos: Qos::AtLeastOnce,
        retain: false,
        priority: Priority::Normal,
        packing: Default::default(),
    })
}

fn aws(port: u16, certificates: &Path) -> Aws {
    Aws {
        endpoint: "localhost".into(),
        port,
        thing: "robot1".into(),
        client_id: "robot1".into(),
        certificate: certificates.join("robot1.cert.pem"),
        private_key: certificates.join("robot1.private.key"),
        root_ca: Some(certificates.join("rootCA.crt")),
        provisioning: None,
    }
}

fn mqtt() -> Mqtt {
    Mqtt {
        version: MqttVersion::V3_1_1,
        keep_alive: Duration::from_secs(30),
        ack_timeout: Duration::from_secs(20),
        reconnect: Reconnect {
            initial: Duration::from_millis(50),
            max: Duration::from_millis(200),
            stable_after: Duration::from_secs(30),
        },
        quotas: Quotas { publishes_per_second: None, bytes_per_second: None, in_flight: WINDOW },
        last_will: None,
        presence: None,
        proxy: None,
    }
}
