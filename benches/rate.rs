//! What a topic of 1,000 messages a second costs with `rate = "1 Hz"`, beside a process that drops all it receives.
//!
//! `cargo bench --bench rate` starts both at once, on the same publisher, and prints the processor time of each and their
//! ratio: what holds messages back before they are decoded should be next to nothing.

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

const TOPIC: &str = "/imu";
const TYPE: &str = "std_msgs/msg/String";
const RATE: u32 = 1000;
const SECONDS: u64 = 10;
const ROUNDS: usize = 3;

/// Says which part this process plays; the one that measures starts the others.
const ROLE: &str = "RATE_BENCH_ROLE";

fn main() {
    match env::var(ROLE).as_deref() {
        Ok("robot") => robot(),
        Ok("receive-only") => receive(Floor),
        Ok(_) => {
            let queue = Arc::new(Queue::in_memory(&config::Queue::in_memory(4 << 20, Overflow::DropOldest)));
            let topic = config::Topic { rate: Some(1.0), ..topic() };
            let health = Arc::new(Topics::default().enter(&topic.ros, &topic.mqtt, |_| false));
            let topics = [(&topic, &health)].into_iter();
            receive(Reception::new("robot1", topics, queue, Arc::new(Heartbeat::new())));
        }
        Err(_) => measure(),
    }
}

fn topic() -> config::Topic {
    default_topic("robot1", TOPIC).unwrap()
}

fn robot() {
    let publisher = Publisher::create(&Arc::new(Node::create("robot", "").unwrap()), TOPIC, TYPE).unwrap();
    // 200 bytes of text.
    let message = [&[0, 1, 0, 0, 201, 0, 0, 0][..], &[b'x'; 200], &[0]].concat();
    println!("ready");
    let start = Instant::now();
    for number in 0.. {
        thread::sleep((Duration::from_secs(1) / RATE * number).saturating_sub(start.elapsed()));
        publisher.publish(&message).unwrap();
    }
}

/// Receives until nobody wants it any more.
fn receive(receiver: impl Receiver + 'static) {
    let _thread = ros::spawn(Node::create("receiver", "").unwrap(), vec![wanted(&topic())], receiver).unwrap();
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
    fn start(role: &str) -> Part {
        let mut command = Command::new(env::current_exe().unwrap());
        command.env(ROLE, role).stdin(Stdio::piped()).stdout(Stdio::piped());
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
    println!("| processor time a message | receive-only | `rate = \"1 Hz\"` | ratio |\n| --- | --: | --: | --: |");
    for round in 1..=ROUNDS {
        let (robot, floor, bridge) = (Part::start("robot"), Part::start("receive-only"), Part::start("rate"));
        // DDS may take seconds until all have found each other.
        thread::sleep(Duration::from_secs(6));
        let before = [&floor, &bridge].map(Part::used);
        thread::sleep(Duration::from_secs(SECONDS));
        let used = [floor.used() - before[0], bridge.used() - before[1]].map(|used| used.as_secs_f64());
        let each = used.map(|used| used * 1e6 / (SECONDS * u64::from(RATE)) as f64);
        println!("| round {round} | {:.1} µs | {:.1} µs | {:.2} |", each[0], each[1], used[1] / used[0]);
        io::stdout().flush().unwrap();
        drop(robot);
    }
}
