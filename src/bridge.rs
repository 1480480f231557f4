//! The running bridge: every stage wired to the next.
//!
//! # Started
//!
//! 1. `Ground`: the queue, with what an earlier process has left on the disk; the uplink's settings and certificates; the ROS
//!    node. On a slow card the disk takes minutes, and a wish to stop is heard meanwhile.
//! 2. `Stages`: the ROS thread, which receives from now on; the thread `requests`, where something may come from the cloud;
//!    who keeps the configuration from the cloud; watch, status socket, metrics, `/diagnostics`; the uplink.
//! 3. systemd is told `READY=1`, also without a connection.
//!
//! # Meanwhile
//!
//! `Stages::serve`: another configuration, topics that appear on the graph and vanish, the name that provisioning gives;
//! until somebody asks to stop, or one of the parts ends by itself.
//!
//! # Stopped
//!
//! `Stages::stop`, whatever the reason is:
//!
//! 1. What the cloud has asked for, so that a robot that drives by command stops.
//! 2. Who keeps the configuration from the cloud: on the disk stands that this process has stopped as asked.
//! 3. Reception: what DDS has received so far is admitted, nothing after it.
//! 4. The uplink, which sends what it can.
//! 5. The queue's disk, to which the rest is written.
//! 6. Watch and status, which have told so far how it goes on.
//! 7. The log says what is left, and the account of each topic, which is final now.
//!
//! Each step has a bounded time, in `bridge::stages::stop` and, for the uplink,
//! [`DRAIN_TIMEOUT`](iot_bridge_core::uplink::DRAIN_TIMEOUT).

mod diagnostics;
mod drain;
mod fit;
mod ground;
mod reception;
mod recovery;
mod reload;
pub mod remote;
mod reports;
mod requests;
mod stages;
mod task;

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::health::{ConfigurationState, Judge, systemd};
use iot_bridge_core::config::Settings;

use ground::Ground;
pub use reception::{Opened, Reception, open, wanted};
use reload::Configured;
pub use reload::{Begun, Reload};
use remote::{Keeping, Reloading};
use stages::Stages;

/// Runs the bridge until `stop` ends, which says what asked for it; then stops it, as it does when one of its parts dies.
///
/// What comes through `reloads` is brought into force while the bridge runs, or was refused, which is shown until one is
/// taken again. systemd is told when that is done. With `[remote]` it comes from `keeping`, as what the cloud desires does.
///
/// # Errors
/// When ROS can't be started or its thread dies. A broker that can't be reached is no error.
pub async fn run(
    settings: Settings,
    reloads: mpsc::Receiver<Reload>,
    keeping: Option<(Keeping, Reloading)>,
    stop: impl Future<Output = &'static str>,
) -> anyhow::Result<()> {
    run_with(Judge::default(), settings, reloads, keeping, stop).await
}

/// As [`run`], with a judge of falling behind who may be a faster one: for tests, which can't wait for minutes.
///
/// # Errors
/// Those of [`run`].
#[doc(hidden)]
pub async fn run_with(
    judge: Judge,
    settings: Settings,
    mut reloads: mpsc::Receiver<Reload>,
    keeping: Option<(Keeping, Reloading)>,
    stop: impl Future<Output = &'static str>,
) -> anyhow::Result<()> {
    let mut stop = pin!(stop);
    let configuration = Arc::new(ConfigurationState::loaded_now());
    let configured = Configured::new(settings.clone());
    let ground = match Ground::lay(&settings, configured.registry(), stop.as_mut()).await {
        Ok(Some(ground)) => ground,
        ended => {
            // Nothing that the cloud may set has been looked at so far.
            if let Some((keeping, _)) = keeping {
                keeping.abandon().await;
            }
            return ended.map(|_| ());
        }
    };
    let mut stages = Stages::start(settings, judge, configuration, configured, ground, keeping)?;
    systemd::ready();
    let asked = stages.serve(&mut reloads, stop).await;
    stages.stop(asked).await
}

/// The bridge begins to stop, because of `reason` if somebody has asked for it.
fn stopping(reason: Option<&str>) {
    systemd::stopping();
    if let Some(reason) = reason {
        tracing::info!("Stopping, because of {reason}.");
    }
}
