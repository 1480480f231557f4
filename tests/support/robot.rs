//! A ROS node that publishes, over real DDS, from the test's process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use r2r::QosProfile;
use r2r::std_msgs::msg::String as RosString;

pub type Publisher = r2r::Publisher<RosString>;

pub struct Robot {
    node: r2r::Node,
}

impl Robot {
    /// Joins the graph. The process has to be in its [domain](super::domain) already.
    pub fn start() -> Robot {
        Robot { node: r2r::Node::create(r2r::Context::create().unwrap(), "robot", "").unwrap() }
    }

    /// A reliable publisher of strings that keeps `depth` messages for slow subscribers.
    pub fn publisher(&mut self, topic: &str, depth: usize) -> Publisher {
        self.node.create_publisher(topic, QosProfile::default().keep_last(depth)).unwrap()
    }

    /// Waits until `publisher` has a subscriber: what is published before goes to nobody.
    pub fn await_subscriber(publisher: &Publisher) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while publisher.get_inter_process_subscription_count().unwrap() == 0 {
            assert!(Instant::now() < deadline, "nobody subscribes");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Publishes the text that `text` makes of a number.
pub fn publish(publisher: &Publisher, data: String) {
    publisher.publish(&RosString { data }).unwrap();
}

/// A text of 200 bytes that holds `number`.
pub fn numbered(number: usize) -> String {
    format!("{number:200}")
}

/// The number in a text of [`numbered`].
pub fn number_in(payload: &[u8]) -> usize {
    std::str::from_utf8(payload).unwrap().trim().parse().unwrap()
}

/// Publishes numbered texts on each of the `publishers` of `robot`, `rate` a second on each, on a thread of its own.
pub struct Stream {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Stream {
    /// Runs until it is stopped, or `count` were published on each publisher.
    pub fn start(robot: Robot, publishers: Vec<Publisher>, rate: u32, count: usize) -> Stream {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            // A publisher ends with its node.
            let _robot = robot;
            let start = Instant::now();
            let mut published = 0;
            while published < count && !stopped.load(Ordering::Relaxed) {
                let due = start + Duration::from_secs(published as u64) / rate;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                for publisher in &publishers {
                    publish(publisher, numbered(published));
                }
                published += 1;
            }
            published
        });
        Stream { stop, thread }
    }

    /// Waits for the end; answers how many were published on each.
    pub fn join(self) -> usize {
        self.thread.join().unwrap()
    }

    /// Ends it; answers how many were published on each.
    pub fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.join()
    }
}
