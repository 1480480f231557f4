//! The status for people.

use std::fmt::{self, Display, Formatter};

use super::requests::requests;
use crate::health::Report;
use crate::health::report::{Pattern, Phase, Remote, RemoteState, State, Topic};
use crate::ros::another_definition;
use iot_bridge_core::tally::{Bytes, Span, counted, sum};

/// Shows a report as text of some lines, the last line feed included.
pub(super) struct View<'a>(pub &'a Report);

impl Display for View<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let report = self.0;
        writeln!(
            f,
            "iot-bridge {}: {} to {}, running for {}",
            report.version,
            report.thing,
            report.endpoint,
            Span(report.at.saturating_sub(report.started))
        )?;
        connection(report, f)?;
        if let Some(refused) = &report.configuration.refused {
            writeln!(f, "Refused      {}", refused.sentence())?;
        }
        report.configuration.remote.as_ref().map_or(Ok(()), |of_cloud| remote(of_cloud, report.at, f))?;
        certificate(report, f)?;
        queue(report, f)?;
        behind(report, f)?;
        published(report, f)?;
        topics(report, f)?;
        requests(&report.requests, report.at, f)
    }
}

/// The configuration from the cloud.
fn remote(remote: &Remote, at: u64, f: &mut Formatter<'_>) -> fmt::Result {
    let Remote { shadow, version, job: _, state, since, problems, in_force, sections } = remote;
    let span = Span(at.saturating_sub(*since));
    let in_force =
        in_force.as_ref().map_or("the local configuration".to_owned(), |version| format!("version {version}"));
    let sets = if sections.is_empty() { String::new() } else { format!(", which sets {}", sections.join(", ")) };
    let desired = match version {
        Some(version) => format!("version {version} of {}", remote.source()),
        None => format!("what is desired in {}", remote.source()),
    };
    write!(f, "Remote       ")?;
    match state {
        RemoteState::Unknown => {
            writeln!(f, "the shadow {shadow} has not been heard yet; {in_force} is in force{sets}")?;
        }
        RemoteState::Trial => writeln!(f, "{desired} is on trial for {span}{sets}")?,
        RemoteState::Applied if version.is_none() => {
            writeln!(f, "nothing is desired in the shadow {shadow}; {in_force} is in force")?;
        }
        RemoteState::Applied => writeln!(f, "{desired} is in force for {span}{sets}")?,
        RemoteState::Rejected => {
            writeln!(f, "{desired} was rejected {span} ago; {in_force} is in force{sets}")?;
        }
        RemoteState::RolledBack => {
            writeln!(f, "{desired} was rolled back {span} ago; {in_force} is in force{sets}")?;
        }
    }
    problems.iter().try_for_each(|problem| writeln!(f, "  {problem}"))
}

