//! A real broker: Mosquitto, with client certificates required.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::certificates::{Authority, Valid};
use super::port::Port;

/// Where Debian puts it, outside of a user's search path.
const PROGRAM: &str = "/usr/sbin/mosquitto";

/// Mosquitto on a port of its own, from [`Mosquitto::start`] until it is dropped.
pub struct Mosquitto {
    directory: TempDir,
    port: Port,
    child: Option<Child>,
}

impl Mosquitto {
    /// A broker that shows a certificate for `localhost` and takes clients whose certificates `authority` has signed.
    pub fn start(authority: &Authority) -> Self {
        Self::start_with(authority, authority, "allow_anonymous true")
    }

    /// As [`Mosquitto::start`], but it takes clients of another authority, and `settings` decide whom it lets in.
    pub fn start_with(authority: &Authority, clients: &Authority, settings: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        authority.issue(&["localhost"], Valid::Now).write(directory.path(), "broker");
        fs::write(directory.path().join("clients.pem"), &clients.pem).unwrap();
        let mut mosquitto = Mosquitto { directory, port: Port::reserve(), child: None };
        mosquitto.configure(settings);
        mosquitto.start_again();
        mosquitto
    }

    /// Writes the configuration, which holds from the next start on. `settings` decide whom the broker lets in.
    pub fn configure(&self, settings: &str) {
        let path = self.directory.path().display();
        let configuration = format!(
            "user root\n\
             persistence false\n\
             log_dest stderr\n\
             max_queued_messages 0\n\
             max_inflight_messages 0\n\
             listener {port} 127.0.0.1\n\
             cafile {path}/clients.pem\n\
             certfile {path}/broker.cert.pem\n\
             keyfile {path}/broker.private.key\n\
             require_certificate true\n\
             {settings}\n",
            port = self.port.number(),
        );
        fs::write(self.configuration(), configuration).unwrap();
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Starts the broker and waits until it listens.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let mut child = Command::new(PROGRAM)
            .arg("-c")
            .arg(self.configuration())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{PROGRAM} cannot be started ({error}); apt-get install mosquitto"));
        let log = BufReader::new(child.stderr.take().unwrap());
        self.child = Some(child);
        let (running, is_running) = mpsc::channel();
        // Reads to the end, so that the broker never waits for room in the pipe; prints for a test that fails.
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                if line.ends_with(" running") {
                    let _ = running.send(());
                }
                eprintln!("mosquitto: {line}");
            }
        });
        is_running.recv_timeout(Duration::from_secs(20)).expect("mosquitto does not start");
    }

    /// SIGKILL: the broker is gone without a word, and with it all that it knew.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGSTOP: connections stand, nobody answers.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT after [`Mosquitto::pause`].
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it does not run");
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    fn configuration(&self) -> PathBuf {
        self.directory.path().join("mosquitto.conf")
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
    }
}
