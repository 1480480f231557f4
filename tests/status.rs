//! What the running bridge tells of itself: the status socket.

use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::support::program::{PATIENCE, Program, command};
use crate::support::robot::{Robot, Stream, numbered, publish};
use crate::support::stage::Stage;
use iot_bridge::health::Report;
use iot_bridge::health::report::{Phase, State, Topic};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};

const TOPICS: &str = r#"
[mqtt.reconnect]
initial = "1 s"
max = "1 s"
[[topics]]
ros = "/numbers"
payload = "data"
depth = 1000
[[topics]]
ros = "/numbers"
mqtt = "again"
payload = "envelope"
priority = "high"
depth = 1000
[[topics]]
ros = "/nobody"
"#;

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What has become of a topic's messages, in all.
fn accounted(topic: &Topic) -> u64 {
    topic.dropped_in_all() + topic.in_reception + topic.queued + topic.in_flight + topic.acknowledged
}

/// `status` tells the connection, the certificate, the queue and each topic; the figures follow what happens, and a
/// lost connection is told with its reason.
#[tokio::test(flavor = "multi_thread")]
async fn status_tells_how_the_bridge_is() {
    let stage = Stage::set().await;
    // In 3.1.1 a packet's size is easily told.
    let configuration = format!("[mqtt]\nversion = \"3.1.1\"\n{TOPICS}");
    let mut program = Program::start(&stage.configure(&configuration));
    let mut robot = Robot::start();
    let publisher = robot.publisher("/numbers", 100);
    Robot::await_subscribers(&publisher, 2);
    program.await_note("2 of 3 topics subscribed");
    program.await_report(|report| report.connection.phase.is_connected());
    (0..10).for_each(|number| publish(&publisher, numbered(number)));
    let report = program.await_report(|report| report.topics[..2].iter().all(|topic| topic.acknowledged == 10));
    assert_eq!((report.thing.as_str(), report.version.as_str()), ("robot1", env!("CARGO_PKG_VERSION")));
    assert_eq!(report.endpoint, format!("localhost:{}", stage.link.port()));
    assert!(report.certificate_expires.unwrap() > report.at && report.at >= report.started);
    assert_eq!((report.connection.connections, report.published.publishes, report.latency.count()), (1, 20, 20));
    assert_eq!(report.latency_last_minute, report.latency);
    let topic = &report.topics[0];
    assert_eq!((topic.ros.as_str(), topic.mqtt.as_str()), ("/numbers", "robots/robot1/numbers"));
    // A fixed header of three bytes, the topic with its length, the packet identifier, the payload.
    let packet = 3 + 2 + "robots/robot1/numbers".len() + 2 + numbered(0).len();
    assert_eq!(topic.published.bytes, 10 * packet as u64);
    assert!(topic.received_per_second > 0.0 && topic.published_bytes_per_second > 0.0);
    let expected = State::Subscribed {
        type_name: "std_msgs/msg/String".into(),
        publishers: 1,
        incompatible: 0,
        redefined: 0,
        unmatched: None,
    };
    assert_eq!((&topic.state, &report.topics[2].state), (&expected, &State::Unknown));

    stage.link.shut().await;
    program.await_report(|report| matches!(report.connection.phase, Phase::Waiting { .. }));
    (0..5).for_each(|number| publish(&publisher, numbered(number)));
    let report = program.await_report(|report| report.queue.waiting() == 10);
    assert_eq!(report.queue.lanes.iter().map(|lane| lane.oldest.is_some()).collect::<Vec<_>>(), [true, true, false]);
    let fault = report.connection.last_fault.expect("why there is no connection");
    assert!(["refused", "closed"].contains(&fault.kind.as_str()), "{fault:?}");
    let shown = text(&program.status().output().unwrap());
    for part in [
        "robot1 to localhost:",
        "Connection   ",
        "MQTT         3.1.1\n",
        "Last fault   ",
        "Certificate  expires in ",
        "nobody publishes it yet",
    ] {
        assert!(shown.contains(part), "{part:?} is missing in\n{shown}");
    }
    assert!(shown.contains("10 waiting, 0 in flight"), "{shown}");
    assert!(shown.contains("; 1 connection since the start"), "{shown}");
    let latency = "\nLatency      from ROS to PUBACK, waits in the queue included, in the last minute: half within ";
    assert!(shown.contains(latency), "{shown}");

    stage.link.reopen().await;
    let report = program.await_report(|report| report.queue.waiting() + report.queue.in_flight() == 0);
    assert_eq!((report.topics[0].acknowledged, report.connection.connections), (15, 2));
    assert!(report.connection.failures.values().sum::<u64>() > 0, "{report:?}");
    assert_eq!(program.terminate().code(), Some(0));
}

