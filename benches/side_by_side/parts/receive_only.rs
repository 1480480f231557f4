//! A floor: a process that receives what the bridge would, by the same subscriptions, and drops the bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use iot_bridge::bridge::wanted;
use iot_bridge::ros::{self, Node, Receiver, Sample, Silence, TopicState};
use iot_bridge_core::codec::Schema;
use iot_bridge_core::config::default_topic;

use crate::plan::Plan;
use crate::told::{self, Told};

pub fn run(plan: Plan) {
    let received = Arc::new(AtomicU64::new(0));
    let topic = |topic: &crate::plan::Topic| wanted(&default_topic("robot1", &topic.ros).expect("a topic's name"));
    let topics = plan.topics.iter().map(topic).collect();
    let receiver = Dropping(Arc::clone(&received));
    let _thread = ros::spawn(Node::create("receive_only", "").unwrap(), topics, receiver).unwrap();
    told::say_ready();
    let mut before = 0;
    for what in told::listen() {
        let now = received.load(Ordering::Relaxed);
        match what {
            Told::Fresh { .. } => {
                before = now;
                told::say(&());
            }
            Told::Report { .. } => told::say(&(now - before)),
            other => panic!("a receiver does not {other:?}"),
        }
    }
}

/// Counts, and drops.
struct Dropping(Arc<AtomicU64>);

impl Receiver for Dropping {
    fn opened(&mut self, _: usize, _: &Arc<Schema>) {}
    fn received(&mut self, _: usize, _: &Sample<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn unreadable(&mut self, _: usize) {}
    fn lost(&mut self, _: usize, _: u64) {}
    fn refused(&mut self, _: usize, _: &'static str, _: u64) {}
    fn changed(&mut self, _: usize, _: TopicState) {}
    fn silent(&mut self, _: usize, _: Option<Silence>) {}
    fn turned(&mut self) {}
}
