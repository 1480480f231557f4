//! When a record expires, across restarts, suspends and clocks that jump.
//!
//! Robots often start with a clock that was never set, and set it once they have a network. So within a boot
//! `CLOCK_BOOTTIME` counts, whatever the time of day does; unlike [`Instant`], which is `CLOCK_MONOTONIC`, it counts
//! while the machine is suspended too. The kernel's boot id tells boots apart; where it can't be had, each start counts
//! as another boot.
//!
//! After another boot only the time of day is left: a record keeps what is left of its `max_age` by that. Where that
//! says nothing, the record starts its `max_age` anew: late is better than lost. The time of day says nothing
//!
//! - of a record that was received by a clock that stood before 2020 or behind 2070,
//! - when the clock stands there now, or before the record's own time,
//! - when by it the record is more than a year older than its `max_age`. A robot that was switched off for so long is
//!   rarer than a clock with a wrong year.
//!
//! For example: a record with `max_age` 1 h was received at 12:00. After a reboot at 12:20 it has 40 min left; by a
//! clock that says 13:30 it has expired; by one that says 1970, 11:00, or the year 2099 it has 1 h left.

use std::time::{Duration, Instant};
#[cfg(any(test, feature = "fuzzing"))]
use std::{
    sync::Arc,
    sync::atomic::{AtomicI64, Ordering::Relaxed},
};

use rustix::time::{ClockId, clock_gettime};

use crate::time_of_day::PLAUSIBLE;

/// Longer than this beyond its `max_age` no record is old.
const LONGEST_PAST_NS: i64 = 365 * 86_400 * 1_000_000_000;

/// What is less is no suspend, and no clock that was set.
const LEAST_SHIFT_NS: u64 = 1_000_000_000;

/// The boot id, where the sandbox of the service hides the kernel's file: `%b` of systemd.unit(5).
const BOOT_ID_VARIABLE: &str = "IOT_BRIDGE_BOOT_ID";

/// The clocks of this boot.
#[derive(Debug, Clone)]
pub struct Clock {
    /// Zeros if it is not known.
    pub boot_id: [u8; 16],
    /// An instant, and the nanoseconds of `CLOCK_MONOTONIC` then.
    anchor: (Instant, i64),
    source: Source,
}

/// Where the time comes from that no [`Instant`] tells.
#[derive(Debug, Clone)]
enum Source {
    System,
    #[cfg(any(test, feature = "fuzzing"))]
    Told(Arc<Told>),
}

/// What a test tells of the machine: how long it was suspended, and how far its time of day is ahead of the real one.
#[cfg(any(test, feature = "fuzzing"))]
#[derive(Debug, Default)]
pub struct Told {
    pub suspended_ns: AtomicI64,
    pub ahead_ns: AtomicI64,
}

#[cfg(test)]
impl Told {
    /// The machine was suspended for so long in this boot, while the time of day went on.
    pub fn suspend(&self, ns: i64) {
        let before = self.suspended_ns.swap(ns, Relaxed);
        self.ahead_ns.fetch_add(ns - before, Relaxed);
    }
}

/// The clock of the kernel with which times in a segment were counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// `CLOCK_MONOTONIC`, by earlier versions of the bridge.
    Monotonic = 0,
    /// `CLOCK_BOOTTIME`.
    Boottime = 1,
}

/// The clocks with which a segment was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    pub boot_id: [u8; 16],
    pub counted: Counted,
    /// Nanoseconds since 1970 less the kernel's clock.
    pub offset: i64,
}

/// How the clocks stand to each other, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// In which the machine was suspended in this boot: `CLOCK_BOOTTIME` less `CLOCK_MONOTONIC`.
    suspended: i64,
    /// The time of day less `CLOCK_BOOTTIME`.
    offset: i64,
}

/// By how much the clocks have moved against each other, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shift {
    pub suspended: i64,
    /// By which the time of day was set forward.
    pub set: i64,
}

impl Clock {
    pub fn of_this_boot() -> Clock {
        Clock { boot_id: boot_id(), anchor: (Instant::now(), nanoseconds(ClockId::Monotonic)), source: Source::System }
    }

