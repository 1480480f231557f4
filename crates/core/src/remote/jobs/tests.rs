//! Jobs against the service that the tests' broker has, over a network that delays, reorders, repeats and loses.

mod of_service;
mod random;
#[path = "../../../../../tests/support/aws_broker/jobs/service.rs"]
mod service;
mod world;

use std::time::{Duration, Instant, SystemTime};

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::*;
use crate::config::fill_thing;
use crate::remote::{self, Outcome, Session, Spread, Verdict};
use crate::shadows::tests::network::Ends;
use world::{THING, World, configuration};

const SECOND: Duration = Duration::from_secs(1);

fn is_describe(request: &Request) -> bool {
    matches!(request, Request::Describe(_))
}

/// A job is listed, described, begun and ended, with the version that it has each time, and nothing more is asked for.
#[test]
fn a_job_is_begun_and_ended() {
    let mut world = World::connected();
    let asked = world.asked.len();
    assert_eq!(world.count(0, |request| *request == Request::List), 1);
    world.create("job-1", configuration("7"));
    world.settle(60 * SECOND);
    assert_eq!((world.begun.clone(), world.standing("job-1")), (vec!["job-1".to_owned()], "IN_PROGRESS".to_owned()));
    let Some(Event::Job(job)) = world.events.last() else { panic!("{:?}", world.events) };
    assert_eq!(Value::Object(job.document.clone()), configuration("7"));
    world.finish(Status::Succeeded);
    world.settle(60 * SECOND);
    assert_eq!((world.standing("job-1").as_str(), world.details("job-1")), ("SUCCEEDED", json!({"version": "7"})));
    let job = JobId::new("job-1").unwrap();
    let requests: Vec<_> = world.asked[asked..].iter().map(|(request, _)| request.clone()).collect();
    assert_eq!(requests, [Request::Describe(job.clone()), Request::Update(job.clone()), Request::Update(job)]);
    let versions: Vec<_> = world.asked[asked + 1..].iter().map(|(_, payload)| &payload["expectedVersion"]).collect();
    assert_eq!(versions, [1, 2]);
}

/// What came while the robot was away is listed at the connect; the same job once more is another run.
#[test]
fn what_came_before_is_listed() {
    let mut world = World::new();
    world.create("job-1", configuration("7"));
    world.connect();
    world.settle(10 * SECOND);
    world.finish(Status::Failed);
    world.settle(10 * SECOND);
    assert_eq!(world.standing("job-1"), "FAILED");
    world.create("job-1", configuration("7"));
    world.settle(10 * SECOND);
    world.finish(Status::Succeeded);
    world.settle(10 * SECOND);
    assert_eq!((world.begun.join(" ").as_str(), world.standing("job-1").as_str()), ("job-1 job-1#2", "SUCCEEDED"));
}

/// A job of another operation, or of none, is described once, and stays as it is; one of ours behind it is done.
#[test]
fn other_operations_are_left_alone() {
    let mut world = World::connected();
    let other = [
        json!({"operation": "reboot"}),
        json!({"operation": 7}),
        json!({}),
        json!({"operation": ["iot-bridge/config"]}),
    ];
    for (n, document) in other.iter().enumerate() {
        world.create(&format!("other-{n}"), document.clone());
        world.settle(10 * SECOND);
    }
    world.create("job-1", configuration("7"));
    world.settle(10 * SECOND);
    world.finish(Status::Succeeded);
    world.settle(10 * SECOND);
    world.disconnect();
    world.connect();
    world.settle(60 * SECOND);
    assert_eq!((world.begun.join(" ").as_str(), world.standing("job-1").as_str()), ("job-1", "SUCCEEDED"));
    for n in 0..other.len() {
        let standing = world.service.standing(THING, &format!("other-{n}"));
        assert_eq!((&standing["status"], &standing["version"]), (&json!("QUEUED"), &json!(1)));
    }
    assert_eq!(world.count(0, is_describe), other.len() + 1);
}

/// Of several the oldest is done first, and the next only when that has ended.
#[test]
fn one_job_at_a_time() {
    let mut world = World::new();
    for n in 0..15 {
        world.create(&format!("job-{n}"), configuration(&n.to_string()));
    }
    world.connect();
    for n in 0..15 {
        world.settle(10 * SECOND);
        assert_eq!(world.begun.len(), n + 1);
        world.finish(Status::Succeeded);
    }
    world.settle(10 * SECOND);
    assert_eq!(world.begun, (0..15).map(|n| format!("job-{n}")).collect::<Vec<_>>());
    assert_eq!(world.standing("job-14"), "SUCCEEDED");
}

