//! Thousands of topics, of which a few have messages: what those see of the others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use iot_bridge_core::config::{self, Overflow, Priority, Qos, QueueDurability};
use iot_bridge_core::queue::disk::survey::go_on;
use iot_bridge_core::queue::{Queue, Record, Route};
use iot_bridge_core::topics::Registry;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::support::program::Program;
use crate::support::robot::{Robot, Stream};
use crate::support::stage::Stage;

const TOPICS: usize = 3000;

/// Those that have messages: what is subscribed first, in between and last.
const LIVE: [usize; 3] = [0, TOPICS / 2, TOPICS - 1];

/// Messages a second of each of these.
const RATE: u32 = 50;

/// No topic may stand still for so long.
const STALL: Duration = Duration::from_secs(1);

/// From the start of the process to `READY=1`, on a machine that does other things too.
const READY: Duration = Duration::from_secs(15);

/// Records of each topic that wait on the disk at the restart.
const BACKLOG: usize = 3;

fn name(number: usize) -> String {
    format!("/many/t{number}")
}

fn mqtt(number: usize) -> String {
    format!("robots/robot1{}", name(number))
}

/// All topics, of which number 7 has this `max_age`.
fn topics(max_age: &str) -> String {
    let topic = |number: usize| {
        let max_age = if number == 7 { max_age } else { "1 h" };
        let name = name(number);
        format!(
            "[[topics]]\nros = \"{name}\"\ntype = \"std_msgs/msg/String\"\npayload = \"envelope\"\nmax_age = \"{max_age}\"\n"
        )
    };
    (0..TOPICS).map(topic).collect()
}

/// A live message at the broker.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    at: Instant,
    /// When DDS had received it, in nanoseconds since 1970.
    received: u64,
    /// What its publisher has counted.
    number: usize,
}

/// What has arrived, by the numbers of the topics.
#[derive(Default)]
struct Arrived {
    live: BTreeMap<usize, Vec<Arrival>>,
    /// Records that waited on the disk, as they came.
    backlog: BTreeMap<usize, Vec<usize>>,
}

/// Notes the time of each message when it comes, whatever the test waits for meanwhile.
fn note_arrivals(stage: &mut Stage) -> Arc<Mutex<Arrived>> {
    let (_, mut messages) = mpsc::unbounded_channel::<(String, Bytes)>();
    stage.observer.watch(&mut messages);
    let arrived = Arc::<Mutex<Arrived>>::default();
    let noted = Arc::clone(&arrived);
    tokio::spawn(async move {
        while let Some((topic, payload)) = messages.recv().await {
            let at = Instant::now();
            let topic: usize = topic.strip_prefix("robots/robot1/many/t").unwrap().parse().unwrap();
            let mut noted = noted.lock().unwrap();
            if let Ok(number) = std::str::from_utf8(&payload).unwrap().trim().parse() {
                noted.backlog.entry(topic).or_default().push(number);
                continue;
            }
            let envelope: Value = serde_json::from_slice(&payload).unwrap();
            let number = envelope["msg"]["data"].as_str().unwrap().trim().parse().unwrap();
            let received = envelope["received"].as_u64().unwrap();
            noted.live.entry(topic).or_default().push(Arrival { at, received, number });
        }
    });
    arrived
}

/// Looks at what comes from `from` on for two seconds, and until each live topic has had messages for one: the robot's own DDS may
/// take longer to find 3,000 subscriptions than the bridge took to make them.
fn check(what: &str, arrived: &Mutex<Arrived>, from: Instant) {
    thread::sleep(2 * STALL);
    let deadline = Instant::now() + Duration::from_secs(60);
    let came = |topic| {
        let arrived = arrived.lock().unwrap();
        arrived.live.get(&topic).map_or(0, |own| own.iter().filter(|arrival| arrival.at >= from).count())
    };
    while LIVE.iter().any(|topic| came(*topic) <= RATE as usize) {
        assert!(Instant::now() < deadline, "{what}: {:?} messages came", LIVE.map(came));
        thread::sleep(Duration::from_millis(50));
    }
    check_gaps(what, arrived, from, Instant::now());
}

/// Between `from` and `until`, of what had come of each live topic by then: none was missed, and the longest time without
/// one at the broker, and between two at the bridge.
fn check_gaps(what: &str, arrived: &Mutex<Arrived>, from: Instant, until: Instant) {
    let arrived = arrived.lock().unwrap();
    for topic in LIVE {
        let own = arrived.live.get(&topic).map_or(&[][..], Vec::as_slice);
        let own: Vec<_> = own.iter().filter(|arrival| (from..until).contains(&arrival.at)).collect();
        for two in own.windows(2) {
            assert_eq!(two[1].number, two[0].number + 1, "{what}: what follows in topic {topic}");
        }
        let pauses = own.windows(2).map(|two| two[1].at - two[0].at).chain([until - own[own.len() - 1].at]);
        let received = own.windows(2).map(|two| Duration::from_nanos(two[1].received - two[0].received));
        let (pause, received) = (pauses.max().unwrap(), received.max().unwrap());
        eprintln!(
            "{what}: topic {topic}: first after {:?}, longest pause at the broker {pause:?}, at the bridge {received:?}",
            own[0].at - from
        );
        assert!(pause < STALL, "{what}: topic {topic} stood still for {pause:?}");
        assert!(received < STALL, "{what}: topic {topic} was not received for {received:?}");
    }
}

