//! From the queue to the MQTT client: as much as the window has room for, as fast as the quotas allow.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rumqttc::{AsyncClient, Event, Incoming, Outgoing, QoS};

use super::fault::{Fault, FaultKind};
use super::journal;
use super::pacer::{Pacer, Wait};
use super::presence::Presence;
use super::suspects::Suspects;
use super::window::{Publish, Window};
use crate::config::{Mqtt, Qos};
use crate::health::{DropReason, Meter};
use crate::queue::{Lease, LeaseId, Queue, Route};
use crate::shaping::PAYLOAD_LIMIT;

/// A QoS 0 publish has no PUBACK. If the broker has not closed the connection within this time, it was not over that.
const QOS_0_DOUBT: Duration = Duration::from_secs(2);

/// What outlives a connection and decides what may be sent on it.
#[derive(Debug)]
pub(super) struct Rules {
    pub pacer: Pacer,
    pub suspects: Suspects,
}

/// Something to publish.
#[derive(Debug)]
struct Item {
    /// Of the record; nothing, if the queue does not know of it.
    lease: Option<LeaseId>,
    route: Arc<Route>,
    payload: Bytes,
    received_ns: Option<i64>,
}

/// What one connection has in hand and in flight.
pub(super) struct Outbox {
    client: AsyncClient,
    meter: Arc<Meter>,
    pub window: Window,
    presence: Option<Presence>,
    /// Whether the connection has said that it is there.
    announced: bool,
    /// Taken from the queue, and not sent because the quotas say so.
    in_hand: Option<Item>,
    /// When `in_hand` may be sent; nothing, if only a PUBACK can change that.
    resume: Option<Instant>,
    /// MQTT topics of QoS 0 publishes over which the broker may still close the connection, and when each was last sent.
    doubtful: BTreeMap<String, Instant>,
}

impl Outbox {
    pub fn new(client: AsyncClient, mqtt: &Mqtt, meter: Arc<Meter>) -> Self {
        let window = Window::new(mqtt.quotas.in_flight, mqtt.ack_timeout);
        Outbox {
            client,
            meter,
            window,
            presence: Presence::new(mqtt),
            announced: false,
            in_hand: None,
            resume: None,
            doubtful: BTreeMap::new(),
        }
    }

    /// Whether a record that becomes ready in the queue could be sent.
    pub fn wants_more(&self, suspects: &Suspects) -> bool {
        self.has_room(suspects) && self.in_hand.is_none()
    }

    fn has_room(&self, suspects: &Suspects) -> bool {
        let is_trial = |publish: &Publish| suspects.is_trial(&publish.route.mqtt);
        if suspects.one_at_a_time() || suspects.has_trials() && self.window.in_flight().any(is_trial) {
            return self.is_clear();
        }
        self.window.has_room()
    }

    /// Whether nothing is in flight over which the broker could close the connection.
    fn is_clear(&self) -> bool {
        self.window.len() == 0 && self.doubtful.is_empty()
    }

    /// MQTT topics of what is in flight.
    pub fn topics_in_flight(&self) -> Vec<String> {
        let acknowledged = self.window.in_flight().map(|publish| publish.route.mqtt.clone());
        acknowledged.chain(self.doubtful.keys().cloned()).collect()
    }

    /// When to [feed](Outbox::feed) again though nothing has happened.
    pub fn resume(&self) -> Option<Instant> {
        self.resume
    }

    /// Submits records while the window has room, the quotas allow it and the queue has some.
    pub fn feed(&mut self, rules: &mut Rules, queue: &Queue) -> Result<(), Fault> {
        let Rules { pacer, suspects } = rules;
        self.resume = None;
        while self.has_room(suspects) {
            let now = Instant::now();
            let Some(item) = self.next(suspects, queue, now) else { break };
            if suspects.is_trial(&item.route.mqtt) && !self.is_clear() {
                // It goes alone, once everything else is acknowledged.
                self.in_hand = Some(item);
                break;
            }
            let size = packet_size(&item.route, item.payload.len());
            if let Err(wait) = pacer.admits(size, now) {
                self.in_hand = Some(item);
                self.resume = match wait {
                    Wait::Until(when) => Some(when),
                    Wait::ForPuback => None,
                };
                break;
            }
            if !self.submit(item, size) {
                return Err(Fault::new(FaultKind::Protocol, "the MQTT client takes no publish".into()));
            }
            pacer.sent(size, now);
        }
        Ok(())
    }

    /// What is to be sent next: what is in hand, then the word that the bridge is there, then the queue's next record.
    fn next(&mut self, suspects: &Suspects, queue: &Queue, now: Instant) -> Option<Item> {
        if let Some(item) = self.in_hand.take() {
            return Some(item);
        }
        let permits = |route: &Route| suspects.permit(&route.mqtt, now);
        if !self.announced
            && let Some(presence) = self.presence.as_ref().filter(|presence| permits(&presence.route))
        {
            self.announced = true;
            let (route, payload) = (presence.route.clone(), presence.online.clone());
            return Some(Item { lease: None, route, payload, received_ns: None });
        }
        loop {
            let Lease { id, record } = queue.lease_where(now, &permits)?;
            if record.payload.len() <= PAYLOAD_LIMIT {
                let received_ns = Some(record.received_ns);
                return Some(Item { lease: Some(id), route: record.route, payload: record.payload, received_ns });
            }
            // The broker would close the connection over it, now and whenever it is sent again.
            queue.discard(id, DropReason::TooLarge, now);
        }
    }

