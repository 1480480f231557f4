//! The one line that `systemctl status` shows.

use std::collections::HashSet;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::TopicHealth;
use super::report::{Behind, Configuration, Remote};
use crate::ros::{Silence, TopicState, another_definition};
use iot_bridge_core::queue::Figures;
use iot_bridge_core::tally::counted;
use iot_bridge_core::uplink::{Phase, UplinkState};

/// Topics in trouble that are named; the log has them all.
const SHOWN_TROUBLES: usize = 3;

/// systemd takes no message over 4096 bytes (`NOTIFY_BUFFER_MAX` in its source), and nobody reads a line that long.
const MOST_BYTES: usize = 1000;

/// Says in one line how the bridge is: the connection first, then the data, then what needs somebody.
pub fn status_line(
    uplink: &UplinkState,
    configuration: &Configuration,
    (queue, behind): (Figures, Option<&Behind>),
    topics: &[Arc<TopicHealth>],
    now: Instant,
) -> String {
    let mut line = connection(uplink, now);
    if let Some(refused) = &configuration.refused {
        let _ = write!(line, " {}.", refused.sentence());
    }
    if let Some(trouble) = configuration.remote.as_ref().and_then(Remote::trouble) {
        let _ = write!(line, " {trouble}.");
    }
    let mut counted = HashSet::new();
    let counters = || topics.iter().map(|topic| &topic.counters);
    let counters: Vec<_> = counters().filter(|counters| counted.insert(Arc::as_ptr(counters))).collect();
    let acknowledged: u64 = counters.iter().map(|counters| counters.acknowledged()).sum();
    let dropped: u64 = counters.iter().map(|counters| counters.dropped_in_all()).sum();
    let waiting = queue.queued() + queue.in_flight();
    // Writing to a String never fails.
    for remark in uplink.remarks(SystemTime::now()).iter().take(SHOWN_TROUBLES) {
        let _ = write!(line, " {remark}.");
    }
    let _ = write!(line, " {acknowledged} acknowledged, {waiting} queued, {dropped} dropped.");
    if let Some(behind) = behind {
        let _ = write!(line, " {}.", behind.sentence());
    }
    if let Some(trouble) = queue.disk.as_ref().and_then(|disk| disk.trouble.as_ref()) {
        let _ = write!(line, " The queue's disk does not work: {trouble}.");
    }
    let received = topics.iter().filter(|topic| matches!(topic.state(), TopicState::Subscribed { .. })).count();
    let _ = write!(line, " {received} of {} topics subscribed.", topics.len());
    let mut troubles = troubles(topics, now).into_iter();
    for trouble in troubles.by_ref().take(SHOWN_TROUBLES) {
        let _ = write!(line, " {trouble}.");
    }
    match troubles.len() {
        0 => {}
        1 => line.push_str(" 1 more topic is in trouble."),
        more => {
            let _ = write!(line, " {more} more topics are in trouble.");
        }
    }
    fit(line)
}

/// What is wrong with topics: first what comes and is not forwarded, then what does not come.
fn troubles(topics: &[Arc<TopicHealth>], now: Instant) -> Vec<String> {
    let mut troubles: Vec<_> = topics.iter().filter_map(|topic| trouble(topic, now)).collect();
    let mut is_alone = false;
    for topic in topics {
        match topic.silence() {
            // That is one trouble for all of them.
            Some(Silence::Alone { .. }) if std::mem::replace(&mut is_alone, true) => {}
            Some(silence) => troubles.push(silence.sentence(&topic.ros)),
            None => {}
        }
    }
    troubles
}

/// What is wrong with a topic that is published, if something is.
fn trouble(topic: &TopicHealth, now: Instant) -> Option<String> {
    let name = &topic.ros;
    match topic.state() {
        TopicState::Trouble(trouble) => Some(format!("{name}: {trouble}")),
        TopicState::Subscribed { type_name, publishers, redefined: redefined @ 1.., .. } => {
            Some(format!("{name}: {}", another_definition(&type_name, redefined, publishers)))
        }
        TopicState::Subscribed { unmatched: Some(unmatched), .. } => Some(format!("{name}: {}", unmatched.sentence())),
        TopicState::Subscribed { incompatible, .. } if incompatible > 0 => {
            let publishers = counted(incompatible as u64, "publisher", "publishers");
            Some(format!("{name}: nothing arrives from {publishers} with incompatible QoS"))
        }
        TopicState::Unknown | TopicState::Subscribed { .. } => {
            topic.loses_everything(now).map(|cause| format!("{name}: {cause}"))
        }
    }
}

/// One line of no more than [`MOST_BYTES`].
fn fit(mut line: String) -> String {
    if line.contains(char::is_control) {
        line = line.replace(char::is_control, " ");
    }
    if line.len() > MOST_BYTES {
        line.truncate(line.floor_char_boundary(MOST_BYTES - "…".len()));
        line.push('…');
    }
    line
}

