//! Losses in the log: once when they begin, once when they have ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Route;
use crate::tally::DropReason;

/// Without a loss for this long, losing has ended. It is also the shortest time between two lines about the same
/// reason.
pub(super) const QUIET: Duration = Duration::from_secs(60);

/// Records that the store has dropped for one reason since it was last asked.
#[derive(Debug)]
pub(super) struct Loss {
    pub reason: DropReason,
    pub records: u64,
    /// Of the first of them.
    pub route: Arc<Route>,
}

/// A time of losing records, by reason.
#[derive(Debug, Default)]
pub(super) struct Losses {
    episodes: [Option<Episode>; DropReason::ALL.len()],
}

#[derive(Debug, Clone, Copy)]
struct Episode {
    reason: DropReason,
    began: Instant,
    last: Instant,
    records: u64,
}

/// A line for the log.
#[derive(Debug)]
pub(super) enum Notice {
    Began { reason: DropReason, route: Arc<Route> },
    Ended { reason: DropReason, records: u64, lasted: Duration },
}

impl Losses {
    /// Notes `loss`. Returns a line if losing for this reason begins with it.
    pub fn note(&mut self, loss: Loss, now: Instant) -> Option<Notice> {
        if let Some(episode) = self.episodes.iter_mut().flatten().find(|episode| episode.reason == loss.reason) {
            episode.last = now;
            episode.records += loss.records;
            return None;
        }
        let free = self.episodes.iter_mut().find(|episode| episode.is_none())?;
        *free = Some(Episode { reason: loss.reason, began: now, last: now, records: loss.records });
        Some(Notice::Began { reason: loss.reason, route: loss.route })
    }

    /// Adds a line for each reason that has been quiet for [`QUIET`].
    pub fn ended(&mut self, now: Instant, notices: &mut Vec<Notice>) {
        for slot in &mut self.episodes {
            if let Some(episode) = slot.take_if(|episode| now.saturating_duration_since(episode.last) >= QUIET) {
                let Episode { reason, began, last, records } = episode;
                notices.push(Notice::Ended { reason, records, lasted: last.saturating_duration_since(began) });
            }
        }
    }
}

impl Notice {
    pub fn log(&self) {
        match self {
            Notice::Began { reason: DropReason::Expired, route } => tracing::error!(
                reason = DropReason::Expired.label(),
                topic = route.ros,
                "Records grow older than max_age before they can be sent and are dropped, {} first.",
                route.ros
            ),
            Notice::Began { reason: DropReason::Overflow, route } => tracing::error!(
                reason = DropReason::Overflow.label(),
                topic = route.ros,
                "The queue is full and drops records, {} first.",
                route.ros
            ),
            Notice::Began { reason, route } => tracing::error!(
                reason = reason.label(),
                topic = route.ros,
                "Records that cannot be sent are dropped ({}), {} first.",
                reason.label(),
                route.ros
            ),
            Notice::Ended { reason, records, lasted } => tracing::warn!(
                reason = reason.label(),
                records,
                "The queue drops no more records ({}). Within {} s it dropped {records}.",
                reason.label(),
                lasted.as_secs()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Priority, Qos};
    use crate::topics::Registry;

    fn loss(reason: DropReason, records: u64) -> Loss {
        let route = Route {
            topic: Registry::default().topic("/odom", "odom"),
            qos: Qos::AtLeastOnce,
            retain: false,
            priority: Priority::Normal,
            packing: Default::default(),
        };
        Loss { reason, records, route: Arc::new(route) }
    }

    /// A line when losing begins, one with the number when it has been over for a while, none in between; one reason
    /// does not hide another.
    #[test]
    fn a_line_at_the_beginning_and_one_at_the_end() {
        let (mut losses, start, mut lines) = (Losses::default(), Instant::now(), Vec::new());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(losses.note(loss(DropReason::Overflow, 1), at(0)).is_some());
        assert!(losses.note(loss(DropReason::Expired, 1), at(1)).is_some());
        for second in 1..=100 {
            assert!(losses.note(loss(DropReason::Overflow, 2), at(second)).is_none());
            losses.ended(at(second), &mut lines);
        }
        assert!(matches!(lines[..], [Notice::Ended { reason: DropReason::Expired, records: 1, .. }]), "{lines:?}");
        losses.ended(at(159), &mut lines);
        assert_eq!(lines.len(), 1);
        losses.ended(at(160), &mut lines);
        let Notice::Ended { reason: DropReason::Overflow, records: 201, lasted } = lines[1] else {
            panic!("{lines:?}")
        };
        assert_eq!(lasted, Duration::from_secs(100));
        assert!(losses.note(loss(DropReason::Overflow, 1), at(170)).is_some());
    }
}
