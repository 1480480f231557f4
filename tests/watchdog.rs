//! A stage that hangs is not alive, one that is slow is.
//!
//! The log of the bridge has a fault here: a thread that writes a certain line does not come back from it for a while. So
//! each stage can be hung where it works, without a hook in the program. That bridge is this very file, in a process of
//! its own.

use std::env;
use std::fmt::{Debug, Write};
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::net::UnixDatagram;
use std::process::{ChildStderr, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::itself;
use crate::support::killed_on_drop::KilledOnDrop;
use crate::support::robot::{Publisher, Robot};
use crate::support::stage::Stage;
use iot_bridge::bridge;
use iot_bridge_core::config;
use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// The watchdog's limit.
const LIMIT: Duration = Duration::from_secs(2);

const FOREVER: Duration = Duration::from_secs(3600);

/// A log that is slow with lines that begin with `line`.
struct SlowLog {
    line: String,
    takes: Duration,
}

impl<S: Subscriber> Layer<S> for SlowLog {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() > Level::INFO {
            return;
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        eprintln!("{}", message.0);
        if message.0.starts_with(&self.line) {
            thread::sleep(self.takes);
        }
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            write!(self.0, "{value:?}").unwrap();
        }
    }
}

#[test]
#[ignore = "it is the bridge that the tests start"]
fn bridge_with_a_slow_log() {
    let [config, line, takes] = ["CONFIG", "SLOW_LINE", "SLOW_SECONDS"].map(|name| env::var(name).unwrap());
    let takes = Duration::from_secs_f64(takes.parse().unwrap());
    tracing_subscriber::registry().with(SlowLog { line, takes }).init();
    let settings = config::load_file(config.as_ref(), []).unwrap().settings;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_never, reloads) = mpsc::channel(1);
    runtime.block_on(bridge::run(settings, reloads, None, std::future::pending())).unwrap();
}

/// That bridge, with a socket in systemd's place.
struct Running {
    _bridge: KilledOnDrop,
    log: Lines<BufReader<ChildStderr>>,
    systemd: UnixDatagram,
    _stage: Stage,
    _robot: Robot,
    _publisher: Publisher,
}

impl Running {
    /// Starts it; each line that begins with `line` `takes` that long.
    async fn start(line: &str, takes: Duration) -> Running {
        let stage = Stage::set().await;
        let socket = stage.directory.path().join("notify");
        let systemd = UnixDatagram::bind(&socket).unwrap();
        systemd.set_read_timeout(Some(LIMIT)).unwrap();
        let mut bridge = Command::new(itself::program())
            .args(itself::arguments("watchdog::bridge_with_a_slow_log"))
            .arg("--ignored")
            .env("CONFIG", stage.configure("[[topics]]\nros = \"/numbers\"\n"))
            .env("SLOW_LINE", line)
            .env("SLOW_SECONDS", takes.as_secs_f64().to_string())
            .env("NOTIFY_SOCKET", &socket)
            .env("WATCHDOG_USEC", LIMIT.as_micros().to_string())
            .env("RUNTIME_DIRECTORY", stage.directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(bridge.stderr.take().unwrap()).lines();
        let mut robot = Robot::start();
        let publisher = robot.publisher("/numbers", 10);
        Running { _bridge: KilledOnDrop(bridge), log, systemd, _stage: stage, _robot: robot, _publisher: publisher }
    }

    fn await_log(&mut self, start: &str) {
        while !self.log.next().expect(start).unwrap().starts_with(start) {}
    }

    /// Whether systemd hears from the watchdog in time, for `lasting` at least; false as soon as it does not.
    fn is_fed(&self, lasting: Duration) -> bool {
        // What was sent before is no sign of life.
        self.systemd.set_nonblocking(true).unwrap();
        let mut buffer = [0; 4096];
        while self.systemd.recv(&mut buffer).is_ok() {}
        self.systemd.set_nonblocking(false).unwrap();
        let (start, mut fed) = (Instant::now(), Instant::now());
        while start.elapsed() < lasting {
            if let Ok(length) = self.systemd.recv(&mut buffer)
                && buffer[..length].starts_with(b"WATCHDOG=1")
            {
                fed = Instant::now();
            }
            if fed.elapsed() > LIMIT {
                return false;
            }
        }
        true
    }
}

/// The ROS thread hangs: it is named, and the watchdog hears no more of the bridge.
#[tokio::test(flavor = "multi_thread")]
async fn a_ros_thread_that_hangs_is_not_alive() {
    let mut running = Running::start("Subscribed to /numbers", FOREVER).await;
    running.await_log("The ros stage makes no progress");
    assert!(!running.is_fed(5 * LIMIT));
}

/// The uplink hangs, and the runtime with it: the watchdog hears no more of the bridge.
#[tokio::test(flavor = "multi_thread")]
async fn an_uplink_that_hangs_is_not_alive() {
    let mut running = Running::start("Connected to localhost", FOREVER).await;
    running.await_log("Connected to localhost");
    assert!(!running.is_fed(5 * LIMIT));
}

/// Stages that are slow, but come back within half the limit, are alive.
#[tokio::test(flavor = "multi_thread")]
async fn a_stage_that_is_slow_is_alive() {
    let mut running = Running::start("", LIMIT / 5).await;
    running.await_log("Subscribed to /numbers");
    assert!(running.is_fed(3 * LIMIT));
}
