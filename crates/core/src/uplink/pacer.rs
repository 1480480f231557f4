//! Keeps publishes within the quotas: never more than so many, and so many bytes, in any second.
//!
//! AWS IoT Core does not acknowledge what is over its publishes a second, so that going over costs the connection after
//! `mqtt.ack_timeout`. What counts there is when a publish *arrives*, which nobody here knows: it may sit in a buffer
//! on the way, and reach the broker together with later ones. Two rules hold at once:
//!
//! - **A bound.** A publish arrives between its sending and its PUBACK. So what is unacknowledged, and what was
//!   acknowledged within the last second, is all that can arrive in one second together with the next publish. It never
//!   exceeds the quota, however the link delays and bunches. On a link with a round trip of 100 ms this allows 91 % of
//!   the quota, and on one with 10 ms 99 %. A QoS 0 publish counts from when it was written to the socket.
//! - **A pace.** Within the bound publishes leave evenly, and no faster than the quota: a bucket that fills at the rate
//!   of the quota and holds [`BURST`] of it. A lone publish never waits.
//!
//! A token bucket alone can't give the bound: it lets its burst through on top of its rate, and knows nothing of
//! PUBACKs. With the bound the pace is what is left of one, three lines of arithmetic.
//!
//! The quotas are those of a connection, but what has been sent on one counts for the next as well.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::throttle::Throttle;
use crate::config::Quotas;

const SECOND: Duration = Duration::from_secs(1);

/// How much may leave at once, as the time in which the quota would allow it: enough to make up for a timer that fires
/// late, too little to be seen as a burst.
const BURST: Duration = Duration::from_millis(50);

/// Decides when the next publish may be sent.
#[derive(Debug)]
pub(super) struct Pacer {
    publishes: Option<Meter>,
    bytes: Option<Meter>,
    /// What the broker takes less than the quotas say.
    pub throttle: Throttle,
}

/// Why a publish may not be sent yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// It is too early.
    Until(Instant),
    /// Too much is unacknowledged.
    ForPuback,
}

impl Pacer {
    pub fn new(quotas: &Quotas) -> Self {
        Pacer {
            publishes: quotas.publishes_per_second.map(|limit| Meter::new(limit.into())),
            bytes: quotas.bytes_per_second.map(Meter::new),
            throttle: Throttle::default(),
        }
    }

    /// Whether a packet of `size` bytes may be sent at `now`; if not, what to wait for before asking again.
    pub fn admits(&mut self, size: usize, now: Instant) -> Result<(), Wait> {
        let publishes = self.publishes.as_mut().map_or(Ok(()), |meter| meter.admits(1, now));
        let bytes = self.bytes.as_mut().map_or(Ok(()), |meter| meter.admits(size as u64, now));
        let quotas = match (publishes, bytes) {
            (Ok(()), other) | (other, Ok(())) => other,
            (Err(Wait::Until(one)), Err(Wait::Until(other))) => Err(Wait::Until(one.max(other))),
            (Err(_), Err(_)) => Err(Wait::ForPuback),
        };
        match (quotas, self.throttle.wait(now)) {
            (quotas, None) => quotas,
            (Ok(()), Some(when)) => Err(Wait::Until(when)),
            (Err(Wait::Until(other)), Some(when)) => Err(Wait::Until(when.max(other))),
            (Err(Wait::ForPuback), Some(_)) => Err(Wait::ForPuback),
        }
    }

    /// A packet of `size` bytes is sent at `now`.
    pub fn sent(&mut self, size: usize, now: Instant) {
        self.throttle.sent(now);
        self.each(size, |meter, amount| meter.sent(amount, now));
    }

    /// A packet of `size` bytes has arrived by `now`.
    pub fn arrived(&mut self, size: usize, now: Instant) {
        self.each(size, |meter, amount| meter.arrived(amount, now));
    }

    /// The connection has ended: whatever is unacknowledged has arrived by `now`, or never will.
    pub fn connection_ended(&mut self, now: Instant) {
        self.each(0, |meter, _| meter.arrived(meter.unacknowledged, now));
    }

