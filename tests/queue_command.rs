//! `iot-bridge queue`: looks into a queue that the real one has written, and empties it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use crate::support::program::command;
use bytes::Bytes;
use iot_bridge_core::config::{self, Overflow, Priority, Qos, QueueDurability};
use iot_bridge_core::packing::{Correlated, Packing};
use iot_bridge_core::queue::disk::survey::go_on;
use iot_bridge_core::queue::{DiskThread, Queue, Record, Route};
use iot_bridge_core::topics::Registry;
use serde_json::Value;
use tempfile::TempDir;

const HOUR: Duration = Duration::from_secs(3600);

/// Of the process, as in the bridge.
static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::default);

fn open(directory: &Path) -> (Queue, DiskThread) {
    let settings = config::Queue {
        disk: 64 << 20,
        directory: directory.to_owned(),
        durability: QueueDurability::Always,
        ..config::Queue::in_memory(4 << 20, Overflow::DropOldest)
    };
    let topics = Arc::new(|ros: &str, mqtt: &str| REGISTRY.topic(ros, mqtt));
    let (queue, worker) = Queue::open(&settings, 100, topics, &mut go_on).unwrap();
    (queue, worker.unwrap())
}

fn admit(queue: &Queue, ros: &str, priority: Priority, received_ns: i64, payload: &[u8]) {
    admit_packed(queue, ros, priority, received_ns, payload, Packing::default());
}

fn admit_packed(queue: &Queue, ros: &str, priority: Priority, received_ns: i64, payload: &[u8], packing: Packing) {
    let now = Instant::now();
    let route = Arc::new(Route {
        topic: REGISTRY.topic(ros, &format!("robots/robot1{ros}")),
        qos: Qos::AtLeastOnce,
        retain: false,
        priority,
        packing,
    });
    let record = Record { route, payload: Bytes::copy_from_slice(payload), received_ns, expires: now + HOUR };
    assert!(queue.admit(record, now));
}

/// A queue that was stopped with three records of /odom, one of /scan that is no text, and one of /alarm before them.
fn stopped() -> (TempDir, PathBuf) {
    let above = tempfile::tempdir().unwrap();
    let directory = above.path().join("queue");
    let (queue, worker) = open(&directory);
    for number in 0..3 {
        admit(&queue, "/odom", Priority::Normal, 1_700_000_000_000_000_000 + number, br#"{"x":1}"#);
    }
    admit(&queue, "/scan", Priority::Normal, 7, &[0xff, 0x00]);
    admit(&queue, "/alarm", Priority::High, 8, b"hot");
    worker.close();
    (above, directory)
}

fn queue(arguments: &[&str], directory: &Path) -> Output {
    command().arg("queue").args(arguments).arg("--directory").arg(directory).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Every file below `directory`, with its content.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(contents(&entry.path())),
            false => drop(found.insert(entry.path(), fs::read(entry.path()).unwrap())),
        }
    }
    found
}

fn segment(directory: &Path) -> PathBuf {
    directory.join("normal/00000000000000000000.seg")
}

/// `show` tells what waits by lane and topic, and changes nothing.
#[test]
fn show_tells_what_waits() {
    let (_above, directory) = stopped();
    let before = contents(&directory);
    let shown = queue(&["show"], &directory);
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    let line = text(&shown.stdout).lines().find(|line| line.contains("/odom")).unwrap().to_owned();
    assert!(line.starts_with("normal") && line.contains("2023-11-14T22:13:20Z"), "{line}");

    let shown = queue(&["show", "--json"], &directory);
    let report: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(report["records"], 5, "{report}");
    let topics = report["topics"].as_array().unwrap();
    let names: Vec<_> =
        topics.iter().map(|topic| (topic["lane"].as_str().unwrap(), topic["ros"].as_str().unwrap())).collect();
    assert_eq!(names, [("high", "/alarm"), ("normal", "/odom"), ("normal", "/scan")]);
    assert_eq!((&topics[1]["records"], &topics[1]["bytes"]), (&3.into(), &21.into()));
    assert_eq!(topics[1]["newest_received"], 1_700_000_000_000_000_002_i64);
    assert_eq!(report["findings"], Value::Array(Vec::new()));
    assert_eq!(contents(&directory), before);
}