/// A job that is cancelled before it is begun is not begun. Of one that is cancelled later nothing more is said, and the next is
/// done.
#[test]
fn a_cancelled_job_is_dropped() {
    let mut world = World::connected();
    world.create("early", configuration("1"));
    world.settle_until(|world| world.asked.last().is_some_and(|(request, _)| matches!(request, Request::Update(_))));
    world.end("early", "CANCELED");
    world.create("late", configuration("2"));
    world.settle(20 * SECOND);
    assert_eq!(world.begun, ["late"]);
    world.end("late", "TIMED_OUT");
    world.create("next", configuration("3"));
    world.settle(20 * SECOND);
    assert_eq!(world.begun, ["late"]);
    world.finish(Status::Succeeded);
    world.settle(20 * SECOND);
    let over = world.events.iter().filter_map(|event| match event {
        Event::Over { execution, why } => Some((execution.to_string(), why.clone())),
        _ => None,
    });
    let ended = |job: &str, how: &str| (job.to_owned(), Over::Ended(how.to_owned()));
    assert_eq!(over.collect::<Vec<_>>(), [ended("early", "CANCELED"), ended("late", "TIMED_OUT")]);
    assert_eq!((world.begun.len(), world.standing("late").as_str()), (2, "TIMED_OUT"));
    let news = world.service.delete(THING, "next");
    world.tell(news);
    world.finish(Status::Succeeded);
    world.settle(20 * SECOND);
    assert!(matches!(world.events.last(), Some(Event::Over { why: Over::NotFound, .. })), "{:?}", world.events.last());
}

/// What the service has taken, and the robot did not hear of, is not done nor said again.
#[test]
fn a_lost_answer_is_made_up_for() {
    let mut world = World::connected();
    world.create("job-1", configuration("7"));
    let is_update =
        |world: &World| world.asked.last().is_some_and(|(request, _)| matches!(request, Request::Update(_)));
    world.settle_until(is_update);
    world.lose_answers();
    world.settle(30 * SECOND);
    assert_eq!((world.begun.len(), world.standing("job-1").as_str()), (1, "IN_PROGRESS"));
    let asked = world.asked.len();
    world.finish(Status::Failed);
    world.settle_until(|world| world.asked.len() > asked);
    world.lose_answers();
    world.settle(30 * SECOND);
    let standing = world.service.standing(THING, "job-1");
    assert_eq!((&standing["status"], &standing["version"]), (&json!("FAILED"), &json!(3)));
    assert!(matches!(world.events.last(), Some(Event::Updated { status: Status::Failed, .. })), "{:?}", world.events);
}

/// Another process does not begin what was begun, and says what was decided.
#[test]
fn a_job_is_not_done_twice_over_a_restart() {
    let mut world = World::connected();
    world.create("job-1", configuration("7"));
    world.settle(10 * SECOND);
    world.restart();
    world.settle(10 * SECOND);
    assert_eq!(world.begun, ["job-1"]);
    world.finish(Status::Succeeded);
    world.network.requests.clear();
    world.restart();
    world.settle(10 * SECOND);
    assert_eq!((world.begun.len(), world.standing("job-1").as_str()), (1, "SUCCEEDED"));
    // It was said, nobody heard of it, and nothing is made of it any more.
    world.restart();
    world.settle(10 * SECOND);
    assert_eq!(world.begun.len(), 1);
}

/// Whoever decides may say how a job has ended before the service has said that there is one.
#[test]
fn what_was_decided_before_is_said() {
    let mut world = World::new();
    world.create("job-1", configuration("7"));
    world.create("job-2", configuration("8"));
    let execution: Execution = "job-1".parse().unwrap();
    world.client.update(Update { execution, status: Status::Failed, details: Details::default() });
    world.connect();
    world.settle(10 * SECOND);
    assert_eq!((world.standing("job-1").as_str(), world.begun.join(" ").as_str()), ("FAILED", "job-2"));
}

/// A service that is throttled is asked ever more rarely, and in the end has it all.
#[test]
fn a_throttled_service_is_backed_off_from() {
    for code in ["RequestThrottled", "InternalError", "SomethingNew"] {
        let mut world = World::new();
        world.create("job-1", configuration("7"));
        world.service.refuse.extend([code; 10]);
        world.connect();
        world.settle(20 * SECOND);
        assert!((3..=6).contains(&world.asked.len()), "{} requests in 20 s", world.asked.len());
        world.settle(1800 * SECOND);
        world.service.refuse.extend([code; 5]);
        world.finish(Status::Succeeded);
        world.settle(600 * SECOND);
        assert_eq!((world.begun.len(), world.standing("job-1").as_str()), (1, "SUCCEEDED"), "{code}");
    }
}