    fn each(&mut self, size: usize, change: impl Fn(&mut Meter, u64)) {
        let meters = [(&mut self.publishes, 1), (&mut self.bytes, size as u64)];
        for (meter, amount) in meters {
            meter.iter_mut().for_each(|meter| change(meter, amount));
        }
    }
}

/// One quota: so much in any second.
#[derive(Debug)]
struct Meter {
    limit: u64,
    unacknowledged: u64,
    /// What has arrived within about the last second, and by when.
    arrived: VecDeque<(Instant, u64)>,
    /// Of all of `arrived`.
    arrived_sum: u64,
    /// When all that was sent would have been sent at an even pace.
    level: Option<Instant>,
}

impl Meter {
    fn new(limit: u64) -> Self {
        Meter { limit, unacknowledged: 0, arrived: VecDeque::new(), arrived_sum: 0, level: None }
    }

    fn admits(&mut self, amount: u64, now: Instant) -> Result<(), Wait> {
        while let Some((_, old)) = self.arrived.pop_front_if(|(by, _)| now.saturating_duration_since(*by) >= SECOND) {
            self.arrived_sum -= old;
        }
        // What is over the quota by itself goes alone.
        let room = self.limit.saturating_sub(amount);
        if self.unacknowledged + self.arrived_sum > room {
            return Err(self.wait_for(room));
        }
        match self.level {
            Some(level) if level > now + BURST => Err(Wait::Until(level - BURST)),
            _ => Ok(()),
        }
    }

    /// What has to come before no more than `room` is taken.
    fn wait_for(&self, room: u64) -> Wait {
        let mut taken = self.unacknowledged + self.arrived_sum;
        for (by, amount) in &self.arrived {
            taken -= amount;
            if taken <= room {
                return Wait::Until(*by + SECOND);
            }
        }
        Wait::ForPuback
    }

    fn sent(&mut self, amount: u64, now: Instant) {
        self.unacknowledged += amount;
        let level = self.level.map_or(now, |level| level.max(now));
        self.level = Some(level + SECOND.mul_f64(amount as f64 / self.limit as f64));
    }

