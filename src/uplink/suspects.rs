//! Finds the publish over which the broker closes the connection.
//!
//! MQTT 3.1.1 has no word for a publish that the broker does not take: AWS IoT Core closes the connection over a topic
//! that the thing's policy does not allow, without saying over which of those in flight. Sent again on each connection,
//! that one would block all others for ever.
//!
//! ```text
//!   closed early, with publishes in flight
//!        │  their topics are suspects: from now on one publish at a time
//!        ▼
//!   acknowledged: no suspect any more ──► none left: as before
//!        │
//!        │  closed while it was in flight alone
//!        ▼
//!   twice, and its topic was never acknowledged ──► the topic is set aside, and tried again alone, ever more rarely
//!   thrice, and its topic was acknowledged before ──► the record is poison, and dropped
//! ```
//!
//! A batch counts as many records, of which one may be at fault: once the connection is closed over a batch alone, its
//! records go one by one.
//!
//! In MQTT 5 a broker may refuse in words, and the connection stands. Then there is nothing to find out: the topic is set
//! aside at once, and tried again as rarely, but beside the others. What is not said to be for want of permission may be
//! the record's fault: it is dropped after as many refusals as it takes closes, if its topic was acknowledged before.
//!
//! A close proves little by itself: links break, and another client with the same client id closes connections too. So:
//!
//! - Topics that were acknowledged before are suspects only after [`CROWDED`] early closes in a row.
//! - Setting a topic aside loses nothing: its records wait in the queue for as long as that keeps them.
//! - While another client seems to close the connections, nothing becomes poison, and it takes a close more to set a topic
//!   aside.
//! - Of a row of closes without any acknowledgement no more than one record becomes poison: if the next closes the
//!   connection as well, it is not the records, and the topic is set aside instead.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

use crate::queue::Route;

/// Early closes in a row after which topics are suspects that were acknowledged before.
const CROWDED: u32 = 2;

/// Closes with a publish alone in flight, without an acknowledgement of its topic between them, after which the topic is
/// set aside.
const FORBIDDEN: u32 = 2;

/// Closes with a publish alone in flight after which it is poison, if its topic was acknowledged before.
const POISON: u32 = 3;

/// How long a topic is set aside at first, and at most. Each trial that fails doubles the time.
const ASIDE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(3600));

/// What is known of the topics, over all connections. Topics are MQTT topics.
#[derive(Debug)]
pub(super) struct Suspects {
    /// A connection that is closed before this is closed early.
    stable_after: Duration,
    /// Early closes in a row, with publishes in flight.
    closes: u32,
    /// Acknowledged at least once since the start of the process.
    proven: HashSet<String>,
    suspects: BTreeSet<String>,
    /// How often a topic's publish was in flight alone at a close, since the topic's last acknowledgement.
    alone: BTreeMap<String, u32>,
    aside: BTreeMap<String, Aside>,
    /// A record was dropped as poison, and nothing has been acknowledged since.
    spent: bool,
    /// Topics whose records go in publishes of their own for so many, because the connection was closed over a batch. By
    /// the topic of the route.
    singly: BTreeMap<String, usize>,
}

/// A topic that is set aside.
#[derive(Debug, Clone, Copy)]
struct Aside {
    until: Instant,
    wait: Duration,
    /// Since the broker refuses in words: how often it has, and whether a trial is in flight.
    in_words: Option<(u32, bool)>,
}

/// How the broker has closed the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Close {
    /// How long the connection had stood.
    pub lasted: Duration,
    /// Whether another client seems to have the same client id, which closes connections too.
    pub contested: bool,
}

/// What follows from a close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The broker does not take publishes to this topic. It is tried again after `wait`.
    SetAside { topic: String, wait: Duration },
    /// The one record that was in flight will never be taken.
    Poison,
}