fn connection(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    let connection = &report.connection;
    write!(f, "Connection   ")?;
    match connection.phase {
        Phase::Connecting => write!(f, "connecting")?,
        Phase::Connected { since } => write!(f, "connected for {}", Span(report.at.saturating_sub(since)))?,
        Phase::Waiting { next_attempt } => match next_attempt.saturating_sub(report.at) {
            0 => write!(f, "not connected, next attempt at once")?,
            seconds => write!(f, "not connected, next attempt in {}", Span(seconds))?,
        },
        Phase::Draining => write!(f, "stopping, sending what is queued")?,
        Phase::Stopped => write!(f, "stopped")?,
    }
    let (made, failed) = (connection.connections, connection.failed_attempts);
    write!(f, "; {}", counted(made, "connection since the start", "connections since the start"))?;
    if failed > 0 {
        let since = if made > 0 { " since the last" } else { "" };
        write!(f, ", {}{since}", counted(failed, "failed attempt", "failed attempts"))?;
    }
    writeln!(f)?;
    if let Some(version) = connection.mqtt {
        let because = connection.mqtt_because.as_ref().map(|why| format!(", because {why}")).unwrap_or_default();
        writeln!(f, "MQTT         {version}{because}")?;
    }
    if let Some(step) = &connection.provisioning {
        writeln!(f, "Provisioning waiting for {step}")?;
    }
    if let Some(other) = &connection.other_thing {
        writeln!(f, "Thing        the certificate is that of {other}, not of aws.thing")?;
    }
    if connection.contested {
        writeln!(f, "Client id    another client seems to have the same")?;
    }
    for topic in &connection.set_aside {
        writeln!(f, "Set aside    {topic}: the broker refuses publishes to it")?;
    }
    for filter in &connection.refused_filters {
        writeln!(f, "Refused      the subscription to {filter}: nothing comes from there")?;
    }
    if connection.missed > 0 {
        let missed = counted(connection.missed, "message", "messages");
        writeln!(f, "Missed       {missed} from the cloud, which came faster than they were handled")?;
    }
    if connection.slowed {
        writeln!(f, "Slowed       the broker takes fewer publishes than mqtt.quotas allow")?;
    }
    for lack in &connection.broker_lacks {
        writeln!(f, "Broker       {lack}")?;
    }
    if !connection.refused.is_empty() {
        let refused: Vec<_> =
            connection.refused.iter().map(|(reason, count)| format!("{count} with {reason}")).collect();
        writeln!(f, "Refused      publishes, by reason: {}", refused.join(", "))?;
    }
    if let Some(fault) = &connection.last_fault {
        writeln!(f, "Last fault   {} ago: {}", Span(report.at.saturating_sub(fault.at)), fault.sentence)?;
    }
    Ok(())
}

fn certificate(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    match report.certificate_expires {
        None if report.connection.last_fault.is_some() => writeln!(f, "Certificate  could not be read yet"),
        None => writeln!(f, "Certificate  not read yet"),
        Some(at) if at < report.at => writeln!(f, "Certificate  expired {} ago", Span(report.at - at)),
        Some(at) => writeln!(f, "Certificate  expires in {}", Span(at - report.at)),
    }
}

fn queue(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    let queue = &report.queue;
    write!(
        f,
        "Queue        {} waiting, {} in flight, {} of {}",
        queue.waiting(),
        queue.in_flight(),
        Bytes(queue.bytes() as f64),
        Bytes(queue.bound as f64)
    )?;
    if let Some(oldest) = queue.oldest() {
        write!(f, "; the oldest for {}", Span(report.at.saturating_sub(oldest)))?;
    }
    writeln!(f)?;
    if let Some(disk) = &queue.disk {
        write!(f, "Disk         {} of {}", Bytes(disk.bytes as f64), Bytes(disk.bound as f64))?;
        write!(f, "; a power cut would take {}", counted(queue.memory_only(), "record", "records"))?;
        writeln!(f, "{}", disk.trouble.as_ref().map(|trouble| format!("; {trouble}")).unwrap_or_default())?;
    }
    for lane in queue.lanes.iter().filter(|lane| lane.oldest.is_some()) {
        write!(f, "  {:<11}", lane.lane)?;
        for (place, held) in &lane.waiting {
            write!(f, "{} in {} ({}), ", held.records, place.label(), Bytes(held.bytes as f64))?;
        }
        writeln!(f, "{} in flight ({})", lane.in_flight.records, Bytes(lane.in_flight.bytes as f64))?;
    }
    Ok(())
}

fn behind(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    let Some(behind) = &report.behind else { return Ok(()) };
    writeln!(f, "Behind       for {}. {}", Span(report.at.saturating_sub(behind.since)), behind.sentence())?;
    for advice in &behind.advice {
        writeln!(f, "  {advice}")?;
    }
    Ok(())
}

/// The topics, of those that are counted together one.
fn counted_once(report: &Report) -> impl Iterator<Item = &Topic> {
    report.topics.iter().filter(|topic| !topic.is_counted_before)
}

fn published(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    let published = &report.published;
    let rate: f64 = counted_once(report).map(|topic| topic.published_bytes_per_second).sum();
    write!(
        f,
        "Published    {}{}, {}, {}/s now",
        counted(published.publishes, "publish", "publishes"),
        messages_each(report),
        Bytes(published.bytes as f64),
        Bytes(rate)
    )?;
    writeln!(f)?;
    latency(report, f)
}

