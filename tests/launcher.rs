//! `/usr/bin/iot-bridge`, which makes the program's environment: what it reads, in whose name, and what it runs.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const LAUNCHER: &str = include_str!("../packaging/iot-bridge");

/// A launcher with an environment file of its own, and in the program's place one that prints its user and environment.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    /// `service` stands for the user of the service.
    fn new(environment: &str, service: &str) -> Place {
        let directory = tempfile::tempdir().unwrap();
        let place = Place { directory };
        let path = |name: &str| place.path(name).display().to_string();
        let launcher = LAUNCHER
            .replacen("environment=/etc/default/iot-bridge\n", &format!("environment={}\n", path("default")), 1)
            .replacen("program=/usr/lib/iot-bridge/iot-bridge\n", &format!("program={}\n", path("program")), 1)
            .replacen("service=iot-bridge\n", &format!("service={service}\n"), 1);
        assert!(launcher.contains(&path("program")) && launcher.contains(&format!("\nservice={service}\n")));
        place.write("default", environment, 0o644);
        place.write("launcher", &launcher, 0o755);
        place.write("program", "#!/bin/sh\nprintf 'UID=%s\\0' \"$(id -u)\"\nenv -0\n", 0o755);
        // The user whom root becomes reads and writes here.
        fs::set_permissions(place.directory.path(), Permissions::from_mode(0o777)).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }

    fn run(&self, environment: &[(&str, &str)]) -> Output {
        let mut command = Command::new(self.path("launcher"));
        command.env_clear().env("PATH", "/usr/bin:/bin").envs(environment.iter().copied());
        command.current_dir(self.directory.path()).arg("status").output().unwrap()
    }
}

/// What the program saw.
fn seen(output: &Output) -> BTreeMap<String, String> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.split_terminator('\0').map(|line| line.split_once('=').unwrap()).map(|(a, b)| (a.into(), b.into())).collect()
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// The environment file is read as systemd reads it: quotes and backslashes go, `$`, backticks and blanks in a value are
/// what they are, and nothing in it runs. `tests/systemd/install` asks systemd itself about the same file.
#[test]
fn the_environment_file_is_read_as_systemd_reads_it() {
    let place = Place::new(include_str!("launcher/environment"), "no-such-user");
    let seen = seen(&place.run(&[("AMENT_PREFIX_PATH", "/none"), ("CALLER", "caller")]));
    for (name, value) in [
        ("PLAIN", "value"),
        ("INDENTED", "value"),
        ("SPACED", "around the words"),
        ("EMPTY", ""),
        ("QUOTED", "two  words"),
        ("SINGLE", "$HOME `id` \\n \"x\""),
        ("PASSWORD", "http://robot:p$a`s`s%20w@proxy:3128"),
        ("DOLLAR", "$HOME ${HOME} $(touch ran) `touch ran` $ ` \" \\ \\n"),
        ("BACKSLASH", "a b\\c$d"),
        ("JOINED", "one twothree"),
        ("HASH", "a#b # c"),
        ("IN_THE_MIDDLE", "a\"b\"'c'"),
        ("CONTINUED", "onetwo"),
        ("TWO_LINES", "one\ntwo"),
        ("CONTINUED_IN_QUOTES", "onetwo"),
        ("TWICE", "last"),
        ("UMLAUT", "grün"),
        ("LAST", "without a line feed"),
        // What the caller has set counts more than the file.
        ("CALLER", "caller"),
    ] {
        assert_eq!(seen.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(!seen.keys().any(|name| name.contains("EXPORTED") || name.contains("DIGIT")), "{seen:?}");
    assert!(!place.path("ran").exists(), "the file was run");
}

/// Setup files run with the caller's environment before the file's, and only where no ROS environment is sourced yet.
#[test]
fn the_setup_files_that_are_named_are_sourced() {
    let place = Place::new("ROS_SETUP='PLACE/one.bash PLACE/two.bash'\nROS_DOMAIN_ID=5\n", "daemon");
    let default = fs::read_to_string(place.path("default")).unwrap();
    place.write("default", &default.replace("PLACE", place.directory.path().to_str().unwrap()), 0o644);
    place.write("one.bash", "export ONE=\"$ROS_DOMAIN_ID$1\"\n", 0o644);
    place.write("two.bash", "export TWO=\"$ONE-two\" AMENT_PREFIX_PATH=/none\n", 0o644);
    assert_eq!(seen(&place.run(&[]))["TWO"], "5-two");
    assert_eq!(seen(&place.run(&[("ROS_DOMAIN_ID", "7")]))["TWO"], "7-two");
    let sourced = seen(&place.run(&[("AMENT_PREFIX_PATH", "/none")]));
    assert_eq!((sourced.get("TWO"), sourced["ROS_DOMAIN_ID"].as_str()), (None, "5"));
    // The same over several lines.
    let default = fs::read_to_string(place.path("default")).unwrap();
    place.write("default", &default.replacen(".bash ", ".bash\n\t", 1), 0o644);
    assert_eq!(seen(&place.run(&[]))["TWO"], "5-two");
    fs::remove_file(place.path("two.bash")).unwrap();
    let output = place.run(&[]);
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("two.bash cannot be read; ROS_SETUP in"), "{said}");
    // What the unit's sandbox hides is another thing than what is not there.
    assert!(!said.contains("ProtectHome"), "{said}");
    place.write("default", "ROS_SETUP=/home/robot/ws/install/setup.bash\n", 0o644);
    for (environment, hinted) in [(vec![("INVOCATION_ID", "1")], true), (vec![], false)] {
        let said = String::from_utf8_lossy(&place.run(&environment).stderr).into_owned();
        assert!(said.contains("/home/robot/ws/install/setup.bash cannot be read"), "{said}");
        assert_eq!(said.contains("ProtectHome=read-only"), hinted, "{said}");
    }
}

/// Root runs no setup file: it becomes the user of the service, and where there is none, nobody runs it, and root takes
/// nothing that others can change.
#[test]
fn root_does_not_run_what_others_can_change() {
    if !is_root() {
        return;
    }
    let setup = |place: &Place| {
        let directory = place.directory.path().to_str().unwrap();
        place.write("default", &format!("ROS_SETUP={directory}/setup.bash\n"), 0o644);
        let text =
            format!("id -u >{directory}/ran\nexport AMENT_PREFIX_PATH={directory} LD_LIBRARY_PATH={directory}\n");
        place.write("setup.bash", &text, 0o644);
    };
    let ran_as = |path: &Path| fs::read_to_string(path).unwrap().trim().to_owned();

    let place = Place::new("", "daemon");
    setup(&place);
    let as_the_service = seen(&place.run(&[]));
    assert_eq!((as_the_service["UID"].as_str(), as_the_service["FASTDDS_BUILTIN_TRANSPORTS"].as_str()), ("1", "UDPv4"));
    assert_eq!(ran_as(&place.path("ran")), "1");
    // The file counts more than what the unit sets, as in the service.
    let default = fs::read_to_string(place.path("default")).unwrap();
    place.write("default", &format!("{default}FASTDDS_BUILTIN_TRANSPORTS=DEFAULT\n"), 0o644);
    assert_eq!(seen(&place.run(&[]))["FASTDDS_BUILTIN_TRANSPORTS"], "DEFAULT");

    let place = Place::new("", "no-such-user");
    setup(&place);
    let output = place.run(&[]);
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("There is no user no-such-user") && said.contains("that others can change: "), "{said}");
    assert!(output.stdout.is_empty());
    assert_eq!(ran_as(&place.path("ran")), "65534");
}