    /// A clock of which a test tells what the kernel tells otherwise.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn of_boot(boot: u8, now: Instant) -> Clock {
        let anchor = (now, i64::from(boot) * 1_000_000_000);
        Clock { boot_id: [boot; 16], anchor, source: Source::Told(Arc::default()) }
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub fn told(&self) -> &Told {
        let Source::Told(told) = &self.source else { panic!("this is the system's clock") };
        told
    }

    /// The clocks for a segment that is begun now.
    pub fn written_now(&self) -> Written {
        Written { boot_id: self.boot_id, counted: Counted::Boottime, offset: self.read().offset }
    }

    /// `expires` as it is written into a segment with these clocks: nanoseconds since 1970.
    pub fn to_disk(&self, expires: Instant, written: Written) -> i64 {
        self.monotonic_ns(expires).saturating_add(self.read().suspended).saturating_add(written.offset)
    }

    /// When a record expires that was read from a segment with the clocks `written`, if those are known.
    pub fn from_disk(&self, expires_ns: i64, received_ns: i64, written: Option<Written>, now: Instant) -> Instant {
        if let Some(written) = written.filter(|written| self.is_of_this_boot(written)) {
            return self.instant(expires_ns, written).unwrap_or(now);
        }
        let max_age = expires_ns.saturating_sub(received_ns).max(0);
        let age = self.age(received_ns).filter(|age| *age <= max_age.saturating_add(LONGEST_PAST_NS)).unwrap_or(0);
        let left = Duration::from_nanos(max_age.saturating_sub(age).max(0).unsigned_abs());
        now.checked_add(left).unwrap_or(now)
    }

    /// Whether all records of a segment with the clocks `written` have expired, of which the oldest was received at
    /// `oldest_received_ns` and the last expires at `latest_expiry_ns`.
    pub fn has_expired(
        &self,
        (oldest_received_ns, latest_expiry_ns): (i64, i64),
        written: Option<Written>,
        now: Instant,
    ) -> bool {
        if let Some(written) = written.filter(|written| self.is_of_this_boot(written)) {
            return self.instant(latest_expiry_ns, written).is_some_and(|latest| latest <= now);
        }
        // If the time of day says nothing of one of them, they are looked at one by one, when they are read.
        let past = self.wall_ns().saturating_sub(latest_expiry_ns);
        past >= 0 && self.age(oldest_received_ns).is_some_and(|age| age <= LONGEST_PAST_NS)
    }

    /// How the clocks stand to each other now.
    pub fn read(&self) -> Reading {
        match &self.source {
            Source::System => Reading::of_system(),
            #[cfg(any(test, feature = "fuzzing"))]
            Source::Told(told) => {
                let suspended = told.suspended_ns.load(Relaxed);
                let boottime = self.monotonic_ns(Instant::now()).saturating_add(suspended);
                Reading { suspended, offset: self.wall_ns().saturating_sub(boottime) }
            }
        }
    }

    /// Whether the clocks have moved by half a second or more since that [reading](Self::read), as two coarse clocks tell it, for a
    /// fraction of what another reading takes. They are right to a tick of the kernel, which is some milliseconds. They do not show
    /// that the machine was suspended and the time of day then set back by as much.
    pub fn have_moved_since(&self, reading: Reading) -> bool {
        let apart = match &self.source {
            Source::System => {
                nanoseconds(ClockId::RealtimeCoarse).max(0).saturating_sub(nanoseconds(ClockId::MonotonicCoarse))
            }
            #[cfg(any(test, feature = "fuzzing"))]
            Source::Told(_) => self.read().apart(),
        };
        // The least shift is twice as much, so that ticks do not matter.
        apart.abs_diff(reading.apart()) >= LEAST_SHIFT_NS / 2
    }

    /// The number from which a process counts the messages of a topic: microseconds since 1970. A topic stays far below
    /// a message a microsecond, so a process that counts from here counts above all earlier ones, as long as the clock
    /// has not been set back. A wrong clock in the future is not followed: 2^53, up to which JSON readers know numbers
    /// exactly, is the year 2255.
    pub fn sequence(&self) -> u64 {
        sequence_at(self.wall_ns())
    }

