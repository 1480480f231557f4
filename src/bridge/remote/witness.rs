//! What has become of what is on trial, and the figures of the moment.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::FIGURES;
use crate::health::{BehindState, Topics};
use iot_bridge_core::queue::{Mark, Queue};
use iot_bridge_core::remote::{Evidence, Figures, TopicEvidence};
use iot_bridge_core::uplink::UplinkState;
use tokio::sync::watch;

/// Asks the stages.
pub(in crate::bridge) struct Witness {
    thing: String,
    queue: Arc<Queue>,
    topics: Arc<Topics>,
    uplink: watch::Receiver<UplinkState>,
    behind: Arc<BehindState>,
    /// From when on records go by the configuration in force.
    mark: Mark,
    told: Option<(Instant, Figures)>,
}

impl Witness {
    /// Of a bridge that begins with its configuration now: no record has been admitted yet.
    pub fn new(
        thing: String,
        queue: Arc<Queue>,
        topics: Arc<Topics>,
        uplink: watch::Receiver<UplinkState>,
        behind: Arc<BehindState>,
    ) -> Witness {
        let mark = queue.mark();
        Witness { thing, queue, topics, uplink, behind, mark, told: None }
    }

    /// Another configuration is in force, for records since `mark`.
    pub fn since(&mut self, mark: Mark) {
        self.mark = mark;
    }

    /// This moment in the order of records.
    pub fn now(&self) -> Mark {
        self.queue.mark()
    }

    /// What has become of the topics since the trial that `began` then; of none, if the configuration on trial does not set
    /// topics.
    ///
    /// A record that waits behind others that were there before, of its topic or of a higher priority, has not had its turn, and
    /// says nothing: after an outage there may be hours of them.
    pub fn evidence(&self, began: Instant, sets_topics: bool) -> Evidence {
        let uplink = self.uplink.borrow();
        let is_connected = uplink.is_connected();
        if !sets_topics {
            return Evidence { began, is_connected, topics: Vec::new() };
        }
        let configured = self.topics.configured();
        let since = self.queue.since(self.mark, configured.iter().map(|topic| &*topic.counters));
        let topics = configured.iter().zip(since).map(|(topic, since)| {
            let is_forbidden = topic.is_set_aside(&self.thing, &uplink);
            let has_puback = topic.sending.has_puback;
            let had_turn = since.confirmed || is_forbidden || !since.has_older;
            TopicEvidence {
                name: topic.ros.clone(),
                had_record: has_puback && since.admitted && had_turn,
                is_acknowledged: has_puback && since.confirmed,
                is_forbidden,
            }
        });
        let patterns = self.topics.patterns();
        let without_topic = patterns.iter().filter(|found| found.topics == 0).map(|found| TopicEvidence {
            name: found.ros.clone(),
            had_record: false,
            is_acknowledged: false,
            is_forbidden: false,
        });
        Evidence { began, is_connected, topics: topics.chain(without_topic).collect() }
    }

