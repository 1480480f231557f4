//! The [`Report`] as Prometheus reads it.
//!
//! Each family is named here, with what it means; the samples of counters have `_total` behind that name.

mod format;
mod host;
mod server;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::report::{Report, Topic};
use super::{DropReason, Reporter};

pub use server::serve;

/// A registry that asks `reporter` whenever it is read.
fn registry(reporter: Arc<Reporter>) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Metrics(reporter)));
    registry
}

#[derive(Debug)]
struct Metrics(Arc<Reporter>);

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let report = self.0.report();
        let mut families = Families(encoder);
        topics(&by_name(&report.topics), &mut families)?;
        queue(&report, &mut families)?;
        connection(&report, &mut families)
    }
}

/// One ROS topic, which may have several entries in the configuration.
#[derive(Default)]
struct Sum {
    received: u64,
    recovered: u64,
    dropped: [u64; DropReason::ALL.len()],
    queued: u64,
    in_flight: u64,
    acknowledged: u64,
    lost_in_dds: u64,
    publishes: u64,
    published_bytes: u64,
}

/// Two entries for one ROS topic would be two series of one name: they are added up.
fn by_name(topics: &[Topic]) -> BTreeMap<&str, Sum> {
    let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
    for topic in topics {
        let sum = sums.entry(&topic.ros).or_default();
        sum.received += topic.received;
        sum.recovered += topic.recovered;
        for (dropped, reason) in sum.dropped.iter_mut().zip(DropReason::ALL) {
            *dropped += topic.dropped.get(reason.label()).copied().unwrap_or_default();
        }
        sum.queued += topic.in_reception + topic.queued;
        sum.in_flight += topic.in_flight;
        sum.acknowledged += topic.acknowledged;
        sum.lost_in_dds += topic.lost_in_dds;
        sum.publishes += topic.published.publishes;
        sum.published_bytes += topic.published.bytes;
    }
    sums
}

fn topics(topics: &BTreeMap<&str, Sum>, families: &mut Families<'_>) -> fmt::Result {
    let each = |figure: fn(&Sum) -> u64| topics.iter().map(move |(name, sum)| ([("topic", *name)], figure(sum)));
    families.counters("iot_bridge_messages_received", "Messages taken from ROS.", each(|sum| sum.received))?;
    let help = "Messages that an earlier process left on the disk.";
    families.counters("iot_bridge_messages_recovered", help, each(|sum| sum.recovered))?;
    let dropped = topics.iter().flat_map(|(name, sum)| {
        let reasons = sum.dropped.iter().zip(DropReason::ALL);
        reasons.map(|(count, reason)| ([("topic", *name), ("reason", reason.label())], *count))
    });
    families.counters("iot_bridge_messages_dropped", "Messages that ended before they were acknowledged.", dropped)?;
    let help = "Messages acknowledged by the broker, or with QoS 0 handed to the connection.";
    families.counters("iot_bridge_messages_acknowledged", help, each(|sum| sum.acknowledged))?;
    let help = "Messages that were lost or overwritten in DDS before they could be received.";
    families.counters("iot_bridge_messages_lost_in_dds", help, each(|sum| sum.lost_in_dds))?;
    families.gauges("iot_bridge_topic_queued", "Messages that wait to be sent.", each(|sum| sum.queued))?;
    let help = "Messages that were sent and not acknowledged yet.";
    families.gauges("iot_bridge_topic_in_flight", help, each(|sum| sum.in_flight))?;
    let help =
        "Publishes that were handed to connections for this ROS topic, of a message or a batch, repetitions included.";
    families.counters("iot_bridge_topic_publishes", help, each(|sum| sum.publishes))?;
    let help = "Bytes of MQTT packets that were handed to connections for this ROS topic, repetitions included.";
    families.bytes("iot_bridge_topic_publish", help, each(|sum| sum.published_bytes))
}

