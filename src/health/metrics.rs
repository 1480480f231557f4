//! The [`Report`] as Prometheus reads it.
//!
//! Each metric has here the name that Prometheus shows, with what it means. Of OpenMetrics a counter's family lacks `_total`.

mod families;
mod format;
mod host;
mod server;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;

use super::Reporter;
use super::report::{Configuration, Place, Report, Request, State, Topic};
use super::topic::is_sent_to;
use families::Families;
use iot_bridge_core::tally::{DropReason, ShapedReason};

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
        process(&report, &mut families)?;
        topics(&by_name(&report.topics, &report.connection.set_aside), &mut families)?;
        queue(&report, &mut families)?;
        configuration(&report, &mut families)?;
        requests(&report, &mut families)?;
        connection(&report, &mut families)
    }
}

fn process(report: &Report, families: &mut Families<'_>) -> fmt::Result {
    let build = [([("version", report.version.as_str())], 1)];
    families.gauges("iot_bridge_build_info", "The version of the program; always 1.", build)?;
    let help = "When the process started, in seconds since 1970.";
    families.seconds("process_start_time_seconds", help, [([], report.started)])
}

/// One ROS topic, which may have several entries in the configuration.
#[derive(Default)]
struct Sum {
    /// Entries, and those of them that are subscribed.
    entries: u64,
    subscribed: u64,
    in_trouble: bool,
    set_aside: bool,
    publishers: u64,
    incompatible: u64,
    redefined: u64,
    received: u64,
    recovered: u64,
    shaped: [u64; ShapedReason::ALL.len()],
    dropped: [u64; DropReason::ALL.len()],
    queued: u64,
    in_flight: u64,
    acknowledged: u64,
    lost_in_dds: u64,
    publishes: u64,
    published_bytes: u64,
}

