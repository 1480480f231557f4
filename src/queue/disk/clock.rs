//! When a record expires, across restarts and clocks that jump.
//!
//! Robots often start with a clock that was never set, and set it once they have a network. So within a boot the
//! monotonic clock counts, whatever the time of day does. After another boot only the time of day is left: a record
//! keeps what is left of its `max_age` by that. Where that says nothing, because the clock stands before the record's
//! own time or the record was received by a clock that was never set, the record starts its `max_age` anew: late is
//! better than lost.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// 2020-01-01. A clock before that was never set.
const CLOCK_WAS_SET_NS: i64 = 1_577_836_800_000_000_000;

/// The clocks of this boot.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    pub boot_id: [u8; 16],
    /// An instant, and the nanoseconds of the monotonic clock then.
    anchor: (Instant, i64),
}

/// The clocks with which a segment was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    pub boot_id: [u8; 16],
    /// Nanoseconds since 1970 less the monotonic clock.
    pub offset: i64,
}

impl Clock {
    pub fn of_this_boot() -> Clock {
        let monotonic = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let nanoseconds = monotonic.tv_sec.saturating_mul(1_000_000_000).saturating_add(monotonic.tv_nsec);
        Clock { boot_id: boot_id(), anchor: (Instant::now(), nanoseconds) }
    }

    #[cfg(any(test, fuzzing))]
    pub fn of_boot(boot: u8, now: Instant) -> Clock {
        Clock { boot_id: [boot; 16], anchor: (now, i64::from(boot) * 1_000_000_000) }
    }

    /// The clocks for a segment that is begun now.
    pub fn written_now(&self) -> Written {
        Written { boot_id: self.boot_id, offset: wall_ns().saturating_sub(self.monotonic_ns(Instant::now())) }
    }

    /// `expires` as it is written into a segment with these clocks: nanoseconds since 1970.
    pub fn to_disk(&self, expires: Instant, written: Written) -> i64 {
        self.monotonic_ns(expires).saturating_add(written.offset)
    }

    /// When a record expires that was read from a segment with the clocks `written`, if those are known.
    pub fn from_disk(&self, expires_ns: i64, received_ns: i64, written: Option<Written>, now: Instant) -> Instant {
        if let Some(written) = written.filter(|written| written.boot_id == self.boot_id) {
            return self.instant(expires_ns.saturating_sub(written.offset)).unwrap_or(now);
        }
        let max_age = expires_ns.saturating_sub(received_ns).max(0);
        let age = match wall_ns().saturating_sub(received_ns) {
            age if age > 0 && received_ns >= CLOCK_WAS_SET_NS => age,
            _ => 0,
        };
        let left = Duration::from_nanos(max_age.saturating_sub(age).max(0).unsigned_abs());
        now.checked_add(left).unwrap_or(now)
    }

    fn monotonic_ns(&self, instant: Instant) -> i64 {
        let (anchor, nanoseconds) = self.anchor;
        match instant.checked_duration_since(anchor) {
            Some(later) => nanoseconds.saturating_add(i64::try_from(later.as_nanos()).unwrap_or(i64::MAX)),
            None => {
                let earlier = anchor.saturating_duration_since(instant).as_nanos();
                nanoseconds.saturating_sub(i64::try_from(earlier).unwrap_or(i64::MAX))
            }
        }
    }

    fn instant(&self, monotonic_ns: i64) -> Option<Instant> {
        let (anchor, nanoseconds) = self.anchor;
        let difference = Duration::from_nanos(monotonic_ns.abs_diff(nanoseconds));
        if monotonic_ns >= nanoseconds { anchor.checked_add(difference) } else { anchor.checked_sub(difference) }
    }
}

/// Nanoseconds since 1970 by the time of day; 0 before that.
pub fn wall_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Zeros where it can't be read; then expiry goes by the time of day after the next start.
fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let mut digits = text.bytes().filter_map(|digit| char::from(digit).to_digit(16));
    std::array::from_fn(|_| {
        let (high, low) = (digits.next().unwrap_or(0), digits.next().unwrap_or(0));
        (high * 16 + low) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const HOUR_NS: i64 = 3_600_000_000_000;

    fn close(one: Instant, other: Instant) -> bool {
        one.max(other) - one.min(other) < Duration::from_secs(1)
    }

    /// Within a boot the time of day does not matter: neither what it was when the segment was begun nor what it is.
    #[test]
    fn within_a_boot_the_monotonic_clock_counts() {
        let clock = Clock::of_this_boot();
        let now = Instant::now();
        for offset in [clock.written_now().offset, 0, -5 * HOUR_NS] {
            let written = Written { boot_id: clock.boot_id, offset };
            let disk = clock.to_disk(now + HOUR, written);
            assert!(close(clock.from_disk(disk, 0, Some(written), now), now + HOUR));
        }
    }

    /// After another boot a record is as old as the time of day says, and young where that says nothing.
    #[test]
    fn after_another_boot_the_time_of_day_counts() {
        let clock = Clock::of_this_boot();
        let (now, wall) = (Instant::now(), wall_ns());
        let other = Some(Written { boot_id: [9; 16], offset: 7 });
        for (received, left) in [
            (wall - HOUR_NS / 2, HOUR / 2),
            (wall - 2 * HOUR_NS, Duration::ZERO),
            // By a clock that was never set, or is behind now.
            (1000, HOUR),
            (wall + 9 * HOUR_NS, HOUR),
        ] {
            for written in [other, None] {
                let expires = clock.from_disk(received + HOUR_NS, received, written, now);
                assert!(close(expires, now + left), "{received}");
            }
        }
    }
}
