//! Actions of robots, asked for from the cloud: rclpy's server, a real broker.

use crate::support::cloud::Cloud;
use crate::support::program::Program;
use crate::support::rclpy::Rclpy;
use crate::support::stage::Stage;
use iot_bridge::health::report::Lane;
use serde_json::{Value, json};

const TOPIC: &str = "robots/robot1/fibonacci";
const REPLY: &str = "robots/robot1/fibonacci/reply";
const FEEDBACK: &str = "robots/robot1/fibonacci/feedback";

struct Asked {
    stage: Stage,
    cloud: Cloud,
    program: Program,
    server: Rclpy,
    /// How often goals were tried until one succeeds.
    probes: usize,
}

impl Asked {
    async fn set(rest: &str) -> Asked {
        let stage = Stage::set().await;
        let entry = format!(
            "[mqtt.reconnect]\ninitial = \"1 s\"\nmax = \"1 s\"\n\
             [[actions]]\nmqtt = \"robots/{{thing}}/fibonacci\"\naction = \"/fibonacci\"\ntype = \"test_msgs/action/Fibonacci\"\n{rest}\n"
        );
        let program = Program::start(&stage.configure(&entry));
        let cloud = Cloud::connect(&stage.authority, stage.mosquitto.port()).await;
        let server = Rclpy::start("fibonacci_server.py", &[]);
        let mut asked = Asked { stage, cloud, program, server, probes: 0 };
        asked.is_served().await;
        asked
    }

    async fn ask(&self, request: &str) {
        self.cloud.ask(TOPIC, request).await;
    }

