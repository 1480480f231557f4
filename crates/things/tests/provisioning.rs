//! create and clean.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::bench::{Bench, files, said};
use crate::support::aws_api::{ACCOUNT, REGION};
use crate::support::itself;
use crate::support::mosquitto::Mosquitto;

const ODOM: &str = "[[topics]]\nros = \"/odom\"\n";

/// `create 25` makes 25 things with keys that only their owner reads and configurations that pass `iot-bridge check`;
/// nothing secret is in things.json or said; all are ready and connect; again, it makes nothing; `clean` leaves the
/// account and the directory as before.
#[test]
fn twenty_five_things_come_and_go() {
    let bench = Bench::set();
    let mosquitto = Mosquitto::start(&bench.authority);
    let fleet = bench.template(mosquitto.port(), ODOM);
    let before = bench.api.everything();
    let create = ["create", "25", "--config", fleet.to_str().unwrap(), "--attribute", "site=hall"];
    let text = bench.succeed(&create);
    assert!(text.contains("25 things are ready"), "{text}");
    let there = bench.api.everything();
    assert_eq!(there.len() - before.len(), 25 + 25 + 1, "{there:?}");
    assert_eq!(bench.api.get("/things/thing_24")["attributes"]["site"], "hall");

    for path in files(&bench.path("things")) {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let expected = match path.extension().and_then(|extension| extension.to_str()) {
            Some("key") => 0o600,
            Some("sh") => 0o755,
            _ => 0o644,
        };
        assert_eq!(mode, expected, "{}", path.display());
        if path.extension().is_none_or(|extension| extension != "key") {
            assert!(!fs::read_to_string(&path).unwrap().contains("PRIVATE KEY"), "{}", path.display());
        }
    }
    assert!(!text.contains("PRIVATE KEY") && !text.contains("a secret"));

    for number in [0, 24] {
        let name = format!("thing_{number}");
        let config = bench.path(&format!("things/{name}/config.toml"));
        for config in [config.clone(), config.with_file_name("iot_config.json")] {
            let check = Command::new(itself::beside("iot-bridge")).args(["check", "--config"]).arg(&config).output();
            let (status, text) = said(check.unwrap());
            assert_eq!(status, 0, "{text}");
            assert!(text.contains(&format!("client_id = \"{name}\"")), "{text}");
        }
        let principals = bench.api.get(&format!("/things/{name}/principals"));
        assert_eq!(principals["principals"].as_array().unwrap().len(), 1);
    }

    let text = bench.succeed(&["list"]);
    assert_eq!(text.matches("  ready  certificate").count(), 25, "{text}");
    all_connect(&bench);

    bench.api.heal();
    bench.succeed(&create);
    let writes =
        bench.api.calls().iter().filter(|call| !call.starts_with("GET") && !call.contains("/policies/")).count();
    assert_eq!(writes, 0, "{:?}", bench.api.calls());
    assert_eq!(bench.api.everything(), there);

    let text = bench.succeed(&["clean", "--dry-run"]);
    assert!(text.contains(ACCOUNT) && text.contains(REGION) && text.contains("thing_24"), "{text}");
    assert_eq!(bench.api.everything(), there);
    for answer in ["", "n\n", "yes, please\n"] {
        let (status, text) = answered(&bench, answer);
        assert_eq!((status, bench.api.everything()), (1, there.clone()), "{text}");
    }
    let (status, text) = answered(&bench, "y\n");
    assert_eq!(status, 0, "{text}");
    assert_eq!(bench.api.everything(), before);
    assert!(!bench.path("things").exists());
}

/// What each of the 25 things sends arrives at each of those that subscribe meanwhile: the first 12, then the others. A
/// thing can't do both at a time.
fn all_connect(bench: &Bench) {
    let of = |numbers: std::ops::Range<usize>| -> Vec<String> {
        numbers.flat_map(|number| ["--thing".to_owned(), format!("thing_{number}")]).collect()
    };
    for (listen, speak) in [(of(0..12), of(12..25)), (of(12..25), of(0..12))] {
        let (listeners, speakers) = (listen.len() / 2, speak.len() / 2);
        let mut subscriber = bench.program(&["subscribe", "--topic", "fleet", "--duration", "5min"]);
        let mut subscriber = subscriber.args(listen).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let heard = BufReader::new(subscriber.stderr.take().unwrap()).lines().take(listeners);
        assert!(heard.map(Result::unwrap).all(|line| line.ends_with("subscribed to fleet.")));
        let send = bench.program(&["send", "--topic", "fleet", "--duration", "0.1"]).args(speak).output();
        let (status, text) = said(send.unwrap());
        let all = format!("{speakers} messages of {speakers} things acknowledged");
        assert!(status == 0 && text.contains(&all), "{text}");
        let lines = BufReader::new(subscriber.stdout.take().unwrap()).lines();
        let mut arrived = BTreeMap::<String, usize>::new();
        for line in lines.take(listeners * speakers).map(Result::unwrap) {
            *arrived.entry(line.split("  ").next().unwrap().to_owned()).or_default() += 1;
        }
        assert!(arrived.len() == listeners && arrived.values().all(|number| *number == speakers), "{arrived:?}");
        subscriber.kill().unwrap();
        subscriber.wait().unwrap();
    }
}

