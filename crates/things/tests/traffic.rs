//! send, subscribe and rotate, against a broker that asks for certificates.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use crate::bench::{Bench, said};
use crate::support::itself;
use crate::support::mosquitto::Mosquitto;

const ODOM: &str = "[[topics]]\nros = \"/odom\"\n";

fn bench() -> (Bench, Mosquitto) {
    let bench = Bench::set();
    let mosquitto = Mosquitto::start(&bench.authority);
    bench.template(mosquitto.port(), ODOM);
    (bench, mosquitto)
}

/// Each thing publishes with its own certificate to its own topic, acknowledged, and `subscribe` prints what arrives for
/// another.
#[test]
fn what_is_sent_arrives() {
    let (bench, _mosquitto) = bench();
    bench.succeed(&["create", "4", "--config", "fleet.toml"]);
    let mut subscriber = bench
        .program(&["subscribe", "--thing", "thing_3", "--topic", "#", "--duration", "5min"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut heard = BufReader::new(subscriber.stderr.take().unwrap()).lines();
    assert!(heard.next().unwrap().unwrap().contains("thing_3: subscribed to #"));
    let things = ["--thing", "thing_0", "--thing", "thing_1", "--thing", "thing_2"];
    let text = bench.succeed(&[&["send", "hello", "--duration", "1s", "--interval", "700ms"][..], &things].concat());
    assert!(text.contains("6 messages of 3 things acknowledged"), "{text}");
    fs::write(bench.path("message.json"), "{\"deep\": [1, 2]}").unwrap();
    let deep =
        ["send", "--json-message", "message.json", "--topic", "fleet", "--append-thing-name", "--thing", "thing_2"];
    let text = bench.succeed(&[&deep[..], &["--qos", "0", "--duration", "0.1"]].concat());
    assert!(text.contains("1 message of 1 thing"), "{text}");

    let mut lines = BufReader::new(subscriber.stdout.take().unwrap()).lines();
    let mut topics = Vec::new();
    for _ in 0..7 {
        let line = lines.next().unwrap().unwrap();
        let [name, topic, payload] = line.splitn(3, "  ").collect::<Vec<_>>()[..] else { panic!("{line}") };
        let payload: serde_json::Value = serde_json::from_str(payload).unwrap();
        assert!(name == "thing_3" && payload["ts"].as_u64().is_some_and(|ts| ts > 1_700_000_000_000_000_000), "{line}");
        match topic {
            "fleet/thing_2" => assert_eq!(payload["msg"]["deep"][1], 2),
            _ => assert_eq!(payload["msg"], "hello"),
        }
        topics.push(topic.to_owned());
    }
    topics.sort();
    topics.dedup();
    assert_eq!(topics, ["elf/thing_0", "elf/thing_1", "elf/thing_2", "fleet/thing_2"]);
    subscriber.kill().unwrap();
    subscriber.wait().unwrap();
}

/// A fault of a connection is told for each thing, with what to do, and is exit status 1.
#[test]
fn faults_are_told_with_what_to_do() {
    let (bench, mut mosquitto) = bench();
    bench.succeed(&["create", "1", "--config", "fleet.toml"]);
    fs::write(bench.path("things/thing_0/certs/rootCA.crt"), crate::support::certificates::Authority::new("other").pem)
        .unwrap();
    let (status, text) = bench.run(&["send"]);
    assert_eq!(status, 1, "{text}");
    assert!(
        text.contains("thing_0: can't connect") && text.contains("not signed by") && text.contains("root_ca"),
        "{text}"
    );
    mosquitto.kill();
    let (status, text) = bench.run(&["subscribe"]);
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("refuses connections") && text.contains("port = 443"), "{text}");
    let (status, text) = bench.run(&["send", "--topic", "a/#"]);
    assert_eq!(status, 2, "{text}");
    assert!(text.contains("wildcard"), "{text}");
}

/// `rotate` proves the new certificate before the old one goes: with the broker away the old one stays, and another run
/// goes on with the same new one.
#[test]
fn a_certificate_is_rotated_once_the_new_one_works() {
    let (bench, mut mosquitto) = bench();
    bench.succeed(&["create", "1", "--config", "fleet.toml", "--install", "robot"]);
    let key = || fs::read_to_string(bench.path("things/thing_0/certs/thing_0.private.key")).unwrap();
    let certificates = || bench.api.get("/certificates")["certificates"].as_array().unwrap().len();
    let (before, id) = (key(), bench.register()["things"][0]["certificates"][0]["issued"]["id"].clone());
    mosquitto.kill();
    let (status, text) = bench.run(&["rotate", "thing_0"]);
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("The old one stays in use"), "{text}");
    assert_eq!((key(), certificates()), (before.clone(), 2));
    mosquitto.start_again();
    bench.succeed(&["rotate", "thing_0"]);
    assert_eq!(certificates(), 1);
    assert_ne!(key(), before);
    let register = bench.register();
    assert_eq!(register["things"][0]["certificates"].as_array().unwrap().len(), 1);
    assert_ne!(register["things"][0]["certificates"][0]["issued"]["id"], id);
    assert_eq!(fs::read_to_string(bench.path("robot/certs/thing_0.private.key")).unwrap(), key());
    assert!(!bench.path("things/thing_0/certs/thing_0.private.key.next").exists());
    bench.succeed(&["send", "--duration", "0.1"]);
    assert!(bench.succeed(&["list"]).contains("thing_0  ready"));
}

