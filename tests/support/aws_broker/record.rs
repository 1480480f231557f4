//! What the broker has seen, for a test to look at.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rumqttc::v5::mqttbytes::v5::PubAckReason;

const SECOND: Duration = Duration::from_secs(1);

/// A publish that reached the broker.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub at: Instant,
    pub client_id: String,
    /// Number of the connection, from 0 on.
    pub connection: usize,
    pub topic: String,
    pub payload: Bytes,
    /// Bytes of the whole packet.
    pub size: usize,
    pub qos: u8,
    pub retain: bool,
    pub verdict: Verdict,
    /// MQTT 5: what came beside the payload.
    pub properties: Properties,
}

/// The properties of an MQTT 5 publish.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    /// Whether the topic was named by an alias alone.
    pub by_alias: bool,
    pub message_expiry: Option<u32>,
    pub content_type: Option<String>,
    pub user: Vec<(String, String)>,
    pub response_topic: Option<String>,
    pub correlation_data: Option<Bytes>,
}

/// What the broker did with a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Passed on; its PUBACK may still be lost, by a fault that was asked for.
    Accepted,
    /// Over the publishes of a second: not processed.
    OverRate,
    /// Over the publishes without PUBACK: not processed.
    OverWindow,
    /// Not allowed by the policy.
    Forbidden,
    /// Of a payload that the broker was asked not to take. Only in MQTT 5.
    Unreadable,
    /// Outside of another limit; the connection was closed.
    Invalid(&'static str),
}

/// A CONNECT that reached the broker.
#[derive(Debug, Clone)]
pub struct Connect {
    pub at: Instant,
    pub client_id: String,
    pub is_mqtt5: bool,
    pub accepted: bool,
}

/// Everything that has come, in its order.
#[derive(Debug, Default, Clone)]
pub struct Record {
    pub arrivals: Vec<Arrival>,
    pub connects: Vec<Connect>,
    /// The filters of each SUBSCRIBE, with the number of its connection.
    pub subscribes: Vec<(usize, Vec<String>)>,
    /// The filters of each UNSUBSCRIBE.
    pub unsubscribes: Vec<Vec<String>>,
    /// Packet identifiers of the PUBACKs that clients have sent, each with its reason: in MQTT 3.1.1 there is only success.
    pub pubacks: Vec<(u16, PubAckReason)>,
    /// Wills that were published because a connection ended without DISCONNECT: topic and payload.
    pub wills: Vec<(String, Bytes)>,
    /// What the policies of the account did not allow: client id, action, resource.
    pub denied: Vec<String>,
    /// Publishes that had to wait, because of the bytes of a second.
    pub delayed: usize,
    /// Connections that ended because nothing came for too long.
    pub silent: usize,
}

impl Record {
    /// Publishes that broke a rule, with the rule.
    pub fn violations(&self) -> Vec<(&str, Verdict)> {
        let broken = self.arrivals.iter().filter(|arrival| arrival.verdict != Verdict::Accepted);
        broken.map(|arrival| (arrival.topic.as_str(), arrival.verdict)).collect()
    }

    /// Most publishes within a second, wherever that second begins.
    pub fn most_publishes_in_a_second(&self) -> usize {
        self.most_in_a_second(|_| 1)
    }

    /// Most bytes of publishes within a second, wherever that second begins.
    pub fn most_bytes_in_a_second(&self) -> usize {
        self.most_in_a_second(|arrival| arrival.size)
    }

    fn most_in_a_second(&self, amount: impl Fn(&Arrival) -> usize) -> usize {
        let (mut sum, mut most, mut first) = (0, 0, 0);
        for arrival in &self.arrivals {
            sum += amount(arrival);
            while arrival.at.duration_since(self.arrivals[first].at) >= SECOND {
                sum -= amount(&self.arrivals[first]);
                first += 1;
            }
            most = most.max(sum);
        }
        most
    }
}
