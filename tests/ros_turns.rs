//! The ROS thread's time: what one topic takes of it, others do not lose by.

use crate::support::domain;
use crate::support::own_mounts;
use crate::support::rclpy::Rclpy;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use iot_bridge::ros::{self, Node, Publisher, Receiver, Sample, Silence, TopicState, Wanted};
use iot_bridge_core::codec::Schema;
use iot_bridge_core::config::{Durability, Reliability};
use r2r::QosProfile;
use r2r::std_msgs::msg::{Int32, String as RosString};
use rustix::time::{ClockId, clock_gettime};

/// Discovery on a busy machine takes a while.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the ROS thread has done so far.
#[derive(Debug, Default, Clone)]
struct Account {
    turns: usize,
    /// Each shape in which topic 0 was opened, with its messages.
    shapes: Vec<(String, usize)>,
    received: [usize; 2],
    lost: [u64; 2],
    /// Most messages of topic 0 between two signs of life.
    most_between_turns: usize,
    since_turn: usize,
    /// Processor time of the thread.
    used: Duration,
}

/// Counts. Messages of topic 0 may take a while.
struct Counter {
    account: Arc<Mutex<Account>>,
    slow: Duration,
}

impl Receiver for Counter {
    fn opened(&mut self, topic: usize, schema: &Arc<Schema>) {
        if topic == 0 {
            self.account.lock().unwrap().shapes.push((schema.name.clone(), 0));
        }
    }
    fn received(&mut self, topic: usize, _: &Sample<'_>) {
        if topic == 0 {
            thread::sleep(self.slow);
        }
        let mut account = self.account.lock().unwrap();
        account.received[topic] += 1;
        if topic == 0 {
            account.shapes.last_mut().unwrap().1 += 1;
        }
        account.since_turn += usize::from(topic == 0);
        account.most_between_turns = account.most_between_turns.max(account.since_turn);
    }
    fn lost(&mut self, topic: usize, count: u64) {
        self.account.lock().unwrap().lost[topic] += count;
    }
    fn refused(&mut self, _: usize, _: &'static str, _: u64) {}
    fn unreadable(&mut self, _: usize) {}
    fn changed(&mut self, _: usize, _: TopicState) {}
    fn silent(&mut self, _: usize, _: Option<Silence>) {}
    fn turned(&mut self) {
        let mut account = self.account.lock().unwrap();
        account.turns += 1;
        account.since_turn = 0;
        let used = clock_gettime(ClockId::ThreadCPUTime);
        account.used = Duration::new(used.tv_sec as u64, used.tv_nsec as u32);
    }
}

/// What has arrived is handed on, in its own shape, before a topic is subscribed with another type.
#[test]
fn a_change_of_type_loses_nothing_that_has_arrived() {
    domain::enter();
    const COUNT: usize = 100;
    let account = Arc::new(Mutex::new(Account::default()));
    let counter = Counter { account: Arc::clone(&account), slow: Duration::from_millis(5) };
    let topic = Wanted { type_name: None, ..wanted("/shape", "", COUNT) };
    let ros = ros::spawn(Node::create("iot_bridge", "").unwrap(), vec![topic], counter).unwrap();
    let mut node = r2r::Node::create(r2r::Context::create().unwrap(), "robot", "").unwrap();
    let before = node.create_publisher::<RosString>("/shape", QosProfile::default().keep_last(COUNT)).unwrap();
    while before.get_inter_process_subscription_count().unwrap() == 0 {
        thread::sleep(Duration::from_millis(5));
    }
    // The thread has to do with these for half a second; it hears of the other type much earlier.
    (0..COUNT).for_each(|_| before.publish(&RosString { data: "before".into() }).unwrap());
    node.destroy_publisher(before);
    let after = node.create_publisher::<Int32>("/shape", QosProfile::default()).unwrap();
    let account = await_account(&account, "another shape", |account| {
        after.publish(&Int32 { data: 7 }).unwrap();
        account.shapes.len() == 2 && account.shapes[1].1 > 0
    });
    assert_eq!(account.shapes[0], ("std_msgs/msg/String".to_owned(), COUNT), "{account:?}");
    assert_eq!((account.shapes[1].0.as_str(), account.lost[0]), ("std_msgs/msg/Int32", 0), "{account:?}");
    ros.stop().unwrap();
}

fn wanted(topic: &str, type_name: &str, depth: usize) -> Wanted {
    Wanted {
        topic: topic.into(),
        type_name: Some(type_name.into()),
        reliability: Reliability::Auto,
        durability: Durability::Auto,
        depth,
    }
}

/// Looks at the account until it is as `wish` has it.
fn await_account(account: &Mutex<Account>, what: &str, wish: impl Fn(&Account) -> bool) -> Account {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = account.lock().unwrap().clone();
        if wish(&now) {
            return now;
        }
        assert!(Instant::now() < deadline, "never {what}: {now:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Publishes, best effort, three images of 640×480 pixels in a row, five times a second, on /image, and small messages a
/// hundred times a second on /small.
fn camera() -> Rclpy {
    let program = "
import array, time, rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import String
rclpy.init()
node = rclpy.create_node('camera')
images = node.create_publisher(Image, '/image', QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT))
small = node.create_publisher(String, '/small', 100)
image = Image(height=480, width=640, encoding='rgb8', step=1920, data=array.array('B', bytes(921600)))
number = 0
while True:
    if number % 20 < 3:
        images.publish(image)
    small.publish(String(data=str(number)))
    number += 1
    time.sleep(0.01)
";
    Rclpy::run(program)
}

/// A topic of images, of which some are lost on their way over UDP, costs the ROS thread next to nothing beside a topic of
/// 100 small messages a second, of which none is lost: fewer turns than there are messages and losses, and less than a
/// twentieth of a core.
#[test]
fn a_lossy_topic_of_images_is_no_busy_loop() {
    if !own_mounts::enter("ros_turns::a_lossy_topic_of_images_is_no_busy_loop") {
        return;
    }
    domain::enter();
    // As in the service's sandbox: without shared memory Fast DDS takes UDP, where a large message is many packets.
    own_mounts::mount(&["-t", "tmpfs", "-o", "ro"], Path::new("none"), Path::new("/dev/shm"));
    let account = Arc::new(Mutex::new(Account::default()));
    let counter = Counter { account: Arc::clone(&account), slow: Duration::ZERO };
    let topics = vec![wanted("/image", "sensor_msgs/msg/Image", 10), wanted("/small", "std_msgs/msg/String", 100)];
    let thread = ros::spawn(Node::create("iot_bridge", "").unwrap(), topics, counter).unwrap();
    let _camera = camera();
    let before = await_account(&account, "a loss", |account| account.received[1] > 0 && account.lost[0] > 0);
    let start = Instant::now();
    let lost = before.lost[0] + 10;
    let after = await_account(&account, "losses enough", |account| {
        account.lost[0] >= lost && account.received[1] >= before.received[1] + 500
    });
    let took = start.elapsed();
    let (turns, used) = (after.turns - before.turns, after.used - before.used);
    let messages = |account: &Account| account.received.iter().sum::<usize>();
    let events = messages(&after) - messages(&before) + (after.lost[0] - before.lost[0]) as usize;
    println!("{events} messages and losses, {turns} turns, {used:?} of {took:?}: {before:?} {after:?}");
    assert_eq!(after.lost[1], 0, "of /small");
    assert!(turns < 4 * events + 100, "{turns} turns for {events} messages and losses");
    assert!(used < took / 20, "{used:?} in {took:?}");
    thread.stop().unwrap();
}

/// A topic whose messages take 30 ms each, and come as fast, costs one of 200 messages a second none of them, and the
/// thread gives a sign of life after each.
#[test]
fn a_slow_topic_starves_no_other() {
    domain::enter();
    let account = Arc::new(Mutex::new(Account::default()));
    let counter = Counter { account: Arc::clone(&account), slow: Duration::from_millis(30) };
    let topics = vec![wanted("/big", "std_msgs/msg/String", 1000), wanted("/small", "std_msgs/msg/String", 100)];
    let ros = ros::spawn(Node::create("iot_bridge", "").unwrap(), topics, counter).unwrap();
    let mut node = r2r::Node::create(r2r::Context::create().unwrap(), "robot", "").unwrap();
    let qos = QosProfile::default().keep_last(10_000);
    let [big, small] = ["/big", "/small"].map(|topic| node.create_publisher::<RosString>(topic, qos.clone()).unwrap());
    for publisher in [&big, &small] {
        while publisher.get_inter_process_subscription_count().unwrap() == 0 {
            thread::sleep(Duration::from_millis(5));
        }
    }
    // 500 at once, which take 15 s.
    (0..500).for_each(|_| big.publish(&RosString { data: "big".into() }).unwrap());
    const COUNT: usize = 800;
    for _ in 0..COUNT {
        small.publish(&RosString { data: "small".into() }).unwrap();
        thread::sleep(Duration::from_millis(5));
    }
    let after = await_account(&account, "all of /small", |account| account.received[1] == COUNT);
    assert_eq!(after.lost, [0, 0], "{after:?}");
    // Each of /big takes at least its 30 ms, so these are few.
    assert!(after.received[0] < 500 && after.most_between_turns == 1, "{after:?}");
    let events_at_stop = after.received[0];
    // It stops in bounded time, though 15 s of messages may wait.
    let start = Instant::now();
    ros.stop().unwrap();
    let stopped = start.elapsed();
    assert!(stopped < Duration::from_secs(10), "{stopped:?} with {} of 500 taken", events_at_stop);
}

/// Two threads make and end publishers on the node on which the ROS thread makes and ends subscriptions, and nothing comes
/// to harm: rcl itself does not guard what they share.
#[test]
fn publishers_and_subscriptions_are_made_by_several_threads() {
    domain::enter();
    let node = Arc::new(Node::create("iot_bridge", "").unwrap());
    let (sender, told) = mpsc::channel();
    let ros = ros::spawn(Arc::clone(&node), vec![], Opened(sender)).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for number in 0..2 {
            let (node, stop) = (&node, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    for (place, type_name) in
                        ["std_msgs/msg/String", "std_msgs/msg/Int32", "sensor_msgs/msg/Imu"].into_iter().enumerate()
                    {
                        Publisher::create(node, &format!("/published{number}_{place}"), type_name).unwrap();
                    }
                }
            });
        }
        let mut opened = Vec::new();
        while opened.len() < 100 && opened.last().is_none_or(|last| *last == Ok(0)) {
            let round = opened.len();
            let type_name = ["geometry_msgs/msg/Pose", "std_msgs/msg/Header", "std_msgs/msg/Bool"][round % 3];
            let changed = ros.change(ros::Change {
                remove: (round > 0).then_some(0).into_iter().collect(),

                add: vec![wanted(&format!("/subscribed{round}"), type_name, 1)],
                ..ros::Change::default()
            });
            // The next topic gets the index of the one that has gone.
            opened.push(if changed.is_ok() {
                told.recv_timeout(PATIENCE)
            } else {
                Err(RecvTimeoutError::Disconnected)
            });
        }
        // First, so that whatever came of it the threads end.
        stop.store(true, Ordering::Relaxed);
        assert_eq!(opened, vec![Ok(0); 100]);
    });
    ros.stop().unwrap();
}

/// Tells which topics were opened.
struct Opened(Sender<usize>);

impl Receiver for Opened {
    fn opened(&mut self, topic: usize, _: &Arc<Schema>) {
        let _ = self.0.send(topic);
    }
    fn received(&mut self, _: usize, _: &Sample<'_>) {}
    fn lost(&mut self, _: usize, _: u64) {}
    fn refused(&mut self, _: usize, _: &'static str, _: u64) {}
    fn unreadable(&mut self, _: usize) {}
    fn changed(&mut self, _: usize, _: TopicState) {}
    fn silent(&mut self, _: usize, _: Option<Silence>) {}
    fn turned(&mut self) {}
}
