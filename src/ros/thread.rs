//! The ROS thread: wait, take, hand on.

mod change;

use std::collections::{BTreeSet, VecDeque};
use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::addresses::{Addresses, Changed};
use super::arrivals::Arrivals;
use super::buffer::Buffer;
use super::context::Node;
use super::discovery;
use super::error::RosError;
use super::fast_dds;
use super::finder::Finder;
use super::graph;
use super::guard_condition::{GuardCondition, Wake};
use super::joined::Joined;
use super::pace::Pace;
use super::rest::Rest;
use super::seen::are_messages_numbered;
use super::silence;
use super::survey;
use super::topic::{Left, Topic};
use super::turns::Turns;
use super::type_support::{TypeSupports, rmw_name};
use super::wait_set::{Ready, WaitSet};
use super::{Receiver, Sighted, Wanted};
pub use change::Change;
use iot_bridge_core::tally::{ONCE_A_MINUTE, Repeat};

/// Longest time without a sign of life.
const TURN: Duration = Duration::from_millis(500);

/// Discovery reports a starting node in many small changes; they are looked at together. While changes go on, the time
/// doubles with each look, up to the second.
const GRAPH_SETTLES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

/// A missing package or a lost graph event heals within this time.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Topics of which the graph is asked as often, in turn, although nothing has come: should an RMW not tell of something.
const IN_TURN: usize = 50;

/// How long messages of one topic are taken before another gets its turn; one message may take longer.
const SLICE: Duration = Duration::from_millis(2);

/// How long messages are taken before the thread looks at everything else again.
const ROUND: Duration = Duration::from_millis(20);

/// How long messages that have arrived are taken when the thread stops. Shorter than the bridge waits for its end.
const LAST_ROUND: Duration = Duration::from_secs(3);

/// How long they are taken of topics that are wanted no more, while the others wait.
const LAST_ROUND_OF_SOME: Duration = Duration::from_secs(1);

/// How often it is asked for lost messages and refused publishers, where DDS has told of some.
const ASK_EVENTS: Duration = Duration::from_secs(1);

/// How soon it is asked again when a wait has ended for nothing, of which such an event is the usual cause.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// The running ROS thread, which hands what it receives to an `R`. It ends when this is dropped, at the latest.
pub struct RosThread<R> {
    stop: Arc<AtomicBool>,
    /// Each with the names of what it adds, as rcl wants them.
    changes: mpsc::Sender<(Change<R>, Vec<CString>)>,
    wake: Arc<Wake>,
    nodes: watch::Receiver<Vec<Arc<Node>>>,
    sighted: watch::Receiver<Sighted>,
    /// There until it is joined.
    thread: Option<JoinHandle<()>>,
}

/// As [`spawn_patient`], where a topic without a publisher is told after half a minute.
///
/// # Errors
/// As there.
pub fn spawn<R: Receiver + 'static>(
    node: impl Into<Arc<Node>>,
    wanted: Vec<Wanted>,
    receiver: R,
) -> Result<RosThread<R>, RosError> {
    spawn_patient(node, wanted, receiver, silence::PATIENCE)
}

