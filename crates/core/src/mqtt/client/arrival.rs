//! What is published to the client, on its way to whoever handles it.
//!
//! ```text
//!  broker ── PUBLISH ──► client ── Arrival ──► bounded channel ──► handler
//!  broker ◄── PUBACK ─── client ◄──────── Arrival::taken ───────────┘
//! ```
//!
//! The handler is another task, or the one that calls [`Client::next`](super::Client::next). However slow it is, the client
//! goes on reading. What bounds the memory is the channel's capacity: so many arrivals are in the channel or, with QoS 1, with
//! the handler. MQTT 5 tells the broker of it (Receive Maximum), which then sends no more of QoS 1. What comes beyond is
//! missed: not handed over, and not acknowledged.

use std::collections::HashSet;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::mpsc;

/// A message that somebody has published. It need not be of a topic that was subscribed to: AWS IoT Core's SendDirectMessage
/// names a client and a topic.
#[derive(Debug)]
pub struct Arrival {
    pub topic: String,
    pub payload: Bytes,
    /// The broker has kept it and sends it because of the subscription: nobody knows how old it is.
    pub retain: bool,
    /// What came beside the payload; nothing in MQTT 3.1.1.
    pub properties: Properties,
    /// Where to say that it was taken; `None` with QoS 0, of which nothing is said.
    receipt: Option<(u16, mpsc::Sender<u16>)>,
}

impl Arrival {
    /// One of QoS 1 that no broker has sent, and where it is told that it was taken: for tests of whoever handles arrivals.
    #[doc(hidden)]
    pub fn for_test(topic: &str, payload: &str) -> (Arrival, mpsc::Receiver<u16>) {
        let (receipts, taken) = mpsc::channel(1);
        let (topic, payload) = (topic.to_owned(), Bytes::from(payload.to_owned()));
        let (properties, receipt) = (Properties::default(), Some((1, receipts)));
        (Arrival { topic, payload, retain: false, properties, receipt }, taken)
    }

    /// The handler has done with it what it is for, upon which the broker gets a PUBACK. Of an arrival that is dropped without
    /// this, the broker hears nothing.
    pub fn taken(self) {
        if let Some((packet_id, receipts)) = self.receipt {
            // There is room for all that are not taken. If there is nobody, the connection has ended.
            let _ = receipts.try_send(packet_id);
        }
    }
}

/// What MQTT 5 has beside the payload, as whoever has published it says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    /// Where an answer is to go. Nobody has looked whether it may be published to.
    pub response_topic: Option<String>,
    /// What an answer is to bring back, so that it is known what it answers.
    pub correlation_data: Option<Bytes>,
    /// The kind of the payload, such as `application/json`.
    pub content_type: Option<String>,
    /// Seconds for which it is of use, those that it waited at the broker taken off.
    pub expires_in: Option<u32>,
}

/// A PUBLISH from the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Published {
    pub topic: String,
    pub payload: Bytes,
    pub retain: bool,
    pub properties: Properties,
    /// To acknowledge it with; `None` with QoS 0.
    pub packet_id: Option<u16>,
}

/// The client's end of the way to the handler.
#[derive(Debug)]
pub(super) struct Arrivals {
    handler: mpsc::Sender<Arrival>,
    receipts: (mpsc::Sender<u16>, mpsc::Receiver<u16>),
    /// Packet identifiers of what was handed over with QoS 1 and not taken.
    untaken: HashSet<u16>,
}

impl Arrivals {
    pub fn new(handler: mpsc::Sender<Arrival>) -> Self {
        let receipts = mpsc::channel(handler.max_capacity());
        Arrivals { handler, receipts, untaken: HashSet::new() }
    }

    /// Publishes of QoS 1 that may be without PUBACK, as MQTT 5 tells the broker.
    pub fn receive_max(&self) -> u16 {
        self.handler.max_capacity().try_into().unwrap_or(u16::MAX)
    }

    /// Hands `published` over. Returns false if there is no room for it.
    pub fn hand_over(&mut self, published: Published) -> bool {
        let Published { topic, payload, retain, properties, packet_id } = published;
        let Some(packet_id) = packet_id else {
            return self.handler.try_send(Arrival { topic, payload, retain, properties, receipt: None }).is_ok();
        };
        if self.untaken.contains(&packet_id) {
            // It is sent again, and the handler has it.
            return true;
        }
        let receipt = Some((packet_id, self.receipts.0.clone()));
        let has_room = self.untaken.len() < self.handler.max_capacity()
            && self.handler.try_send(Arrival { topic, payload, retain, properties, receipt }).is_ok();
        if has_room {
            self.untaken.insert(packet_id);
        }
        has_room
    }

    /// Ready with the packet identifier of what was taken.
    pub fn poll_taken(&mut self, cx: &mut Context<'_>) -> Poll<Option<u16>> {
        self.receipts.1.poll_recv(cx).map(|packet_id| packet_id.inspect(|packet_id| _ = self.untaken.remove(packet_id)))
    }
}
