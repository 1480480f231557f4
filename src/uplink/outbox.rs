//! From the queue to the MQTT client: as much as the window has room for, as fast as the quotas allow.

use std::collections::BTreeMap;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rumqttc::{AsyncClient, Event, Incoming, Outgoing, QoS};

use super::fault::{Fault, FaultKind};
use super::journal;
use super::pacer::{Pacer, Wait};
use super::suspects::Suspects;
use super::window::{Publish, Window};
use crate::config::{Mqtt, Qos};
use crate::health::DropReason;
use crate::queue::{Lease, Queue, Route};
use crate::shaping::PAYLOAD_LIMIT;

/// A QoS 0 publish has no PUBACK. If the broker has not closed the connection within this time, it was not over that.
const QOS_0_DOUBT: Duration = Duration::from_secs(2);

/// What outlives a connection and decides what may be sent on it.
#[derive(Debug)]
pub(super) struct Rules {
    pub pacer: Pacer,
    pub suspects: Suspects,
}

/// What one connection has in hand and in flight.
pub(super) struct Outbox {
    client: AsyncClient,
    pub window: Window,
    /// Leased, and not sent because the quotas say so.
    in_hand: Option<Lease>,
    /// When `in_hand` may be sent; nothing, if only a PUBACK can change that.
    resume: Option<Instant>,
    /// MQTT topics of QoS 0 publishes over which the broker may still close the connection, and when each was last sent.
    doubtful: BTreeMap<String, Instant>,
}

impl Outbox {
    pub fn new(client: AsyncClient, mqtt: &Mqtt) -> Self {
        let window = Window::new(mqtt.quotas.in_flight, mqtt.ack_timeout);
        Outbox { client, window, in_hand: None, resume: None, doubtful: BTreeMap::new() }
    }

    /// Whether a record that becomes ready in the queue could be sent.
    pub fn wants_more(&self, suspects: &Suspects) -> bool {
        self.has_room(suspects) && self.in_hand.is_none()
    }

    fn has_room(&self, suspects: &Suspects) -> bool {
        let is_trial = |publish: &Publish| suspects.is_trial(&publish.route.mqtt);
        if suspects.one_at_a_time() || self.window.in_flight().any(is_trial) {
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
            let next = || queue.lease_where(now, &|route| suspects.permit(&route.mqtt, now));
            let Some(lease) = self.in_hand.take().or_else(next) else { break };
            if lease.record.payload.len() > PAYLOAD_LIMIT {
                // The broker would close the connection over it, now and whenever it is sent again.
                queue.discard(lease.id, DropReason::TooLarge, now);
                continue;
            }
            if suspects.is_trial(&lease.record.route.mqtt) && !self.is_clear() {
                // It goes alone, once everything else is acknowledged.
                self.in_hand = Some(lease);
                break;
            }
            let size = packet_size(&lease.record.route, lease.record.payload.len());
            if let Err(wait) = pacer.admits(size, now) {
                self.in_hand = Some(lease);
                self.resume = match wait {
                    Wait::Until(when) => Some(when),
                    Wait::ForPuback => None,
                };
                break;
            }
            if !self.submit(&lease) {
                return Err(Fault::new(FaultKind::Protocol, "the MQTT client takes no publish".into()));
            }
            pacer.sent(size, now);
            self.window.submit(Publish { lease: lease.id, route: lease.record.route, size });
        }
        Ok(())
    }

    fn submit(&self, lease: &Lease) -> bool {
        let route = &lease.record.route;
        let qos = match route.qos {
            Qos::AtMostOnce => QoS::AtMostOnce,
            Qos::AtLeastOnce => QoS::AtLeastOnce,
        };
        // The one call that takes the payload without copying it waits for room, of which there always is.
        let publish = pin!(self.client.publish_bytes(&route.mqtt, qos, route.retain, lease.record.payload.clone()));
        matches!(publish.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(())))
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
            queue.acknowledge(publish.lease);
            let topic = &publish.route.mqtt;
            match publish.route.qos {
                Qos::AtLeastOnce => clear(&mut rules.suspects, topic),
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

    /// Submits DISCONNECT behind everything else. What is in hand stays in the queue.
    pub fn leave(&mut self) {
        self.resume = None;
        // It cannot fail: the channel has room for it beside the window. If it did, the wait for it would end.
        let _ = self.client.try_disconnect();
    }
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
