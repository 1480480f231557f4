//! Topics that nobody publishes: after a while it is said, with what may be meant.
//!
//! The RMW looks at every publisher there is to tell whether a topic has one, and each name that is meant is compared with each
//! that is published. Of thousands of topics that takes seconds, so it is done piece by piece, and messages are taken between.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Receiver;
use super::context::Node;
use super::discovery;
use super::graph;
use super::topic::Topic;
use iot_bridge_core::config::likely;

/// How long a topic may have no publisher before it is said: robots start their nodes one after the other.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Why nothing comes of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Silence {
    /// There is no other node at all.
    Alone {
        domain: usize,
        /// How other nodes would be found.
        discovery: String,
    },
    /// Nobody publishes it. There is a topic with a name like it, perhaps.
    Unpublished { nearest: Option<String> },
}

impl Silence {
    /// The sentence for a person, without its full stop.
    pub fn sentence(&self, topic: &str) -> String {
        match self {
            Silence::Alone { domain, discovery } => format!(
                "No other ROS node is seen in domain {domain} ({discovery}); ROS_DOMAIN_ID and the like stand in \
                 /etc/default/iot-bridge and have to be those of the robot's nodes"
            ),
            Silence::Unpublished { nearest: Some(nearest) } => format!("Nobody publishes {topic}; there is {nearest}"),
            Silence::Unpublished { nearest: None } => format!("Nobody publishes {topic}"),
        }
    }
}

/// Looks for topics that nobody publishes.
#[derive(Debug)]
pub(super) struct Listener {
    patience: Duration,
    /// It has been said that there is no other node.
    is_alone: bool,
    /// The other nodes are none.
    alone: Option<Silence>,
    /// Topics that there were when it was looked last who publishes them, and those of them that were published.
    named: Vec<String>,
    published: Vec<String>,
    looked: Option<Instant>,
    /// Of a look that is under way: those to ask for, and those that were found to be published.
    asking: VecDeque<String>,
    found: Vec<String>,
    /// The last look has found others.
    has_changed: bool,
    /// Indices of the topics that are to be told of then, the next one last.
    telling: Vec<usize>,
}

impl Listener {
    pub(super) fn new(patience: Duration) -> Listener {
        Listener {
            patience,
            is_alone: false,
            alone: None,
            named: Vec::new(),
            published: Vec::new(),
            looked: None,
            asking: VecDeque::new(),
            found: Vec::new(),
            has_changed: false,
            telling: Vec::new(),
        }
    }

    /// Whether nothing is left to be said.
    pub(super) fn is_done(&self) -> bool {
        self.asking.is_empty() && self.telling.is_empty()
    }

    /// Begins to say of each of `topics` whether nobody has published it for too long, unless that is under way.
    pub(super) fn listen(&mut self, node: &Node, topics: &mut [Topic], receiver: &mut dyn Receiver, now: Instant) {
        if !self.is_done() {
            return;
        }
        let is_silent = |topic: &Topic| topic.unpublished_for(now).is_some_and(|time| time >= self.patience);
        if !topics.iter().any(is_silent) {
            topics.iter_mut().for_each(|topic| topic.set_silence(None, receiver));
            self.is_alone = false;
            return;
        }
        let (others, named) = match graph::other_nodes(node).and_then(|others| Ok((others, graph::named(node)?))) {
            Ok(found) => found,
            Err(error) => return tracing::debug!("{error}."),
        };
        self.alone =
            (others == 0).then(|| Silence::Alone { domain: graph::domain(node), discovery: discovery::description() });
        if let (Some(alone), false) = (&self.alone, self.is_alone) {
            tracing::warn!("{}.", alone.sentence(""));
        }
        self.is_alone = self.alone.is_some();
        // A name may be there for a subscription alone, and be published later.
        let is_due = self.looked.is_none_or(|looked| now.saturating_duration_since(looked) >= self.patience);
        self.has_changed = false;
        if named != self.named || is_due {
            self.looked = Some(now);
            self.asking = named.iter().cloned().collect();
            self.named = named;
            if self.asking.is_empty() {
                self.asked();
            }
        }
        self.telling = (0..topics.len()).rev().collect();
    }

    /// Goes on with that until `end`, but does some of it in any case.
    pub(super) fn go_on(&mut self, node: &Node, topics: &mut [Topic], receiver: &mut dyn Receiver, end: Instant) {
        while let Some(name) = self.asking.pop_front() {
            if graph::is_published(node, &name) {
                self.found.push(name);
            }
            if self.asking.is_empty() {
                self.asked();
            }
            if Instant::now() >= end {
                return;
            }
        }
        while let Some(index) = self.telling.pop() {
            if let Some(topic) = topics.get_mut(index) {
                self.tell(topic, receiver);
            }
            if Instant::now() >= end {
                return;
            }
        }
    }

    /// Each name was asked for.
    fn asked(&mut self) {
        let found = std::mem::take(&mut self.found);
        self.has_changed = found != self.published;
        self.published = found;
    }

    fn tell(&self, topic: &mut Topic, receiver: &mut dyn Receiver) {
        if topic.unpublished_for(Instant::now()).is_none_or(|time| time < self.patience) {
            topic.set_silence(None, receiver);
        } else if let Some(alone) = &self.alone {
            topic.set_silence(Some(alone.clone()), receiver);
        } else if self.has_changed || !matches!(topic.silence(), Some(Silence::Unpublished { .. })) {
            let nearest = nearest(topic.name(), &self.published).map(str::to_owned);
            topic.set_silence(Some(Silence::Unpublished { nearest }), receiver);
        }
    }
}

/// The published topic that `topic` was probably meant to be: one whose last part is the same or nearly so.
fn nearest<'a>(topic: &str, published: &'a [String]) -> Option<&'a str> {
    fn last(name: &str) -> &str {
        name.rsplit('/').next().unwrap_or_default()
    }
    let alike: Vec<&str> = published
        .iter()
        .map(String::as_str)
        .filter(|name| *name != topic && likely(last(topic), std::iter::once(last(name))).is_some())
        .collect();
    likely(topic, alike.iter().copied()).or_else(|| alike.iter().min_by_key(|name| name.len()).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topic_that_was_meant_is_found() {
        let published =
            ["/odom", "/robot1/scan", "/robot1/tf", "/camera/front/image_raw", "/cmd_vel"].map(str::to_owned);
        for (wanted, meant) in [
            ("/odomm", Some("/odom")),
            ("/robot1/odom", Some("/odom")),
            ("/scan", Some("/robot1/scan")),
            ("/camera/front/image", Some("/camera/front/image_raw")),
            ("/Cmd_Vel", Some("/cmd_vel")),
            ("/robot1/battery", None),
            // Itself is no other.
            ("/odom", None),
        ] {
            assert_eq!(nearest(wanted, &published), meant, "{wanted}");
        }
    }

    #[test]
    fn silence_has_words() {
        let alone = Silence::Alone { domain: 92, discovery: "discovery LOCALHOST".into() };
        assert!(alone.sentence("/odom").starts_with("No other ROS node is seen in domain 92 (discovery LOCALHOST); "));
        let nearest = Silence::Unpublished { nearest: Some("/odom".into()) };
        assert_eq!(nearest.sentence("/odomm"), "Nobody publishes /odomm; there is /odom");
    }
}
