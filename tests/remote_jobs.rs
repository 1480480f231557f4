//! Configuration from the cloud by jobs, through a broker that behaves as AWS IoT Core does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::aws_broker::{AwsBroker, Limits};
use crate::support::program::{PATIENCE, Program};
use crate::support::robot::{Robot, publish};
use crate::support::stage::Stage;

struct Scene {
    stage: Stage,
    broker: AwsBroker,
}

/// The document of a job that sets this topic.
fn document(version: &str, topic: &str) -> Value {
    json!({
        "operation": "iot-bridge/config",
        "version": version,
        "config": {"topics": [{"ros": topic, "payload": "data"}]},
    })
}

impl Scene {
    async fn set() -> Scene {
        let limits = Limits { between_connects: Duration::ZERO, ..Limits::documented() };
        let (stage, broker) = Stage::set_with_aws(limits).await;
        std::fs::create_dir(stage.directory.path().join("state")).unwrap();
        Scene { stage, broker }
    }

    /// A configuration with the local topic `/old`.
    fn configure(&self, confirm: &str) -> PathBuf {
        self.stage.configure(&format!(
            "[mqtt.reconnect]\ninitial = \"1 s\"\nmax = \"1 s\"\n[remote]\nshadow = \"iot-bridge\"\njobs = true\n\
             confirm = \"{confirm}\"\n[[topics]]\nros = \"/old\"\npayload = \"data\"\n"
        ))
    }

    fn start(&self, path: &Path) -> Program {
        let state = self.stage.directory.path().join("state");
        let mut program = Program::start_with(path, &[("STATE_DIRECTORY", state.to_str().unwrap())]);
        program.await_note("STATUS=Connected.");
        program
    }

    /// Waits until the job is in one of these states. Returns what is said of it.
    fn await_job(&self, job: &str, states: &[&str]) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let standing = self.broker.job("robot1", job);
            if states.iter().any(|state| standing["status"] == *state) {
                return standing;
            }
            assert!(Instant::now() < deadline, "the job {job} is {standing}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What the bridge has asked the service for, by the topic's end.
    fn asked(&self) -> BTreeMap<String, usize> {
        let mut asked = BTreeMap::new();
        for arrival in self.broker.record().arrivals {
            if let Some(request) = arrival.topic.strip_prefix("$aws/things/robot1/jobs/") {
                *asked.entry(request.to_owned()).or_default() += 1;
            }
        }
        asked
    }
}

/// The version from the cloud that is in force, on trial or not.
fn in_force(program: &Program) -> Option<String> {
    program.report().configuration.remote.unwrap().in_force
}

fn names(program: &Program) -> Vec<String> {
    let topics = program.report().topics.into_iter().map(|topic| topic.ros);
    topics.filter(|ros| ros.starts_with('/')).collect()
}

/// A job is IN_PROGRESS while its configuration is on trial, and SUCCEEDED when the broker has acknowledged what it made. A job
/// of another operation stays QUEUED, and what is wrong, or is not confirmed, is FAILED with the reason; the one before stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_sets_topics_and_says_what_became_of_it() {
    let scene = Scene::set().await;
    let mut program = scene.start(&scene.configure("10 s"));
    scene.broker.create_job("robot1", "reboot-1", json!({"operation": "reboot"}));
    scene.broker.create_job("robot1", "new-1", document("7", "/new"));
    let standing = scene.await_job("new-1", &["IN_PROGRESS"]);
    assert_eq!(standing["details"], json!({"version": "7"}));
    let mut robot = Robot::start();
    let publisher = robot.publisher("/new", 10);
    Robot::await_subscriber(&publisher);
    publish(&publisher, "a".to_owned());
    let standing = scene.await_job("new-1", &["SUCCEEDED", "FAILED"]);
    assert_eq!(standing, json!({"status": "SUCCEEDED", "version": 3, "details": {"state": "applied", "version": "7"}}));
    assert_eq!(names(&program), ["/new"]);

    // What is wrong is never in force.
    let wrong = json!({"operation": "iot-bridge/config", "version": "8", "config": {
        "topics": [{"ros": "/a b"}, {"ros": "/x", "qos": 7}],
    }});
    scene.broker.create_job("robot1", "wrong-1", wrong);
    let forbidden =
        json!({"operation": "iot-bridge/config", "version": "9", "config": {"aws": {"endpoint": "evil.example.com"}}});
    scene.broker.create_job("robot1", "wrong-2", forbidden);
    let nested =
        json!({"operation": "iot-bridge/config", "config": (0..200).fold(json!(1), |inner, _| json!([inner]))});
    scene.broker.create_job("robot1", "wrong-3", nested);
    let details = |job: &str| scene.await_job(job, &["FAILED", "SUCCEEDED"])["details"].clone();
    let of_first = details("wrong-1");
    let [one, two] = ["problem1", "problem2"].map(|key| of_first[key].as_str().unwrap_or_default().to_owned());
    assert!(one.contains("topics[0].ros") && two.contains("topics[1].qos"), "{of_first}");
    let shown = ["state", "version", "problems"].map(|key| of_first[key].as_str().unwrap_or_default().to_owned());
    assert_eq!(shown, ["rejected", "8", "2"]);
    assert!(details("wrong-2")["problem1"].as_str().unwrap().contains("aws"));
    assert!(details("wrong-3")["problem1"].as_str().unwrap().contains("nested too deeply"));
    assert_eq!(names(&program), ["/new"]);

