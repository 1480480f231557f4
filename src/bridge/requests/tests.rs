use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use iot_bridge_core::config::{Overflow, Qos, Queue as QueueSettings};
use iot_bridge_core::mqtt::client::Settled;
use iot_bridge_core::uplink::Phase;

use super::*;

/// The version of an entry that panics at its end.
const PANICS_AT_END: u8 = 9;

/// That panics in its first turn.
const PANICS_AT_TURN: u8 = 8;

/// That has the thread woken again with each turn, and says nothing.
const RESTLESS: u8 = 7;

/// That wants a turn every ten milliseconds, and says how long [`TURNS`] have taken: in half seconds.
const PUNCTUAL: u8 = 6;

/// Turns of the punctual one.
const TURNS: u32 = 20;

/// An entry whose handler writes down what it is told.
#[derive(Debug, Clone)]
pub(in crate::bridge) struct Probe {
    pub mqtt: &'static str,
    /// What tells it from another one with the same topic, and what it does.
    version: u8,
    told: Arc<Mutex<Vec<String>>>,
    /// When it began, and its turns that were due.
    turns: Option<(Instant, u32)>,
}

impl PartialEq for Probe {
    fn eq(&self, other: &Probe) -> bool {
        (self.mqtt, self.version) == (other.mqtt, other.version)
    }
}

impl Probe {
    pub(super) fn handler(&self, _: Arc<RequestHealth>) -> Box<dyn Handler> {
        self.say("begins");
        Box::new(self.clone())
    }

    fn say(&self, what: &str) {
        self.told.lock().unwrap().push(format!("{}{} {what}", self.mqtt, self.version));
    }
}

impl Handler for Probe {
    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription { filter: format!("{{thing}}/{}", self.mqtt), qos: Qos::AtLeastOnce }]
    }

    fn arrived(&mut self, arrival: Arrival, outside: &Outside, now: Instant) {
        assert_ne!(arrival.payload, "panic", "a handler that panics, for a test");
        self.say("has something");
        let to = ReplyTo::of(&arrival.properties, Some("{thing}/reply")).unwrap().unwrap();
        let (payload, max_age) = (&*arrival.payload, Duration::from_secs(60));
        assert!(outside.replies.send(Reply { of: self.mqtt, to: &to, payload, max_age }, now));
        arrival.taken();
    }

    fn turn(&mut self, outside: &Outside, now: Instant) {
        match self.version {
            PANICS_AT_TURN => panic!("a handler that panics when it begins, for a test"),
            RESTLESS => outside.waker().notify_one(),
            PUNCTUAL if self.wake_at().is_none_or(|at| at <= now) => {
                let (began, turns) = self.turns.map_or((now, 0), |(began, turns)| (began, turns + 1));
                self.turns = Some((began, turns));
                if turns == TURNS {
                    self.say(&format!("took {} turns of 500 ms", (now - began).as_millis() / 500));
                }
            }
            _ => {}
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        let (began, turns) = self.turns?;
        Some(began + (turns + 1) * Duration::from_millis(10))
    }

    fn link(&mut self, is_connected: bool, _: &Outside, _: Instant) {
        self.say(if is_connected { "is connected" } else { "is not connected" });
    }

    fn end(&mut self, _: &Outside, _: Instant) {
        self.say("ends");
        assert_ne!(self.version, PANICS_AT_END, "a handler that panics at its end, for a test");
    }
}

/// Servers of a test in Python; killed when dropped.
pub(super) struct Servers(Child);