/// Starts the thread that receives `wanted` and hands it to `receiver`, which is told of topics that nobody has
/// published for as long as `patience`.
///
/// # Errors
/// When rcl refuses what every subscription needs, or the thread can't be started. A topic that can't be received is
/// no error: the receiver is told, and it is tried again.
pub fn spawn_patient<R: Receiver + 'static>(
    node: impl Into<Arc<Node>>,
    wanted: Vec<Wanted>,
    receiver: R,
    patience: Duration,
) -> Result<RosThread<R>, RosError> {
    let node = node.into();
    let wake = Arc::new(Wake::create(node.context())?);
    let (published_nodes, nodes) = watch::channel(vec![Arc::clone(&node)]);
    let (sights, sighted) = watch::channel(Sighted::default());
    let stop = Arc::new(AtomicBool::new(false));
    let names = names(&wanted)?;
    let woken = Arc::clone(&wake);
    // The thread comes round by itself soon, and DDS's thread has nobody to tell.
    let arrivals = Arrivals::new(Arc::new(move || drop(woken.wake())));
    let topics = wanted.into_iter().zip(names).enumerate();
    let topics = topics.map(|(index, (wanted, name))| Topic::new(index, wanted, name, &arrivals));
    let (sender, changes) = mpsc::channel();
    let (domain, rmw, discovery) = (graph::domain(&node), rmw_name(), discovery::description());
    tracing::info!(domain, rmw, discovery, "The ROS node is up: domain {domain}, {rmw}, {discovery}.");
    if !are_messages_numbered() {
        tracing::warn!(
            rmw,
            "{rmw} does not number messages: what DDS loses is not counted, so give topics a `depth` larger than what comes in one \
             go; and some may come twice."
        );
    }
    let reception = Reception {
        wait_set: WaitSet::create(&node)?,
        buffer: Buffer::new()?,
        types: TypeSupports::default(),
        topics: topics.collect(),
        arrivals,
        left: Vec::new(),
        finder: Finder::new(sights),
        looking: VecDeque::new(),
        in_turn: 0,
        retiring: BTreeSet::new(),
        listener: silence::Listener::new(patience),
        wake: Arc::clone(&wake),
        condition: wake.condition(),
        stop: Arc::clone(&stop),
        changes,
        receiver,
        is_deaf: false,
        turns: Turns::default(),
        addresses: Addresses::watch(Instant::now()),
        published_nodes,
        joined: Joined::new(node, Instant::now()),
    };
    let thread = thread::Builder::new()
        .name("ros".to_owned())
        .spawn(move || reception.run())
        .map_err(|error| RosError { doing: "Starting the ROS thread", message: error.to_string(), code: 0 })?;
    Ok(RosThread { stop, changes: sender, wake, nodes, sighted, thread: Some(thread) })
}

fn names(wanted: &[Wanted]) -> Result<Vec<CString>, RosError> {
    wanted.iter().map(|wanted| graph::topic_name(&wanted.topic)).collect()
}

impl<R> RosThread<R> {
    /// Has the thread receive other topics. It does so within a turn; nothing happens if it has died.
    ///
    /// # Errors
    /// When a name is none that rcl can be given. Nothing has changed then.
    pub fn change(&self, change: Change<R>) -> Result<(), RosError> {
        let names = names(&change.add)?;
        // An error means that the thread is gone, which is found out elsewhere.
        let _ = self.changes.send((change, names));
        self.wake();
        Ok(())
    }

    /// The node. After the robot's addresses have changed there is another one behind it, and those before may be needed
    /// for a while.
    pub fn nodes(&self) -> watch::Receiver<Vec<Arc<Node>>> {
        self.nodes.clone()
    }

    /// The topics that are looked for, as the last look at the graph has found them.
    pub fn sighted(&self) -> watch::Receiver<Sighted> {
        self.sighted.clone()
    }

    /// Ends reception: takes what has arrived already, then leaves the graph. Returns when the thread is gone.
    ///
    /// # Errors
    /// When the thread had panicked.
    pub fn stop(mut self) -> thread::Result<()> {
        self.end()
    }

    /// Waits until the thread has ended, which without [`stop`](Self::stop) means that it died.
    pub async fn death(&self) {
        // The other end is the thread's.
        let _ = self.nodes().wait_for(|_| false).await;
    }

    fn end(&mut self) -> thread::Result<()> {
        self.stop.store(true, Ordering::Release);
        self.wake();
        self.thread.take().map_or(Ok(()), JoinHandle::join)
    }

    fn wake(&self) {
        if let Err(error) = self.wake.wake_myself() {
            // The thread comes round by itself within a turn.
            tracing::debug!("{error}.");
        }
    }
}

impl<R> Drop for RosThread<R> {
    fn drop(&mut self) {
        // Whoever wants to know of a panic calls `stop`.
        let _ = self.end();
    }
}

