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
