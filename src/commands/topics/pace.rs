//! How often messages come, from the moments at which they came.

/// The messages of a topic within a time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    /// Those that came.
    count: u64,
    /// Those that were published and did not.
    lost: u64,
    /// When the first and the last came, nanoseconds since 1970.
    first: i64,
    last: i64,
    /// Between two of them.
    longest_gap: i64,
}

impl Pace {
    /// A message came at `at`.
    pub fn came(&mut self, at: i64) {
        if self.count == 0 {
            (self.first, self.last) = (at, at);
        }
        self.count += 1;
        self.longest_gap = self.longest_gap.max(at - self.last);
        self.last = self.last.max(at);
    }

    /// Some did not come.
    pub fn missed(&mut self, count: u64) {
        self.lost += count;
    }

    /// Messages a second, of a time from `from` to `to`.
    ///
    /// Of a topic that comes evenly, the time from the first to the last tells it: 10 s of 1 Hz may hold nine messages or
    /// eleven, but they are a second apart. Of one that comes in bursts, or that began or ended meanwhile, the number in the
    /// whole time does.
    pub fn hz(&self, from: i64, to: i64) -> f64 {
        let number = (self.count + self.lost) as f64;
        if self.count == 0 || to <= from {
            return 0.0;
        }
        let gaps = [self.longest_gap, self.first - from, to - self.last];
        let mean = (self.last - self.first) as f64 / (number - 1.0);
        let is_even = mean > 0.0 && gaps.into_iter().all(|gap| gap as f64 <= 2.0 * mean);
        let period = if is_even { mean } else { (to - from) as f64 / number };
        1e9 / period
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000_000;

    /// The pace of messages at `times`, in seconds of a time of ten.
    fn hz(times: impl IntoIterator<Item = f64>) -> f64 {
        let mut pace = Pace::default();
        times.into_iter().for_each(|time| pace.came(1000 * S + (time * S as f64) as i64));
        pace.hz(1000 * S, 1010 * S)
    }

    #[track_caller]
    fn assert_near(found: f64, wanted: f64) {
        assert!((found / wanted - 1.0).abs() < 0.01, "{found} is not {wanted}");
    }

    /// Whether ten messages fall into the ten seconds or nine: 1 Hz is 1 Hz.
    #[test]
    fn what_comes_evenly_is_told_by_its_period() {
        for start in [0.0, 0.05, 0.5, 0.99] {
            assert_near(hz((0..10).map(|at| start + f64::from(at)).filter(|at| *at <= 10.0)), 1.0);
        }
        assert_near(hz((0..9).map(|at| 0.99 + f64::from(at))), 1.0);
        assert_near(hz((0..5000).map(|at| 0.001 + f64::from(at) / 500.0)), 500.0);
        assert_near(hz([2.0, 9.0]), 1.0 / 7.0);
    }

    /// A burst, a topic that ended, a pause of a busy machine.
    #[test]
    fn what_does_not_is_told_by_its_number() {
        assert_near(hz((0..10).map(|at| f64::from(at) / 1000.0)), 1.0);
        assert_near(hz((0..50).map(|at| f64::from(at) / 50.0)), 5.0);
        assert_near(
            hz((0..2).flat_map(|burst| (0..10).map(move |at| f64::from(burst) * 5.0 + f64::from(at) / 1e3))),
            2.0,
        );
        let pause = (0..1000).map(|at| f64::from(at) / 100.0).map(|at| if (4.0..4.5).contains(&at) { 4.5 } else { at });
        assert_near(hz(pause), 100.0);
    }

    #[test]
    fn nothing_is_no_rate_and_one_message_is_one_in_the_time() {
        assert_eq!(hz([]), 0.0);
        assert_near(hz([3.0]), 0.1);
        assert_near(hz([3.0, 3.0]), 0.2);
    }

    /// What was lost on the way was published.
    #[test]
    fn what_was_lost_counts() {
        let mut pace = Pace::default();
        for at in 0..500 {
            pace.came(at * 20 * S / 1000);
            pace.missed(1);
        }
        assert_near(pace.hz(0, 10 * S), 100.0);
    }
}
