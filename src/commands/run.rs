//! `iot-bridge run`: the daemon.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::{asked_to_stop, distribution};
use crate::bridge::{self, Reload};
use crate::health::{Refusal, logging, systemd};
use iot_bridge_core::config::{Problem, Problems, Settings};
use iot_bridge_core::{config, provisioning};

pub fn execute(config: Option<&Path>) -> ExitCode {
    logging::start();
    hide_memory();
    match distribution::sourced() {
        Ok(None) => {}
        Ok(Some(doubt)) => tracing::warn!("{doubt}."),
        Err(problem) => {
            log([&problem]);
            return ExitCode::from(super::EXIT_CONFIG);
        }
    }
    let settings = match load(config) {
        Ok(settings) => settings,
        Err(problems) => {
            log(&problems);
            return ExitCode::from(super::EXIT_CONFIG);
        }
    };
    match serve(config, settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}.");
            ExitCode::FAILURE
        }
    }
}

/// Sees to it that no core dump is made of this process, which holds the private key: a limit of 0 (LimitCORE=) does not
/// count where the kernel hands dumps to a program, as for apport.
fn hide_memory() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!("A core dump of this process, with the private key in it, can't be prevented: {error}.");
    }
}

/// The configuration, with the name of the thing where it is known. Warns of what is valid and can't fit the quotas, or is a danger.
fn load(config: Option<&Path>) -> Result<Settings, Problems> {
    let mut settings = config::load(config, std::env::vars_os())?.settings;
    provisioning::identify(&mut settings.aws);
    for warning in settings.rates_over_quota().into_iter().chain(settings.cautions()) {
        tracing::warn!("{warning}.");
    }
    Ok(settings)
}

/// Logs each of `problems`, in one line.
pub(super) fn log<'a>(problems: impl IntoIterator<Item = &'a Problem>) {
    for problem in problems {
        tracing::error!(source = problem.source, key = problem.key, "{}", problem.sentence());
    }
}

/// How long the process waits for what can't be interrupted, such as a name look-up, when everything else has ended.
const LAST_PATIENCE: Duration = Duration::from_millis(500);

fn serve(config: Option<&Path>, settings: Settings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let stop = asked_to_stop()?;
        let hang_up = signal(SignalKind::hangup())?;
        // One at a time: the next is read when the one before is in force.
        let (reloaded, reloads) = mpsc::channel(1);
        tokio::spawn(reload(hang_up, config.map(Path::to_owned), reloaded));
        bridge::run(settings, reloads, stop).await
    });
    runtime.shutdown_timeout(LAST_PATIENCE);
    served
}

/// Reads the configuration again upon each SIGHUP. One without a problem goes to the bridge; otherwise the problems are
/// logged, the configuration before stays in force, and the bridge shows that.
async fn reload(mut hang_up: Signal, config: Option<PathBuf>, reloaded: mpsc::Sender<Reload>) {
    while hang_up.recv().await.is_some() {
        systemd::reloading();
        let path = config.clone();
        let loading = spawn_blocking(move || load(path.as_deref()));
        let settings = match loading.await {
            Ok(Ok(settings)) => Ok(settings),
            Ok(Err(problems)) => {
                log(&problems);
                Err(refusal(&problems))
            }
            Err(error) => {
                tracing::error!("The configuration could not be read: {error}.");
                Err(Refusal { problems: 1, first: "it could not be read".to_owned() })
            }
        };
        if settings.is_err() {
            tracing::warn!("The configuration is not reloaded; the one before stays in force.");
        }
        let (answer, _) = oneshot::channel();
        if reloaded.send(Reload { settings, answer }).await.is_err() {
            return;
        }
    }
}

/// What is shown of `problems`: how many, and the place of the first.
fn refusal(problems: &Problems) -> Refusal {
    let place = |problem: &Problem| {
        let line = problem.line.map(|line| format!(":{line}")).unwrap_or_default();
        let key = if problem.key.is_empty() { String::new() } else { format!(": {}", problem.key) };
        format!("{}{line}{key}", problem.source)
    };
    let first = problems.into_iter().next().map(place).unwrap_or_default();
    Refusal { problems: problems.into_iter().count(), first }
}
