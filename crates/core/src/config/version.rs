//! The versions of MQTT.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A version of MQTT, as a connection speaks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Version {
    #[serde(rename = "3.1.1")]
    V3_1_1,
    #[serde(rename = "5")]
    V5,
}

/// As in `MQTT 3.1.1`.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::V3_1_1 => "3.1.1",
            Version::V5 => "5",
        })
    }
}

/// The version that is configured, `mqtt.version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MqttVersion {
    /// 5, and 3.1.1 with a broker that does not know 5.
    #[serde(rename = "auto")]
    Auto,
    #[serde(rename = "3.1.1")]
    V3_1_1,
    #[serde(rename = "5")]
    V5,
}

impl MqttVersion {
    /// Returns the version that a first connection speaks.
    pub fn first(self) -> Version {
        match self {
            MqttVersion::V3_1_1 => Version::V3_1_1,
            MqttVersion::Auto | MqttVersion::V5 => Version::V5,
        }
    }
}

impl From<Version> for MqttVersion {
    fn from(version: Version) -> Self {
        match version {
            Version::V3_1_1 => MqttVersion::V3_1_1,
            Version::V5 => MqttVersion::V5,
        }
    }
}
