//! How long records take from their reception to their PUBACK.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Upper ends of the histogram's buckets in seconds: from what a good link takes to what an outage of a day leaves.
const BOUNDS: [f64; 16] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 600.0, 3_600.0, 86_400.0];

/// A histogram that is written by the uplink and read by whoever reports.
#[derive(Debug, Default)]
pub struct Latency {
    /// One count for each of [`BOUNDS`], and one for what took longer.
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum_us: AtomicU64,
}

/// A [`Latency`] at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// A record was acknowledged `took` after its reception.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub fn figures(&self) -> LatencyFigures {
        let bounds = BOUNDS.iter().copied().map(Some).chain([None]);
        let buckets = bounds.zip(&self.counts);
        LatencyFigures {
            buckets: buckets.map(|(at_most, count)| Bucket { at_most, count: count.load(Ordering::Relaxed) }).collect(),
            sum_seconds: Duration::from_micros(self.sum_us.load(Ordering::Relaxed)).as_secs_f64(),
        }
    }
}

impl LatencyFigures {
    /// Records that were measured.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| bucket.count).sum()
    }

    /// The smallest upper end below which at least `share` (0 to 1) of the records lie; `None` without records, or if
    /// they took longer than the last bound.
    pub fn within(&self, share: f64) -> Option<f64> {
        let wanted = share * self.count() as f64;
        let mut below = 0;
        let bucket = self.buckets.iter().find(|bucket| {
            below += bucket.count;
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
            latency.observe(Duration::from_millis(milliseconds));
        }
        let figures = latency.figures();
        let counts: Vec<_> = figures.buckets.iter().filter(|bucket| bucket.count > 0).cloned().collect();
        let bucket = |at_most, count| Bucket { at_most, count };
        assert_eq!(counts, [bucket(Some(0.005), 2), bucket(Some(0.01), 1), bucket(Some(0.05), 6), bucket(None, 1)]);
        assert_eq!((figures.count(), figures.sum_seconds), (10, 90_000.251));
        assert_eq!((figures.within(0.2), figures.within(0.5), figures.within(1.0)), (Some(0.005), Some(0.05), None));
    }
}
