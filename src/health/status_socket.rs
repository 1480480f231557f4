//! The Unix socket on which the running bridge tells how it is.
//!
//! Whoever connects gets one [`Report`](super::Report) as JSON, then the end. Nothing is read from the socket. It is
//! for its user and group (mode 660): nothing in a report is secret, but topics and endpoint are nobody else's business.
//! The group is that of the directory, where this has the set-group-ID bit (inode(7)), as the package has it.

use std::fs::{self, Metadata, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Interval, sleep};

use super::Reporter;
use super::clients::Clients;
use iot_bridge_core::tally::ticks;

/// The runtime directory of the unit, and where `status` looks without one in its environment.
const DEFAULT_DIRECTORY: &str = "/run/iot-bridge";
const FILE: &str = "status.sock";

/// Longest time for a reader to take what it asked for, and for the bridge to answer.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Longest report that is read, in bytes: far more than ten thousand topics make.
const LONGEST: u64 = 64 << 20;

/// Between attempts to accept, when the process has no file descriptor left.
const BREATH: Duration = Duration::from_secs(1);

/// How often it is tried to open the socket, and seen whether it is still there.
const LOOK: Duration = Duration::from_secs(2);

/// The socket's path: in the first directory of `$RUNTIME_DIRECTORY`, which systemd sets, or else in /run/iot-bridge.
pub fn path() -> PathBuf {
    let directories = std::env::var_os("RUNTIME_DIRECTORY").unwrap_or_default();
    let first = std::env::split_paths(&directories).next().filter(|path| !path.as_os_str().is_empty());
    first.unwrap_or_else(|| DEFAULT_DIRECTORY.into()).join(FILE)
}

/// Tells what `reporter` knows to whoever connects to the socket at `path`, until it is dropped. A socket that can't be
/// opened is reported once and tried again, as is one that was taken away: a bridge that can't be asked bridges all
/// the same.
pub async fn serve(path: PathBuf, reporter: Arc<Reporter>) {
    let mut look = ticks(LOOK);
    let mut is_told = false;
    loop {
        look.tick().await;
        match StatusSocket::open(path.clone()) {
            Ok(socket) => {
                if is_told {
                    tracing::info!("`iot-bridge status` reaches this bridge again.");
                }
                is_told = false;
                socket.serve(&reporter, &mut look).await;
                look.reset_immediately();
            }
            Err(error) if !is_told => {
                let socket = path.display();
                tracing::warn!(
                    "`iot-bridge status` does not reach this bridge: {socket} cannot be opened: {error}. It is tried \
                     again."
                );
                is_told = true;
            }
            Err(_) => {}
        }
    }
}

/// The socket, until it is dropped.
#[derive(Debug)]
struct StatusSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of the socket: what stands at `path` may be another bridge's by now.
    identity: (u64, u64),
}

impl StatusSocket {
    /// Opens the socket at `path`; one that was left behind goes.
    ///
    /// # Errors
    /// When the directory is not there or not writable, or when a bridge listens there already.
    fn open(path: PathBuf) -> io::Result<StatusSocket> {
        match connect_within(&path, None) {
            // Many wait for their turn already.
            Err(error) if error.kind() != ErrorKind::WouldBlock => {}
            Ok(_) | Err(_) => return Err(io::Error::new(ErrorKind::AddrInUse, "another bridge answers there")),
        }
        if fs::symlink_metadata(&path).is_ok_and(|file| file.file_type().is_socket()) {
            fs::remove_file(&path)?;
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o660))?;
        let identity = identity(&fs::symlink_metadata(&path)?);
        Ok(StatusSocket { listener, path, identity })
    }

    /// Serves whoever connects, as long as the socket is where it was, which is seen at each tick of `look`.
    async fn serve(&self, reporter: &Arc<Reporter>, look: &mut Interval) {
        let mut clients = Clients::default();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = look.tick() => {
                    if self.is_in_place() {
                        continue;
                    }
                    return;
                }
            };
            match accepted {
                Ok((stream, _)) => {
                    let reporter = Arc::clone(reporter);
                    let answering = async move {
                        if let Err(error) = answer(stream, &reporter).await {
                            tracing::debug!("A reader of the status has gone: {error}.");
                        }
                    };
                    clients.serve(PATIENCE, answering).await;
                }
                Err(error) => {
                    tracing::debug!("The status socket takes no reader: {error}.");
                    sleep(BREATH).await;
                }
            }
        }
    }

    /// Whether this is what stands at the path.
    fn is_in_place(&self) -> bool {
        fs::symlink_metadata(&self.path).is_ok_and(|file| identity(&file) == self.identity)
    }
}

impl Drop for StatusSocket {
    fn drop(&mut self) {
        if self.is_in_place() {
            // One that stays is found to be dead by the next bridge, and by `status`.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

async fn answer(mut stream: UnixStream, reporter: &Reporter) -> io::Result<()> {
    let mut report = serde_json::to_vec(&reporter.report())?;
    report.push(b'\n');
    stream.write_all(&report).await?;
    stream.shutdown().await
}

/// Why a bridge could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Unasked {
    #[error(transparent)]
    Unreachable(#[from] io::Error),
    /// It has taken the connection, or not even that, and does not answer within [`PATIENCE`].
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Silent {
        /// The process that listens there, if it has taken the connection.
        pid: Option<i32>,
    },
}

/// Asks the bridge behind the socket at `path` for its report, as JSON text. Takes no longer than twice [`PATIENCE`].
///
/// # Errors
/// When no bridge runs there, this user may not ask, or the bridge does not answer.
pub fn ask(path: &Path) -> Result<String, Unasked> {
    let mut stream = connect_within(path, Some(PATIENCE)).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Unasked::Silent { pid: None },
        _ => Unasked::Unreachable(error),
    })?;
    let mut answer = Vec::new();
    match read_within(&mut stream, PATIENCE, &mut answer) {
        Ok(()) => String::from_utf8(answer).map_err(|error| io::Error::new(ErrorKind::InvalidData, error).into()),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            let pid = sockopt::socket_peercred(&stream).ok().map(|peer| peer.pid.as_raw_nonzero().get());
            Err(Unasked::Silent { pid })
        }
        Err(error) => Err(error.into()),
    }
}

/// Connects to the socket at `path`. A listener that takes no connection is waited for no longer than `patience`, or
/// not at all; the error is of the kind `WouldBlock` then.
fn connect_within(path: &Path, patience: Option<Duration>) -> io::Result<BlockingStream> {
    let flags = SocketFlags::CLOEXEC | if patience.is_none() { SocketFlags::NONBLOCK } else { SocketFlags::empty() };
    let socket: OwnedFd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // The time to send is what Linux waits for a place in a listener's queue (unix_stream_connect in its source).
    sockopt::set_socket_timeout(&socket, Timeout::Send, patience)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(BlockingStream::from(socket))
}

/// Reads all of `stream` into `answer`, however slowly it comes: no longer than `patience` in all.
fn read_within(stream: &mut BlockingStream, patience: Duration, answer: &mut Vec<u8>) -> io::Result<()> {
    let deadline = Instant::now() + patience;
    let mut piece = [0; 1 << 16];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => answer.extend_from_slice(piece.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if answer.len() as u64 > LONGEST {
            return Err(io::Error::new(ErrorKind::InvalidData, format!("the answer is longer than {LONGEST} bytes")));
        }
    }
}
