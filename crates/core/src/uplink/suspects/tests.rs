//! Single steps of the search; `model` has it all together.

use super::*;

use crate::config::{Encoding, Priority, Qos};
use crate::packing::{Compression, When};
use crate::topics::Registry;

pub(super) fn route(mqtt: &str) -> Route {
    Route {
        topic: Registry::default().topic("/odom", mqtt),
        qos: Qos::AtLeastOnce,
        retain: false,
        priority: Priority::Normal,
        packing: Default::default(),
    }
}

const STABLE: Duration = Duration::from_secs(30);
const EARLY: Close = Close { lasted: Duration::from_secs(1), contested: false };

fn aside(topic: &str, wait: Duration) -> Option<Verdict> {
    Some(Verdict::SetAside { topic: topic.into(), wait })
}

fn id(number: i64) -> RecordId {
    RecordId { received_ns: number, bytes: 100 }
}

/// The record `number` of `topic`, in flight.
fn record(topic: &str, number: i64) -> InFlight<'_> {
    InFlight { topic, batch: Some((topic, 1)), record: Some(id(number)), is_reply: false }
}

/// A publish to `topic` that was sent with QoS 0.
fn doubtful(topic: &str) -> InFlight<'_> {
    InFlight { topic, batch: None, record: None, is_reply: false }
}

fn batch(topic: &str, records: usize) -> InFlight<'_> {
    InFlight { topic, batch: Some((topic, records)), record: None, is_reply: false }
}

struct Search {
    suspects: Suspects,
    now: Instant,
}

impl Search {
    fn new(worked: &[&str]) -> Self {
        let mut search = Search { suspects: Suspects::new(STABLE), now: Instant::now() };
        worked.iter().for_each(|topic| assert!(!search.acknowledged(topic, 0)));
        search
    }

