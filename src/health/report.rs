//! How the bridge is, in figures: what `status`, the metrics and `/diagnostics` all tell.
//!
//! It is JSON as `iot-bridge status --json` prints it. Times are whole seconds since 1970, sizes bytes. Counters count
//! from the start of the process. Nothing in it is secret.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ros::Unmatched;
use iot_bridge_core::config::Version;
use iot_bridge_core::tally::{LatencyFigures, sum};

/// The bridge at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of the program.
    pub version: String,
    /// The thing's name; `{thing}` as long as provisioning has not given it.
    pub thing: String,
    /// Host name and port of the broker.
    pub endpoint: String,
    /// When the process started.
    pub started: u64,
    /// When this was reported.
    pub at: u64,
    #[serde(default)]
    pub configuration: Configuration,
    pub connection: Connection,
    /// When the client certificate expires; unknown until one has been read.
    pub certificate_expires: Option<u64>,
    pub queue: Queue,
    /// That more is offered than may leave; nothing while the bridge keeps up.
    #[serde(default)]
    pub behind: Option<Behind>,
    pub published: Published,
    /// From the reception of a record to its PUBACK, waits in the queue included; QoS 0 has none.
    pub latency: LatencyFigures,
    /// The same of records that were acknowledged in the last minute.
    #[serde(default)]
    pub latency_last_minute: LatencyFigures,
    /// What the patterns among the `[[topics]]` have found, in the configuration's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patterns: Vec<Pattern>,
    /// In the configuration's order, then what is sent because the cloud has asked for something, then those that were configured
    /// and of which records are still to be sent, and those that have vanished from the ROS graph not long ago.
    pub topics: Vec<Topic>,
    /// What the cloud may ask for, in the configuration's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Request>,
}

/// The configuration in force, and whether a later one was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    /// When the one in force was loaded, at the start or by a reload.
    pub loaded: u64,
    /// The last one, if it was refused; nothing as soon as one was taken again.
    pub refused: Option<Refused>,
    /// What comes from the cloud; nothing without `[remote]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<Remote>,
}

/// How it stands with the configuration from the cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remote {
    /// The shadow that it comes by.
    pub shadow: String,
    /// The version of what was desired last; nothing, if nothing is desired or it has none.
    pub version: Option<String>,
    /// The IoT Job that it came by; nothing, if it came by the shadow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    pub state: RemoteState,
    /// Since when that is so.
    pub since: u64,
    /// Why it is not in force, each a sentence.
    pub problems: Vec<String>,
    /// The version that is in force; nothing, if that is the local configuration.
    pub in_force: Option<String>,
    /// The sections that it sets in the place of the local ones.
    pub sections: Vec<String>,
}

/// What has become of what is desired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemoteState {
    /// The cloud has not been heard yet.
    Unknown,
    /// It is in force, and not confirmed yet.
    Trial,
    /// It is in force; without a version nothing is desired, and the local configuration is.
    Applied,
    /// It was never in force.
    Rejected,
    /// It was in force and not confirmed, so that the one before is again.
    RolledBack,
}

impl Remote {
    /// Where what is desired comes from.
    pub fn source(&self) -> String {
        match &self.job {
            Some(job) => format!("the job {job}"),
            None => format!("the shadow {}", self.shadow),
        }
    }

    /// What there is to say if what is desired is not in force: a sentence without its full stop.
    pub fn trouble(&self) -> Option<String> {
        let what = match self.state {
            RemoteState::Rejected => "was rejected",
            RemoteState::RolledBack => "was rolled back",
            RemoteState::Unknown | RemoteState::Trial | RemoteState::Applied => return None,
        };
        let version = self.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
        let more = self.problems.len().saturating_sub(1);
        let first = self.problems.first().map(|first| format!(": {}", first.trim_end_matches('.'))).unwrap_or_default();
        let more = if more > 0 { format!(" ({more} more)") } else { String::new() };
        Some(format!("The configuration{version} of {} {what}{first}{more}", self.source()))
    }
}

/// A configuration that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub at: u64,
    /// How many problems there were. The log has them all.
    pub problems: usize,
    /// Where the first is: file, line and key, as far as they are known.
    pub first: String,
}

/// The connection to the broker, and those before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    #[serde(flatten)]
    pub phase: Phase,
    /// Connections that the broker has accepted.
    pub connections: u64,
    /// Attempts that have failed since the last connection.
    pub failed_attempts: u64,
    /// Attempts and connections that ended by a fault, by its kind.
    pub failures: BTreeMap<String, u64>,
    /// Why the last attempt or connection ended. Stays when a connection stands again.
    pub last_fault: Option<Fault>,
    /// MQTT topics that the broker refuses publishes to. Their records wait while the others flow.
    pub set_aside: Vec<String>,
    /// MQTT topic filters that the broker refuses to subscribe the bridge to: nothing comes from there.
    #[serde(default)]
    pub refused_filters: Vec<String>,
    /// Messages from the cloud that came faster than they were handled, and were not taken.
    #[serde(default)]
    pub missed: u64,
    /// What the robot waits for to be provisioned; nothing, if it is or does not have to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioning: Option<String>,
    /// The thing that the certificate was provisioned for, if the configuration names another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_thing: Option<String>,
    /// Whether another client seems to have the same client id.
    pub contested: bool,
    /// Whether the broker takes fewer publishes than the quotas allow.
    pub slowed: bool,
    /// The version of MQTT of the last connection; nothing before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mqtt: Option<Version>,
    /// Why that is 3.1.1 though 5 is preferred, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mqtt_because: Option<String>,
    /// What the broker does not have, and what that means, each a sentence without its full stop.
    pub broker_lacks: Vec<String>,
    /// Publishes that the broker refused in words, by reason code of MQTT 5 (`0x87`).
    pub refused: BTreeMap<String, u64>,
}

