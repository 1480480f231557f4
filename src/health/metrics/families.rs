//! Families of metrics as they are written.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use iot_bridge_core::tally::LatencyFigures;

/// Writes families of metrics. Each is called by the full name of its samples, as Prometheus shows it, so that the name can be
/// searched for; what the encoder adds to a name is taken off it here.
pub(super) struct Families<'a>(pub DescriptorEncoder<'a>);

/// The labels of a series.
pub(super) type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

/// `name` without `suffix`, which the encoder adds.
fn without<'n>(name: &'n str, suffix: &str) -> &'n str {
    let bare = name.strip_suffix(suffix);
    debug_assert!(bare.is_some(), "{name} has to end with {suffix}");
    bare.unwrap_or(name)
}

impl Families<'_> {
    /// A counter; `name` ends with `_total`.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.counters(name, help, [([], value)])
    }

    /// A counter with labels; `name` ends with `_total`.
    pub fn counters<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'l, N>, u64)>,
    ) -> fmt::Result {
        self.count(without(name, "_total"), help, None, values)
    }

    /// A counter of bytes; `name` ends with `_bytes_total`.
    pub fn bytes<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'l, N>, u64)>,
    ) -> fmt::Result {
        self.count(without(name, "_bytes_total"), help, Some(&Unit::Bytes), values)
    }

    fn count<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        values: impl IntoIterator<Item = (Labels<'l, N>, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        for (labels, value) in values {
            match N {
                // Else it has empty braces.
                0 => family.encode_counter::<NoLabelSet, _, u64>(&value, None)?,
                _ => family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?,
            }
        }
        Ok(())
    }

    pub fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.gauges(name, help, [([], value)])
    }

    pub fn gauges<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'l, N>, u64)>,
    ) -> fmt::Result {
        self.values(name, help, None, values)
    }

    /// A gauge of seconds, or of a moment in seconds since 1970; `name` ends with `_seconds`.
    pub fn seconds<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'l, N>, u64)>,
    ) -> fmt::Result {
        self.values(without(name, "_seconds"), help, Some(&Unit::Seconds), values)
    }

    fn values<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        values: impl IntoIterator<Item = (Labels<'l, N>, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (labels, value) in values {
            match N {
                0 => family.encode_gauge(&(value as f64))?,
                _ => family.encode_family(&labels)?.encode_gauge(&(value as f64))?,
            }
        }
        Ok(())
    }

    /// A histogram of seconds; `name` ends with `_seconds`.
    pub fn histogram(&mut self, name: &str, help: &str, latency: &LatencyFigures) -> fmt::Result {
        let buckets: Vec<_> =
            latency.buckets.iter().map(|bucket| (bucket.at_most.unwrap_or(f64::INFINITY), bucket.count)).collect();
        let name = without(name, "_seconds");
        let mut family = self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        family.encode_histogram::<NoLabelSet>(latency.sum_seconds, latency.count(), &buckets, None)
    }
}