impl Servers {
    pub fn start(arguments: &[&str]) -> Servers {
        Servers(Command::new("python3").args(arguments).stdin(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What lies outside of a handler that calls ROS, and the queue that its replies go to.
pub(super) fn outside() -> (Arc<Queue>, Outside) {
    let queue = Arc::new(Queue::in_memory(&QueueSettings::in_memory(1 << 20, Overflow::DropOldest)));
    let nodes = watch::channel(vec![Arc::new(Node::create("iot_bridge", "").unwrap())]).1;
    let (thing, topics) = ("robot1".to_owned(), Arc::new(Topics::default()));
    let outside = Outside::new(thing, Arc::clone(&queue), topics, nodes, Arc::default(), None);
    (queue, outside)
}

/// Lets `handler` have a turn, and another one as long as one is too short for what there is.
pub(super) async fn turn(handler: &mut impl Handler, outside: &Outside) {
    let waker = outside.waker();
    // What DDS has told before is what there is.
    let has_more = || tokio::time::timeout(Duration::ZERO, waker.notified());
    let _ = has_more().await;
    loop {
        handler.turn(outside, Instant::now());
        if has_more().await.is_err() {
            return;
        }
    }
}

/// The thread, and all that it is wired to.
struct Bench {
    requests: Requests,
    arrivals: mpsc::Sender<Arrival>,
    state: watch::Sender<UplinkState>,
    subscribed: Arc<Mutex<Vec<String>>>,
    told: Arc<Mutex<Vec<String>>>,
    topics: Arc<Topics>,
    queue: Arc<Queue>,
}

impl Bench {
    fn set() -> Bench {
        let queue = Arc::new(Queue::in_memory(&QueueSettings::in_memory(1 << 20, Overflow::DropOldest)));
        let topics = Arc::new(Topics::default());
        let (_, nodes) = watch::channel(Vec::new());
        let (state, uplink) = watch::channel(UplinkState::default());
        let (arrivals, receiver) = mpsc::channel(ROOM);
        let outside =
            Outside::new("{thing}".to_owned(), Arc::clone(&queue), Arc::clone(&topics), nodes, Arc::default(), None);
        let subscribed: Arc<Mutex<Vec<String>>> = Arc::default();
        let subscribe = Box::new({
            let subscribed = Arc::clone(&subscribed);
            move |wanted: Vec<Subscription>| {
                *subscribed.lock().unwrap() = wanted.into_iter().map(|subscription| subscription.filter).collect();
            }
        });
        let account = Arc::default();
        let idle = Some(Idle { subscribe, arrivals: receiver, outside, uplink, account });
        let requests = Requests { idle, running: None, heartbeat: Arc::default() };
        Bench { requests, arrivals, state, subscribed, told: Arc::default(), topics, queue }
    }

    fn entries<const N: usize>(&self, probes: [(&'static str, u8); N]) -> [Entry; N] {
        let told = &self.told;
        probes.map(|(mqtt, version)| Entry::Probe(Probe { mqtt, version, told: Arc::clone(told), turns: None }))
    }

    fn reload<const N: usize>(&mut self, probes: [(&'static str, u8); N]) {
        let entries = self.entries(probes);
        self.requests.prepare(&entries).unwrap();
        self.requests.reload(entries.to_vec());
    }

    /// Waits until handlers were told all of `expected`, and nothing else, since the last call.
    fn await_told<const N: usize>(&self, expected: [&str; N]) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let mut told = self.told.lock().unwrap();
            if told.len() >= N {
                assert_eq!(*told, expected);
                told.clear();
                return;
            }
            assert!(Instant::now() < deadline, "{told:?} instead of {expected:?}");
            drop(told);
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn connected(&self, connections: u64, is_connected: bool) {
        let phase = if is_connected { Phase::Connected { since: Instant::now() } } else { Phase::Connecting };
        self.state.send_modify(|state| (state.phase, state.connections) = (phase, connections));
    }

    fn has_come(&self, topic: &str, payload: &str) -> mpsc::Receiver<Settled> {
        let (arrival, taken) = Arrival::for_test(topic, payload);
        self.arrivals.try_send(arrival).unwrap();
        taken
    }
}

/// Without an entry there is no thread. What stays in the configuration is not touched by a reload, what goes from it ends
/// before anything else begins, and at the end everything ends.
#[test]
fn a_reload_touches_what_has_changed_alone() {
    let mut bench = Bench::set();
    bench.reload([]);
    assert!(bench.requests.running.is_none());
    bench.reload([("a", 0), ("b", 0), ("c", 0)]);
    bench.await_told(["a0 begins", "b0 begins", "c0 begins"]);
    bench.connected(1, true);
    bench.await_told(["a0 is connected", "b0 is connected", "c0 is connected"]);
    bench.reload([("d", 0), ("c", 0), ("a", 1)]);
    bench.await_told(["a0 ends", "b0 ends", "d0 begins", "d0 is connected", "a1 begins", "a1 is connected"]);
    // It subscribes once all have been told.
    while *bench.subscribed.lock().unwrap() != ["{thing}/d", "{thing}/c", "{thing}/a"] {
        std::thread::yield_now();
    }
    let (told, subscribed) = (Arc::clone(&bench.told), Arc::clone(&bench.subscribed));
    bench.requests.stop().unwrap();
    assert_eq!(*told.lock().unwrap(), ["d0 ends", "c0 ends", "a1 ends"]);
    assert!(subscribed.lock().unwrap().is_empty());
}

/// A connection that was lost and stands again is told as such, however fast that was.
#[test]
fn another_connection_is_told_as_two_changes() {
    let mut bench = Bench::set();
    bench.reload([("a", 0)]);
    bench.connected(1, true);
    bench.await_told(["a0 begins", "a0 is connected"]);
    bench.connected(2, true);
    bench.await_told(["a0 is not connected", "a0 is connected"]);
    bench.connected(2, false);
    bench.await_told(["a0 is not connected"]);
}

/// What arrives goes to the entry of its topic, once the name of the thing is known, and what it replies is in the queue and
/// in the account. What is of no entry is acknowledged and forgotten.
#[test]
fn each_gets_what_is_its() {
    let mut bench = Bench::set();
    bench.reload([("a", 0), ("b", 0)]);
    bench.await_told(["a0 begins", "b0 begins"]);
    bench.state.send_modify(|state| state.provisioned = Some("robot1".to_owned()));
    bench.connected(1, true);
    bench.await_told(["a0 is connected", "b0 is connected"]);
    let mut others = bench.has_come("robot2/a", "1");
    let mut taken = bench.has_come("robot1/b", "2");
    bench.await_told(["b0 has something"]);
    let settled = Some(Settled { packet_id: 1, is_taken: true });
    assert_eq!((others.blocking_recv(), taken.blocking_recv()), (settled, settled));
    let replies = bench.topics.all_replies();
    assert_eq!((replies.len(), &*replies[0].ros, &*replies[0].mqtt), (1, "b", "{thing}/reply"));
    assert_eq!((replies[0].counters.received(), replies[0].counters.queued()), (1, 1));
    let lease = bench.queue.lease(Instant::now()).unwrap();
    assert_eq!((&*lease.record.route.mqtt, &lease.record.payload[..]), ("{thing}/reply", &b"\0\x002"[..]));
    // When the entry goes, its replies stay until they are sent.
    bench.reload([("a", 0)]);
    bench.await_told(["b0 ends"]);
    bench.reload([("a", 0), ("c", 0)]);
    bench.await_told(["c0 begins", "c0 is connected"]);
    assert!(bench.topics.all_replies().is_empty());
    assert_eq!(bench.topics.leaving(Instant::now()).len(), 1);
}

/// When a handler panics, the thread dies, which is found out; but the others end first.
#[test]
fn a_panic_ends_all() {
    let mut bench = Bench::set();
    bench.reload([("a", 0), ("b", PANICS_AT_END), ("c", 0)]);
    bench.await_told(["a0 begins", "b9 begins", "c0 begins"]);
    let _taken = bench.has_come("{thing}/c", "panic");
    bench.await_told(["a0 ends", "b9 ends", "c0 ends"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(bench.requests.death());
    assert!(bench.requests.stop().is_err());
}

/// Also when one panics that a reload has brought: those that stay, and those that came before it.
#[test]
fn a_panic_at_a_reload_ends_all() {
    let mut bench = Bench::set();
    bench.reload([("a", 0), ("b", 0)]);
    bench.await_told(["a0 begins", "b0 begins"]);
    bench.reload([("c", 0), ("d", PANICS_AT_TURN), ("a", 0), ("e", 0)]);
    let told = Arc::clone(&bench.told);
    assert!(bench.requests.stop().is_err());
    let mut told = told.lock().unwrap().clone();
    assert_eq!(told.drain(..3).collect::<Vec<_>>(), ["b0 ends", "c0 begins", "d8 begins"]);
    told.sort_unstable();
    assert_eq!(told, ["a0 ends", "c0 ends", "d8 ends"]);
}

/// A turn comes when a handler has asked for it, and not only with the sign of life: twenty within the time of a few of these.
#[test]
fn a_turn_comes_when_it_is_asked_for() {
    let mut bench = Bench::set();
    bench.reload([("a", PUNCTUAL)]);
    let deadline = Instant::now() + Duration::from_secs(60);
    let took = loop {
        if let Some(took) = bench.told.lock().unwrap().get(1).cloned() {
            break took;
        }
        assert!(Instant::now() < deadline, "no turns");
        thread::sleep(Duration::from_millis(2));
    };
    let halves: u32 = took.split(' ').nth(2).unwrap().parse().unwrap();
    assert!(halves < TURNS / 4, "{took}");
}

/// Who has the thread woken without end does not keep what arrives from those whom it is for.
#[test]
fn who_is_woken_without_end_holds_nothing_up() {
    let mut bench = Bench::set();
    bench.reload([("a", RESTLESS), ("b", 0)]);
    bench.await_told(["a7 begins", "b0 begins"]);
    let mut taken: Vec<_> = (0..3 * ROOM / 4).map(|_| bench.has_come("{thing}/b", "1")).collect();
    let deadline = Instant::now() + Duration::from_secs(60);
    for taken in &mut taken {
        while taken.try_recv().is_err() {
            assert!(Instant::now() < deadline, "it is not taken");
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// A thread that can't be started is started by the next reload.
#[test]
fn a_thread_that_can_not_be_started_is_tried_again() {
    let mut bench = Bench::set();
    // More than there are addresses.
    assert!(bench.requests.begin(thread::Builder::new().stack_size(1 << 48)).is_err());
    assert!(bench.requests.running.is_none());
    bench.reload([("a", 0)]);
    bench.await_told(["a0 begins"]);
}

/// A thread that is there for entries has none of them before they come into force: something else may be refused first.
#[test]
fn what_is_prepared_is_not_in_force() {
    let mut bench = Bench::set();
    let entries = bench.entries([("a", 0)]);
    bench.requests.prepare(&entries).unwrap();
    assert!(bench.requests.running.is_some());
    bench.reload([("b", 0)]);
    bench.await_told(["b0 begins"]);
}