/// Everything that the thread owns. The order of the fields is the order of their end: subscriptions before the node.
struct Reception<R> {
    wait_set: WaitSet,
    buffer: Buffer,
    /// By their indices, which are used again: see [`change`].
    topics: Vec<Topic>,
    arrivals: Arc<Arrivals>,
    /// Topics of which not everything could be taken in their round.
    left: Vec<usize>,
    finder: Finder,
    /// Topics whose publishers are to be asked for in this look at the graph.
    looking: VecDeque<usize>,
    /// The next one that is looked at in turn.
    in_turn: usize,
    /// Topics with subscriptions that end soon.
    retiring: BTreeSet<usize>,
    listener: silence::Listener,
    types: TypeSupports,
    wake: Arc<Wake>,
    /// What `wake` triggers, kept here because a thread of DDS may have the lock there while this one wakes.
    condition: Arc<GuardCondition>,
    stop: Arc<AtomicBool>,
    changes: mpsc::Receiver<(Change<R>, Vec<CString>)>,
    receiver: R,
    /// The last wait in rcl has failed.
    is_deaf: bool,
    turns: Turns,
    /// `None` where they do not matter.
    addresses: Option<Addresses>,
    published_nodes: watch::Sender<Vec<Arc<Node>>>,
    joined: Joined,
}

impl<R: Receiver> Reception<R> {
    fn run(mut self) {
        let mut ready = Ready::default();
        let mut trouble = Repeat::default();
        let mut look_at = Instant::now();
        let mut again_at = look_at;
        let (mut settles, mut looked) = (GRAPH_SETTLES[0], look_at);
        let mut asked = Instant::now();
        let mut ask_at = asked + ASK_EVENTS;
        let mut rest = Rest::default();
        let mut pace = Pace::new(look_at);
        self.wake.is_for_this_thread();
        loop {
            self.wake.look();
            if self.stop.load(Ordering::Acquire) {
                break;
            }
            let now = Instant::now();
            while let Ok((change, names)) = self.changes.try_recv() {
                self.apply(change, names);
                look_at = now;
            }
            if now >= look_at && self.looking.is_empty() && self.finder.is_done() {
                let again = now >= again_at;
                if again {
                    again_at = now + LOOK_AGAIN;
                }
                self.look(again);
                let goes_on = now - looked < 2 * GRAPH_SETTLES[1];
                settles = if goes_on { (2 * settles).min(GRAPH_SETTLES[1]) } else { GRAPH_SETTLES[0] };
                (looked, look_at) = (now, again_at);
            }
            self.follow(now + ROUND);
            look_at = self.finder.take_decision().map_or(look_at, |at| look_at.min(at));
            if now >= ask_at {
                self.ask_events(now);
                (asked, ask_at) = (now, now + ASK_EVENTS);
                if self.topics.iter().any(Topic::awaits_a_match) {
                    look_at = now;
                }
                if let Some(changed) = self.addresses.as_mut().and_then(|addresses| addresses.changed(now)) {
                    self.rejoin(&changed, now);
                    look_at = now;
                } else if self.joined.leave(now, |node| self.topics.iter().any(|topic| topic.needs(node))) {
                    self.published_nodes.send_replace(self.joined.nodes());
                }
            }
            // Where DDS tells of messages, no subscription is waited for.
            let waited_for = if self.arrivals.have_to_be_waited_for() { &self.topics[..] } else { &[] };
            let rested = waited_for.iter().filter_map(|topic| topic.rest.until(now));
            let until = rested.chain([now + TURN, look_at, ask_at]).chain(self.receiver.wake_at()).min().unwrap_or(now);
            let has_more = !self.left.is_empty()
                || !self.looking.is_empty()
                || !self.finder.is_done()
                || !self.listener.is_done()
                || !self.arrivals.are_none();
            let time = until.saturating_duration_since(now);
            let parks = pace.parks_until(now).filter(|_| !self.arrivals.have_to_be_waited_for());
            let is_asked = parks.is_none();
            let waited = match parks {
                Some(end) => {
                    if !has_more {
                        self.wake.park(time.min(end - now));
                    }
                    ready.parked();
                    Ok(())
                }
                None => {
                    let is_woken = self.wake.enter_rcl();
                    let waited = self.wait_set.wait(
                        self.joined.node(),
                        &self.condition,
                        waited_for
                            .iter()
                            .enumerate()
                            .flat_map(|(index, topic)| topic.waited_for(now).map(move |one| (index, one))),
                        if has_more || is_woken { Duration::ZERO } else { time },
                        &mut ready,
                    );
                    // Woken before the wait, it has ended for that and not for its time.
                    ready.timed_out &= !is_woken;
                    ready.woken |= is_woken;
                    pace.was_in_rcl(Instant::now());
                    waited
                }
            };
            if let Err(error) = waited {
                let has_to_wait = self.arrivals.have_to_be_waited_for();
                if trouble.due(now, ONCE_A_MINUTE).is_some() {
                    let what =
                        if has_to_wait { "No message can be received" } else { "Changes on ROS are noticed late" };
                    tracing::error!("{what}: {error}.");
                }
                // Not a busy loop, whatever rcl is unhappy about; and no sign of life, unless messages are handed on.
                self.is_deaf = true;
                if has_to_wait {
                    thread::sleep(TURN);
                    continue;
                }
                // Messages that DDS tells of do not need rcl.
                if self.left.is_empty() && self.arrivals.are_none() {
                    self.wake.park(TURN);
                }
                ready.parked();
            } else if is_asked {
                self.is_deaf = false;
            }
            self.turned();
            if ready.graph || self.arrivals.take_match() {
                look_at = look_at.min(Instant::now() + settles);
            }
            if ready.timed_out {
                rest.forget();
            } else if ready.is_for_nothing() {
                // With Fast DDS a lost message ends each wait until it is asked for; that costs less than waiting for it.
                ask_at = ask_at.min(asked + ASK_AGAIN);
                if asked.elapsed() < ASK_AGAIN {
                    // Something else: not a busy loop either.
                    let now = Instant::now();
                    rest.begin(now);
                    thread::sleep(rest.until(now).unwrap_or(now) - now);
                }
                continue;
            }
            ready.topics.append(&mut self.left);
            self.arrivals.take_messages(&mut ready.topics);
            ready.topics.sort_unstable();
            ready.topics.dedup();
            if !ready.topics.is_empty() {
                pace.has_messages(Instant::now());
            }
            let left = self.serve(&ready.topics, Instant::now() + ROUND);
            if !self.arrivals.have_to_be_waited_for() {
                self.left = left;
            }
            rest.forget();
        }
        let all: Vec<usize> = (0..self.topics.len()).collect();
        self.serve_last(&all, LAST_ROUND);
        self.topics.iter_mut().for_each(|topic| topic.tell_missing(&mut self.receiver));
        self.receiver.ended();
    }

