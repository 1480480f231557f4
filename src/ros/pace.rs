//! How the ROS thread waits: parked while messages come one after the other, in rcl otherwise.
//!
//! DDS tells of messages by itself. A wait in rcl is for changes of the graph, and costs more than most messages: the wait set
//! is filled, and the thread wakes under a lock that whoever woke it still has, so that it sleeps once more until that is free.

use std::time::{Duration, Instant};

/// Messages that come so close to each other, for as long already, are waited for without rcl, and changes of the graph are noted
/// so late at the most meanwhile. What comes more rarely is worth no wake-up of its own to ask rcl: ten topics of one timer of
/// 10 Hz come together, and then nothing comes for 100 ms.
const CLOSE: Duration = Duration::from_millis(50);

/// When messages have come, and when the thread was in rcl.
#[derive(Debug)]
pub(super) struct Pace {
    last: Instant,
    /// The first one since which each came close to the one before.
    first: Instant,
    /// Until when the next message comes, if they go on as they did.
    next: Instant,
    in_rcl: Instant,
}

impl Pace {
    /// No message has come by `now`.
    pub(super) fn new(now: Instant) -> Self {
        Pace { last: now, first: now, next: now, in_rcl: now }
    }

    /// Messages have come.
    pub(super) fn has_messages(&mut self, now: Instant) {
        if now.saturating_duration_since(self.last) >= CLOSE {
            self.first = now;
        } else if now.saturating_duration_since(self.first) >= CLOSE {
            self.next = now + CLOSE;
        }
        self.last = now;
    }

    /// A wait in rcl has ended.
    pub(super) fn was_in_rcl(&mut self, now: Instant) {
        self.in_rcl = now;
    }

    /// Until when the thread may park; `None` if rcl is to be asked.
    pub(super) fn parks_until(&self, now: Instant) -> Option<Instant> {
        Some(self.next.min(self.in_rcl + CLOSE)).filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    /// Lets `together` messages a millisecond after each other come at a rate for ten seconds, each served at once. Returns how
    /// often the thread was in rcl, and how often it woke for nothing.
    fn simulate(apart: Duration, together: u32) -> (usize, usize) {
        let (mut now, mut in_rcl, mut for_nothing) = (Instant::now(), 0, 0);
        let start = now + apart;
        let mut pace = Pace::new(now);
        let mut messages =
            (0..).flat_map(|turn| (0..together).map(move |one| start + turn * apart + one * MILLISECOND));
        let mut next = messages.next().unwrap();
        while next < start + Duration::from_secs(10) {
            let end = pace.parks_until(now);
            if end.is_none() {
                in_rcl += 1;
            }
            // rcl is left at once for a message, and otherwise waits for one.
            now = end.map_or(next, |end| end.min(next));
            if end.is_none() {
                pace.was_in_rcl(now);
            }
            if now == next {
                pace.has_messages(now);
                next = messages.next().unwrap();
            } else {
                for_nothing += 1;
            }
        }
        (in_rcl, for_nothing)
    }

    /// At a thousand messages a second rcl is asked twenty times, which is how late a change of the graph is noted, once they have
    /// come for 50 ms.
    #[test]
    fn messages_that_come_close_to_each_other_are_waited_for_without_rcl() {
        let (in_rcl, for_nothing) = simulate(MILLISECOND, 1);
        assert!((240..=260).contains(&in_rcl), "{in_rcl}");
        assert!(for_nothing <= in_rcl, "{for_nothing}");
    }

    /// Ten messages a second are each waited for in rcl, with no wake-up beside, and so are those of a timer with several topics.
    #[test]
    fn rare_messages_cost_one_wake_up_each() {
        for (together, messages) in [(1, 100), (2, 200), (3, 300), (20, 2000)] {
            assert_eq!(simulate(100 * MILLISECOND, together), (messages, 0), "{together} together");
        }
    }
}