/// Two entries for one ROS topic would be two series of one name: they are added up.
fn by_name<'a>(topics: &'a [Topic], set_aside: &[String]) -> BTreeMap<&'a str, Sum> {
    let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
    for topic in topics {
        let sum = sums.entry(&topic.ros).or_default();
        sum.entries += u64::from(!matches!(topic.state, State::Removed | State::Vanished | State::Replies));
        sum.in_trouble |= matches!(topic.state, State::Trouble { .. });
        sum.set_aside |= set_aside.iter().any(|mqtt| goes_to(topic, mqtt));
        if let State::Subscribed { publishers, incompatible, redefined, unmatched, .. } = topic.state {
            let incompatible = incompatible + unmatched.map_or(0, |unmatched| unmatched.publishers);
            sum.subscribed += 1;
            sum.publishers = sum.publishers.max(publishers as u64);
            sum.incompatible = sum.incompatible.max(incompatible as u64);
            sum.redefined = sum.redefined.max(redefined as u64);
        }
        if topic.is_counted_before {
            continue;
        }
        sum.received += topic.received;
        sum.recovered += topic.recovered;
        for (shaped, reason) in sum.shaped.iter_mut().zip(ShapedReason::ALL) {
            *shaped += topic.shaped.get(reason.label()).copied().unwrap_or_default();
        }
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

/// Whether `topic` is published to `mqtt`.
fn goes_to(topic: &Topic, mqtt: &str) -> bool {
    let type_name = match &topic.state {
        State::Subscribed { type_name, .. } => Some(type_name.as_str()),
        _ => None,
    };
    is_sent_to(&topic.mqtt, type_name, mqtt)
}

fn topics(topics: &BTreeMap<&str, Sum>, families: &mut Families<'_>) -> fmt::Result {
    let each = |figure: fn(&Sum) -> u64| topics.iter().map(move |(name, sum)| ([("topic", *name)], figure(sum)));
    families.counters("iot_bridge_messages_received_total", "Messages taken from ROS.", each(|sum| sum.received))?;
    let help = "Messages that an earlier process left on the disk.";
    families.counters("iot_bridge_messages_recovered_total", help, each(|sum| sum.recovered))?;
    let shaped = topics.iter().flat_map(|(name, sum)| {
        let reasons = sum.shaped.iter().zip(ShapedReason::ALL);
        reasons.map(|(count, reason)| ([("topic", *name), ("reason", reason.label())], *count))
    });
    let help = "Messages that do not travel because the configuration says so; nothing is lost by it.";
    families.counters("iot_bridge_messages_shaped_total", help, shaped)?;
    let dropped = topics.iter().flat_map(|(name, sum)| {
        let reasons = sum.dropped.iter().zip(DropReason::ALL);
        reasons.map(|(count, reason)| ([("topic", *name), ("reason", reason.label())], *count))
    });
    families.counters(
        "iot_bridge_messages_dropped_total",
        "Messages that ended before they were acknowledged.",
        dropped,
    )?;
    let help = "Messages acknowledged by the broker, or with QoS 0 handed to the connection.";
    families.counters("iot_bridge_messages_acknowledged_total", help, each(|sum| sum.acknowledged))?;
    let help = "Messages that were lost or overwritten in DDS before they could be received; at least so many.";
    families.counters("iot_bridge_messages_lost_in_dds_total", help, each(|sum| sum.lost_in_dds))?;
    let standing = |figure: fn(&Sum) -> u64| {
        let configured = topics.iter().filter(|(_, sum)| sum.entries > 0);
        configured.map(move |(name, sum)| ([("topic", *name)], figure(sum)))
    };
    let help = "1 while the topic is subscribed, under each of its entries.";
    families.gauges("iot_bridge_topic_subscribed", help, standing(|sum| u64::from(sum.subscribed == sum.entries)))?;
    let help = "Publishers from which the topic is received.";
    families.gauges("iot_bridge_topic_publishers", help, standing(|sum| sum.publishers))?;
    let help = "Publishers of the topic from which nothing arrives, because DDS does not let them: most offer less QoS than is configured.";
    families.gauges("iot_bridge_topic_publishers_incompatible", help, standing(|sum| sum.incompatible))?;
    let help = "Publishers of the topic that are not received, because they have another definition of its type.";
    families.gauges("iot_bridge_topic_publishers_redefined", help, standing(|sum| sum.redefined))?;
    let help = "1 while the topic is not received for a reason that a person has to read, in the status or the log.";
    families.gauges("iot_bridge_topic_in_trouble", help, standing(|sum| u64::from(sum.in_trouble)))?;
    let help = "1 while the broker refuses publishes of the topic, which wait for it to take them.";
    families.gauges("iot_bridge_topic_set_aside", help, standing(|sum| u64::from(sum.set_aside)))?;
    families.gauges("iot_bridge_topic_queued", "Messages that wait to be sent.", each(|sum| sum.queued))?;
    let help = "Messages that were sent and not acknowledged yet.";
    families.gauges("iot_bridge_topic_in_flight", help, each(|sum| sum.in_flight))?;
    let help =
        "Publishes that were handed to connections for this ROS topic, of a message or a batch, repetitions included.";
    families.counters("iot_bridge_topic_publishes_total", help, each(|sum| sum.publishes))?;
    let help = "Bytes of MQTT packets that were handed to connections for this ROS topic, repetitions included.";
    families.bytes("iot_bridge_topic_publish_bytes_total", help, each(|sum| sum.published_bytes))
}

fn requests(report: &Report, families: &mut Families<'_>) -> fmt::Result {
    let outcomes = report.requests.iter().flat_map(|entry| {
        let outcomes = entry.outcomes.iter();
        outcomes.map(|(outcome, count)| ([("command", entry.mqtt.as_str()), ("outcome", outcome.as_str())], *count))
    });
    let help = "What the cloud has asked for, by the MQTT topic of the configuration and what has become of it.";
    families.counters("iot_bridge_commands_total", help, outcomes)?;
    let standing = |figure: fn(&Request) -> Option<u64>| {
        report.requests.iter().filter_map(move |entry| Some(([("command", entry.mqtt.as_str())], figure(entry)?)))
    };
    let help = "Subscribers and servers on ROS that take what the cloud asks for.";
    families.gauges("iot_bridge_command_peers", help, standing(|entry| entry.peers.map(|peers| peers as u64)))?;
    let help = "1 while somebody on ROS does not get what the cloud asks for, as the status or the log says.";
    families.gauges("iot_bridge_command_in_trouble", help, standing(|entry| Some(u64::from(entry.trouble.is_some()))))
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
    let age = |at: u64| report.at.saturating_sub(at);
    let ages = report.queue.lanes.iter().map(|lane| ([("lane", lane.lane.as_str())], lane.oldest.map_or(0, age)));
    let help = "For how long the oldest record has waited or been in flight; 0 without one.";
    families.seconds("iot_bridge_queue_oldest_age_seconds", help, ages)?;
    let help = "Records that are not on the disk, waiting or in flight: what a power cut would take.";
    families.gauge("iot_bridge_queue_memory_only_records", help, report.queue.memory_only())?;
    let help = "Bytes of all records in memory, waiting and in flight.";
    families.gauge("iot_bridge_queue_memory_bytes", help, report.queue.bytes())?;
    let disk = report.queue.disk.as_ref();
    let bounds = [(Place::Memory, Some(report.queue.bound)), (Place::Disk, disk.map(|disk| disk.bound))];
    let bounds = bounds.into_iter().filter_map(|(place, bound)| Some(([("where", place.label())], bound?)));
    let help = "The configured bounds of iot_bridge_queue_memory_bytes and iot_bridge_queue_disk_bytes.";
    families.gauges("iot_bridge_queue_bound_bytes", help, bounds)?;
    let Some(disk) = disk else { return Ok(()) };
    let help = "Bytes of all files of the queue, those that are set aside included.";
    families.gauge("iot_bridge_queue_disk_bytes", help, disk.bytes)?;
    let help = "1 while the queue's disk works.";
    families.gauge("iot_bridge_queue_disk_works", help, u64::from(disk.trouble.is_none()))
}

fn configuration(report: &Report, families: &mut Families<'_>) -> fmt::Result {
    let Configuration { loaded, refused, remote } = &report.configuration;
    let help = "0 while the configuration that was reloaded last is not in force, because it was refused.";
    families.gauge("iot_bridge_config_reload_successful", help, u64::from(refused.is_none()))?;
    let help = "When the configuration in force was loaded, at the start or by a reload, in seconds since 1970.";
    families.seconds("iot_bridge_config_last_reload_success_timestamp_seconds", help, [([], *loaded)])?;
    let Some(remote) = remote else { return Ok(()) };
    let help = "0 while what is desired in the shadow of the configuration is not in force, because it was rejected or rolled back.";
    families.gauge("iot_bridge_config_remote_successful", help, u64::from(remote.trouble().is_none()))
}

fn connection(report: &Report, families: &mut Families<'_>) -> fmt::Result {
    let (connection, published) = (&report.connection, &report.published);
    let help = "Publishes handed to connections, repetitions included.";
    families.counter("iot_bridge_publishes_total", help, published.publishes)?;
    let help = "Bytes of MQTT packets handed to connections, repetitions included.";
    families.bytes("iot_bridge_publish_bytes_total", help, [([], published.bytes)])?;
    let help = "From the reception of a message to its PUBACK, waits in the queue included.";
    families.histogram("iot_bridge_publish_latency_seconds", help, &report.latency)?;
    let connected = u64::from(connection.phase.is_connected());
    families.gauge("iot_bridge_connected", "1 while the broker has accepted the connection.", connected)?;
    families.counter(
        "iot_bridge_connections_total",
        "Connections that the broker has accepted.",
        connection.connections,
    )?;
    let failures = connection.failures.iter().map(|(reason, count)| ([("reason", reason.as_str())], *count));
    let help = "Attempts to connect and connections that ended by a fault.";
    families.counters("iot_bridge_connection_failures_total", help, failures)?;
    let refused = connection.refused.iter().map(|(reason, count)| ([("reason", reason.as_str())], *count));
    let help = "Publishes that the broker refused, by reason code of MQTT 5.";
    families.counters("iot_bridge_publishes_refused_total", help, refused)?;
    let help = "Filters that the broker refuses to subscribe the bridge to, so that nothing comes from there.";
    families.gauge("iot_bridge_subscriptions_refused", help, connection.refused_filters.len() as u64)?;
    let help = "Messages from the cloud that came faster than they were handled, and were not taken.";
    families.counter("iot_bridge_arrivals_missed_total", help, connection.missed)?;
    let fault = connection.last_fault.as_ref().filter(|_| !connection.phase.is_connected());
    let help = "1 while there is no connection for a reason that stays until somebody mends something.";
    let needs_somebody = fault.is_some_and(|fault| fault.needs_somebody);
    families.gauge("iot_bridge_connection_needs_somebody", help, u64::from(needs_somebody))?;
    let help = "1 while another client seems to have the same client id.";
    families.gauge("iot_bridge_client_id_contested", help, u64::from(connection.contested))?;
    let help = "1 while the broker takes fewer publishes than mqtt.quotas allow.";
    families.gauge("iot_bridge_slowed", help, u64::from(connection.slowed))?;
    let help = "1 while more is offered than may leave, and what waits grows.";
    families.gauge("iot_bridge_behind", help, u64::from(report.behind.is_some()))?;
    let help = "When the client certificate expires, in seconds since 1970; none before one could be read.";
    let expires = report.certificate_expires.map(|at| ([], at));
    families.seconds("iot_bridge_certificate_expiry_timestamp_seconds", help, expires)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the broker refuses is told of the ROS topic that goes there, and of no other.
    #[test]
    fn a_ros_topic_is_known_by_its_mqtt_topic() {
        let topic = |mqtt: &str, state: State| Topic {
            ros: "/odom".into(),
            mqtt: mqtt.into(),
            state,
            ..serde_json::from_str(TOPIC).expect("a topic")
        };
        let subscribed = || State::Subscribed {
            type_name: "a/msg/B".into(),
            publishers: 1,
            incompatible: 0,
            redefined: 0,
            unmatched: None,
        };
        for (configured, refused, is_it) in [
            ("robots/r/odom", "robots/r/odom", true),
            ("robots/r/odom", "robots/r/odom/zstd", true),
            ("robots/r/odom", "robots/r/odom/raw", false),
            ("robots/r/odom", "robots/r/odometry", false),
            ("robots/r/{type}", "robots/r/a/msg/B/gzip", true),
            ("robots/r/{type}", "robots/r/a/msg/C", false),
        ] {
            assert_eq!(goes_to(&topic(configured, subscribed()), refused), is_it, "{configured} {refused}");
        }
        assert!(!goes_to(&topic("robots/r/{type}", State::Unknown), "robots/r/a/msg/B"));
    }

    /// A topic with nothing but publishers of another definition is not one that nobody publishes.
    #[test]
    fn publishers_are_counted_by_what_becomes_of_theirs() {
        let unmatched = Some(crate::ros::Unmatched { publishers: 2, why: crate::ros::Mismatch::UnnamedPolicy });
        let state =
            State::Subscribed { type_name: "a/msg/B".into(), publishers: 0, incompatible: 1, redefined: 2, unmatched };
        let topic = Topic { ros: "/odom".into(), state, ..serde_json::from_str(TOPIC).expect("a topic") };
        let topics = [topic];
        let sum = &by_name(&topics, &[])["/odom"];
        assert_eq!((sum.publishers, sum.incompatible, sum.redefined), (0, 3, 2));
    }

    /// What two entries of the configuration count together is summed once.
    #[test]
    fn what_is_counted_together_is_summed_once() {
        let topic = |is_counted_before| Topic {
            ros: "/odom".into(),
            received: 5,
            is_counted_before,
            ..serde_json::from_str(TOPIC).expect("a topic")
        };
        let topics = [topic(false), topic(true)];
        let sum = &by_name(&topics, &[])["/odom"];
        assert_eq!((sum.entries, sum.received), (2, 5));
    }

    const TOPIC: &str = r#"{"ros":"","mqtt":"","state":"unknown","received":0,"recovered":0,"dropped":{},"in_reception":0,
        "queued":0,"in_flight":0,"acknowledged":0,"lost_in_dds":0,"published":{"publishes":0,"bytes":0},
        "received_per_second":0.0,"published_bytes_per_second":0.0,"lost_per_second":0.0}"#;
}