impl Suspects {
    pub fn new(stable_after: Duration) -> Self {
        Suspects {
            stable_after,
            closes: 0,
            proven: HashSet::new(),
            suspects: BTreeSet::new(),
            alone: BTreeMap::new(),
            aside: BTreeMap::new(),
            spent: false,
            singly: BTreeMap::new(),
        }
    }

    /// Whether publishes of `route` may be sent at `now`, to whichever of its topics they go.
    pub fn permit_route(&self, route: &Route, now: Instant) -> bool {
        self.aside.is_empty()
            || self.permit(&route.mqtt, now) && route.mqtt_compressed().is_none_or(|topic| self.permit(topic, now))
    }

    /// Whether a topic of `route` was set aside: a publish of it is a trial.
    pub fn is_trial_of(&self, route: &Route) -> bool {
        self.is_trial(&route.mqtt) || route.mqtt_compressed().is_some_and(|topic| self.is_trial(topic))
    }

    /// Whether the records of the route to `topic` have to go in publishes of their own.
    pub fn goes_singly(&self, topic: &str) -> bool {
        self.singly.contains_key(topic)
    }

    /// A publish of the route to `topic` was taken.
    pub fn has_gone(&mut self, topic: &str) {
        if let Some(left) = self.singly.get_mut(topic) {
            *left -= 1;
            if *left == 0 {
                self.singly.remove(topic);
            }
        }
    }

    /// The broker says that it does not take a batch of `records` of `route` as it is. They go one by one from now on.
    pub fn go_singly(&mut self, route: &Route, records: usize) {
        *self.singly.entry(route.mqtt.clone()).or_default() += records;
    }

    /// The broker closed the connection while a batch of `records` of `route` was in flight alone, to `topic`. They go one
    /// by one from now on, so that no more is lost than what is poison. Answers false if that does not explain the close:
    /// the topic was never acknowledged, and may be forbidden.
    pub fn closed_over_batch(&mut self, route: &Route, topic: &str, records: usize, close: Close) -> bool {
        if self.is_trial_of(route) || close.contested {
            return false;
        }
        let times = self.alone.get(topic).copied().unwrap_or_default() + 1;
        if close.lasted >= self.stable_after && times == 1 {
            // As likely the link.
            self.alone.insert(topic.to_owned(), times);
            return true;
        }
        self.singly.insert(route.mqtt.clone(), records);
        if !self.proven.contains(topic) {
            return false;
        }
        self.alone.remove(topic);
        self.suspects.insert(topic.to_owned());
        true
    }

