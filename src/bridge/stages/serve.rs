//! What goes on while the bridge runs.

use std::pin::Pin;

use anyhow::anyhow;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinError;

use super::Stages;
use crate::bridge::remote;
use crate::bridge::requests::Entry;
use crate::bridge::{Begun, Reload};
use crate::health::{Refusal, systemd};
use iot_bridge_core::config::Settings;
use iot_bridge_core::queue::DiskThread;
use iot_bridge_core::uplink::UplinkState;

impl Stages {
    /// Goes by what comes through `reloads`, follows the graph, and takes the name that provisioning gives, until `stop` ends.
    /// Returns what that says.
    ///
    /// # Errors
    /// When one of the stages has ended by itself.
    pub async fn serve(
        &mut self,
        reloads: &mut mpsc::Receiver<Reload>,
        mut stop: Pin<&mut impl Future<Output = &'static str>>,
    ) -> anyhow::Result<&'static str> {
        let (mut uplink, mut sighted) = (self.sources.uplink.clone(), self.ros.sighted());
        let mut is_provisioning = self.settings.aws.provisioning.is_some();
        loop {
            tokio::select! {
                reason = &mut stop => return Ok(reason),
                died = self.death() => return Err(died),
                Some(reload) = reloads.recv() => tokio::select! {
                    biased;
                    () = self.reload(reload) => {}
                    // A robot that is to be stopped does not wait for files.
                    reason = &mut stop => return Ok(reason),
                },
                Ok(()) = sighted.changed() => {
                    let seen = sighted.borrow_and_update().clone();
                    self.configured.follow(seen, &self.ros);
                }
                name = provisioned(&mut uplink), if is_provisioning => {
                    is_provisioning = false;
                    if let Some(name) = name {
                        self.uplink.renewal.remember().await;
                        self.configured.name_thing(&name, &self.ros);
                    }
                }
            }
        }
    }

    /// Brings another configuration into force, or shows why it is not. Who has asked is answered.
    async fn reload(&mut self, Reload { settings, is_from_cloud, answer }: Reload) {
        let taken = match settings {
            Ok(settings) => {
                let taken = self.bring_into_force(settings);
                self.uplink.renewal.ask_if_changed().await;
                taken
            }
            Err(refusal) => Err(refusal),
        };
        match &taken {
            Ok(_) => self.sources.configuration.taken(),
            Err(_) if is_from_cloud => {}
            Err(refusal) => self.sources.configuration.refused(refusal.clone()),
        }
        // Nobody may want to know.
        let _ = answer.send(taken);
        systemd::ready();
    }

    /// All of `settings` that may change while the bridge runs is in force then, or nothing is.
    fn bring_into_force(&mut self, settings: Settings) -> Result<Begun, Refusal> {
        let entries = Entry::all(&settings, self.settings.remote.as_ref());
        // What may fail comes first.
        if let Err(error) = self.requests.prepare(&entries) {
            tracing::error!("The configuration is not reloaded, for want of a thread: {error}.");
            return Err(Refusal { problems: 1, first: "there can be no thread for requests".to_owned() });
        }
        let begun = self.configured.reload(settings, &self.ros)?;
        self.requests.reload(entries);
        Ok(begun)
    }

    /// Waits until one of the stages has ended by itself. Returns which.
    async fn death(&mut self) -> anyhow::Error {
        tokio::select! {
            () = self.requests.death() => anyhow!("the thread of requests died"),
            ended = end_of(&mut self.keeping) => {
                anyhow!("the keeping of the configuration from the cloud died: {ended:?}")
            }
            () = self.ros.death() => anyhow!("the ROS thread died"),
            _ = self.uplink.task.death() => anyhow!("the uplink ended by itself"),
            () = death_of(self.disk_thread.as_ref()) => anyhow!("the queue's thread died"),
            ended = self.observers.death() => anyhow!("the watch over the bridge died: {ended:?}"),
        }
    }
}

/// Returns the name of the thing, once the robot was provisioned for it by this process. `None` if that will not be.
async fn provisioned(uplink: &mut watch::Receiver<UplinkState>) -> Option<String> {
    let is_settled = |state: &UplinkState| state.provisioned.is_some() || state.is_connected();
    uplink.wait_for(is_settled).await.ok()?.provisioned.clone()
}

/// Waits until the queue's thread, if there is one, has ended by itself.
async fn death_of(disk_thread: Option<&DiskThread>) {
    match disk_thread {
        Some(thread) => thread.death().await,
        None => std::future::pending().await,
    }
}

/// Waits until the keeping, if there is one, has ended by itself. Returns how.
async fn end_of(keeping: &mut Option<remote::Running>) -> &Result<(), JoinError> {
    match keeping {
        Some(keeping) => keeping.death().await,
        None => std::future::pending().await,
    }
}
