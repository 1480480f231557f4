//! Who keeps the configuration from the cloud, as a task of the running bridge.

use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::time::timeout;

use super::{Counter, Keeping, Reloading, STOP_TIMEOUT, Stop, Wires, Witness};
use crate::bridge::task::Task;
use crate::health::Sources;

pub(in crate::bridge) struct Running {
    task: Task<()>,
    stop: watch::Sender<Stop>,
}

impl Running {
    /// The bridge of `thing` runs, with what `keeping` has started it with.
    pub fn start(
        (mut keeping, reloading): (Keeping, Reloading),
        thing: String,
        counter: Counter,
        sources: &Sources,
    ) -> Running {
        let Sources { configuration, topics, queue, behind, uplink, .. } = sources.clone();
        keeping.begin(&configuration);
        let witness = Witness::new(thing, queue, topics, uplink, behind);
        let (stop, stops) = watch::channel(Stop::NotYet);
        let wires = Wires { counter, witness, configuration, stop: stops };
        Running { task: Task::spawn(keeping.run(reloading, wires)), stop }
    }

    /// Waits until it has ended by itself. Returns how.
    pub async fn death(&mut self) -> &Result<(), JoinError> {
        self.task.death().await
    }

    /// The bridge begins to stop: nothing is put in force from now on. `is_asked`: somebody has asked for it.
    pub fn stopping(&self, is_asked: bool) {
        self.stop.send_replace(if is_asked { Stop::Asked } else { Stop::Died });
    }

    /// Waits until it stands on the disk how the bridge has stopped.
    pub async fn end(self) {
        let is_asked = *self.stop.borrow() == Stop::Asked;
        if !matches!(timeout(STOP_TIMEOUT, self.task.end()).await, Ok(Ok(()))) && is_asked {
            tracing::warn!(
                "What is kept of the configuration from the cloud may not say that this process has stopped as asked."
            );
        }
    }
}
