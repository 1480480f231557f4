//! The time of day, and when it says nothing.
//!
//! Robots often start with a clock that was never set, and set it once they have a network.

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

/// What a clock can tell, in nanoseconds since 1970: from 2020-01-01, before which it was never set, to 2070-01-01, behind
/// which it is wrong: chips that have lost their power tell dates up to 2099, and beyond.
pub const PLAUSIBLE: Range<i64> = 1_577_836_800_000_000_000..3_155_760_000_000_000_000;

/// Returns the nanoseconds since 1970; `None` while the clock tells what no clock can that was set.
pub fn now() -> Option<i64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_nanos()).ok().filter(|now| PLAUSIBLE.contains(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_of_clocks_that_were_never_set_are_not_plausible() {
        const DAY: i64 = 86_400_000_000_000;
        // Days since 1970: of 2020-01-01 and 2070-01-01, with 12 and 25 leap days before them.
        let (first, end) = ((50 * 365 + 12) * DAY, (100 * 365 + 25) * DAY);
        assert_eq!(PLAUSIBLE, first..end);
        assert!(now().is_some_and(|now| PLAUSIBLE.contains(&now)), "this machine's clock is set");
    }
}
