//! From the queue to the MQTT client: as much as the window has room for, as fast as the quotas allow.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::client::{Client, Event, Message};
use super::journal;
use super::pacer::{Pacer, Wait};
use super::parcel::{Company, Parcel};
use super::presence::Presence;
use super::suspects::Suspects;
use super::window::{Publish, Window};
use crate::config::{Mqtt, Qos, fill_thing};
use crate::health::{DropReason, Meter};
use crate::queue::Queue;

/// A QoS 0 publish has no PUBACK. If the broker has not closed the connection within this time, it was not over that.
const QOS_0_DOUBT: Duration = Duration::from_secs(2);

/// After so long in a row of packing publishes the connection has its turn: what compression takes is bounded so.
const SLICE: Duration = Duration::from_millis(10);

/// What outlives a connection and decides what may be sent on it.
#[derive(Debug)]
pub(super) struct Rules {
    pub pacer: Pacer,
    pub suspects: Suspects,
    pub company: Company,
}

/// What one connection has in hand and in flight.
#[derive(Debug)]
pub(super) struct Outbox {
    /// What stands for `{thing}` in topics that have it open.
    thing: String,
    meter: Arc<Meter>,
    pub window: Window,
    presence: Option<Presence>,
    /// Whether the connection has said that it is there.
    announced: bool,
    /// Taken from the queue, and not sent because the quotas say so.
    in_hand: Option<Parcel>,
    /// When `in_hand` may be sent; nothing, if only a PUBACK can change that.
    resume: Option<Instant>,
    /// MQTT topics of QoS 0 publishes over which the broker may still close the connection, and when each was last sent.
    doubtful: BTreeMap<String, Instant>,
}