fn connection(uplink: &UplinkState, now: Instant) -> String {
    let fault = uplink.cause();
    if let (Phase::Connecting, Some(step)) = (uplink.phase, uplink.provisioning) {
        let before = fault.map(|fault| format!("; last time: {fault}")).unwrap_or_default();
        return format!("Not provisioned yet: waiting for {}{before}.", step.label());
    }
    let not = if uplink.provisioning.is_some() { "Not provisioned yet" } else { "Not connected" };
    match (uplink.phase, fault) {
        (Phase::Connected { .. }, _) => "Connected.".to_owned(),
        (Phase::Draining, _) => "Stopping: sending what is queued.".to_owned(),
        (Phase::Stopped, _) => "Stopped.".to_owned(),
        (Phase::Connecting, None) => "Connecting.".to_owned(),
        (Phase::Connecting, Some(fault)) => format!("Connecting again; last time: {fault}."),
        (Phase::Waiting { until }, fault) => {
            let wait = match until.saturating_duration_since(now).as_secs() {
                0 => "at once".to_owned(),
                seconds => format!("in {seconds} s"),
            };
            let why = fault.map(|fault| format!(": {fault}")).unwrap_or_default();
            format!("{not}, next attempt {wait}{why}.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iot_bridge_core::mqtt::{Fault, FaultKind};
    use iot_bridge_core::topics::Registry;

    #[test]
    fn a_line_stays_a_line_of_bounded_length() {
        assert_eq!(fit("one\ntwo".into()), "one two");
        let long = fit("ä".repeat(MOST_BYTES));
        assert!(long.len() <= MOST_BYTES && long.ends_with('…'), "{}", long.len());
    }

    /// What ended a connection before the last one is not why there is none now.
    #[test]
    fn a_fault_that_is_over_is_no_cause() {
        let now = Instant::now();
        let fault = Fault { kind: FaultKind::Refused, sentence: "localhost:8883 refuses connections".into() };
        let mut uplink = UplinkState { phase: Phase::Waiting { until: now }, ..UplinkState::default() };
        uplink.last_fault = Some((fault, SystemTime::now()));
        assert_eq!(
            connection(&uplink, now),
            "Not connected, next attempt at once: localhost:8883 refuses connections."
        );
        uplink.is_fault_over = true;
        assert_eq!(connection(&uplink, now), "Not connected, next attempt at once.");
    }

    fn health(ros: &str) -> Arc<TopicHealth> {
        Arc::new(TopicHealth::new(Registry::default().topic(ros, "t")))
    }

    #[test]
    fn only_some_of_many_troubles_are_told() {
        let topics: Vec<_> = (0..20).map(|number| health(&format!("/t{number}"))).collect();
        for topic in &topics {
            topic.set_state(TopicState::Trouble("no type".into()));
        }
        let queue = Figures { lanes: Default::default(), bound: 0, disk: None };
        let line = status_line(
            &UplinkState::default(),
            &Configuration::default(),
            (queue.clone(), None),
            &topics,
            Instant::now(),
        );
        assert!(
            line.starts_with("Connecting. 0 acknowledged, 0 queued, 0 dropped. 0 of 20 topics subscribed."),
            "{line}"
        );
        let four = status_line(
            &UplinkState::default(),
            &Configuration::default(),
            (queue.clone(), None),
            &topics[..4],
            Instant::now(),
        );
        assert!(four.ends_with("/t2: no type. 1 more topic is in trouble."), "{four}");
        assert!(line.ends_with("/t2: no type. 17 more topics are in trouble."), "{line}");
    }

    #[test]
    fn what_nobody_publishes_and_what_is_lost_entirely_is_named() {
        let topics = ["/odomm", "/scan", "/camera"].map(health);
        let line = |topics: &[Arc<TopicHealth>]| {
            let queue = Figures { lanes: Default::default(), bound: 0, disk: None };
            status_line(&UplinkState::default(), &Configuration::default(), (queue, None), topics, Instant::now())
        };
        topics[0].set_silence(Some(Silence::Unpublished { nearest: Some("/odom".into()) }));
        topics[2].counters.count_received();
        topics[2].counters.count_dropped(iot_bridge_core::tally::DropReason::TooLarge);
        let said = line(&topics);
        assert!(
            said.ends_with("/camera: every message is too large. Nobody publishes /odomm; there is /odom."),
            "{said}"
        );
        for topic in &topics[..2] {
            topic.set_silence(Some(Silence::Alone { domain: 92, discovery: "discovery SUBNET".into() }));
        }
        let said = line(&topics[..2]);
        assert_eq!(said.matches("No other ROS node is seen in domain 92 (discovery SUBNET)").count(), 1, "{said}");
    }
}
