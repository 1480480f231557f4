//! Finding the topics, and listening to them.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::Configured;
use super::gauge::{Gauge, Gauged};
use crate::commands::asked_to_stop;
use crate::commands::bar::Bar;
use crate::ros::{self, Change, Node, Published, RosThread, Wanted};
use iot_bridge_core::config::{Durability, Reliability};

/// How often the graph is looked at until it is known.
const LOOK: Duration = Duration::from_millis(200);

/// How often it is looked at while it is listened.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The graph is taken as it is after this time, also where topics come and go, or none is found.
const KNOWN: Duration = Duration::from_secs(10);

/// Messages that DDS keeps until they are taken: a second of a fast topic on a busy machine.
const DEPTH: usize = 1000;

/// How long the ROS thread may take to hand over what has come.
const HAND_OVER: Duration = Duration::from_secs(10);

/// What was heard.
pub struct Heard {
    pub topics: Vec<HeardTopic>,
    /// When it was listened, nanoseconds since 1970.
    pub from: i64,
    pub to: i64,
    /// What to say where there is nothing: a sentence without its full stop.
    pub nothing: String,
}

/// A topic and what has come of it.
pub struct HeardTopic {
    pub published: Published,
    pub gauged: Gauged,
}

/// Finds what others publish, and listens to all of it for `time`, or until it is asked to stop.
#[tokio::main(flavor = "current_thread")]
pub async fn listen(configured: &Configured, time: Duration) -> anyhow::Result<Heard> {
    let mut stop = pin!(asked_to_stop()?);
    let thread = ros::spawn(Node::create("iot_bridge_topics", "")?, Vec::new(), Gauge::default())?;
    let mut wanted: Vec<String> = Vec::new();
    let mut bar = Bar::new("Finding topics");
    let started = Instant::now();
    let mut changed = started;
    let mut is_stopped = false;
    let mut found: Vec<Published> = Vec::new();
    // What was published before has come by then, so that it counts for no rate.
    let is_known = |found: &[Published], changed: Instant| !found.is_empty() && changed.elapsed() >= ros::SETTLED;
    while !is_stopped && !is_known(&found, changed) && started.elapsed() < KNOWN {
        tokio::select! {
            _ = &mut stop => is_stopped = true,
            () = sleep(LOOK) => {}
        }
        bar.at(started.elapsed().as_millis() as u64, KNOWN.as_millis() as u64);
        let now = ros::published(&*newest(&thread)?, &configured.node)?;
        if now != found {
            (found, changed) = (now, Instant::now());
            add(&thread, configured, &found, &mut wanted)?;
        }
    }
    drop(bar);
    let from = nanoseconds();
    tell(&thread, move |gauge| gauge.begin(from))?;
    let mut bar = Bar::new("Listening");
    let begun = Instant::now();
    while !wanted.is_empty() && !is_stopped && begun.elapsed() < time {
        tokio::select! {
            _ = &mut stop => is_stopped = true,
            () = sleep(LOOK.min(time.saturating_sub(begun.elapsed()))) => {}
        }
        bar.at(begun.elapsed().as_millis() as u64, time.as_millis() as u64);
        if changed.elapsed() >= LOOK_AGAIN {
            changed = Instant::now();
            // Those that went stay: they were there.
            let new = ros::published(&*newest(&thread)?, &configured.node)?;
            found.extend(new.into_iter().filter(|topic| !wanted.contains(&topic.name)));
            add(&thread, configured, &found, &mut wanted)?;
        }
    }
    drop(bar);
    let to = nanoseconds();
    let node = newest(&thread)?;
    let (hand_over, handed_over) = oneshot::channel();
    let all = Change {
        remove: (0..wanted.len()).collect(),
        // An error means that nobody waits any more.
        tell: Box::new(|gauge: &mut Gauge| drop(hand_over.send(gauge.take()))),
        ..Change::default()
    };
    thread.change(all)?;
    let gauged = tokio::time::timeout(HAND_OVER, handed_over).await.map(Result::ok).ok().flatten();
    let gauged = gauged.ok_or_else(|| anyhow!("the ROS thread died"))?;
    let mut published: Vec<Option<Published>> = found.into_iter().map(Some).collect();
    let mut take = |name: &str| {
        published.iter_mut().find(|topic| topic.as_ref().is_some_and(|topic| topic.name == name)).and_then(Option::take)
    };
    let topics = wanted.iter().zip(gauged);
    let topics = topics.filter_map(|(name, gauged)| Some(HeardTopic { published: take(name)?, gauged })).collect();
    Ok(Heard { topics, from, to, nothing: ros::why_nothing(&node)? })
}

/// The node, which is another one after the robot's addresses have changed.
fn newest(thread: &RosThread<Gauge>) -> anyhow::Result<Arc<Node>> {
    thread.nodes().borrow().last().cloned().context("the ROS thread has no node")
}

/// Has the thread receive the topics of `found` that it does not yet.
fn add(
    thread: &RosThread<Gauge>,
    configured: &Configured,
    found: &[Published],
    wanted: &mut Vec<String>,
) -> anyhow::Result<()> {
    let new: Vec<&Published> = found.iter().filter(|topic| !wanted.contains(&topic.name)).collect();
    let mut entries = configured.entries_of(found.iter());
    let add: Vec<Wanted> = new
        .iter()
        .map(|topic| Wanted {
            topic: topic.name.clone(),
            type_name: entries.remove(&topic.name).and_then(|of_topic| of_topic.into_iter().next()?.type_name),
            reliability: Reliability::Auto,
            durability: Durability::Auto,
            depth: DEPTH,
        })
        .collect();
    wanted.extend(new.iter().map(|topic| topic.name.clone()));
    if add.is_empty() {
        return Ok(());
    }
    let (count, now) = (add.len(), nanoseconds());
    let tell = move |gauge: &mut Gauge| gauge.add(count, now);
    Ok(thread.change(Change { tell: Box::new(tell), add, ..Change::default() })?)
}

/// Has the thread do something between two messages.
fn tell(thread: &RosThread<Gauge>, tell: impl FnOnce(&mut Gauge) + Send + 'static) -> anyhow::Result<()> {
    Ok(thread.change(Change { tell: Box::new(tell), ..Change::default() })?)
}

fn nanoseconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
