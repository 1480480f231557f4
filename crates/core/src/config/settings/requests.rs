//! What the cloud may ask of the robot: commands, services, actions and shadows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::units::{serialize_duration, serialize_optional_duration, serialize_optional_rate};
use super::{Qos, Settings};

/// What an action's and, unless it is told otherwise, a service's replies have behind the topic of the requests.
pub const REPLY: &str = "/reply";

/// What an action's feedback has behind the topic of the requests.
pub const FEEDBACK: &str = "/feedback";

/// What patterns of `[[topics]]` leave alone, because the cloud asks the robot for it: forwarded, it would come back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Requested {
    /// ROS topics that are published on for the cloud.
    pub ros: BTreeSet<String>,
    /// MQTT topics of requests, and others that are not for ROS topics: of the shadow and the jobs that configure the robot,
    /// and, for what comes from the cloud, those on which the bridge tells whether it is connected. The name of the thing may
    /// be open.
    pub mqtt: BTreeSet<String>,
}

/// An MQTT topic whose messages are published on a ROS topic.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Command {
    /// MQTT topic, without wildcards. The name of the thing may be left open, for [`fill_thing`](super::fill_thing).
    pub mqtt: String,
    /// Absolute name of the ROS topic.
    pub ros: String,
    /// `package/msg/Name`.
    #[serde(rename = "type")]
    pub type_name: String,
    pub payload: CommandPayload,
    /// Of the subscription.
    pub qos: Qos,
    /// Hertz. What comes faster is refused.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "serialize_optional_rate")]
    pub max_rate: Option<f64>,
    /// By what the envelope says in `sent`. What is older is refused.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "serialize_optional_duration")]
    pub max_age: Option<Duration>,
    /// Lowest and highest value, by the path of a field. What is outside is refused.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, [f64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_silence: Option<OnSilence>,
    /// MQTT topic of the replies; there are none without it. The name of the thing may be left open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
}

/// What a command's payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CommandPayload {
    /// The message as JSON.
    #[default]
    Message,
    /// `{"id":…,"sent":<ns since 1970>,"msg":{…}}`.
    Envelope,
}

/// What is published when no further command comes, so that the robot stops.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OnSilence {
    /// How long after the last command that was accepted.
    #[serde(serialize_with = "serialize_duration")]
    pub after: Duration,
    /// The message as JSON; fields that are missing have the default of the definition.
    pub message: Map<String, Value>,
}

/// A ROS service that the cloud may call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Service {
    /// MQTT topic of the requests. The name of the thing may be left open.
    pub mqtt: String,
    /// Absolute name of the ROS service.
    pub service: String,
    /// `package/srv/Name`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// How long a call waits for its response.
    #[serde(serialize_with = "serialize_duration")]
    pub timeout: Duration,
    /// MQTT topic of the replies. The name of the thing may be left open.
    pub reply: String,
}

/// A ROS action whose goals the cloud may set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Action {
    /// MQTT topic of the requests. The name of the thing may be left open. Replies go to this and `/reply`, feedback to
    /// this and `/feedback`.
    pub mqtt: String,
    /// Absolute name of the ROS action.
    pub action: String,
    /// `package/action/Name`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Hertz. Of feedback that comes faster, some is not sent; all is without it.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "serialize_optional_rate")]
    pub feedback_rate: Option<f64>,
}

/// A device shadow as ROS topics.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shadow {
    /// Of a named shadow; empty for the classic one.
    pub name: String,
    /// ROS topic whose messages become `reported`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
    /// Hertz, at most; there is one where there is `report`.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "serialize_optional_rate")]
    pub report_rate: Option<f64>,
    /// ROS topic that gets each delta.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<String>,
    /// Type of `desired`; without it a delta goes as the text of a [`STRING_TYPE`](super::STRING_TYPE).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_type: Option<String>,
}

/// The MQTT topics of requests, in the order of the sections. The name of the thing may be open.
pub(in crate::config) fn asked<'a>(
    commands: &'a [Command],
    services: &'a [Service],
    actions: &'a [Action],
) -> impl Iterator<Item = &'a str> {
    let commands = commands.iter().map(|command| &command.mqtt);
    let services = services.iter().map(|service| &service.mqtt);
    commands.chain(services).chain(actions.iter().map(|action| &action.mqtt)).map(String::as_str)
}

impl Settings {
    /// The MQTT topics on which commands, services and actions are asked for. The name of the thing may be open.
    pub fn asked(&self) -> impl Iterator<Item = &str> {
        asked(&self.commands, &self.services, &self.actions)
    }

    /// The MQTT topics of what is answered to them, feedback included. The name of the thing may be open.
    pub fn answered(&self) -> impl Iterator<Item = String> {
        let commands = self.commands.iter().filter_map(|command| command.reply.clone());
        let services = self.services.iter().map(|service| service.reply.clone());
        let actions = self.actions.iter().flat_map(|action| [action.reply(), action.feedback()]);
        commands.chain(services).chain(actions)
    }
}

impl Action {
    /// MQTT topic of the replies. The name of the thing may be open.
    pub fn reply(&self) -> String {
        format!("{}{REPLY}", self.mqtt)
    }

    /// MQTT topic of the feedback. The name of the thing may be open.
    pub fn feedback(&self) -> String {
        format!("{}{FEEDBACK}", self.mqtt)
    }
}

impl Shadow {
    /// What is subscribed to, behind [`prefix`](Self::prefix).
    pub const HEARD: [&str; 5] =
        ["/get/accepted", "/get/rejected", "/update/accepted", "/update/rejected", "/update/delta"];

    /// What is published to, behind [`prefix`](Self::prefix).
    pub const SAID: [&str; 2] = ["/get", "/update"];

    /// What all topics of the shadow begin with, for the thing called `thing`.
    pub fn prefix(&self, thing: &str) -> String {
        Self::prefix_of(&self.name, thing)
    }

    /// What all topics of the shadow called `name` begin with, for the thing called `thing` ("Reserved topics" in the developer
    /// guide of AWS IoT Core).
    pub fn prefix_of(name: &str, thing: &str) -> String {
        match name {
            "" => format!("$aws/things/{thing}/shadow"),
            name => format!("$aws/things/{thing}/shadow/name/{name}"),
        }
    }
}
