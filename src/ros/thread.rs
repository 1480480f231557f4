//! The ROS thread: wait, take, hand on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::context::Node;
use super::error::RosError;
use super::guard_condition::GuardCondition;
use super::subscription::Buffer;
use super::topic::{SUBSCRIPTIONS, Topic};
use super::type_support::{TypeSupports, rmw_name};
use super::wait_set::{Ready, WaitSet};
use super::{Receiver, Wanted};
use crate::health::{ONCE_A_MINUTE, Repeat};

/// Longest time without a sign of life.
const TURN: Duration = Duration::from_millis(500);

/// Discovery reports a starting node in many small changes; they are looked at together.
const GRAPH_SETTLES: Duration = Duration::from_millis(50);

/// A missing package or a lost graph event heals within this time.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Messages of one topic that are taken before the others get their turn.
const TAKEN_IN_A_ROW: usize = 256;

/// How often DDS is asked for lost messages and refused publishers.
const ASK_EVENTS: Duration = Duration::from_secs(1);

/// The running ROS thread. It ends when this is dropped, at the latest.
pub struct RosThread {
    stop: Arc<AtomicBool>,
    wake: Arc<GuardCondition>,
    /// There until it is joined.
    thread: Option<JoinHandle<()>>,
}

/// Starts the thread that receives `wanted` and hands it to `receiver`.
///
/// # Errors
/// When rcl refuses what every subscription needs, or the thread can't be started. A topic that can't be received is
/// no error: the receiver is told, and it is tried again.
pub fn spawn(
    node: impl Into<Arc<Node>>,
    wanted: Vec<Wanted>,
    receiver: impl Receiver + 'static,
) -> Result<RosThread, RosError> {
    let node = node.into();
    let wake = Arc::new(GuardCondition::create(node.context())?);
    let stop = Arc::new(AtomicBool::new(false));
    let topics =
        wanted.into_iter().enumerate().map(|(index, wanted)| Topic::new(index, wanted)).collect::<Result<_, _>>()?;
    tracing::info!(rmw = rmw_name(), "The ROS node is up.");
    let reception = Reception {
        wait_set: WaitSet::create(&node)?,
        buffer: Buffer::new()?,
        types: TypeSupports::default(),
        topics,
        wake: Arc::clone(&wake),
        stop: Arc::clone(&stop),
        receiver,
        node,
    };
    let thread = thread::Builder::new()
        .name("ros".to_owned())
        .spawn(move || reception.run())
        .map_err(|error| RosError { doing: "Starting the ROS thread", message: error.to_string(), code: 0 })?;
    Ok(RosThread { stop, wake, thread: Some(thread) })
}

impl RosThread {
    /// Ends reception: takes what has arrived already, then leaves the graph. Answers when the thread is gone.
    ///
    /// # Errors
    /// When the thread had panicked.
    pub fn stop(mut self) -> thread::Result<()> {
        self.end()
    }

    /// Whether the thread has ended, which without [`stop`](Self::stop) means that it died.
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn end(&mut self) -> thread::Result<()> {
        self.stop.store(true, Ordering::Release);
        if let Err(error) = self.wake.trigger() {
            // The thread comes round by itself within a turn.
            tracing::debug!("{error}.");
        }
        self.thread.take().map_or(Ok(()), JoinHandle::join)
    }
}

impl Drop for RosThread {
    fn drop(&mut self) {
        // Whoever wants to know of a panic calls `stop`.
        let _ = self.end();
    }
}

/// Everything that the thread owns. The order of the fields is the order of their end: subscriptions before the node.
struct Reception<R> {
    wait_set: WaitSet,
    buffer: Buffer,
    topics: Vec<Topic>,
    types: TypeSupports,
    wake: Arc<GuardCondition>,
    stop: Arc<AtomicBool>,
    receiver: R,
    node: Arc<Node>,
}

impl<R: Receiver> Reception<R> {
    fn run(mut self) {
        let mut ready = Ready::default();
        let mut trouble = Repeat::default();
        let mut look_at = Instant::now();
        let mut ask_at = Instant::now() + ASK_EVENTS;
        while !self.stop.load(Ordering::Acquire) {
            let now = Instant::now();
            if now >= look_at {
                for topic in &mut self.topics {
                    topic.follow(&self.node, &mut self.types, &mut self.receiver);
                }
                look_at = now + LOOK_AGAIN;
            }
            if now >= ask_at {
                for topic in &mut self.topics {
                    topic.retire(now);
                    topic.ask_events(&mut self.receiver);
                }
                ask_at = now + ASK_EVENTS;
            }
            let timeout = TURN.min(look_at.saturating_duration_since(now)).min(ask_at.saturating_duration_since(now));
            let waited = self.wait_set.wait(
                &self.node,
                &self.wake,
                self.topics.iter().flat_map(Topic::subscriptions),
                timeout,
                &mut ready,
            );
            if let Err(error) = waited {
                if trouble.due(now, ONCE_A_MINUTE).is_some() {
                    tracing::error!("No message can be received: {error}.");
                }
                // Not a busy loop, whatever rcl is unhappy about; and no sign of life.
                thread::sleep(TURN);
                continue;
            }
            self.receiver.turned();
            if ready.graph {
                look_at = look_at.min(Instant::now() + GRAPH_SETTLES);
            }
            for &position in &ready.subscriptions {
                self.topics[position / SUBSCRIPTIONS].take(TAKEN_IN_A_ROW, &mut self.buffer, &mut self.receiver);
            }
        }
        for topic in &mut self.topics {
            topic.take_all(&mut self.buffer, &mut self.receiver);
        }
    }
}
