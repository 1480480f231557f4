//! Another DDS on the wire: Cyclone DDS, without any ROS.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use iot_bridge::health::report::State;
use iot_bridge::ros::{BUILT_FOR, Mismatch, Unmatched};

use crate::diagnostics::Listener;
use crate::support::cache;
use crate::support::killed_on_drop::KilledOnDrop;
use crate::support::program::Program;
use crate::support::stage::Stage;

/// How soon it is named what keeps a publisher from delivering.
const NAMED_WITHIN: Duration = Duration::from_secs(5);

/// `cyclone.py`.
fn publisher(python: &Path, what: &str) -> KilledOnDrop {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ros/cyclone.py");
    let mut command = Command::new(python);
    // What ROS adds to them is none of its business.
    command.arg(script).arg(what).env_remove("PYTHONPATH").env_remove("LD_LIBRARY_PATH");
    KilledOnDrop(command.spawn().unwrap())
}

/// Where `scripts/lib/setup` puts it; `None`, and a word, where it is not.
fn python() -> Option<PathBuf> {
    let python = cache::directory().join("cyclonedds/bin/python");
    if !python.exists() {
        println!("    Skipped: there is no Cyclone DDS in {}.", python.display());
        return None;
    }
    Some(python)
}

/// Awaits that the only topic has `publishers` that deliver, and these that DDS does not match.
fn await_publishers(program: &Program, publishers: usize, unmatched: Option<Unmatched>) {
    program.await_report(|report| {
        matches!(&report.topics[0].state, State::Subscribed { publishers: found, unmatched: others, .. }
            if *found == publishers && *others == unmatched)
    });
}

/// A publisher that offers XCDR2 alone is named as an error, within five seconds in the log, and in status line, status and
/// /diagnostics, and does not count as delivering; one beside it that offers XCDR1 is forwarded.
#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_of_xcdr2_alone_is_named() {
    let Some(python) = python() else { return };
    let mut stage = Stage::set().await;
    let config = stage.configure("[[topics]]\nros = \"/text\"\n");
    let mut program = Program::start(&config);
    let stranger = publisher(&python, "xcdr2");
    program.await_log("Subscribed to /text (std_msgs/msg/String)");
    let met = Instant::now();
    let line = program.await_log("Topic /text: nothing arrives from 1 publisher: ");
    assert!(met.elapsed() < NAMED_WITHIN, "{:?}", met.elapsed());
    assert!(line.contains("ERROR") && line.contains("XCDR2"), "{line}");
    program.await_note("/text: nothing arrives from 1 publisher: DDS refuses a policy that ROS has no name for");
    let unmatched = Unmatched { publishers: 1, why: Mismatch::UnnamedPolicy };
    await_publishers(&program, 0, Some(unmatched));
    let status = String::from_utf8(program.status().output().unwrap().stdout).unwrap();
    assert!(status.contains("have it offer XCDR1"), "{status}");
    let diagnosed = Listener::start().status("iot_bridge: topic /text", 2);
    assert_eq!(diagnosed["message"], unmatched.sentence());

    let _friend = publisher(&python, "xcdr1");
    assert_eq!(stage.observer.next().await.1, r#"{"data":"grüß dich"}"#);
    await_publishers(&program, 1, Some(unmatched));
    drop(stranger);
    await_publishers(&program, 1, None);
    assert_eq!(program.log_lines("nothing arrives from").len(), 1);
    assert_eq!(program.terminate().code(), Some(0));
}

/// Where this ROS makes topics with keys of types that have some, a publisher that makes one without is named.
#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_without_the_keys_is_named() {
    let Some(python) = python() else { return };
    if BUILT_FOR != "kilted" {
        return println!("    Skipped: {BUILT_FOR} has no message type with keys.");
    }
    let stage = Stage::set().await;
    let mut program = Program::start(&stage.configure("[[topics]]\nros = \"/keyed\"\n"));
    let _stranger = publisher(&python, "unkeyed");
    program.await_log("Subscribed to /keyed (test_msgs/msg/KeyedLong)");
    let met = Instant::now();
    let line =
        program.await_log("Topic /keyed: nothing arrives from 1 publisher: only one side has keys (@key) in its type");
    assert!(met.elapsed() < NAMED_WITHIN && line.contains("ERROR"), "{:?}: {line}", met.elapsed());
    await_publishers(&program, 0, Some(Unmatched { publishers: 1, why: Mismatch::Keys }));
    assert_eq!(program.terminate().code(), Some(0));
}

/// A pattern finds a topic that only a DDS application publishes, whose participant is no ROS node.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_without_a_node_is_found() {
    let Some(python) = python() else { return };
    let mut stage = Stage::set().await;
    let mut program = Program::start(&stage.configure("[[topics]]\nros = \"/te*\"\n"));
    let _stranger = publisher(&python, "xcdr1");
    program.await_log("Subscribed to /text (std_msgs/msg/String)");
    assert_eq!(stage.observer.next().await, ("robots/robot1/text".to_owned(), r#"{"data":"grüß dich"}"#.into()));
    program.await_report(|report| report.topics[0].pattern.as_deref() == Some("/te*"));
    assert_eq!(program.terminate().code(), Some(0));
}
