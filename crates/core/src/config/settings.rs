//! The settings, after validation: what every other module reads.
//!
//! A value of these types is known to be usable: limits are checked, templates are expanded as far as the
//! configuration can, paths are absolute or relative to the working directory as written.
//!
//! They serialize to the configuration's own vocabulary, and what is printed so reads back as the same settings, but for
//! secrets, which are not printed.

mod remote;
mod requests;
mod shaping;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::credentials_directory::expand;
use super::mqtt_topic::{TopicFault, check_publish_topic};
use super::proxy::ProxySource;
use super::template::fill_type;
use super::units::{serialize_duration, serialize_optional_duration, serialize_optional_rate, serialize_size};
use super::version::MqttVersion;

pub use remote::{Remote, Section};
pub(super) use requests::asked;
pub use requests::{Action, Command, CommandPayload, FEEDBACK, OnSilence, REPLY, Requested, Service, Shadow};
pub use shaping::{Aggregate, ArrayLimit, ArrayOver, Arrays, Deadband, OnChange};

/// The type whose text the payload `data` passes on.
pub const STRING_TYPE: &str = "std_msgs/msg/String";

/// Everything that the configuration says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    pub aws: Aws,
    pub mqtt: Mqtt,
    pub ros: Ros,
    pub queue: Queue,
    pub health: Health,
    pub topics: Vec<Topic>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<Command>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Service>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Action>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shadows: Vec<Shadow>,
    /// `None` where the robot takes no configuration from the cloud.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<Remote>,
}

impl Settings {
    /// The settings as a configuration file would say them, defaults included, with `***` in the place of secrets.
    pub fn to_toml(&self) -> Result<String, toml_edit::ser::Error> {
        toml_edit::ser::to_string_pretty(self)
    }

    /// The same with the secrets: for a file that only its owner reads.
    pub fn to_secret_toml(&self) -> Result<String, toml_edit::TomlError> {
        let mut document: toml_edit::DocumentMut = self.to_toml().unwrap_or_default().parse()?;
        if let Some(ProxySource::Url(proxy)) = &self.mqtt.proxy {
            document["mqtt"]["proxy"]["url"] = toml_edit::value(proxy.secret_url());
        }
        for (name, value) in self.aws.provisioning.iter().flat_map(|provisioning| &provisioning.parameters) {
            document["aws"]["provisioning"]["parameters"][name] = toml_edit::value(value);
        }
        Ok(document.to_string())
    }

    /// Whether they hold what others must not read: a proxy's password, or what provisioning is told of the robot, which
    /// a template's hook may take as a proof.
    pub fn hold_secrets(&self) -> bool {
        let told = self.aws.provisioning.as_ref().is_some_and(|provisioning| !provisioning.parameters.is_empty());
        told || self.mqtt.proxy.as_ref().is_some_and(ProxySource::holds_password)
    }

    /// Puts `directory` in the place of `${CREDENTIALS_DIRECTORY}` in paths.
    pub(super) fn find_credentials(&mut self, directory: &Path) {
        self.aws.find_credentials(directory);
        if let Some(ProxySource::File { url_file }) = &mut self.mqtt.proxy {
            expand(url_file, directory);
        }
    }
}

/// Where the telemetry goes, and who sends it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Aws {
    /// Host name of the broker, for SNI and for the check of its certificate.
    pub endpoint: String,
    /// TCP port; on 443 ALPN `x-amzn-mqtt-ca` is offered, as AWS IoT Core asks for.
    pub port: u16,
    /// Name of the thing; stands for `{thing}` in topics. [`UNNAMED`] where provisioning gives the name.
    #[serde(skip_serializing_if = "is_unnamed")]
    pub thing: String,
    /// MQTT client id; [`UNNAMED`] if it is the thing's name and that is not known.
    #[serde(skip_serializing_if = "is_unnamed")]
    pub client_id: String,
    /// PEM file with the client certificate chain.
    pub certificate: PathBuf,
    /// PEM file with the private key of `certificate`.
    pub private_key: PathBuf,
    /// PEM file with the authorities that may sign the broker's certificate; the system's trust store without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_ca: Option<PathBuf>,
    /// How the robot gets `certificate` and `private_key`, if they do not come with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provisioning: Option<Provisioning>,
}