    /// Hands `item`, whose packet has `size` bytes, to the MQTT client. Answers whether that has taken it.
    fn submit(&mut self, item: Item, size: usize) -> bool {
        let Item { lease, route, payload, received_ns } = item;
        let qos = match route.qos {
            Qos::AtMostOnce => QoS::AtMostOnce,
            Qos::AtLeastOnce => QoS::AtLeastOnce,
        };
        let taken = {
            // The one call that takes the payload without copying it waits for room, of which there always is.
            let publish = pin!(self.client.publish_bytes(&route.mqtt, qos, route.retain, payload));
            matches!(publish.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(())))
        };
        route.counters.count_published(size as u64);
        self.meter.count_published(size as u64);
        self.window.submit(Publish { lease, route, size, received_ns });
        taken
    }

    /// Takes note of what the client reports.
    pub fn note(&mut self, event: &Event, rules: &mut Rules, queue: &Queue) {
        let now = Instant::now();
        let done = match event {
            Event::Outgoing(Outgoing::Publish(packet_id)) => self.window.sent(*packet_id, now),
            Event::Incoming(Incoming::PubAck(ack)) => self.window.acknowledge(ack.pkid, now),
            _ => None,
        };
        if let Some(publish) = done {
            rules.pacer.arrived(publish.size, now);
            if let Some(lease) = publish.lease {
                queue.acknowledge(lease);
            }
            let topic = &publish.route.mqtt;
            match publish.route.qos {
                Qos::AtLeastOnce => {
                    if let Some(received_ns) = publish.received_ns {
                        self.meter.observe_latency(time_since(received_ns));
                    }
                    clear(&mut rules.suspects, topic);
                }
                Qos::AtMostOnce => match self.doubtful.get_mut(topic) {
                    Some(last) => *last = now,
                    None => _ = self.doubtful.insert(topic.clone(), now),
                },
            }
        }
    }

    /// Takes QoS 0 publishes for taken that were sent long enough ago. To be called several times a second.
    pub fn settle(&mut self, suspects: &mut Suspects, now: Instant) {
        self.doubtful.retain(|topic, last| {
            let in_doubt = now.saturating_duration_since(*last) < QOS_0_DOUBT;
            if !in_doubt {
                clear(suspects, topic);
            }
            in_doubt
        });
    }

    /// Submits the word that the bridge is gone, and DISCONNECT behind everything else. What is in hand stays in the
    /// queue.
    pub fn leave(&mut self, suspects: &Suspects) {
        self.resume = None;
        if let Some(presence) = self.presence.take().filter(|presence| !suspects.is_trial(&presence.route.mqtt)) {
            let size = packet_size(&presence.route, presence.offline.len());
            let (route, payload) = (presence.route, presence.offline);
            self.submit(Item { lease: None, route, payload, received_ns: None }, size);
        }
        // It cannot fail: the channel has room for it beside the window. If it did, the wait for it would end.
        let _ = self.client.try_disconnect();
    }
}

/// How long ago `received_ns` was, nanoseconds since 1970. Nothing, if the clock was set back since.
fn time_since(received_ns: i64) -> Duration {
    let then = Duration::from_nanos(received_ns.try_into().unwrap_or(0));
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(then)
}

/// The broker takes publishes to `topic`.
fn clear(suspects: &mut Suspects, topic: &str) {
    if suspects.acknowledged(topic) {
        journal::log_taken_again(topic);
    }
}

/// Bytes of a PUBLISH packet of MQTT 3.1.1.
fn packet_size(route: &Route, payload: usize) -> usize {
    let packet_id = match route.qos {
        Qos::AtMostOnce => 0,
        Qos::AtLeastOnce => 2,
    };
    let remaining = 2 + route.mqtt.len() + packet_id + payload;
    let length = match remaining {
        0..128 => 1,
        128..16_384 => 2,
        16_384..2_097_152 => 3,
        _ => 4,
    };
    1 + length + remaining
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Priority;

    /// The MQTT client's own arithmetic agrees.
    #[test]
    fn the_size_of_a_packet_is_what_is_written() {
        for (qos, with) in [(Qos::AtMostOnce, QoS::AtMostOnce), (Qos::AtLeastOnce, QoS::AtLeastOnce)] {
            for payload in [0, 1, 100, 110, 120, 127, 128, 16_360, 16_370, 16_384, 131_072] {
                let route = Route {
                    ros: "/odom".into(),
                    mqtt: "robots/robot1/odom".into(),
                    qos,
                    retain: false,
                    priority: Priority::Normal,
                    counters: Default::default(),
                };
                let mut publish = rumqttc::Publish::new(&route.mqtt, with, vec![0; payload]);
                publish.pkid = 1;
                assert_eq!(packet_size(&route, payload), publish.size(), "{qos:?} {payload}");
            }
        }
    }
}
