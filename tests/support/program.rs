//! `iot-bridge run` as a child process, with a socket in systemd's place.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use iot_bridge::health::Report;

use super::itself;

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The running bridge. It is killed when dropped.
pub struct Program {
    child: Child,
    /// What systemd would have been told, one assignment each (`READY=1`).
    notes: Receiver<String>,
    /// What it was told before `READY=1`.
    pub before_ready: Vec<String>,
    log: Arc<Mutex<Vec<String>>>,
    runtime_directory: PathBuf,
}

impl Program {
    /// Starts `iot-bridge run --config CONFIG` and waits for `READY=1`.
    pub fn start(config: &Path) -> Program {
        Self::start_with(config, &[])
    }

    /// As [`start`](Self::start), with these variables in its environment.
    pub fn start_with(config: &Path, environment: &[(&str, &str)]) -> Program {
        let mut program = Self::begin(config, environment);
        program.before_ready = program.notes_until("READY=1");
        program.before_ready.pop();
        program
    }

    /// As [`start_with`](Self::start_with), without waiting.
    pub fn begin(config: &Path, environment: &[(&str, &str)]) -> Program {
        let mut bridge = command();
        bridge.args(["run", "--config"]).arg(config).envs(environment.iter().copied());
        Self::spawn(bridge)
    }

    /// Starts `bridge`, which is another program that runs one, without waiting.
    pub fn spawn(mut bridge: Command) -> Program {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("notify");
        let runtime_directory = directory.path().to_owned();
        let socket = UnixDatagram::bind(&path).expect("a socket");
        // A test may have one of its own.
        if !bridge.get_envs().any(|(name, value)| name == "RUNTIME_DIRECTORY" && value.is_some()) {
            bridge.env("RUNTIME_DIRECTORY", &runtime_directory);
        }
        let mut child = bridge.env("NOTIFY_SOCKET", &path).stderr(Stdio::piped()).spawn().expect("iot-bridge starts");
        let (sender, notes) = mpsc::channel();
        thread::spawn(move || {
            let _keep = directory;
            let mut buffer = [0; 4096];
            while let Ok(length) = socket.recv(&mut buffer) {
                for line in String::from_utf8_lossy(&buffer[..length]).lines() {
                    eprintln!("    systemd: {line}");
                    if sender.send(line.to_owned()).is_err() {
                        return;
                    }
                }
            }
        });
        let log = Arc::new(Mutex::new(Vec::new()));
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let lines = Arc::clone(&log);
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                eprintln!("    bridge: {line}");
                lines.lock().unwrap().push(line);
            }
        });
        Program { child, notes, before_ready: Vec::new(), log, runtime_directory }
    }

    /// Waits until systemd is told something that contains `part`, and answers it.
    pub fn await_note(&mut self, part: &str) -> String {
        self.notes_until(part).pop().expect("the note")
    }

    /// What systemd is told up to what contains `part`.
    pub fn notes_until(&mut self, part: &str) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut heard = Vec::new();
        loop {
            match self.notes.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(note) => {
                    heard.push(note);
                    if heard.last().is_some_and(|note| note.contains(part)) {
                        return heard;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("systemd was never told {part:?}; it heard {heard:#?}")
                }
            }
        }
    }

    /// How long it takes until systemd is told `note` the next time.
    pub fn time_until_note(&mut self, note: &str) -> Duration {
        let start = Instant::now();
        self.await_note(note);
        start.elapsed()
    }

    /// Waits for a line of the log that contains `part`, from the start of the process on.
    pub fn await_log(&self, part: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.log_lines(part).pop() {
                return line;
            }
            assert!(Instant::now() < deadline, "the log never said {part:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The lines of the log so far that contain `part`.
    pub fn log_lines(&self, part: &str) -> Vec<String> {
        self.log.lock().unwrap().iter().filter(|line| line.contains(part)).cloned().collect()
    }

    /// Where the bridge has its status socket.
    pub fn runtime_directory(&self) -> &Path {
        &self.runtime_directory
    }

    /// `iot-bridge status` for this bridge.
    pub fn status(&self) -> Command {
        let mut command = command();
        command.arg("status").env("RUNTIME_DIRECTORY", &self.runtime_directory);
        command
    }

    /// What `iot-bridge status --json` tells of this bridge.
    pub fn report(&self) -> Report {
        let output = self.status().arg("--json").output().expect("iot-bridge starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("a report")
    }

    /// Asks for reports until `wanted` says yes to one, and answers that.
    pub fn await_report(&self, mut wanted: impl FnMut(&Report) -> bool) -> Report {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let report = self.report();
            if wanted(&report) {
                return report;
            }
            assert!(Instant::now() < deadline, "the wanted report never came; the last was {report:#?}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Sends SIGHUP and waits until the bridge is ready again.
    pub fn reload(&mut self) {
        self.signal("HUP");
        self.await_note("RELOADING=1");
        self.await_note("MONOTONIC_USEC=");
        self.await_note("READY=1");
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it the signal that `kill` knows as `name`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().expect("kill").success());
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Waits for the end of a bridge that was told to stop.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("the bridge does not stop");
    }

    /// Whether the process is still there.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        self.kernel_tells("VmRSS:") * 1024
    }

    /// How often the main thread has gone to sleep: it runs everything but ROS, DDS and the disk.
    pub fn sleeps_of_main_thread(&self) -> u64 {
        self.kernel_tells("voluntary_ctxt_switches:")
    }

    /// A number that proc_pid_status(5) has of the main thread.
    fn kernel_tells(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a living process");
        let line = status.lines().find(|line| line.starts_with(name)).expect(name);
        line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `iot-bridge` without arguments yet, logging as it does by default.
pub fn command() -> Command {
    let mut command = Command::new(itself::beside("iot-bridge"));
    command.env_remove("RUST_LOG").env_remove("NOTIFY_SOCKET").env_remove("RUNTIME_DIRECTORY").stdin(Stdio::null());
    command
}
