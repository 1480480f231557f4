//! What messages cost that do not travel, beside a process that drops all it receives: those of a topic of 1,000 a second with
//! `rate = "1 Hz"`, and large ones that never fit.
//!
//! `cargo bench --bench rate` starts both at once, on the same publisher, and prints the processor time of each and their
//! ratio: what is held back, or can't be sent, should cost next to nothing.

#[path = "../tests/support"]
mod support {
    pub mod domain;
}

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use iot_bridge::bridge::{Reception, wanted};
use iot_bridge::health::Topics;
use iot_bridge::ros::{self, Node, Publisher, Receiver, Sample, Silence, TopicState};
use iot_bridge_core::codec::Schema;
use iot_bridge_core::config::{self, Overflow, default_topic};
use iot_bridge_core::queue::Queue;
use iot_bridge_core::tally::Heartbeat;

const TOPIC: &str = "/measured";
const SECONDS: u64 = 10;
const ROUNDS: usize = 3;

/// Says which part this process plays, and in which case; the one that measures starts the others.
const ROLE: &str = "RATE_BENCH_ROLE";

/// What is measured.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    type_name: &'static str,
    /// Messages a second.
    rate: u32,
    /// Bytes of the text, or of the cloud's points.
    bytes: usize,
    configure: fn(&mut config::Topic),
}

const CASES: [Case; 3] = [
    Case {
        name: "texts of 200 bytes at 1,000 Hz, `rate = \"1 Hz\"`",
        type_name: "std_msgs/msg/String",
        rate: 1000,
        bytes: 200,
        configure: |topic| topic.rate = Some(1.0),
    },
    Case {
        name: "clouds of 1 MiB at 10 Hz",
        type_name: "sensor_msgs/msg/PointCloud2",
        rate: 10,
        bytes: 1 << 20,
        configure: |_| {},
    },
    Case {
        name: "clouds of 700 KiB at 10 Hz, `compression = \"zstd\"`",
        type_name: "sensor_msgs/msg/PointCloud2",
        rate: 10,
        bytes: 700 << 10,
        configure: |topic| topic.compression = Some(config::Encoding::Zstd),
    },
];

fn main() {
    let Ok(role) = env::var(ROLE) else { return measure() };
    let (role, case) = role.split_once(' ').unwrap();
    let case = CASES[case.parse::<usize>().unwrap()];
    match role {
        "robot" => robot(case),
        "receive-only" => receive(&case, Floor),
        _ => {
            let queue = Arc::new(Queue::in_memory(&config::Queue::in_memory(4 << 20, Overflow::DropOldest)));
            let topic = topic(&case);
            let health = Arc::new(Topics::default().enter(&topic.ros, &topic.mqtt, |_| false));
            let topics = [(&topic, &health)].into_iter();
            receive(&case, Reception::new("robot1", topics, queue, Arc::new(Heartbeat::new())));
        }
    }
}

fn topic(case: &Case) -> config::Topic {
    let mut topic = default_topic("robot1", TOPIC).unwrap();
    (case.configure)(&mut topic);
    topic
}

/// The message of a case, as CDR. What is in it can't be compressed.
fn message(case: &Case) -> Vec<u8> {
    let mut noise = 1u64;
    let noise = std::iter::repeat_with(move || {
        noise = noise.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (noise >> 56) as u8
    });
    let numbers = |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>();
    let length = case.bytes as u32;
    match case.type_name {
        "std_msgs/msg/String" => {
            let text = noise.map(|byte| b'a' + byte % 26).take(case.bytes);
            [0, 1, 0, 0].into_iter().chain(numbers(&[length + 1])).chain(text).chain([0]).collect()
        }
        _ => {
            // Time stamp, an empty frame id with its NUL in four bytes, height, width, no fields, `is_bigendian`, two steps,
            // the length of the data; and `is_dense` behind it.
            let head = numbers(&[1, 2, 1, 0, 1, length / 16, 0, 0, 16, length, length]);
            [0, 1, 0, 0].into_iter().chain(head).chain(noise.take(case.bytes)).chain([1]).collect()
        }
    }
}

fn robot(case: Case) {
    let node = Arc::new(Node::create("robot", "").unwrap());
    let publisher = Publisher::create(&node, TOPIC, case.type_name).unwrap();
    let message = message(&case);
    println!("ready");
    let start = Instant::now();
    for number in 0.. {
        thread::sleep((Duration::from_secs(1) / case.rate * number).saturating_sub(start.elapsed()));
        publisher.publish(&message).unwrap();
    }
}

/// Receives until nobody wants it any more.
fn receive(case: &Case, receiver: impl Receiver + 'static) {
    let _thread = ros::spawn(Node::create("receiver", "").unwrap(), vec![wanted(&topic(case))], receiver).unwrap();
    println!("ready");
    let _ = io::stdin().read(&mut [0]);
}

/// Drops what it receives.
struct Floor;

impl Receiver for Floor {
    fn opened(&mut self, _: usize, _: &Arc<Schema>) {}
    fn received(&mut self, _: usize, _: &Sample<'_>) {}
    fn unreadable(&mut self, _: usize) {}
    fn lost(&mut self, _: usize, _: u64) {}
    fn refused(&mut self, _: usize, _: &'static str, _: u64) {}
    fn changed(&mut self, _: usize, _: TopicState) {}
    fn silent(&mut self, _: usize, _: Option<Silence>) {}
    fn turned(&mut self) {}
}

/// Another part, which ends with this.
struct Part(Child);

impl Part {
    /// Starts it, and waits until it is ready.
    fn start(role: &str, case: usize) -> Part {
        let mut command = Command::new(env::current_exe().unwrap());
        command.env(ROLE, format!("{role} {case}")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let ready = BufReader::new(child.stdout.take().unwrap()).lines().next();
        assert_eq!(ready.unwrap().unwrap(), "ready");
        Part(child)
    }

    /// What all its threads have used so far.
    fn used(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap();
        let ran = |task: fs::DirEntry| -> Option<u64> {
            fs::read_to_string(task.path().join("schedstat")).ok()?.split(' ').next()?.parse().ok()
        };
        Duration::from_nanos(tasks.flatten().filter_map(ran).sum())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn measure() {
    support::domain::enter();
    println!("| processor time a message | receive-only | the bridge | ratio |\n| --- | --: | --: | --: |");
    for (at, case) in CASES.iter().enumerate() {
        for _ in 0..ROUNDS {
            let [robot, floor, bridge] = ["robot", "receive-only", "bridge"].map(|role| Part::start(role, at));
            // DDS may take seconds until all have found each other, and the bridge ten messages to know that none fits.
            thread::sleep(Duration::from_secs(6));
            let before = [&floor, &bridge].map(Part::used);
            thread::sleep(Duration::from_secs(SECONDS));
            let used = [floor.used() - before[0], bridge.used() - before[1]].map(|used| used.as_secs_f64());
            let each = used.map(|used| used * 1e6 / (SECONDS * u64::from(case.rate)) as f64);
            println!("| {} | {:.1} µs | {:.1} µs | {:.2} |", case.name, each[0], each[1], used[1] / used[0]);
            io::stdout().flush().unwrap();
            drop(robot);
        }
    }
}