    /// A sign of life, unless rcl can't wait.
    fn turned(&mut self) {
        if !self.is_deaf {
            self.receiver.turned();
        }
    }

    /// Looks at the graph: which topics have publishers to be asked for is known then.
    fn look(&mut self, again: bool) {
        for index in self.arrivals.take_events() {
            self.topics[index].note_events(&mut self.receiver);
        }
        match survey::named(&self.joined.nodes(), self.topics.iter().map(Topic::c_name), self.finder.interest()) {
            Ok((named, others)) => {
                self.topics.iter_mut().zip(named).for_each(|(topic, named)| topic.note_named(named));
                self.finder.note(others, again);
            }
            Err(error) => tracing::debug!("{error}."),
        }
        let all = self.arrivals.tell_no_matches() || !self.joined.is_alone();
        let topics = self.topics.iter().enumerate();
        let followed = topics.filter(|(_, topic)| all || topic.is_to_be_followed(again)).map(|(index, _)| index);
        self.looking = followed.collect();
        if again && !all {
            let from = self.in_turn.min(self.topics.len());
            self.in_turn = (from + IN_TURN).min(self.topics.len());
            self.looking.extend(from..self.in_turn);
            if self.in_turn == self.topics.len() {
                self.in_turn = 0;
            }
        }
    }

    /// Goes on with a look at the graph until `end`, so that messages do not wait for all of it.
    fn follow(&mut self, end: Instant) {
        self.finder.ask(&self.joined, end);
        while let Some(index) = self.looking.pop_front() {
            let topic = &mut self.topics[index];
            topic.follow(&self.joined, &mut self.types, &mut self.buffer, &mut self.receiver);
            if topic.is_retiring() {
                self.retiring.insert(index);
            }
            self.turned();
            let now = Instant::now();
            if self.looking.is_empty() {
                self.listener.listen(self.joined.node(), &mut self.topics, &mut self.receiver, now);
            } else if now >= end {
                break;
            }
        }
        self.listener.go_on(self.joined.node(), &mut self.topics, &mut self.receiver, end);
        if self.looking.is_empty() && self.finder.is_done() {
            self.finder.tell(&self.topics, Instant::now());
        }
    }

