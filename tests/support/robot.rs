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

    /// A reliable publisher of bytes that claim to be a string.
    pub fn raw_publisher(&mut self, topic: &str) -> r2r::PublisherUntyped {
        self.raw_publisher_of(topic, "std_msgs/msg/String")
    }

    /// A reliable publisher of bytes that claim to be a message of the type `type_name`.
    pub fn raw_publisher_of(&mut self, topic: &str, type_name: &str) -> r2r::PublisherUntyped {
        self.node.create_publisher_untyped(topic, type_name, QosProfile::default()).unwrap()
    }

    /// Names of the topics that discovery has found.
    pub fn topics(&self) -> Vec<String> {
        self.node.get_topic_names_and_types().unwrap().into_keys().collect()
    }

    /// Waits until `publisher` has a subscriber: what is published before goes to nobody.
    pub fn await_subscriber(publisher: &Publisher) {
        Self::await_subscribers(publisher, 1);
    }

    /// Waits until `publisher` has `count` subscribers.
    pub fn await_subscribers(publisher: &Publisher, count: usize) {
        Self::await_count(publisher, |found| found >= count);
    }

    /// Waits until the subscribers of `publisher` are gone.
    pub fn await_nobody(publisher: &Publisher) {
        Self::await_count(publisher, |found| found == 0);
    }

    /// Waits until the number of subscribers of `publisher` is as `wanted`.
    pub fn await_count(publisher: &Publisher, wanted: impl Fn(usize) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let found = publisher.get_inter_process_subscription_count().unwrap();
            if wanted(found) {
                return;
            }
            assert!(Instant::now() < deadline, "{found} subscribe");
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
    thread: JoinHandle<Published>,
}

/// What a [`Stream`] has done. DDS goes on delivering what it has published for as long as this lives.
pub struct Published {
    /// Messages on each publisher.
    pub count: usize,
    _robot: Robot,
    _publishers: Vec<Publisher>,
}

impl Stream {
    /// Runs until it is stopped, or `most` were published on each publisher.
    pub fn start(robot: Robot, publishers: Vec<Publisher>, rate: u32, most: usize) -> Stream {
        Self::start_of(robot, publishers, rate, most, numbered)
    }

    /// As [`start`](Self::start), with the texts that `text` makes of numbers.
    pub fn start_of(
        robot: Robot,
        publishers: Vec<Publisher>,
        rate: u32,
        most: usize,
        text: impl Fn(usize) -> String + Send + 'static,
    ) -> Stream {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let start = Instant::now();
            let mut count = 0;
            while count < most && !stopped.load(Ordering::Relaxed) {
                let due = start + Duration::from_secs(count as u64) / rate;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                for publisher in &publishers {
                    publish(publisher, text(count));
                }
                count += 1;
            }
            Published { count, _robot: robot, _publishers: publishers }
        });
        Stream { stop, thread }
    }

    /// Waits for the end.
    pub fn join(self) -> Published {
        self.thread.join().unwrap()
    }

    /// Ends it.
    pub fn stop(self) -> Published {
        self.stop.store(true, Ordering::Relaxed);
        self.join()
    }
}