    /// Zeros name no boot, not even this one.
    fn is_of_this_boot(&self, written: &Written) -> bool {
        self.boot_id != [0; 16] && written.boot_id == self.boot_id
    }

    /// How long ago `received_ns` was by the time of day; `None` if that says nothing.
    fn age(&self, received_ns: i64) -> Option<i64> {
        let now = Some(self.wall_ns()).filter(|now| PLAUSIBLE.contains(now) && PLAUSIBLE.contains(&received_ns))?;
        Some(now - received_ns).filter(|age| *age >= 0)
    }

    /// Nanoseconds since 1970 by the time of day; 0 before that.
    fn wall_ns(&self) -> i64 {
        match &self.source {
            Source::System => nanoseconds(ClockId::Realtime).max(0),
            #[cfg(any(test, feature = "fuzzing"))]
            Source::Told(told) => nanoseconds(ClockId::Realtime).saturating_add(told.ahead_ns.load(Relaxed)).max(0),
        }
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

    /// The instant that stands in a segment of this boot as `ns`, if the machine is not suspended before.
    fn instant(&self, ns: i64, written: Written) -> Option<Instant> {
        let suspended = match written.counted {
            Counted::Monotonic => 0,
            Counted::Boottime => self.read().suspended,
        };
        let monotonic_ns = ns.saturating_sub(written.offset).saturating_sub(suspended);
        let (anchor, nanoseconds) = self.anchor;
        shifted(anchor, monotonic_ns.saturating_sub(nanoseconds))
    }
}

impl Reading {
    fn of_system() -> Reading {
        let mut narrowest = None;
        // The process may be stopped between two clocks.
        for _ in 0..3 {
            let before = nanoseconds(ClockId::Monotonic);
            let (boottime, wall) = (nanoseconds(ClockId::Boottime), nanoseconds(ClockId::Realtime).max(0));
            let width = nanoseconds(ClockId::Monotonic) - before;
            let reading = Reading { suspended: boottime - before, offset: wall.saturating_sub(boottime) };
            if narrowest.is_none_or(|(narrow, _)| width < narrow) {
                narrowest = Some((width, reading));
            }
            if width < 1_000_000 {
                break;
            }
        }
        narrowest.map_or(Reading { suspended: 0, offset: 0 }, |(_, reading)| reading)
    }

    /// The time of day less `CLOCK_MONOTONIC`.
    fn apart(self) -> i64 {
        self.suspended.saturating_add(self.offset)
    }