/// What was acknowledged in the last minute says how it is now; an outage before it is over.
fn latency(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    let latency = &report.latency_last_minute;
    if latency.count() == 0 {
        return Ok(());
    }
    let [half, most] = [0.5, 0.99].map(|share| latency.within(share));
    writeln!(
        f,
        "Latency      from ROS to PUBACK, waits in the queue included, in the last minute: half within {}, 99 % within {}",
        AtMost(half),
        AtMost(most)
    )
}

/// How many messages travel in a publish, if it is more than one.
fn messages_each(report: &Report) -> String {
    let acknowledged = sum(counted_once(report).map(|topic| topic.acknowledged));
    match acknowledged as f64 / report.published.publishes.max(1) as f64 {
        each if each >= 1.05 => format!(" of {each:.1} messages"),
        _ => String::new(),
    }
}

const HEADINGS: [&str; 9] =
    ["Topic", "msgs/s", "bytes/s", "received", "acknowledged", "queued", "in flight", "dropped", "published"];

fn topics(report: &Report, f: &mut Formatter<'_>) -> fmt::Result {
    for Pattern { ros, limit, topics, waiting } in &report.patterns {
        write!(f, "Pattern      {ros}: {}", counted(*topics as u64, "topic", "topics"))?;
        if *waiting > 0 {
            write!(f, ", {waiting} more beyond its limit of {limit}")?;
        }
        writeln!(f)?;
    }
    let rows: Vec<[String; HEADINGS.len()]> = report.topics.iter().map(row).collect();
    let width = |column: usize| {
        rows.iter().map(|row| row[column].chars().count()).chain([HEADINGS[column].len()]).max().unwrap_or_default()
    };
    let widths: [usize; HEADINGS.len()] = std::array::from_fn(width);
    writeln!(f)?;
    line(&HEADINGS.map(str::to_owned), &widths, f)?;
    for (row, topic) in rows.iter().zip(&report.topics) {
        line(row, &widths, f)?;
        remarks(topic, f)?;
    }
    Ok(())
}

fn row(topic: &Topic) -> [String; HEADINGS.len()] {
    [
        topic.ros.clone(),
        format!("{:.1}", topic.received_per_second),
        Bytes(topic.published_bytes_per_second).to_string(),
        topic.received.to_string(),
        topic.acknowledged.to_string(),
        topic.queued.to_string(),
        topic.in_flight.to_string(),
        topic.dropped_in_all().to_string(),
        Bytes(topic.published.bytes as f64).to_string(),
    ]
}

/// Names to the left, figures to the right.
fn line<const N: usize>(cells: &[String; N], widths: &[usize; N], f: &mut Formatter<'_>) -> fmt::Result {
    for (column, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        match column {
            0 => write!(f, "{cell:<width$}")?,
            _ => write!(f, "  {cell:>width$}")?,
        }
    }
    writeln!(f)
}

/// What the figures of a topic do not say.
fn remarks(topic: &Topic, f: &mut Formatter<'_>) -> fmt::Result {
    match &topic.state {
        State::Trouble { trouble } => writeln!(f, "  {trouble}")?,
        _ if let Some(why) = &topic.silent => writeln!(f, "  {why}")?,
        State::Unknown => writeln!(f, "  nobody publishes it yet")?,
        State::Replies => {}
        State::Vanished => writeln!(f, "  nobody publishes it any more")?,
        State::Removed => writeln!(f, "  no longer configured; what is queued is still sent")?,
        State::Subscribed { publishers: 0, incompatible: 0, redefined: 0, unmatched: None, .. } => {
            writeln!(f, "  nobody publishes it now")?;
        }
        State::Subscribed { type_name, publishers, incompatible, redefined, unmatched } => {
            if let Some(unmatched) = unmatched {
                writeln!(f, "  {}", unmatched.sentence())?;
            }
            if *redefined > 0 {
                writeln!(f, "  {}", another_definition(type_name, *redefined, *publishers))?;
            }
            if *incompatible > 0 {
                let publishers = counted(*incompatible as u64, "publisher", "publishers");
                writeln!(f, "  nothing arrives from {publishers} with incompatible QoS")?;
            }
        }
    }
    for (what, by_reason) in [("shaped", &topic.shaped), ("dropped", &topic.dropped)] {
        let reasons = by_reason.iter().filter(|(_, count)| **count > 0);
        let reasons: Vec<String> = reasons.map(|(reason, count)| format!("{count} {reason}")).collect();
        if !reasons.is_empty() {
            writeln!(f, "  {what}: {}", reasons.join(", "))?;
        }
    }
    if topic.lost_in_dds > 0 {
        writeln!(f, "  lost in DDS before they could be received: at least {}", topic.lost_in_dds)?;
    }
    Ok(())
}

