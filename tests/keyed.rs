//! Types with keys (`@key` of IDL), of which Kilted and later make DDS topics with instances.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use iot_bridge::ros::{self, Node, Receiver, RosThread, Sample, Silence, TopicState, TypeSupport, Wanted};
use iot_bridge_core::codec::Schema;
use iot_bridge_core::config::{Durability, Reliability};

use crate::support::domain;
use crate::support::killed_on_drop::KilledOnDrop;

const TYPE: &str = "test_msgs/msg/KeyedLong";

/// What has come.
#[derive(Debug, Default)]
struct Account {
    /// Each with the number that all publishers' messages count by, in the order of arrival, by key.
    values: BTreeMap<i32, Vec<i32>>,
    count: usize,
    /// Messages that came before one that was published earlier.
    overtaken: usize,
    newest: i32,
    lost: u64,
    /// How often it was subscribed with another QoS, and what was said.
    states: Vec<TopicState>,
}

/// Held, it holds the ROS thread.
struct Counter(Arc<Mutex<Account>>);

impl Receiver for Counter {
    fn opened(&mut self, _: usize, _: &Arc<Schema>) {}
    fn received(&mut self, _: usize, sample: &Sample<'_>) {
        let mut account = self.0.lock().unwrap();
        let number = |at: usize| i32::from_le_bytes(sample.cdr[at..at + 4].try_into().unwrap());
        let (key, value) = (number(4), number(8));
        account.overtaken += usize::from(value < account.newest);
        account.newest = account.newest.max(value);
        account.count += 1;
        account.values.entry(key).or_default().push(value);
    }
    fn unreadable(&mut self, topic: usize) {
        panic!("a message of topic {topic} has another definition");
    }
    fn lost(&mut self, _: usize, count: u64) {
        self.0.lock().unwrap().lost += count;
    }
    fn refused(&mut self, _: usize, _: &'static str, _: u64) {}
    fn changed(&mut self, _: usize, state: TopicState) {
        self.0.lock().unwrap().states.push(state);
    }
    fn silent(&mut self, _: usize, _: Option<Silence>) {}
    fn turned(&mut self) {}
}

/// `keyed.py`.
struct Publisher {
    _child: KilledOnDrop,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Publisher {
    fn start() -> Publisher {
        let mut child = Command::new("python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ros/keyed.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Publisher { _child: KilledOnDrop(child), input, output }
    }

    fn have(&mut self, what: &str) {
        writeln!(self.input, "{what}").unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        assert_eq!(answer, "done\n", "{what}");
    }
}

/// Waits for an account that `wish` says yes to.
fn await_account(account: &Mutex<Account>, what: &str, wish: impl Fn(&Account) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !wish(&account.lock().unwrap()) {
        assert!(Instant::now() < deadline, "{what} never came: {:?}", account.lock().unwrap());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Subscribes to /keyed with `depth`; `None` where ROS has no types with keys.
fn receive(depth: usize) -> Option<(RosThread<Counter>, Arc<Mutex<Account>>)> {
    if TypeSupport::load(TYPE).is_err() {
        println!("    Skipped: this ROS has no {TYPE}.");
        return None;
    }
    domain::enter();
    let account = Arc::new(Mutex::new(Account::default()));
    let wanted = Wanted {
        topic: "/keyed".into(),
        type_name: Some(TYPE.into()),
        reliability: Reliability::Auto,
        durability: Durability::Auto,
        depth,
    };
    let node = Node::create("iot_bridge", "").unwrap();
    Some((ros::spawn(node, vec![wanted], Counter(Arc::clone(&account))).unwrap(), account))
}

/// Publishes until the subscription is met, for what is published before goes to nobody, and until all after that has come.
/// Returns how many were published.
fn meet(publisher: &mut Publisher, account: &Mutex<Account>) -> i32 {
    let mut published = 0;
    while account.lock().unwrap().count == 0 {
        publisher.have("burst 1");
        published += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    await_account(account, "the start", |account| account.newest == published - 1);
    published
}

/// Has a burst published while the ROS thread is held, and then does `meanwhile`.
fn hold_for_a_burst(publisher: &mut Publisher, account: &Mutex<Account>, burst: usize, meanwhile: impl FnOnce()) {
    let _held = account.lock().unwrap();
    publisher.have(&format!("burst {burst}"));
    meanwhile();
    // Each of them is in DDS's hands; when it has them where they are taken from is its own affair.
    std::thread::sleep(Duration::from_millis(300));
}

/// A burst over five keys waits in DDS, which hands it over key by key: each message comes once, in the order of its key,
/// and none is told as lost; also while the topic is subscribed with another QoS.
#[test]
fn a_keyed_burst_comes_once_in_the_order_of_each_key() {
    const BURST: usize = 300;
    let Some((thread, account)) = receive(1000) else { return };
    let mut publisher = Publisher::start();
    let first = meet(&mut publisher, &account);
    let start = std::mem::take(&mut account.lock().unwrap().values);
    let before: usize = start.values().map(Vec::len).sum();
    hold_for_a_burst(&mut publisher, &account, BURST, || ());
    await_account(&account, "the burst", |account| account.count == before + BURST);
    assert!(account.lock().unwrap().overtaken > 0, "this DDS does not go key by key");

    let mut total = before + BURST;
    for change in ["weak", "strong"] {
        publisher.have(change);
        // For longer than the subscription that is replaced goes on beside its successor.
        for _ in 0..150 {
            publisher.have("burst 20");
            total += 20;
            std::thread::sleep(Duration::from_millis(10));
        }
        await_account(&account, change, |account| account.count >= total);
    }
    thread.stop().unwrap();
    let account = account.lock().unwrap();
    assert_eq!((account.count, account.lost), (total, 0));
    for (key, values) in &account.values {
        assert!(values.is_sorted(), "key {key}: {values:?}");
    }
    let mut all: Vec<i32> = account.values.values().flatten().copied().collect();
    all.sort_unstable();
    assert_eq!(all, (first..first + (total - before) as i32).collect::<Vec<_>>());
}

/// Of a topic with keys DDS keeps `depth` messages of each key. All of them are handed on, though nothing more is published;
/// also when the service stops.
#[test]
fn what_waits_of_all_keys_is_taken_at_once() {
    const DEPTH: usize = 20;
    const BURST: usize = 5 * DEPTH;
    let Some((thread, account)) = receive(DEPTH) else { return };
    let mut publisher = Publisher::start();
    meet(&mut publisher, &account);
    let before = account.lock().unwrap().count;
    hold_for_a_burst(&mut publisher, &account, BURST, || ());
    await_account(&account, "the burst", |account| account.count == before + BURST);
    let mut stopping = None;
    hold_for_a_burst(&mut publisher, &account, BURST, || {
        stopping = Some(std::thread::spawn(|| thread.stop()));
    });
    stopping.unwrap().join().unwrap().unwrap();
    let account = account.lock().unwrap();
    assert_eq!((account.count, account.lost), (before + 2 * BURST, 0));
}