    fn arrived(&mut self, amount: u64, now: Instant) {
        // A lost connection has counted everything already.
        let amount = amount.min(self.unacknowledged);
        if amount > 0 {
            self.unacknowledged -= amount;
            self.arrived_sum += amount;
            self.arrived.push_back((now, amount));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pacer(publishes: u32, bytes: u64) -> Pacer {
        Pacer::new(&Quotas { publishes_per_second: Some(publishes), bytes_per_second: Some(bytes), in_flight: 100 })
    }

    /// Sends packets of these sizes as early as the pacer allows, each acknowledged `round_trip` later. Returns when
    /// each was sent.
    fn send(pacer: &mut Pacer, sizes: &[usize], round_trip: Duration, start: Instant) -> Vec<Instant> {
        let (mut now, mut in_flight, mut sent) = (start, VecDeque::new(), Vec::new());
        for &size in sizes {
            loop {
                while let Some((at, size)) = in_flight.pop_front_if(|(at, _)| *at <= now) {
                    pacer.arrived(size, at);
                }
                match pacer.admits(size, now) {
                    Ok(()) => break,
                    Err(Wait::Until(when)) => {
                        assert!(when > now, "it was asked to wait for the past");
                        now = in_flight.front().map_or(when, |(at, _)| when.min(*at));
                    }
                    Err(Wait::ForPuback) => now = in_flight.front().expect("nothing is unacknowledged").0,
                }
            }
            pacer.sent(size, now);
            in_flight.push_back((now + round_trip, size));
            sent.push(now);
        }
        sent
    }

    /// Most of what is sent, and most of what can arrive if the link holds back and bunches as it likes, in a second.
    fn most_in_a_second(sent: &[Instant], amounts: &[usize], round_trip: Duration) -> usize {
        let window = |first: usize| {
            let end = sent[first] + round_trip + SECOND;
            sent.iter().zip(amounts).skip(first).take_while(|(at, _)| **at < end).map(|(_, amount)| amount).sum()
        };
        (0..sent.len()).map(window).max().unwrap_or(0)
    }

    /// 1000 publishes at once leave one after the other at an even pace and, apart from the round trip, at the full rate; so do
    /// as many bytes.
    #[test]
    fn publishes_leave_evenly_and_at_the_full_rate() {
        let (mut pacer, start, round_trip) = (pacer(100, u64::MAX), Instant::now(), Duration::from_millis(10));
        let sent = send(&mut pacer, &[200; 1000], round_trip, start);
        let took = *sent.last().unwrap() - start;
        assert!(took < Duration::from_millis(10_200), "{took:?}");
        let most = sent.windows(12).map(|twelve| twelve[11] - twelve[0]).min().unwrap();
        assert!(most >= BURST, "12 publishes within {most:?}");

        let mut pacer = self::pacer(u32::MAX, 500_000);
        let sent = send(&mut pacer, &[5000; 1000], round_trip, start);
        let took = *sent.last().unwrap() - start;
        assert!(took < Duration::from_millis(10_200), "{took:?}");
    }

    /// Without a backlog nothing waits.
    #[test]
    fn a_lone_publish_never_waits() {
        let (mut pacer, start) = (pacer(100, 512 << 10), Instant::now());
        for number in 0..50 {
            let now = start + Duration::from_millis(500) * number;
            assert_eq!(pacer.admits(131_072, now), Ok(()));
            pacer.sent(131_072, now);
            pacer.arrived(131_072, now + Duration::from_millis(100));
        }
    }

    /// A packet over the whole quota leaves when nothing else counts.
    #[test]
    fn what_is_over_the_quota_by_itself_goes_alone() {
        let (mut pacer, now) = (pacer(100, 1000), Instant::now());
        assert_eq!(pacer.admits(5000, now), Ok(()));
        pacer.sent(5000, now);
        assert_eq!(pacer.admits(1, now), Err(Wait::ForPuback));
        pacer.arrived(5000, now);
        assert_eq!(pacer.admits(1, now + SECOND), Err(Wait::Until(now + 5 * SECOND - BURST)));
        assert_eq!(pacer.admits(1, now + 5 * SECOND - BURST), Ok(()));
    }

    /// What was unacknowledged when a connection ended counts for another second, and only once.
    #[test]
    fn a_lost_connection_is_no_way_around_the_quota() {
        let (mut pacer, now) = (pacer(10, u64::MAX), Instant::now());
        let sent = send(&mut pacer, &[1; 10], Duration::from_secs(60), now);
        let lost = *sent.last().unwrap();
        assert_eq!(pacer.admits(1, lost), Err(Wait::ForPuback));
        pacer.connection_ended(lost);
        assert_eq!(pacer.admits(1, lost), Err(Wait::Until(lost + SECOND)));
        pacer.arrived(1, lost);
        assert_eq!(pacer.admits(1, lost + SECOND), Ok(()));
    }

    /// No quota, no waiting.
    #[test]
    fn unlimited_is_unlimited() {
        let quotas = Quotas { publishes_per_second: None, bytes_per_second: None, in_flight: 100 };
        let (mut pacer, now) = (Pacer::new(&quotas), Instant::now());
        for _ in 0..10_000 {
            assert_eq!(pacer.admits(131_072, now), Ok(()));
            pacer.sent(131_072, now);
        }
    }

    proptest! {
        /// Whatever is sent and however long it takes, no second sees more publishes or bytes than the quotas.
        #[test]
        fn no_second_is_over_the_quotas(
            sizes in prop::collection::vec(1..20_000usize, 1..400),
            publishes in 1..150u32,
            bytes in 20_000..600_000u64,
            round_trip in 0..700u64,
        ) {
            let (mut pacer, round_trip) = (pacer(publishes, bytes), Duration::from_millis(round_trip));
            let sent = send(&mut pacer, &sizes, round_trip, Instant::now());
            prop_assert!(most_in_a_second(&sent, &vec![1; sizes.len()], round_trip) <= publishes as usize);
            prop_assert!(most_in_a_second(&sent, &sizes, round_trip) <= bytes as usize);
        }
    }
}