/// At every moment a topic's counters add up, while messages stream and the link comes and goes.
#[tokio::test(flavor = "multi_thread")]
async fn the_counters_add_up_at_every_moment() {
    let stage = Stage::set().await;
    let mut program = Program::start(&stage.configure(&format!("memory = \"1 MiB\"\n{TOPICS}")));
    let mut robot = Robot::start();
    let publisher = robot.publisher("/numbers", 1000);
    Robot::await_subscribers(&publisher, 2);
    let stream = Stream::start(robot, vec![publisher], 1000, usize::MAX);
    let mut before = program.await_report(|report| report.topics[0].received > 0);
    for round in 0..60 {
        match round % 20 {
            5 => stage.link.shut().await,
            15 => stage.link.reopen().await,
            _ => {}
        }
        let report = program.report();
        for (topic, before) in report.topics.iter().zip(&before.topics) {
            assert_eq!(topic.received + topic.recovered, accounted(topic), "{topic:?}");
            assert!(topic.in_reception <= 256, "{topic:?}");
            assert!(topic.received >= before.received && topic.acknowledged >= before.acknowledged, "{topic:?}");
        }
        before = report;
        tokio::task::yield_now().await;
    }
    let stream = stream.stop();
    let published = stream.count as u64;
    stage.link.reopen().await;
    let report =
        program.await_report(|report| report.topics[0].acknowledged + report.topics[0].dropped_in_all() == published);
    assert_eq!(report.topics[0].in_reception, 0);
    assert_eq!(program.terminate().code(), Some(0));
}

/// The socket is for user and group, goes with the bridge, and a second bridge does not take it away.
#[tokio::test(flavor = "multi_thread")]
async fn the_socket_belongs_to_one_bridge() {
    let stage = Stage::set().await;
    // A queue on the disk belongs to one bridge as well.
    let config = stage.configure(&format!("disk = 0\n{TOPICS}"));
    let mut program = Program::start(&config);
    program.await_report(|report| report.connection.phase.is_connected());
    let socket = program.runtime_directory().join("status.sock");
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o660);
    let directory = program.runtime_directory().to_str().unwrap().to_owned();
    let mut second = Program::start_with(&config, &[("RUNTIME_DIRECTORY", &directory)]);
    assert!(second.await_log("another bridge answers there").contains("WARN"));
    assert_eq!(second.terminate().code(), Some(0));
    let started = program.report().started;
    assert!(program.report().started == started && program.is_alive());
    assert_eq!(program.terminate().code(), Some(0));
    assert!(!socket.exists());
}

/// Without a bridge `status` fails and says what to do; a socket that a killed bridge has left is taken over.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_bridge_status_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let status = || {
        let output = command().arg("status").env("RUNTIME_DIRECTORY", directory.path()).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(status().contains("no bridge runs here") && status().contains("systemctl start iot-bridge"));
    drop(UnixListener::bind(directory.path().join("status.sock")).unwrap());
    assert!(status().contains("no bridge runs any more"));

    let stage = Stage::set().await;
    let runtime = directory.path().to_str().unwrap();
    let mut program = Program::start_with(&stage.configure(TOPICS), &[("RUNTIME_DIRECTORY", runtime)]);
    program.await_note("STATUS=Connected.");
    let output = command().arg("status").env("RUNTIME_DIRECTORY", directory.path()).output().unwrap();
    assert!(text(&output).contains("connected for"));
}

