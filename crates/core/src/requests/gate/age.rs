//! How old a command is, by what its sender says.

use std::time::Duration;

use super::seconds;
use crate::config::units::format_duration;

/// A difference beyond it comes from another unit, or from a clock that is wrong.
const NO_AGE: Duration = Duration::from_secs(365 * 86_400);

/// That what was sent at `sent` is no older than `max_age` now, and no further ahead of the clock than that: both nanoseconds since
/// 1970. The error says why not.
pub(super) fn check(sent: i64, now: Option<i64>, max_age: Duration) -> Result<(), String> {
    let Some(now) = now else {
        return Err("the robot's clock is not set, so nobody knows how old it is".into());
    };
    let apart = Duration::from_nanos(now.abs_diff(sent));
    if apart <= max_age {
        return Ok(());
    }
    let (is_no_age, apart, max_age) = (apart > NO_AGE, seconds(apart), format_duration(max_age));
    Err(if is_no_age {
        "`sent` is over a year from the time of the robot's clock: nanoseconds since 1970 are needed, 19 digits".into()
    } else if sent > now {
        format!("`sent` is {apart} ahead of the robot's clock, max_age is {max_age}: one of the clocks is wrong")
    } else {
        format!("it was sent {apart} ago by the robot's clock, max_age is {max_age}")
    })
}
