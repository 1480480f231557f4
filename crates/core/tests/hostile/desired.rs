//! Any bytes at all, as what comes to a bridge whose configuration is in the cloud: session and keeper together.

use std::time::{Duration, Instant, UNIX_EPOCH};

use iot_bridge_core::config::{Overlay, Remote, Section, load_overlay};
use iot_bridge_core::remote::store::Kept;
use iot_bridge_core::remote::{
    Event, Evidence, Figures, Keeper, Outgoing, REPORT_LIMIT, Report, Session, Spread, Step, TopicEvidence, Wish,
};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;

const SHADOW: &str = "iot-bridge";
const THING: &str = "robot1";

/// Ends a step. No text has it.
const SEPARATOR: u8 = 0xfe;

/// Stands for the token of the last request.
const TOKEN: char = '@';

/// Longest payload of a request: what a shadow holds.
const REQUEST_LIMIT: usize = 8192;

/// What comes is read or refused in words. What is desired is in force only if it is valid and sets nothing but what may be
/// set, and never without having been kept; the shadow's `desired` is never written; and no more is sent than happens.
///
/// Each step is a byte that says what happens, one that says how long after the one before, and the rest of it.
pub fn take(bytes: &[u8]) {
    let start = Instant::now();
    let remote = Remote {
        shadow: SHADOW.to_owned(),
        allow: vec![Section::Topics],
        confirm: Duration::from_secs(120),
        jobs: false,
    };
    let random = StdRng::seed_from_u64(1);
    let session = Session::new(SHADOW, THING, Spread::default(), random, start, UNIX_EPOCH);
    let keeper = Keeper::start(Kept::default(), &remote, start);
    let mut bridge = Bridge { session, keeper, now: start, token: String::new(), sent: 0, kept: Kept::default() };
    let filters: Vec<String> = bridge.session.filters().map(|filter| filter.replace("{thing}", THING)).collect();
    bridge.session.connected(start);
    bridge.turn();
    let mut steps = 1;
    for step in bytes.split(|byte| *byte == SEPARATOR) {
        let (how, wait, rest) = match step {
            [how, wait, rest @ ..] => (usize::from(*how), u64::from(*wait), rest),
            _ => continue,
        };
        steps += 1;
        bridge.now += Duration::from_millis(wait * wait * 8);
        bridge.turn();
        match how % 8 {
            topic @ 0..=4 => bridge.hear(&filters[topic], rest),
            5 => bridge.session.disconnected(),
            6 => bridge.session.connected(bridge.now),
            _ => bridge.look(rest != b"no", rest == b"forbidden"),
        }
        bridge.turn();
    }
    // Two requests at most for each step, and a few that are repeated as time passes.
    let hours = bridge.now.duration_since(start).as_secs() / 3600;
    assert!(bridge.sent <= 8 * steps + 400 * (hours + 1), "{} requests in {steps} steps", bridge.sent);
}

struct Bridge {
    session: Session,
    keeper: Keeper,
    now: Instant,
    token: String,
    sent: u64,
    kept: Kept,
}

impl Bridge {
    fn hear(&mut self, topic: &str, payload: &[u8]) {
        let payload = match std::str::from_utf8(payload) {
            Ok(text) => text.replace(TOKEN, &self.token).into_bytes(),
            Err(_) => payload.to_owned(),
        };
        let events = match self.session.arrived(topic, &payload, self.now) {
            Ok(events) => events,
            Err(malformed) => {
                assert!(malformed.to_string().len() < 200, "{malformed}");
                return;
            }
        };
        for event in events {
            match event {
                Event::Desired { state, .. } => self.keeper.desired(&state, self.now),
                Event::Reported => {
                    let outcome = self.keeper.outcome().cloned();
                    outcome.iter().for_each(|outcome| self.keeper.report_acked(outcome, self.now));
                }
                Event::Refused { rejection, .. } => assert!(rejection.message.chars().count() <= 200),
                Event::Job(_) | Event::OfJobs(_) => panic!("there are no jobs"),
            }
        }
    }

    /// What has become of the topic on trial.
    fn look(&mut self, is_acknowledged: bool, is_forbidden: bool) {
        self.session.figures(Figures { dropped: self.sent, ..Figures::default() });
        let Some(trial) = self.keeper.trial() else { return };
        let topic = TopicEvidence { name: "/a".to_owned(), had_record: true, is_acknowledged, is_forbidden };
        let evidence = Evidence { began: trial.began(), is_connected: true, topics: vec![topic] };
        self.keeper.evidence(&evidence, self.now);
    }

    fn turn(&mut self) {
        let mut steps = 0;
        while let Some(step) = self.keeper.next(self.now) {
            steps += 1;
            assert!(steps < 100, "the keeper does not come to an end");
            match step {
                Step::Check(wish) => self.keeper.checked(load(wish.as_ref()), self.now),
                Step::Keep(kept) => {
                    self.kept = *kept;
                    self.keeper.kept(Ok(()), self.now);
                }
                Step::Apply(wish) => {
                    // Whatever comes into force stands on the disk.
                    let on_disk = self.kept.trial.as_ref().map(|trying| &trying.wish).or(self.kept.confirmed.as_ref());
                    assert_eq!(wish.as_ref().map(|wish| &wish.sections), on_disk.map(|wish| &wish.sections));
                    self.keeper.applied(load(wish.as_ref()), self.now);
                }
                Step::Report(outcome) => {
                    let (config, bridge, ros_distro) = ("0".repeat(64), "0.0.0".to_owned(), "jazzy".to_owned());
                    self.session.report(Report { outcome, config, bridge, ros_distro }, self.now);
                }
                Step::Job { .. } => panic!("there are no jobs"),
            }
        }
        if let Some(wish) = self.keeper.in_force() {
            assert!(wish.sections.keys().all(|section| section == "topics"), "{wish:?}");
            assert_eq!(load(Some(wish)), Ok(()));
        }
        let mut sent = 0;
        while let Some(outgoing) = self.session.next(self.now) {
            sent += 1;
            assert!(sent < 10, "the session does not come to an end");
            self.check(&outgoing);
        }
        self.sent += sent;
        self.session.wake_at(self.now);
    }

    fn check(&mut self, outgoing: &Outgoing) {
        let Outgoing { topic, payload } = outgoing;
        assert!(topic.starts_with("$aws/things/{thing}/") && !topic.contains(['+', '#', '\0']), "{topic}");
        assert!(payload.len() <= REQUEST_LIMIT, "{} bytes to {topic}", payload.len());
        let request: Value = serde_json::from_str(payload).expect("a request is JSON");
        if let Some(token) = request["clientToken"].as_str() {
            self.token = token.to_owned();
        }
        if topic.ends_with("/shadow/name/iot-bridge/update") {
            let state = request["state"].as_object().expect("an update has a state");
            assert!(state.keys().eq(["reported"]) && request.get("version").is_none(), "{payload}");
            assert!(request["state"].to_string().len() <= REPORT_LIMIT + r#"{"reported":}"#.len());
        }
    }
}

/// As `check` does.
fn load(wish: Option<&Wish>) -> Result<(), Vec<String>> {
    let Some(wish) = wish else { return Ok(()) };
    let overlay = Overlay { name: wish.source(SHADOW), sections: wish.sections.clone() };
    let loaded = load_overlay(&overlay, THING, SHADOW);
    loaded.map(drop).map_err(|problems| problems.iter().map(|problem| problem.sentence()).collect())
}
