use super::*;

const CONFIRM: Duration = Duration::from_secs(120);
const SECOND: Duration = Duration::from_secs(1);

/// A trial and its clock.
struct Watched {
    trial: Trial,
    now: Instant,
}

impl Watched {
    fn new() -> Watched {
        Watched::within(CONFIRM)
    }

    fn within(confirm: Duration) -> Watched {
        let now = Instant::now();
        Watched { trial: Trial::new(confirm, now), now }
    }

    /// So many seconds pass, each with this evidence. Returns the last judgement, or the first that ends it, and when that was.
    fn pass(&mut self, seconds: u64, topics: &[TopicEvidence], is_connected: bool) -> (Judgement, u64) {
        let mut judgement = Judgement::Open;
        for _ in 0..seconds {
            self.now += SECOND;
            let evidence = Evidence { began: self.trial.began(), is_connected, topics: topics.to_vec() };
            judgement = self.trial.judge(&evidence, self.now);
            if judgement != Judgement::Open {
                break;
            }
        }
        (judgement, (self.now - self.trial.began()).as_secs())
    }
}

fn topic(name: &str) -> TopicEvidence {
    TopicEvidence { name: name.to_owned(), had_record: false, is_acknowledged: false, is_forbidden: false }
}

fn mute(name: &str) -> TopicEvidence {
    TopicEvidence { had_record: true, ..topic(name) }
}

fn forbidden(name: &str) -> TopicEvidence {
    TopicEvidence { is_forbidden: true, ..mute(name) }
}

fn failed(reason: &str) -> Judgement {
    Judgement::Failed(reason.to_owned())
}

/// One record of one topic is enough, whatever becomes of the others, up to the last moment.
#[test]
fn one_acknowledgement_is_enough() {
    let mut watched = Watched::new();
    let others = [mute("/a"), forbidden("/b"), topic("/c")];
    assert_eq!(watched.pass(119, &others, true), (Judgement::Open, 119));
    let acknowledged = TopicEvidence { is_acknowledged: true, ..mute("/d") };
    let all = [&others[..], &[acknowledged]].concat();
    assert_eq!(watched.pass(1, &all, true), (Judgement::Proven, 120));
}

/// Where records were sent and none was acknowledged it fails when `confirm` is over, and says for how long there was no
/// connection.
#[test]
fn without_an_acknowledgement_it_fails_in_time() {
    let topics = [mute("/a"), topic("/b"), forbidden("/c")];
    let mut watched = Watched::new();
    assert_eq!(watched.pass(300, &topics, true), (failed("Nothing was acknowledged within 2 min."), 120));
    let mut watched = Watched::new();
    watched.pass(10, &topics, true);
    let reason = "Nothing was acknowledged within 2 min; there was no connection for 110 s of it.";
    assert_eq!(watched.pass(300, &topics, false), (failed(reason), 120));
}

/// A configuration of which the policy forbids everything ends after ten seconds, with names; where some topics have not
/// spoken yet, when `confirm` is over.
#[test]
fn what_is_all_forbidden_ends_early() {
    let mut watched = Watched::new();
    let reason = "The broker takes none of its topics: the policy has to allow publishing to /a, /b.";
    assert_eq!(watched.pass(300, &[forbidden("/a"), forbidden("/b")], true), (failed(reason), 11));
    let mut watched = Watched::new();
    let some = [forbidden("/a"), forbidden("/b"), topic("/c")];
    assert_eq!(watched.pass(300, &some, true), (failed(reason), 120));
    let mut watched = Watched::new();
    assert_eq!(watched.pass(9, &[forbidden("/a")], true), (Judgement::Open, 9));
    assert_eq!(watched.pass(1, &[mute("/a")], true), (Judgement::Open, 10));
    let reason = "The broker takes none of its topics: the policy has to allow publishing to /a.";
    assert_eq!(watched.pass(300, &[forbidden("/a")], true), (failed(reason), 21));
    let mut watched = Watched::new();
    let many: Vec<_> = (0..8).map(|number| forbidden(&format!("/{number}"))).collect();
    let reason =
        "The broker takes none of its topics: the policy has to allow publishing to /0, /1, /2, /3, /4 and 3 more.";
    assert_eq!(watched.pass(300, &many, true), (failed(reason), 11));
}

/// Where nothing had a record, or there are no topics, the report decides, for as long again. It counts from then on only, and
/// a record that is acknowledged meanwhile counts as well.
#[test]
fn the_report_decides_where_topics_are_silent() {
    for topics in [vec![topic("/a")], vec![]] {
        let mut watched = Watched::new();
        watched.trial.report_acked();
        assert_eq!(watched.pass(300, &topics, true), (Judgement::NeedsReport, 120));
        assert_eq!(watched.trial.until() - watched.trial.began(), 2 * CONFIRM);
        assert_eq!(watched.pass(119, &[mute("/a")], true), (Judgement::Open, 239));
        let reason = "None of its topics had a record within 2 min, and the report was not acknowledged within 2 min after \
                      that; there was no connection for 1 s of it.";
        assert_eq!(watched.pass(300, &topics, false), (failed(reason), 240));

        let mut watched = Watched::new();
        watched.pass(300, &topics, true);
        watched.trial.report_acked();
        assert_eq!(watched.pass(1, &topics, false), (Judgement::Proven, 121));

        let mut watched = Watched::new();
        watched.pass(300, &topics, true);
        let acknowledged = TopicEvidence { is_acknowledged: true, ..mute("/a") };
        assert_eq!(watched.pass(1, &[acknowledged], true), (Judgement::Proven, 121));
    }
}

/// However early something is acknowledged, it lasts for a quarter of `confirm`, for 10 s at most.
#[test]
fn no_trial_is_too_short() {
    let acknowledged = [TopicEvidence { is_acknowledged: true, ..mute("/a") }];
    for (confirm, shortest) in [(120, 10), (40, 10), (20, 5), (4, 1)] {
        let mut watched = Watched::within(Duration::from_secs(confirm));
        assert!(!watched.trial.has_passed(watched.now + 100 * SECOND), "nothing was acknowledged");
        assert_eq!(watched.pass(1, &acknowledged, true), (Judgement::Proven, 1));
        let at = watched.trial.began() + Duration::from_secs(shortest);
        let passed = [at - Duration::from_millis(1), at].map(|at| watched.trial.has_passed(at));
        assert_eq!(passed, [false, true], "{confirm}");
    }
}

/// However short `confirm` is, the report has 30 s: it takes seconds where all is well.
#[test]
fn a_short_trial_gives_the_report_time() {
    let mut watched = Watched::within(SECOND);
    assert_eq!(watched.pass(9, &[topic("/a")], true), (Judgement::NeedsReport, 1));
    assert_eq!(watched.pass(29, &[topic("/a")], true), (Judgement::Open, 30));
    let reason =
        "None of its topics had a record within 1 s, and the report was not acknowledged within 30 s after that.";
    assert_eq!(watched.pass(9, &[topic("/a")], true), (failed(reason), 31));
}
