//! `iot-bridge run`: the daemon.

use std::path::Path;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::health::logging;
use crate::{bridge, config};

pub fn execute(config: Option<&Path>) -> ExitCode {
    logging::start();
    let loaded = match config::load(config, std::env::vars_os()) {
        Ok(loaded) => loaded,
        Err(problems) => {
            for problem in &problems {
                tracing::error!("{problem}");
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

#[tokio::main(flavor = "current_thread")]
async fn serve(settings: config::Settings) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    bridge::run(settings, asked_to_stop(&mut terminate, &mut interrupt)).await
}

async fn asked_to_stop(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
