//! What `check` says of commands, services, actions and shadows: what does not fit the types of ROS is a problem where it
//! stands, and what is valid and a danger is a warning, which `run` logs too.

use std::process::Output;

use crate::support::program::{Program, command};
use crate::support::stage::Stage;
use serde_json::Value;

const RIGHT: &str = r#"
[[commands]]
mqtt = "robots/{thing}/cmd_vel"
ros = "/cmd_vel"
type = "geometry_msgs/msg/Twist"
payload = "envelope"
max_age = "2 s"
limits = { "linear.x" = [-0.5, 0.5], "angular.*" = [-1, 1] }
on_silence = { after = "500 ms", message = { linear = { x = 0 } } }
[[services]]
mqtt = "robots/{thing}/reset"
service = "/reset"
type = "std_srvs/srv/Trigger"
[[actions]]
mqtt = "robots/{thing}/count"
action = "/fibonacci"
type = "test_msgs/action/Fibonacci"
[[shadows]]
desired = "/wish"
desired_type = "std_msgs/msg/Empty"
"#;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn check(stage: &Stage, config: &str, json: bool, is_sourced: bool) -> Output {
    let config = stage.configure(config);
    let mut check = command();
    check.args(["check", "--config", config.to_str().unwrap()]);
    if json {
        check.arg("--json");
    }
    if !is_sourced {
        check.env_remove("AMENT_PREFIX_PATH");
    }
    check.output().unwrap()
}

/// What fits is printed as it is, without topics beside it, and reads back as the same; what does not is a problem of its own,
/// with its line. Without ROS the types are not looked at, which is said.
#[tokio::test]
async fn requests_are_compared_with_their_types() {
    let stage = Stage::set().await;
    let output = check(&stage, RIGHT, false, true);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    let printed = text(&output.stdout);
    assert!(!printed.contains("arning"), "{printed}");
    for words in ["mqtt = \"robots/robot1/cmd_vel\"", "after = \"500 ms\"", "reply = \"robots/robot1/reset/reply\""] {
        assert!(printed.contains(words), "{words}: {printed}");
    }
    let again = stage.directory.path().join("again.toml");
    std::fs::write(&again, &printed).unwrap();
    let output = command().args(["check", "--config", again.to_str().unwrap()]).output().unwrap();
    let settings = |printed: &str| printed.split_once("\n\n").unwrap().1.to_owned();
    assert_eq!(settings(&text(&output.stdout)), settings(&printed));

    let wrong = RIGHT
        .replace("\"linear.x\" =", "\"linear.w\" = [0, 1], \"linear\" = [0, 1], \"linear.x\" =")
        .replace("{ x = 0 }", "{ x = 0.75 }")
        .replace("srv/Trigger", "srv/Trigered")
        .replace("test_msgs/action", "no_msgs/action")
        .replace("std_msgs/msg/Empty", "std_msgs/msg/Nothing")
        + "[[commands]]\nmqtt = \"b\"\nros = \"/b\"\ntype = \"std_msgs/msg/Sting\"\n";
    let output = check(&stage, &wrong, false, true);
    assert_eq!(output.status.code(), Some(78));
    let problems = text(&output.stderr);
    for words in [
        ": commands[0].limits.\"linear.w\"\n    found \"linear.w\"; allowed is the path of numbers in geometry_msgs/msg/Twist: ",
        ": commands[0].limits.linear\n    found \"linear\"; allowed is the path of numbers in geometry_msgs/msg/Twist: it leads to no \
         number\n",
        ": commands[0].on_silence.message\n    found what is no geometry_msgs/msg/Twist for this command; field linear.x: outside \
         of the limits -0.5 to 0.5\n",
        ": services[0].type\n    found \"std_srvs/srv/Trigered\"; package `std_srvs` has no type `Trigered",
        ": actions[0].type\n    found \"no_msgs/action/Fibonacci\"; package `no_msgs` is not in the ROS environment",
        ": shadows[0].desired_type\n    found \"std_msgs/msg/Nothing\"; package `std_msgs` has no type `Nothing`",
        ": commands[1].type\n    found \"std_msgs/msg/Sting\"; package `std_msgs` has no type `Sting`",
        "\n7 problems to mend.\n",
    ] {
        assert!(problems.contains(words), "{words}: {problems}");
    }
    let lines = problems.lines().filter(|line| line.contains("/config.toml:")).count();
    assert_eq!(lines, 7, "each problem has its line: {problems}");

    let output = check(&stage, &wrong, true, false);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let warnings = report["warnings"].as_array().unwrap();
    let unseen = "What the cloud may ask was not compared with its types: no ROS is sourced";
    assert!(warnings.iter().any(|warning| *warning == unseen), "{warnings:?}");
    assert_eq!(report["settings"]["commands"][0]["limits"]["linear.x"], serde_json::json!([-0.5, 0.5]));
}

/// A command of any age, and one that moves the robot without bounds and without an end, are warned of by `check` and at the
/// start.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_a_danger_is_warned_of() {
    let stage = Stage::set().await;
    let config = "[[commands]]\nmqtt = \"{thing}/drive\"\nros = \"/cmd_vel\"\ntype = \"geometry_msgs/msg/Twist\"\n";
    let cautions = [
        "The command robot1/drive has no `max_age`",
        "The command robot1/drive moves the robot (geometry_msgs/msg/Twist) and has neither `limits` nor `on_silence`",
    ];
    let output = check(&stage, config, true, true);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let warnings: Vec<_> =
        report["warnings"].as_array().unwrap().iter().map(|warning| warning.as_str().unwrap()).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(cautions.iter().zip(&warnings).all(|(words, warning)| warning.starts_with(words)), "{warnings:?}");

    let mut program = Program::start(&stage.configure(config));
    for words in cautions {
        let line = program.await_log(words);
        assert!(line.contains("WARN"), "{line}");
    }
    assert!(program.terminate().success());
}
