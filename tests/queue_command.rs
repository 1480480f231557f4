//! `iot-bridge queue`, on directories that a real queue has written.

#[allow(dead_code, reason = "shared by tests that need different parts of it")]
mod support {
    pub mod program;
}

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use iot_bridge::config::{self, Overflow, Priority, Qos, QueueDurability};
use iot_bridge::queue::{KeeperThread, Queue, Record, Route};
use serde_json::Value;
use support::program::command;
use tempfile::TempDir;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn queue(directory: &Path, arguments: &[&str]) -> Output {
    command().arg("queue").args(arguments).arg("--directory").arg(directory).output().unwrap()
}

fn open(directory: &Path) -> (Queue, KeeperThread) {
    let settings = config::Queue {
        disk: 64 << 20,
        directory: directory.to_owned(),
        durability: QueueDurability::Spill,
        ..config::Queue::in_memory(32 << 20, Overflow::DropOldest)
    };
    let (queue, keeper) = Queue::open(&settings, 100, Arc::new(|_: &str| Arc::default()), &mut |_| {}).unwrap();
    (queue, keeper.unwrap())
}

fn admit(queue: &Queue, ros: &str, priority: Priority, payload: &'static [u8]) {
    let route = Route {
        ros: ros.to_owned(),
        mqtt: format!("robots{ros}"),
        qos: Qos::AtLeastOnce,
        retain: false,
        priority,
        counters: Arc::default(),
    };
    let (now, hour) = (Instant::now(), Duration::from_secs(3600));
    let record = Record { route: Arc::new(route), payload: payload.into(), received_ns: 7, expires: now + hour };
    assert!(queue.admit(record, now));
}

/// A queue with three records of two topics, one of which is no text.
fn written() -> (TempDir, PathBuf) {
    let place = tempfile::tempdir().unwrap();
    let directory = place.path().join("queue");
    let (queue, keeper) = open(&directory);
    admit(&queue, "/odom", Priority::Normal, b"{\"x\":1}");
    admit(&queue, "/odom", Priority::Normal, &[0xff, 0]);
    admit(&queue, "/alarm", Priority::High, b"fire");
    keeper.close();
    (place, directory)
}

/// Everything below `directory`, with its content.
fn content(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        match entry.path() {
            path if path.is_dir() => all.extend(content(&path)),
            path => _ = all.insert(path.clone(), fs::read(path).unwrap()),
        }
    }
    all
}

/// `show` and `export` tell all that is there, in text and for scripts, and change nothing.
#[test]
fn show_and_export_tell_what_is_there() {
    let (_place, directory) = written();
    let before = content(&directory);
    let shown = queue(&directory, &["show"]);
    assert!(shown.status.success(), "{}", text(&shown.stderr));
    for word in ["/odom", "/alarm", "3 records", "high", "normal"] {
        assert!(text(&shown.stdout).contains(word), "{word}: {}", text(&shown.stdout));
    }
    let report: Value = serde_json::from_slice(&queue(&directory, &["show", "--json"]).stdout).unwrap();
    assert_eq!(report["records"], 3);
    assert_eq!((&report["topics"][0]["ros"], &report["topics"][0]["records"]), (&"/alarm".into(), &1.into()));
    assert_eq!((&report["topics"][1]["ros"], &report["topics"][1]["bytes"]), (&"/odom".into(), &9.into()));
    assert_eq!(report["findings"], Value::Array(vec![]));

    let exported = queue(&directory, &["export"]);
    let lines: Vec<Value> = text(&exported.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!((&lines[0]["lane"], &lines[0]["payload"]), (&"high".into(), &"fire".into()));
    assert_eq!((&lines[1]["mqtt"], &lines[1]["payload"]), (&"robots/odom".into(), &"{\"x\":1}".into()));
    assert_eq!((&lines[2]["payload_base64"], &lines[2]["received"]), (&"/wA=".into(), &7.into()));
    assert_eq!(content(&directory), before);

    let file = directory.with_extension("jsonl");
    assert!(queue(&directory, &["export", "--output", file.to_str().unwrap()]).status.success());
    assert_eq!(fs::read(&file).unwrap(), exported.stdout);
    let again = queue(&directory, &["export", "--output", file.to_str().unwrap()]);
    assert_eq!(again.status.code(), Some(1), "a file that is there is not written over");
}

/// Damage is told with file and place, and the rest is exported.
#[test]
fn damage_is_told_and_the_rest_exported() {
    let (_place, directory) = written();
    let segment = content(&directory).into_keys().find(|path| path.to_string_lossy().contains("normal/")).unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let payload = bytes.windows(7).position(|window| window == b"{\"x\":1}").unwrap();
    bytes[payload] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let shown = text(&queue(&directory, &["show"]).stdout);
    assert!(shown.contains(".seg is damaged from byte") && shown.contains("1 records are lost"), "{shown}");
    let exported = queue(&directory, &["export"]);
    assert_eq!(text(&exported.stdout).lines().count(), 2);
    assert!(text(&exported.stderr).contains("is damaged from byte"), "{}", text(&exported.stderr));
}

/// `purge` asks, and deletes the queue's own files and nothing else; without a yes it deletes nothing. Sequence numbers
/// go on where they were.
#[test]
fn purge_asks_and_deletes_only_the_queue_s_own() {
    let (_place, directory) = written();
    let foreign = directory.join("normal/notes.txt");
    fs::write(&foreign, "somebody's").unwrap();
    let before = content(&directory);
    let mut asked = command()
        .args(["queue", "purge", "--directory", directory.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    asked.stdin.take().unwrap().write_all(b"n\n").unwrap();
    let refused = asked.wait_with_output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("3 records that were not sent"), "{}", text(&refused.stderr));
    assert_eq!(content(&directory), before);

    let (ceiling, purged) = {
        let report: Value = serde_json::from_slice(&queue(&directory, &["show", "--json"]).stdout).unwrap();
        (report["sequence_ceiling"].as_u64().unwrap(), queue(&directory, &["purge", "--yes"]))
    };
    assert!(purged.status.success(), "{}", text(&purged.stderr));
    assert!(foreign.exists());
    let (queue_again, keeper) = open(&directory);
    assert_eq!(queue_again.figures().queued(), 0);
    assert!(queue_again.sequence_start() >= ceiling);
    admit(&queue_again, "/odom", Priority::Normal, b"after");
    keeper.close();
    assert_eq!(text(&queue(&directory, &["export"]).stdout).lines().count(), 1);
}

/// While a process has the queue, and where there is none, each command says so, ends with 1 and makes nothing.
#[test]
fn a_queue_that_is_in_use_or_not_there_is_said() {
    let (place, directory) = written();
    let (_queue, keeper) = open(&directory);
    for arguments in [&["show"][..], &["export"], &["purge", "--yes"]] {
        let output = queue(&directory, arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output.stderr).contains("stop it first"), "{}", text(&output.stderr));
    }
    keeper.close();
    let nowhere = place.path().join("nowhere");
    for arguments in [&["show"][..], &["export"], &["purge", "--yes"]] {
        let output = queue(&nowhere, arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output.stderr).contains("does not exist"), "{}", text(&output.stderr));
    }
    assert!(!nowhere.exists());
}