    /// Waits until the server takes goals.
    async fn is_served(&mut self) {
        self.probes += 1;
        let goal = format!(r#"{{"id":"probe {}","goal":{{"order":1}}}}"#, self.probes);
        let has_ended = |of: &str, answer: &Value| of == REPLY && answer["status"] == "succeeded";
        self.cloud.ask_until(TOPIC, &goal, &mut self.stage.observer, has_ended).await;
        // What was asked until then may still be answered.
        self.ask(r#"{"id":"last","cancel":false}"#).await;
        while self.answer().await.1["id"] != "last" {}
    }

    /// The next reply or feedback, and to which topic.
    async fn answer(&mut self) -> (String, Value) {
        loop {
            let (topic, payload) = self.stage.observer.next().await;
            if topic == REPLY || topic == FEEDBACK {
                return (topic, serde_json::from_slice(&payload).unwrap());
            }
        }
    }

    /// The replies of `id` until a status that ends it, and how much feedback there was between.
    async fn until_end(&mut self, id: &str) -> (Vec<Value>, Vec<Value>) {
        let (mut replies, mut feedback) = (Vec::new(), Vec::new());
        loop {
            let (topic, answer) = self.answer().await;
            if answer["id"] != id {
                continue;
            }
            if topic == FEEDBACK {
                feedback.push(answer["feedback"].clone());
                continue;
            }
            let is_end = !["accepted", "executing", "canceling"].contains(&answer["status"].as_str().unwrap());
            replies.push(answer);
            if is_end {
                return (replies, feedback);
            }
        }
    }
}

fn statuses(replies: &[Value]) -> Vec<&str> {
    replies.iter().map(|reply| reply["status"].as_str().unwrap()).collect()
}

/// A goal is accepted, executed and succeeds, with its feedback on the way and its result at the end; another is canceled, one
/// is aborted, one is rejected, and what can't be done is answered with the reason. When the server goes, its goals are "unavailable".
#[tokio::test(flavor = "multi_thread")]
async fn goals_go_all_their_ways() {
    let mut asked = Asked::set("").await;

    asked.ask(r#"{"id":"g","goal":{"order":8}}"#).await;
    let (replies, feedback) = asked.until_end("g").await;
    assert_eq!(statuses(&replies), ["accepted", "executing", "succeeded"]);
    assert_eq!(replies[2]["result"], json!({"sequence":[0,1,1,2,3,5,8,13]}));
    let lengths: Vec<_> = feedback.iter().map(|of| of["sequence"].as_array().unwrap().len()).collect();
    assert_eq!(lengths, [3, 4, 5, 6, 7, 8], "all feedback, where no rate is set");

    asked.ask(r#"{"id":"c","goal":{"order":5000}}"#).await;
    while asked.answer().await.1.get("feedback").is_none() {}
    asked.ask(r#"{"id":"c","goal":{"order":3}}"#).await;
    let rejected = json!({"id":"c","status":"rejected","detail":"a goal with this id is under way"});
    while asked.answer().await.1 != rejected {}
    // The same goal again is no other one.
    asked.ask(r#"{"id":"c","goal":{"order":5000}}"#).await;
    while asked.answer().await.1 != json!({"id":"c","status":"executing"}) {}
    asked.ask(r#"{"id":"c","cancel":true}"#).await;
    let (replies, _) = asked.until_end("c").await;
    assert_eq!(statuses(&replies), ["canceling", "canceled"]);
    assert!(replies[1]["result"]["sequence"].as_array().unwrap().len() < 5000);

    // Nor is it done again once it has ended.
    asked.ask(r#"{"id":"c","goal":{"order":5000}}"#).await;
    let ended = "this goal has ended in the last ten minutes; take another `id` to set it again";
    let rejected = json!({"id":"c","status":"rejected","detail":ended});
    while asked.answer().await.1 != rejected {}

    asked.ask(r#"{"id":"a","goal":{"order":11}}"#).await;
    let (replies, _) = asked.until_end("a").await;
    assert_eq!(statuses(&replies), ["accepted", "executing", "aborted"]);
    assert_eq!(replies[2]["result"]["sequence"].as_array().unwrap().len(), 10);

    // What this goal is not: canceled by its server.
    asked.ask(r#"{"id":"s","goal":{"order":30}}"#).await;
    while asked.answer().await.1["status"] != "executing" {}
    asked.ask(r#"{"id":"s","cancel":true}"#).await;
    let refused = json!({"id":"s","status":"executing","detail":"the action server does not cancel it"});
    while asked.answer().await.1 != refused {}
    assert_eq!(statuses(&asked.until_end("s").await.0), ["succeeded"]);

    for (request, answer) in [
        (
            r#"{"id":"r","goal":{"order":-1}}"#,
            json!({"id":"r","status":"rejected","detail":"the action server does not take it"}),
        ),
        (
            r#"{"id":"c","cancel":true}"#,
            json!({"id":"c","status":"unavailable","detail":"no goal with this id is under way"}),
        ),
        (r#"{"goal":{"order":1}}"#, json!({"status":"malformed","detail":"`id` is missing, which names the goal"})),
        (
            r#"{"id":"m","goal":{"order":"1"}}"#,
            json!({"id":"m","status":"malformed","detail":"field order: a number (int32) is needed, text stands there"}),
        ),
    ] {
        asked.ask(request).await;
        assert_eq!(asked.answer().await, (REPLY.to_owned(), answer), "{request}");
    }

    asked.ask(r#"{"id":"g","goal":{"order":5000}}"#).await;
    while asked.answer().await.1["status"] != "executing" {}
    asked.server.end();
    let (replies, _) = asked.until_end("g").await;
    let words = "the action server is gone; what has become of the goal is not known";
    assert_eq!(replies, [json!({"id":"g","status":"unavailable","detail":words})]);
    assert_eq!(asked.program.terminate().code(), Some(0));
}

/// Of feedback the latest of each period is sent. A goal goes on while the connection is away, and its result arrives when it
/// stands again. A goal whose server was restarted is "unavailable", and so is one whose bridge stops.
#[tokio::test(flavor = "multi_thread")]
async fn a_goal_outlives_the_link_and_its_server_is_missed() {
    let mut asked = Asked::set("feedback_rate = \"0.1 Hz\"").await;

    asked.ask(r#"{"id":"l","goal":{"order":100}}"#).await;
    while asked.answer().await.0 != FEEDBACK {}
    let waits = |lane: &Lane| lane.waiting.values().any(|held| held.records > 0);
    // What is not acknowledged would be sent again.
    let is_empty = |lane: &Lane| lane.in_flight.records == 0 && !waits(lane);
    asked.program.await_report(|report| report.queue.lanes.iter().all(is_empty));
    asked.stage.link.shut().await;
    let report = asked.program.await_report(|report| report.queue.lanes.iter().any(waits));
    assert!(!report.connection.phase.is_connected());
    asked.stage.link.reopen().await;
    let (replies, feedback) = asked.until_end("l").await;
    assert_eq!(statuses(&replies), ["succeeded"]);
    assert_eq!(replies[0]["result"]["sequence"].as_array().unwrap().len(), 100);
    assert!(feedback.is_empty(), "all but the first is of the period behind it");

    asked.ask(r#"{"id":"v","goal":{"order":5000}}"#).await;
    while asked.answer().await.1["status"] != "executing" {}
    asked.server.end();
    asked.server = Rclpy::start("fibonacci_server.py", &[]);
    let (replies, _) = asked.until_end("v").await;
    assert_eq!(statuses(&replies), ["unavailable"]);
    asked.is_served().await;

    asked.ask(r#"{"id":"e","goal":{"order":5000}}"#).await;
    while asked.answer().await.1["status"] != "executing" {}
    assert_eq!(asked.program.terminate().code(), Some(0));
    let (replies, _) = asked.until_end("e").await;
    let words = "the bridge stops, or its configuration has changed; the goal goes on, and its end will not be told";
    assert_eq!(replies, [json!({"id":"e","status":"unavailable","detail":words})]);
}
