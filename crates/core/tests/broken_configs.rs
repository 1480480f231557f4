//! Whatever stands in a configuration file, the bridge says what is wrong with it and doesn't panic.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use iot_bridge_core::config::{Loaded, Problems, load_file};
use proptest::prelude::*;

/// A file in `tests/broken_configs`, and each of its problems: the key, and what the problem says among other things.
type Case = (&'static str, &'static [(&'static str, &'static str)]);

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("syntax.toml", &[("", "no valid TOML")]),
    ("text_not_closed.toml", &[("", "no valid TOML")]),
    ("header_not_closed.toml", &[("", "no valid TOML")]),
    ("key_twice.toml", &[("", "duplicate key")]),
    ("section_twice.toml", &[("", "duplicate key")]),
    ("number_too_long.toml", &[("", "no valid TOML")]),
    ("nested_too_deep.toml", &[("", "recursion limit")]),
    ("latin1.toml", &[("", "0xfc")]),
    ("utf16.toml", &[("", "UTF-16")]),
    ("binary.toml", &[("", "0x80")]),
    ("empty.toml", &[("aws.endpoint", "required"), ("aws.thing", "IOT_BRIDGE_AWS__THING"), ("aws.certificate", "required"), ("aws.private_key", "required"), ("topics", "nothing to forward")]),
    ("comments_only.toml", &[("aws.endpoint", "required"), ("aws.thing", "IOT_BRIDGE_AWS__THING"), ("aws.certificate", "required"), ("aws.private_key", "required"), ("topics", "nothing to forward")]),
    ("byte_order_mark_only.toml", &[("aws.endpoint", "required"), ("aws.thing", "IOT_BRIDGE_AWS__THING"), ("aws.certificate", "required"), ("aws.private_key", "required"), ("topics", "nothing to forward")]),
    ("required_missing.toml", &[("aws.endpoint", "this key is required")]),
    ("section_is_text.toml", &[("ros", "allowed is a table")]),
    ("section_is_list.toml", &[("aws", "allowed is a table")]),
    ("topics_is_table.toml", &[("topics", "double square brackets: [[topics]]")]),
    ("topics_is_empty.toml", &[("topics", "nothing to forward")]),
    ("topic_is_text.toml", &[("topics[0]", "allowed is a table")]),
    ("table_is_number.toml", &[("mqtt.reconnect", "allowed is a table")]),
    ("unknown_key.toml", &[("aws.certifcate", "did you mean `certificate`?"), ("aws.certificate", "required")]),
    ("unknown_section.toml", &[("qeue", "did you mean `queue`?")]),
    ("wrong_header.toml", &[("aws.keep_alive", "`mqtt.keep_alive`")]),
    ("unknown_topic_key.toml", &[("topics[0].priorty", "did you mean `priority`?")]),
    ("unknown_strange_key.toml", &[("aws.\"a b\\n\"", "known are `endpoint`")]),
    ("port_text.toml", &[("aws.port", "\"8883\"")]),
    ("port_zero.toml", &[("aws.port", "found 0; allowed is a whole number from 1 to 65535")]),
    ("port_negative.toml", &[("aws.port", "found -1")]),
    ("port_too_large.toml", &[("aws.port", "found 65536")]),
    ("port_fraction.toml", &[("aws.port", "found 8883.0")]),
    ("endpoint_url.toml", &[("aws.endpoint", "without a scheme: \"broker.example\"")]),
    ("endpoint_with_port.toml", &[("aws.endpoint", "\"8883\" belongs in `port`")]),
    ("endpoint_arn.toml", &[("aws.endpoint", "this is an ARN")]),
    ("endpoint_json.toml", &[("aws.endpoint", "in it: \"a1b2c3-ats.iot.eu-west-1.amazonaws.com\"")]),
    ("endpoint_none.toml", &[("aws.endpoint", "has found nothing")]),
    ("endpoint_placeholder.toml", &[("aws.endpoint", "a placeholder")]),
    ("thing_arn.toml", &[("aws.thing", "its name alone, \"robot1\"")]),
    ("private_key_itself.toml", &[("aws.private_key", "what is in one")]),
    ("endpoint_empty.toml", &[("aws.endpoint", "can't be empty")]),
    ("endpoint_no_name.toml", &[("aws.endpoint", "host name")]),
    ("thing_with_blank.toml", &[("aws.thing", "letters, digits")]),
    ("thing_too_long.toml", &[("aws.thing", "1 to 128")]),
    ("client_id_control.toml", &[("aws.client_id", "control characters")]),
    ("certificate_in_home.toml", &[("aws.certificate", "write it in full")]),
    ("private_key_empty.toml", &[("aws.private_key", "can't be empty")]),
    ("root_ca_list.toml", &[("aws.root_ca", "text in quotes")]),
    ("version_number.toml", &[("mqtt.version", "\"auto\", \"3.1.1\", \"5\"")]),
    ("version_unknown.toml", &[("mqtt.version", "\"auto\", \"3.1.1\", \"5\"")]),
    ("duration_number.toml", &[("mqtt.keep_alive", "such as \"5 s\"")]),
    ("duration_no_unit.toml", &[("mqtt.keep_alive", "it has no unit")]),
    ("duration_wrong_unit.toml", &[("mqtt.keep_alive", "\"MiB\" is not one of the units")]),
    ("duration_date.toml", &[("mqtt.keep_alive", "\"-05-27\" is not one of the units")]),
    ("duration_huge.toml", &[("mqtt.ack_timeout", "too large")]),
    ("duration_nan.toml", &[("mqtt.ack_timeout", "found NaN")]),
    ("keep_alive_too_short.toml", &[("mqtt.keep_alive", "from 5 s to 20 min")]),
    ("keep_alive_fraction.toml", &[("mqtt.keep_alive", "whole seconds")]),
    ("initial_too_short.toml", &[("mqtt.reconnect.initial", "one connection attempt a second")]),
    ("initial_above_max.toml", &[("mqtt.reconnect.max", "at least `initial`, which is \"1 min\"")]),
    ("initial_above_default_max.toml", &[("mqtt.reconnect.initial", "at most `max`, which is \"2 min\"")]),
    ("in_flight_zero.toml", &[("mqtt.quotas.in_flight", "from 1 to 100")]),
    ("in_flight_too_many.toml", &[("mqtt.quotas.in_flight", "100 unacknowledged")]),
    ("in_flight_infinite.toml", &[("mqtt.quotas.in_flight", "found inf")]),
    ("pacing.toml", &[("mqtt.quotas.publishes_per_second", "from 1 to 1000000, or \"unlimited\"")]),
    ("pacing_word.toml", &[("mqtt.quotas.bytes_per_second", "or \"unlimited\"")]),
    ("last_will.toml", &[("mqtt.last_will", "one of the two")]),
    ("last_will_topic.toml", &[("mqtt.last_will.topic", "\"{ros}\" belongs to a ROS topic")]),
    ("last_will_qos.toml", &[("mqtt.last_will.qos", "no QoS 2")]),
    ("proxy_not_http.toml", &[("mqtt.proxy.url", "HTTP proxy")]),
    ("retain_basic_ingest.toml", &[("mqtt.last_will.retain", "$aws/rules/"), ("topics[0].retain", "$aws/rules/")]),
    ("presence_basic_ingest.toml", &[("mqtt.presence.topic", "$aws/rules/")]),
    ("proxy_with_path.toml", &[("mqtt.proxy.url", "without a path")]),
    ("proxy_without_user.toml", &[("mqtt.proxy.url", "user name")]),
    ("proxy_without_url.toml", &[("mqtt.proxy.url", "required")]),
    ("node_name.toml", &[("ros.node_name", "'-' is not allowed")]),
    ("namespace_relative.toml", &[("ros.namespace", "\"/robot1\"")]),
    ("memory_too_small.toml", &[("queue.memory", "from 1 MiB")]),
    ("memory_negative.toml", &[("queue.memory", "negative")]),
    ("memory_negative_number.toml", &[("queue.memory", "found -33554432")]),
    ("memory_unit.toml", &[("queue.memory", "\"M\" is not one of the units")]),
    ("memory_huge.toml", &[("queue.memory", "too large")]),
    ("overflow_word.toml", &[("queue.overflow", "\"drop-oldest\", \"drop-newest\"")]),
    ("disk.toml", &[("queue.disk", "from 1 MiB")]),
    ("durability.toml", &[("queue.durability", "without a disk")]),
    ("sync_unit.toml", &[("queue.sync", "\"Hz\" is not one of the units")]),
    ("max_age_zero.toml", &[("queue.max_age", "from 100 ms")]),
    ("diagnostics.toml", &[("health.diagnostics", "true or false")]),
    ("metrics_address.toml", &[("health.metrics", "127.0.0.1:9464")]),
    ("topic_without_name.toml", &[("topics[0].ros", "required")]),
    ("topic_name_empty.toml", &[("topics[0].ros", "can't be empty")]),
    ("topic_name_slash.toml", &[("topics[0].ros", "ends with a slash")]),
    ("topic_name_private.toml", &[("topics[0].ros", "`~` is not supported")]),
    ("topic_name_character.toml", &[("topics[0].ros", "'-' is not allowed")]),
    ("topic_name_digit.toml", &[("topics[0].ros", "digit")]),
    ("topic_name_number.toml", &[("topics[0].ros", "text in quotes")]),
    ("pattern.toml", &[("topics[0].ros", "whole levels"), ("topics[1].ros", "hidden topics"), ("topics[2].mqtt", "9 slashes"), ("topics[3].except[0]", "'-'")]),
    ("pattern_keys_of_one.toml", &[("topics[0].except", "it beside \"/odom\"; allowed is it where `ros` is a pattern"), ("topics[0].limit", "where `ros` is a pattern"), ("topics[0].type", "where `ros` is a pattern"), ("topics[2]", "topics[1] of")]),
    ("type_two_parts.toml", &[("topics[0].type", "did you mean \"nav_msgs/msg/Odometry\"?")]),
    ("type_cpp.toml", &[("topics[0].type", "did you mean \"nav_msgs/msg/Odometry\"?")]),
    ("type_nonsense.toml", &[("topics[0].type", "in full")]),
    ("mqtt_wildcard.toml", &[("topics[0].mqtt", "`#` is a wildcard")]),
    ("mqtt_placeholder.toml", &[("topics[0].mqtt", "\"{topic}\" is no placeholder")]),
    ("mqtt_brace.toml", &[("topics[0].mqtt", "brace")]),
    ("mqtt_empty.toml", &[("topics[0].mqtt", "empty")]),
    ("mqtt_nul.toml", &[("topics[0].mqtt", "NUL")]),
    ("mqtt_reserved.toml", &[("topics[0].mqtt", "reserved")]),
    ("mqtt_too_long.toml", &[("topics[0].mqtt", "at most 256 bytes")]),
    ("mqtt_slashes.toml", &[("topics[0].mqtt", "at most 7 slashes")]),
    ("mqtt_type_never_fits.toml", &[("topics[0].mqtt", "8 slashes")]),
    ("qos_2.toml", &[("topics[0].qos", "AWS IoT Core has no QoS 2")]),
    ("qos_text.toml", &[("topics[0].qos", "\"at least once\"")]),
    ("retain_text.toml", &[("topics[0].retain", "true or false")]),
    ("payload_word.toml", &[("topics[0].payload", "\"message\", \"envelope\", \"data\", \"cdr\"")]),
    ("payload_data_of_odometry.toml", &[("topics[0].payload", "nav_msgs/msg/Odometry")]),
    ("rate_banana.toml", &[("topics[0].rate", "doesn't begin with a number; allowed is a rate")]),
    ("rate_number.toml", &[("topics[0].rate", "such as \"10 Hz\"")]),
    ("rate_zero.toml", &[("topics[0].rate", "above 0")]),
    ("fields_item.toml", &[("topics[0].fields[1]", "found 3")]),
    ("fields_text.toml", &[("topics[0].fields", "square brackets")]),
    ("deadband_nan.toml", &[("topics[0].on_change.deadband", "found NaN")]),
    ("arrays_incomplete.toml", &[("topics[0].arrays.max", "required")]),
    ("compression_word.toml", &[("topics[0].compression", "\"none\", \"gzip\", \"zstd\"")]),
    ("compress_over_huge.toml", &[("topics[0].compress_over", "from 0 B to 1 MiB")]),
    ("compression_suffix_too_deep.toml", &[("topics[0].compression_suffix", "\"a/b/c/d/e/f/g/h/gzip\": it has 8 slashes")]),
    ("batch_of_cdr.toml", &[("topics[0].batch", "\"cdr\" has no batches")]),
    ("selection_of_cdr.toml", &[("topics[0].fields", "leave it out, or choose the payload"), ("topics[0].exclude", "payload \"cdr\""), ("topics[0].arrays", "payload \"cdr\""), ("topics[0].digits", "payload \"cdr\"")]),
    ("selection_of_data.toml", &[("topics[0].digits", "payload \"data\" is passed on as it is")]),
    ("fields_empty.toml", &[("topics[0].fields", "without the key all fields travel")]),
    ("fields_no_path.toml", &[("topics[0].fields[1]", "joined by dots"), ("topics[0].fields[2]", "an index from 0"), ("topics[0].exclude[0]", "a whole name")]),
    ("arrays_over_without_max.toml", &[("topics[0].arrays.over", "it needs `max`")]),
    ("arrays_fields_no_path.toml", &[("topics[0].arrays.fields.\"ranges[\"", "an index from 0")]),
    ("digits_eighteen.toml", &[("topics[0].digits", "from 1 to 17")]),
    ("batch_linger_over_max_age.toml", &[("topics[0].batch.linger", "less than `max_age`, 2 s")]),
    ("batch_zero.toml", &[("topics[0].batch.max", "from 1 to 100000")]),
    ("batch_without_max.toml", &[("topics[0].batch.max", "required")]),
    ("depth_zero.toml", &[("topics[0].depth", "found 0")]),
    ("depth_huge.toml", &[("topics[0].depth", "9223372036854775807")]),
    ("topic_max_age.toml", &[("topics[0].max_age", "\"years\" is not one of the units")]),
    ("topic_twice.toml", &[("topics[1]", "topics[0] of")]),
    ("commands.toml", &[("commands[0].qos", "no QoS 2"), ("commands[0].payload", "\"message\", \"envelope\""), ("commands[0].max_rate", "above 0"), ("commands[0].limits.\"linear.x\"", "found [0.5, -0.5]; the lowest"), ("commands[0].on_silence.after", "from 50 ms"), ("commands[0].on_silence.message.stamp", "found the date 2026-11-28T07:32:00Z"), ("commands[1].mqtt", "`#` is a wildcard"), ("commands[1].ros", "one ROS topic"), ("commands[1].type", "in full")]),
    ("commands_come_back.toml", &[("topics[0].mqtt", "commands[0] of")]),
    ("commands_faulty.toml", &[("commands[0].mqtt", "required"), ("commands[0].type", "did you mean")]),
    ("services.toml", &[("services[0].service", "ends with a slash"), ("services[0].type", "the type of a service"), ("services[0].timeout", "from 100 ms to 1 h"), ("services[0].reply", "`+` is a wildcard"), ("services[1].mqtt", "no placeholder")]),
    ("actions.toml", &[("actions[0].mqtt", "AWS IoT Core's own"), ("actions[0].type", "did you mean \"nav2_msgs/action/NavigateToPose\"?"), ("actions[0].feedback_rate", "such as \"10 Hz\""), ("actions[1].mqtt", "7 slashes; choose a shorter one"), ("actions[1].reply", "`commands[].reply`")]),
    ("shadows.toml", &[("shadows[0].name", "up to 64"), ("shadows[0].report", "this key or `desired` is required"), ("shadows[0].desired_type", "in full")]),
    ("provisioning_faulty.toml", &[("aws.provisioning.template", "empty"), ("aws.provisioning.parameters.a", "text")]),
    ("provisioning_incomplete.toml", &[("aws.provisioning.template", "1 to 36"), ("aws.provisioning.claim_certificate", "required"), ("aws.provisioning.claim_private_key", "required"), ("aws.provisioning.claim_key", "did you mean")]),
    ("many_faults.toml", &[("aws.endpoint", "scheme"), ("aws.port", "\"many\""), ("aws.certifikate", "`certificate`"), ("aws.thing", "required"), ("mqtt.version", "\"5\""), ("mqtt.keep_alive", "\"year\""), ("queue.memory", "found -1"), ("queue.colour", "known are"), ("topics[0].ros", "slash"), ("topics[0].qos", "QoS 2"), ("topics[1].mqtt", "placeholder"), ("topics[1].payload", "Int32"), ("topics[2].rate", "allowed is a rate")]),
    ("empty.json", &[("", "no valid JSON")]),
    ("trailing_comma.json", &[("", "trailing comma")]),
    ("not_an_object.json", &[("", "one object")]),
    ("toml_called.json", &[("", "no valid JSON")]),
    ("name_twice.json", &[("", "\"thing\" stands here twice")]),
    ("number_too_large.json", &[("", "out of range")]),
    ("nested_too_deep.json", &[("", "recursion limit")]),
    ("null.json", &[("aws.thing", "found null")]),
    ("unknown_key.json", &[("queue.memroy", "`memory`")]),
    ("sections_called_wrong.json", &[("AWS", "did you mean `aws`?"), ("aws.endpoint", "required"), ("aws.thing", "required"), ("aws.certificate", "required"), ("aws.private_key", "required")]),
    ("sample_twice.json", &[("", "template appended")]),
    ("sample_port_template.json", &[("port", "found \"PORT\"")]),
    ("sample_port.json", &[("port", "found 88830")]),
    ("sample_missing.json", &[("endpoint", "required"), ("clientID", "required")]),
    ("sample_unknown.json", &[("certPath", "did you mean `certificatePath`?")]),
    ("sample_mixed.json", &[("topics", "an unknown key")]),
    ("sample_client_id.json", &[("clientID", "1 to 128 bytes")]),
];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken_configs")
}

