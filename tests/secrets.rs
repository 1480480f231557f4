//! Nothing of a key, a certificate or a password is said anywhere, whatever has happened to the file or the value.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::certificates::{Authority, Valid};
use crate::support::domain;
use crate::support::killed_on_drop::KilledOnDrop;
use crate::support::leaks::{Needles, body, damaged};
use crate::support::program::{Program, command};
use iot_bridge_core::pem;
use tempfile::TempDir;

/// A robot with all its files in order, and its configuration.
struct Robot {
    directory: TempDir,
    config: PathBuf,
}

impl Robot {
    /// With a claim, or with a certificate of its own.
    fn new(has_claim: bool) -> Robot {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new("Test CA");
        authority.issue(&["robot1"], Valid::Now).write(directory.path(), "robot1");
        authority.issue(&["claim"], Valid::Now).write(directory.path(), "claim");
        fs::write(directory.path().join("rootCA.crt"), &authority.pem).unwrap();
        let path = |name: &str| directory.path().join(name);
        let mut text = format!(
            "[aws]\nendpoint = \"localhost\"\nport = 9\nthing = \"robot1\"\nroot_ca = {:?}\nprivate_key = {:?}\n",
            path("rootCA.crt"),
            path("robot1.private.key"),
        );
        text += &match has_claim {
            false => format!("certificate = {:?}\n", path("robot1.cert.pem")),
            true => format!(
                "certificate = {:?}\n[aws.provisioning]\ntemplate = \"fleet\"\nclaim_certificate = {:?}\n\
                 claim_private_key = {:?}\n",
                path("new.cert.pem"),
                path("claim.cert.pem"),
                path("claim.private.key")
            ),
        };
        text += &format!(
            "[mqtt.reconnect]\ninitial = \"1 s\"\nmax = \"1 s\"\n[queue]\ndirectory = {:?}\n\
             [[topics]]\nros = \"/numbers\"\ntype = \"std_msgs/msg/String\"\n",
            path("queue")
        );
        let config = path("config.toml");
        fs::write(&config, text).unwrap();
        Robot { directory, config }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What `check` says, for people and for programs.
    fn check(&self) -> String {
        output(command().args(["check", "--config"]).arg(&self.config))
            + &output(command().args(["check", "--json", "--config"]).arg(&self.config))
    }
}

/// Both of its streams.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// `check` names every file that is damaged, and says nothing of what is in it.
#[test]
fn check_says_nothing_of_what_is_in_a_file() {
    for (has_claim, names) in [
        (false, ["robot1.private.key", "robot1.cert.pem", "rootCA.crt"]),
        (true, ["claim.private.key", "claim.cert.pem", "rootCA.crt"]),
    ] {
        let robot = Robot::new(has_claim);
        let sound = names.map(|name| fs::read_to_string(robot.file(name)).unwrap());
        let needles = sound.each_ref().map(|text| Needles::of_pem(text));
        let all = sound.each_ref().map(|text| damaged(text));
        for shape in 0..all[0].len() {
            for (name, damaged) in names.iter().zip(&all) {
                fs::write(robot.file(name), &damaged[shape].1).unwrap();
            }
            let said = robot.check();
            let what = all[0][shape].0;
            assert!(needles.iter().all(|needles| needles.found_in(&said).is_none()), "{what}: {said}");
            if pem::private_key(&all[0][shape].1).is_err() {
                assert!(said.contains(names[0]) && said.contains("\"ok\": false"), "{what}: {said}");
            }
        }
    }
}

/// What the running bridge says of each of them, one after the other in the same file, in its log, to systemd, to
/// `status` and on `/diagnostics`, holds nothing of the file.
#[test]
fn the_bridge_says_nothing_of_what_is_in_a_file() {
    domain::enter();
    let mut listener = Listener::start();
    thread::scope(|scope| {
        for (has_claim, name) in [
            (false, "robot1.private.key"),
            (false, "robot1.cert.pem"),
            (false, "rootCA.crt"),
            (true, "robot1.private.key"),
            (true, "claim.private.key"),
            (true, "claim.cert.pem"),
        ] {
            let heard = Arc::clone(&listener.heard);
            scope.spawn(move || watch_over(&Robot::new(has_claim), name, &heard));
        }
    });
    listener.child.0.kill().unwrap();
}

/// A file after which nothing else is damaged.
fn watch_over(robot: &Robot, name: &str, diagnostics: &Mutex<String>) {
    const SHAPES: [&str; 9] = [
        "newlines lost",
        "newlines as two characters",
        "bad base64",
        "cut off",
        "base64 in its label",
        "base64 as its label",
        "DER",
        "UTF-16",
        "JSON",
    ];
    let path = robot.file(name);
    let sound = fs::read_to_string(&path).unwrap();
    let needles = Needles::of_pem(&sound);
    let shapes = damaged(&sound);
    let mut program: Option<Program> = None;
    let (mut said, mut words) = (String::new(), String::new());
    for shape in SHAPES {
        let (_, damaged) = shapes.iter().find(|(name, _)| *name == shape).unwrap();
        let fault = match name.ends_with("key") {
            true => pem::private_key(damaged).err(),
            false => pem::certificates(damaged).fault,
        };
        words = fault.unwrap().to_string();
        fs::write(&path, damaged).unwrap();
        let program = program.get_or_insert_with(|| Program::start_with(&robot.config, &[("RUST_LOG", "trace")]));
        said += &program.notes_until(&words).join("\n");
        said += &output(&mut program.status());
        said += &output(program.status().arg("--json"));
    }
    let mut program = program.unwrap();
    // It is published once a second.
    let deadline = std::time::Instant::now() + crate::support::program::PATIENCE;
    while !diagnostics.lock().unwrap().contains(&words) {
        assert!(std::time::Instant::now() < deadline, "/diagnostics never said {words:?}");
        thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(program.terminate().code(), Some(0));
    said += &program.log_lines("").join("\n");
    said += &diagnostics.lock().unwrap();
    assert_eq!(needles.found_in(&said), None, "{name}");
    assert!(said.contains("is damaged: its lines are run together"), "{name}");
}

/// An rclpy node that listens to /diagnostics.
struct Listener {
    child: KilledOnDrop,
    heard: Arc<Mutex<String>>,
}

impl Listener {
    fn start() -> Listener {
        let mut child = Command::new("python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ros/show_diagnostics.py"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, heard) = (BufReader::new(child.stdout.take().unwrap()).lines(), Arc::<Mutex<String>>::default());
        let hearing = Arc::clone(&heard);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // Python writes what is not ASCII as numbers.
                let array: serde_json::Value = serde_json::from_str(&line).unwrap();
                *hearing.lock().unwrap() += &array.to_string();
            }
        });
        Listener { child: KilledOnDrop(child), heard }
    }
}

