//! The one line that `systemctl status` shows.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Instant;

use super::TopicHealth;
use crate::queue::Figures;
use crate::ros::TopicState;
use crate::uplink::{Phase, UplinkState};

/// Says in one line how the bridge is: the connection first, then the data, then what needs somebody.
pub fn status_line(uplink: &UplinkState, queue: Figures, topics: &[Arc<TopicHealth>], now: Instant) -> String {
    let mut line = connection(uplink, now);
    let acknowledged: u64 = topics.iter().map(|topic| topic.counters.acknowledged()).sum();
    let dropped: u64 = topics.iter().map(|topic| topic.counters.dropped_in_all()).sum();
    let waiting = queue.queued() + queue.in_flight();
    // Writing to a String never fails.
    let _ = write!(line, " {acknowledged} acknowledged, {waiting} queued, {dropped} dropped.");
    let received = topics.iter().filter(|topic| matches!(topic.state(), TopicState::Subscribed { .. })).count();
    let _ = write!(line, " {received} of {} topics subscribed.", topics.len());
    for topic in topics {
        match topic.state() {
            TopicState::Trouble(trouble) => {
                let _ = write!(line, " {}: {trouble}.", topic.name);
            }
            TopicState::Subscribed { incompatible, .. } if incompatible > 0 => {
                let _ = write!(line, " {}: {incompatible} publishers with incompatible QoS.", topic.name);
            }
            TopicState::Unknown | TopicState::Subscribed { .. } => {}
        }
    }
    line
}

fn connection(uplink: &UplinkState, now: Instant) -> String {
    let fault = uplink.last_fault.as_ref().map(|(fault, _)| fault);
    match (uplink.phase, fault) {
        (Phase::Connected { .. }, _) => "Connected.".to_owned(),
        (Phase::Draining, _) => "Stopping: sending what is queued.".to_owned(),
        (Phase::Stopped, _) => "Stopped.".to_owned(),
        (Phase::Connecting, None) => "Connecting.".to_owned(),
        (Phase::Connecting, Some(fault)) => format!("Connecting again; last time: {fault}."),
        (Phase::Waiting { until }, fault) => {
            let wait = until.saturating_duration_since(now).as_secs();
            let why = fault.map(|fault| format!(": {fault}")).unwrap_or_default();
            format!("Not connected, next attempt in {wait} s{why}.")
        }
    }
}