    /// Whether only one publish may be in flight at a time.
    pub fn one_at_a_time(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// Whether publishes to `topic` may be sent at `now`.
    pub fn permit(&self, topic: &str, now: Instant) -> bool {
        let is_due = |aside: &Aside| aside.until <= now && !matches!(aside.in_words, Some((_, true)));
        self.aside.get(topic).is_none_or(is_due)
    }

    /// Whether `topic` was set aside because of closes: a publish to it is a trial, and has to be in flight alone.
    pub fn is_trial(&self, topic: &str) -> bool {
        self.aside.get(topic).is_some_and(|aside| aside.in_words.is_none())
    }

    /// Whether any topic is.
    pub fn has_trials(&self) -> bool {
        self.aside.values().any(|aside| aside.in_words.is_none())
    }

    /// A publish to `topic` is sent.
    pub fn sent(&mut self, topic: &str) {
        if let Some((_, trying)) = self.aside.get_mut(topic).and_then(|aside| aside.in_words.as_mut()) {
            *trying = true;
        }
    }

    /// No publish is in flight any more.
    pub fn connection_ended(&mut self) {
        let in_words = self.aside.values_mut().filter_map(|aside| aside.in_words.as_mut());
        in_words.for_each(|(_, trying)| *trying = false);
    }

    /// The broker refuses a publish of `records` of `route` to `topic` in words, at `now`; `forbidden` says whether for
    /// want of permission. Nothing follows if it was sent before that was known.
    pub fn refused(
        &mut self,
        route: &Route,
        topic: &str,
        records: usize,
        forbidden: bool,
        now: Instant,
    ) -> Option<Verdict> {
        let (wait, times) = match self.aside.get(topic) {
            Some(Aside { in_words: Some((_, false)), .. }) => return None,
            Some(Aside { in_words: Some((times, true)), wait, .. }) => ((*wait * 2).min(ASIDE.1), times + 1),
            Some(Aside { in_words: None, wait, .. }) => (*wait, 1),
            None => (ASIDE.0, 1),
        };
        self.suspects.remove(topic);
        if !forbidden && records > 1 {
            self.singly.insert(route.mqtt.clone(), records);
        } else if !forbidden && times >= POISON && self.proven.contains(topic) && !self.spent {
            self.spent = true;
            self.aside.remove(topic);
            return Some(Verdict::Poison);
        }
        self.aside.insert(topic.to_owned(), Aside { until: now + wait, wait, in_words: Some((times, false)) });
        Some(Verdict::SetAside { topic: topic.to_owned(), wait })
    }

    /// The topics that are set aside.
    pub fn set_aside(&self) -> Vec<String> {
        self.aside.keys().cloned().collect()
    }

    /// A publish to `topic` was acknowledged. Answers whether the topic was set aside until now.
    pub fn acknowledged(&mut self, topic: &str) -> bool {
        if !self.proven.contains(topic) {
            self.proven.insert(topic.to_owned());
        }
        self.spent = false;
        self.suspects.remove(topic);
        self.alone.remove(topic);
        self.aside.remove(topic).is_some()
    }

    /// The connection has become stable: whoever closed the last ones does so no more.
    pub fn stable(&mut self) {
        self.closes = 0;
        self.suspects.clear();
        self.alone.clear();
    }

    /// The broker closed the connection at `now`, with publishes to the topics `in_flight` unacknowledged.
    pub fn closed(&mut self, close: Close, in_flight: &[&str], now: Instant) -> Option<Verdict> {
        match in_flight {
            [] => None,
            [topic] => self.closed_alone(topic, close, now),
            crowd => {
                self.closed_crowded(crowd, close.lasted);
                None
            }
        }
    }

    fn closed_crowded(&mut self, topics: &[&str], lasted: Duration) {
        self.closes = if lasted < self.stable_after { self.closes + 1 } else { 0 };
        if self.closes == 0 {
            return;
        }
        let all = self.closes >= CROWDED;
        self.suspects = topics
            .iter()
            .filter(|topic| all || !self.proven.contains(**topic))
            .map(|topic| (*topic).to_owned())
            .collect();
    }

    fn closed_alone(&mut self, topic: &str, close: Close, now: Instant) -> Option<Verdict> {
        if let Some(aside) = self.aside.get_mut(topic) {
            // A trial that has failed.
            aside.wait = (aside.wait * 2).min(ASIDE.1);
            aside.until = now + aside.wait;
            return Some(Verdict::SetAside { topic: topic.to_owned(), wait: aside.wait });
        }
        let times = self.alone.get(topic).copied().unwrap_or_default() + 1;
        let is_poison = self.proven.contains(topic) && !self.spent && !close.contested;
        let needed = if is_poison { POISON } else { FORBIDDEN + u32::from(close.contested) };
        if times >= needed {
            self.suspects.remove(topic);
            self.alone.remove(topic);
            if is_poison {
                self.spent = true;
                return Some(Verdict::Poison);
            }
            let (wait, _) = ASIDE;
            self.aside.insert(topic.to_owned(), Aside { until: now + wait, wait, in_words: None });
            return Some(Verdict::SetAside { topic: topic.to_owned(), wait });
        }
        self.alone.insert(topic.to_owned(), times);
        // A lone publish on a connection that had stood for long is as likely to be the link.
        if close.lasted < self.stable_after || times > 1 {
            self.suspects.insert(topic.to_owned());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::config::{Encoding, Priority, Qos};
    use crate::packing::{Compression, When};

    fn route(mqtt: &str) -> Route {
        Route {
            ros: "/odom".into(),
            mqtt: mqtt.into(),
            qos: Qos::AtLeastOnce,
            retain: false,
            priority: Priority::Normal,
            packing: Default::default(),
            counters: Default::default(),
        }
    }

    const STABLE: Duration = Duration::from_secs(30);
    const EARLY: Close = Close { lasted: Duration::from_secs(1), contested: false };

    fn aside(topic: &str, wait: Duration) -> Option<Verdict> {
        Some(Verdict::SetAside { topic: topic.into(), wait })
    }

    /// A topic that was never acknowledged is found after a close with others and two alone, and the others are as
    /// before.
    #[test]
    fn a_forbidden_topic_is_found_and_set_aside() {
        let (mut suspects, now) = (Suspects::new(STABLE), Instant::now());
        assert_eq!(suspects.closed(EARLY, &["good", "bad", "good"], now), None);
        assert!(suspects.one_at_a_time());
        assert!(!suspects.acknowledged("good"));
        assert!(suspects.one_at_a_time(), "bad is still to be tried");
        assert_eq!(suspects.closed(EARLY, &["bad"], now), None);
        assert_eq!(suspects.closed(EARLY, &["bad"], now), aside("bad", ASIDE.0));
        assert!(!suspects.one_at_a_time());
        assert!(!suspects.permit("bad", now) && suspects.permit("good", now));
        assert_eq!(suspects.set_aside(), ["bad"]);
    }

    /// A broker that refuses in words costs no search: the topic is aside at once, what was in flight with it changes
    /// nothing, and one trial at a time follows, ever more rarely, beside the others.
    #[test]
    fn a_topic_that_is_refused_in_words_is_set_aside() {
        let (mut suspects, mut now, secret) = (Suspects::new(STABLE), Instant::now(), route("secret"));
        let refused = |suspects: &mut Suspects, now| suspects.refused(&secret, "secret", 1, true, now);
        assert_eq!(refused(&mut suspects, now), aside("secret", ASIDE.0));
        assert_eq!(refused(&mut suspects, now), None, "it was in flight already");
        assert!(!suspects.one_at_a_time() && !suspects.has_trials() && !suspects.permit("secret", now));
        for seconds in [30, 60, 120, 240, 480, 960, 1920, 3600, 3600] {
            now += Duration::from_secs(seconds);
            assert!(suspects.permit("secret", now));
            suspects.sent("secret");
            assert!(!suspects.permit("secret", now), "one at a time");
            let wait = Duration::from_secs(seconds * 2).min(ASIDE.1);
            assert_eq!(refused(&mut suspects, now), aside("secret", wait));
        }
        now += ASIDE.1;
        suspects.sent("secret");
        suspects.connection_ended();
        assert!(suspects.permit("secret", now), "the trial was lost with the connection");
        assert!(suspects.acknowledged("secret") && suspects.set_aside().is_empty());
    }

    /// A record that is refused again and again, and not for want of permission, is poison if its topic works; of a batch
    /// that is found out one by one.
    #[test]
    fn what_is_refused_for_itself_is_poison() {
        let (mut suspects, mut now, odom) = (Suspects::new(STABLE), Instant::now(), route("odom"));
        suspects.acknowledged("odom");
        assert_eq!(suspects.refused(&odom, "odom", 20, false, now), aside("odom", ASIDE.0));
        assert!(suspects.goes_singly("odom"));
        for (wait, verdict) in [(30, aside("odom", 2 * ASIDE.0)), (60, Some(Verdict::Poison))] {
            now += Duration::from_secs(wait);
            suspects.sent("odom");
            assert_eq!(suspects.refused(&odom, "odom", 1, false, now), verdict);
        }
        assert!(suspects.permit("odom", now), "the next has its turn");
        assert_eq!(suspects.refused(&odom, "odom", 1, false, now), aside("odom", ASIDE.0));
    }

    /// Several forbidden topics are found, in whatever order they close connections.
    #[test]
    fn several_forbidden_topics_are_found() {
        let (mut suspects, now) = (Suspects::new(STABLE), Instant::now());
        suspects.closed(EARLY, &["a", "b", "c"], now);
        let verdicts = ["a", "b", "c", "b", "c", "a"].map(|topic| suspects.closed(EARLY, &[topic], now));
        assert_eq!(verdicts[3..], [aside("b", ASIDE.0), aside("c", ASIDE.0), aside("a", ASIDE.0)]);
        assert!(!suspects.one_at_a_time());
    }

    /// The topic is tried again, ever more rarely, until it is acknowledged.
    #[test]
    fn trials_become_rarer() {
        let (mut suspects, mut now) = (Suspects::new(STABLE), Instant::now());
        (0..2).for_each(|_| _ = suspects.closed(EARLY, &["bad"], now));
        for seconds in [30, 60, 120, 240, 480, 960, 1920, 3600, 3600] {
            let wait = Duration::from_secs(seconds);
            assert!(!suspects.permit("bad", now + wait - EARLY.lasted) && suspects.permit("bad", now + wait));
            assert!(suspects.is_trial("bad"));
            now += wait;
            assert_eq!(suspects.closed(EARLY, &["bad"], now), aside("bad", (wait * 2).min(ASIDE.1)));
        }
        assert!(suspects.acknowledged("bad"), "it was set aside");
        assert!(suspects.permit("bad", now) && !suspects.is_trial("bad"));
    }

    /// A record of a topic that works is poison after three closes alone; the next of the same row is not.
    #[test]
    fn poison_needs_a_topic_that_works() {
        let (mut suspects, now) = (Suspects::new(STABLE), Instant::now());
        suspects.acknowledged("odom");
        let verdicts: Vec<_> = (0..5).map(|_| suspects.closed(EARLY, &["odom"], now)).collect();
        assert_eq!(verdicts, [None, None, Some(Verdict::Poison), None, aside("odom", ASIDE.0)]);
        suspects.acknowledged("odom");
        let verdicts: Vec<_> = (0..3).map(|_| suspects.closed(EARLY, &["odom"], now)).collect();
        assert_eq!(verdicts, [None, None, Some(Verdict::Poison)], "it worked in between");
    }

    /// A batch over which the connection is closed goes in pieces, so that only the record at fault is dropped; the topic
    /// makes batches again once as many records have gone.
    #[test]
    fn a_batch_is_tried_record_by_record() {
        let (mut suspects, now, odom) = (Suspects::new(STABLE), Instant::now(), route("odom"));
        suspects.acknowledged("odom");
        assert!(suspects.closed_over_batch(&odom, "odom", 3, EARLY));
        assert!(suspects.one_at_a_time() && suspects.goes_singly("odom"));
        let good = |suspects: &mut Suspects| {
            suspects.has_gone("odom");
            assert!(!suspects.acknowledged("odom"));
        };
        good(&mut suspects);
        let verdicts: Vec<_> = (0..3).map(|_| suspects.closed(EARLY, &["odom"], now)).collect();
        assert_eq!(verdicts, [None, None, Some(Verdict::Poison)]);
        good(&mut suspects);
        assert!(suspects.goes_singly("odom"));
        good(&mut suspects);
        assert!(!suspects.goes_singly("odom") && !suspects.one_at_a_time());
    }

    /// A batch of a topic that was never taken may be forbidden, and one on a connection that had stood for long, or that
    /// another client has closed, proves nothing.
    #[test]
    fn a_batch_may_be_forbidden_or_innocent() {
        let (mut suspects, now, odom) = (Suspects::new(STABLE), Instant::now(), route("odom"));
        assert!(!suspects.closed_over_batch(&odom, "odom", 50, EARLY));
        assert_eq!(suspects.closed(EARLY, &["odom"], now), None);
        assert!(suspects.goes_singly("odom"));
        assert_eq!(suspects.closed(EARLY, &["odom"], now), aside("odom", ASIDE.0));
        assert!(!suspects.permit_route(&odom, now) && suspects.is_trial_of(&odom));
        let mut suspects = Suspects::new(STABLE);
        suspects.acknowledged("odom");
        assert!(suspects.closed_over_batch(&odom, "odom", 50, Close { lasted: STABLE, ..EARLY }));
        assert!(!suspects.goes_singly("odom") && !suspects.one_at_a_time());
        suspects.acknowledged("odom");
        assert!(!suspects.closed_over_batch(&odom, "odom", 50, Close { contested: true, ..EARLY }));
        assert!(!suspects.goes_singly("odom"));
    }

    /// A topic waits as a whole when what is compressed of it is forbidden, on a topic of its own.
    #[test]
    fn a_forbidden_suffix_is_the_topics() {
        let (mut suspects, now, mut odom) = (Suspects::new(STABLE), Instant::now(), route("odom"));
        let compression = Compression::new(Encoding::Gzip, When::Over(0), true, "odom");
        odom.packing.compression = Some(compression);
        suspects.acknowledged("odom");
        (0..2).for_each(|_| _ = suspects.closed(EARLY, &["odom/gzip"], now));
        assert_eq!(suspects.set_aside(), ["odom/gzip"]);
        assert!(!suspects.permit_route(&odom, now) && suspects.permit_route(&route("odom"), now));
        assert!(suspects.is_trial_of(&odom) && !suspects.is_trial_of(&route("odom")));
    }

    /// A client id used twice does not make poison of what happens to be in flight.
    #[test]
    fn another_client_makes_no_poison() {
        let (mut suspects, now) = (Suspects::new(STABLE), Instant::now());
        suspects.acknowledged("odom");
        let taken_over = Close { contested: true, ..EARLY };
        let verdicts: Vec<_> = (0..3).map(|_| suspects.closed(taken_over, &["odom"], now)).collect();
        assert_eq!(verdicts, [None, None, aside("odom", ASIDE.0)]);
    }

    /// An acknowledgement between two closes clears the record.
    #[test]
    fn only_closes_in_a_row_count() {
        let (mut suspects, now) = (Suspects::new(STABLE), Instant::now());
        for _ in 0..10 {
            assert_eq!(suspects.closed(EARLY, &["odom"], now), None);
            suspects.acknowledged("odom");
        }
        for _ in 0..10 {
            assert_eq!(suspects.closed(EARLY, &["odom"], now), None);
            assert_eq!(suspects.closed(EARLY, &["scan"], now), None);
            suspects.acknowledged("odom");
            suspects.acknowledged("scan");
        }
    }

    /// A link that breaks now and then does not slow down topics that work; one that breaks all the time does, until a
    /// connection is stable.
    #[test]
    fn topics_that_work_are_suspects_late() {
        let (mut suspects, now) = (Suspects::new(STABLE), Instant::now());
        ["odom", "scan"].iter().for_each(|topic| _ = suspects.acknowledged(topic));
        for close in 1..=CROWDED {
            assert!(!suspects.one_at_a_time());
            assert_eq!(suspects.closed(EARLY, &["odom", "scan"], now), None);
            assert_eq!(suspects.one_at_a_time(), close == CROWDED);
        }
        suspects.stable();
        assert!(!suspects.one_at_a_time());
        suspects.closed(Close { lasted: STABLE, ..EARLY }, &["odom", "new"], now);
        assert!(!suspects.one_at_a_time(), "it had stood for long");
    }
}