/// Whatever call of `rotate` is the last one that AWS hears, `rotate` again ends with one certificate that works.
#[test]
fn rotate_goes_on_after_a_failure_of_any_call() {
    let (bench, _mosquitto) = bench();
    bench.succeed(&["create", "1", "--config", "fleet.toml"]);
    for last in 1.. {
        bench.api.fail_after(last);
        let (status, text) = bench.run(&["rotate", "thing_0"]);
        bench.api.heal();
        if status == 0 {
            assert!(last > 5, "{last}: {text}");
            break;
        }
        bench.succeed(&["rotate", "thing_0"]);
        bench.succeed(&["send", "--duration", "0.1"]);
        assert_eq!(bench.api.get("/certificates")["certificates"].as_array().unwrap().len(), 1, "call {last}");
    }
    let before_clean = bench.api.everything();
    assert_eq!(before_clean.len(), 3, "{before_clean:?}");
    bench.succeed(&["clean", "--yes"]);
    assert!(bench.api.everything().is_empty());
}

/// The script of a thing's directory puts the configuration onto a robot, where it passes `iot-bridge check`: from a
/// directory of any name, into one that is there already and keeps its modes, beside an example that nobody has edited; a
/// configuration that somebody has edited steps aside.
#[test]
fn the_installer_makes_a_robot() {
    let bench = Bench::set();
    bench.template(8883, &format!("{ODOM}[mqtt.proxy]\nurl = \"http://robot:hunter2@localhost:3128\"\n"));
    bench.succeed(&["create", "robot1", "--config", "fleet.toml"]);
    let copy = bench.path("a|b&c $(touch ran) 'd'");
    fs::rename(bench.path("things/robot1"), &copy).unwrap();
    let to = bench.path("etc");
    let mode = |path: &str| fs::metadata(to.join(path)).unwrap().permissions().mode() & 0o777;
    fs::create_dir_all(to.join("certs")).unwrap();
    fs::set_permissions(to.join("certs"), Permissions::from_mode(0o750)).unwrap();
    let install = |to: &Path| {
        let script = std::process::Command::new(copy.join("install.sh")).arg(to).current_dir(&bench.directory).output();
        said(script.unwrap())
    };
    let (status, text) = install(&bench.path("$(touch ran)"));
    assert!(status == 2 && text.contains("may have letters"), "{text}");
    fs::write(to.join("config.toml"), include_str!("../../../etc/config.toml")).unwrap();
    for edited in [false, true] {
        let (status, text) = install(&to);
        assert_eq!((status, text.contains("is in force no more")), (0, edited), "{text}");
        assert_eq!(to.join("config.toml.before").exists(), edited);
        fs::write(to.join("config.toml"), "[[topics]]\nros = \"/odom\"\n").unwrap();
    }
    fs::remove_file(to.join("config.toml")).unwrap();
    // Beside the AWS sample's file nothing of conf.d would be read.
    fs::copy(copy.join("iot_config.json"), to.join("config.json")).unwrap();
    let (status, text) = install(&to);
    assert!(status == 0 && text.contains("it is in config.json.before."), "{text}");
    assert!(to.join("config.json.before").exists() && !to.join("config.json").exists());
    assert!(!bench.path("ran").exists(), "a name was run");
    assert_eq!(mode("certs"), 0o750);
    // It holds a password.
    assert!([0o600, 0o640].contains(&mode("conf.d/robot.toml")), "{:o}", mode("conf.d/robot.toml"));
    assert_eq!(mode("conf.d/robot.toml"), mode("certs/robot1.private.key"));
    fs::remove_dir_all(&copy).unwrap();
    let config = to.join("conf.d/robot.toml");
    assert!(fs::read_to_string(&config).unwrap().contains("robot:hunter2@"), "it is the robot's, whole");
    let check =
        std::process::Command::new(itself::beside("iot-bridge")).args(["check", "--config"]).arg(&config).output();
    let (status, text) = said(check.unwrap());
    assert_eq!(status, 0, "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

/// `rotate` writes where the thing is installed, and not where things.json merely says so.
#[test]
fn rotate_believes_what_is_there() {
    let bench = Bench::set();
    let mosquitto = Mosquitto::start(&bench.authority);
    bench.template(mosquitto.port(), ODOM);
    // The AWS sample's, beside which conf.d would not be read, steps aside.
    fs::create_dir(bench.path("etc")).unwrap();
    fs::write(bench.path("etc/config.json"), "{\n    \"clientID\": \"robot0\"\n}\n").unwrap();
    let text = bench.succeed(&["create", "robot1", "--config", "fleet.toml", "--install", "etc"]);
    assert!(text.contains("it is in config.json.before."), "{text}");
    assert!(bench.path("etc/config.json.before").exists() && !bench.path("etc/config.json").exists());
    let key = || fs::read_to_string(bench.path("etc/certs/robot1.private.key")).unwrap();
    let first = key();
    bench.succeed(&["rotate", "robot1"]);
    let second = key();
    assert_ne!(first, second);
    let elsewhere = bench.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let path = bench.path("things/things.json");
    let register = fs::read_to_string(&path).unwrap();
    let etc = fs::canonicalize(bench.path("etc")).unwrap().display().to_string();
    assert!(register.contains(&etc), "{register}");
    let of_elsewhere = register.replace(&etc, elsewhere.to_str().unwrap());
    fs::write(&path, &of_elsewhere).unwrap();
    let (status, text) = bench.run(&["rotate", "robot1"]);
    assert!(status == 1 && text.contains("is not installed in"), "{text}");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    assert_eq!(key(), second);
    // The robot keeps its certificate: nothing was asked for or deleted.
    assert_eq!(fs::read_to_string(&path).unwrap(), of_elsewhere);
    bench.succeed(&["create", "robot1", "--install", "etc"]);
    bench.succeed(&["rotate", "robot1"]);
    assert_ne!(key(), second);
}

/// A robot whose owner has split the configuration, or that was installed through a link, gets its new certificate and
/// keeps its configuration.
#[test]
fn rotate_reads_the_whole_configuration() {
    let bench = Bench::set();
    let mosquitto = Mosquitto::start(&bench.authority);
    bench.template(mosquitto.port(), ODOM);
    fs::create_dir(bench.path("real")).unwrap();
    std::os::unix::fs::symlink(bench.path("real"), bench.path("etc")).unwrap();
    bench.succeed(&["create", "robot1", "--config", "fleet.toml", "--install", "etc"]);
    let of_the_robot = |name: &str| fs::read_to_string(bench.path("etc").join(name)).unwrap();
    let here = |name: &str| fs::read_to_string(bench.path("things/robot1").join(name)).unwrap();
    let before = of_the_robot("certs/robot1.private.key");
    let config = of_the_robot("conf.d/robot.toml");
    let (aws, topics) = split(&config);
    fs::write(bench.path("etc/conf.d/robot.toml"), &aws).unwrap();
    fs::write(bench.path("etc/conf.d/topics.toml"), &topics).unwrap();
    bench.succeed(&["rotate", "robot1"]);
    assert_ne!(of_the_robot("certs/robot1.private.key"), before);
    for name in ["certs/robot1.private.key", "certs/robot1.cert.pem"] {
        assert_eq!(of_the_robot(name), here(name), "{name}");
    }
    assert_eq!([of_the_robot("conf.d/robot.toml"), of_the_robot("conf.d/topics.toml")], [aws, topics]);
}

/// The table `[aws]` of a configuration, and the rest.
fn split(config: &str) -> (String, String) {
    let mut rest: toml_edit::DocumentMut = config.parse().unwrap();
    let mut aws = toml_edit::DocumentMut::new();
    aws.insert("aws", rest.remove("aws").unwrap());
    (aws.to_string(), rest.to_string())
}