/// Stands for the name of a thing that provisioning has to give. No thing can be called so, and in the place of
/// `{thing}` in a topic it leaves the placeholder open, for [`fill_thing`].
pub const UNNAMED: &str = "{thing}";

fn is_unnamed(name: &str) -> bool {
    name == UNNAMED
}

impl Aws {
    /// Whether the name of the thing is known.
    pub fn is_named(&self) -> bool {
        !is_unnamed(&self.thing)
    }

    /// Puts `directory` in the place of `${CREDENTIALS_DIRECTORY}` in paths.
    pub(super) fn find_credentials(&mut self, directory: &Path) {
        expand(&mut self.certificate, directory);
        expand(&mut self.private_key, directory);
        if let Some(root_ca) = &mut self.root_ca {
            expand(root_ca, directory);
        }
        if let Some(claim) = &mut self.provisioning {
            expand(&mut claim.claim_certificate, directory);
            expand(&mut claim.claim_private_key, directory);
        }
    }

    /// Gives the thing the name `thing`, and the client id too if that is to be the same. What is configured stays.
    pub fn name(&mut self, thing: &str) {
        for name in [&mut self.thing, &mut self.client_id] {
            if is_unnamed(name) {
                thing.clone_into(name);
            }
        }
    }
}

/// `topic`, with `thing` in the place that was left open for it.
pub fn fill_thing<'a>(topic: &'a str, thing: &str) -> Cow<'a, str> {
    if topic.contains(UNNAMED) { topic.replace(UNNAMED, thing).into() } else { topic.into() }
}

/// Fleet provisioning by claim. Its parameters are printed by name only.
#[derive(Clone, PartialEq, Serialize)]
pub struct Provisioning {
    /// Name of the provisioning template.
    pub template: String,
    /// PEM file with the certificate that may do nothing but ask for another.
    pub claim_certificate: PathBuf,
    /// PEM file with the private key of `claim_certificate`.
    pub claim_private_key: PathBuf,
    /// What the template and its hook are told of this robot. The hook may take it as a proof of who asks.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", serialize_with = "serialize_names")]
    pub parameters: BTreeMap<String, String>,
}

/// In the place of what must not be printed.
const HIDDEN: &str = "***";

fn serialize_names<S: Serializer>(parameters: &BTreeMap<String, String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(parameters.keys().map(|name| (name, HIDDEN)))
}

impl fmt::Debug for Provisioning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provisioning")
            .field("template", &self.template)
            .field("claim_certificate", &self.claim_certificate)
            .field("claim_private_key", &self.claim_private_key)
            .field("parameters", &self.parameters.keys())
            .finish()
    }
}

/// How the connection behaves.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mqtt {
    pub version: MqttVersion,
    /// A link over which nothing comes back any more is given up within this time: the broker is pinged twice in it.
    #[serde(serialize_with = "serialize_duration")]
    pub keep_alive: Duration,
    /// Longest wait for a PUBACK before the connection is given up.
    #[serde(serialize_with = "serialize_duration")]
    pub ack_timeout: Duration,
    pub reconnect: Reconnect,
    pub quotas: Quotas,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_will: Option<LastWill>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presence: Option<Presence>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxySource>,
}

/// What the broker publishes when a connection ends without DISCONNECT.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LastWill {
    /// Ready to publish to, but for the name of the thing where that is not known.
    pub topic: String,
    pub payload: String,
    pub qos: Qos,
    pub retain: bool,
}

/// A retained message that tells whether the bridge is connected. Takes the place of a last will.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Presence {
    /// Ready to publish to, but for the name of the thing where that is not known.
    pub topic: String,
    /// Published after each CONNACK.
    pub online: String,
    /// Published before DISCONNECT, or by the broker if the connection ends without it.
    pub offline: String,
}

