//! What the uplink says about itself: to health, to metrics, to the status line.

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};

use super::claim::Step;
use super::expiry;
use super::version::Fallback;
use crate::config::Version;
use crate::mqtt::{Fault, FaultKind};

/// The uplink at one moment. Published through a `tokio::sync::watch`.
#[derive(Debug, Clone, PartialEq)]
pub struct UplinkState {
    pub phase: Phase,
    /// Why the last attempt or connection ended, and when. Stays when a connection stands again.
    pub last_fault: Option<(Fault, SystemTime)>,
    /// The connection after `last_fault` has ended without one: it is not why there is none now.
    pub is_fault_over: bool,
    /// Connections that the broker has accepted.
    pub connections: u64,
    /// Attempts and connections that ended by a fault, by its [label](crate::mqtt::FaultKind::label).
    pub failures: BTreeMap<&'static str, u64>,
    /// Attempts that have failed since the last connection.
    pub failed_attempts: u64,
    /// When the client certificate expires; unknown until one has been read.
    pub certificate_expires: Option<SystemTime>,
    /// MQTT topics that the broker refuses publishes to. Their records wait while the others flow.
    pub set_aside: Vec<String>,
    /// MQTT topic filters that the broker refuses to subscribe the bridge to.
    pub refused_filters: Vec<String>,
    /// Messages to the bridge for which whoever handles them had no room.
    pub missed: u64,
    /// What provisioning waits for; `None`, if the robot has a certificate or none is asked for.
    pub provisioning: Option<Step>,
    /// The name of the thing that this process was provisioned for.
    pub provisioned: Option<String>,
    /// The thing that the certificate was provisioned for, if the configuration names another.
    pub other_thing: Option<String>,
    /// Whether another client seems to have the same client id, so that the two close each other's connections.
    pub contested: bool,
    /// Whether the broker takes fewer publishes than the quotas allow.
    pub slowed: bool,
    /// The version of MQTT of the last connection; `None` before the first.
    pub version: Option<Version>,
    /// Why that is 3.1.1 though 5 is preferred.
    pub fallback: Option<Fallback>,
    /// What the broker does not have, and what that means, each a sentence without its full stop.
    pub broker_lacks: Vec<&'static str>,
}

/// What the uplink is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Name look-up, TCP, TLS or MQTT CONNECT is under way.
    Connecting,
    /// The broker has accepted the connection.
    Connected { since: Instant },
    /// The next attempt begins then.
    Waiting { until: Instant },
    /// Told to stop: what is queued is sent for as long as the drain may last.
    Draining,
    /// Done. The uplink does nothing any more.
    Stopped,
}

impl Default for UplinkState {
    /// Before the first attempt.
    fn default() -> Self {
        UplinkState {
            phase: Phase::Connecting,
            last_fault: None,
            is_fault_over: false,
            connections: 0,
            failures: BTreeMap::new(),
            failed_attempts: 0,
            certificate_expires: None,
            set_aside: Vec::new(),
            refused_filters: Vec::new(),
            missed: 0,
            provisioning: None,
            provisioned: None,
            other_thing: None,
            contested: false,
            slowed: false,
            version: None,
            fallback: None,
            broker_lacks: Vec::new(),
        }
    }
}

impl UplinkState {
    /// Whether a connection stands.
    pub fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connected { .. } | Phase::Draining)
    }

    /// Why there is no connection, if there is none.
    pub fn cause(&self) -> Option<&Fault> {
        self.last_fault.as_ref().map(|(fault, _)| fault).filter(|_| !self.is_fault_over)
    }

    /// What needs somebody although the connection stands, at the time `now`, each a sentence without its full stop.
    pub fn remarks(&self, now: SystemTime) -> Vec<String> {
        let contested = self.contested.then(|| "Another client seems to have the same client id".to_owned());
        let refused = self.set_aside.iter().map(|topic| format!("The broker refuses publishes to {topic}"));
        let unheard =
            self.refused_filters.iter().map(|filter| format!("The broker refuses the subscription to {filter}"));
        // Why there is no connection says it otherwise.
        let expires = self.certificate_expires.filter(|expires| *expires > now || self.is_connected());
        let expiry = expires.and_then(|expires| expiry::remark(expires, now));
        let other = self.other_thing.as_ref();
        let other = other.map(|other| format!("The certificate is that of the thing {other}, not of aws.thing"));
        let slowed = self.slowed.then(|| "The broker takes fewer publishes than mqtt.quotas allow".to_owned());
        let lacks = self.broker_lacks.iter().map(|lack| (*lack).to_owned());
        contested
            .into_iter()
            .chain(other)
            .chain(expiry)
            .chain(refused)
            .chain(unheard)
            .chain(slowed)
            .chain(lacks)
            .collect()
    }

    pub(super) fn count_failure(&mut self, kind: FaultKind) {
        *self.failures.entry(kind.label()).or_default() += 1;
    }

    pub(super) fn note_fault(&mut self, fault: &Fault) {
        self.count_failure(fault.kind);
        self.last_fault = Some((fault.clone(), SystemTime::now()));
        self.is_fault_over = false;
    }
}
