//! What is published, on its way from the broker to a client.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rumqttc::matches;

use super::AwsBroker;
use super::session::Order;
use super::wire::{Answer, Will};

/// Something published, by a client or by somebody in the cloud.
#[derive(Debug, Clone, Default)]
pub struct Message {
    pub topic: String,
    pub payload: Bytes,
    pub qos: u8,
    pub retain: bool,
    /// What only MQTT 5 has.
    pub response_topic: Option<String>,
    pub correlation_data: Option<Bytes>,
    pub content_type: Option<String>,
    /// Seconds; the broker delivers it no later, and takes off those that it waited.
    pub expires_in: Option<u32>,
}

/// A message that waits at the broker, perhaps for ever.
#[derive(Debug, Clone)]
pub struct Held {
    pub message: Message,
    expires: Option<Instant>,
}

impl AwsBroker {
    /// Publishes `message`, as somebody in the cloud does: to every client that has subscribed to its topic.
    pub fn publish(&self, message: Message) {
        self.shared.deliver(message.into());
    }

    /// Sends `message` to the client, whatever it has subscribed to, as SendDirectMessage does. Its policy has to allow that
    /// it receives it.
    pub fn send_direct(&self, client_id: &str, message: Message) {
        self.shared.order(client_id, Order::Direct(message.into()));
    }
}

impl From<Message> for Held {
    fn from(message: Message) -> Self {
        let expires = message.expires_in.map(|seconds| Instant::now() + Duration::from_secs(seconds.into()));
        Held { message, expires }
    }
}

impl From<Will> for Message {
    fn from(Will { topic, payload, retain }: Will) -> Self {
        Message { topic, payload, retain, ..Message::default() }
    }
}

impl Held {
    /// As it is delivered at `now`; `None` if it has expired.
    pub fn left(&self, now: Instant) -> Option<Message> {
        let seconds = |left: Duration| left.as_secs_f64().ceil() as u32;
        let expires_in = match self.expires {
            None => None,
            Some(expires) => Some(seconds(expires.checked_duration_since(now).filter(|left| !left.is_zero())?)),
        };
        Some(Message { expires_in, ..self.message.clone() })
    }
}

/// What one client has subscribed to, and what is on its way there.
#[derive(Debug)]
pub struct Outbound {
    filters: Vec<(String, u8)>,
    /// Publishes that may be without PUBACK: the service's number, or the client's Receive Maximum if that is less.
    most: usize,
    unacknowledged: BTreeSet<u16>,
    waiting: VecDeque<Held>,
    last_id: u16,
}

impl Outbound {
    pub fn new(most: usize) -> Self {
        Outbound { filters: Vec::new(), most, unacknowledged: BTreeSet::new(), waiting: VecDeque::new(), last_id: 0 }
    }

    /// How many filters there are with `filters` among them; the same one again takes the place of the one before.
    pub fn count_with(&self, filters: &[(String, u8)]) -> usize {
        let all: BTreeSet<_> = self.filters.iter().chain(filters).map(|(filter, _)| filter).collect();
        all.len()
    }

    pub fn subscribe(&mut self, filter: &str, qos: u8) {
        self.unsubscribe(filter);
        self.filters.push((filter.to_owned(), qos));
    }

    pub fn unsubscribe(&mut self, filter: &str) {
        self.filters.retain(|(known, _)| known != filter);
    }

    pub fn has(&self, filter: &str) -> bool {
        self.filters.iter().any(|(known, _)| known == filter)
    }

    /// The highest QoS with which something of `topic` may come; `None` without a subscription.
    pub fn granted(&self, topic: &str) -> Option<u8> {
        // Of rumqttc's filters none reaches a topic that begins with `$`; at the service no wildcard does.
        let reaches = |filter: &str| filter == topic || matches(topic, filter);
        self.filters.iter().filter(|(filter, _)| reaches(filter)).map(|(_, qos)| *qos).max()
    }

    /// Takes `held` over. Returns what is sent now.
    pub fn send(&mut self, held: Held) -> Option<Answer> {
        if held.message.qos == 0 {
            return held.left(Instant::now()).map(|message| Answer::Message { message, packet_id: None });
        }
        self.waiting.push_back(held);
        self.next()
    }

    /// The client has acknowledged something. Returns what is sent upon that.
    pub fn acknowledged(&mut self, packet_id: u16) -> Option<Answer> {
        self.unacknowledged.remove(&packet_id);
        self.next()
    }

    fn next(&mut self) -> Option<Answer> {
        if self.unacknowledged.len() >= self.most {
            return None;
        }
        let now = Instant::now();
        let message = std::iter::from_fn(|| self.waiting.pop_front()).find_map(|held| held.left(now))?;
        self.last_id += 1;
        self.unacknowledged.insert(self.last_id);
        Some(Answer::Message { message, packet_id: Some(self.last_id) })
    }
}
