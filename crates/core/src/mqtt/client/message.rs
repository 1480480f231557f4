//! What is published.

use bytes::Bytes;

use crate::config::Qos;

/// Something to publish.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    pub topic: &'a str,
    pub qos: Qos,
    pub retain: bool,
    pub payload: &'a Bytes,
    /// What it is before it is compressed. Only MQTT 5 has a word for it.
    pub content_type: Option<&'static str>,
    /// A name and a value that MQTT does not know, for whoever receives it. Only in MQTT 5.
    pub user_property: Option<(&'static str, &'static str)>,
    /// Of the request that it answers. Only in MQTT 5.
    pub correlation_data: Option<&'a Bytes>,
    /// Seconds after which the broker keeps it for nobody any more. Only in MQTT 5.
    pub expires_in: Option<u32>,
}

impl<'a> Message<'a> {
    /// With nothing but what every publish has.
    pub fn new(topic: &'a str, qos: Qos, payload: &'a Bytes) -> Message<'a> {
        Message {
            topic,
            qos,
            retain: false,
            payload,
            content_type: None,
            user_property: None,
            correlation_data: None,
            expires_in: None,
        }
    }
}
