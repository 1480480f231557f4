//! A node of the robot that is driven by commands: real DDS, from the test's process.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver as Channel};
use std::time::Duration;

use iot_bridge::ros::{self, Node, Receiver, RosThread, Sample, Silence, TopicState, Wanted};
use iot_bridge_core::codec::{Decoder, JsonBuffer, Schema};
use iot_bridge_core::config::{Durability, Reliability};
use serde_json::Value;

/// Longest wait for what has to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Subscribes to one topic until it is dropped.
pub struct Controller {
    heard: Channel<Heard>,
    _thread: RosThread<Ear>,
}

/// A message that has come.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// When DDS received it.
    pub at: Duration,
    pub message: Value,
}

impl Controller {
    /// Joins the graph and subscribes to `topic`, of the type `type_name`. The process has to be in its
    /// [domain](super::domain) already.
    pub fn start(topic: &str, type_name: &str) -> Controller {
        let (sender, heard) = mpsc::channel();
        let ear = Ear { decoder: None, sender };
        let wanted = Wanted {
            topic: topic.to_owned(),
            type_name: Some(type_name.to_owned()),
            reliability: Reliability::Reliable,
            durability: Durability::Volatile,
            depth: 1000,
        };
        let node = Node::create("controller", "").unwrap();
        Controller { heard, _thread: ros::spawn(node, vec![wanted], ear).unwrap() }
    }

    /// The next message, which has to come.
    pub fn next(&self) -> Heard {
        self.heard.recv_timeout(PATIENCE).expect("nothing comes")
    }

    /// What has come and was not asked for yet.
    pub fn rest(&self) -> Vec<Heard> {
        self.heard.try_iter().collect()
    }
}

struct Ear {
    decoder: Option<Decoder>,
    sender: mpsc::Sender<Heard>,
}

impl Receiver for Ear {
    fn opened(&mut self, _: usize, schema: &Arc<Schema>) {
        self.decoder = Some(Decoder::new(Arc::clone(schema)).unwrap());
    }

    fn received(&mut self, _: usize, sample: &Sample<'_>) {
        let mut json = JsonBuffer::new(1 << 20);
        self.decoder.as_mut().unwrap().write_json(sample.cdr, &mut json).unwrap();
        let message = serde_json::from_slice(json.as_bytes()).unwrap();
        let _ = self.sender.send(Heard { at: Duration::from_nanos(sample.received_ns as u64), message });
    }

    fn unreadable(&mut self, _: usize) {}
    fn lost(&mut self, _: usize, _: u64) {}
    fn refused(&mut self, _: usize, _: &'static str, _: u64) {}
    fn changed(&mut self, _: usize, _: TopicState) {}
    fn silent(&mut self, _: usize, _: Option<Silence>) {}
    fn turned(&mut self) {}
}
