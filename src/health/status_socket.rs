//! The Unix socket on which the running bridge tells how it is.
//!
//! Whoever connects gets one [`Report`](super::Report) as JSON, then the end. Nothing is read from the socket. It is
//! for the service's user and group (mode 660): nothing in a report is secret, but topics and endpoint are nobody
//! else's business.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::Reporter;

/// Where systemd puts the runtime directory of the unit, and where `status` looks without one in its environment.
const DEFAULT_DIRECTORY: &str = "/run/iot-bridge";
const FILE: &str = "status.sock";

/// Readers at a time; more wait for their turn.
const MOST_READERS: usize = 16;

/// Longest time for a reader to take what it asked for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between attempts to accept, when the process has no file descriptor left.
const BREATH: Duration = Duration::from_secs(1);

/// The socket's path: in the first directory of `$RUNTIME_DIRECTORY`, which systemd sets, or else in /run/iot-bridge.
pub fn path() -> PathBuf {
    let directories = std::env::var_os("RUNTIME_DIRECTORY").unwrap_or_default();
    let first = std::env::split_paths(&directories).next().filter(|path| !path.as_os_str().is_empty());
    first.unwrap_or_else(|| DEFAULT_DIRECTORY.into()).join(FILE)
}

/// The socket, until it is dropped.
#[derive(Debug)]
pub struct StatusSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl StatusSocket {
    /// Opens the socket at `path`; one that was left behind goes.
    ///
    /// # Errors
    /// When the directory is not there or not writable, or when a bridge answers there already.
    pub fn open(path: PathBuf) -> io::Result<StatusSocket> {
        if BlockingStream::connect(&path).is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another bridge answers there"));
        }
        if fs::symlink_metadata(&path).is_ok_and(|file| file.file_type().is_socket()) {
            fs::remove_file(&path)?;
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(0o660))?;
        Ok(StatusSocket { listener, path })
    }

    /// Answers whoever connects, until it is dropped.
    pub async fn serve(self, reporter: Arc<Reporter>) {
        let readers = Arc::new(Semaphore::new(MOST_READERS));
        loop {
            // It is never closed.
            let Ok(turn) = Arc::clone(&readers).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let reporter = Arc::clone(&reporter);
                    tokio::spawn(async move {
                        let _turn = turn;
                        if let Ok(Err(error)) = timeout(PATIENCE, answer(stream, &reporter)).await {
                            tracing::debug!("A reader of the status has gone: {error}.");
                        }
                    });
                }
                Err(error) => {
                    tracing::debug!("The status socket takes no reader: {error}.");
                    sleep(BREATH).await;
                }
            }
        }
    }
}

impl Drop for StatusSocket {
    fn drop(&mut self) {
        // One that stays is found to be dead by the next bridge, and by `status`.
        let _ = fs::remove_file(&self.path);
    }
}

async fn answer(mut stream: UnixStream, reporter: &Reporter) -> io::Result<()> {
    let mut report = serde_json::to_vec(&reporter.report())?;
    report.push(b'\n');
    stream.write_all(&report).await?;
    stream.shutdown().await
}

/// Asks the bridge behind the socket at `path` for its report, as JSON text.
///
/// # Errors
/// When no bridge runs there, or this user may not ask.
pub fn ask(path: &Path) -> io::Result<String> {
    let stream = BlockingStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    io::read_to_string(stream)
}
