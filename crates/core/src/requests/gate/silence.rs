//! What is published when no further command comes, so that the robot stops.

use std::time::{Duration, Instant};

/// The message of `on_silence`, and when it is due.
#[derive(Debug)]
pub(super) struct Silence {
    after: Duration,
    cdr: Vec<u8>,
    /// `None` before a first command, and after the message until the next one.
    last_command: Option<Instant>,
}

impl Silence {
    pub(super) fn new(after: Duration, cdr: Vec<u8>) -> Self {
        Silence { after, cdr, last_command: None }
    }

    /// A command was accepted.
    pub(super) fn begin(&mut self, now: Instant) {
        self.last_command = Some(now);
    }

    /// When the message is due, unless a command comes before.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.last_command?.checked_add(self.after)
    }

    /// The message, once for each silence.
    pub(super) fn take(&mut self) -> Option<&[u8]> {
        self.last_command.take().map(|_| &*self.cdr)
    }
}