/// What is refused for what it says is said without details, and then no more; the next job is done.
#[test]
fn what_is_refused_is_not_said_again_unchanged() {
    let mut world = World::connected();
    world.create("job-1", configuration("7"));
    world.settle(10 * SECOND);
    world.service.refuse.push_back("InvalidRequest");
    world.finish(Status::Succeeded);
    world.settle(10 * SECOND);
    assert_eq!((world.standing("job-1").as_str(), world.details("job-1")), ("SUCCEEDED", json!({"version": "7"})));
    let (_, last) = world.asked.last().unwrap();
    assert_eq!((&last["status"], last.get("statusDetails")), (&json!("SUCCEEDED"), None));
    world.create("job-2", configuration("8"));
    world.settle(10 * SECOND);
    world.service.refuse.extend(["InvalidRequest"; 2]);
    world.finish(Status::Succeeded);
    world.settle(10 * SECOND);
    assert!(world.events.iter().any(|event| matches!(event, Event::Over { why: Over::Refused(_), .. })));
    world.create("job-3", configuration("9"));
    world.settle(10 * SECOND);
    assert_eq!(
        (world.begun.join(" ").as_str(), world.standing("job-2").as_str()),
        ("job-1 job-2 job-3", "IN_PROGRESS")
    );
}

/// A document that is ours and can't be read has failed, and the robot goes on.
#[test]
fn an_unreadable_document_has_failed() {
    let mut world = World::connected();
    let nested: Value = (0..200).fold(json!(1), |inner, _| json!([inner]));
    world.create("nested", json!({"operation": OPERATION, "config": nested}));
    world.settle(10 * SECOND);
    assert_eq!(world.standing("nested"), "FAILED");
    assert!(
        world.details("nested")["problem1"].as_str().unwrap().contains("nested too deeply"),
        "{}",
        world.details("nested")
    );
    assert!(matches!(world.events[0], Event::Unreadable { .. }));
    world.create("job-1", configuration("7"));
    world.settle(10 * SECOND);
    assert_eq!(world.begun, ["job-1"]);
}

/// The longest document that the service takes is read.
#[test]
fn a_document_may_have_32_kb() {
    let mut world = World::connected();
    let length = configuration("").to_string().len();
    world.create("job-1", configuration(&"7".repeat(DOCUMENT_LIMIT - length)));
    world.settle(10 * SECOND);
    assert_eq!(world.begun, ["job-1"]);
}

/// Lies, garbage and answers to nobody change nothing; a job of which only garbage is said is left alone.
#[test]
fn lies_and_garbage_change_nothing() {
    let mut world = World::connected();
    let job = |name: &str| JobId::new(name).unwrap();
    let long = " ".repeat(ARRIVAL_LIMIT + 1);
    let brackets = "[".repeat(ARRIVAL_LIMIT);
    let odd = [
        "",
        "null",
        "[]",
        "7",
        "{}",
        &long,
        &brackets,
        r#"{"jobs":[]}"#,
        r#"{"jobs":{"QUEUED":7}}"#,
        "{\"jobs\":{}}\u{0}",
        r#"{"jobs":{"QUEUED":[{"jobId":"../a"},{"jobId":"+"},{"jobId":"$next"},{"jobId":""}]}}"#,
        r#"{"code":"VersionMismatch"}"#,
        r#"{"clientToken":"x","execution":{"jobId":"a","status":"QUEUED","versionNumber":1}}"#,
    ];
    for request in [Request::List, Request::Describe(job("a")), Request::Update(job("a"))] {
        for kind in [Kind::Notify, Kind::Accepted(request.clone()), Kind::Rejected(request)] {
            odd.iter().for_each(|payload| world.arrive(&kind, payload.as_bytes()));
        }
    }
    let asked = world.asked.len();
    world.settle(60 * SECOND);
    assert_eq!((world.asked.len(), world.events.len()), (asked, 0), "{:?}", world.events);
    assert!(world.client.figures().malformed > 20);
    // An answer of another job, and one that is no answer.
    for (name, answer) in [("liar", true), ("garbage", false)] {
        world.arrive(&Kind::Notify, json!({"jobs": {"QUEUED": [{"jobId": name}]}}).to_string().as_bytes());
        world.settle_until(|world| world.network.requests.iter().any(|(_, outgoing)| is_describe(&outgoing.request)));
        let (_, asked) = world.asked.last().unwrap();
        let body = json!({"jobId": "other", "status": "QUEUED", "versionNumber": 1, "jobDocument": configuration("7")});
        let lie = json!({"clientToken": asked["clientToken"], "execution": body}).to_string();
        let payload = if answer { lie.as_str() } else { "{" };
        world.arrive(&Kind::Accepted(Request::Describe(job(name))), payload.as_bytes());
        world.network.requests.clear();
        world.settle(60 * SECOND);
    }
    assert_eq!((world.begun.len(), world.count(asked, is_describe)), (0, 2));
    world.create("job-1", configuration("7"));
    world.settle(10 * SECOND);
    assert_eq!(world.begun, ["job-1"]);
}

