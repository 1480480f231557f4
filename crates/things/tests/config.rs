//! `config push`, `show` and `rollback`: what is desired of robots, what they report, and how that is told.

use std::fs;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bench::{Bench, said};

const SHADOW: &str = "iot-bridge";
const ODOM: &str = "version = \"1\"\n[[topics]]\nros = \"/odom\"\n";
const SCAN: &str = "version = \"2\"\n[[topics]]\nros = \"/scan\"\nrate = \"1 Hz\"\n[[services]]\nmqtt = \"robots/{thing}/home\"\n\
                    service = \"/home\"\ntype = \"std_srvs/srv/Trigger\"\n";
const PATIENCE: Duration = Duration::from_secs(120);

/// A bench with these things, all in the group `fleet`, and the files `odom.toml` and `scan.toml`.
fn bench(things: &[&str]) -> Bench {
    let bench = Bench::set();
    bench.api.send("POST", "/thing-groups/fleet", &json!({}));
    for thing in things {
        bench.api.send("POST", &format!("/things/{thing}"), &json!({}));
        let member = json!({ "thingGroupName": "fleet", "thingName": thing });
        bench.api.send("PUT", "/thing-groups/addThingToThingGroup", &member);
    }
    for (name, text) in [("odom.toml", ODOM), ("scan.toml", SCAN)] {
        fs::write(bench.path(name), text).unwrap();
    }
    bench.api.heal();
    bench
}

/// What a robot reports, as iot-bridge does.
fn report(version: &str, state: &str, problems: &[&str]) -> Value {
    let problems = if problems.is_empty() { Value::Null } else { json!(problems) };
    json!({ "version": version, "state": state, "problems": problems, "config": "0".repeat(64), "bridge": "0.2.0",
        "ros_distro": "jazzy", "behind": false, "dropped": 0, "oldest_s": 0 })
}

