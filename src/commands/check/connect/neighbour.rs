//! Whether a bridge runs here that has the client id: the broker would end its connection for another one with it.

use std::io::ErrorKind;

use crate::health::Report;
use crate::health::status_socket::{self, Unasked};
use iot_bridge_core::config::Queue;
use iot_bridge_core::files::OsFiles;
use iot_bridge_core::queue::disk::LOCK;

/// The bridge of this machine.
#[derive(Debug)]
pub(super) enum Neighbour {
    /// None runs: nobody listens at the status socket, and nobody holds the queue on the disk.
    Absent,
    /// One runs, and tells this; `None` if it does not answer.
    Runs(Option<Box<Report>>),
    /// It can't be seen, for this reason.
    Unseen(String),
}

/// Looks for it. Blocks, for as long as a bridge that hangs may take to answer.
///
/// Not every bridge has a status socket: one that was started by hand may find no directory for it. Its queue is locked
/// all the same, unless it has no disk.
pub(super) fn look(queue: &Queue) -> Neighbour {
    let socket = status_socket::path();
    match status_socket::ask(&socket) {
        Ok(answer) => return Neighbour::Runs(serde_json::from_str(&answer).ok().map(Box::new)),
        Err(Unasked::Silent { .. }) => return Neighbour::Runs(None),
        Err(Unasked::Unreachable(error)) => match error.kind() {
            // The second one was left behind by a process that is gone.
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {}
            _ => return Neighbour::Unseen(format!("{} cannot be asked: {error}", socket.display())),
        },
    }
    if queue.disk == 0 {
        return Neighbour::Absent;
    }
    match OsFiles::new(queue.directory.clone()).share_lock(LOCK) {
        Ok(_) => Neighbour::Absent,
        Err(error) if error.kind() == ErrorKind::WouldBlock => Neighbour::Runs(None),
        Err(error) if error.kind() == ErrorKind::NotADirectory => Neighbour::Absent,
        Err(error) => Neighbour::Unseen(format!("the queue in {} cannot be seen: {error}", queue.directory.display())),
    }
}