    /// By how much the clocks have moved since `before`, if that is a second or more; then `before` is brought up to
    /// date.
    pub fn shift_since(self, before: &mut Reading) -> Option<Shift> {
        let moved = |now: i64, before: &mut i64| {
            let by = now.saturating_sub(*before);
            let is_shift = by.unsigned_abs() >= LEAST_SHIFT_NS;
            if is_shift {
                *before = now;
            }
            if is_shift { by } else { 0 }
        };
        let shift = Shift {
            suspended: moved(self.suspended, &mut before.suspended),
            set: moved(self.offset, &mut before.offset),
        };
        (shift.suspended != 0 || shift.set != 0).then_some(shift)
    }
}

/// The instant that is `nanoseconds` after `instant`, or before it.
pub fn shifted(instant: Instant, nanoseconds: i64) -> Option<Instant> {
    let by = Duration::from_nanos(nanoseconds.unsigned_abs());
    if nanoseconds >= 0 { instant.checked_add(by) } else { instant.checked_sub(by) }
}

/// As [`Clock::sequence`], by the time of day of this moment.
pub fn sequence_by_clock() -> u64 {
    sequence_at(nanoseconds(ClockId::Realtime))
}

fn sequence_at(wall_ns: i64) -> u64 {
    let followed = if wall_ns < PLAUSIBLE.end { wall_ns } else { PLAUSIBLE.start };
    // A clock before 1970 is one that was never set.
    u64::try_from(followed / 1000).unwrap_or_default()
}

fn nanoseconds(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

/// What the kernel says, or who has started the process; zeros if neither does.
fn boot_id() -> [u8; 16] {
    let told = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    let id = told.as_deref().and_then(parse_id);
    id.or_else(|| parse_id(&std::env::var(BOOT_ID_VARIABLE).ok()?)).unwrap_or_default()
}

/// 32 hexadecimal digits, with or without hyphens.
fn parse_id(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.trim().chars().filter(|character| *character != '-').collect();
    let is_id = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u128::from_str_radix(&digits, 16).ok().filter(|_| is_id).map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const HOUR_NS: i64 = 3_600_000_000_000;
    const YEAR_NS: i64 = 365 * 24 * HOUR_NS;

    fn close(one: Instant, other: Instant) -> bool {
        one.max(other) - one.min(other) < Duration::from_secs(1)
    }

    /// Within a boot the time of day does not matter: neither what it was when the segment was begun nor what it is.
    #[test]
    fn within_a_boot_the_time_of_day_does_not_count() {
        let mut clock = Clock::of_this_boot();
        clock.boot_id = [3; 16];
        let now = Instant::now();
        for offset in [clock.written_now().offset, 0, -5 * HOUR_NS] {
            let written = Written { offset, ..clock.written_now() };
            let disk = clock.to_disk(now + HOUR, written);
            assert!(close(clock.from_disk(disk, 0, Some(written), now), now + HOUR));
            assert!(!clock.has_expired((0, disk), Some(written), now));
            assert!(clock.has_expired((0, disk), Some(written), now + HOUR + HOUR / 60));
        }
    }

    /// Two clocks are enough to see a suspend and a time of day that was set, by a second or more; and where nothing was, nothing.
    #[test]
    fn a_look_at_two_clocks_sees_what_has_moved() {
        let system = Clock::of_this_boot();
        let told = Clock::of_boot(1, Instant::now());
        for clock in [&system, &told] {
            let Reading { suspended, offset } = clock.read();
            assert!(!clock.have_moved_since(Reading { suspended, offset }));
            for by in [-HOUR_NS, -1_000_000_000, 1_000_000_000, HOUR_NS] {
                assert!(clock.have_moved_since(Reading { suspended: suspended + by, offset }), "{by}");
                assert!(clock.have_moved_since(Reading { suspended, offset: offset + by }), "{by}");
            }
        }
        let before = told.read();
        told.told().suspend(1_000_000_000);
        assert!(told.have_moved_since(before));
    }

    /// After another boot a record is as old as the time of day says, and young where that says nothing. A segment is
    /// given up as a whole only if each of its records has expired by that.
    #[test]
    fn after_another_boot_the_time_of_day_counts() {
        let clock = Clock::of_this_boot();
        let (now, wall) = (Instant::now(), clock.wall_ns());
        let other = Some(Written { boot_id: [9; 16], counted: Counted::Boottime, offset: 7 });
        for (received, left) in [
            (wall - HOUR_NS / 2, HOUR / 2),
            (wall - 2 * HOUR_NS, Duration::ZERO),
            (wall - YEAR_NS + HOUR_NS, Duration::ZERO),
            // By a clock that was never set, or is behind now; and by one of another age.
            (1000, HOUR),
            (wall + 9 * HOUR_NS, HOUR),
            (wall - YEAR_NS - 2 * HOUR_NS, HOUR),
            (PLAUSIBLE.end + 5, HOUR),
        ] {
            for written in [other, None] {
                let expires = clock.from_disk(received + HOUR_NS, received, written, now);
                assert!(close(expires, now + left), "{received}");
                let is_over = clock.has_expired((received, received + HOUR_NS), written, now);
                assert_eq!(is_over, left.is_zero(), "{received}");
            }
        }
    }

    /// Zeros stand for a boot that is not known: they are no boot's name, not even their own's.
    #[test]
    fn zeros_name_no_boot() {
        let mut clock = Clock::of_this_boot();
        clock.boot_id = [0; 16];
        let (now, wall) = (Instant::now(), clock.wall_ns());
        // Of a boot that was ten days older than this one; and of one that was ten days younger.
        for days in [10, -10] {
            let written = clock.written_now();
            let written = Written { offset: written.offset - days * 24 * HOUR_NS, ..written };
            for (received, left) in [(wall - 2 * HOUR_NS, Duration::ZERO), (wall - HOUR_NS / 2, HOUR / 2)] {
                let expires = clock.from_disk(received + HOUR_NS, received, Some(written), now);
                assert!(close(expires, now + left), "{days} {received}");
                assert_eq!(clock.has_expired((received, received + HOUR_NS), Some(written), now), left.is_zero());
            }
        }
    }

    /// A clock in the far future says nothing of ages, and the numbers of messages do not follow it.
    #[test]
    fn a_clock_in_the_far_future_is_not_believed() {
        let now = Instant::now();
        let clock = Clock::of_boot(1, now);
        let (wall, sequence) = (clock.wall_ns(), clock.sequence());
        let other = Some(Written { boot_id: [9; 16], counted: Counted::Boottime, offset: 7 });
        // 2099, 2255 and, where nanoseconds end, 2262.
        for years in [73, 230, 400] {
            clock.told().ahead_ns.store(YEAR_NS.saturating_mul(years), Relaxed);
            assert!(close(clock.from_disk(wall, wall - HOUR_NS, other, now), now + HOUR), "{years}");
            assert!(!clock.has_expired((wall - HOUR_NS, wall), other, now), "{years}");
            assert!(clock.sequence() < sequence, "{years}");
        }
        // A wrong year of this age is none either for what is on the disk.
        clock.told().ahead_ns.store(10 * YEAR_NS, Relaxed);
        assert!(close(clock.from_disk(wall, wall - HOUR_NS, other, now), now + HOUR));
        assert!(!clock.has_expired((wall - HOUR_NS, wall), other, now));
        clock.told().ahead_ns.store(HOUR_NS / 2, Relaxed);
        assert!(close(clock.from_disk(wall + HOUR_NS, wall, other, now), now + HOUR / 2));
    }

    /// Suspended time counts for what is on the disk, written before or after; what an earlier version has written
    /// counts as that did.
    #[test]
    fn suspended_time_counts() {
        let now = Instant::now();
        let clock = Clock::of_boot(1, now);
        let written = clock.written_now();
        let disk = clock.to_disk(now + 3 * HOUR, written);
        let old = Written { counted: Counted::Monotonic, ..written };
        clock.told().suspended_ns.store(2 * HOUR_NS, Relaxed);
        assert!(close(clock.from_disk(disk, 0, Some(written), now), now + HOUR));
        assert!(close(clock.from_disk(disk, 0, Some(old), now), now + 3 * HOUR));
        let later = clock.to_disk(now + HOUR, written);
        assert!(close(clock.from_disk(later, 0, Some(written), now), now + HOUR));
        assert!(clock.has_expired((0, disk), Some(written), now + HOUR));
        assert!(!clock.has_expired((0, disk), Some(written), now + HOUR / 2));
    }

    /// A suspend and a clock that is set are told apart, once each; what is less than a second adds up.
    #[test]
    fn shifts_are_told_once() {
        let mut before = Reading { suspended: 5, offset: 7 };
        let second = 1_000_000_000;
        let now = |suspended, offset| Reading { suspended, offset };
        assert_eq!(now(5, 7).shift_since(&mut before), None);
        assert_eq!(now(5 + second / 2, 7 - second / 2).shift_since(&mut before), None);
        let shift = Some(Shift { suspended: second, set: 0 });
        assert_eq!(now(5 + second, 7 - second / 2).shift_since(&mut before), shift);
        assert_eq!(now(5 + second, 7 - second).shift_since(&mut before), Some(Shift { suspended: 0, set: -second }));
        assert_eq!(now(5 + second, 7 - second).shift_since(&mut before), None);
    }

    /// The id as the kernel tells it and as systemd does; anything else is none.
    #[test]
    fn ids_are_read() {
        let id = Some([0xa5, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0xa, 0xb, 0xc, 0xd, 0xff]);
        assert_eq!(parse_id("a5000102-0304-0506-0708-090a0b0c0dff\n"), id);
        assert_eq!(parse_id("A5000102030405060708090a0b0c0dff"), id);
        for text in ["", "%b", "a5000102030405060708090a0b0c0df", "+5000102030405060708090a0b0c0dff", "zz"] {
            assert_eq!(parse_id(text), None, "{text}");
        }
    }
}