fn load(path: &Path) -> Result<Loaded, Problems> {
    Ok(load_file(path, [])?)
}

/// Each broken file is refused with all of its problems and no others, each with its key and in plain words.
#[test]
fn every_fault_is_told_with_its_key_and_what_is_allowed() {
    let mut wrong = Vec::new();
    for (name, expected) in CASES {
        let path = directory().join(name);
        let problems = match load(&path) {
            Ok(_) => {
                wrong.push(format!("{name} is accepted"));
                continue;
            }
            Err(problems) => problems,
        };
        let said: BTreeMap<&str, String> = problems.iter().map(|p| (p.key.as_str(), p.to_string())).collect();
        let complete = said.len() == problems.len()
            && said.len() == expected.len()
            && expected.iter().all(|(key, words)| said.get(key).is_some_and(|said| said.contains(words)));
        if !complete {
            wrong.push(format!("{name} should say {expected:?}, and says\n{problems}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Each problem names its file, is made of two short lines, and can be printed to a terminal.
#[test]
fn every_problem_is_short_and_names_its_file() {
    for (name, _) in CASES {
        let path = directory().join(name);
        for problem in &load(&path).expect_err(name) {
            assert_eq!(problem.source, path.display().to_string());
            assert!(!problem.found.is_empty() && !problem.allowed.is_empty(), "{name}: {problem:?}");
            let said = problem.to_string();
            assert_eq!(said.lines().count(), 2, "{name}: {said}");
            assert!(said.chars().all(|c| c == '\n' || !c.is_control()), "{name}: {said:?}");
            assert!(said.lines().all(|line| line.len() < 400), "{name}: {said}");
        }
    }
}

/// A fault in a TOML file is found in the line in which it stands.
#[test]
fn a_fault_in_toml_has_its_line() {
    for (name, _) in CASES.iter().filter(|(name, expected)| name.ends_with(".toml") && expected.len() == 1) {
        let path = directory().join(name);
        let problems = load(&path).expect_err(name);
        let problem = problems.iter().next().expect("one");
        let key = problem.key.rsplit('.').next().unwrap_or_default();
        // What is missing has no line of its own; what isn't text has none that could be read here.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        if !text.contains(key) || problem.found == "nothing" || key.is_empty() || key.ends_with(['"', ']']) {
            continue;
        }
        let line = problem.line.and_then(|line| text.lines().nth(line - 1)).unwrap_or_default();
        assert!(line.contains(key), "{name}: line {:?} is {line:?}", problem.line);
    }
}

/// No file is left unlooked at.
#[test]
fn the_table_and_the_directory_agree() {
    let mut files: Vec<String> = fs::read_dir(directory())
        .expect("the directory of broken files")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name"))
        .collect();
    files.sort();
    let mut table: Vec<&str> = CASES.iter().map(|(name, _)| *name).collect();
    table.sort_unstable();
    assert_eq!(files, table);
}

/// What isn't a file of a reasonable size is refused as such.
#[test]
fn what_is_no_readable_file_is_refused() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let directory = place.path().join("directory.toml");
    fs::create_dir(&directory).expect("a writable directory");
    let large = place.path().join("large.toml");
    fs::File::create(&large).and_then(|file| file.set_len(2 << 20)).expect("a writable file");
    for (path, word) in [
        (directory.as_path(), "a directory"),
        (large.as_path(), "more than 1 MiB"),
        (Path::new("/dev/zero"), "more than 1 MiB"),
        (&place.path().join("absent.toml"), "no such file"),
        (&place.path().join("absent.toml/config.toml"), "no such file"),
    ] {
        let said = load(path).expect_err(word).to_string();
        assert!(said.contains(word), "{said}");
    }
}

/// Faults of several files are reported together: those of reading first, those of content once all can be read.
#[test]
fn faults_of_several_files_are_reported_together() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let main = place.path().join("config.toml");
    fs::create_dir(place.path().join("conf.d")).expect("a writable directory");
    fs::write(&main, "[aws]\nport = 0\n").expect("a writable file");
    fs::write(place.path().join("conf.d/a.toml"), "[aws\n").expect("a writable file");
    fs::write(place.path().join("conf.d/b.toml"), "]").expect("a writable file");
    let sources = |problems: &Problems| {
        let name = |source: &str| Path::new(source).file_name().map(|name| name.to_string_lossy().into_owned());
        let mut names: Vec<_> = problems.iter().filter_map(|problem| name(&problem.source)).collect();
        names.dedup();
        names
    };
    assert_eq!(sources(&load(&main).expect_err("no TOML")), ["a.toml", "b.toml"]);
    fs::write(place.path().join("conf.d/a.toml"), "topics = 5\n[queue]\nmemory = 1\n").expect("a writable file");
    fs::write(place.path().join("conf.d/b.toml"), "[[topics]]\nros = \"~\"\n").expect("a writable file");
    let problems = load(&main).expect_err("wrong content");
    assert_eq!(sources(&problems), ["config.toml", "a.toml", "b.toml"], "{problems}");
    assert_eq!(problems.iter().filter(|problem| problem.key == "topics").count(), 1, "{problems}");
}

/// Files made to exhaust the stack or the time get an answer like any other.
#[test]
fn hostile_files_get_an_answer() {
    for text in [
        format!("{}b = 1", "a.".repeat(100_000)),
        format!("[{}b]", "a.".repeat(100_000)),
        format!("a = {}", "{a = ".repeat(100_000)),
        "[[topics]]\n".repeat(10_000),
        "[[topics]]\nros='/a'\n".repeat(5_000),
        (0..10_000).map(|number| format!("k{number} = 1\n")).collect(),
    ] {
        survives("config.toml", text.as_bytes());
    }
    survives("config.json", "{\"a\":".repeat(100_000).as_bytes());
}

/// Changes that may happen to a file: bytes replaced, put in, cut out.
fn mutated(valid: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), 0..8usize, prop::collection::vec(any::<u8>(), 0..6));
    prop::collection::vec(change, 1..6).prop_map(move |changes| {
        let mut bytes = valid.as_bytes().to_vec();
        for (at, cut, with) in changes {
            let start = at.index(bytes.len() + 1);
            let end = bytes.len().min(start + cut);
            bytes.splice(start..end, with);
        }
        bytes
    })
}