fn start(bench: &Bench, arguments: &[&str]) -> Child {
    bench.program(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn await_that(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until `version` is desired of `thing`.
fn await_desired(bench: &Bench, thing: &str, version: &str) -> Value {
    let asked = |bench: &Bench| {
        bench.api.calls().iter().any(|call| call.starts_with(&format!("POST /things/{thing}/shadow?name={SHADOW}")))
    };
    await_that("nothing is written", || {
        asked(bench) && bench.api.shadow(thing, SHADOW)["desired"]["version"] == version
    });
    bench.api.shadow(thing, SHADOW)["desired"].clone()
}

fn writes(bench: &Bench) -> Vec<String> {
    bench.api.calls().into_iter().filter(|call| !call.starts_with("GET ")).collect()
}

/// A push to a group of several pages tells of each robot what it reports: applied, rejected and rolled back with the problems,
/// silent. Ctrl-C ends the waiting and tells what is known. The same push again writes nothing, and its exit status is 0 once
/// all have applied it.
#[test]
fn a_push_tells_what_became_of_it() {
    let things = ["a", "b", "c", "d", "e"];
    let bench = bench(&things);
    let push = ["config", "push", "scan.toml", "--group", "fleet", "--json", "--timeout", "300"];
    let child = start(&bench, &push);
    for thing in things {
        let desired = await_desired(&bench, thing, "2");
        assert_eq!(desired["config"]["topics"], json!([{ "ros": "/scan", "rate": "1 Hz" }]));
        assert_eq!(desired["config"]["services"][0]["mqtt"], "robots/{thing}/home");
    }
    bench.api.report("a", SHADOW, &report("2", "applied", &[]));
    bench.api.report("b", SHADOW, &report("2", "rejected", &["topics[0].rate: found 1 Hz", "another"]));
    bench.api.report("c", SHADOW, &report("2", "rolled_back", &["nothing was acknowledged within 2 min"]));
    bench.api.report("d", SHADOW, &report("2", "applied", &[]));
    bench.api.report("e", SHADOW, &report("1", "applied", &[]));
    // Once only e is asked for, the others are told apart.
    let get =
        |call: &String| call.strip_prefix("GET /things/")?.split_once("/shadow").map(|(thing, _)| thing.to_owned());
    await_that("the others are asked for still", || {
        let asked: Vec<String> = bench.api.calls().iter().filter_map(get).collect();
        asked.ends_with(&["e".to_owned(), "e".to_owned()])
    });
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap(),
        rustix::process::Signal::INT,
    )
    .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["interrupted"], &told["job"]), (&json!(true), &Value::Null));
    let states: Vec<_> =
        told["things"].as_array().unwrap().iter().map(|thing| thing["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["applied", "rejected", "rolled_back", "applied", "silent"]);
    assert_eq!(told["things"][1]["problems"], json!(["topics[0].rate: found 1 Hz", "another"]));
    assert!(told["things"][4]["problems"][0].as_str().unwrap().contains("is of version 1"), "{told}");

    bench.api.heal();
    let (status, text) = bench.run(&["config", "push", "scan.toml", "b", "e", "--timeout", "0.1"]);
    assert_eq!(status, 1, "{text}");
    for line in
        ["b  2  rejected\n    topics[0].rate: found 1 Hz\n    another\n", "e  2  silent\n", "1 rejected, 1 silent."]
    {
        assert!(text.contains(line), "{text}");
    }
    for thing in things {
        bench.api.report(thing, SHADOW, &report("2", "applied", &[]));
    }
    let text = bench.succeed(&["config", "push", "scan.toml", "--group", "fleet", "a"]);
    assert!(text.starts_with("a  2  applied\nb  2  applied\n") && text.ends_with("5 things: 5 applied.\n"), "{text}");
    assert_eq!(writes(&bench), Vec::<String>::new());
}

/// Sections that a push does not name are the robot's own again, and what comes too fast for AWS is asked again. A robot
/// that has never reported is silent when the time is over, and told why.
#[test]
fn a_push_takes_the_place_of_the_one_before() {
    let bench = bench(&["a"]);
    bench.succeed(&["config", "push", "scan.toml", "a", "--no-wait"]);
    fs::write(bench.path("plain.json"), r#"{"topics": [{"ros": "/odom"}]}"#).unwrap();
    bench.api.throttle(1);
    let mut program = bench.program(&["config", "push", "plain.json", "a", "--timeout", "0.1", "--json"]);
    let output = program.env("AWS_MAX_ATTEMPTS", "3").output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let desired = bench.api.shadow("a", SHADOW)["desired"].clone();
    assert_eq!(desired["config"], json!({ "topics": [{ "ros": "/odom" }] }));
    let version = desired["version"].as_str().unwrap();
    assert_eq!((version.len(), &told["things"][0]["version"]), ("2026-11-28-01234567".len(), &desired["version"]));
    assert_eq!((output.status.code(), &told["things"][0]["state"]), (Some(1), &json!("silent")));
    assert!(told["things"][0]["problems"][0].as_str().unwrap().contains("never reported"), "{told}");
}

/// What can't be sent is told before anything is written: a wrong file, names and groups that do not exist, what is too large
/// for a shadow, and another content under a version that is desired already.
#[test]
fn what_can_not_be_sent_is_told() {
    let bench = bench(&["a", "b"]);
    bench.api.send("POST", "/thing-groups/empty", &json!({}));
    bench.api.report("b", SHADOW, &report("0", "applied", &[&"x".repeat(1500)]));
    let topic = |number: usize| format!("[[topics]]\nros = \"/a_topic_with_a_name_of_some_length/n{number:04}\"\n");
    let many = |count: usize| (0..count).map(topic).collect::<String>();
    let entry = r#"{"ros":"/a_topic_with_a_name_of_some_length/n0000"},"#.len();
    // With room for what b reports, and without.
    let fits_a = (8192 - 1024 - 100) / entry;
    for (name, text) in [
        ("aws.toml", "[aws]\nthing = \"x\"\n[[topics]]\nros = \"/odom\"".to_owned()),
        ("wrong.toml", "[[topics]]\nros = \"/a b\"\nrate = \"fast\"".to_owned()),
        ("broken.toml", "[[topics]\n".to_owned()),
        ("long.toml", format!("[[topics]]\nros = \"/odom\"\nmqtt = \"{}/{{thing}}\"", "x".repeat(240))),
        ("large.toml", many(fits_a)),
        ("again.toml", ODOM.replace("/odom", "/scan")),
    ] {
        fs::write(bench.path(name), text).unwrap();
    }
    bench.succeed(&["config", "push", "odom.toml", "a", "--no-wait"]);
    bench.api.heal();
    let long = "a_thing_with_a_long_name";
    bench.api.send("POST", &format!("/things/{long}"), &json!({}));
    let sizes = format!(
        "shadow of b: `desired` would have {}",
        fits_a * entry + r#"{"config":{"topics":[]},"version":"2026-11-28-01234567"}"#.len() - 1
    );
    for (arguments, status, words) in [
        (&["nothing.toml", "a"][..], 78, &["nothing.toml", "no such file"][..]),
        (&["aws.toml", "a"], 78, &["aws.toml: aws", "can't be sent to robots", "`version`, `topics`, `commands`"]),
        (&["wrong.toml", "a"], 78, &["wrong.toml: topics[0].ros", "topics[0].rate", "found \"fast\""]),
        (&["broken.toml", "a"], 78, &["broken.toml:1", "no valid TOML"]),
        (&["long.toml", "a", long], 78, &["long.toml: topics[0].mqtt", "256 bytes"]),
        (&["odom.toml", "stranger", "a", "strangest"], 1, &["there are no things stranger, strangest in the region"]),
        (
            &["odom.toml", "--group", "nothing"],
            1,
            &["there is no thing group nothing in the region", "list-thing-groups"],
        ),
        (&["odom.toml", "--group", "empty"], 1, &["the thing group empty has no things"]),
        (&["large.toml", "--group", "fleet"], 1, &[&sizes, "`reported` of b has 1", "--job", "32768 bytes"]),
        (
            &["again.toml", "a", "b"],
            1,
            &["of a something else is desired under the same version, 1", "another `version`"],
        ),
    ] {
        let (found, text) = bench.run(&[&["config", "push", "--timeout", "0.1"], arguments].concat());
        assert_eq!(found, status, "{arguments:?}: {text}");
        for word in words {
            assert!(text.contains(word), "{arguments:?}: {word:?} is missing in: {text}");
        }
        assert_eq!(writes(&bench), Vec::<String>::new(), "{arguments:?}");
    }
    bench.succeed(&["config", "push", "large.toml", "a", "--no-wait"]);
    let text = bench.succeed(&["config", "push", "long.toml", "a", "--no-wait"]);
    assert!(text.contains("1 sent."), "{text}");
}

/// `show` has what is desired and what is reported beside each other. `rollback` makes desired what was before, one more the
/// push again; before the first push it is the robot's own configuration. Where nothing was pushed it says so.
#[test]
fn a_rollback_brings_back_what_was_before() {
    let bench = bench(&["a", "b"]);
    let desired = |thing: &str| bench.api.shadow(thing, SHADOW)["desired"].clone();
    bench.succeed(&["config", "push", "odom.toml", "a", "--no-wait"]);
    let odom = desired("a");
    bench.succeed(&["config", "push", "scan.toml", "a", "--no-wait"]);
    let scan = desired("a");
    bench.api.report("a", SHADOW, &report("2", "rejected", &["topics[0].ros\n    found 7"]));

    let text = bench.succeed(&["config", "show", "a", "b"]);
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1][..4], ["a", "2", "2", "rejected"], "{text}");
    assert_eq!(lines[1][6..], ["0.2.0", "jazzy", "no", "0"], "{text}");
    assert!(text.contains("\n    topics[0].ros\n        found 7\nb      no shadow"), "{text}");
    let told: Value = serde_json::from_str(&bench.succeed(&["config", "show", "--group", "fleet", "--json"])).unwrap();
    assert_eq!(told["things"][0]["desired"], scan);
    assert_eq!(
        (&told["things"][0]["reported"]["ros_distro"], &told["things"][1]["desired"]),
        (&json!("jazzy"), &Value::Null)
    );
    assert_eq!((&told["things"][1]["thing"], &told["shadow"]), (&json!("b"), &json!(SHADOW)));

    let (status, text) = bench.run(&["config", "rollback", "a", "b", "--no-wait"]);
    assert_eq!(status, 1, "{text}");
    assert!(
        text.contains("a  1      sent\n") && text.contains("b  local  failed\n    nothing was pushed to it"),
        "{text}"
    );
    assert_eq!(desired("a"), odom);
    bench.succeed(&["config", "rollback", "a", "--no-wait"]);
    assert_eq!(desired("a"), scan);

    bench.succeed(&["config", "push", "odom.toml", "b", "--no-wait"]);
    let child = start(&bench, &["config", "rollback", "b", "--timeout", "300"]);
    assert_eq!(await_desired(&bench, "b", "local")["config"], Value::Null);
    let local = json!({ "bridge": "0.2.0", "config": "0".repeat(64), "ros_distro": "jazzy" });
    bench.api.report("b", SHADOW, &local);
    let (status, text) = said(child.wait_with_output().unwrap());
    assert_eq!((status, text.as_str()), (0, "b  local  applied\n1 thing: 1 applied.\n"));
}

/// Wherever AWS stops to answer, the same push again goes on, and the way back is still the version of before. What is not sent
/// is told. What somebody else has written beside it is taken away, as robots would take nothing then.
#[test]
fn a_push_goes_on_after_a_failure_of_any_call() {
    let bench = bench(&["a", "b"]);
    let push = |file: &'static str| ["config", "push", file, "a", "b", "--no-wait"];
    let desired = || ["a", "b"].map(|thing| bench.api.shadow(thing, SHADOW)["desired"].clone());
    bench.succeed(&push("odom.toml"));
    let odom = desired();
    let mut partly = 0;
    for last in 1.. {
        bench.api.fail_after(last);
        let (status, text) = bench.run(&push("scan.toml"));
        let calls = bench.api.heal();
        if status == 0 {
            assert_eq!(calls, 2 + 2 * 2);
            break;
        }
        assert!(status == 1 && text.contains("can't be reached"), "call {last}: {text}");
        partly += usize::from(text.contains("1 sent"));
        bench.succeed(&push("scan.toml"));
        assert!(desired().iter().all(|desired| desired["version"] == "2"), "call {last}");
        bench.succeed(&["config", "rollback", "a", "b", "--no-wait"]);
        assert_eq!(desired(), odom, "call {last}");
    }
    assert!(partly > 0);
    let other = json!({ "state": { "desired": { "mode": 7 } } });
    bench.api.send("POST", &format!("/things/a/shadow?name={SHADOW}"), &other);
    bench.succeed(&push("scan.toml"));
    assert_eq!(desired()[0], desired()[1]);
    bench.succeed(&["config", "rollback", "a", "b", "--no-wait"]);
    assert_eq!(desired(), odom);
}

/// Wherever AWS stops to answer a rollback, the same again with the version that is taken back ends with the version of before,
/// however often; and no rollback says that all is well while the version that is taken back is desired.
#[test]
fn a_rollback_goes_on_after_a_failure_of_any_call() {
    let bench = bench(&["a", "b"]);
    let desired = || ["a", "b"].map(|thing| bench.api.shadow(thing, SHADOW)["desired"].clone());
    let push = |file: &str| drop(bench.succeed(&["config", "push", file, "a", "b", "--no-wait"]));
    let back = ["config", "rollback", "a", "b", "--from", "2", "--no-wait"];
    push("odom.toml");
    let odom = desired();
    for last in 1.. {
        push("scan.toml");
        bench.api.fail_after(last);
        let (status, text) = bench.run(&back);
        let calls = bench.api.heal();
        assert!(status == 1 || desired() == odom, "call {last}: {text}");
        if status == 0 && calls < last {
            assert_eq!(calls, 2 * (2 + 2));
            break;
        }
        for _ in 0..2 {
            bench.succeed(&back);
            assert_eq!(desired(), odom, "call {last}");
        }
        push("odom.toml");
    }
    // Where the second write fails the rollback is done, can't be undone, and says so.
    push("scan.toml");
    bench.api.deny("POST /things/a/shadow?name=iot-bridge-before");
    let text = bench.succeed(&["config", "rollback", "a", "--no-wait"]);
    bench.api.deny("");
    assert!(text.contains("a goes back, but no rollback can undo it") && desired()[0] == odom[0], "{text}");
    let (status, text) = bench.run(&["config", "rollback", "a", "--no-wait"]);
    assert!(status == 1 && text.contains("a  1  failed\n    what was kept as the version before is 1"), "{text}");
    assert_eq!(desired()[0], odom[0]);
}

/// After a push that was cut off, a rollback of all asks which version is meant; with it robots that were not reached are left
/// alone.
#[test]
fn a_rollback_takes_back_one_version() {
    let bench = bench(&["a", "b"]);
    let version = |thing: &str| bench.api.shadow(thing, SHADOW)["desired"]["version"].clone();
    fs::write(bench.path("third.toml"), ODOM.replace("\"1\"", "\"3\"")).unwrap();
    for (file, things) in [("odom.toml", &["a", "b"][..]), ("scan.toml", &["a", "b"]), ("third.toml", &["a"])] {
        bench.succeed(&[&["config", "push", file, "--no-wait"], things].concat());
    }
    bench.api.heal();
    let (status, text) = bench.run(&["config", "rollback", "--group", "fleet", "--no-wait"]);
    assert!(status == 1 && text.contains("different versions are desired: 2 of b; 3 of a"), "{text}");
    let (status, text) = bench.run(&["config", "rollback", "--group", "fleet", "--from", "7", "--no-wait"]);
    assert!(status == 1 && text.contains("version 7 is desired of none"), "{text}");
    assert_eq!(writes(&bench), Vec::<String>::new());
    for _ in 0..2 {
        let text = bench.succeed(&["config", "rollback", "--group", "fleet", "--from", "3", "--no-wait"]);
        assert!(text.contains("b  2  left alone\n    version 2 is desired of it, not 3"), "{text}");
        assert_eq!((version("a"), version("b")), (json!("2"), json!("2")));
    }
}

/// What somebody else makes desired between the look and the write stays; what only a robot reports meanwhile is in nobody's way.
/// A call about one thing that fails stops no other thing.
#[test]
fn nobody_overwrites_what_was_not_seen() {
    let bench = bench(&["a", "b", "c"]);
    let push = ["config", "push", "scan.toml", "a", "b", "c", "--no-wait"];
    bench.succeed(&["config", "push", "odom.toml", "a", "b", "c", "--no-wait"]);
    bench.api.heal();
    // Written as AWS does when it is asked for the first time, so after that look.
    bench.api.meanwhile("a", SHADOW, json!({ "desired": { "version": "9" } }));
    bench.api.meanwhile("b", SHADOW, json!({ "reported": { "bridge": "0.3.0" } }));
    let (status, text) = bench.run(&push);
    assert_eq!(status, 1, "{text}");
    assert!(text.ends_with("a  2  failed\n    it was changed meanwhile by somebody else; `config show` tells what is desired\n3 things: 1 failed, 2 sent.\n"), "{text}");
    let version = |thing: &str| bench.api.shadow(thing, SHADOW)["desired"]["version"].clone();
    assert_eq!((version("a"), version("b"), version("c")), (json!("9"), json!("2"), json!("2")));
    assert_eq!(bench.api.shadow("b", SHADOW)["reported"]["bridge"], "0.3.0");

    bench.succeed(&["config", "push", "odom.toml", "a", "b", "c", "--no-wait"]);
    bench.api.throttle(1);
    let (status, text) = bench.run(&push);
    assert!(status == 1 && text.contains("3 things: 1 failed, 2 sent.") && text.contains("over a limit"), "{text}");
}

/// A job has the configuration, its things or groups, and how it is to be rolled out. What each thing's execution says is told.
#[test]
fn a_job_rolls_it_out() {
    let things = ["a", "b", "c", "d", "e"];
    let bench = bench(&things);
    let (status, text) = bench.run(&["config", "push", "scan.toml", "stranger", "--job"]);
    assert!(status == 1 && text.contains("there is no thing stranger"), "{text}");
    let many: String = (0..700)
        .map(|number| format!("[[topics]]\nros = \"/a_topic_with_a_name_of_some_length/n{number}\"\n"))
        .collect();
    fs::write(bench.path("large.toml"), many).unwrap();
    let (status, text) = bench.run(&["config", "push", "large.toml", "a", "--job"]);
    assert!(status == 1 && text.contains("32768 is what AWS IoT takes"), "{text}");
    assert_eq!(bench.api.jobs(), Vec::<Value>::new());

    let problems = json!({ "version": "2", "state": "rejected", "problems": "3", "problem1": "topics[0].ros: no", "problem2": "x" });
    let late =
        json!({ "version": "2", "state": "rolled_back", "problems": "1", "problem1": "nothing was acknowledged" });
    for (thing, status, details) in [
        ("a", "SUCCEEDED", json!({})),
        ("b", "FAILED", problems),
        ("c", "FAILED", late),
        ("d", "TIMED_OUT", json!({})),
        ("e", "QUEUED", json!({})),
    ] {
        bench.api.execute(thing, status, details);
    }
    let push = [
        "config",
        "push",
        "scan.toml",
        "--group",
        "fleet",
        "--job",
        "--per-minute",
        "50",
        "--increase",
        "1.5",
        "--abort-after",
        "12.5",
        "--in-progress-timeout",
        "15",
        "--timeout",
        "2",
    ];
    let (status, text) = bench.run(&push);
    assert_eq!(status, 1, "{text}");
    for part in [
        "a  2  applied\n",
        "b  2  rejected\n    topics[0].ros: no\n    x\n    1 more;",
        "c  2  rolled back\n    nothing was acknowledged\n",
        "d  2  ended\n    it had begun, and its time is over\n",
        "e  2  silent\n    it has not begun; does it run, with `jobs = true`",
        "5 things: 1 applied, 1 ended, 1 rejected, 1 rolled back, 1 silent.\n",
    ] {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
    let [job] = &bench.api.jobs()[..] else { panic!("{:?}", bench.api.jobs()) };
    let document: Value = serde_json::from_str(job["document"].as_str().unwrap()).unwrap();
    assert_eq!((&document["operation"], &document["version"]), (&json!("iot-bridge/config"), &json!("2")));
    assert_eq!(document["config"]["topics"][0]["ros"], "/scan");
    assert_eq!(job["targets"], json!(["arn:aws:iot:eu-central-1:123456789012:thinggroup/fleet"]));
    assert_eq!(job["targetSelection"], "SNAPSHOT");
    let rate = &job["jobExecutionsRolloutConfig"]["exponentialRate"];
    assert_eq!((&rate["baseRatePerMinute"], &rate["incrementFactor"]), (&json!(50), &json!(1.5)));
    assert_eq!(rate["rateIncreaseCriteria"], json!({ "numberOfSucceededThings": 50 }));
    assert_eq!(
        job["abortConfig"]["criteriaList"],
        json!([{ "action": "CANCEL", "failureType": "ALL", "minNumberOfExecutedThings": 10, "thresholdPercentage": 12.5 }])
    );
    assert_eq!(job["timeoutConfig"], json!({ "inProgressTimeoutInMinutes": 15 }));

    bench.api.execute("e", "SUCCEEDED", json!({}));
    let output = bench
        .program(&["config", "push", "scan.toml", "a", "e", "--job", "--per-minute", "7", "--json"])
        .output()
        .unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let id = told["job"].as_str().unwrap();
    assert!(output.status.success() && id.starts_with("iot-bridge-2-"), "{told}");
    assert!(String::from_utf8_lossy(&output.stderr).contains(&format!("aws iot cancel-job --job-id {id}")));
    assert_eq!(bench.api.jobs()[1]["jobExecutionsRolloutConfig"], json!({ "maximumPerMinute": 7 }));
    assert_eq!(bench.api.jobs()[1]["targets"].as_array().unwrap().len(), 2);
    assert!(bench.succeed(&["config", "push", "scan.toml", "a", "--job", "--no-wait"]).contains("a  2  sent"));
}

/// A job whose making was not answered is not made twice: it is looked for, and if that is not answered either, its name is told.
/// A robot that fails is told with its reasons.
#[test]
fn a_job_is_not_made_twice() {
    let bench = bench(&["a"]);
    bench.api.execute("a", "SUCCEEDED", json!({}));
    let push = ["config", "push", "scan.toml", "a", "--job"];
    for (made, attempts) in [(1, "1"), (2, "2")] {
        bench.api.lose("PUT /jobs/");
        let (status, text) = said(bench.program(&push).env("AWS_MAX_ATTEMPTS", attempts).output().unwrap());
        assert!(status == 0 && text.contains("a  2  applied"), "{attempts} attempts: {text}");
        assert_eq!(bench.api.jobs().len(), made, "{attempts} attempts");
    }
    bench.api.heal();
    // The thing is looked at, and the job is made.
    bench.api.fail_after(2);
    let (status, text) = bench.run(&push);
    assert!(bench.api.calls()[1].starts_with("PUT /jobs/"), "{:?}", bench.api.calls());
    bench.api.heal();
    assert_eq!((status, bench.api.jobs().len()), (1, 3), "{text}");
    for word in ["may be made all the same", "aws iot cancel-job --job-id iot-bridge-2-", "makes another job"] {
        assert!(text.contains(word), "{word} is missing in: {text}");
    }
}

/// What docs/fleet.md shows of a push and of what is shown afterwards is what happens, and its job is the one that is made.
#[test]
fn the_page_shows_what_happens() {
    const PAGE: &str = include_str!("../../../docs/fleet.md");
    let block = |begin: &str| {
        let found = PAGE.split("\n```").skip(1).step_by(2).find_map(|block| block.strip_prefix(begin));
        found.unwrap_or_else(|| panic!("{begin}"))
    };
    let bench = bench(&["robot_0"]);
    fs::write(bench.path("warehouse.toml"), block("toml\nversion").replacen(" =", "version =", 1)).unwrap();
    let push = "iot-bridge-things config push warehouse.toml robot_0";
    let child = start(&bench, &push.split(' ').skip(1).collect::<Vec<_>>());
    await_desired(&bench, "robot_0", "12");
    bench.api.report("robot_0", SHADOW, &report("12", "applied", &[]));
    let (status, text) = said(child.wait_with_output().unwrap());
    assert_eq!((status, text), (0, block(&format!("\n$ {push}\n")).to_owned() + "\n"));
    let show = "iot-bridge-things config show robot_0";
    let shown = block(&format!("\n$ {show}\n"));
    let table = bench.succeed(&show.split(' ').skip(1).collect::<Vec<_>>());
    let words = |text: &str| -> Vec<String> {
        let words = text.split_whitespace().map(str::to_owned);
        // The age and the version of the program are others each time.
        words.filter(|word| word.parse::<u64>().is_err() && !word.starts_with("0.")).collect()
    };
    assert_eq!(words(&table), words(shown), "{table}");

    let command = block("\niot-bridge-things config push warehouse.toml --group all --job").replace('\\', " ");
    bench.api.send("POST", "/thing-groups/all", &json!({}));
    bench.api.send(
        "PUT",
        "/thing-groups/addThingToThingGroup",
        &json!({ "thingGroupName": "all", "thingName": "robot_0" }),
    );
    bench.api.execute("robot_0", "SUCCEEDED", json!({}));
    let arguments = ["config", "push", "warehouse.toml", "--group", "all", "--job"];
    let options: Vec<&str> = command.split_whitespace().collect();
    bench.succeed(&[&arguments[..], &options].concat());
    let shown: Value = serde_json::from_str(block("json\n")).unwrap();
    let made: Value = serde_json::from_str(bench.api.jobs()[0]["document"].as_str().unwrap()).unwrap();
    assert_eq!((&shown["operation"], &shown["version"]), (&made["operation"], &made["version"]));
    assert_eq!(shown["config"]["topics"][0], made["config"]["topics"][0]);
}
