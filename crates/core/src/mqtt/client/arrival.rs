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
//! missed: not handed over.
//!
//! A broker sends only so much of QoS 1 without PUBACK, and nothing more of it after that for as long as the connection
//! stands: AWS IoT Core 100 publishes, Mosquitto 20. So what is not taken is answered as well:
//!
//! | what becomes of it | MQTT 5 | MQTT 3.1.1 |
//! | --- | --- | --- |
//! | [`Arrival::taken`] | PUBACK | PUBACK |
//! | missed | PUBACK with `quota exceeded` (0x97) | PUBACK: there is no word for no |
//! | dropped by the handler | PUBACK with `implementation specific error` (0x83) | nothing: nobody hears that it was done |

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
    /// `None` with QoS 0, of which nothing is said.
    receipt: Option<Receipt>,
}

impl Arrival {
    /// One of QoS 1 that no broker has sent, and where it is told what becomes of it: for tests of whoever handles arrivals.
    #[doc(hidden)]
    pub fn for_test(topic: &str, payload: &str) -> (Arrival, mpsc::Receiver<Settled>) {
        let (to, settled) = mpsc::channel(1);
        let (topic, payload) = (topic.to_owned(), Bytes::from(payload.to_owned()));
        let receipt = Some(Receipt { settled: Settled { packet_id: 1, is_taken: false }, to });
        (Arrival { topic, payload, retain: false, properties: Properties::default(), receipt }, settled)
    }

    /// The handler has done with it what it is for, be that to refuse it, upon which the broker gets a PUBACK. Of an arrival
    /// that is dropped without this, the broker hears in MQTT 5 that it was not taken, and in MQTT 3.1.1 nothing.
    pub fn taken(mut self) {
        if let Some(receipt) = &mut self.receipt {
            receipt.settled.is_taken = true;
        }
    }
}

/// Says what has become of an arrival, when it is dropped.
#[derive(Debug)]
struct Receipt {
    settled: Settled,
    to: mpsc::Sender<Settled>,
}

/// What has become of an arrival of QoS 1 that was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    pub packet_id: u16,
    pub is_taken: bool,
}

impl Drop for Receipt {
    fn drop(&mut self) {
        // There is room for all that are not settled. If there is nobody, the connection has ended.
        let _ = self.to.try_send(self.settled);
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
    receipts: (mpsc::Sender<Settled>, mpsc::Receiver<Settled>),
    /// Packet identifiers of what was handed over with QoS 1 and not settled.
    unsettled: HashSet<u16>,
}

impl Arrivals {
    pub fn new(handler: mpsc::Sender<Arrival>) -> Self {
        let receipts = mpsc::channel(handler.max_capacity());
        Arrivals { handler, receipts, unsettled: HashSet::new() }
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
        if self.unsettled.contains(&packet_id) {
            // It is sent again, and the handler has it.
            return true;
        }
        if self.unsettled.len() >= self.handler.max_capacity() {
            return false;
        }
        let Ok(place) = self.handler.try_reserve() else { return false };
        let receipt = Some(Receipt { settled: Settled { packet_id, is_taken: false }, to: self.receipts.0.clone() });
        place.send(Arrival { topic, payload, retain, properties, receipt });
        self.unsettled.insert(packet_id);
        true
    }

    /// Ready with what has become of one that was handed over.
    pub fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<Option<Settled>> {
        let settled = self.receipts.1.poll_recv(cx);
        settled.map(|settled| settled.inspect(|settled| _ = self.unsettled.remove(&settled.packet_id)))
    }
}
