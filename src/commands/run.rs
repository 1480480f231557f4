//! `iot-bridge run`: the daemon.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::{asked_to_stop, check, distribution};
use crate::bridge::remote::{self, Keeping, Load, Reloading};
use crate::bridge::{self, Reload};
use crate::health::{logging, systemd};
use iot_bridge_core::config::{Loaded, Overlay, Problems};
use iot_bridge_core::remote::{Store, state_directory};
use iot_bridge_core::{config, provisioning};

pub fn execute(config: Option<&Path>) -> ExitCode {
    logging::start();
    hide_memory();
    match distribution::sourced() {
        Ok(None) => {}
        Ok(Some(doubt)) => tracing::warn!("{doubt}."),
        Err(problem) => {
            logging::problems([&problem]);
            return ExitCode::from(super::EXIT_CONFIG);
        }
    }
    let local = match load(config, None) {
        Ok(local) => local,
        Err(problems) => {
            logging::problems(&problems);
            return ExitCode::from(super::EXIT_CONFIG);
        }
    };
    match serve(config, local) {
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

/// The configuration with `overlay` over it, and the name of the thing where it is known.
fn load(config: Option<&Path>, overlay: Option<&Overlay>) -> Result<Loaded, Problems> {
    let mut loaded = config::load_over(config, std::env::vars_os(), overlay)?;
    provisioning::identify(&mut loaded.settings.aws);
    Ok(loaded)
}

/// How long the process waits for what can't be interrupted, such as a name look-up, when everything else has ended.
const LAST_PATIENCE: Duration = Duration::from_millis(500);

fn serve(config: Option<&Path>, local: Loaded) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Who is asked to stop while the disk is read stops in an orderly way as well.
    let (stop, hang_up) = {
        let _entered = runtime.enter();
        (asked_to_stop()?, signal(SignalKind::hangup())?)
    };
    // One at a time: the next is read when the one before is in force.
    let (reloaded, reloads) = mpsc::channel(1);
    let (settings, keeping) = match local.settings.remote.clone() {
        None => {
            runtime.spawn(reload(hang_up, config.map(Path::to_owned), reloaded));
            (local.settings, None)
        }
        Some(remote) => {
            let path = config.map(Path::to_owned);
            let load: Load = Arc::new(move |overlay| load(path.as_deref(), overlay));
            let store = Store::new(state_directory(&local.settings.queue));
            let (keeping, settings) = Keeping::start(local, &remote, store, load, check::compare);
            (settings, Some((keeping, Reloading { hang_up, reloads: reloaded })))
        }
    };
    logging::warnings(&settings);
    let served = runtime.block_on(bridge::run(settings, reloads, keeping, stop));
    runtime.shutdown_timeout(LAST_PATIENCE);
    served
}

/// Reads the configuration again upon each SIGHUP. One without a problem goes to the bridge; otherwise the problems are
/// logged, the configuration before stays in force, and the bridge shows that.
async fn reload(mut hang_up: Signal, config: Option<PathBuf>, reloaded: mpsc::Sender<Reload>) {
    while hang_up.recv().await.is_some() {
        systemd::reloading();
        let path = config.clone();
        let loading = spawn_blocking(move || load(path.as_deref(), None));
        let settings = remote::reloaded(loading.await).map(|loaded| loaded.settings);
        let (answer, _) = oneshot::channel();
        if reloaded.send(Reload { settings, is_from_cloud: false, answer }).await.is_err() {
            return;
        }
    }
}
