//! Warns of a client certificate that is about to expire: somebody has to replace the file before the robot is cut off.

use std::time::{Duration, Instant, SystemTime};

const DAY: Duration = Duration::from_secs(86_400);

/// How long before the end the warnings begin.
const NOTICE: Duration = Duration::from_secs(30 * 86_400);

/// How often the file is read again while a connection stands: it may have been replaced.
const READ_AGAIN: Duration = Duration::from_secs(3600);

/// The days that are left, if they are few enough to say so.
pub(super) fn days_left(expires: SystemTime, now: SystemTime) -> Option<u64> {
    let left = expires.duration_since(now).unwrap_or_default();
    (left <= NOTICE).then(|| left.as_secs() / DAY.as_secs())
}

/// What there is to say of it, if anything, as a sentence without its full stop.
pub(super) fn remark(expires: SystemTime, now: SystemTime) -> Option<String> {
    let days = days_left(expires, now)?;
    Some(match days {
        _ if expires <= now => "The client certificate has expired".to_owned(),
        0 => "The client certificate expires within a day".to_owned(),
        1 => "The client certificate expires in 1 day".to_owned(),
        days => format!("The client certificate expires in {days} days"),
    })
}

/// Keeps the log to one line a day, and knows when the file was read.
#[derive(Debug, Default)]
pub(super) struct ExpiryWatch {
    warned: Option<Instant>,
    read: Option<Instant>,
}

impl ExpiryWatch {
    /// The certificate has been read.
    pub fn has_read(&mut self, now: Instant) {
        self.read = Some(now);
    }

    /// Whether it is time to read the certificate again. Returns yes once.
    pub fn read_again(&mut self, now: Instant) -> bool {
        let due = self.read.is_none_or(|read| now.saturating_duration_since(read) >= READ_AGAIN);
        if due {
            self.read = Some(now);
        }
        due
    }

    /// Logs that the certificate expires, if it does so soon and that was not logged for a day.
    pub fn warn(&mut self, expires: SystemTime, now: SystemTime, clock: Instant) {
        let recently = self.warned.is_some_and(|warned| clock.saturating_duration_since(warned) < DAY);
        if let (Some(days), Some(remark), false) = (days_left(expires, now), remark(expires, now), recently) {
            self.warned = Some(clock);
            tracing::warn!(
                days,
                "{remark}. Replace its file, then `systemctl reload iot-bridge`; else it is taken at the next connection."
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From thirty days on, in whole days, and down to nothing.
    #[test]
    fn the_days_that_are_left_are_told_from_thirty_on() {
        let now = SystemTime::now();
        assert_eq!(days_left(now + 31 * DAY, now), None);
        assert_eq!(days_left(now + 30 * DAY, now), Some(30));
        assert_eq!(days_left(now + DAY + DAY / 2, now), Some(1));
        assert_eq!(days_left(now + DAY / 2, now), Some(0));
        assert_eq!(days_left(now - DAY, now), Some(0));
        let remarks = [DAY / 2, 3 * DAY / 2, 3 * DAY].map(|left| remark(now + left, now).unwrap_or_default());
        let ends = remarks.map(|remark| remark.rsplit_once("expires ").map(|(_, end)| end.to_owned()));
        assert_eq!(ends, ["within a day", "in 1 day", "in 3 days"].map(|end| Some(end.to_owned())));
        assert_eq!(remark(now, now), Some("The client certificate has expired".to_owned()));
    }

    /// Once a day, however often it is asked; the file is read once an hour.
    #[test]
    fn a_line_a_day_and_a_look_an_hour() {
        let (mut watch, now, start) = (ExpiryWatch::default(), SystemTime::now(), Instant::now());
        let (mut lines, mut looks) = (0, 0);
        for minute in 0..3 * 24 * 60 {
            let clock = start + Duration::from_secs(60 * minute);
            let before = watch.warned;
            watch.warn(now + 3 * DAY, now, clock);
            lines += u32::from(watch.warned != before);
            looks += u32::from(watch.read_again(clock));
        }
        assert_eq!((lines, looks), (3, 72));
        watch.warned = None;
        watch.warn(now + 31 * DAY, now, start);
        assert_eq!(watch.warned, None);
    }
}
