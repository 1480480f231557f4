//! Where log lines go: the journal under systemd, else standard error.

use std::io::IsTerminal;
use std::os::linux::fs::MetadataExt;

use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use iot_bridge_core::config::{Problem, Settings};

/// Starts logging. `RUST_LOG` selects what is logged, as in other Rust programs; without it INFO and above.
///
/// Under systemd the journal gets each field of a line (`F_TOPIC`, `F_REASON`, …) as a field of its own.
pub fn start() {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let registry = tracing_subscriber::registry().with(filter);
    if stderr_is_the_journal()
        && let Ok(journal) = tracing_journald::layer()
    {
        registry.with(journal).init();
        return;
    }
    let text = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    registry.with(text).init();
}

/// Logs each of `problems`, in one line.
pub fn problems<'a>(problems: impl IntoIterator<Item = &'a Problem>) {
    for problem in problems {
        tracing::error!(source = problem.source, key = problem.key, "{}", problem.sentence());
    }
}

/// Warns of what in `settings` is valid and can't fit the quotas, or is a danger.
pub fn warnings(settings: &Settings) {
    for warning in settings.rates_over_quota().into_iter().chain(settings.cautions()) {
        tracing::warn!("{warning}.");
    }
}

/// systemd names the device and inode of the journal's stream, so that a program can tell whether its standard error
/// still is that stream (systemd.exec(5), `JOURNAL_STREAM`).
fn stderr_is_the_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Some((device, inode)) = stream.split_once(':') else { return false };
    let Ok(stderr) = std::fs::metadata("/proc/self/fd/2") else { return false };
    device.parse() == Ok(stderr.st_dev()) && inode.parse() == Ok(stderr.st_ino())
}
