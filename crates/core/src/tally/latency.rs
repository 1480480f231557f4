//! How long records take from their reception to their PUBACK.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::sum;

/// Upper ends of the histogram's buckets in seconds: from what a good link takes to what an outage of a day leaves.
const BOUNDS: [f64; 16] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0, 3_600.0, 86_400.0];

/// What *the last minute* is, and in what steps it moves on.
const LATELY: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_secs(5);

/// One count for each of [`BOUNDS`], and one for what took longer.
type Counts<T> = [T; BOUNDS.len() + 1];

/// Two histograms, one since the start of the process and one of the last minute, that are written by the uplink and
/// read by whoever reports.
#[derive(Debug, Default)]
pub struct Latency {
    counts: Counts<AtomicU64>,
    sum_us: AtomicU64,
    lately: Mutex<VecDeque<Step>>,
}

/// What was acknowledged within a [`STEP`].
#[derive(Debug)]
struct Step {
    began: Instant,
    counts: Counts<u64>,
    sum_us: u64,
}

/// A histogram of latencies at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LatencyFigures {
    /// In the order of their upper ends, each counted by itself.
    pub buckets: Vec<Bucket>,
    /// All of them together.
    pub sum_seconds: f64,
}

/// Records that took longer than the bucket before, and at most `at_most` seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// Nothing in the last one, which has no upper end.
    pub at_most: Option<f64>,
    pub count: u64,
}

impl Latency {
    /// A record was acknowledged at `now`, `took` after its reception.
    pub fn observe(&self, took: Duration, now: Instant) {
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(took_us, Ordering::Relaxed);
        let mut steps = self.steps(now);
        if steps.back().is_none_or(|step| now.saturating_duration_since(step.began) >= STEP) {
            steps.push_back(Step { began: now, counts: Counts::default(), sum_us: 0 });
        }
        if let Some(step) = steps.back_mut()
            && let Some(count) = step.counts.get_mut(bucket)
        {
            *count += 1;
            step.sum_us = step.sum_us.saturating_add(took_us);
        }
    }

    /// All since the start of the process.
    pub fn figures(&self) -> LatencyFigures {
        let counts = self.counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        LatencyFigures::new(&counts, self.sum_us.load(Ordering::Relaxed))
    }

    /// Those acknowledged in the minute before `now`.
    pub fn last_minute(&self, now: Instant) -> LatencyFigures {
        let (mut counts, mut sum_us) = (Counts::default(), 0_u64);
        for step in &*self.steps(now) {
            counts.iter_mut().zip(step.counts).for_each(|(sum, count)| *sum += count);
            sum_us = sum_us.saturating_add(step.sum_us);
        }
        LatencyFigures::new(&counts, sum_us)
    }

    /// The steps that the minute before `now` holds in whole.
    fn steps(&self, now: Instant) -> std::sync::MutexGuard<'_, VecDeque<Step>> {
        let mut steps = self.lately.lock().unwrap_or_else(PoisonError::into_inner);
        while steps.front().is_some_and(|step| now.saturating_duration_since(step.began) > LATELY) {
            steps.pop_front();
        }
        steps
    }
}

impl LatencyFigures {
    fn new(counts: &Counts<u64>, sum_us: u64) -> Self {
        let bounds = BOUNDS.iter().copied().map(Some).chain([None]);
        let buckets = bounds.zip(counts).map(|(at_most, &count)| Bucket { at_most, count });
        LatencyFigures { buckets: buckets.collect(), sum_seconds: Duration::from_micros(sum_us).as_secs_f64() }
    }

    /// Records that were measured.
    pub fn count(&self) -> u64 {
        sum(self.buckets.iter().map(|bucket| bucket.count))
    }

    /// The smallest upper end below which at least `share` (0 to 1) of the records lie; `None` without records, or if
    /// they took longer than the last bound.
    pub fn within(&self, share: f64) -> Option<f64> {
        let wanted = share * self.count() as f64;
        let mut below: u64 = 0;
        let bucket = self.buckets.iter().find(|bucket| {
            below = below.saturating_add(bucket.count);
            below > 0 && below as f64 >= wanted
        })?;
        bucket.at_most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each record is in one bucket, the one whose upper end it does not pass; what is longer than all is counted too.
    #[test]
    fn every_record_is_in_its_bucket() {
        let latency = Latency::default();
        assert_eq!((latency.figures().count(), latency.figures().within(0.5)), (0, None));
        for milliseconds in [0, 5, 6, 40, 40, 40, 40, 40, 40, 90_000_000] {
            latency.observe(Duration::from_millis(milliseconds), Instant::now());
        }
        let figures = latency.figures();
        let counts: Vec<_> = figures.buckets.iter().filter(|bucket| bucket.count > 0).cloned().collect();
        let bucket = |at_most, count| Bucket { at_most, count };
        assert_eq!(counts, [bucket(Some(0.005), 2), bucket(Some(0.01), 1), bucket(Some(0.05), 6), bucket(None, 1)]);
        assert_eq!((figures.count(), figures.sum_seconds), (10, 90_000.251));
        assert_eq!((figures.within(0.2), figures.within(0.5), figures.within(1.0)), (Some(0.005), Some(0.05), None));
    }

    /// The last minute forgets an outage that all figures together remember.
    #[test]
    fn the_last_minute_forgets() {
        let (latency, start) = (Latency::default(), Instant::now());
        assert_eq!(latency.last_minute(start).count(), 0);
        for second in 0..300 {
            let took = if second < 100 { Duration::from_secs(300) } else { Duration::from_millis(40) };
            latency.observe(took, start + Duration::from_secs(second));
        }
        let at = |second| latency.last_minute(start + Duration::from_secs(second));
        let lately = at(299);
        assert!((55..=61).contains(&lately.count()), "{lately:?}");
        assert_eq!((lately.within(0.5), lately.within(0.99)), (Some(0.05), Some(0.05)));
        assert!((lately.sum_seconds - 0.04 * lately.count() as f64).abs() < 1e-6, "{lately:?}");
        assert_eq!((latency.figures().count(), latency.figures().within(0.99)), (300, Some(600.0)));
        assert_eq!(at(360).count(), 0);
    }
}
