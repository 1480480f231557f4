//! What a connection is made with.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::{LastWill, ProxySource, Version};

/// A broker, and the files by which client and broker know each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Host name: for the look-up, for SNI and for the check of the broker's certificate.
    pub host: String,
    /// TCP port. On 443 ALPN `x-amzn-mqtt-ca` is offered, as AWS IoT Core asks for.
    pub port: u16,
    /// PEM file with the client certificate chain.
    pub certificate: PathBuf,
    /// PEM file with the private key of `certificate`.
    pub private_key: PathBuf,
    /// PEM file with the authorities that may sign the broker's certificate; the system's trust store without it.
    pub root_ca: Option<PathBuf>,
}

/// What [`Client::connect`](super::Client::connect) and [`Session::connect`](super::session::Session::connect) are told.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub broker: Broker,
    pub client_id: String,
    pub version: Version,
    /// Within this time a dead connection is found. From 1 s on; MQTT counts whole seconds, up to 65535.
    pub keep_alive: Duration,
    /// Longest wait of a [`Session`](super::session::Session) for a PUBACK or a SUBACK. A [`Client`](super::Client) waits for
    /// nothing.
    pub ack_timeout: Duration,
    /// Where an HTTP proxy is to be asked for the connection.
    pub proxy: Option<ProxySource>,
    /// What the broker publishes when the connection ends without DISCONNECT.
    pub last_will: Option<LastWill>,
}
