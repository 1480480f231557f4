//! When what is done again and again is done.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// Where the time of all ticks begins.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Returns ticks of this period, of which the first is now. The others come at multiples of the period since one moment for the
/// whole process, so that one wake-up of a thread serves all that is due. An example: what has a period of 500 ms and what has
/// one of 1 s wake their thread twice a second together, whenever they have begun. A tick that is missed is not made up for.
///
/// # Panics
/// With a period of nothing.
pub fn ticks(period: Duration) -> Interval {
    let since_last = START.elapsed().as_nanos() % period.as_nanos();
    let last = Instant::now() - Duration::from_nanos(u64::try_from(since_last).unwrap_or(0));
    let mut ticks = interval_at(last, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ticks that began at different moments fall together, and the first of each is at once.
    #[tokio::test(start_paused = true)]
    async fn ticks_fall_together() {
        let (short, long) = (Duration::from_millis(500), Duration::from_secs(1));
        let mut seen = Vec::new();
        for (period, pause) in [(short, 130), (long, 290), (long, 870), (short, 10)] {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let (mut ticks, begun) = (ticks(period), Instant::now());
            assert_eq!(ticks.tick().await.max(begun), begun, "the first tick is at once");
            for _ in 0..3 {
                let at = ticks.tick().await.duration_since(*START);
                assert_eq!(at.as_nanos() % period.as_nanos(), 0, "{at:?}");
                seen.push(at);
            }
        }
        assert_eq!(seen.len(), 12);
    }

    /// After a while in which nobody asked one tick is there, and the next falls where it would have fallen.
    #[tokio::test(start_paused = true)]
    async fn missed_ticks_are_not_made_up_for() {
        let period = Duration::from_millis(500);
        let mut ticks = ticks(period);
        ticks.tick().await;
        tokio::time::sleep(Duration::from_millis(2750)).await;
        let late = Instant::now();
        ticks.tick().await;
        assert_eq!(Instant::now(), late);
        let next = ticks.tick().await;
        assert!(next > late && next <= late + period, "{next:?} after {late:?}");
        assert_eq!(next.duration_since(*START).as_nanos() % period.as_nanos(), 0);
    }
}
