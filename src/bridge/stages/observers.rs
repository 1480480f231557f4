//! Who looks at the running bridge, and tells of it.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use crate::bridge::diagnostics;
use crate::bridge::task::Task;
use crate::health::{Reporter, Watched, metrics, status_socket};
use crate::ros::Node;
use iot_bridge_core::config::Settings;

pub(super) struct Observers {
    /// Tells systemd.
    watch: Task<()>,
    /// Status socket, metrics, `/diagnostics`. They end when this is dropped.
    telling: JoinSet<()>,
}

impl Observers {
    /// Those whom `settings` want.
    pub fn start(
        settings: &Settings,
        watched: Watched,
        reporter: Reporter,
        nodes: watch::Receiver<Vec<Arc<Node>>>,
    ) -> Observers {
        let watch = Task::spawn(crate::health::watch(watched));
        let (mut telling, reporter) = (JoinSet::new(), Arc::new(reporter));
        telling.spawn(status_socket::serve(status_socket::path(), Arc::clone(&reporter)));
        if let Some(address) = settings.health.metrics {
            telling.spawn(metrics::serve(address, Arc::clone(&reporter)));
        }
        if settings.health.diagnostics {
            telling.spawn(diagnostics::publish(nodes, settings.ros.node_name.clone(), reporter));
        }
        Observers { watch, telling }
    }

    /// Waits until the watch has ended by itself. Returns how.
    pub async fn death(&mut self) -> &Result<(), JoinError> {
        self.watch.death().await
    }

    /// Nobody is told any more.
    pub fn stop(self) {
        self.watch.abort();
        drop(self.telling);
    }
}
