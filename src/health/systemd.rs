//! What systemd is told, through the socket of sd_notify(3). Without systemd every call does nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// How long systemd waits for the next sign of a start that takes long: as long as a segment may take to be read.
const EXTENSION_USEC: u32 = 30_000_000;

/// The bridge is up: configuration valid, queue ready, node in the graph. The broker need not be there.
pub fn ready() {
    send(&[NotifyState::Ready]);
}

/// The bridge begins to read its configuration again; [`ready`] ends that, whether it is taken or refused.
pub fn reloading() {
    // systemd.service(5), Type=notify-reload: without the time systemd would not know which reload this answers.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!("systemd can't be told of the reload: {error}."),
    }
}

/// The queue on the disk is being looked through: `read` of `of` bytes. The start may take that longer.
pub fn recovering(read: u64, of: u64) {
    let percent = (read * 100).checked_div(of).unwrap_or(100);
    let line = format!("Looking through the queue on the disk: {percent} %.");
    send(&[NotifyState::ExtendTimeoutUsec(EXTENSION_USEC), NotifyState::Status(&line)]);
}

/// The bridge begins to stop.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// One line for `systemctl status`.
pub fn status(line: &str) {
    send(&[NotifyState::Status(line)]);
}

/// Every stage makes progress.
pub fn alive() {
    send(&[NotifyState::Watchdog]);
}

/// How long the unit lets pass between two signs of life; `None` without a watchdog.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        // Nothing depends on it but systemd, which then acts by itself.
        tracing::debug!("systemd can't be told: {error}.");
    }
}
