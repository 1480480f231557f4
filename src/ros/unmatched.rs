//! Publishers that the graph knows, whose QoS and definition suit, and that DDS does not match all the same.

use std::env;
use std::ffi::CStr;
use std::time::{Duration, Instant};

use iot_bridge_core::tally::counted;
use serde::{Deserialize, Serialize};

use super::context::Node;
use super::distribution::BUILT_FOR;
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
    /// Since when each has been without a match. DDS gives their number alone: the last that came is taken for the first that
    /// is matched.
    since: Vec<Instant>,
    /// So many of the first were told.
    told: usize,
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
        self.since.len() > self.told
    }

    /// It is not known at present how many are matched. Those that were not told are looked at anew when it is.
    pub(super) fn pause(&mut self) {
        self.since.truncate(self.told);
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
        let publishers = self.for_a_while(suitable.len().saturating_sub(matched), now);
        if publishers == 0 {
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

    /// How many of the `publishers` that are without a match at `now` have been for a while.
    fn for_a_while(&mut self, publishers: usize, now: Instant) -> usize {
        if publishers == 0 && self.told > 0 {
            self.has_unnamed = false;
        }
        self.since.resize(publishers, now);
        self.told = self.since.partition_point(|since| now.saturating_duration_since(*since) >= MATCHES_WITHIN);
        self.told
    }
}

/// Whether DDS matches publishers of another definition of a type, too, as Fast DDS 2 does.
pub(super) fn are_redefined_matched() -> bool {
    let distribution = env::var("ROS_DISTRO").unwrap_or_else(|_| BUILT_FOR.to_owned());
    rmw_name().starts_with("rmw_fastrtps") && distribution == "jazzy"
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Each publisher has a second to be matched, whatever became of those before it.
    #[test]
    fn each_publisher_has_time_to_be_matched() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        let mut told = |millis, publishers| {
            let told = watch.for_a_while(publishers, start + Duration::from_millis(millis));
            (told, watch.is_open())
        };
        assert_eq!(told(0, 1), (0, true));
        assert_eq!(told(600, 2), (0, true));
        assert_eq!(told(1000, 2), (1, true), "only the first has had its time");
        assert_eq!(told(1100, 1), (1, false), "the second is matched");
        assert_eq!(told(5000, 3), (1, true));
        assert_eq!(told(5500, 1), (1, false));
        assert_eq!(told(6000, 2), (1, true), "another one has time again");
        assert_eq!(told(7000, 2), (2, false));
        assert_eq!(told(7100, 0), (0, false));
        assert_eq!(told(7200, 1), (0, true));
    }

    /// The reason of those that have gone is not said of others that come later.
    #[test]
    fn a_policy_without_a_name_is_that_of_those_who_offered_it() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        watch.refused_for_unnamed();
        // DDS refuses a publisher before the graph has it.
        assert_eq!((watch.for_a_while(0, start), watch.has_unnamed), (0, true));
        assert_eq!((watch.for_a_while(1, start), watch.has_unnamed), (0, true));
        assert_eq!((watch.for_a_while(1, start + MATCHES_WITHIN), watch.has_unnamed), (1, true));
        assert_eq!((watch.for_a_while(0, start + MATCHES_WITHIN), watch.has_unnamed), (0, false));
    }

    /// Nobody asks again and again for what is not known at present; what was told stays so.
    #[test]
    fn a_watch_that_pauses_is_not_open() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        watch.for_a_while(1, start);
        watch.pause();
        assert!(!watch.is_open());
        let later = start + 2 * MATCHES_WITHIN;
        assert_eq!((watch.for_a_while(1, later), watch.is_open()), (0, true), "its time begins anew");
        assert_eq!(watch.for_a_while(1, later + MATCHES_WITHIN), 1);
        watch.for_a_while(2, later + MATCHES_WITHIN);
        watch.pause();
        assert_eq!((watch.is_open(), watch.for_a_while(1, later + MATCHES_WITHIN)), (false, 1));
    }
}
