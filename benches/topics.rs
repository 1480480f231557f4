//! What topics cost on which nothing happens: the whole program with 10 to 3,000 topics, of which one gets 200 messages a
//! second, from a robot that publishes all of them, to a real broker with mutual TLS.
//!
//! `cargo bench --bench topics -- 10 1000` measures these numbers of topics. For each it prints, of the bridge's process:
//! how long it takes until all are subscribed; wake-ups and processor time a second while nothing comes; processor time a
//! message; the longest pause of the busy topic while a reload changes another one; messages lost in DDS; and its memory (PSS), with what a
//! program takes that only subscribes to the same topics.

#[path = "../tests/support"]
#[allow(dead_code, reason = "shared by tests that need different parts of it")]
mod support {
    pub mod certificates;
    pub mod domain;
    pub mod itself;
    pub mod link;
    pub mod mosquitto;
    pub mod observer;
    pub mod port;
    pub mod program;
    pub mod stage;
}

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use iot_bridge::health::report::State;
use iot_bridge::ros::{Node, Publisher};
use support::program::Program;
use support::stage::Stage;

const COUNTS: [usize; 4] = [10, 100, 1000, 3000];
const RATE: u32 = 200;
const SECONDS: u32 = 15;
const TYPE: &str = "std_msgs/msg/String";

/// Says which part this process plays; the one that measures starts the others.
const ROLE: &str = "TOPICS_BENCH_ROLE";

fn name(number: usize) -> String {
    format!("/robot/part{number}/state")
}

fn main() {
    let count = || env::args().nth(1).unwrap().parse().unwrap();
    match env::var(ROLE).as_deref() {
        Ok("robot") => robot(count()),
        Ok(_) => subscriber(count()),
        Err(_) => {
            let counts: Vec<usize> = env::args().filter_map(|count| count.parse().ok()).collect();
            measure(if counts.is_empty() { &COUNTS } else { &counts });
        }
    }
}

/// Publishes nothing on `count` topics but the first, and there when told to.
fn robot(count: usize) {
    let node = Arc::new(Node::create("robot", "").unwrap());
    let publishers: Vec<_> = (0..count).map(|n| Publisher::create(&node, &name(n), TYPE).unwrap()).collect();
    println!("ready");
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let (start, messages) = (Instant::now(), line.parse::<u32>().unwrap());
        for number in 0..messages {
            thread::sleep((Duration::from_secs(1) / RATE * number).saturating_sub(start.elapsed()));
            publishers[0].publish(b"\0\x01\0\0\x05\0\0\0busy\0").unwrap();
        }
    }
}

/// Subscribes to `count` topics and does nothing more.
fn subscriber(count: usize) {
    let mut node = r2r::Node::create(r2r::Context::create().unwrap(), "subscriber", "").unwrap();
    let _streams: Vec<_> =
        (0..count).map(|n| node.subscribe_raw(&name(n), TYPE, r2r::QosProfile::default()).unwrap()).collect();
    println!("ready");
    let _ = io::stdin().read(&mut [0]);
}

/// Another part, which ends with this.
struct Part(Child);

impl Part {
    /// Starts it, and waits until it is ready.
    fn start(role: &str, count: usize) -> Part {
        let mut command = Command::new(env::current_exe().unwrap());
        command.arg(count.to_string()).env(ROLE, role).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let ready = BufReader::new(child.stdout.take().unwrap()).lines().next();
        assert_eq!(ready.unwrap().unwrap(), "ready");
        Part(child)
    }

