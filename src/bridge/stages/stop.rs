//! The order in which the bridge stops, and how long each step may take. The documentation of [`bridge`](crate::bridge) says
//! what each is for.

use std::thread;
use std::time::Duration;

use anyhow::{anyhow, bail};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;

use super::{RunningUplink, Stages};
use crate::bridge::drain::{drain, log_left};
use crate::bridge::stopping;

/// Longest wait for the end of what the cloud has asked for, before anything else stops.
const REQUESTS_STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest wait for the ROS thread; what is queued is sent even if DDS hangs.
const ROS_STOP_TIMEOUT: Duration = Duration::from_secs(5);

impl Stages {
    /// Stops them, because somebody has `asked` for it or one of them died.
    ///
    /// # Errors
    /// That one, or that another died or does not stop; the later in the data's way counts.
    pub async fn stop(self, asked: anyhow::Result<&'static str>) -> anyhow::Result<()> {
        let Stages { requests, keeping, ros, uplink, disk_thread, observers, sources, .. } = self;
        stopping(asked.as_ref().ok().copied());
        if let Some(keeping) = &keeping {
            keeping.stopping(asked.is_ok());
        }
        let requests = end("the thread of requests", REQUESTS_STOP_TIMEOUT, || requests.stop()).await;
        if let Some(keeping) = keeping {
            keeping.end().await;
        }
        let ros = end("the ROS thread", ROS_STOP_TIMEOUT, || ros.stop()).await;
        let uplink = drain(uplink.stop(), &sources.queue, disk_thread).await;
        observers.stop();
        log_left(&sources.queue);
        for topic in sources.topics.untold() {
            topic.log_account();
        }
        uplink.map_err(|error| anyhow!("the uplink died: {error}"))?;
        requests?;
        ros?;
        asked.map(|_| ())
    }
}

impl RunningUplink {
    /// Has it send what it can, and waits for its end.
    async fn stop(self) -> Result<u64, JoinError> {
        drop(self.stop);
        self.task.end().await
    }
}

/// Has `stop` end a thread, which it waits for, and waits for that no longer than `patience`.
async fn end(
    what: &str,
    patience: Duration,
    stop: impl FnOnce() -> thread::Result<()> + Send + 'static,
) -> anyhow::Result<()> {
    match timeout(patience, spawn_blocking(stop)).await {
        Ok(ended) => ended?.map_err(|_| anyhow!("{what} died")),
        Err(_) => bail!("{what} does not stop"),
    }
}