/// What means something in TOML and JSON, in any order.
#[rustfmt::skip]
const TOKENS: &[&str] = &[
    "[", "]", "[[", "]]", "{", "}", "=", ":", ",", "\"", "'", "\n", ".", "#", "aws", "topics", "ros", "mqtt", "port", "type",
    "on_change", "commands", "on_silence", "message", "limits", "2026-11-28", "\"5 s\"", "nan", "1e400", "-1", "true", "null", "\u{feff}", "ü", "\"{type}\"",
];

fn soup() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(TOKENS), 0..60).prop_map(|tokens| tokens.concat())
}

/// Loads `bytes` as a file called `name`. It has to come back: with problems, or with settings that print as they are.
fn survives(name: &str, bytes: &[u8]) {
    let place = tempfile::tempdir().expect("a temporary directory");
    let path = place.path().join(name);
    fs::write(&path, bytes).expect("a writable file");
    match load(&path) {
        Ok(loaded) => {
            let printed = loaded.settings.to_toml().expect("prints");
            let path = place.path().join("printed.toml");
            fs::write(&path, &printed).expect("a writable file");
            assert_eq!(load(&path).map(|loaded| loaded.settings), Ok(loaded.settings), "{printed}");
        }
        Err(problems) => {
            assert!(problems.len() > 0);
            let _ = (problems.to_string(), serde_json::to_string(&problems).expect("serializes"));
        }
    }
}