/// `show` and `export` tell damage with its file and place and go on behind it, and change nothing of it.
#[test]
fn damage_is_told_with_its_place() {
    let (_above, directory) = stopped();
    let path = segment(&directory);
    let mut bytes = fs::read(&path).unwrap();
    let first = bytes.windows(7).position(|window| window == br#"{"x":1}"#).unwrap();
    bytes[first] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let before = contents(&directory);

    let shown = queue(&["show", "--json"], &directory);
    let report: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let finding = &report["findings"][0];
    assert_eq!((&finding["file"], &finding["loss"]), (&"normal/00000000000000000000.seg".into(), &true.into()));
    let (start, end) = (finding["place"]["start"].as_u64().unwrap(), finding["place"]["end"].as_u64().unwrap());
    assert!((start..end).contains(&(first as u64)), "{finding}");
    let exported = queue(&["export"], &directory);
    assert_eq!(text(&exported.stdout).lines().count(), 4);
    assert!(text(&exported.stderr).contains("1 record is lost"), "{}", text(&exported.stderr));
    assert_eq!(contents(&directory), before);
}

/// `export` prints each record once, in the order in which they would be sent, with its payload byte for byte, and of a
/// reply the correlation data that goes with it.
#[test]
fn export_prints_every_record() {
    let (above, directory) = stopped();
    let (left, worker) = open(&directory);
    let reply = Correlated::join(Some(&[0xff]), b"{}").unwrap();
    admit_packed(&left, "/z", Priority::Low, 9, &reply, Packing::of_replies());
    worker.close();
    let before = contents(&directory);
    let exported = queue(&["export"], &directory);
    assert!(exported.status.success(), "{}", text(&exported.stderr));
    let lines: Vec<Value> = text(&exported.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let topics: Vec<_> = lines.iter().map(|line| line["ros"].as_str().unwrap()).collect();
    assert_eq!(topics, ["/alarm", "/odom", "/odom", "/odom", "/scan", "/z"]);
    let odom = &lines[1];
    assert_eq!((&odom["lane"], &odom["mqtt"]), (&"normal".into(), &"robots/robot1/odom".into()));
    assert_eq!((&odom["qos"], &odom["retain"], &odom["number"]), (&1.into(), &false.into(), &0.into()));
    assert_eq!(odom["received"], 1_700_000_000_000_000_000_i64);
    assert_eq!(odom["payload"], r#"{"x":1}"#);
    assert_eq!(lines[4]["payload_base64"], "/wA=");
    assert_eq!((lines[4].get("payload"), lines[4].get("correlation_base64")), (None, None));
    assert_eq!((&lines[5]["payload"], &lines[5]["correlation_base64"]), (&"{}".into(), &"/w==".into()));

    // A file gets the same, and is never written over.
    let file = above.path().join("records.jsonl");
    let to_file = ["export", "--output", file.to_str().unwrap()];
    assert!(queue(&to_file, &directory).status.success());
    assert_eq!(fs::read(&file).unwrap(), exported.stdout);
    fs::write(&file, "mine").unwrap();
    assert_eq!(queue(&to_file, &directory).status.code(), Some(1));
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    assert_eq!(contents(&directory), before);
}

/// `purge` deletes the queue's files and no others, only when told so, and the sequence numbers do not go back.
#[test]
fn purge_deletes_the_queues_own_files_when_told() {
    let (_above, directory) = stopped();
    for foreign in ["notes.txt", "normal/notes.txt"] {
        fs::write(directory.join(foreign), "mine").unwrap();
    }
    fs::create_dir(directory.join("quarantine")).unwrap();
    let aside = directory.join("quarantine/00000000000000000000-normal-1.seg");
    fs::write(&aside, "broken").unwrap();
    fs::write(directory.join("quarantine/notes.txt"), "mine").unwrap();
    let ceiling = |directory: &Path| -> u64 {
        let shown = queue(&["show", "--json"], directory);
        serde_json::from_slice::<Value>(&shown.stdout).unwrap()["sequence_ceiling"].as_u64().unwrap()
    };
    let (before, numbers) = (contents(&directory), ceiling(&directory));

    // The end of the input is no yes.
    let asked = queue(&["purge"], &directory);
    assert_eq!(asked.status.code(), Some(1));
    assert!(text(&asked.stderr).contains("5 records") && text(&asked.stderr).contains("[y/N]"));
    assert_eq!(contents(&directory), before);

    let purged = queue(&["purge", "--yes"], &directory);
    assert!(purged.status.success(), "{}", text(&purged.stderr));
    assert!(text(&purged.stdout).contains("5 records"), "{}", text(&purged.stdout));
    let left = contents(&directory);
    let left: Vec<_> = left.keys().map(|path| path.strip_prefix(&directory).unwrap().to_str().unwrap()).collect();
    assert_eq!(left, ["ledger", "lock", "normal/notes.txt", "notes.txt", "quarantine/notes.txt"]);
    assert!(ceiling(&directory) >= numbers);

    // The bridge goes on with it: nothing comes back, nothing is missed, and new records are kept.
    let (queue_again, worker) = open(&directory);
    assert!(queue_again.is_empty());
    admit(&queue_again, "/odom", Priority::Normal, 9, b"new");
    worker.close();
    let shown = queue(&["show", "--json"], &directory);
    let report: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(report["records"], 1, "{report}");
    let findings = report["findings"].as_array().unwrap();
    assert!(findings.iter().all(|finding| finding["loss"] == false), "{report}");
}

/// While a process has the queue, each of the commands says so, ends with 1, and leaves everything as it is.
#[test]
fn a_queue_in_use_is_left_alone() {
    let above = tempfile::tempdir().unwrap();
    let directory = above.path().join("queue");
    let (_queue, worker) = open(&directory);
    let before = contents(&directory);
    for arguments in [&["show"][..], &["export"], &["purge", "--yes"]] {
        let output = queue(arguments, &directory);
        // Of a queue without a record there is nothing to purge, whoever has it.
        if arguments[0] != "purge" {
            assert_eq!(output.status.code(), Some(1), "{arguments:?}");
            assert!(text(&output.stderr).contains("stop it first"), "{}", text(&output.stderr));
        }
        assert_eq!(contents(&directory), before, "{arguments:?}");
    }
    worker.close();
}

/// A directory that is not there is said to be so, and not made; a reader that goes early is no error.
#[test]
fn what_is_not_there_is_said() {
    let (above, directory) = stopped();
    let nowhere = above.path().join("nowhere");
    for arguments in [&["show"][..], &["export"], &["purge", "--yes"]] {
        let output = queue(arguments, &nowhere);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output.stderr).contains("does not exist"), "{}", text(&output.stderr));
        assert!(!nowhere.exists());
    }
    let mut child = command();
    child.args(["queue", "export", "--directory"]).arg(&directory);
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}