    /// The figures for the fleet's index, if they have changed and it is time for them.
    pub fn figures(&mut self, now: Instant) -> Option<Figures> {
        let before = self.told;
        if before.is_some_and(|(at, _)| now.saturating_duration_since(at) < FIGURES) {
            return None;
        }
        let shown = self.topics.untold();
        let dropped: u64 = shown.iter().map(|topic| topic.counters.dropped_in_all()).sum();
        let oldest = self.queue.figures().lanes.iter().filter_map(|lane| lane.oldest_received_ns).min();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let oldest_s = oldest.map_or(0, |ns| wall.saturating_sub(u64::try_from(ns).unwrap_or(0) / 1_000_000_000));
        let figures = Figures {
            behind: self.behind.read().is_some(),
            // Topics that have vanished take what they have dropped with them.
            dropped: dropped.max(before.map_or(0, |(_, figures)| figures.dropped)),
            oldest_s,
        };
        self.told = Some((now, figures));
        (before.map(|(_, figures)| figures) != Some(figures)).then_some(figures)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::health::{Leaves, TopicHealth};
    use iot_bridge_core::config::{self, Found, Overflow, Priority, Qos};
    use iot_bridge_core::queue::{Record, Route};
    use iot_bridge_core::tally::DropReason;

    struct Scene {
        queue: Arc<Queue>,
        topics: Arc<Topics>,
        uplink: watch::Sender<UplinkState>,
        witness: Witness,
    }

    impl Scene {
        fn set() -> Scene {
            let queue = Arc::new(Queue::in_memory(&config::Queue::in_memory(1 << 20, Overflow::DropOldest)));
            let (topics, uplink) = (Arc::<Topics>::default(), watch::Sender::new(UplinkState::default()));
            let (thing, behind) = ("robot1".to_owned(), Arc::default());
            let witness = Witness::new(thing, Arc::clone(&queue), Arc::clone(&topics), uplink.subscribe(), behind);
            Scene { queue, topics, uplink, witness }
        }

        fn topic(&self, ros: &str, has_puback: bool) -> Arc<TopicHealth> {
            let mut health = self.topics.enter(ros, &format!("robots/{{thing}}{ros}"), |_| false);
            health.sending.has_puback = has_puback;
            Arc::new(health)
        }

        fn admit(&self, topic: &TopicHealth) {
            let route = Arc::new(Route {
                topic: Arc::clone(&topic.topic),
                qos: Qos::AtLeastOnce,
                retain: false,
                priority: Priority::Normal,
                packing: Default::default(),
            });
            let now = Instant::now();
            let expires = now + Duration::from_secs(3600);
            assert!(self.queue.admit(Record { route, payload: "{}".into(), received_ns: 1, expires }, now));
        }

        fn seen(&self) -> Vec<(String, [bool; 3])> {
            let evidence = self.witness.evidence(Instant::now(), true);
            let seen =
                |topic: TopicEvidence| (topic.name, [topic.had_record, topic.is_acknowledged, topic.is_forbidden]);
            evidence.topics.into_iter().map(seen).collect()
        }
    }

    /// What of each topic has become since: a backlog in front has its turn first, QoS 0 says nothing, what is forbidden is
    /// known although nothing of it moves, and a pattern that has found nothing is silent.
    #[test]
    fn a_topic_is_judged_by_what_was_admitted_since() {
        let mut scene = Scene::set();
        let all = ["/odom", "/forbidden", "/quick", "/quiet"].map(|ros| scene.topic(ros, ros != "/quick"));
        let [odom, forbidden, quick, _] = &all;
        scene.topics.replace(all.to_vec(), Leaves::WhenDrained, Instant::now());
        let found = Found { place: 4, ros: "/none/**".to_owned(), limit: 10, topics: 0, waiting: Vec::new() };
        scene.topics.set_patterns(vec![found]);
        scene.admit(odom);
        scene.admit(forbidden);
        scene.witness.since(scene.queue.mark());
        [odom, forbidden, quick].into_iter().for_each(|topic| scene.admit(topic));
        let set_aside = vec!["robots/robot1/forbidden".to_owned()];
        scene.uplink.send_replace(UplinkState { set_aside, ..UplinkState::default() });
        let names = ["/odom", "/forbidden", "/quick", "/quiet", "/none/**"];
        let seen = |odom: [bool; 3]| {
            let others = [[true, false, true], [false; 3], [false; 3], [false; 3]];
            names.map(str::to_owned).into_iter().zip([odom].into_iter().chain(others)).collect::<Vec<_>>()
        };
        assert_eq!(scene.seen(), seen([false; 3]), "the backlog goes first");
        let leases: Vec<_> = std::iter::from_fn(|| scene.queue.lease(Instant::now())).collect();
        let of_odom: Vec<_> = leases.iter().filter(|lease| lease.record.route.ros == "/odom").collect();
        scene.queue.confirm(of_odom[0].id);
        assert_eq!(scene.seen(), seen([true, false, false]));
        scene.queue.confirm(of_odom[1].id);
        assert_eq!(scene.seen(), seen([true, true, false]));
        assert!(scene.witness.evidence(Instant::now(), false).topics.is_empty(), "it sets no topics");
    }

    /// Figures are made now and then, and told when they have changed; what was dropped never becomes less.
    #[test]
    fn figures_are_told_when_they_change() {
        let mut scene = Scene::set();
        let odom = scene.topic("/odom", true);
        scene.topics.replace(vec![Arc::clone(&odom)], Leaves::WhenDrained, Instant::now());
        let now = Instant::now();
        assert_eq!(scene.witness.figures(now), Some(Figures::default()));
        odom.counters.count_dropped(DropReason::Overflow);
        assert_eq!(scene.witness.figures(now), None, "it is not time for others");
        assert_eq!(scene.witness.figures(now + FIGURES), Some(Figures { dropped: 1, ..Figures::default() }));
        scene.topics.replace(Vec::new(), Leaves::WhenDrained, now);
        assert_eq!(scene.witness.figures(now + 2 * FIGURES), None);
    }
}
