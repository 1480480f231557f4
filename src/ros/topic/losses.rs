//! When what is missing of a topic counts as lost.

use std::time::{Duration, Instant};

use super::super::Receiver;
use super::super::seen::Seen;
use super::{OVERLAP, Topic};

/// How long a gap in the numbers has to stand: another subscription of the topic may deliver it yet.
const STANDS: Duration = OVERLAP;

/// How long where DDS has more of the topic than the bridge takes, which may be what is missing.
const STANDS_WHILE_BUSY: Duration = Duration::from_secs(10);

/// Since when what is missing waits for its messages.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// When it was looked last; `None` before the first time.
    since: Option<Instant>,
    /// Not all that DDS had was taken in the last turn.
    is_busy: bool,
}

impl Losses {
    /// A turn has taken all that DDS had of the topic, or not.
    pub(super) fn turned(&mut self, has_all: bool) {
        self.is_busy = !has_all;
    }

    /// Whether what was missing when this was true last is lost at `now`.
    fn are_due(&mut self, now: Instant) -> bool {
        let stands = if self.is_busy { STANDS_WHILE_BUSY } else { STANDS };
        let are_due = now.saturating_duration_since(*self.since.get_or_insert(now)) >= stands;
        if are_due {
            self.since = Some(now);
        }
        are_due
    }
}

impl Topic {
    /// Tells what is missing for long enough. To be called about once a second.
    pub(in crate::ros) fn tell_losses(&mut self, now: Instant, receiver: &mut dyn Receiver) {
        if self.losses.are_due(now) {
            self.tell(Seen::newly_lost, receiver);
        }
    }

    /// Tells all that is missing: nothing comes any more.
    pub(in crate::ros) fn tell_missing(&mut self, receiver: &mut dyn Receiver) {
        self.tell(Seen::missing, receiver);
    }

    fn tell(&mut self, count: impl FnOnce(&mut Seen) -> u64, receiver: &mut dyn Receiver) {
        match count(&mut self.seen) {
            0 => {}
            lost => receiver.lost(self.index, lost),
        }
    }
}