/// A proxy's password, and a key where its path belongs, are in nothing that `check` and `run` say, however wrong the rest
/// is, in a file or in the environment.
#[test]
fn nothing_of_a_value_is_said() {
    const PASSWORD: &str = "Qv7xLm3RtZ9k";
    const LETTERS: &str = "aT9qR7wX3vK1mZ8pL5nB2cD6fG9hJ4kM7qS1tV8wY3zA5bE0rU6iO2pQ8xN1gH4j";
    let robot = Robot::new(false);
    let sound = fs::read_to_string(&robot.config).unwrap();
    let key = fs::read_to_string(robot.file("robot1.private.key")).unwrap();
    let needles = [Needles::of_pem(&key), Needles::of(PASSWORD)];
    let says_nothing = |what: &str, environment: &[(&str, &str)]| {
        let refused = |arguments: &[&str]| {
            let mut command = command();
            command.args(arguments).arg("--config").arg(&robot.config).envs(environment.iter().copied());
            let result = command.output().unwrap();
            let said = [result.stdout, result.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
            (result.status.code(), said)
        };
        for arguments in [&["check"][..], &["check", "--json"], &["run"]] {
            let (status, said) = refused(arguments);
            assert_eq!(status, Some(78), "{arguments:?} {what}: {said}");
            let found: Vec<_> = needles.iter().filter_map(|needles| needles.found_in(&said)).collect();
            assert_eq!(found, Vec::<&str>::new(), "{arguments:?} {what}: {said}");
        }
    };
    let flat = body(&key);
    // Made up, and what a key's lines only sometimes are: a digit at the beginning, slashes early, no other signs.
    let lines = ["4sT9qR7w/3vK1mZ8p/L5nB2cD6fG9hJ4kM7qS1tV8wY3zA5bE0rU6iO2pQ8xN1", LETTERS];
    let proxies = [
        format!("https://robot:{PASSWORD}@proxy:3128"),
        format!("robot:{PASSWORD}@proxy:3128"),
        format!("http://robot:{PASSWORD}"),
        format!("http:/robot:{PASSWORD}@proxy:3128"),
        format!("http://robot:{PASSWORD}@proxy:3128/path"),
        format!("http://robot:{PASSWORD}%0a@proxy:3128"),
        format!("http://robot:{PASSWORD}:@:@proxy:port"),
        PASSWORD.to_owned(),
    ];
    for url in &proxies {
        fs::write(&robot.config, format!("{sound}[mqtt.proxy]\nurl = {url:?}\n")).unwrap();
        says_nothing(url, &[]);
        fs::write(&robot.config, &sound).unwrap();
        says_nothing(url, &[("IOT_BRIDGE_MQTT__PROXY__URL", url)]);
        says_nothing(url, &[("IOT_BRIDGE_MQTT__PROXY", url)]);
        if url.contains(':') {
            says_nothing(url, &[("IOT_BRIDGE_AWS__ENDPOINT", url)]);
        }
    }
    let old = format!("private_key = {:?}", robot.file("robot1.private.key"));
    for text in [
        format!("{sound}[mqtt.proxy]\nurl = \"http://robot:{PASSWORD}@proxy:3128\n"),
        format!("{sound}[mqtt.proxy]\nurl = http://robot:{PASSWORD}@proxy:3128\n"),
        format!("{sound}[mqtt.proxy]\nurl = [\"http://robot:{PASSWORD}@proxy:3128\"]\n"),
        format!("{sound}[aws.provisioning]\nparameters = {{ Secret = {PASSWORD} }}\n"),
        format!("{sound}[aws.provisioning]\nparameters = \"{PASSWORD}\"\n"),
        sound.replace(&old, &format!("private_key = \"\"\"\n{key}\"\"\"")),
        sound.replace(&old, &format!("private_key = {:?}", key.replace('\n', " "))),
        sound.replace(&old, &format!("private_key = \"{flat}\"")),
        sound.replace(&old, &format!("private_key = {flat}")),
        sound.replace(&old, &format!("private_key = {key}")),
        sound.replace(&old, &format!("private_key = \"{key}\"")),
        sound.replace(&old, &format!("private_kee = \"{flat}\"")),
        sound.replace(&old, &key),
        sound.replace("\"localhost\"", &format!("\"{flat}\"")),
        sound.replace("\"robot1\"", &format!("\"{flat}\"")),
        sound.replace("\"/numbers\"", &format!("\"{flat}+\"")),
        sound.replace("\"1 s\"", &format!("\"{flat}\"")),
        sound.replace("[queue]", &format!("[queue]\nmax_age = \"1 {flat}\"")),
        sound.replace("[queue]", &format!("[queue]\n{} = 1", flat.trim_end_matches('=').replace(['+', '/'], "_"))),
    ] {
        fs::write(&robot.config, &text).unwrap();
        says_nothing(&text, &[]);
    }
    for line in lines {
        let needles = Needles::of(line);
        for text in [
            sound.replace("[queue]", &format!("[queue]\nmax_age = \"{line}\"")),
            sound.replace("[queue]", &format!("[queue]\nmax_age = \"1 {line}\"")),
            sound.replace("\"localhost\"", &format!("\"https://{line}\"")),
            sound.replace("\"/numbers\"", &format!("\"/{line}+\"")),
            format!("{sound}fields = [\"{line}\"]\n"),
        ] {
            fs::write(&robot.config, &text).unwrap();
            let output = command().args(["check", "--config"]).arg(&robot.config).output().unwrap();
            let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
            assert_eq!((output.status.code(), needles.found_in(&said)), (Some(78), None), "{text}: {said}");
        }
    }
    fs::write(&robot.config, &sound).unwrap();
    says_nothing("a key in the environment", &[("IOT_BRIDGE_AWS__PRIVATE_KEY", &key)]);
    says_nothing("base64 in the environment", &[("IOT_BRIDGE_AWS__CERTIFICATE", &flat)]);
}