/// Starts the bridge, whose watchdog has it look each second whether every stage makes progress, and waits until it has
/// subscribed to everything. Returns when it was started.
fn start(stage: &Stage) -> (Program, Instant) {
    let begun = Instant::now();
    let program = Program::start_with(&stage.configure(&topics("1 h")), &[("WATCHDOG_USEC", "2000000")]);
    let ready = begun.elapsed();
    let deadline = Instant::now() + Duration::from_secs(60);
    while program.log_lines("Subscribed to /many/").len() < TOPICS {
        assert!(Instant::now() < deadline, "not all topics are subscribed");
        thread::sleep(Duration::from_millis(50));
    }
    eprintln!("READY=1 after {ready:?}, all subscribed after {:?}", begun.elapsed());
    assert!(ready < READY, "READY=1 after {ready:?}");
    (program, begun)
}

/// Ends the bridge, in which every stage had to make progress in each second of its life.
fn stop(mut program: Program) {
    assert_eq!(program.log_lines("makes no progress"), [""; 0]);
    let begun = Instant::now();
    assert_eq!(program.terminate().code(), Some(0));
    eprintln!("stopped after {:?}", begun.elapsed());
}

/// Has records of every topic wait on the disk.
fn leave_backlog(stage: &Stage) {
    let registry = Registry::default();
    let settings = config::Queue {
        disk: 64 << 20,
        directory: stage.queue(),
        durability: QueueDurability::Spill,
        ..config::Queue::in_memory(32 << 20, Overflow::DropOldest)
    };
    let found = registry.clone();
    let find = Arc::new(move |ros: &str, mqtt: &str| found.topic(ros, mqtt));
    let (queue, disk) = Queue::open(&settings, 100, find, &mut go_on).unwrap();
    let routes: Vec<_> = (0..TOPICS)
        .map(|number| {
            let topic = registry.topic(&name(number), &mqtt(number));
            let (qos, priority) = (Qos::AtLeastOnce, Priority::Normal);
            Arc::new(Route { topic, qos, retain: false, priority, packing: Default::default() })
        })
        .collect();
    let now = Instant::now();
    for number in 0..BACKLOG {
        for route in &routes {
            let (payload, expires) = (format!("{number:200}").into(), now + Duration::from_secs(3600));
            assert!(queue.admit(Record { route: Arc::clone(route), payload, received_ns: 1, expires }, now));
        }
    }
    disk.unwrap().close();
    eprintln!("the backlog is on the disk after {:?}", now.elapsed());
}

/// Whatever happens to 3,000 topics, those with messages go on, without a second in which none comes, and without a loss: while
/// the others are subscribed after a start, while a backlog of all of them leaves the disk after a restart, and while a
/// reload changes one. The bridge is soon ready, and every stage makes progress in each second.
#[tokio::test(flavor = "multi_thread")]
async fn three_thousand_topics_stop_nobody() {
    let mut stage = Stage::set().await;
    let arrived = note_arrivals(&mut stage);
    let mut robot = Robot::start();
    let publishers = LIVE.iter().map(|topic| robot.publisher(&name(*topic), 1000)).collect();
    let stream = Stream::start_of(robot, publishers, RATE, usize::MAX, |number| format!(" {number}"));

    let (mut program, begun) = start(&stage);
    check("a start", &arrived, begun);

    let changed = Instant::now();
    stage.configure(&topics("2 h"));
    program.reload();
    program.await_log("0 topics added, 0 removed, 1 changed");
    check("a reload", &arrived, changed);
    stop(program);

    leave_backlog(&stage);
    let (program, begun) = start(&stage);
    let deadline = Instant::now() + Duration::from_secs(60);
    let left = || TOPICS * BACKLOG - arrived.lock().unwrap().backlog.values().map(Vec::len).sum::<usize>();
    while left() > 0 {
        assert!(Instant::now() < deadline, "{} records of the backlog are missing", left());
        thread::sleep(Duration::from_millis(50));
    }
    eprintln!("the backlog has arrived after {:?}", begun.elapsed());
    check("a restart", &arrived, begun);
    let in_order: Vec<_> = (0..BACKLOG).collect();
    assert!(arrived.lock().unwrap().backlog.values().all(|numbers| *numbers == in_order));
    stop(program);
    stream.stop();
}