impl Outbox {
    pub fn new(thing: String, mqtt: &Mqtt, meter: Arc<Meter>) -> Self {
        let window = Window::new(mqtt.quotas.in_flight, mqtt.ack_timeout);
        Outbox {
            thing,
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
        let is_trial = |publish: &Publish| suspects.is_trial_of(&publish.route);
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
        let acknowledged = self.window.in_flight().map(|publish| publish.topic().to_owned());
        acknowledged.chain(self.doubtful.keys().cloned()).collect()
    }

    /// The one publish that is in flight, if it is of several records.
    pub fn lone_batch(&self) -> Option<&Publish> {
        let mut in_flight = self.window.in_flight();
        let publish = in_flight.next().filter(|publish| publish.received_ns.len() > 1)?;
        (in_flight.next().is_none() && self.doubtful.is_empty()).then_some(publish)
    }

    /// When to [feed](Outbox::feed) again though nothing has happened.
    pub fn resume(&self) -> Option<Instant> {
        self.resume
    }

    /// Submits records while the window has room, the quotas allow it and the queue has some.
    pub fn feed(&mut self, client: &mut Client, rules: &mut Rules, queue: &Queue) {
        let Rules { pacer, suspects, company } = rules;
        self.resume = None;
        let begun = Instant::now();
        while self.has_room(suspects) {
            let now = Instant::now();
            if now.saturating_duration_since(begun) >= SLICE {
                self.resume = Some(now);
                break;
            }
            let Some(mut parcel) = self.next(suspects, queue, now) else { break };
            if suspects.is_trial_of(&parcel.route) && !self.is_clear() {
                // It goes alone, once everything else is acknowledged.
                self.in_hand = Some(parcel);
                break;
            }
            parcel.grow(queue, company.extent(&parcel.route, suspects, now), now);
            // Asked before the work of packing it, which ends its growing, and again when its size is known.
            if let Err(wait) = pacer.admits(parcel.least_size(), now) {
                self.hold(parcel, wait);
                break;
            }
            if parcel.is_too_large() {
                parcel.lease.inspect(|lease| _ = queue.discard(*lease, DropReason::TooLarge, now));
                continue;
            }
            let size = addressed(parcel.message(), &self.thing, |message| client.size_of(message));
            let now = Instant::now();
            if let Err(wait) = pacer.admits(size, now) {
                self.hold(parcel, wait);
                break;
            }
            if parcel.lease.is_some() {
                company.sent(&parcel.route, now);
            }
            pacer.sent(self.submit(client, parcel), now);
        }
    }

    /// Keeps what may not be sent yet.
    fn hold(&mut self, parcel: Parcel, wait: Wait) {
        self.in_hand = Some(parcel);
        self.resume = match wait {
            Wait::Until(when) => Some(when),
            Wait::ForPuback => None,
        };
    }

    /// What is to be sent next: what is in hand, then the word that the bridge is there, then the queue's next record.
    fn next(&mut self, suspects: &Suspects, queue: &Queue, now: Instant) -> Option<Parcel> {
        if let Some(parcel) = self.in_hand.take() {
            return Some(parcel);
        }
        if !self.announced
            && let Some(presence) =
                self.presence.as_ref().filter(|presence| suspects.permit_route(&presence.route, now))
        {
            self.announced = true;
            return Some(Parcel::of_message(presence.route.clone(), presence.online.clone()));
        }
        queue.lease_where(now, &|route| suspects.permit_route(route, now)).map(Parcel::of)
    }

    /// Hands `parcel` to the MQTT client. Answers how many bytes its packet has.
    fn submit(&mut self, client: &mut Client, mut parcel: Parcel) -> usize {
        let size = addressed(parcel.message(), &self.thing, |message| client.publish(message));
        let encoding = parcel.pack().encoding;
        let Parcel { lease, route, received_ns, .. } = parcel;
        route.counters.count_published(size as u64);
        self.meter.count_published(size as u64);
        self.window.submit(Publish { lease, route, encoding, size, received_ns });
        size
    }

    /// Takes note of what the client reports.
    pub fn note(&mut self, event: &Event, rules: &mut Rules, queue: &Queue) {
        let now = Instant::now();
        let done = match event {
            Event::Sent { packet_id } => self.window.sent(*packet_id, now),
            Event::Acknowledged { packet_id, .. } => self.window.acknowledge(*packet_id, now),
            Event::Subscribed { .. } | Event::Arrived(_) => None,
        };
        if let Some(publish) = done {
            rules.pacer.arrived(publish.size, now);
            if let Some(lease) = publish.lease {
                queue.acknowledge(lease);
            }
            let topic = publish.topic();
            rules.suspects.has_gone(&publish.route.mqtt);
            match publish.route.qos {
                Qos::AtLeastOnce => {
                    publish.received_ns.iter().for_each(|ns| self.meter.observe_latency(time_since(*ns)));
                    clear(&mut rules.suspects, topic, &self.thing);
                }
                Qos::AtMostOnce => match self.doubtful.get_mut(topic) {
                    Some(last) => *last = now,
                    None => _ = self.doubtful.insert(topic.to_owned(), now),
                },
            }
        }
    }

    /// Takes QoS 0 publishes for taken that were sent long enough ago. To be called several times a second.
    pub fn settle(&mut self, suspects: &mut Suspects, now: Instant) {
        self.doubtful.retain(|topic, last| {
            let in_doubt = now.saturating_duration_since(*last) < QOS_0_DOUBT;
            if !in_doubt {
                clear(suspects, topic, &self.thing);
            }
            in_doubt
        });
    }

    /// Submits the word that the bridge is gone, and DISCONNECT behind everything else. What is in hand stays in the
    /// queue.
    pub fn leave(&mut self, client: &mut Client, suspects: &Suspects) {
        self.resume = None;
        if let Some(presence) = self.presence.take().filter(|presence| !suspects.is_trial(&presence.route.mqtt)) {
            self.submit(client, Parcel::of_message(presence.route, presence.offline));
        }
        client.disconnect();
    }
}

/// Hands `message` on to `then`, with the name of the thing in its topic where that was open.
fn addressed<T>(message: Message<'_>, thing: &str, then: impl FnOnce(&Message<'_>) -> T) -> T {
    then(&Message { topic: &fill_thing(message.topic, thing), ..message })
}

/// How long ago `received_ns` was, nanoseconds since 1970. Nothing, if the clock was set back since.
fn time_since(received_ns: i64) -> Duration {
    let then = Duration::from_nanos(received_ns.try_into().unwrap_or(0));
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(then)
}

/// The broker takes publishes to `topic` of `thing`.
fn clear(suspects: &mut Suspects, topic: &str, thing: &str) {
    if suspects.acknowledged(topic) {
        journal::log_taken_again(&fill_thing(topic, thing));
    }
}
