//! Publishers that the graph knows, whose QoS and definition suit, and that DDS does not match all the same.

use std::ffi::CStr;
use std::time::{Duration, Instant};

use iot_bridge_core::tally::counted;
use serde::{Deserialize, Serialize};

use super::context::Node;
use super::graph::{self, Publisher};
use super::subscription::PublisherId;
use super::type_support::rmw_name;

/// How long a publisher may be without a match: the graph may know it a moment before.
const MATCHES_WITHIN: Duration = Duration::from_secs(1);

/// Publishers that DDS does not match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmatched {
    pub publishers: usize,
    pub why: Mismatch,
}

/// Why DDS does not match a publisher, as far as can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mismatch {
    /// One side has made a topic with keys of the type, and the other has not.
    Keys,
    /// A policy of DDS that ROS has no name for.
    UnnamedPolicy,
    /// DDS does not say.
    Unknown,
}

impl Unmatched {
    /// A sentence without its full stop.
    pub fn sentence(&self) -> String {
        let publishers = counted(self.publishers as u64, "publisher", "publishers");
        let why = match self.why {
            Mismatch::Keys => {
                "only one side has keys (@key) in its type, as ROS 2 has since Kilted; build both for the same distribution"
            }
            Mismatch::UnnamedPolicy => {
                "DDS refuses a policy that ROS has no name for, most likely XCDR2 as the only data representation; have it \
                 offer XCDR1"
            }
            Mismatch::Unknown => "DDS does not match it, and does not say why",
        };
        format!("nothing arrives from {publishers}: {why}")
    }
}

/// What is known of the publishers of a topic that are not matched.
#[derive(Debug, Default)]
pub(super) struct Watch {
    since: Option<Instant>,
    /// It was told.
    is_told: bool,
    /// DDS has refused a publisher for a policy without a name.
    has_unnamed: bool,
}

impl Watch {
    /// DDS has refused a publisher for a policy without a name.
    pub(super) fn refused_for_unnamed(&mut self) {
        self.has_unnamed = true;
    }

    /// Whether it has to be looked again soon.
    pub(super) fn is_open(&self) -> bool {
        self.since.is_some() && !self.is_told
    }

    /// `suitable` publishers of `topic` should deliver, and `matched` do, at `now`. Returns those that do not for a while, if
    /// there are some.
    pub(super) fn note(
        &mut self,
        node: &Node,
        topic: &CStr,
        suitable: &[&Publisher],
        matched: usize,
        now: Instant,
    ) -> Option<Unmatched> {
        let publishers = suitable.len().saturating_sub(matched);
        if publishers == 0 {
            (self.since, self.is_told) = (None, false);
            return None;
        }
        let since = *self.since.get_or_insert(now);
        self.is_told = now.saturating_duration_since(since) >= MATCHES_WITHIN;
        if !self.is_told {
            return None;
        }
        let subscribers = graph::subscribers(node, topic).unwrap_or_default();
        let own = subscribers.iter().find(|subscriber| subscriber.is_own).and_then(|own| has_key(&own.id));
        let differs = suitable.iter().any(|publisher| own.is_some() && has_key(&publisher.id) != own);
        let why = match self.has_unnamed {
            _ if differs => Mismatch::Keys,
            true => Mismatch::UnnamedPolicy,
            false => Mismatch::Unknown,
        };
        Some(Unmatched { publishers, why })
    }
}

/// Whether an endpoint is one of a topic with keys; `None` where its id does not tell.
///
/// With Fast DDS the id is the endpoint's GUID, whose last octet is the kind of the entity: 2 and 7 are a writer and a reader
/// with a key, 3 and 4 those without (OMG DDSI-RTPS 2.5, 9.3.1.2).
fn has_key(id: &PublisherId) -> Option<bool> {
    if !rmw_name().starts_with("rmw_fastrtps") {
        return None;
    }
    match id.get(15)? & 0x0f {
        2 | 7 => Some(true),
        3 | 4 => Some(false),
        _ => None,
    }
}
