//! A configuration on trial: confirmed, or rolled back.

use std::time::{Duration, Instant};

/// A configuration that is in force and not confirmed.
#[derive(Debug)]
pub struct Trial {
    began: Instant,
    confirm: Duration,
}

impl Trial {
    /// When it came into force, in this process: records count that were admitted since then.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Until when something has to be acknowledged.
    pub fn until(&self) -> Instant {
        self.began + self.confirm
    }
}

/// What has become of the topics of a configuration on trial since it began.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// [`Trial::began`] of the trial that it is of. That of another is ignored.
    pub began: Instant,
    /// Whether the connection stands.
    pub is_connected: bool,
    /// Those that the wish makes: all topics in force if it sets `topics`, none otherwise. An entry with a pattern that has
    /// found no topic yet is one as well.
    pub topics: Vec<TopicEvidence>,
}

/// What has become of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicEvidence {
    /// As people know it.
    pub name: String,
    /// A record of it with `qos = 1` was admitted since the trial began. What has `qos = 0` is never acknowledged and says
    /// nothing.
    pub had_record: bool,
    /// A record of it that was admitted since the trial began has had a PUBACK that says success.
    pub is_acknowledged: bool,
    /// It is set aside because the broker does not take it: the policy forbids it.
    pub is_forbidden: bool,
}
