//! The queue at the start of the bridge. What an earlier process has left on the disk is read on a thread of its own, so
//! that a wish to stop is heard meanwhile: on a slow card with a large queue that takes minutes.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::drain::close_queue;
use crate::health::{Topics, systemd};
use iot_bridge_core::config::Settings;
use iot_bridge_core::queue::disk::survey::Progress;
use iot_bridge_core::queue::{DiskThread, Queue};

/// Longest wait for the disk when the bridge is to stop during that. It looks after each segment, of at most 16 MiB.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

type Opened = std::io::Result<(Queue, Option<DiskThread>)>;

/// The opening of the queue.
pub(super) struct Recovery {
    opening: JoinHandle<Opened>,
    stop: Arc<AtomicBool>,
}

impl Recovery {
    /// Begins to open the queue of `settings`, and tells systemd how far that is. Records on the disk are counted as those
    /// of the topics of `registry`.
    pub fn start(settings: &Settings, registry: Arc<Topics>) -> Recovery {
        let stop = Arc::new(AtomicBool::new(false));
        let (queue, window) = (settings.queue.clone(), settings.mqtt.quotas.in_flight);
        let asked = Arc::clone(&stop);
        let opening = spawn_blocking(move || {
            let topics = move |ros: &str, mqtt: &str| registry.topic_of(ros, mqtt);
            let mut watch = |progress: Progress| {
                systemd::recovering(progress.read, progress.of);
                if asked.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            Queue::open(&queue, window, Arc::new(topics), &mut watch)
        });
        Recovery { opening, stop }
    }

    /// Waits for the queue.
    ///
    /// # Errors
    /// When there can be no thread for the disk.
    pub async fn end(&mut self) -> anyhow::Result<(Arc<Queue>, Option<DiskThread>)> {
        let (queue, disk_thread) = (&mut self.opening).await.context("opening the queue")??;
        Ok((Arc::new(queue), disk_thread))
    }

    /// Ends it early, within a bounded time. What is on the disk stays as it is.
    pub async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        match timeout(STOP_TIMEOUT, self.opening).await {
            // It was just done.
            Ok(Ok(Ok((queue, Some(disk_thread))))) => close_queue(&queue, disk_thread).await,
            Ok(_) => tracing::info!("The queue on the disk was not read to its end; the next start reads it."),
            Err(_) => tracing::warn!("The queue's disk does not answer; what is on it is read by the next start."),
        }
    }
}
