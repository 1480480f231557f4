//! The connection in the log: each change once, a lasting fault now and then.

use std::time::{Duration, Instant};

use super::filters::Why;
use super::version::Fallback;
use crate::config::TopicFault;
use crate::mqtt::client::ServerReason;
use crate::mqtt::{Broker, Fault, FaultKind, Options};
use crate::queue::Route;

/// A fault that lasts is logged again after this long.
const REMINDER: Duration = Duration::from_secs(600);

/// Decides what is worth a line.
#[derive(Debug, Default)]
pub(super) struct ConnectionLog {
    /// Faults logged since the connection was last stable.
    logged: Vec<Logged>,
    /// A connection has ended before it was stable, and none has been stable since.
    flapping: bool,
    /// A fault has a line, and no connection has had one since.
    unanswered: bool,
    /// The connection that stands has no line.
    silent: bool,
}

#[derive(Debug)]
struct Logged {
    kind: FaultKind,
    at: Instant,
    /// Times that it came since, without a line.
    unlogged: u64,
}

impl ConnectionLog {
    /// A fault of `kind` came. Returns whether to log it, and if so how often it came since its last line.
    pub fn fault(&mut self, kind: FaultKind, now: Instant) -> Option<u64> {
        let Some(logged) = self.logged.iter_mut().find(|logged| logged.kind == kind) else {
            self.logged.push(Logged { kind, at: now, unlogged: 0 });
            self.unanswered = true;
            return Some(1);
        };
        logged.unlogged += 1;
        if now.saturating_duration_since(logged.at) < REMINDER {
            return None;
        }
        logged.at = now;
        self.unanswered = true;
        Some(std::mem::take(&mut logged.unlogged))
    }

    /// The broker has accepted a connection. Returns whether to log that: while connections come and go, only as an
    /// answer to a fault that was logged.
    pub fn connected(&mut self) -> bool {
        let worth_a_line = !self.flapping || self.unanswered;
        self.unanswered = false;
        self.silent = !worth_a_line;
        worth_a_line
    }

    /// A connection that the broker had accepted has ended.
    pub fn ended(&mut self, was_stable: bool) {
        self.flapping |= !was_stable;
    }

    /// The connection has become stable. Returns whether to log that it stands, because `connected` did not.
    pub fn stable(&mut self) -> bool {
        self.logged.clear();
        self.flapping = false;
        std::mem::take(&mut self.silent)
    }
}

/// Logs that the connection stands.
pub(super) fn log_connected(options: &Options) {
    let Options { broker: Broker { host: endpoint, port, .. }, client_id, version, .. } = options;
    tracing::info!(
        endpoint,
        port,
        client_id,
        mqtt = %version,
        "Connected to {endpoint}:{port} as {client_id}, with MQTT {version}."
    );
}

/// Logs why MQTT 3.1.1 is spoken from now on. Nothing is lost by it.
pub(super) fn log_fallback(why: Fallback) {
    tracing::info!("MQTT 3.1.1 is used until the bridge is started again: {why}.");
}

/// What a fault has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum During {
    /// An attempt to become provisioned.
    Provisioning,
    /// An attempt to connect.
    Attempt,
    Connection,
}

/// Logs why there is no connection. Nothing is lost by it: the queue keeps what was not acknowledged.
pub(super) fn log_fault(fault: &Fault, during: During, times: u64) {
    let (reason, sentence) = (fault.kind.label(), &fault.sentence);
    let what = match during {
        During::Provisioning => "The robot is not provisioned yet",
        During::Attempt => "Cannot connect",
        During::Connection => "Lost the connection",
    };
    match times {
        1 if fault.kind.needs_somebody() => tracing::error!(reason, "{what}: {sentence}."),
        1 => tracing::warn!(reason, "{what}: {sentence}."),
        _ if fault.kind.needs_somebody() => tracing::error!(reason, times, "{what}, {times} times more: {sentence}."),
        _ => tracing::warn!(reason, times, "{what}, {times} times more: {sentence}."),
    }
}

/// Logs that the certificate is that of the thing `registered`, while the bridge is to be `configured`.
pub(super) fn log_other_thing(configured: &str, registered: &str) {
    tracing::warn!(
        thing = configured,
        registered,
        "The certificate is that of the thing {registered}, while aws.thing is {configured}, which stays in force. Leave \
         aws.thing out, or have the template give that name."
    );
}

/// Logs that `topic` has to wait so that the others can flow.
pub(super) fn log_set_aside(topic: &str, wait: Duration) {
    tracing::error!(
        topic,
        "The broker closes the connection over publishes to {topic}; the usual cause is a policy that does not allow \
         them. They wait and are tried again in {} s, the others go on.",
        wait.as_secs()
    );
}

/// Logs that `topic` has to wait because the broker refuses it, with the broker's reason.
pub(super) fn log_refused(topic: &str, answer: &ServerReason, wait: Duration) {
    tracing::error!(
        topic,
        reason = answer.reason.0,
        "The broker refuses publishes to {topic} ({answer}). They wait and are tried again in {} s, the others go on.",
        wait.as_secs()
    );
}

/// Logs that what is published to `topic` is dropped because the broker will never take it, as `more` were since this was
/// last said.
pub(super) fn log_never_taken(topic: &str, answer: &ServerReason, more: u64) {
    tracing::error!(
        topic,
        reason = answer.reason.0,
        more,
        "A publish to {topic} is dropped: the broker does not take it ({answer}). {more} more were since this was last said."
    );
}

