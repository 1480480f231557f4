//! moto, which stands in for the AWS API, on a port of its own.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::cache;
use super::port::Port;

/// How long it may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The socket of moto_ready.py, where scripts/test has started that.
const READY: &str = "MOTO_READY";

/// Ends with it.
pub struct Moto {
    port: Port,
    _running: Running,
}

enum Running {
    Program(Child),
    /// A fork of moto_ready.py, which ends when this is closed.
    Fork(#[allow(dead_code, reason = "open as long as it is there")] UnixStream),
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Running::Program(child) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Moto {
    /// Starts it and waits until it answers.
    pub fn start() -> Moto {
        let port = Port::reserve();
        let running = match std::env::var_os(READY) {
            Some(socket) => Running::Fork(fork(Path::new(&socket), port.number())),
            None => Running::Program(program(port.number())),
        };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port.number())).is_err() {
            assert!(begun.elapsed() < PATIENCE, "moto does not start");
            thread::sleep(Duration::from_millis(20));
        }
        Moto { port, _running: running }
    }

    pub fn port(&self) -> u16 {
        self.port.number()
    }
}

fn fork(socket: &Path, port: u16) -> UnixStream {
    let mut stream =
        UnixStream::connect(socket).unwrap_or_else(|error| panic!("{READY}={}: {error}", socket.display()));
    writeln!(stream, "{port}").unwrap();
    stream
}

fn program(port: u16) -> Child {
    Command::new(cache::directory().join("moto/bin/moto_server"))
        .args(["-H", "127.0.0.1", "-p", &port.to_string()])
        .env_remove("PYTHONPATH")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("moto can't be started ({error}); scripts/test installs it"))
}