/// What `clean` says and does when it is answered.
fn answered(bench: &Bench, answer: &str) -> (i32, String) {
    let mut clean = bench.program(&["clean"]);
    let clean = clean.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut clean = clean.spawn().unwrap();
    // It may not even ask.
    let _ = clean.stdin.take().unwrap().write_all(answer.as_bytes());
    said(clean.wait_with_output().unwrap())
}

/// A configuration that needs several policies gets them, attached to each thing; one that needs fewer leaves none of the
/// others; and `clean` deletes them all.
#[test]
fn several_policies_come_and_go() {
    let bench = Bench::set();
    let topics = |number: usize| -> String {
        (0..number).map(|n| format!("[[topics]]\nros = \"/sensors/a_rather_long_name_of_a_sensor_{n}\"\n")).collect()
    };
    let policies = || bench.api.everything().iter().filter(|name| name.starts_with("policies")).count();
    for (number, expected) in [(80, 6), (40, 3), (1, 1), (80, 6)] {
        bench.template(8883, &topics(number));
        bench.succeed(&["create", "2", "--config", "fleet.toml"]);
        assert_eq!(policies(), expected, "{number} topics");
        let text: serde_json::Value = serde_json::from_str(&bench.succeed(&["list", "--json"])).unwrap();
        for thing in text["things"].as_array().unwrap() {
            assert_eq!(
                (thing["state"].as_str(), thing["policies"].as_array().unwrap().len()),
                (Some("ready"), expected)
            );
        }
    }
    bench.template(8883, &topics(400));
    let (status, text) = bench.run(&["create", "2", "--config", "fleet.toml"]);
    assert!(status == 1 && text.contains("and AWS IoT Core takes 10"), "{text}");
    bench.succeed(&["clean", "--yes"]);
    assert!(bench.api.everything().is_empty(), "{:?}", bench.api.everything());
}

/// Whoever makes the key, and whatever is done with the thing, with logs turned up as far as they go: the key is in its
/// own file alone, for its owner or for the service's group, and neither it nor the credentials are printed.
#[test]
fn secrets_stay_where_they_belong() {
    let bench = Bench::set();
    let mosquitto = Mosquitto::start(&bench.authority);
    bench.template(mosquitto.port(), ODOM);
    for (name, keys) in [("ours", &[][..]), ("theirs", &["--aws-keys"])] {
        let create = ["create", name, "--config", "fleet.toml", "--install", name];
        for command in [
            &[&create, keys].concat()[..],
            &["list", "--json"],
            &["send", "--duration", "0.1"],
            &["subscribe", "--duration", "0.1"],
            &["rotate", name],
            &["policy", "--config", "fleet.toml"],
            &["clean", "--dry-run"],
        ] {
            let mut program = bench.program(command);
            let (status, text) = said(program.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1").output().unwrap());
            assert_eq!(status, 0, "{command:?}: {text}");
            for secret in ["PRIVATE KEY", "a secret of the test", "AWS4-HMAC"] {
                assert!(!text.contains(secret), "{command:?} says {secret}");
            }
        }
        keys_are_closed(&bench.path("things"));
        keys_are_closed(&bench.path(name));
        assert_eq!(key(&bench.path("things").join(name), name), key(&bench.path(name), name));
    }
    let copied = Command::new(bench.path("things/ours/install.sh")).arg(bench.path("copied")).output().unwrap();
    let (status, text) = said(copied);
    assert_eq!(status, 0, "{text}");
    keys_are_closed(&bench.path("copied"));
}

fn key(directory: &Path, name: &str) -> String {
    fs::read_to_string(directory.join(format!("certs/{name}.private.key"))).unwrap()
}

/// Private keys in `directory` are in files of their own that others can't read; nobody but their owner can write to
/// anything.
fn keys_are_closed(directory: &Path) {
    let mut keys = 0;
    for path in files(directory) {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let is_key = path.extension().is_some_and(|extension| extension == "key");
        assert_eq!(fs::read_to_string(&path).unwrap().contains("PRIVATE KEY"), is_key, "{}", path.display());
        // 640 where there is a group of the service.
        let allowed = if is_key { &[0o600, 0o640][..] } else { &[0o644, 0o755] };
        assert!(allowed.contains(&mode), "{}: {mode:o}", path.display());
        let parent = fs::metadata(path.parent().unwrap()).unwrap().permissions().mode();
        assert_eq!(parent & 0o022, 0, "{}: {parent:o}", path.display());
        keys += usize::from(is_key);
    }
    assert!(keys > 0, "{}", directory.display());
}
