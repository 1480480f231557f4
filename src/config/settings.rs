//! The settings, after validation: what every other module reads.
//!
//! A value of these types is known to be usable: limits are checked, templates are expanded as far as the
//! configuration can, paths are absolute or relative to the working directory as written.

use std::path::PathBuf;
use std::time::Duration;

/// Everything that the configuration says.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub aws: Aws,
    pub mqtt: Mqtt,
    pub ros: Ros,
    pub queue: Queue,
    pub topics: Vec<Topic>,
}

/// Where the telemetry goes, and who sends it.
#[derive(Debug, Clone, PartialEq)]
pub struct Aws {
    /// Host name of the broker, for SNI and for the check of its certificate.
    pub endpoint: String,
    /// TCP port; on 443 ALPN `x-amzn-mqtt-ca` is offered, as AWS IoT Core asks for.
    pub port: u16,
    /// Name of the thing; stands for `{thing}` in topics.
    pub thing: String,
    /// MQTT client id.
    pub client_id: String,
    /// PEM file with the client certificate chain.
    pub certificate: PathBuf,
    /// PEM file with the private key of `certificate`.
    pub private_key: PathBuf,
    /// PEM file with the authorities that may sign the broker's certificate; the system's trust store without it.
    pub root_ca: Option<PathBuf>,
}

/// How the connection behaves.
#[derive(Debug, Clone, PartialEq)]
pub struct Mqtt {
    /// Longest silence before a ping.
    pub keep_alive: Duration,
    /// Longest wait for a PUBACK before the connection is given up.
    pub ack_timeout: Duration,
    pub reconnect: Reconnect,
    /// Publishes that may wait for their PUBACK at a time (1 to 100).
    pub in_flight: usize,
}

/// Back-off between connections: exponential with full jitter.
#[derive(Debug, Clone, PartialEq)]
pub struct Reconnect {
    /// Upper end of the first wait.
    pub initial: Duration,
    /// Upper end of the longest wait.
    pub max: Duration,
    /// How long a connection has to last before the next wait starts from `initial` again.
    pub stable_after: Duration,
}

/// The bridge's place in the ROS graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Ros {
    pub node_name: String,
    /// Empty or absolute (`/robot1`).
    pub namespace: String,
}

/// Bounds of the queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Queue {
    /// Bytes of memory that queued records may take, their bookkeeping included.
    pub memory: u64,
    pub overflow: Overflow,
    /// Age after which a record is dropped, unless its topic says otherwise.
    pub max_age: Duration,
}

/// What gives way when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    DropOldest,
    DropNewest,
}

/// One `[[topics]]` entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Topic {
    /// Absolute name of the ROS topic.
    pub ros: String,
    /// Message type (`std_msgs/msg/String`); taken from the graph without it.
    pub type_name: Option<String>,
    /// Template of the MQTT topic. Only `{type}` may still be open; everything else is filled in.
    pub mqtt: String,
    pub qos: Qos,
    pub retain: bool,
    pub payload: Payload,
    pub priority: Priority,
    /// Age after which a record of this topic is dropped.
    pub max_age: Duration,
    pub reliability: Reliability,
    pub durability: Durability,
    /// Messages that DDS keeps for the bridge before it has taken them.
    pub depth: usize,
}

/// MQTT quality of service; AWS IoT Core has no 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qos {
    AtMostOnce,
    AtLeastOnce,
}

/// What is published for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// The message as a JSON object.
    Message,
    /// The message in a JSON object that also says where it comes from.
    Envelope,
    /// The text of a `std_msgs/msg/String`.
    Data,
    /// The serialized bytes.
    Cdr,
}

/// Lane of the queue; the higher one is sent first and dropped last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    High,
    Normal,
    Low,
}

/// ROS QoS: whether lost samples are sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reliability {
    /// As the publishers offer.
    Auto,
    Reliable,
    BestEffort,
}

/// ROS QoS: whether samples published before the subscription are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// As the publishers offer.
    Auto,
    Volatile,
    TransientLocal,
}