    /// Asks DDS what it lost or refused, and ends subscriptions whose time is over.
    fn ask_events(&mut self, now: Instant) {
        self.retiring.retain(|index| {
            let topic = &mut self.topics[*index];
            topic.retire(now, &mut self.buffer, &mut self.receiver);
            topic.is_retiring()
        });
        for index in self.arrivals.take_events() {
            self.topics[index].note_events(&mut self.receiver);
        }
        self.topics.iter_mut().for_each(|topic| topic.tell_losses(now, &mut self.receiver));
        // What is lost DDS never tells by itself; where messages have numbers, these tell.
        if self.arrivals.have_to_be_waited_for() || !are_messages_numbered() {
            for index in 0..self.topics.len() {
                self.topics[index].ask_events(&mut self.receiver);
                self.turned();
            }
        }
        self.turned();
    }

    /// Joins ROS with the addresses of today. Nothing is given up for it.
    fn rejoin(&mut self, changed: &Changed, now: Instant) {
        // By a participant that ends at once: it announces the new addresses, and nodes that know one of those before at
        // others would lose it when the new ones go.
        let read = self.joined.node().again().map(|spare| fast_dds::read_addresses(&spare));
        if let Ok(Err(error)) = read {
            tracing::warn!(
                "The robot's addresses have changed ({changed}). Nodes that start from now on may not be received: {error}."
            );
        } else if let Err(error) = read.and_then(|_| self.try_rejoin(now)) {
            tracing::error!(
                "The robot's addresses have changed ({changed}), but ROS can't be joined anew: {error}. Nodes that start \
                 from now on may not be received until it can."
            );
            return;
        } else {
            tracing::info!("The robot's addresses have changed ({changed}); ROS is joined anew.");
        }
        if let Some(addresses) = &mut self.addresses {
            addresses.told();
        }
    }

    fn try_rejoin(&mut self, now: Instant) -> Result<(), RosError> {
        let node = Arc::new(self.joined.node().again()?);
        let (wait_set, wake) = (WaitSet::create(&node)?, GuardCondition::create(node.context())?);
        for topic in &mut self.topics {
            if let Err(error) = topic.rejoin(&node, &mut self.buffer, &mut self.receiver) {
                let topic = topic.name();
                tracing::error!(
                    topic,
                    "Topic {topic} is received as before the robot's addresses have changed, which is tried again: {error}."
                );
            }
            self.receiver.turned();
        }
        self.wait_set = wait_set;
        self.wake.set(wake);
        self.condition = self.wake.condition();
        self.joined.again(node, now);
        self.published_nodes.send_replace(self.joined.nodes());
        Ok(())
    }

    /// Gives `topics` their turns, until nothing is left of what has arrived, or until `end`. Returns those of which
    /// something may be left.
    fn serve(&mut self, topics: &[usize], end: Instant) -> Vec<usize> {
        for &index in topics {
            self.topics[index].begin_round();
            self.turns.wait(index);
        }
        let mut left = Vec::new();
        let mut now = Instant::now();
        while now < end
            && let Some(index) = self.turns.next()
        {
            let topic = &mut self.topics[index];
            let taken = topic.take(now + SLICE, &mut self.buffer, &mut self.receiver);
            let start = std::mem::replace(&mut now, Instant::now());
            self.turns.charge(index, now - start);
            self.receiver.turned();
            if taken.count > 0 {
                topic.rest.forget();
            } else {
                topic.rest.begin(now);
            }
            match taken.left {
                Left::Nothing => {}
                Left::Perhaps => left.push(index),
                Left::Due => self.turns.wait(index),
            }
        }
        left.extend(self.turns.clear());
        left
    }

    /// Hands on what has arrived of `topics`, which end then, for `time` at the most.
    fn serve_last(&mut self, topics: &[usize], time: Duration) {
        let end = Instant::now() + time;
        let mut left = topics.to_vec();
        while !left.is_empty() && Instant::now() < end {
            left = self.serve(&left, end);
        }
        for index in left {
            let topic = self.topics[index].name();
            tracing::error!(
                topic,
                "Not everything that has arrived of {topic} could be taken within {} s; what is left is lost.",
                time.as_secs()
            );
        }
    }
}

#[cfg(test)]
mod tests;