/// A socket that is taken away comes again, one that could not be opened is opened once it can be, and a bridge that
/// ends leaves the socket of its successor alone.
#[tokio::test(flavor = "multi_thread")]
async fn the_socket_comes_again() {
    let stage = Stage::set().await;
    let directory = tempfile::tempdir().unwrap();
    let runtime = directory.path().join("later");
    let socket = runtime.join("status.sock");
    let environment = [("RUNTIME_DIRECTORY", runtime.to_str().unwrap())];
    let config = stage.configure(&format!("disk = 0\n{TOPICS}"));
    let mut program = Program::start_with(&config, &environment);
    assert!(program.await_log("status.sock cannot be opened: ").contains("WARN"));
    std::fs::create_dir(&runtime).unwrap();
    program.await_log("`iot-bridge status` reaches this bridge again.");
    let started = || -> Option<u64> {
        let output = command().args(["status", "--json"]).env("RUNTIME_DIRECTORY", &runtime).output().unwrap();
        output.status.success().then(|| serde_json::from_slice::<Report>(&output.stdout).unwrap().started)
    };
    let first = started().expect("an answer");
    std::fs::remove_file(&socket).unwrap();
    await_that(|| started() == Some(first));

    // The clock of `started` counts seconds.
    await_that(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() > first);
    std::fs::remove_file(&socket).unwrap();
    let mut successor = Program::start_with(&config, &environment);
    await_that(|| started().is_some());
    if started() == Some(first) {
        // The first was the faster one.
        assert_eq!(program.terminate().code(), Some(0));
        await_that(|| started().is_some());
    } else {
        assert_eq!(program.terminate().code(), Some(0));
    }
    assert!(started().is_some_and(|second| second > first) && socket.exists());
    assert_eq!(successor.terminate().code(), Some(0));
    assert!(!socket.exists());
}

fn await_that(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "it never holds");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Of a bridge that does not answer, `status` says so and ends; `--watch` goes on and shows when it answers again.
/// Readers that take nothing keep nobody from asking.
#[tokio::test(flavor = "multi_thread")]
async fn status_never_hangs() {
    let stage = Stage::set().await;
    // More than a socket holds, so that whoever does not read keeps the bridge writing.
    let topics: String =
        (0..1000).map(|number| format!("[[topics]]\nros = \"/nobody_publishes_{number}\"\n")).collect();
    let mut program = Program::start(&stage.configure(&topics));
    let socket = program.runtime_directory().join("status.sock");
    program.await_report(|report| report.connection.phase.is_connected());
    let idle: Vec<_> = (0..48).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    assert_eq!(program.report().topics.len(), 1000);
    drop(idle);

    let mut watch = program.status();
    let mut watch = watch.args(["--watch", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut reports = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut complaints = BufReader::new(watch.stderr.take().unwrap()).lines();
    reports.next().unwrap().unwrap();
    program.signal("STOP");
    let stopped = program.status().stderr(Stdio::piped()).spawn().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let busy = full_listener(&directory.path().join("status.sock"));
    let mut full = command();
    let full = full.arg("status").env("RUNTIME_DIRECTORY", directory.path()).stderr(Stdio::piped()).spawn().unwrap();
    for (output, whose) in [
        (
            stopped.wait_with_output().unwrap(),
            format!("the bridge with pid {} does not answer within 5 s", program.id()),
        ),
        (
            full.wait_with_output().unwrap(),
            format!("the bridge behind {}/status.sock does not answer", directory.path().display()),
        ),
    ] {
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert!(complaint.contains(&whose) && complaint.contains("systemctl restart iot-bridge"), "{complaint}");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    }
    drop(busy);
    // What was asked before it stopped may still be answered.
    assert!(complaints.next().unwrap().unwrap().contains("does not answer within 5 s"));
    program.signal("CONT");
    let report: Report = serde_json::from_str(&reports.next().unwrap().unwrap()).unwrap();
    assert_eq!(report.topics.len(), 1000);
    drop(reports);
    assert_eq!(watch.wait().unwrap().code(), Some(0));
    assert_eq!(program.terminate().code(), Some(0));
}

/// A listener at `path` that takes no connection and has no place for one that waits.
fn full_listener(path: &Path) -> (OwnedFd, Vec<OwnedFd>) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = || socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
    let (listener, address) = (socket(), SocketAddrUnix::new(path).unwrap());
    rustix::net::bind(&listener, &address).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let mut waiting = Vec::new();
    loop {
        let client = socket();
        match rustix::net::connect(&client, &address) {
            Ok(()) => waiting.push(client),
            Err(error) => {
                assert_eq!(error, rustix::io::Errno::AGAIN);
                return (listener, waiting);
            }
        }
    }
}

/// `--watch` shows the status again and again, and a reader that goes ends it with status 0.
#[tokio::test(flavor = "multi_thread")]
async fn watch_follows_the_bridge() {
    let stage = Stage::set().await;
    let mut program = Program::start(&stage.configure(TOPICS));
    program.await_note("STATUS=Connected.");
    let mut watch = program.status().args(["--watch", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut report = || -> Report { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    let (first, second) = (report(), report());
    assert!(second.at >= first.at && second.started == first.started);
    drop(lines);
    assert_eq!(watch.wait().unwrap().code(), Some(0));
    assert_eq!(program.terminate().code(), Some(0));
}
