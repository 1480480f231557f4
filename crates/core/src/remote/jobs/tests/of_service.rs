//! The tests' service does what the documentation says.

use serde_json::{Value, json};

use super::service::{Publication, Published, Service};
use super::world::{THING, configuration};

fn ask(service: &mut Service, request: &str, asked: Value) -> (String, Value, Vec<Publication>) {
    let topic = format!("$aws/things/{THING}/jobs/{request}");
    let Published { mut answers, news } = service.take(&topic, asked.to_string().as_bytes()).expect("a request");
    let (to, answer) = answers.pop().expect("an answer");
    let ending = to.strip_prefix(&format!("{topic}/")).expect("beside the request").to_owned();
    (ending, serde_json::from_slice(&answer).unwrap(), news)
}

fn topics(news: &[Publication]) -> Vec<&str> {
    news.iter().map(|(topic, _)| topic.rsplit_once('/').unwrap().1).collect()
}

fn rejected(service: &mut Service, request: &str, asked: Value) -> String {
    let (ending, answer, news) = ask(service, request, asked);
    assert_eq!((ending.as_str(), news.len()), ("rejected", 0), "{answer}");
    answer["code"].as_str().unwrap().to_owned()
}

/// Lists and notifications have what is in progress first, then the oldest; a change within the list is no news.
#[test]
fn lists_and_notifications() {
    let mut service = Service::default();
    let news = service.create(THING, "a", configuration("1"));
    assert_eq!(topics(&news), ["notify", "notify-next"]);
    assert_eq!(topics(&service.create(THING, "b", json!({"operation": "reboot"}))), ["notify"]);
    let (_, answer, news) =
        ask(&mut service, "b/update", json!({"status": "IN_PROGRESS", "includeJobExecutionState": true}));
    assert_eq!((answer["executionState"]["versionNumber"].clone(), news.len()), (json!(2), 0));
    let (ending, answer, _) = ask(&mut service, "get", json!({"clientToken": "t"}));
    assert_eq!((ending.as_str(), &answer["clientToken"]), ("accepted", &json!("t")));
    assert_eq!((&answer["inProgressJobs"][0]["jobId"], &answer["queuedJobs"][0]["jobId"]), (&json!("b"), &json!("a")));
    let (_, answer, news) = ask(&mut service, "b/update", json!({"status": "SUCCEEDED", "expectedVersion": "2"}));
    assert_eq!((answer.get("executionState"), topics(&news)), (None, vec!["notify", "notify-next"]));
    let notified: Value = serde_json::from_slice(&news[0].1).unwrap();
    assert_eq!((&notified["jobs"]["QUEUED"][0]["jobId"], notified["jobs"].get("IN_PROGRESS")), (&json!("a"), None));
    let next: Value = serde_json::from_slice(&news[1].1).unwrap();
    assert_eq!(next["execution"]["jobDocument"], configuration("1"));
    let (_, answer, _) = ask(&mut service, "start-next", json!({}));
    assert_eq!((&answer["execution"]["jobId"], &answer["execution"]["status"]), (&json!("a"), &json!("IN_PROGRESS")));
    let news = service.end(THING, "a", "CANCELED");
    assert_eq!(serde_json::from_slice::<Value>(&news[0].1).unwrap()["jobs"], json!({}));
}

/// Each refusal has its code, and says how it stands where the documentation says so.
#[test]
fn refusals() {
    let mut service = Service::default();
    service.create(THING, "a", configuration("1"));
    let update = |more: Value| {
        let mut asked = json!({"status": "IN_PROGRESS"});
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        asked
    };
    assert_eq!(rejected(&mut service, "b/get", json!({})), "ResourceNotFound");
    assert_eq!(rejected(&mut service, "a/get", json!({"executionNumber": 2})), "ResourceNotFound");
    assert_eq!(rejected(&mut service, "a/delete", json!({})), "InvalidTopic");
    assert_eq!(rejected(&mut service, "get", json!([])), "InvalidJson");
    assert_eq!(rejected(&mut service, "get", json!({"clientToken": "t".repeat(65)})), "InvalidRequest");
    assert_eq!(rejected(&mut service, "a/update", json!({"status": "CANCELED"})), "InvalidRequest");
    for details in [json!({"a b": "c"}), json!({"a": ""}), json!({"a": 1}), json!({"a": "x".repeat(1025)}), json!([])] {
        assert_eq!(rejected(&mut service, "a/update", update(json!({ "statusDetails": details }))), "InvalidRequest");
    }
    let (_, answer, _) = ask(&mut service, "a/update", update(json!({"expectedVersion": 7})));
    assert_eq!((&answer["code"], &answer["executionState"]["status"]), (&json!("VersionMismatch"), &json!("QUEUED")));
    assert_eq!(answer["executionState"]["versionNumber"], 1);
    ask(&mut service, "a/update", json!({"status": "FAILED", "statusDetails": {"why": "so"}}));
    assert_eq!(service.standing(THING, "a"), json!({"status": "FAILED", "version": 2, "details": {"why": "so"}}));
    let (_, answer, _) = ask(&mut service, "a/update", update(json!({})));
    assert_eq!(
        (&answer["code"], &answer["executionState"]["status"]),
        (&json!("InvalidStateTransition"), &json!("FAILED"))
    );
    assert_eq!(rejected(&mut service, "a/get", json!({})), "TerminalStateReached");
    assert!(service.take("$aws/things/robot1/shadow/get", b"").is_none());
}
