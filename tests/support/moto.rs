//! moto, which stands in for the AWS API, on a port of its own.

use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::cache;
use super::killed_on_drop::KilledOnDrop;

/// How long it may take to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The socket of moto_ready.py, where scripts/test has started that.
const READY: &str = "MOTO_READY";

/// Ends with it.
pub struct Moto {
    pub port: u16,
    /// moto ends when this is closed.
    _connection: UnixStream,
    /// That of this test alone, if it is.
    _program: Option<KilledOnDrop>,
}

impl Moto {
    /// Starts it and waits until it listens.
    pub fn start() -> Moto {
        let (connection, program) =
            std::env::var_os(READY).map_or_else(load, |socket| (fork(Path::new(&socket)), None));
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut port = String::new();
        BufReader::new(&connection).read_line(&mut port).expect("moto starts");
        let port = port.trim_end().parse().unwrap_or_else(|_| panic!("moto does not start; scripts/test installs it"));
        Moto { port, _connection: connection, _program: program }
    }
}

fn fork(socket: &Path) -> UnixStream {
    UnixStream::connect(socket).unwrap_or_else(|error| panic!("{READY}={}: {error}", socket.display()))
}

fn load() -> (UnixStream, Option<KilledOnDrop>) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let program = Command::new(cache::directory().join("moto/bin/python3"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/support/moto_ready.py"))
        .env_remove("PYTHONPATH")
        .stdin(OwnedFd::from(theirs))
        .spawn()
        .unwrap_or_else(|error| panic!("moto can't be started ({error}); scripts/test installs it"));
    (ours, Some(KilledOnDrop(program)))
}
