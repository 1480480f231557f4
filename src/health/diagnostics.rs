//! The [`Report`] as a `diagnostic_msgs/msg/DiagnosticArray`, for the tools that people look at robots with.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::report::{Configuration, Connection, Phase, Remote, Report, Request, State, Topic};
use crate::ros::another_definition;
use iot_bridge_core::codec::CdrWriter;
use iot_bridge_core::tally::counted;

/// Where every ROS diagnostics tool listens.
pub const TOPIC: &str = "/diagnostics";
pub const TYPE: &str = "diagnostic_msgs/msg/DiagnosticArray";

/// How often it is published: what `diagnostic_updater` does, and its aggregators expect.
pub const PERIOD: Duration = Duration::from_secs(1);

/// Before this, a certificate that expires is worth a warning.
const EXPIRES_SOON: u64 = 30 * 86_400;

/// How bad it is, as `diagnostic_msgs/msg/DiagnosticStatus` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Level {
    Ok = 0,
    /// Something is wrong, and nothing is lost by it.
    Warn = 1,
    /// Messages are lost, or somebody is needed.
    Error = 2,
}

/// One line of the array.
#[derive(Debug)]
struct Status {
    level: Level,
    name: String,
    message: String,
    values: Vec<(&'static str, String)>,
}

/// The serialized array that says how the bridge is, from the node `node`.
pub fn serialize(report: &Report, node: &str) -> Vec<u8> {
    let mut writer = CdrWriter::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    writer.write_i32(i32::try_from(now.as_secs()).unwrap_or(i32::MAX));
    writer.write_u32(now.subsec_nanos());
    writer.write_string("");
    let statuses = statuses(report);
    writer.write_length(statuses.len());
    for status in statuses {
        writer.write_u8(status.level as u8);
        writer.write_string(&format!("{node}: {}", status.name));
        writer.write_string(&status.message);
        writer.write_string(&report.thing);
        writer.write_length(status.values.len());
        for (key, value) in status.values {
            writer.write_string(key);
            writer.write_string(&value);
        }
    }
    writer.into_bytes()
}

fn statuses(report: &Report) -> Vec<Status> {
    let parts = [connection(report), certificate(report), configuration(report), queue(report)];
    let topics = report.topics.iter().map(topic);
    parts.into_iter().chain(topics).chain(report.requests.iter().map(request)).collect()
}

fn connection(report: &Report) -> Status {
    let Connection {
        phase,
        connections,
        failed_attempts,
        failures,
        last_fault,
        set_aside,
        refused_filters,
        missed,
        provisioning,
        other_thing,
        contested,
        slowed,
        mqtt,
        mqtt_because,
        broker_lacks: lacks,
        refused: _,
    } = &report.connection;
    let fault = last_fault.as_ref();
    let (level, message) = match (phase, fault) {
        _ if *contested => (Level::Error, "another client has the same client id".to_owned()),
        (Phase::Connected { .. }, _) if !set_aside.is_empty() => {
            (Level::Error, format!("the broker refuses publishes to {}", set_aside.join(", ")))
        }
        (Phase::Connected { .. }, _) if !refused_filters.is_empty() => {
            (Level::Error, format!("the broker refuses the subscription to {}", refused_filters.join(", ")))
        }
        (Phase::Connected { .. }, _) if !lacks.is_empty() => (Level::Warn, lacks.join(". ")),
        (Phase::Connected { .. }, _) if *slowed => {
            (Level::Warn, "the broker takes fewer publishes than the quotas".into())
        }
        (Phase::Connected { .. }, _) if let Some(other) = other_thing => {
            (Level::Warn, format!("the certificate is that of the thing {other}"))
        }
        (Phase::Connected { .. }, _) => (Level::Ok, "connected".to_owned()),
        (Phase::Draining | Phase::Stopped, _) => (Level::Ok, "stopping".to_owned()),
        (_, None) => (Level::Warn, "connecting".to_owned()),
        (_, Some(fault)) if fault.needs_somebody => (Level::Error, fault.sentence.clone()),
        (_, Some(fault)) => (Level::Warn, fault.sentence.clone()),
    };
    let mut values = vec![
        ("endpoint", report.endpoint.clone()),
        ("connections", connections.to_string()),
        ("failures", failures.values().sum::<u64>().to_string()),
        ("failed attempts since", failed_attempts.to_string()),
        ("publishes", report.published.publishes.to_string()),
        ("published bytes", report.published.bytes.to_string()),
        ("missed from the cloud", missed.to_string()),
    ];
    if let Some(version) = mqtt {
        let because = mqtt_because.as_ref().map(|why| format!(", because {why}")).unwrap_or_default();
        values.push(("MQTT", format!("{version}{because}")));
    }
    values.extend(provisioning.as_ref().map(|step| ("provisioning waits for", step.clone())));
    values.extend(fault.map(|fault| ("last fault", fault.sentence.clone())));
    Status { level, name: "connection".into(), message, values }
}

fn days(seconds: u64) -> String {
    counted(seconds / 86_400, "day", "days")
}

fn certificate(report: &Report) -> Status {
    let left = report.certificate_expires.map(|at| at.saturating_sub(report.at));
    let (level, message) = match left {
        // What prevents it from being read is the connection's fault.
        None => (Level::Ok, "not read yet".to_owned()),
        Some(0) => (Level::Error, "it has expired".to_owned()),
        Some(left) if left < EXPIRES_SOON => (Level::Warn, format!("it expires in {}", days(left))),
        Some(left) => (Level::Ok, format!("it is valid for another {}", days(left))),
    };
    let values = report.certificate_expires.map(|at| ("expires (seconds since 1970)", at.to_string()));
    Status { level, name: "certificate".into(), message, values: values.into_iter().collect() }
}

fn configuration(report: &Report) -> Status {
    let Configuration { loaded, refused, remote } = &report.configuration;
    let (level, message) = match (refused, remote.as_ref().and_then(Remote::trouble)) {
        // What somebody wanted is not what is done.
        (Some(refused), _) => (Level::Error, refused.sentence()),
        // Whoever desires it is told in the shadow.
        (None, Some(trouble)) => (Level::Warn, trouble),
        (None, None) => (Level::Ok, "in force".to_owned()),
    };
    let mut values = vec![("loaded (seconds since 1970)", loaded.to_string())];
    if let Some(Remote { in_force, .. }) = remote {
        values.push(("version in force", in_force.as_deref().unwrap_or("the local configuration").to_owned()));
    }
    Status { level, name: "configuration".into(), message, values }
}

fn queue(report: &Report) -> Status {
    let queue = &report.queue;
    let message = format!("{} waiting, {} in flight", queue.waiting(), queue.in_flight());
    let trouble = queue.disk.as_ref().and_then(|disk| disk.trouble.clone());
    // Nine tenths: what comes next is the disk, or loss.
    let full = |bytes: u64, bound: u64| bytes >= bound / 10 * 9;
    let is_full = queue.disk.as_ref().map_or_else(
        || full(queue.bytes(), queue.bound),
        |disk| full(disk.bytes, disk.bound) && full(queue.bytes(), queue.bound),
    );
    let (level, message) = match trouble {
        Some(trouble) => (Level::Error, trouble),
        None if let Some(behind) = &report.behind => (Level::Warn, behind.sentence()),
        None if is_full => (Level::Warn, message),
        None => (Level::Ok, message),
    };
    let mut values = vec![("bytes", queue.bytes().to_string()), ("bound in bytes", queue.bound.to_string())];
    values.extend(
        report.behind.iter().flat_map(|behind| &behind.advice).map(|advice| ("what would help", advice.clone())),
    );
    values.extend(queue.oldest().map(|at| ("age of the oldest in seconds", report.at.saturating_sub(at).to_string())));
    Status { level, name: "queue".into(), message, values }
}

fn topic(topic: &Topic) -> Status {
    let (level, message) = match &topic.state {
        State::Trouble { trouble } => (Level::Error, trouble.clone()),
        State::Subscribed { type_name, publishers, redefined: redefined @ 1.., .. } => {
            (Level::Error, another_definition(type_name, *redefined, *publishers))
        }
        State::Subscribed { unmatched: Some(unmatched), .. } => (Level::Error, unmatched.sentence()),
        State::Subscribed { incompatible: 1.., .. } => {
            (Level::Error, "nothing arrives from publishers with incompatible QoS".to_owned())
        }
        _ if topic.lost_per_second > 0.0 => (Level::Error, "messages are lost".to_owned()),
        _ if let Some(why) = &topic.silent => (Level::Warn, why.clone()),
        State::Unknown => (Level::Ok, "nobody publishes it yet".to_owned()),
        State::Replies => (Level::Ok, "sent when the cloud asks for something".to_owned()),
        State::Vanished => (Level::Ok, "nobody publishes it any more".to_owned()),
        State::Removed => (Level::Ok, "no longer configured; what is queued is still sent".to_owned()),
        State::Subscribed { publishers: 0, .. } => (Level::Ok, "nobody publishes it now".to_owned()),
        State::Subscribed { .. } => (Level::Ok, "forwarded".to_owned()),
    };
    let values = vec![
        ("MQTT topic", topic.mqtt.clone()),
        ("received", topic.received.to_string()),
        ("recovered from the disk", topic.recovered.to_string()),
        ("received per second", format!("{:.1}", topic.received_per_second)),
        ("acknowledged", topic.acknowledged.to_string()),
        ("queued", topic.queued.to_string()),
        ("in flight", topic.in_flight.to_string()),
        ("shaped", topic.shaped_in_all().to_string()),
        ("dropped", topic.dropped_in_all().to_string()),
        ("lost in DDS, at least", topic.lost_in_dds.to_string()),
        ("published bytes", topic.published.bytes.to_string()),
        ("published bytes per second", format!("{:.0}", topic.published_bytes_per_second)),
    ];
    Status { level, name: format!("topic {}", topic.ros), message, values }
}

/// That nobody on ROS takes requests is no fault: nodes come and go with what a robot is about to do.
fn request(request: &Request) -> Status {
    let Request { kind, mqtt, ros, peers, trouble, outcomes, last_refused, .. } = request;
    let (level, message) = match (trouble, peers) {
        (Some(trouble), _) => (Level::Warn, trouble.clone()),
        (None, _) if ros.is_empty() => (Level::Ok, "sets the configuration".to_owned()),
        (None, Some(0)) => (Level::Ok, format!("nobody takes it on {ros}")),
        (None, _) => (Level::Ok, format!("passed on to {ros}")),
    };
    let outcomes: Vec<_> = outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
    let mut values = vec![("requests", outcomes.join(", "))];
    values.extend(last_refused.as_ref().map(|last| ("last refused", format!("{}: {}", last.reason, last.detail))));
    Status { level, name: format!("{kind} {mqtt}"), message, values }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The status of a topic with these members of a report.
    fn status_of(members: Value) -> (Level, String) {
        let mut report = json!({
            "ros": "/odomm", "mqtt": "odomm", "received": 0, "recovered": 0, "dropped": {}, "in_reception": 0,
            "queued": 0, "in_flight": 0, "acknowledged": 0, "lost_in_dds": 0,
            "published": {"publishes": 0, "bytes": 0},
            "received_per_second": 0.0, "published_bytes_per_second": 0.0, "lost_per_second": 0.0,
        });
        let (Value::Object(report), Value::Object(members)) = (&mut report, members) else { panic!("objects") };
        report.extend(members);
        let status = topic(&serde_json::from_value(Value::Object(report.clone())).unwrap());
        (status.level, status.message)
    }

    /// A subscription that the broker refuses needs somebody; what was missed is counted.
    #[test]
    fn a_refused_subscription_is_an_error() {
        let mut report: Report = serde_json::from_str(include_str!("../../fuzz/seeds/status/connected.json")).unwrap();
        (report.connection.contested, report.connection.set_aside) = (false, Vec::new());
        let Status { level, message, values, .. } = connection(&report);
        let expected = (Level::Error, "the broker refuses the subscription to robots/robot1/cmd_vel");
        assert_eq!((level, message.as_str()), expected);
        assert!(values.contains(&("missed from the cloud", "3".to_owned())), "{values:?}");
    }

    /// What the cloud desires and is not in force is a warning: nothing is lost by it.
    #[test]
    fn a_configuration_that_was_rolled_back_is_a_warning() {
        let mut report: Report = serde_json::from_str(include_str!("../../fuzz/seeds/status/connected.json")).unwrap();
        report.configuration.refused = None;
        report.configuration.remote = Some(
            serde_json::from_value(json!({
                "shadow": "iot-bridge", "version": "7", "state": "rolled_back", "since": 1, "in_force": "6",
                "problems": ["Nothing was acknowledged within 2m."], "sections": ["topics"]
            }))
            .unwrap(),
        );
        let Status { level, message, values, .. } = configuration(&report);
        let expected =
            "The configuration 7 of the shadow iot-bridge was rolled back: Nothing was acknowledged within 2m";
        assert_eq!((level, message.as_str()), (Level::Warn, expected));
        assert!(values.contains(&("version in force", "6".to_owned())), "{values:?}");
    }

    #[test]
    fn silence_is_a_warning_and_another_definition_an_error() {
        let subscribed = |publishers, redefined| {
            json!({"state": "subscribed", "type": "a/msg/B", "publishers": publishers, "incompatible": 0,
                   "redefined": redefined})
        };
        assert_eq!(status_of(json!({"state": "unknown"})).0, Level::Ok);
        assert_eq!(status_of(subscribed(1, 0)).0, Level::Ok);
        let silent = status_of(json!({"state": "unknown", "silent": "Nobody publishes /odomm; there is /odom"}));
        assert_eq!(silent, (Level::Warn, "Nobody publishes /odomm; there is /odom".to_owned()));
        let (level, message) = status_of(subscribed(1, 2));
        assert_eq!(level, Level::Error);
        assert!(message.starts_with("2 of 3 publishers publish it with another definition of a/msg/B"), "{message}");
    }
}
