//! When a message was received, on the clock that nobody sets.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Longest time from the reception of a message by DDS until it is handed on, as far as it is believed. A difference beyond
/// it comes from a time of day that was set in between.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The moment that DDS calls `received_ns`, nanoseconds since 1970, for a message that is handed on now. Where the thread was
/// busy, messages are handed on together which came one by one; what is decided by time is decided by when they came.
pub fn moment(received_ns: i64) -> Instant {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    moment_at(received_ns, Instant::now(), i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

fn moment_at(received_ns: i64, now: Instant, now_ns: i64) -> Instant {
    let waited =
        now_ns.checked_sub(received_ns).and_then(|waited| u64::try_from(waited).ok()).map(Duration::from_nanos);
    let waited = waited.filter(|waited| *waited <= LONGEST_WAIT).unwrap_or_default();
    now.checked_sub(waited).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message that waited was received before; a time of day that was set makes no difference.
    #[test]
    fn a_message_was_received_before_it_is_handed_on() {
        const NOW: i64 = 1_700_000_000_000_000_000;
        let now = Instant::now() + Duration::from_secs(3600);
        let ago = |ns: i64| now - moment_at(NOW - ns, now, NOW);
        assert_eq!(ago(0), Duration::ZERO);
        assert_eq!(ago(250_000_000), Duration::from_millis(250));
        for set in [-1, -3_600_000_000_000, 11_000_000_000, NOW, i64::MAX] {
            assert_eq!(ago(set), Duration::ZERO, "{set}");
        }
        assert_eq!(moment_at(i64::MIN, now, NOW), now);
    }
}
