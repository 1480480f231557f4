//! Whether the configured rates alone are more than the quota of publishes allows.

use super::settings::{Settings, Topic};
use crate::tally::Frequency;

/// Topics that are named.
const NAMED: usize = 3;

impl Topic {
    /// The fewest publishes a second that its `rate` or `window` allows, at full batches; `None` without such a key. Of a
    /// pattern that is what each of its topics has.
    fn fewest_publishes(&self) -> Option<f64> {
        let records = match (self.rate, self.window) {
            (Some(rate), _) => rate,
            (None, Some(window)) => 1.0 / window.as_secs_f64(),
            (None, None) => return None,
        };
        Some(records / self.batch.map_or(1.0, |batch| batch.max.into()))
    }
}

impl Settings {
    /// What there is to say if the topics' rates, were they all used to the full, can't fit the quota of publishes: a
    /// sentence without its full stop. Topics without a rate are not known, and of a pattern one topic counts.
    ///
    /// For example, `/imu` at `"100 Hz"`, `/odom` at `"50 Hz"` and `/scan` at `"500 Hz"` in batches of 50 are 160 publishes
    /// a second, of the 100 that AWS IoT Core takes.
    pub fn rates_over_quota(&self) -> Option<String> {
        let quota = f64::from(self.mqtt.quotas.publishes_per_second?);
        let rates = self.topics.iter().filter_map(|topic| Some((topic.fewest_publishes()?, &topic.ros)));
        let mut rates: Vec<_> = rates.collect();
        let sum: f64 = rates.iter().map(|(rate, _)| rate).sum();
        if sum <= quota {
            return None;
        }
        rates.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let named: Vec<_> = rates.iter().take(NAMED).map(|(rate, ros)| format!("{ros} {}", Frequency(*rate))).collect();
        let more = match rates.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Some(format!(
            "The configured rates come to {} publishes a second, and mqtt.quotas.publishes_per_second allows {}: {}{more}; \
             lower a `rate`, or give the largest `batch = {{ max = 50 }}`",
            Frequency(sum),
            Frequency(quota),
            named.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::load_file;

    /// Settings with these topics: the ROS topic and more keys.
    fn settings(topics: &[(&str, &str)]) -> Settings {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        let topics: String =
            topics.iter().map(|(ros, more)| format!("[[topics]]\nros = \"{ros}\"\n{more}\n")).collect();
        let text = format!(
            "[aws]\nendpoint = \"localhost\"\nthing = \"robot1\"\ncertificate = \"-\"\nprivate_key = \"-\"\n{topics}"
        );
        std::fs::write(&path, text).unwrap();
        load_file(&path, []).unwrap().settings
    }

    /// Rates that can't fit are told with the largest, rates that can are not: batches count as their publishes, a window
    /// as one record, and what has no rate as nothing.
    #[test]
    fn rates_that_can_not_fit_are_told() {
        let topics = [
            ("/scan", "rate = \"500 Hz\"\nbatch = { max = 50 }"),
            ("/odom", "rate = \"50 Hz\""),
            ("/imu", "rate = \"100 Hz\""),
            ("/battery", "rate = \"0.5 Hz\""),
            ("/tf", ""),
        ];
        let mut all = settings(&topics);
        let expected = "The configured rates come to 160 publishes a second, and mqtt.quotas.publishes_per_second allows \
                        100: /imu 100, /odom 50, /scan 10 and 1 more; lower a `rate`, or give the largest `batch = { max \
                        = 50 }`";
        assert_eq!(all.rates_over_quota().as_deref(), Some(expected));
        all.mqtt.quotas.publishes_per_second = None;
        assert_eq!(all.rates_over_quota(), None);

        assert_eq!(settings(&[("/imu", "rate = \"100 Hz\""), ("/tf", "")]).rates_over_quota(), None);
        let mut windows = settings(&[("/imu", "rate = \"95 Hz\""), ("/joints", "")]);
        windows.topics[1].window = Some(Duration::from_millis(100));
        assert!(windows.rates_over_quota().is_some_and(|told| told.contains("come to 105 ")), "{windows:?}");
    }
}