/// What a connection may carry.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quotas {
    /// Publishes in any second; `None` is `"unlimited"`.
    #[serde(serialize_with = "serialize_unlimited")]
    pub publishes_per_second: Option<u32>,
    /// Bytes of publishes, their topics and headers included, in any second; `None` is `"unlimited"`.
    #[serde(serialize_with = "serialize_size_or_unlimited")]
    pub bytes_per_second: Option<u64>,
    /// Publishes that may wait for their PUBACK at a time (1 to 100).
    pub in_flight: usize,
}

const UNLIMITED: &str = "unlimited";

fn serialize_unlimited<S: Serializer>(limit: &Option<u32>, serializer: S) -> Result<S::Ok, S::Error> {
    match limit {
        Some(limit) => serializer.serialize_u32(*limit),
        None => serializer.serialize_str(UNLIMITED),
    }
}

fn serialize_size_or_unlimited<S: Serializer>(limit: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    match limit {
        Some(limit) => serialize_size(limit, serializer),
        None => serializer.serialize_str(UNLIMITED),
    }
}

/// Back-off between connections: exponential with full jitter.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reconnect {
    /// Upper end of the first wait.
    #[serde(serialize_with = "serialize_duration")]
    pub initial: Duration,
    /// Upper end of the longest wait.
    #[serde(serialize_with = "serialize_duration")]
    pub max: Duration,
    /// How long a connection has to last before the next wait starts from `initial` again.
    #[serde(serialize_with = "serialize_duration")]
    pub stable_after: Duration,
}

/// The bridge's place in the ROS graph.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ros {
    pub node_name: String,
    /// Empty or absolute (`/robot1`).
    pub namespace: String,
}

/// Bounds of the queue.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Queue {
    /// Bytes of memory that queued records may take, their bookkeeping included.
    #[serde(serialize_with = "serialize_size")]
    pub memory: u64,
    /// Bytes of disk that all files of the queue may take together; 0 for no disk.
    #[serde(serialize_with = "serialize_size")]
    pub disk: u64,
    /// Where those files are.
    pub directory: PathBuf,
    pub durability: QueueDurability,
    /// With [`QueueDurability::Always`]: how long a record may wait to be written together with others; 0 for not at
    /// all.
    #[serde(serialize_with = "serialize_sync")]
    pub sync: Duration,
    pub overflow: Overflow,
    /// Age after which a record is dropped, unless its topic says otherwise.
    #[serde(serialize_with = "serialize_duration")]
    pub max_age: Duration,
}

impl Queue {
    /// A queue without a disk that keeps its records for up to a week.
    pub fn in_memory(memory: u64, overflow: Overflow) -> Queue {
        Queue {
            memory,
            disk: 0,
            directory: PathBuf::new(),
            durability: QueueDurability::Memory,
            sync: Duration::ZERO,
            overflow,
            max_age: Duration::from_secs(7 * 86_400),
        }
    }
}

/// No wait has a word of its own.
fn serialize_sync<S: Serializer>(sync: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    if sync.is_zero() { serializer.serialize_str("each") } else { serialize_duration(sync, serializer) }
}

/// When records are written to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueueDurability {
    /// Never.
    Memory,
    /// While the link is down, when memory is short, and when the bridge stops.
    Spill,
    /// Each.
    Always,
}

/// What gives way when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    DropOldest,
    DropNewest,
}

/// What the bridge tells of itself, and to whom.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Health {
    /// Where Prometheus finds the metrics; nowhere without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<SocketAddr>,
    /// Whether `/diagnostics` is published.
    pub diagnostics: bool,
}