    fn publish(&mut self, messages: u32) {
        writeln!(self.0.stdin.as_ref().unwrap(), "{messages}").unwrap();
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What all threads of the process `pid` have used so far: processor time, and how often they went to sleep.
fn used(pid: u32) -> (Duration, u64) {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|task| task.unwrap().path());
    tasks.fold((Duration::ZERO, 0), |(time, sleeps), task| {
        let read = |file: &str| fs::read_to_string(task.join(file)).unwrap_or_default();
        let ran = read("schedstat").split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
        let slept = field(&read("status"), "voluntary_ctxt_switches:");
        (time + Duration::from_nanos(ran), sleeps + slept)
    })
}

/// The share of memory that is the process `pid`'s, in KiB.
fn memory(pid: u32) -> u64 {
    field(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap(), "Pss:")
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn measure(counts: &[usize]) {
    support::domain::enter();
    println!(
        "| topics | all subscribed after | idle: sleeps a second | idle: processor time a second | processor time a \
         message | longest pause in a reload | lost | memory | of a program that only subscribes |"
    );
    println!("| --: | --: | --: | --: | --: | --: | --: | --: | --: |");
    let mut few = None;
    for &count in counts {
        let mut robot = Part::start("robot", count);
        let mut stage = Stage::set().await;
        let topics = |age: &str| -> String {
            let topic = |n| format!("[[topics]]\nros = \"{}\"\npayload = \"data\"\n", name(n));
            (0..count).map(topic).collect::<String>() + "max_age = \"" + age + "\"\n"
        };
        let config = stage.configure(&topics("1 h"));
        let start = Instant::now();
        let mut bridge = Program::start(&config);
        let is_subscribed = |state: &State| matches!(state, State::Subscribed { publishers: 1, .. });
        while !bridge.report().topics.iter().all(|topic| is_subscribed(&topic.state)) {
            assert!(start.elapsed() < Duration::from_secs(600), "not all are subscribed");
            thread::sleep(Duration::from_millis(100));
        }
        let subscribed = start.elapsed();

        // The graph is not at rest before.
        thread::sleep(Duration::from_secs(10));
        let (before, slept) = used(bridge.pid());
        thread::sleep(Duration::from_secs(SECONDS.into()));
        let (after, slept) = (used(bridge.pid()).0, used(bridge.pid()).1 - slept);
        let idle = (after - before) / SECONDS;

        let before = used(bridge.pid()).0;
        robot.publish(RATE * SECONDS);
        let (arrived, _) = arrive(&mut stage, RATE * SECONDS).await;
        let busy = (used(bridge.pid()).0 - before) / arrived;
        let lost = RATE * SECONDS - arrived;

        stage.configure(&topics("2 h"));
        robot.publish(RATE * 10);
        let (arrived, _) = arrive(&mut stage, RATE).await;
        bridge.signal("HUP");
        let (more, pause) = arrive(&mut stage, RATE * 9).await;
        let lost = lost + RATE * 10 - arrived - more;
        bridge.await_log("1 changed");
        let own = memory(bridge.pid());
        bridge.terminate();

        let plain = Part::start("subscriber", count);
        thread::sleep(Duration::from_secs(5));
        let plain = memory(plain.0.id());
        println!(
            "| {count} | {:.1} s | {} | {:.2} ms | {:.1} µs | {} ms | {lost} | {:.1} MiB | {:.1} MiB |",
            subscribed.as_secs_f64(),
            slept / u64::from(SECONDS),
            idle.as_secs_f64() * 1e3,
            busy.as_secs_f64() * 1e6,
            pause.as_millis(),
            own as f64 / 1024.0,
            plain as f64 / 1024.0,
        );
        let (few, few_own, few_plain) = *few.get_or_insert((count, own, plain));
        if count > few {
            let each = |now: u64, then: u64| now.saturating_sub(then) as f64 / (count - few) as f64;
            println!(
                "Memory of one of {count} topics: {:.1} KiB, {:.1} of them without the bridge.",
                each(own, few_own),
                each(plain, few_plain)
            );
        }
    }
}

/// Waits until `messages` have arrived at the broker, or no more do. Returns how many have, and the longest time between
/// two of them.
async fn arrive(stage: &mut Stage, messages: u32) -> (u32, Duration) {
    let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
    for arrived in 0..messages {
        if tokio::time::timeout(Duration::from_secs(10), stage.observer.next()).await.is_err() {
            return (arrived, longest);
        }
        longest = longest.max(last.elapsed());
        last = Instant::now();
    }
    (messages, longest)
}
