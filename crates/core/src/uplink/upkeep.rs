//! What is done twice a second whatever else is waited for: a sign of life, and the queue's upkeep.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use super::shutdown::Shutdown;
use crate::mqtt::TICK;
use crate::queue::Queue;
use crate::tally::{Heartbeat, ticks};

#[derive(Debug)]
pub(super) struct Upkeep {
    pub queue: Arc<Queue>,
    pub heartbeat: Arc<Heartbeat>,
}

impl Upkeep {
    /// Beats, and has the queue expire what is too old.
    pub fn tick(&self) {
        self.heartbeat.beat();
        self.queue.maintain(Instant::now());
    }

    /// Runs `work` to its end, with upkeep meanwhile. Returns `None` if told to stop before.
    pub async fn during<T>(&self, work: impl Future<Output = T>, shutdown: &mut Shutdown<'_>) -> Option<T> {
        let mut work = pin!(work);
        let mut ticks = ticks(TICK);
        loop {
            tokio::select! {
                output = &mut work => return Some(output),
                () = shutdown.requested() => return None,
                _ = ticks.tick() => self.tick(),
            }
        }
    }
}
