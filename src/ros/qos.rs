//! The QoS of a subscription, when it is to follow the publishers.

use super::Wanted;
use super::graph::Publisher;
use iot_bridge_core::config::{Durability, Reliability};

/// QoS that a subscription asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Qos {
    pub(super) reliable: bool,
    pub(super) transient_local: bool,
    pub(super) depth: usize,
}

impl Qos {
    /// What to ask for, so that each of `publishers` can deliver.
    ///
    /// A subscription gets nothing from a publisher that offers less than it asks for. So `auto` asks for the most
    /// that all publishers offer, and without a publisher stays at `current`, or starts with what most publishers
    /// offer: reliable, volatile. What some have published before, this does not ask for where others are volatile: see
    /// [`latched`](Self::latched).
    pub(super) fn choose(wanted: &Wanted, current: Option<Qos>, publishers: &[Publisher]) -> Qos {
        let follow = |offered: fn(&Publisher) -> bool, otherwise: bool| {
            if publishers.is_empty() { otherwise } else { publishers.iter().all(offered) }
        };
        Qos {
            reliable: match wanted.reliability {
                Reliability::Reliable => true,
                Reliability::BestEffort => false,
                Reliability::Auto => follow(|publisher| publisher.reliable, current.is_none_or(|qos| qos.reliable)),
            },
            transient_local: match wanted.durability {
                Durability::TransientLocal => true,
                Durability::Volatile => false,
                Durability::Auto => {
                    follow(|publisher| publisher.transient_local, current.is_some_and(|qos| qos.transient_local))
                }
            },
            depth: wanted.depth,
        }
    }

    /// What a second subscription has to ask for, to get what transient-local publishers have published before, where
    /// others beside them are volatile; `None` where the first one gets it.
    pub(super) fn latched(wanted: &Wanted, publishers: &[Publisher]) -> Option<Qos> {
        let is_mixed = publishers.iter().any(|publisher| publisher.transient_local)
            && publishers.iter().any(|publisher| !publisher.transient_local);
        (wanted.durability == Durability::Auto && is_mixed).then(|| {
            let latched: Vec<_> = publishers.iter().filter(|publisher| publisher.transient_local).cloned().collect();
            Qos::choose(wanted, None, &latched)
        })
    }

    /// Whether a subscription that asks for this gets what `publisher` offers.
    pub(super) fn accepts(self, publisher: &Publisher) -> bool {
        (publisher.reliable || !self.reliable) && (publisher.transient_local || !self.transient_local)
    }
}

#[cfg(test)]
mod tests {
    use super::super::graph::Owner;
    use super::*;

    fn wanted(reliability: Reliability, durability: Durability) -> Wanted {
        Wanted { topic: "/t".into(), type_name: None, reliability, durability, depth: 7 }
    }

    fn publisher(reliable: bool, transient_local: bool) -> Publisher {
        let (id, type_name) = ([0; _], "std_msgs/msg/String".into());
        Publisher { id, type_name, definition: None, reliable, transient_local, owner: Owner::Other }
    }

    #[test]
    fn auto_asks_for_the_most_that_all_publishers_offer() {
        let auto = wanted(Reliability::Auto, Durability::Auto);
        let choose = |publishers: &[Publisher]| {
            let qos = Qos::choose(&auto, None, publishers);
            (qos.reliable, qos.transient_local, qos.depth)
        };
        assert_eq!(choose(&[publisher(true, true)]), (true, true, 7));
        assert_eq!(choose(&[publisher(true, true), publisher(false, true)]), (false, true, 7));
        assert_eq!(choose(&[publisher(true, true), publisher(true, false)]), (true, false, 7));
        assert_eq!(choose(&[publisher(false, false)]), (false, false, 7));
        for publishers in
            [[publisher(true, false), publisher(false, true)], [publisher(true, true), publisher(false, false)]]
        {
            let qos = Qos::choose(&auto, None, &publishers);
            assert!(publishers.iter().all(|publisher| qos.accepts(publisher)));
        }
    }

    #[test]
    fn transient_local_publishers_beside_volatile_ones_get_a_subscription_of_their_own() {
        let auto = wanted(Reliability::Auto, Durability::Auto);
        let both = [publisher(true, true), publisher(false, false)];
        assert_eq!(Qos::latched(&auto, &both), Some(Qos { reliable: true, transient_local: true, depth: 7 }));
        assert!(!Qos::choose(&auto, None, &both).transient_local);
        for alike in [[publisher(true, true), publisher(false, true)], [publisher(true, false), publisher(true, false)]]
        {
            assert_eq!(Qos::latched(&auto, &alike), None);
        }
        for fixed in [Durability::Volatile, Durability::TransientLocal] {
            assert_eq!(Qos::latched(&wanted(Reliability::Auto, fixed), &both), None);
        }
    }

    #[test]
    fn auto_without_publishers_keeps_what_it_has() {
        let auto = wanted(Reliability::Auto, Durability::Auto);
        let start = Qos::choose(&auto, None, &[]);
        assert_eq!((start.reliable, start.transient_local), (true, false));
        let current = Qos { reliable: false, transient_local: true, depth: 7 };
        assert_eq!(Qos::choose(&auto, Some(current), &[]), current);
    }

    #[test]
    fn a_configured_qos_does_not_follow() {
        let fixed = wanted(Reliability::Reliable, Durability::TransientLocal);
        let qos = Qos::choose(&fixed, None, &[publisher(false, false)]);
        assert!(qos.reliable && qos.transient_local);
        assert!(!qos.accepts(&publisher(true, false)) && !qos.accepts(&publisher(false, true)));
        let least = wanted(Reliability::BestEffort, Durability::Volatile);
        let qos = Qos::choose(&least, None, &[publisher(true, true)]);
        assert!(!qos.reliable && !qos.transient_local);
    }
}
