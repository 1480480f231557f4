//! What a part of the measurement is told at its start: the file named by its first argument.

use std::path::PathBuf;
use std::{env, fs};

use serde::Deserialize;

#[derive(Deserialize)]
pub struct Plan {
    pub topics: Vec<Topic>,
    /// How the broker is reached; `None` for a part that does not need to.
    pub broker: Option<Broker>,
}

#[derive(Deserialize)]
pub struct Topic {
    /// Absolute name.
    pub ros: String,
    /// `package/msg/Name`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// What is published, as the JSON that the bridge takes for a message. One of its texts holds a mark.
    pub message: Box<serde_json::value::RawValue>,
    /// Messages a second for each message a second that is asked for.
    pub share: f64,
}

#[derive(Deserialize)]
pub struct Broker {
    pub port: u16,
    /// PEM files. Without them: no TLS.
    pub tls: Option<Tls>,
    /// The client id, which also begins the MQTT topics.
    pub client_id: String,
}

#[derive(Deserialize)]
pub struct Tls {
    pub ca: PathBuf,
    pub certificate: PathBuf,
    pub private_key: PathBuf,
}

impl Plan {
    /// Reads the file.
    pub fn read() -> Plan {
        let path = env::args().nth(1).expect("the path of a plan");
        serde_json::from_slice(&fs::read(&path).expect("the plan can be read")).expect("the plan is one")
    }
}