/// A notification that got lost shows after a day at the latest.
#[test]
fn a_lost_notification_is_made_up_for() {
    let mut world = World::connected();
    world.service.create(THING, "job-1", configuration("7"));
    world.settle(Duration::from_hours(25));
    assert_eq!((world.begun.len(), world.count(0, |request| *request == Request::List)), (1, 2));
}

/// A list that is older than a notification, and a notification that is older than another, do not make a job forgotten.
#[test]
fn what_is_older_changes_nothing() {
    let mut world = World::connected();
    // The answer was made before the job was, and comes after the notification of it.
    world.disconnect();
    world.connect();
    world.settle_until(|world| !world.network.requests.is_empty());
    world.serve_request(0);
    world.create("job-1", configuration("1"));
    assert_eq!(world.network.answers.len(), 2);
    world.network.answers.swap(0, 1);
    world.settle(20 * SECOND);
    assert_eq!(world.begun, ["job-1"]);
    world.finish(Status::Succeeded);
    world.settle(20 * SECOND);
    // The notification that there is none any more overtakes one that there is another; both are of one second or not.
    let notify = |seconds: u64, jobs: Value| json!({"timestamp": seconds, "jobs": jobs}).to_string();
    for (job, seconds) in [("job-2", 0), ("job-3", 1)] {
        let job_news = world.service.create(THING, job, configuration("2"));
        let mut seen = job_news.iter().filter_map(|(_, payload)| serde_json::from_slice::<Value>(payload).ok());
        let at = seen.find_map(|news| news["timestamp"].as_u64()).expect("a notification");
        world.tell(job_news);
        world.exchange();
        world.arrive(&Kind::Notify, notify(at - seconds, json!({})).as_bytes());
        world.settle(20 * SECOND);
        assert_eq!(world.begun.last().map(String::as_str), Some(job));
        world.finish(Status::Succeeded);
        world.settle(20 * SECOND);
    }
}

/// A session takes jobs beside its shadow: their answers come without being subscribed to, and how a job has ended is said with
/// the problems. One that takes none hears nothing of them.
#[test]
fn a_session_takes_jobs() {
    let new = |now| {
        let random = StdRng::seed_from_u64(7);
        Session::new("iot-bridge", THING, Spread::default(), random, now, SystemTime::UNIX_EPOCH)
    };
    let (mut now, mut service, mut jobs) = (Instant::now(), service::Service::default(), Vec::new());
    let (without, mut session) = (new(now), new(now).with_jobs());
    let notify = "$aws/things/robot1/jobs/notify";
    let is_subscribed = |session: &Session| session.filters().any(|filter| fill_thing(&filter, THING) == notify);
    assert!(
        is_subscribed(&session)
            && session.concerns(notify)
            && session.concerns("$aws/things/robot1/jobs/a/get/accepted")
    );
    assert!(
        !is_subscribed(&without) && !without.concerns(notify) && !session.concerns("$aws/things/robot2/jobs/notify")
    );
    service.create(THING, "job-1", configuration("7"));
    session.connected(now);
    for _ in 0..100 {
        now = session.wake_at(now).unwrap().max(now + Duration::from_millis(1));
        while let Some(outgoing) = session.next(now) {
            let topic = fill_thing(&outgoing.topic, THING).into_owned();
            let published = service.take(&topic, outgoing.payload.as_bytes()).unwrap_or_default();
            for (topic, payload) in published.answers {
                jobs.extend(session.arrived(&topic, &payload, now).unwrap());
            }
        }
        if let [remote::Event::Job(job)] = &jobs[..] {
            let problems = vec!["topics[0].ros is no name".to_owned()];
            let by = remote::By::Job(job.id.clone());
            let outcome = Outcome { by, version: Some("7".to_owned()), state: Verdict::Rejected, problems };
            session.job_ended(&job.id, &outcome);
        }
    }
    let standing = service.standing(THING, "job-1");
    assert_eq!(
        (&standing["status"], &standing["details"]["problem1"]),
        (&json!("FAILED"), &json!("topics[0].ros is no name"))
    );
    let [remote::Event::Job(job), remote::Event::OfJobs(Event::Updated { status: Status::Failed, .. })] = &jobs[..]
    else {
        panic!("{jobs:?}")
    };
    assert_eq!((job.id.as_str(), Value::Object(job.document.clone())), ("job-1", configuration("7")));
    assert_eq!(
        session.arrived(notify, b"{", now).unwrap_err().to_string(),
        "it is not what the Jobs service says (line 1, column 1)"
    );
}