/// One `[[topics]]` entry.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Topic {
    /// Absolute name of the ROS topic.
    pub ros: String,
    /// Message type (`std_msgs/msg/String`); taken from the graph without it.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_name: Option<String>,
    /// Template of the MQTT topic. Only `{type}` may still be open, and `{thing}` where provisioning gives the name;
    /// everything else is filled in.
    pub mqtt: String,
    pub qos: Qos,
    pub retain: bool,
    /// Names and patterns that a pattern leaves out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
    /// What a pattern leaves out besides; `None` where `ros` is a name. It is made from the other sections.
    #[serde(skip)]
    pub requested: Option<Arc<Requested>>,
    /// Most topics of a pattern; `None` where `ros` is a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// At most so many messages a second, in hertz.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "serialize_optional_rate")]
    pub rate: Option<f64>,
    /// One of so many messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<u32>,
    /// One record for the messages of so long a time.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "serialize_optional_duration")]
    pub window: Option<Duration>,
    /// What such a record holds, in the order of [`Aggregate`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aggregate: Vec<Aggregate>,
    /// Paths of the fields that travel; empty for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// Paths of fields that do not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// What becomes of long arrays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrays: Option<Arrays>,
    /// Significant digits of floating-point numbers (1 to 17); as many as read back the same without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digits: Option<u8>,
    /// Only messages that differ from the last one that was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_change: Option<OnChange>,
    pub payload: Payload,
    /// Several messages in a publish; each in one of its own without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
    #[serde(serialize_with = "serialize_compression")]
    pub compression: Option<Encoding>,
    /// Payloads of more bytes are compressed.
    #[serde(serialize_with = "serialize_size")]
    pub compress_over: u64,
    /// Whether what is compressed goes to a topic of its own, [`Encoding::suffix`] after the other.
    pub compression_suffix: bool,
    pub priority: Priority,
    /// Age after which a record of this topic is dropped.
    #[serde(serialize_with = "serialize_duration")]
    pub max_age: Duration,
    pub reliability: Reliability,
    pub durability: Durability,
    /// Messages that DDS keeps for the bridge before it has taken them.
    pub depth: usize,
}

impl Topic {
    /// The MQTT topic for messages of the type `type_name`, ready to publish to but for the name of the thing, where that
    /// is not known.
    ///
    /// # Errors
    /// If AWS IoT Core doesn't take it: that depends on the type as long as `{type}` is open.
    pub fn mqtt_for(&self, type_name: &str) -> Result<String, TopicFault> {
        let mqtt = fill_type(&self.mqtt, type_name)?;
        if let Some(suffix) = self.suffix() {
            check_publish_topic(&format!("{mqtt}{suffix}"))?;
        }
        Ok(mqtt)
    }

    /// The template of the MQTT topic, and that of what is compressed where that is another.
    pub fn mqtt_topics(&self) -> Vec<String> {
        let compressed = self.suffix().map(|suffix| format!("{}{suffix}", self.mqtt));
        [self.mqtt.clone()].into_iter().chain(compressed).collect()
    }

    /// What is added to the MQTT topic of payloads that are compressed.
    pub fn suffix(&self) -> Option<&'static str> {
        self.compression.filter(|_| self.compression_suffix).map(Encoding::suffix)
    }
}

/// How many messages travel in a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Batch {
    /// At most so many (1 to 100000).
    pub max: u32,
    /// How long a message waits for others.
    #[serde(serialize_with = "serialize_duration")]
    pub linger: Duration,
}

/// How payloads are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Encoding {
    /// Its name, as in HTTP's `Content-Encoding`.
    pub fn label(self) -> &'static str {
        match self {
            Encoding::Gzip => "gzip",
            Encoding::Zstd => "zstd",
        }
    }

    /// What is added to the MQTT topic, if that is asked for: a level of its own, so that a subscription to `<topic>/#`
    /// sees both.
    pub fn suffix(self) -> &'static str {
        match self {
            Encoding::Gzip => "/gzip",
            Encoding::Zstd => "/zstd",
        }
    }
}

fn serialize_compression<S: Serializer>(encoding: &Option<Encoding>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(encoding.map_or("none", Encoding::label))
}

/// MQTT quality of service; AWS IoT Core has no 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "u8")]
pub enum Qos {
    AtMostOnce,
    AtLeastOnce,
}

impl From<Qos> for u8 {
    fn from(qos: Qos) -> u8 {
        match qos {
            Qos::AtMostOnce => 0,
            Qos::AtLeastOnce => 1,
        }
    }
}

/// What is published for a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    High,
    Normal,
    Low,
}

/// ROS QoS: whether lost samples are sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reliability {
    /// As the publishers offer.
    Auto,
    Reliable,
    BestEffort,
}

/// ROS QoS: whether samples published before the subscription are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// As the publishers offer.
    Auto,
    Volatile,
    TransientLocal,
}
