//! The commands of the command line, as people and scripts use them.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Output, Stdio};

use crate::support::certificates::Valid;
use crate::support::program::{Program, command};
use crate::support::robot::{Robot, Stream, numbered};
use crate::support::stage::Stage;
use iot_bridge::ros::BUILT_FOR;
use serde_json::Value;

fn run(arguments: &[&str]) -> Output {
    command().args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A wrong command line ends with 2 and shows what is right; help, version and completions with 0.
#[test]
fn the_command_line_explains_itself() {
    for wrong in [
        vec![],
        vec!["fly"],
        vec!["run", "--colour"],
        vec!["mock", "--rate", "-1"],
        vec!["preview"],
        vec!["preview", "no topic"],
        vec!["mock", "--topic", "a b"],
    ] {
        let output = run(&wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(text(&output.stderr).contains("Usage:") || text(&output.stderr).contains("--help"), "{wrong:?}");
    }
    let help = run(&["--help"]);
    assert!(help.status.success());
    for word in ["run", "check", "preview", "mock", "completions", "Exit status", "78"] {
        assert!(text(&help.stdout).contains(word), "{word}");
    }
    assert_eq!(
        text(&run(&["--version"]).stdout),
        format!("iot-bridge {} (ROS 2 {BUILT_FOR})\n", env!("CARGO_PKG_VERSION"))
    );
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completions", shell]);
        assert!(script.status.success() && text(&script.stdout).contains("preview"), "{shell}");
    }
}

/// Another ROS distribution than the one built for is refused with both names, where structures may be laid out
/// otherwise; one that is laid out alike is warned of, and so is one that nobody names.
#[tokio::test]
async fn another_distribution_is_named() {
    let stage = Stage::set().await;
    let config = stage.configure("[[topics]]\nros = \"/odom\"\n");
    let config = config.to_str().unwrap();
    let commands: [&[&str]; 4] = [
        &["run", "--config", config],
        &["check", "--config", config],
        &["preview", "/odom", "--config", config],
        &["mock"],
    ];
    for arguments in commands {
        let output = command().args(arguments).env("ROS_DISTRO", "humble").output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{arguments:?}");
        let said = text(&output.stderr);
        assert!(said.contains("humble") && said.contains(BUILT_FOR), "{arguments:?}: {said}");
    }
    let check = |sourced: Option<&str>, option: &[&str]| {
        let mut check = command();
        check.args(["check", "--config", config]).args(option).env_remove("ROS_DISTRO");
        check.envs(sourced.map(|sourced| ("ROS_DISTRO", sourced)));
        check.output().unwrap()
    };
    let json = |sourced| -> Value { serde_json::from_slice(&check(sourced, &["--json"]).stdout).unwrap() };
    let refused = json(Some("humble"));
    assert_eq!((&refused["ok"], &refused["ros"]["sourced"]), (&false.into(), &"humble".into()));
    assert_eq!(refused["problems"][0]["source"], "ROS_DISTRO");
    let same = json(Some(BUILT_FOR));
    assert_eq!((&same["ros"]["built_for"], &same["ros"]["doubt"]), (&BUILT_FOR.into(), &Value::Null));

    let alike = if BUILT_FOR == "kilted" { "jazzy" } else { "kilted" };
    for (sourced, words) in [(Some(alike), [alike, BUILT_FOR]), (None, ["ROS_DISTRO is not set", BUILT_FOR])] {
        let output = check(sourced, &[]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let said = text(&output.stdout);
        let line = said.lines().find(|line| line.contains(words[0])).expect("a line that names it");
        assert!(line.starts_with('#') && line.contains(words[1]), "{said}");
    }
    let mut program = Program::start_with(std::path::Path::new(config), &[("ROS_DISTRO", alike)]);
    let warning = program.await_log("was built for ROS 2");
    assert!(warning.contains("WARN") && warning.contains(alike) && warning.contains(BUILT_FOR), "{warning}");
    let up = program.await_log("The ROS node is up: domain ");
    let domain = std::env::var("ROS_DOMAIN_ID").unwrap();
    assert!(up.contains(&format!("domain {domain}, rmw_")) && up.contains("discovery LOCALHOST."), "{up}");
    assert_eq!(program.terminate().code(), Some(0));
}

/// `check` accepts a right configuration and prints what it amounts to; `run` would take exactly that.
#[tokio::test]
async fn check_prints_the_effective_configuration() {
    let stage = Stage::set().await;
    let path = stage.configure("[[topics]]\nros = \"/odom\"\n");
    let output = run(&["check", "--config", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    assert!(
        printed.contains("mqtt = \"robots/robot1/odom\"") && printed.contains("keep_alive = \"1 min\""),
        "{printed}"
    );

    assert!(!printed.contains("first slash"), "{printed}");
    let with_slash = stage.configure("[[topics]]\nros = \"/odom\"\nmqtt = \"/robots{ros}\"\n");
    let noted = text(&run(&["check", "--config", with_slash.to_str().unwrap()]).stdout);
    assert!(noted.contains("\n# /odom goes to /robots/odom, whose first slash"), "{noted}");

    // What it prints is a configuration with the same meaning.
    let again = stage.directory.path().join("again.toml");
    fs::write(&again, &printed).unwrap();
    let output = run(&["check", "--json", "--config", again.to_str().unwrap()]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!(report["settings"]["topics"][0]["mqtt"], "robots/robot1/odom");
    assert!(report["certificate_expires"].as_u64().unwrap() > 1_700_000_000);
}

/// `check` names every problem of the configuration at once, and of the credentials, and ends with 78; `run` refuses
/// the same configuration with 78.
#[tokio::test]
async fn check_names_every_problem() {
    let stage = Stage::set().await;
    let path = stage
        .configure("[mqtt]\nkeep_alive = \"2 s\"\nkeepalive = 3\n[[topics]]\nros = \"/a b\"\nqos = 2\nrate = \"2\"\n");
    let path = path.to_str().unwrap();
    let output = run(&["check", "--config", path]);
    assert_eq!(output.status.code(), Some(78));
    let problems = text(&output.stderr);
    for word in ["mqtt.keep_alive", "mqtt.keepalive", "topics[0].ros", "topics[0].qos", "topics[0].rate"] {
        assert!(problems.contains(word), "{word}: {problems}");
    }
    assert!(problems.contains("5 problems to mend"), "{problems}");
    // The files are looked into all the same.
    fs::write(&stage.files.private_key, "no key").unwrap();
    let problems = text(&run(&["check", "--config", path]).stderr);
    assert!(problems.contains("6 problems to mend") && problems.contains("aws.private_key"), "{problems}");
    let report: Value = serde_json::from_slice(&run(&["check", "--json", "--config", path]).stdout).unwrap();
    assert_eq!((&report["ok"], report["problems"].as_array().unwrap().len()), (&Value::Bool(false), 6));
    let refused = run(&["run", "--config", path]);
    assert_eq!(refused.status.code(), Some(78));
    assert!(text(&refused.stderr).contains("topics[0].qos"));

    let path = stage.configure("[[topics]]\nros = \"/a\"\n");
    stage.authority.issue(&["robot1"], Valid::NoLonger).write(stage.directory.path(), "robot1");
    fs::set_permissions(&stage.files.private_key, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(stage.root_ca(), "no certificate").unwrap();
    let output = run(&["check", "--config", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(78));
    let problems = text(&output.stderr);
    for word in ["expired", "open to every user", "aws.certificate", "aws.private_key", "aws.root_ca"] {
        assert!(problems.contains(word), "{word}: {problems}");
    }
}

/// What goes wrong on the first day is named in one round, each mistake once, with what to type: an endpoint that is a URL
/// keeps nobody from looking at the files.
#[tokio::test]
async fn check_names_the_mistakes_of_the_first_day_at_once() {
    let stage = Stage::set().await;
    let path = stage.configure("[[topics]]\nros = \"/odom\"\nmqtt = \"/robots{ros}\"\n");
    let right = fs::read_to_string(&path).unwrap();
    let (key, certificate) = (&stage.files.private_key, &stage.files.certificate);
    fs::set_permissions(key, fs::Permissions::from_mode(0o644)).unwrap();
    stage.authority.issue(&["robot1"], Valid::NoLonger).write(stage.directory.path(), "robot1");
    fs::set_permissions(key, fs::Permissions::from_mode(0o644)).unwrap();
    let wrong = right
        .replace("\"localhost\"", "\"https://a1b2c3-ats.iot.eu-west-1.amazonaws.com/\"")
        .replace("thing = \"robot1\"\n", "")
        .replace(&format!("root_ca = {:?}", stage.root_ca()), &format!("root_ca = {certificate:?}"));
    let report = |config: &str| -> Value {
        fs::write(&path, config).unwrap();
        serde_json::from_slice(&run(&["check", "--json", "--config", path.to_str().unwrap()]).stdout).unwrap()
    };
    let told = report(&wrong);
    let problems = told["problems"].as_array().unwrap();
    let mut keys: Vec<_> = problems.iter().map(|problem| problem["key"].as_str().unwrap()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["aws.certificate", "aws.endpoint", "aws.private_key", "aws.root_ca", "aws.thing"], "{told:#}");
    for (key, words) in [
        ("aws.certificate", "expired on".to_owned()),
        ("aws.endpoint", "without a scheme: \"a1b2c3-ats.iot.eu-west-1.amazonaws.com\"".to_owned()),
        ("aws.private_key", format!("chgrp iot-bridge {} && chmod 640 {}", key.display(), key.display())),
        ("aws.root_ca", "holds no authority's certificate, but one that an authority has issued".to_owned()),
    ] {
        let problem = problems.iter().find(|problem| problem["key"] == key).unwrap();
        let sentence = format!("{} {}", problem["found"], problem["allowed"]).replace("\\\"", "\"");
        assert!(sentence.contains(&words), "{key}: {sentence}");
    }

    // Beside `run`, which logs what is wrong with the configuration, only the files are left to say.
    let beside = run(&["check", "--quiet", "--beside-run", "--config", path.to_str().unwrap()]);
    assert_eq!(beside.status.code(), Some(78));
    let logged = text(&beside.stderr);
    for (key, times) in [("aws.endpoint", 0), ("aws.thing", 0), ("aws.private_key", 1), ("aws.certificate", 1)] {
        let lines = logged.lines().filter(|line| line.contains("config.toml:") && line.contains(&format!(": {key}:")));
        assert_eq!(lines.count(), times, "{key}: {logged}");
    }
    let logged = text(&run(&["run", "--config", path.to_str().unwrap()]).stderr);
    assert!(logged.contains("aws.endpoint") && !logged.contains("open to every user"), "{logged}");

    // Where the claim is half said, its half is looked at, and what is not said is no file without a name.
    let half = wrong
        .replace("[mqtt.quotas]", &format!("[aws.provisioning]\nclaim_certificate = {certificate:?}\n[mqtt.quotas]"));
    let half = half.replace("certificate = ", "#").replace("claim_#", "claim_certificate = ");
    let told = report(&half.replace("private_key = ", "#"));
    let keys: Vec<_> = told["problems"].as_array().unwrap().iter().map(|problem| &problem["key"]).collect();
    for (key, is) in [
        ("aws.provisioning.claim_certificate", true),
        ("aws.provisioning.claim_private_key", true),
        ("aws.provisioning.template", true),
        ("aws.certificate", false),
        ("aws.private_key", false),
    ] {
        assert_eq!(keys.iter().any(|found| **found == key), is, "{key}: {told:#}");
    }

    // What is valid and perhaps not meant.
    stage.authority.issue(&["robot1"], Valid::Now).write(stage.directory.path(), "robot1");
    let told = report(&right);
    assert_eq!(told["ok"], true, "{told:#}");
    let slash = "/odom goes to /robots/odom, whose first slash makes a first level without a name";
    assert_eq!(told["warnings"], serde_json::json!([slash]));
}

/// A file with a secret that others can read is a problem, whichever it is, at the key that names or holds it; what is in
/// it is printed nowhere. Closed files are none.
#[tokio::test]
async fn check_refuses_open_secrets() {
    let stage = Stage::set().await;
    let place = stage.directory.path();
    let mode = |name: &str, mode| fs::set_permissions(place.join(name), fs::Permissions::from_mode(mode)).unwrap();
    let path = stage.configure("[[topics]]\nros = \"/a\"\n[mqtt.proxy]\nurl_file = \"PLACE/proxy\"\n");
    let config = fs::read_to_string(&path).unwrap().replace("PLACE", place.to_str().unwrap());
    fs::write(&path, config).unwrap();
    fs::write(place.join("proxy"), "http://robot:hunter2@localhost:3128\n").unwrap();
    let provisioning = format!(
        "[aws.provisioning]\ntemplate = \"t\"\nclaim_certificate = {:?}\nclaim_private_key = {:?}\n\
         parameters = {{ Serial = \"hunter2\" }}\n",
        stage.files.certificate, stage.files.private_key
    );
    fs::create_dir(place.join("conf.d")).unwrap();
    fs::write(place.join("conf.d/serial.toml"), provisioning).unwrap();
    let check = || {
        let output = run(&["check", "--json", "--config", path.to_str().unwrap()]);
        let printed = text(&output.stdout);
        assert!(!printed.contains("hunter2"), "{printed}");
        let report: Value = serde_json::from_str(&printed).unwrap();
        let problems = report["problems"].as_array().unwrap();
        let problems = problems.iter().map(|problem| {
            assert!(problem["allowed"].as_str().unwrap().contains("chmod"), "{problem}");
            let source = problem["source"].as_str().unwrap();
            (problem["key"].as_str().unwrap().to_owned(), source.rsplit('/').next().unwrap().to_owned())
        });
        let status = output.status.code();
        (status, problems.collect::<Vec<_>>(), report["settings"]["aws"]["provisioning"]["parameters"].clone())
    };
    let of = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>();
    for (name, is) in [("proxy", 0o644), ("robot1.private.key", 0o644), ("conf.d/serial.toml", 0o644)] {
        mode(name, is);
    }
    let (status, problems, parameters) = check();
    let expected = of(&[
        ("aws.private_key", "config.toml"),
        ("aws.provisioning.claim_private_key", "serial.toml"),
        ("mqtt.proxy.url_file", "config.toml"),
        ("aws.provisioning.parameters.Serial", "serial.toml"),
    ]);
    assert_eq!((status, problems), (Some(78), expected));
    assert_eq!(parameters, serde_json::json!({ "Serial": "***" }));
    mode("robot1.private.key", 0o640);
    mode("proxy", 0o640);
    mode("conf.d/serial.toml", 0o640);
    assert_eq!((check().0, check().1), (Some(0), Vec::new()));

    // A password in the main file, which is open as it is installed.
    fs::write(place.join("proxy"), "").unwrap();
    let config = fs::read_to_string(&path).unwrap();
    let (before, _) = config.split_once("[mqtt.proxy]").unwrap();
    fs::write(&path, format!("{before}[mqtt.proxy]\nurl = \"http://robot:hunter2@localhost:3128\"\n")).unwrap();
    mode("config.toml", 0o644);
    assert_eq!(check().1, of(&[("mqtt.proxy.url", "config.toml")]));
    mode("config.toml", 0o600);
    assert_eq!(check().0, Some(0));

    // Without a password there is nothing to hide.
    fs::write(&path, format!("{before}[mqtt.proxy]\nurl = \"http://localhost:3128\"\n")).unwrap();
    mode("config.toml", 0o644);
    assert_eq!(check().0, Some(0));

    // What only the service sees is not looked at, and that is said.
    let hidden =
        before.replace(stage.files.private_key.to_str().unwrap(), "${CREDENTIALS_DIRECTORY}/robot1.private.key");
    fs::write(&path, hidden).unwrap();
    let output = run(&["check", "--config", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("# Not looked at: aws.private_key"), "{}", text(&output.stdout));
    let mut command = command();
    let output = command.args(["check", "--config"]).arg(&path).env("CREDENTIALS_DIRECTORY", place).output().unwrap();
    assert!(output.status.success() && !text(&output.stdout).contains("Not looked at"), "{}", text(&output.stderr));
}

/// `preview` prints exactly what the broker gets, for every entry of a topic; what would be compressed, before that.
#[tokio::test(flavor = "multi_thread")]
async fn preview_prints_what_would_be_published() {
    let mut stage = Stage::set().await;
    let path = stage.configure(
        r#"
[[topics]]
ros = "/numbers"
type = "std_msgs/msg/String"
reliability = "reliable"
durability = "volatile"
payload = "data"

[[topics]]
ros = "/numbers"
type = "std_msgs/msg/String"
reliability = "reliable"
durability = "volatile"
mqtt = "again"
payload = "envelope"

[[topics]]
ros = "/numbers"
type = "std_msgs/msg/String"
reliability = "reliable"
durability = "volatile"
mqtt = "packed"
payload = "data"
batch = { max = 10 }
compression = "gzip"
compress_over = "100 B"
compression_suffix = true
"#,
    );
    let mut program = Program::start(&path);
    let previewed = command()
        .args(["preview", "/numbers", "--count", "90", "--config", path.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut robot = Robot::start();
    let publisher = robot.publisher("/numbers", 100);
    // All entries of both programs. Each then begins with one of the first messages, though not all with the same.
    Robot::await_subscribers(&publisher, 6);
    let stream = Stream::start(robot, vec![publisher], 20, usize::MAX);
    let output = previewed.wait_with_output().unwrap();
    assert!(output.status.success());
    let payloads = text(&output.stdout);
    let payloads: Vec<&str> = payloads.lines().collect();
    assert_eq!(payloads.len(), 90, "{payloads:?}");
    let headings = text(&output.stderr);
    assert!(headings.contains("/numbers -> robots/robot1/numbers (200 bytes)"), "{headings}");
    assert!(headings.contains("/numbers -> packed/gzip (204 bytes, "), "{headings}");
    // The broker gets the texts as they were printed. An envelope holds the numbers of its own process.
    let (envelopes, others): (Vec<&str>, Vec<&str>) = payloads.iter().partition(|payload| payload.starts_with('{'));
    let (batches, plain): (Vec<&str>, Vec<&str>) = others.iter().partition(|payload| payload.starts_with('['));
    assert!(envelopes.len() > 10 && plain.len() > 10 && batches.len() > 10, "{payloads:?}");
    let envelope: Value = serde_json::from_str(envelopes[0]).unwrap();
    assert_eq!((&envelope["thing"], &envelope["topic"]), (&"robot1".into(), &"/numbers".into()));
    assert_eq!(envelope["type"], "std_msgs/msg/String");
    assert!(envelope["received"].as_i64().unwrap() >= envelope["stamp"].as_i64().unwrap() - 1_000_000_000);
    let (mut plain_arrived, mut batch_arrived) = (false, false);
    while !(plain_arrived && batch_arrived) {
        let (topic, payload) = stage.observer.next().await;
        match topic.as_str() {
            "robots/robot1/numbers" => plain_arrived |= plain.contains(&&*text(&payload)),
            "packed/gzip" => {
                let mut batch = String::new();
                flate2::read::GzDecoder::new(&*payload).read_to_string(&mut batch).unwrap();
                batch_arrived |= batches.contains(&&*batch);
            }
            _ => {}
        }
    }
    stream.stop();
    assert_eq!(program.terminate().code(), Some(0));
}

/// `preview` shows a topic that is not configured with the defaults, and ends quietly when nobody reads on.
#[tokio::test(flavor = "multi_thread")]
async fn preview_of_an_unconfigured_topic() {
    let stage = Stage::set().await;
    let path = stage.configure("[[topics]]\nros = \"/other\"\n");
    let mut robot = Robot::start();
    let publisher = robot.publisher("/numbers", 100);
    let stream = Stream::start(robot, vec![publisher], 20, usize::MAX);
    let output = run(&["preview", "numbers", "--count", "1", "--config", path.to_str().unwrap()]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let message: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(message["data"].as_str().unwrap().len(), numbered(0).len());
    assert!(text(&output.stderr).contains("/numbers is not configured; showing it with the defaults"));
    stream.stop();
}

/// `preview` shows a topic as the entry that has it by its type, though a more exact pattern means its name; where that depends
/// on the type it waits until there is one.
#[tokio::test(flavor = "multi_thread")]
async fn preview_of_a_topic_that_a_type_decides() {
    let stage = Stage::set().await;
    let topics = "[[topics]]\nros = \"/arm/*\"\ntype = \"sensor_msgs/msg/*\"\n[[topics]]\nros = \"/arm/**\"\npayload = \"data\"\n\
                  [[topics]]\nros = \"/leg/*\"\ntype = \"sensor_msgs/msg/*\"\n";
    let path = stage.configure(topics);
    let preview = |topic: &str| {
        let mut preview = command();
        preview.args(["preview", topic, "--count", "1", "--config"]).arg(&path);
        preview.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut arm = preview("/arm/text");
    let mut said = BufReader::new(arm.stderr.take().unwrap()).lines().map_while(Result::ok);
    let waits = said.next().unwrap();
    assert!(
        waits.starts_with("Nobody publishes /arm/text yet, and which entry of the configuration has it depends"),
        "{waits}"
    );
    let mut robot = Robot::start();
    let publishers = ["/arm/text", "/leg/text"].map(|topic| robot.publisher(topic, 100));
    let stream = Stream::start(robot, publishers.into(), 20, usize::MAX);
    let output = arm.wait_with_output().unwrap();
    assert_eq!(said.next().as_deref(), Some("/arm/text is found by /arm/**."));
    assert_eq!(output.stdout.len(), numbered(0).len() + 1, "a text as it is");

    let output = preview("/leg/text").wait_with_output().unwrap();
    // Where discovery is slow, it said before that it waits.
    let said = text(&output.stderr);
    let told = said.lines().find(|line| !line.starts_with("Nobody publishes /leg/text yet"));
    assert_eq!(told, Some("/leg/text is not configured; showing it with the defaults."), "{said}");
    assert!(text(&output.stdout).starts_with("{\"data\":"));
    stream.stop();
}

/// `preview` receives as the service does, without shared memory, also with a discovery range where rmw_fastrtps asks for
/// it whatever the environment says; with the caller's own choice of transports it has it. It says so when somebody
/// publishes and nothing comes.
#[tokio::test(flavor = "multi_thread")]
async fn preview_receives_over_udp() {
    let stage = Stage::set().await;
    let path = stage.configure("[[topics]]\nros = \"/quiet\"\n");
    let mut robot = Robot::start();
    let _publisher = robot.publisher("/quiet", 100);
    let shared_memory_of = |process: &str| {
        let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
        // Fast DDS 2 calls it fastrtps_…, Fast DDS 3 fastdds_….
        maps.contains("/dev/shm/fastrtps") || maps.contains("/dev/shm/fastdds")
    };
    assert!(shared_memory_of("self"), "the robot has no shared memory either");
    let preview = |variables: &[(&str, &str)]| {
        let mut waiting = command()
            .args(["preview", "/quiet", "--config", path.to_str().unwrap()])
            .env_remove("FASTDDS_BUILTIN_TRANSPORTS")
            .envs(variables.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(waiting.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut before = Vec::new();
        let waits = loop {
            let line = lines.next().unwrap_or_else(|| panic!("it ended: {before:?}"));
            if line.starts_with("1 publisher of /quiet, and nothing received in 3 s; waiting. ") {
                break line;
            }
            before.push(line);
        };
        // A slow machine finds the publisher later.
        let known = ["No message on /quiet yet", "Nobody publishes /quiet", "No other ROS node is seen"];
        let unknown = before.iter().find(|line| !known.iter().any(|known| line.starts_with(known)));
        assert_eq!(unknown, None, "{before:?}");
        let shared = shared_memory_of(&waiting.id().to_string());
        waiting.kill().unwrap();
        waiting.wait().unwrap();
        (waits, shared)
    };
    let (waits, shared) = preview(&[]);
    assert!(!shared && waits.contains("The service would receive nothing either."), "{shared}: {waits}");
    let (waits, shared) = preview(&[("FASTDDS_BUILTIN_TRANSPORTS", "DEFAULT")]);
    assert!(
        shared && waits.contains("FASTDDS_BUILTIN_TRANSPORTS lets Fast DDS use shared memory"),
        "{shared}: {waits}"
    );
}

/// The AWS sample's `iot_config.json`, as it is, forwards what its mock node publishes, as the sample does: the text
/// unchanged, to `ros2_mock_telemetry_topic`.
#[tokio::test(flavor = "multi_thread")]
async fn the_sample_s_configuration_does_what_the_sample_does() {
    let mut stage = Stage::set().await;
    let path = stage.directory.path().join("iot_config.json");
    let configuration = serde_json::json!({
        "endpoint": "localhost",
        "rootCAPath": stage.root_ca(),
        "certificatePath": stage.files.certificate,
        "privateKeyPath": stage.files.private_key,
        "clientID": "robot1",
        "port": stage.link.port(),
        "region": "us-west-2",
    });
    fs::write(&path, configuration.to_string()).unwrap();
    // The sample has no word for the queue; only where that is, is the test's own.
    let queue = stage.queue();
    let mut program = Program::start_with(&path, &[("IOT_BRIDGE_QUEUE__DIRECTORY", queue.to_str().unwrap())]);
    let mut mock = command().args(["mock", "--rate", "50"]).stderr(Stdio::null()).spawn().unwrap();
    for _ in 0..20 {
        let (topic, payload) = stage.observer.next().await;
        assert_eq!(topic, "ros2_mock_telemetry_topic");
        let telemetry: Value = serde_json::from_slice(&payload).unwrap();
        assert!((85.0..=90.0).contains(&telemetry["battery"].as_f64().unwrap()), "{telemetry}");
        assert!(text(&payload).starts_with("{\"battery\": "), "the text is not as published: {telemetry}");
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&mock), rustix::process::Signal::INT).unwrap();
    assert_eq!(mock.wait().unwrap().code(), Some(0));
    assert_eq!(program.terminate().code(), Some(0));
}

/// ROS that can't be started is an error with a reason and status 1, not a panic.
#[test]
fn a_ros_that_cannot_start_is_an_error() {
    for (arguments, domain) in
        [(&["mock"][..], "nonsense"), (&["preview", "/odom"], "nonsense"), (&["preview", "/odom"], "233")]
    {
        let output = command().args(arguments).env("ROS_DOMAIN_ID", domain).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        assert!(!text(&output.stderr).contains("panicked"), "{}", text(&output.stderr));
    }
}