const EVERY_KEY: &str = include_str!("../src/config/tests/every_key.toml");
const VALID: &str = r#"
aws = { endpoint = "broker.example", port = 443, thing = "robot1", client_id = "r", certificate = "c", private_key = "k" }
mqtt = { keep_alive = "60 s", reconnect = { initial = "1 s", max = "2 min" }, quotas = { in_flight = 50 } }
ros = { node_name = "bridge", namespace = "/robot1" }
queue = { memory = "32 MiB", overflow = "drop-newest", max_age = "1.5 h" }
[[topics]]
ros = "odom"
type = "nav_msgs/msg/Odometry"
mqtt = "robots/{thing}/{name}/{type}"
qos = 0
payload = "envelope"
priority = "high"
max_age = "100 ms"
[[topics]]
ros = "/b"
mqtt = "{type}{ros}"
reliability = "best-effort"
[[commands]]
mqtt = "c/{thing}"
ros = "c"
type = "a/msg/B"
limits = { "a[0].b" = [-1, 1.5] }
on_silence = { after = "1 s", message = { a = [1, -0.5, "x", { b = true }] } }
[[services]]
mqtt = "d"
service = "d"
type = "a/srv/D"
[[actions]]
mqtt = "e"
action = "e"
type = "a/action/E"
[[shadows]]
name = "f"
report = "f"
desired = "g"
"#;
const VALID_JSON: &str = r#"{"aws": {"endpoint": "broker.example", "port": 8883, "thing": "robot1",
    "certificate": "c", "private_key": "k"}, "queue": {"memory": "32 MiB"}, "topics": [{"ros": "/a", "qos": 1}],
    "commands": [{"mqtt": "c", "ros": "/c", "type": "a/msg/B", "limits": {"a": [0, 1]},
    "on_silence": {"after": "1 s", "message": {"a": {"b": [1, 0.5]}, "c": -1}}}]}"#;

proptest! {
    #[test]
    fn no_damaged_toml_file_makes_it_panic(bytes in mutated(EVERY_KEY)) {
        survives("config.toml", &bytes);
    }

    #[test]
    fn what_a_damaged_file_says_is_refused_or_printed_as_it_is(bytes in mutated(VALID)) {
        survives("config.toml", &bytes);
    }

    #[test]
    fn no_damaged_json_file_makes_it_panic(bytes in mutated(VALID_JSON)) {
        survives("config.json", &bytes);
    }

    #[test]
    fn no_soup_of_tokens_makes_it_panic(text in soup()) {
        survives("config.toml", text.as_bytes());
        survives("config.json", text.as_bytes());
        survives("config", text.as_bytes());
    }
}
