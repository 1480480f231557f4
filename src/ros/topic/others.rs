//! Who publishes a topic besides the bridge itself: patterns find it by that, and let it go.

use std::time::{Duration, Instant};

use super::super::finder::Standing;
use super::super::graph::{self, Owner, Publisher};
use super::Topic;

/// How long a topic stays after its last publisher has gone: a node that restarts finds its subscriber where it was.
const GRACE: Duration = Duration::from_secs(10);

/// What the graph said last.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// In order; of those that have gone, if there is none. Empty before there was any.
    types: Vec<String>,
    /// Since when there is none.
    none_since: Option<Instant>,
    is_known: bool,
}

impl Others {
    /// The topic has these publishers now. One whose node is not known counts: what is received is not let go for that.
    pub(super) fn note(&mut self, publishers: &[Publisher], now: Instant) {
        self.is_known = true;
        match graph::types_of(publishers, |owner| owner != Owner::Bridge) {
            none if none.is_empty() => _ = self.none_since.get_or_insert(now),
            types => (self.types, self.none_since) = (types, None),
        }
    }
}

impl Topic {
    /// How it stands with its publishers at `now`.
    pub(in crate::ros) fn standing(&self, now: Instant) -> Standing<'_> {
        let Others { types, none_since, is_known } = &self.others;
        match none_since {
            _ if !is_known => Standing::Unknown,
            Some(since) if now.saturating_duration_since(*since) >= GRACE => Standing::Unpublished,
            Some(_) if types.is_empty() => Standing::Unknown,
            _ => Standing::Published(types),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::arrivals::Arrivals;
    use super::super::super::{Wanted, graph};
    use super::*;
    use iot_bridge_core::config::{Durability, Reliability};

    /// A topic stays for a while after its last publisher but the bridge's own has gone, with the type that it had.
    #[test]
    fn a_topic_that_nobody_publishes_stays_for_a_while() {
        let (reliability, durability) = (Reliability::Auto, Durability::Auto);
        let wanted = Wanted { topic: "/a".into(), type_name: None, reliability, durability, depth: 1 };
        let name = graph::topic_name("/a").unwrap();
        let mut topic = Topic::new(0, wanted, name, &Arrivals::of_test());
        let publisher = |type_name: &str, owner| Publisher {
            id: [0; _],
            type_name: type_name.into(),
            definition: None,
            reliable: true,
            transient_local: false,
            owner,
        };
        let now = Instant::now();
        assert_eq!(topic.standing(now), Standing::Unknown);
        let (a, b) = (publisher("p/msg/A", Owner::Other), publisher("p/msg/B", Owner::Unknown));
        topic.others.note(&[b, a.clone(), a, publisher("p/msg/C", Owner::Bridge)], now);
        assert_eq!(topic.standing(now), Standing::Published(&["p/msg/A".into(), "p/msg/B".into()]));
        topic.others.note(&[publisher("p/msg/C", Owner::Bridge)], now);
        topic.others.note(&[], now + Duration::from_secs(9));
        assert_eq!(
            topic.standing(now + Duration::from_secs(9)),
            Standing::Published(&["p/msg/A".into(), "p/msg/B".into()])
        );
        assert_eq!(topic.standing(now + GRACE), Standing::Unpublished);
        topic.others.note(&[publisher("p/msg/C", Owner::Other)], now + GRACE);
        assert_eq!(topic.standing(now + 3 * GRACE), Standing::Published(&["p/msg/C".into()]));
    }
}