fn queue(report: &Report, families: &mut Families<'_>) -> fmt::Result {
    let held = || {
        report.queue.lanes.iter().flat_map(|lane| {
            let places = lane.waiting.iter();
            places.map(|(place, held)| ([("lane", lane.lane.as_str()), ("where", place.label())], *held))
        })
    };
    let records = held().map(|(labels, held)| (labels, held.records));
    families.gauges("iot_bridge_queue_records", "Records that wait to be sent.", records)?;
    let bytes = held().map(|(labels, held)| (labels, held.bytes));
    families.gauges("iot_bridge_queue_bytes", "Bytes of the records that wait to be sent.", bytes)?;
    let help = "Records that were sent and not acknowledged yet.";
    families.gauge("iot_bridge_in_flight", help, report.queue.in_flight())?;
    let Some(disk) = &report.queue.disk else { return Ok(()) };
    let help = "Bytes of all files of the queue, those that are set aside included.";
    families.gauge("iot_bridge_queue_disk_bytes", help, disk.bytes)?;
    let help = "1 while the queue's disk works.";
    families.gauge("iot_bridge_queue_disk_works", help, u64::from(disk.trouble.is_none()))
}

fn connection(report: &Report, families: &mut Families<'_>) -> fmt::Result {
    let (connection, published) = (&report.connection, &report.published);
    let help = "Publishes handed to connections, repetitions included.";
    families.counter("iot_bridge_publishes", help, published.publishes)?;
    let help = "Bytes of MQTT packets handed to connections, repetitions included.";
    families.bytes("iot_bridge_publish", help, [([], published.bytes)])?;
    families.latency(report)?;
    let connected = u64::from(connection.phase.is_connected());
    families.gauge("iot_bridge_connected", "1 while the broker has accepted the connection.", connected)?;
    families.counter("iot_bridge_connections", "Connections that the broker has accepted.", connection.connections)?;
    let failures = connection.failures.iter().map(|(reason, count)| ([("reason", reason.as_str())], *count));
    let help = "Attempts to connect and connections that ended by a fault.";
    families.counters("iot_bridge_connection_failures", help, failures)?;
    let refused = connection.refused.iter().map(|(reason, count)| ([("reason", reason.as_str())], *count));
    let help = "Publishes that the broker refused, by reason code of MQTT 5.";
    families.counters("iot_bridge_publishes_refused", help, refused)?;
    report.certificate_expires.map_or(Ok(()), |at| families.certificate_expiry(at))
}

/// Writes families of metrics.
struct Families<'a>(DescriptorEncoder<'a>);

/// The labels of a series.
type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

impl Families<'_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.counters(name, help, [([], value)])
    }

    fn counters<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'l, N>, u64)>,
    ) -> fmt::Result {
        self.count(name, help, None, values)
    }

    /// A counter of bytes; `name` is without `_bytes`.
    fn bytes<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'l, N>, u64)>,
    ) -> fmt::Result {
        self.count(name, help, Some(&Unit::Bytes), values)
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

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.gauges(name, help, [([], value)])
    }

    fn gauges<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'l, N>, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            match N {
                0 => family.encode_gauge(&(value as f64))?,
                _ => family.encode_family(&labels)?.encode_gauge(&(value as f64))?,
            }
        }
        Ok(())
    }

    fn latency(&mut self, report: &Report) -> fmt::Result {
        let help = "From the reception of a message to its PUBACK.";
        let latency = &report.latency;
        let buckets: Vec<_> =
            latency.buckets.iter().map(|bucket| (bucket.at_most.unwrap_or(f64::INFINITY), bucket.count)).collect();
        let mut family = self.0.encode_descriptor(
            "iot_bridge_publish_latency",
            help,
            Some(&Unit::Seconds),
            MetricType::Histogram,
        )?;
        family.encode_histogram::<NoLabelSet>(latency.sum_seconds, latency.count(), &buckets, None)
    }

    fn certificate_expiry(&mut self, at: u64) -> fmt::Result {
        let (name, help) = ("iot_bridge_certificate_expiry_timestamp", "When the client certificate expires.");
        self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?.encode_gauge(&(at as f64))
    }
}