/// What the uplink is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// An attempt to connect is under way.
    Connecting,
    /// The broker has accepted the connection.
    Connected { since: u64 },
    /// The next attempt begins then.
    Waiting { next_attempt: u64 },
    /// Told to stop: what is queued is sent for as long as the drain may last.
    Draining,
    /// Done.
    Stopped,
}

impl Phase {
    /// Whether a connection stands.
    pub fn is_connected(self) -> bool {
        matches!(self, Phase::Connected { .. } | Phase::Draining)
    }
}

/// Why there was no connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Its label in metrics and log.
    pub kind: String,
    pub sentence: String,
    /// Whether it stays until somebody mends something.
    pub needs_somebody: bool,
    pub at: u64,
}

/// What waits, and what is in flight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Queue {
    /// The configured bound of all bytes in memory together.
    pub bound: u64,
    /// Nothing without a disk.
    pub disk: Option<Disk>,
    /// High, normal and low.
    pub lanes: Vec<Lane>,
}

/// How it stands with the queue's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Bytes of all files.
    pub bytes: u64,
    /// The configured bound of them.
    pub bound: u64,
    /// What keeps the disk from working, in words.
    pub trouble: Option<String>,
}

impl Queue {
    /// Records that wait.
    pub fn waiting(&self) -> u64 {
        sum(self.lanes.iter().flat_map(|lane| lane.waiting.values()).map(|held| held.records))
    }

    /// Records that the uplink has and nobody has acknowledged.
    pub fn in_flight(&self) -> u64 {
        sum(self.lanes.iter().map(|lane| lane.in_flight.records))
    }

    /// Bytes of all records in memory, their bookkeeping included.
    pub fn bytes(&self) -> u64 {
        let waiting = self.lanes.iter().filter_map(|lane| lane.waiting.get(&Place::Memory));
        sum(waiting.chain(self.lanes.iter().map(|lane| &lane.in_flight)).map(|held| held.bytes))
    }

    /// Records, waiting or in flight, that are not on the disk: what a power cut would take.
    pub fn memory_only(&self) -> u64 {
        sum(self.lanes.iter().map(|lane| lane.memory_only))
    }

    /// When the oldest record was received.
    pub fn oldest(&self) -> Option<u64> {
        self.lanes.iter().filter_map(|lane| lane.oldest).min()
    }
}

/// One lane of the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// The priority of its records.
    pub lane: String,
    /// What waits, by where it is.
    pub waiting: BTreeMap<Place, Held>,
    pub in_flight: Held,
    /// Records, waiting or in flight, that are not on the disk: what a power cut would take.
    pub memory_only: u64,
    /// When the oldest record, waiting or in flight, was received from DDS.
    pub oldest: Option<u64>,
}

/// Where a record waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    Memory,
    /// On the disk only.
    Disk,
}

impl Place {
    /// The label in metrics and status.
    pub fn label(self) -> &'static str {
        match self {
            Place::Memory => "memory",
            Place::Disk => "disk",
        }
    }
}

/// Records, and their bytes with bookkeeping; on the disk the bytes of the files that hold them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub records: u64,
    pub bytes: u64,
}

/// That more is offered than may leave, so that what waits grows. The figures are those of the last time that it grew, of
/// half a minute; `health::behind` says how they are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Behind {
    /// Since when it grows.
    pub since: u64,
    /// What keeps it from leaving.
    pub limit: Limit,
    /// Publishes that would be made of what comes.
    pub offered_publishes_per_second: f64,
    /// By the quota; with [`Limit::Link`] those that left. Nothing, if the quota is unlimited.
    pub allowed_publishes_per_second: Option<f64>,
    /// Bytes of MQTT packets that would be made of what comes.
    pub offered_bytes_per_second: f64,
    /// By the quota; with [`Limit::Link`] those that left. Nothing, if the quota is unlimited.
    pub allowed_bytes_per_second: Option<f64>,
    /// ROS topics that offer the most, the largest first.
    pub topics: Vec<String>,
    /// For each of them the lines of configuration that would help, and what they would make of it: a sentence without its
    /// full stop.
    pub advice: Vec<String>,
}

/// What keeps records from leaving.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// `mqtt.quotas.publishes_per_second`.
    PublishesPerSecond,
    /// `mqtt.quotas.bytes_per_second`.
    BytesPerSecond,
    /// The link, or the broker, takes less than the quotas allow.
    Link,
}

