//! The end of the queue: what is left in it when the bridge stops.

use std::time::Duration;

use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;

use iot_bridge_core::queue::{DiskThread, Queue};
use iot_bridge_core::tally::counted;

/// Longest wait for the disk when the bridge stops.
const DISK_STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits for the end of the uplink, which sends what it can, and has what is left in the queue written to the disk, also
/// if the uplink dies over it.
pub(super) async fn drain<T>(
    uplink: impl Future<Output = Result<T, JoinError>>,
    queue: &Queue,
    disk_thread: Option<DiskThread>,
) -> Result<T, JoinError> {
    let ended = uplink.await;
    if let Some(disk_thread) = disk_thread {
        close_queue(queue, disk_thread).await;
    }
    ended
}

/// Has what is left in the queue written to the disk, as far as that is possible in a bounded time.
pub(super) async fn close_queue(queue: &Queue, disk_thread: DiskThread) {
    let closing = spawn_blocking(|| disk_thread.close());
    if timeout(DISK_STOP_TIMEOUT, closing).await.is_err() {
        let records = queue.figures().memory_only();
        let lost = counted(records, "record is", "records are");
        tracing::error!(records, "The queue's disk does not answer; {lost} lost with the process.");
    }
}

/// Says what is left in the queue, and what of it is lost.
pub(super) fn log_left(queue: &Queue) {
    let figures = queue.figures();
    let (left, lost) = (figures.queued(), figures.memory_only());
    if lost > 0 {
        let what = counted(lost, "record in memory, which is", "records in memory, which are");
        tracing::error!(records = lost, "Stopped with {what} lost with the process.");
    }
    if left > lost {
        let kept = left - lost;
        let what = counted(kept, "record on the disk, which is", "records on the disk, which are");
        tracing::info!(records = kept, "Stopped with {what} sent after the next start.");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use tokio::task::JoinHandle;

    use super::*;
    use iot_bridge_core::config::{self, Overflow, Priority, Qos, QueueDurability};
    use iot_bridge_core::queue::disk::survey::go_on;
    use iot_bridge_core::queue::{Record, Route};
    use iot_bridge_core::topics::Registry;

    /// An uplink that dies while it sends the rest leaves that rest on the disk.
    #[tokio::test]
    async fn what_an_uplink_that_dies_leaves_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let settings = config::Queue {
            disk: 64 << 20,
            durability: QueueDurability::Spill,
            directory: directory.path().to_owned(),
            ..config::Queue::in_memory(4 << 20, Overflow::DropOldest)
        };
        let find = |ros: &str, mqtt: &str| Registry::default().topic(ros, mqtt);
        let open = || Queue::open(&settings, 100, Arc::new(find), &mut go_on).unwrap();
        let (queue, disk_thread) = open();
        queue.set_link(true);
        let route = Arc::new(Route {
            topic: Registry::default().topic("/odom", "odom"),
            qos: Qos::AtLeastOnce,
            retain: false,
            priority: Priority::Normal,
            packing: Default::default(),
        });
        let now = Instant::now();
        for _ in 0..10 {
            let expires = now + Duration::from_secs(3600);
            let record = Record { route: route.clone(), payload: "{}".into(), received_ns: 1, expires };
            assert!(queue.admit(record, now));
        }
        queue.lease(now).unwrap();
        let uplink: JoinHandle<()> = tokio::spawn(async { panic!("an uplink that dies, for a test") });
        assert!(drain(uplink, &queue, disk_thread).await.unwrap_err().is_panic());
        assert_eq!(open().0.figures().queued(), 10);
    }
}
