//! Any bytes at all, as what comes to the topics of a thing's jobs and of its configuration's shadow.

use std::time::{Duration, Instant, SystemTime};

use iot_bridge_core::config::{check_publish_topic, fill_thing};
use iot_bridge_core::remote::jobs::{OPERATION, Status};
use iot_bridge_core::remote::{By, Event, Outcome, Session, Spread, Verdict};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;

const THING: &str = "robot1";

/// What the first byte of a line stands for, by its last bits.
const TOPICS: [&str; 10] = [
    "jobs/notify",
    "jobs/get/accepted",
    "jobs/get/rejected",
    "jobs/job-1/get/accepted",
    "jobs/job-1/get/rejected",
    "jobs/job-1/update/accepted",
    "jobs/job-1/update/rejected",
    "shadow/name/iot-bridge/get/accepted",
    "shadow/name/iot-bridge/update/delta",
    "shadow/name/iot-bridge/update/accepted",
];

/// Most requests in an hour in which nothing comes: half a minute between two, most of them backed off from.
const HOURLY: usize = 120;

/// Each line of `data` comes to one of [`TOPICS`], with the token of the last request for the word `TOKEN`. A job that comes of it
/// is of our operation, requests are JSON for topics that are the thing's own, and silence does not make it talk.
pub fn hear(data: &[u8]) {
    let mut now = Instant::now();
    let random = StdRng::seed_from_u64(7);
    let mut session =
        Session::new("iot-bridge", THING, Spread::default(), random, now, SystemTime::UNIX_EPOCH).with_jobs();
    session.connected(now);
    let mut token = String::new();
    for line in data.split(|byte| *byte == b'\n') {
        now += Duration::from_secs(3);
        ask(&mut session, &mut token, now);
        let Some((first, rest)) = line.split_first() else { continue };
        let topic = format!("$aws/things/{THING}/{}", TOPICS[usize::from(*first) % TOPICS.len()]);
        let payload = with_token(rest, &token);
        let Ok(events) = session.arrived(&topic, &payload, now) else { continue };
        for event in events {
            if let Event::Job(job) = event {
                assert_eq!(job.document["operation"], OPERATION);
                let problems = vec!["\u{0}".repeat(2000), job.id.clone()];
                let outcome =
                    Outcome { by: By::Job(job.id.clone()), version: None, state: Verdict::Rejected, problems };
                session.job_ended(&job.id, &outcome);
            }
        }
        ask(&mut session, &mut token, now);
    }
    let (mut asked, end) = (0, now + Duration::from_secs(3600));
    while now < end {
        asked += ask(&mut session, &mut token, now);
        now = session.wake_at(now).map_or(end, |at| at.max(now + Duration::from_millis(1)));
    }
    assert!(asked <= HOURLY, "{asked} requests in an hour");
}

/// Everything that is to be published now.
fn ask(session: &mut Session, token: &mut String, now: Instant) -> usize {
    let mut asked = 0;
    while let Some(outgoing) = session.next(now) {
        let topic = fill_thing(&outgoing.topic, THING).into_owned();
        assert!(topic.starts_with("$aws/things/robot1/") && check_publish_topic(&topic).is_ok(), "{topic}");
        let request: Value = serde_json::from_str(&outgoing.payload).expect("JSON");
        assert!(outgoing.payload.len() <= 16 << 10);
        let status = request.get("status").and_then(Value::as_str);
        assert!(
            status.is_none_or(|status| [Status::InProgress, Status::Failed].iter().any(|known| known.name() == status))
        );
        *token = request["clientToken"].as_str().expect("a token").to_owned();
        asked += 1;
    }
    asked
}

fn with_token(payload: &[u8], token: &str) -> Vec<u8> {
    match payload.windows(5).position(|part| part == b"TOKEN") {
        Some(at) => [&payload[..at], token.as_bytes(), &payload[at + 5..]].concat(),
        None => payload.to_vec(),
    }
}