    fn closed(&mut self, in_flight: &[InFlight<'_>]) -> Option<Verdict> {
        self.suspects.connection_ended();
        self.suspects.closed(EARLY, in_flight, self.now)
    }

    fn acknowledged(&mut self, topic: &str, number: i64) -> bool {
        self.suspects.acknowledged(topic, Some(id(number)), self.now)
    }

    /// Closed over the record `number` as often as it takes to pass it over.
    fn until_passed_over(&mut self, topic: &str, number: i64) {
        for _ in 0..FORBIDDEN + PROVEN {
            assert_eq!(self.suspects.passes_over(&route(topic), Some(id(number))), 0);
            assert_eq!(self.closed(&[record(topic, number)]), None);
        }
        assert_eq!(self.suspects.passes_over(&route(topic), Some(id(number))), 1);
        assert_eq!(self.suspects.passes_over(&route(topic), Some(id(number + 1))), 0);
    }
}

/// A topic that was never acknowledged is found after a close with others and two alone, and the others are as before.
#[test]
fn a_forbidden_topic_is_found_and_set_aside() {
    let mut search = Search::new(&[]);
    assert_eq!(search.closed(&["good", "bad", "good"].map(|topic| record(topic, 1))), None);
    assert!(search.suspects.one_at_a_time());
    assert!(!search.acknowledged("good", 1));
    assert!(search.suspects.one_at_a_time(), "bad is still to be tried");
    assert_eq!(search.closed(&[record("bad", 1)]), None);
    assert_eq!(search.closed(&[record("bad", 1)]), aside("bad", ASIDE.0));
    assert!(!search.suspects.one_at_a_time());
    assert!(!search.suspects.permit_route(&route("bad"), search.now));
    assert!(search.suspects.permit_route(&route("good"), search.now));
    assert_eq!(search.suspects.set_aside(), ["bad"]);
}

/// A topic that worked until now is found as well: the record behind the one in question is not taken either, and
/// acknowledgements of others change nothing.
#[test]
fn a_topic_that_is_forbidden_later_is_found() {
    let mut search = Search::new(&["good", "bad"]);
    for close in 1..=CROWDED {
        assert!(!search.suspects.one_at_a_time());
        assert_eq!(search.closed(&[record("good", 1), record("bad", 1)]), None);
        assert_eq!(search.suspects.one_at_a_time(), close == CROWDED);
    }
    for number in 1..=FORBIDDEN + PROVEN {
        search.acknowledged("good", number.into());
        assert_eq!(search.closed(&[record("bad", 1)]), None);
    }
    search.acknowledged("good", 9);
    assert!(search.suspects.is_passing_over(&route("bad")) && search.suspects.is_trial("bad"));
    assert_eq!(search.closed(&[record("bad", 2)]), aside("bad", ASIDE.0));
    assert!(!search.suspects.one_at_a_time() && !search.suspects.permit_route(&route("bad"), search.now));
}

/// Two closes are no reason to give up the order of a topic that works: the broker is started again, and the link is cut
/// right after that, each time with the same record alone in flight.
#[test]
fn two_closes_do_not_cost_a_topic_that_works_its_order() {
    let mut search = Search::new(&["odom"]);
    for _ in 0..2 {
        assert_eq!(search.closed(&[record("odom", 1)]), None);
        assert_eq!(search.suspects.passes_over(&route("odom"), Some(id(1))), 0);
    }
    assert!(!search.acknowledged("odom", 1));
    assert!(!search.suspects.is_suspected("odom"));
}

/// A topic without another record to try is set aside.
#[test]
fn a_lone_record_waits() {
    let mut search = Search::new(&["odom"]);
    search.until_passed_over("odom", 1);
    assert_eq!(search.suspects.has_no_other(&route("scan"), search.now), None);
    assert_eq!(search.suspects.has_no_other(&route("odom"), search.now), aside("odom", ASIDE.0));
    assert_eq!(search.suspects.has_no_other(&route("odom"), search.now), None);
}

/// A record is poison after five closes, once the one behind it has been taken; and so is the next like it.
#[test]
fn poison_is_found_by_the_record_behind_it() {
    let mut search = Search::new(&["odom"]);
    for number in [1, 11] {
        search.until_passed_over("odom", number);
        search.suspects.sent("odom", Some(id(number + 1)));
        assert!(!search.suspects.permit_route(&route("odom"), search.now), "one at a time");
        assert!(search.suspects.is_trying());
        assert!(!search.acknowledged("odom", number + 1));
        assert!(search.suspects.permit_route(&route("odom"), search.now));
        let verdicts = [(); 2].map(|()| {
            search.suspects.sent("odom", Some(id(number)));
            search.closed(&[record("odom", number)])
        });
        assert_eq!(verdicts, [None, Some(Verdict::Poison)]);
        assert!(!search.suspects.is_suspected("odom"));
    }
}

/// A record that is taken after all was not at fault, and makes it harder to accuse the next.
#[test]
fn an_innocent_record_is_kept() {
    let mut search = Search::new(&["odom"]);
    search.until_passed_over("odom", 1);
    assert!(!search.acknowledged("odom", 2));
    search.suspects.sent("odom", Some(id(1)));
    assert!(!search.acknowledged("odom", 1));
    assert!(!search.suspects.is_suspected("odom"));
    search.until_passed_over("odom", 3);
    search.acknowledged("odom", 4);
    let verdicts = [(); 3].map(|()| search.closed(&[record("odom", 3)]));
    assert_eq!(verdicts, [None, None, Some(Verdict::Poison)]);
}

/// What was not closed over of QoS 0 may have been the accused: the topic goes on.
#[test]
fn an_accused_that_survives_is_cleared() {
    let mut search = Search::new(&["odom"]);
    search.until_passed_over("odom", 1);
    assert!(!search.suspects.survived("odom", search.now));
    search.suspects.sent("odom", Some(id(1)));
    assert!(!search.suspects.permit_route(&route("odom"), search.now) && search.suspects.is_trying());
    search.suspects.survived("odom", search.now);
    assert!(search.suspects.permit_route(&route("odom"), search.now) && !search.suspects.is_trying());
}

/// The accused may expire before it is tried again. The next record is not accused in its place.
#[test]
fn an_accused_that_is_gone_is_nobody_elses_fault() {
    let mut search = Search::new(&["odom"]);
    search.until_passed_over("odom", 1);
    search.acknowledged("odom", 2);
    assert!(search.suspects.is_trial_of(&route("odom")));
    search.suspects.sent("odom", Some(id(3)));
    assert!(!search.suspects.is_suspected("odom"));
}

/// A broker that refuses in words costs no search: the topic is aside at once, what was in flight with it changes
/// nothing, and one trial at a time follows, ever more rarely, beside the others.
#[test]
fn a_topic_that_is_refused_in_words_is_set_aside() {
    let Search { mut suspects, mut now } = Search::new(&[]);
    let secret = route("secret");
    let refused = |suspects: &mut Suspects, now| suspects.refused(&secret, record("secret", 1), true, now);
    assert_eq!(refused(&mut suspects, now), aside("secret", ASIDE.0));
    assert_eq!(refused(&mut suspects, now), None, "it was in flight already");
    assert!(!suspects.one_at_a_time() && !suspects.is_trying() && !suspects.permit_route(&secret, now));
    for seconds in [30, 60, 120, 240, 480, 960, 1920, 3600, 3600] {
        now += Duration::from_secs(seconds);
        assert!(suspects.permit_route(&secret, now));
        suspects.sent("secret", Some(id(1)));
        assert!(!suspects.permit_route(&secret, now), "one at a time");
        assert!(!suspects.is_trying(), "beside the others");
        let wait = Duration::from_secs(seconds * 2).min(ASIDE.1);
        assert_eq!(refused(&mut suspects, now), aside("secret", wait));
    }
    now += ASIDE.1;
    suspects.sent("secret", Some(id(1)));
    suspects.connection_ended();
    assert!(suspects.permit_route(&secret, now), "the trial was lost with the connection");
    assert!(suspects.acknowledged("secret", Some(id(1)), now) && suspects.set_aside().is_empty());
}

/// A record that is refused again and again, and not for want of permission, is poison if the broker takes the one behind
/// it; of a batch that is found out one by one.
#[test]
fn what_is_refused_for_itself_is_poison() {
    let Search { mut suspects, mut now } = Search::new(&["odom"]);
    let odom = route("odom");
    assert_eq!(suspects.refused(&odom, batch("odom", 20), false, now), aside("odom", ASIDE.0));
    assert!(suspects.goes_singly(&odom));
    for (wait, verdict) in [(30, aside("odom", 2 * ASIDE.0)), (60, aside("odom", 4 * ASIDE.0)), (120, None)] {
        now += Duration::from_secs(wait);
        suspects.sent("odom", Some(id(1)));
        assert_eq!(suspects.refused(&odom, record("odom", 1), false, now), verdict);
    }
    assert!(suspects.is_passing_over(&odom));
    suspects.sent("odom", Some(id(2)));
    assert!(suspects.acknowledged("odom", Some(id(2)), now));
    suspects.sent("odom", Some(id(1)));
    assert_eq!(suspects.refused(&odom, record("odom", 1), false, now), Some(Verdict::Poison));
    assert!(suspects.permit_route(&odom, now), "the next has its turn");
}

/// A topic of which the broker refuses everything, whatever it says, loses nothing.
#[test]
fn a_topic_that_is_refused_altogether_loses_nothing() {
    let Search { mut suspects, mut now } = Search::new(&["odom"]);
    let odom = route("odom");
    for _ in 0..20 {
        let number = if suspects.is_passing_over(&odom) { 2 } else { 1 };
        suspects.sent("odom", Some(id(number)));
        assert_ne!(suspects.refused(&odom, record("odom", number), false, now), Some(Verdict::Poison));
        now += ASIDE.1;
    }
    assert_eq!(suspects.set_aside(), ["odom"]);
}

/// A suspect without a record to try does not keep the search on over connections that took publishes for a while, none of
/// them stable. What was closed over one alone stays on its account.
#[test]
fn a_suspect_of_which_nothing_is_left_ends_no_flow() {
    let mut search = Search::new(&[]);
    search.closed(&["good", "gone"].map(|topic| record(topic, 1)));
    search.acknowledged("good", 1);
    assert!(search.suspects.one_at_a_time());
    search.suspects.was_good();
    assert!(!search.suspects.one_at_a_time());
    search.closed(&[record("bad", 1)]);
    search.suspects.was_good();
    assert!(!search.suspects.one_at_a_time());
    assert_eq!(search.closed(&[record("bad", 1)]), aside("bad", ASIDE.0));
}

/// Several forbidden topics are found, in whatever order they close connections.
#[test]
fn several_forbidden_topics_are_found() {
    let mut search = Search::new(&[]);
    search.closed(&["a", "b", "c"].map(|topic| record(topic, 1)));
    assert!(
        search.suspects.is_suspected("c") && !search.suspects.is_suspected("d"),
        "the first close alone is explained"
    );
    let verdicts = ["a", "b", "c", "b", "c", "a"].map(|topic| search.closed(&[record(topic, 1)]));
    assert_eq!(verdicts[3..], [aside("b", ASIDE.0), aside("c", ASIDE.0), aside("a", ASIDE.0)]);
    assert!(!search.suspects.one_at_a_time());
}

/// The topic is tried again, ever more rarely, until it is acknowledged. A trial is of two records: the first may be poison.
#[test]
fn trials_become_rarer() {
    let mut search = Search::new(&[]);
    (0..FORBIDDEN).for_each(|_| _ = search.closed(&[record("bad", 1)]));
    let bad = route("bad");
    for seconds in [30, 60, 120, 240, 480, 960, 1920, 3600, 3600] {
        let wait = Duration::from_secs(seconds);
        assert!(!search.suspects.permit_route(&bad, search.now + wait - EARLY.lasted));
        search.now += wait;
        assert!(search.suspects.permit_route(&bad, search.now) && search.suspects.is_trial("bad"));
        let before = search.suspects.set_aside();
        assert_eq!((search.closed(&[record("bad", 1)]), before), (None, vec!["bad".to_owned()]));
        let passed_over = search.suspects.passes_over(&bad, Some(id(1)));
        assert!((2..=10).contains(&passed_over), "more with each trial: {passed_over}");
        assert_eq!(search.closed(&[record("bad", 2)]), aside("bad", (wait * 2).min(ASIDE.1)));
    }
    search.now += ASIDE.1;
    assert!(search.acknowledged("bad", 1), "it was set aside");
    assert!(search.suspects.permit_route(&bad, search.now) && !search.suspects.is_trial("bad"));
}

/// A batch over which the connection is closed goes in pieces, so that only the record at fault is dropped; the topic
/// makes batches again once as many records have gone.
#[test]
fn a_batch_is_tried_record_by_record() {
    let (mut search, odom) = (Search::new(&["odom"]), route("odom"));
    assert_eq!(search.closed(&[batch("odom", 3)]), None);
    assert!(search.suspects.one_at_a_time() && search.suspects.goes_singly(&odom));
    search.suspects.has_gone("odom");
    search.acknowledged("odom", 1);
    assert!(search.suspects.goes_singly(&odom) && !search.suspects.one_at_a_time());
    for _ in 0..2 {
        search.suspects.has_gone("odom");
    }
    assert!(!search.suspects.goes_singly(&odom));
}

/// A batch on a connection that had stood for long proves nothing.
#[test]
fn a_batch_may_be_innocent() {
    let (mut search, odom) = (Search::new(&["odom"]), route("odom"));
    let late = Close { lasted: STABLE, ..EARLY };
    assert_eq!(search.suspects.closed(late, &[batch("odom", 50)], search.now), None);
    assert!(!search.suspects.one_at_a_time());
    assert_eq!(search.suspects.closed(late, &[batch("odom", 50)], search.now), None);
    assert!(search.suspects.one_at_a_time() && search.suspects.goes_singly(&odom), "twice in a row");
}

/// A topic waits as a whole when what is compressed of it is forbidden, on a topic of its own.
#[test]
fn a_forbidden_suffix_is_the_topics() {
    let (mut search, mut odom) = (Search::new(&["odom"]), route("odom"));
    let compression = Compression::new(Encoding::Gzip, When::Over(0), true, "odom");
    odom.packing.compression = Some(compression);
    (0..2).for_each(|_| _ = search.closed(&[record("odom/gzip", 1)]));
    assert_eq!(search.suspects.set_aside(), ["odom/gzip"]);
    assert!(!search.suspects.permit_route(&odom, search.now));
    assert!(search.suspects.permit_route(&route("odom"), search.now));
    assert!(search.suspects.is_trial_of(&odom) && !search.suspects.is_trial_of(&route("odom")));
}

/// A topic of which batches go to another topic when they are compressed.
fn compressed_beside(topic: &str) -> Route {
    let mut route = route(topic);
    route.packing.compression = Some(Compression::new(Encoding::Gzip, When::Over(1024), true, topic));
    route
}

/// What was closed over as a batch alone, on a connection that had stood for long, is tried as a batch: its records would go
/// to another topic.
#[test]
fn a_suspected_batch_stays_a_batch() {
    let (mut search, odom) = (Search::new(&["odom", "odom/gzip"]), compressed_beside("odom"));
    let late = Close { lasted: STABLE, ..EARLY };
    let closed_over = InFlight { topic: "odom/gzip", ..batch("odom", 9) };
    assert_eq!(search.suspects.closed(late, &[closed_over], search.now), None);
    assert!(!search.suspects.goes_singly(&odom) && !search.suspects.one_at_a_time());
    search.suspects.acknowledged("odom/gzip", None, search.now);
    assert!(search.suspects.topics.is_empty());
}

/// If what is compressed is forbidden and single records are too short to be compressed, batches are not split for ever
/// between closes: the topic is set aside, ever longer. Each trial splits one batch, in case a record of it is the reason.
#[test]
fn a_forbidden_suffix_of_batches_is_found() {
    let (mut search, odom) = (Search::new(&["odom"]), compressed_beside("odom"));
    let closed_over = [InFlight { topic: "odom/gzip", ..batch("odom", 3) }];
    for times in 0..8 {
        assert_eq!(search.closed(&closed_over), None);
        for number in 0..3 {
            assert!(search.suspects.goes_singly(&odom));
            search.suspects.has_gone("odom");
            search.acknowledged("odom", number);
            assert_eq!(search.suspects.acknowledged_beside(&odom, "odom", search.now), None);
        }
        assert!(!search.suspects.goes_singly(&odom) && !search.suspects.is_trial_of(&odom));
        let wait = (ASIDE.0 * 2u32.pow(times)).min(ASIDE.1);
        assert_eq!(search.closed(&closed_over), aside("odom/gzip", wait));
        assert!(!search.suspects.permit_route(&odom, search.now) && !search.suspects.goes_singly(&odom));
        search.now += wait;
        assert!(search.suspects.permit_route(&odom, search.now));
    }
}

/// A record that went to the other topic of its route does not decide over the one that stays back.
#[test]
fn what_goes_to_the_other_topic_decides_nothing() {
    let (mut search, odom) = (Search::new(&["odom", "odom/gzip"]), compressed_beside("odom"));
    (0..FORBIDDEN + PROVEN).for_each(|_| _ = search.closed(&[record("odom/gzip", 1)]));
    assert!(search.suspects.is_passing_over(&odom));
    search.acknowledged("odom", 2);
    let beside = search.suspects.acknowledged_beside(&odom, "odom", search.now);
    assert_eq!((beside, search.suspects.is_passing_over(&odom)), (aside("odom/gzip", ASIDE.0), false));
    search.acknowledged("odom", 3);
    assert_eq!(search.suspects.acknowledged_beside(&odom, "odom", search.now), None);
    assert!(!search.suspects.permit_route(&odom, search.now), "it waits all the same");
    search.now += ASIDE.0;
    search.acknowledged("odom", 4);
    assert_eq!(search.suspects.acknowledged_beside(&odom, "odom", search.now), None);
    assert!(!search.suspects.is_trial_of(&odom) && !search.suspects.goes_singly(&odom), "the next there is the trial");
    assert!(search.suspects.set_aside().is_empty());
    assert_eq!(search.closed(&[record("odom/gzip", 5)]), aside("odom/gzip", 2 * ASIDE.0));
}

/// A client id used twice does not soon make poison of what happens to be in flight.
#[test]
fn another_client_makes_poison_unlikely() {
    let Search { mut suspects, now } = Search::new(&["odom"]);
    let taken_over = Close { contested: true, ..EARLY };
    let mut closed = |number| suspects.closed(taken_over, &[record("odom", number)], now);
    assert_eq!([1, 1, 1, 1, 2].map(&mut closed), [None, None, None, None, aside("odom", ASIDE.0)]);
    suspects.acknowledged("odom", Some(id(2)), now);
    let closes = (5..=POISON + DOUBT).map(|_| suspects.closed(taken_over, &[record("odom", 1)], now));
    let verdicts: Vec<_> = closes.collect();
    let (last, before) = verdicts.split_last().unwrap();
    assert!(before.iter().all(Option::is_none) && *last == Some(Verdict::Poison), "{verdicts:?}");
}

/// An acknowledgement of the same topic between two closes clears it.
#[test]
fn only_closes_in_a_row_count() {
    let mut search = Search::new(&["odom", "scan"]);
    for number in 0..10 {
        assert_eq!(search.closed(&[record("odom", number)]), None);
        assert_eq!(search.closed(&[record("scan", number)]), None);
        search.acknowledged("odom", number);
        search.acknowledged("scan", number);
    }
}

/// A link that breaks now and then does not slow down topics that work; one that breaks all the time does, until a
/// connection is stable.
#[test]
fn topics_that_work_are_suspects_late() {
    let mut search = Search::new(&["odom", "scan"]);
    for close in 1..=CROWDED {
        assert!(!search.suspects.one_at_a_time());
        assert_eq!(search.closed(&[record("odom", 1), record("scan", 1)]), None);
        assert_eq!(search.suspects.one_at_a_time(), close == CROWDED);
    }
    search.suspects.stable();
    assert!(!search.suspects.one_at_a_time());
    let late = Close { lasted: STABLE, ..EARLY };
    search.suspects.closed(late, &[record("odom", 1), record("new", 1)], search.now);
    assert!(!search.suspects.one_at_a_time(), "it had stood for long");
}

/// A topic whose publishes have no acknowledgement is set aside without another try, and a rare one is not forgiven for
/// the time between; what was not closed over proves nothing.
#[test]
fn a_rare_forbidden_topic_with_qos_0_is_found() {
    let mut search = Search::new(&[]);
    assert!(!search.suspects.survived("rare", search.now));
    assert!(search.suspects.worked.is_empty(), "nobody has acknowledged it");
    let late = Close { lasted: 2 * STABLE, ..EARLY };
    assert_eq!(search.suspects.closed(late, &[doubtful("rare")], search.now), None);
    search.suspects.stable();
    assert_eq!(search.suspects.closed(late, &[doubtful("rare")], search.now), aside("rare", ASIDE.0));
    assert!(search.suspects.survived("rare", search.now), "it was set aside");
}

/// Topics of which nothing is heard any more are forgotten, those that are set aside too.
#[test]
fn nothing_grows_for_ever() {
    let mut search = Search::new(&["old"]);
    (0..FORBIDDEN).for_each(|_| _ = search.closed(&[record("bad", 1)]));
    search.suspects.go_singly(&route("batches"), 9, search.now);
    search.now += FORGOTTEN - EXPIRE;
    search.acknowledged("new", 1);
    search.suspects.expire(search.now);
    assert_eq!((search.suspects.worked.len(), search.suspects.set_aside().len()), (2, 1));
    assert!(search.suspects.goes_singly(&route("batches")));
    search.now += EXPIRE;
    search.suspects.expire(search.now);
    assert_eq!((search.suspects.worked.len(), search.suspects.set_aside().len()), (1, 0));
    assert!(!search.suspects.goes_singly(&route("batches")) && search.suspects.singly.is_empty());
}

/// Of topics of replies, which senders choose, no more is remembered than of a few hundred, and that of the newest; what is
/// known of configured topics stays.
#[test]
fn of_topics_of_replies_only_the_newest_are_remembered() {
    let (mut suspects, start) = (Suspects::new(STABLE), Instant::now());
    let second = Duration::from_secs(1);
    suspects.acknowledged("odom", None, start);
    suspects.closed(EARLY, &[record("imu", 1), record("odom", 1)], start);
    let topics: Vec<_> = (0..5 * MOST_REPLIES).map(|number| format!("answers/{number}")).collect();
    for (topic, age) in topics.iter().zip(0..) {
        let now = start + second * age;
        assert!(!suspects.reply_acknowledged(topic, None, now));
        let refused = format!("refused/{age}");
        suspects.refused(&route(&refused), InFlight { is_reply: true, ..record(&refused, 1) }, false, now);
        suspects.closed(EARLY, &[InFlight { is_reply: true, ..record(topic, 1) }, record("odom", 1)], now);
        assert!(suspects.has_worked(topic) && suspects.is_suspected(topic) && suspects.is_suspected(&refused));
        assert!(suspects.replies_worked.len() < 2 * MOST_REPLIES);
        assert!(suspects.topics.len() <= MOST_REPLIES + 2, "{}", suspects.topics.len());
    }
    assert!(suspects.set_aside().len() <= MOST_REPLIES);
    assert!(suspects.has_worked("odom") && suspects.is_suspected("imu") && suspects.is_suspected("odom"));
    assert!(!suspects.has_worked(&topics[0]));
    // The newest half at least.
    assert!(topics[topics.len() - MOST_REPLIES + 1..].iter().all(|topic| suspects.has_worked(topic)));
}