    // Another operation is described once, and left to others.
    let standing = scene.broker.job("robot1", "reboot-1");
    assert_eq!(standing, json!({"status": "QUEUED", "version": 1, "details": {}}));
    let asked = scene.asked();
    assert_eq!((asked["reboot-1/get"], asked.get("reboot-1/update"), asked.get("start-next")), (1, None, None));
    assert_eq!((asked["new-1/get"], asked["new-1/update"]), (1, 2), "{asked:?}");
    let report = program.report();
    let outcomes = &report.requests[0].outcomes;
    assert_eq!((outcomes["job_succeeded"], outcomes["job_failed"], outcomes["job_over"]), (1, 3, 0), "{outcomes:?}");
    assert!(program.await_log("the job new-1 has SUCCEEDED").contains("INFO"));
    assert_eq!(program.terminate().code(), Some(0));
}

/// What is not confirmed is rolled back, and the job FAILED with the reason. One that was cancelled on trial is not spoken of again;
/// the next is done.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_not_confirmed_has_failed() {
    let scene = Scene::set().await;
    // The policy allows nothing of what the job's topics make.
    scene.broker.forbid("robots/robot1/new");
    let program = scene.start(&scene.configure("10 s"));
    let mut robot = Robot::start();
    let publisher = robot.publisher("/new", 10);
    scene.broker.create_job("robot1", "job-1", document("7", "/new"));
    scene.await_job("job-1", &["IN_PROGRESS"]);
    Robot::await_subscriber(&publisher);
    publish(&publisher, "a".to_owned());
    let standing = scene.await_job("job-1", &["FAILED", "SUCCEEDED"]);
    assert_eq!(
        (&standing["status"], &standing["details"]["state"]),
        (&json!("FAILED"), &json!("rolled_back")),
        "{standing}"
    );
    assert!(standing["details"]["problem1"].is_string(), "{standing}");
    assert_eq!(in_force(&program), None);

    let mut speak = |topic: &str| {
        let publisher = robot.publisher(topic, 10);
        Robot::await_subscriber(&publisher);
        publish(&publisher, "a".to_owned());
        publisher
    };
    scene.broker.create_job("robot1", "job-2", document("8", "/cancelled"));
    scene.await_job("job-2", &["IN_PROGRESS"]);
    scene.broker.cancel_job("robot1", "job-2");
    let _cancelled = speak("/cancelled");
    scene.broker.create_job("robot1", "job-3", document("9", "/other"));
    let _other = speak("/other");
    let standing = scene.await_job("job-3", &["FAILED", "SUCCEEDED"]);
    assert_eq!(standing["status"], "SUCCEEDED", "{standing}");
    assert_eq!(
        (scene.broker.job("robot1", "job-2")["status"].clone(), in_force(&program).as_deref()),
        (json!("CANCELED"), Some("9"))
    );
    assert!(program.await_log("Nothing is said of the job job-2 any more: it is CANCELED.").contains("WARN"));
}

/// A job under which the process is killed goes on in the next one: it is not begun again, and ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_not_done_twice_over_a_restart() {
    let scene = Scene::set().await;
    let path = scene.configure("3 s");
    let mut program = scene.start(&path);
    scene.broker.create_job("robot1", "job-1", document("7", "/new"));
    scene.await_job("job-1", &["IN_PROGRESS"]);
    let deadline = Instant::now() + PATIENCE;
    while in_force(&program).is_none() {
        assert!(Instant::now() < deadline, "it is not on trial");
        std::thread::sleep(Duration::from_millis(10));
    }
    program.signal("KILL");
    program.wait();
    let mut program = scene.start(&path);
    // Its topics are silent: the report confirms it.
    let standing = scene.await_job("job-1", &["SUCCEEDED", "FAILED"]);
    assert_eq!((&standing["status"], &standing["version"]), (&json!("SUCCEEDED"), &json!(3)), "{standing}");
    let said: Vec<String> = scene
        .broker
        .record()
        .arrivals
        .iter()
        .filter(|arrival| arrival.topic.ends_with("job-1/update"))
        .map(|arrival| serde_json::from_slice::<Value>(&arrival.payload).unwrap()["status"].to_string())
        .collect();
    assert_eq!(said, ["\"IN_PROGRESS\"", "\"SUCCEEDED\""]);
    assert_eq!(in_force(&program).as_deref(), Some("7"));

    // It was in force from the start, and came into force but once.
    assert_eq!((program.log_lines("in force on trial").len(), program.log_lines("is reloaded").len()), (1, 0));

    // Decided, and killed before anybody heard of it: said by the next process.
    scene.broker.create_job("robot1", "job-2", document("8", "/next"));
    scene.await_job("job-2", &["IN_PROGRESS"]);
    scene.stage.link.shut().await;
    let mut robot = Robot::start();
    let publisher = robot.publisher("/next", 10);
    Robot::await_subscriber(&publisher);
    publish(&publisher, "a".to_owned());
    program.await_log("version 8, is rolled back");
    program.signal("KILL");
    program.wait();
    scene.stage.link.reopen().await;
    let mut program = scene.start(&path);
    let standing = scene.await_job("job-2", &["SUCCEEDED", "FAILED"]);
    assert_eq!(
        (&standing["status"], &standing["details"]["state"]),
        (&json!("FAILED"), &json!("rolled_back")),
        "{standing}"
    );
    assert_eq!(in_force(&program).as_deref(), Some("7"));
    assert_eq!((program.log_lines("in force on trial").len(), program.log_lines("is reloaded").len()), (0, 0));
    assert_eq!(program.terminate().code(), Some(0));
}
