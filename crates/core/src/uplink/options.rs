//! From the configuration to what the MQTT client is told.

use crate::config::{Aws, Mqtt, Version};
use crate::mqtt::{Broker, Options};

use super::presence::last_will;

/// The broker of `aws`, and the files that it names.
pub fn broker(aws: &Aws) -> Broker {
    Broker {
        host: aws.endpoint.clone(),
        port: aws.port,
        certificate: aws.certificate.clone(),
        private_key: aws.private_key.clone(),
        root_ca: aws.root_ca.clone(),
    }
}

/// How to connect as `aws` and `mqtt` say, in `version` (see [`VersionChoice`](super::VersionChoice)).
pub fn options(aws: &Aws, mqtt: &Mqtt, version: Version) -> Options {
    Options {
        broker: broker(aws),
        client_id: aws.client_id.clone(),
        version,
        keep_alive: mqtt.keep_alive,
        ack_timeout: mqtt.ack_timeout,
        proxy: mqtt.proxy.clone(),
        last_will: last_will(mqtt),
    }
}