/// Where root refuses libraries that others can change, it has loaded none of them before: with an empty `libc.so.6` no
/// program starts, and those that look at the directory do.
#[test]
fn root_loads_no_library_before_it_was_looked_at() {
    if !is_root() {
        return;
    }
    let place = Place::new("", "no-such-user");
    let directory = place.directory.path().to_str().unwrap();
    let refused = |environment: &[(&str, &str)], why: &str| {
        let output = place.run(environment);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(why) && said.contains("by LD_LIBRARY_PATH."), "{said}");
    };
    fs::create_dir(place.path("fake")).unwrap();
    place.write("fake/libc.so.6", "", 0o644);
    let why = format!("that others can change: {directory}");
    // From a setup file (`env` as it is there starts no program), and from the environment file.
    let env = format!("env() {{ echo AMENT_PREFIX_PATH=/usr; echo LD_LIBRARY_PATH={directory}/fake; }}\n");
    place.write("setup.bash", &env, 0o644);
    place.write("default", &format!("ROS_SETUP={directory}/setup.bash\n"), 0o644);
    refused(&[], &why);
    place.write("default", &format!("LD_LIBRARY_PATH={directory}/fake\n"), 0o644);
    refused(&[("AMENT_PREFIX_PATH", "/usr")], &why);

    place.write("default", "", 0o644);
    let not_there = format!("{directory}/not-there");
    for (path, why) in [
        ("/usr/lib:", "\"\", which is no absolute path"),
        (":/usr/lib", "\"\", which is no absolute path"),
        ("/usr/lib:lib", "\"lib\", which is no absolute path"),
        ("/usr/lib;/usr", "\"/usr/lib;/usr\", which is no absolute path"),
        ("$ORIGIN/lib", "\"$ORIGIN/lib\", which is no absolute path"),
        (&not_there, &why),
    ] {
        refused(&[("AMENT_PREFIX_PATH", "/usr"), ("LD_LIBRARY_PATH", path)], why);
    }
    let taken = seen(&place.run(&[("AMENT_PREFIX_PATH", "/usr"), ("LD_LIBRARY_PATH", "/usr/lib:/not/there")]));
    assert_eq!((taken["UID"].as_str(), taken["LD_LIBRARY_PATH"].as_str()), ("0", "/usr/lib:/not/there"));
}

/// What is wrong before a start is said once: by the program itself, and not by the check beside it. Beside a bridge that
/// runs, as at a reload, the check is alone with it.
#[test]
fn a_refusal_is_said_once() {
    let place = Place::new("ROS_SETUP=/none/setup.bash\n", "no-such-user");
    let run = |argument: &str, pid: Option<&str>| {
        let mut command = Command::new(place.path("launcher"));
        command.env_clear().env("PATH", "/usr/bin:/bin").envs(pid.map(|pid| ("MAINPID", pid)));
        let output = command.args(["check", "--quiet", argument]).output().unwrap();
        assert_eq!(output.status.code(), Some(78));
        String::from_utf8(output.stderr).unwrap()
    };
    let sentence = "The ROS setup file /none/setup.bash cannot be read";
    assert!(run("--config", None).contains(sentence));
    assert_eq!(run("--beside-run", None), "");
    assert!(run("--beside-run", Some("1")).contains(sentence));
}