/// The upper end of a bucket of latencies; without one it took longer than the longest that is told apart, a day.
struct AtMost(Option<f64>);

impl Display for AtMost {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(seconds) if seconds >= 60.0 => Span(seconds as u64).fmt(f),
            Some(seconds) if seconds >= 1.0 => write!(f, "{seconds} s"),
            Some(seconds) => write!(f, "{:.0} ms", seconds * 1000.0),
            None => write!(f, "more than a day"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What does not come from the cloud is named.
    #[test]
    fn what_does_not_come_is_named() {
        let seed = include_str!("../../../fuzz/seeds/status/connected.json");
        let view = View(&serde_json::from_str(seed).unwrap()).to_string();
        let refused = "Refused      the subscription to robots/robot1/cmd_vel: nothing comes from there\n";
        let missed = "Missed       3 messages from the cloud, which came faster than they were handled\n";
        assert!(view.contains(refused) && view.contains(missed), "{view}");
    }

    /// What comes from the cloud has a line: what is desired, what is in force, and why that is another.
    #[test]
    fn what_comes_from_the_cloud_has_a_line() {
        let shown = |state: &str, version: Option<&str>, in_force: Option<&str>, problems: &[&str]| {
            let mut report: Report =
                serde_json::from_str(include_str!("../../../fuzz/seeds/status/connected.json")).unwrap();
            report.at = 1000;
            let sections = in_force.map(|_| "topics").into_iter().collect::<Vec<_>>();
            let remote = serde_json::json!({
                "shadow": "iot-bridge", "version": version, "state": state, "since": 880, "in_force": in_force,
                "problems": problems, "sections": sections
            });
            report.configuration.remote = Some(serde_json::from_value(remote).unwrap());
            let view = View(&report).to_string();
            let lines = view.lines().skip_while(|line| !line.starts_with("Remote ")).take(1 + problems.len());
            lines.map(|line| line.trim_start_matches("Remote").trim_start()).collect::<Vec<_>>().join("|")
        };
        let seven = Some("7");
        let expected = "the shadow iot-bridge has not been heard yet; version 7 is in force, which sets topics";
        assert_eq!(shown("unknown", seven, seven, &[]), expected);
        let expected = "version 7 of the shadow iot-bridge is on trial for 2 min, which sets topics";
        assert_eq!(shown("trial", seven, seven, &[]), expected);
        let expected = "version 7 of the shadow iot-bridge is in force for 2 min, which sets topics";
        assert_eq!(shown("applied", seven, seven, &[]), expected);
        let expected = "nothing is desired in the shadow iot-bridge; the local configuration is in force";
        assert_eq!(shown("applied", None, None, &[]), expected);
        let expected =
            "version 7 of the shadow iot-bridge was rejected 2 min ago; the local configuration is in force|One.|Two.";
        assert_eq!(shown("rejected", seven, None, &["One.", "Two."]), expected);
        let expected = "version 7 of the shadow iot-bridge was rolled back 2 min ago; version 6 is in force, which sets topics|One.";
        assert_eq!(shown("rolled_back", seven, Some("6"), &["One."]), expected);
    }

    #[test]
    fn latencies_are_short() {
        let latencies = [Some(0.005), Some(0.25), Some(2.5), Some(30.0), Some(600.0), Some(86_400.0), None];
        let latencies = latencies.map(|latency| AtMost(latency).to_string());
        assert_eq!(latencies, ["5 ms", "250 ms", "2.5 s", "30 s", "10 min", "1 d", "more than a day"]);
    }
}
