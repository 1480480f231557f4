//! `iot-bridge run`: the daemon.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::asked_to_stop;
use crate::health::logging;
use crate::{bridge, config};

pub fn execute(config: Option<&Path>) -> ExitCode {
    logging::start();
    let loaded = match config::load(config, std::env::vars_os()) {
        Ok(loaded) => loaded,
        Err(problems) => {
            for problem in &problems {
                let sentence = problem.to_string().replace("\n    ", ": ");
                tracing::error!(source = problem.source, key = problem.key, "{sentence}.");
            }
            return ExitCode::from(super::EXIT_CONFIG);
        }
    };
    match serve(loaded.settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}.");
            ExitCode::FAILURE
        }
    }
}

/// How long the process waits for what can't be interrupted, such as a name look-up, when everything else has ended.
const LAST_PATIENCE: Duration = Duration::from_millis(500);

fn serve(settings: config::Settings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(async {
        let stop = asked_to_stop()?;
        let hang_up = signal(SignalKind::hangup())?;
        tokio::spawn(refuse_reload(hang_up));
        bridge::run(settings, stop).await
    });
    runtime.shutdown_timeout(LAST_PATIENCE);
    served
}

/// Without this the end of a login would end the bridge, and what it has queued.
async fn refuse_reload(mut hang_up: Signal) {
    while hang_up.recv().await.is_some() {
        tracing::warn!("Reloading the configuration (SIGHUP) is not supported yet; restart the bridge instead.");
    }
}