/// Logs that the broker does not take a batch of `records`.
pub(super) fn log_batch_refused(topic: &str, records: usize, answer: &ServerReason) {
    tracing::warn!(
        topic,
        reason = answer.reason.0,
        "The broker does not take a batch of {records} messages on {topic} ({answer}). They are sent one by one."
    );
}

/// Logs that less is sent than the quotas allow.
pub(super) fn log_slowed() {
    tracing::warn!(
        "The broker takes fewer publishes than mqtt.quotas allow (quota exceeded, 0x97); sending more slowly. What it \
         refused is sent again."
    );
}

/// Logs that what is sent is bounded by the quotas alone again.
pub(super) fn log_slowed_no_more() {
    tracing::info!("The broker takes publishes as fast as mqtt.quotas allow again.");
}

/// Logs that `topic` waits because its packet of `size` bytes is larger than the `most` that the broker takes.
pub(super) fn log_outgrown(topic: &str, size: usize, most: usize) {
    tracing::error!(
        topic,
        size,
        most,
        "The broker says that it takes packets of {most} bytes at most (Maximum Packet Size of its CONNACK), and one to \
         {topic} has {size}. What is published to it waits for another connection, the others go on."
    );
}

/// Logs that the broker does not subscribe the bridge to `filter`, which is asked for again after `wait`.
pub(super) fn log_filter_refused(filter: &str, why: Why, wait: Duration) {
    let seconds = wait.as_secs();
    match why {
        Why::Said(reason) => tracing::error!(
            filter,
            reason = reason.0,
            "The broker refuses the subscription to {filter} ({reason}). It is asked for again in {seconds} s, everything \
             else goes on."
        ),
        Why::Closes => tracing::error!(
            filter,
            "The broker closes the connection over the subscription to {filter}; the usual cause is a policy that does not \
             allow it. It is asked for again in {seconds} s, everything else goes on."
        ),
        Why::Silent => tracing::error!(
            filter,
            "The broker does not answer the subscription to {filter}. It is asked for again in {seconds} s, everything else \
             goes on."
        ),
    }
}

/// Logs that the broker subscribes the bridge to a filter that it has refused before.
pub(super) fn log_filter_granted(filter: &str) {
    tracing::info!(filter, "The broker takes the subscription to {filter} now.");
}

/// Logs that a message to `topic` had no room, as `more` had none since this was last said.
pub(super) fn log_missed(topic: &str, more: u64) {
    tracing::error!(
        topic,
        more,
        "A message on {topic} is lost: more come than are handled. {more} more were lost since this was last said."
    );
}

/// Logs what the broker takes less than others.
pub(super) fn log_limits(lacks: &[&str]) {
    for lack in lacks {
        tracing::warn!("{lack}.");
    }
}

/// Logs that a topic that was set aside flows again.
pub(super) fn log_taken_again(topic: &str) {
    tracing::info!(topic, "The broker takes publishes to {topic} again.");
}

/// Logs that one record is given up so that the others can flow.
pub(super) fn log_poison(route: &Route, size: usize) {
    tracing::error!(
        topic = route.ros,
        mqtt_topic = route.mqtt,
        size,
        "A publish to {} of {size} bytes is dropped: the broker has closed the connection over it again and again.",
        route.mqtt
    );
}

/// Logs that the thing's name makes `topic` one that AWS IoT Core does not take, so that its records are dropped; `more`
/// were since this was last said.
pub(super) fn log_unfit(topic: &str, fault: &TopicFault, more: u64) {
    tracing::error!(
        topic,
        more,
        "What is published to {topic} is dropped: {fault}. The thing's name makes it so; choose a shorter `mqtt` for the \
         topic. {more} more were since this was last said."
    );
}

/// Logs that there is no will under `key`, because the thing's name makes its topic one that AWS IoT Core does not take.
pub(super) fn log_unfit_will(key: &str, topic: &str, fault: &TopicFault) {
    tracing::error!(
        key,
        topic,
        "There is no [{key}] at the broker: of its topic {topic} it can be said that {fault}. The thing's name makes it \
         so; choose a shorter topic."
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// While faults of the same kinds go on, each has one line in ten minutes, with the number of times.
    #[test]
    fn a_lasting_fault_is_logged_once_and_then_rarely() {
        let (mut log, start) = (ConnectionLog::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let lines: Vec<_> = (0..1300)
            .filter_map(|second| {
                let kind = if second % 2 == 0 { FaultKind::Refused } else { FaultKind::TimedOut };
                Some((second, kind, log.fault(kind, at(second))?))
            })
            .collect();
        assert_eq!(
            lines,
            [
                (0, FaultKind::Refused, 1),
                (1, FaultKind::TimedOut, 1),
                (600, FaultKind::Refused, 300),
                (601, FaultKind::TimedOut, 300),
                (1200, FaultKind::Refused, 300),
                (1201, FaultKind::TimedOut, 300),
            ]
        );
    }

    /// A connection that comes and goes is logged when it comes first, as the answer to a fault that was logged, and when
    /// it has become stable.
    #[test]
    fn flapping_is_silent_until_stable() {
        let (mut log, now) = (ConnectionLog::default(), Instant::now());
        assert!(log.connected());
        for round in 0..5 {
            log.ended(false);
            assert_eq!(log.fault(FaultKind::Closed, now).is_some(), round == 0);
            assert_eq!(log.connected(), round == 0, "only the first fault has a line to answer");
        }
        assert!(log.stable(), "it stands at last");
        log.ended(true);
        assert_eq!(log.fault(FaultKind::Closed, now), Some(1), "a new loss is news again");
        assert!(log.connected());
        assert!(!log.stable(), "that was said already");
    }
}