/// What was handed to connections, repetitions after a lost connection included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    pub publishes: u64,
    /// Bytes of the MQTT packets.
    pub bytes: u64,
}

/// An entry of `[[topics]]` that is a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pattern {
    /// As the configuration has it, as an absolute name.
    pub ros: String,
    /// Most topics of it that are received.
    pub limit: usize,
    /// Topics of it that are there.
    pub topics: usize,
    /// Topics beyond the limit.
    pub waiting: usize,
}

/// One topic. At every moment `received` and `recovered` are together the sum of everything in `shaped` and
/// `dropped`, `in_reception`, `queued`, `in_flight` and `acknowledged`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Topic {
    /// Name of the ROS topic.
    pub ros: String,
    /// The MQTT topic, as far as the configuration fills it in.
    pub mqtt: String,
    #[serde(flatten)]
    pub state: State,
    /// The pattern among the `[[topics]]` that has found it, if the configuration does not name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Why nothing has come of it for a while, where nobody publishes it: a sentence without its full stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent: Option<String>,
    /// Messages taken from DDS.
    pub received: u64,
    /// Records that an earlier process left on the disk.
    pub recovered: u64,
    /// Messages that do not travel because the configuration says so, by reason. Nothing is lost by it.
    #[serde(default)]
    pub shaped: BTreeMap<String, u64>,
    /// Messages that ended before they were acknowledged, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Messages that are counted as received and not yet as anything else: those of open windows.
    pub in_reception: u64,
    pub queued: u64,
    pub in_flight: u64,
    /// Acknowledged by the broker (QoS 1) or handed to the connection (QoS 0).
    pub acknowledged: u64,
    /// Messages that DDS lost or overwrote before they could be received. At least so many: what is missing is known
    /// when the next message of its publisher has come.
    pub lost_in_dds: u64,
    pub published: Published,
    /// Messages received in a second, of late.
    pub received_per_second: f64,
    /// Bytes published in a second, of late: MQTT packets.
    pub published_bytes_per_second: f64,
    /// Messages dropped, for whatever reason, or lost in DDS in a second, of late.
    pub lost_per_second: f64,
    /// All these figures are those of a topic before it in the list: the messages of both are counted together.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_counted_before: bool,
}

impl Topic {
    /// Messages that ended before they were acknowledged, whatever the reason.
    pub fn dropped_in_all(&self) -> u64 {
        sum(self.dropped.values().copied())
    }

    /// Messages that do not travel because the configuration says so, whatever of it.
    pub fn shaped_in_all(&self) -> u64 {
        sum(self.shaped.values().copied())
    }
}

/// An entry of `[[commands]]`, `[[services]]`, `[[actions]]` or `[[shadows]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// `command`, `service`, `action` or `shadow`.
    pub kind: String,
    /// MQTT topic as configured: its name in metrics.
    pub mqtt: String,
    /// Name of the ROS topic, service or action.
    pub ros: String,
    /// Who takes it on ROS now: subscribers, servers; nothing while nobody can tell.
    #[serde(default)]
    pub peers: Option<usize>,
    /// What keeps requests from being served, or somebody on ROS from getting them: a sentence without its full stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// How many requests there were, by what has become of them.
    pub outcomes: BTreeMap<String, u64>,
    pub last_accepted: Option<Accepted>,
    pub last_refused: Option<NotAccepted>,
    /// Of a device shadow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<DeviceShadow>,
}

/// How it stands with a device shadow. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceShadow {
    /// As far as it is known.
    pub version: Option<u64>,
    /// When an update of the bridge was taken last.
    pub updated: Option<u64>,
    /// When the last delta came.
    pub delta: Option<u64>,
}

/// A request that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    pub at: u64,
    /// If it had one.
    pub id: Option<String>,
}

/// A request that was not accepted, or not answered as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotAccepted {
    pub at: u64,
    /// If it had one that could be read.
    pub id: Option<String>,
    pub reason: String,
    /// Nothing of the payload is in it but names of fields.
    pub detail: String,
}

/// How it stands with a topic's subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Nobody publishes it yet, so its type is not known.
    Unknown,
    Subscribed {
        #[serde(rename = "type")]
        type_name: String,
        /// Publishers that deliver.
        publishers: usize,
        /// Publishers that offer less QoS than the topic is configured to ask for: nothing arrives from them.
        incompatible: usize,
        /// Publishers with another definition of the type than the one that is sourced: nothing of theirs is forwarded.
        #[serde(default)]
        redefined: usize,
        /// Publishers that DDS does not let deliver for another reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unmatched: Option<Unmatched>,
    },
    /// No ROS topic: what is sent because the cloud has asked an entry of the configuration for something.
    Replies,
    /// No longer configured; what is queued of it is still sent.
    Removed,
    /// A pattern had found it, and nobody publishes it any more.
    Vanished,
    /// Not forwarded, for a reason that a person has to read.
    Trouble { trouble: String },
}
