//! From the queue to the MQTT client: as much as the window has room for, as fast as the quotas allow.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::connection_log;
use super::early_close::Course;
use super::outgoing::OutgoingPublish;
use super::pacer::Wait;
use super::presence::Presence;
use super::rules::{Rules, complaint};
use super::suspects::{Close, InFlight, Suspects, Verdict};
use super::window::{Publish, Window};
use crate::config::{Mqtt, TopicFault, check_publish_topic, fill_thing};
use crate::mqtt::client::{Client, Event, Failure, Limits, Message, Reason, ServerReason};
use crate::queue::{Queue, Route};
use crate::tally::{DropReason, Meter, ONCE_A_MINUTE};
use crate::topics::{Topic, TopicId};

/// A QoS 0 publish has no PUBACK. If the broker has not closed the connection within this time, it was not over that.
const QOS_0_DOUBT: Duration = Duration::from_secs(2);

/// After so long in a row of packing publishes the connection has its turn: what compression takes is bounded so.
const SLICE: Duration = Duration::from_millis(10);

/// What is in hand goes before what is more urgent once it has been overtaken for so long.
const OVERTAKEN: Duration = Duration::from_secs(1);

/// What the outbox asks of an MQTT client.
pub(super) trait Publisher {
    /// What the broker takes.
    fn limits(&self) -> &Limits;
    /// Most bytes that the packet of `message` can have with a payload of `payload` bytes in the place of its own.
    fn size_with(&self, message: &Message<'_>, payload: usize) -> usize;
    /// Takes `message` over, behind all that was before. Returns how many bytes its packet has.
    fn publish(&mut self, message: &Message<'_>) -> usize;
    /// The broker has not taken a publish to `topic`.
    fn was_refused(&mut self, topic: &str);
}

impl Publisher for Client {
    fn limits(&self) -> &Limits {
        Client::limits(self)
    }

    fn size_with(&self, message: &Message<'_>, payload: usize) -> usize {
        Client::size_with(self, message, payload)
    }

    fn publish(&mut self, message: &Message<'_>) -> usize {
        Client::publish(self, message)
    }

    fn was_refused(&mut self, topic: &str) {
        Client::was_refused(self, topic);
    }
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
    in_hand: Option<OutgoingPublish>,
    /// What was in hand when something more urgent came: a large record waits for the quota of bytes for a quarter of a second.
    overtaken: Option<OutgoingPublish>,
    /// Records that are passed over, until the one behind them has shown whether the broker takes their topic.
    passed_over: VecDeque<OutgoingPublish>,
    /// When `in_hand` may be sent; `None`, if only a PUBACK can change that.
    resume: Option<Instant>,
    /// MQTT topics of QoS 0 publishes over which the broker may still close the connection, and when each was last sent.
    doubtful: BTreeMap<String, Instant>,
    /// Topics of which the broker has refused a publish that goes back to the queue. Nothing more of them is sent before all
    /// that is in flight is answered.
    returning: Vec<Arc<Route>>,
    /// Topics of which a record is too large for the packets that the broker takes on this connection.
    outgrown: Vec<(TopicId, Weak<Topic>)>,
}

impl Outbox {
    pub fn new(thing: String, mqtt: &Mqtt, limits: &Limits, meter: Arc<Meter>) -> Self {
        let capacity = mqtt.quotas.in_flight.min(limits.receive_maximum.into());
        let window = Window::new(capacity, mqtt.ack_timeout);
        Outbox {
            thing,
            meter,
            window,
            presence: Presence::new(mqtt),
            announced: false,
            in_hand: None,
            overtaken: None,
            passed_over: VecDeque::new(),
            resume: None,
            doubtful: BTreeMap::new(),
            returning: Vec::new(),
            outgrown: Vec::new(),
        }
    }

    /// Whether a record that becomes ready in the queue could be sent.
    pub fn wants_more(&self, suspects: &Suspects) -> bool {
        self.has_room(suspects) && self.in_hand.is_none() && self.overtaken.is_none()
    }

    fn has_room(&self, suspects: &Suspects) -> bool {
        if suspects.one_at_a_time() || suspects.is_trying() {
            return self.is_clear();
        }
        self.window.has_room()
    }

    /// Whether nothing is in flight over which the broker could close the connection.
    pub fn is_clear(&self) -> bool {
        self.window.len() == 0 && self.doubtful.is_empty()
    }

    /// What is in flight over which the broker may have closed the connection.
    fn in_flight(&self) -> Vec<InFlight<'_>> {
        let acknowledged = self.window.in_flight().map(Publish::as_in_flight);
        let doubtful = self.doubtful.keys().map(|topic| InFlight { topic, batch: None, record: None, is_reply: false });
        acknowledged.chain(doubtful).collect()
    }

    /// Looks, before the leases are taken back, whether the broker has closed the connection over what was in flight, and
    /// drops what it will never take. Returns whether it was over that, or likely so, and what follows for its topic.
    pub fn judge(&self, close: Close, suspects: &mut Suspects, queue: &Queue, now: Instant) -> (bool, Option<Verdict>) {
        let in_flight = self.in_flight();
        // Of several forbidden topics each is closed over alone for a first time: that is no row of closes without a reason.
        let is_suspected = matches!(&*in_flight, [alone] if suspects.is_suspected(alone.topic));
        let verdict = suspects.closed(close, &in_flight, now);
        match &verdict {
            Some(Verdict::SetAside { topic, wait }) => {
                connection_log::log_set_aside(&fill_thing(topic, &self.thing), *wait)
            }
            Some(Verdict::Poison) => {
                for publish in self.window.in_flight() {
                    if let Some(lease) = publish.lease {
                        connection_log::log_poison(&publish.route, publish.size);
                        queue.discard(lease, DropReason::Poison, now);
                    }
                }
            }
            None => {}
        }
        (verdict.is_some() || is_suspected, verdict)
    }

    /// How the connection, which stands since `since`, has gone until `now`.
    pub fn course(&self, since: Instant, now: Instant) -> Course {
        Course {
            lasted: now.saturating_duration_since(since),
            acknowledged: self.window.acknowledged(),
            in_flight: self.window.len(),
            last_puback: self.window.last_puback().map(|at| at.saturating_duration_since(since)),
        }
    }

    /// What stands for `{thing}` in topics that have it open.
    pub fn thing(&self) -> &str {
        &self.thing
    }

    /// When to [feed](Outbox::feed) again though nothing has happened.
    pub fn resume(&self) -> Option<Instant> {
        self.resume
    }

    /// Submits records while the window has room, the quotas allow it and the queue has some. `clock` tells the time.
    pub fn feed(&mut self, client: &mut impl Publisher, rules: &mut Rules, queue: &Queue, clock: impl Fn() -> Instant) {
        let Rules { pacer, suspects, contention, never_taken, .. } = rules;
        self.resume = None;
        let begun = clock();
        while self.has_room(suspects) {
            let now = clock();
            if now.saturating_duration_since(begun) >= SLICE {
                self.resume = Some(now);
                break;
            }
            let Some(mut outgoing) = self.next(suspects, queue, now) else { break };
            if suspects.is_trial_of(&outgoing.route) && !self.is_clear() {
                // It goes alone, once everything else is acknowledged.
                self.in_hand = Some(outgoing);
                break;
            }
            let most = client.limits().packet.map(|packet| {
                let around = self.size_with(client, &outgoing.unpacked(now), packet) - packet;
                packet.saturating_sub(around)
            });
            outgoing.grow(queue, contention.extent(&outgoing.route, suspects, now).within(most), now);
            // Asked before the work of packing it, which ends its growing, and again when its size is known.
            let least = outgoing.least_payload();
            if let Err(wait) = pacer.admits(self.size_with(client, &outgoing.unpacked(now), least), now) {
                self.hold(outgoing, wait);
                break;
            }
            if outgoing.is_too_large() {
                outgoing.lease.inspect(|lease| _ = queue.discard(*lease, DropReason::TooLarge, now));
                continue;
            }
            let now = clock();
            if let Err((topic, fault)) = self.fits_thing(outgoing.message(now).topic) {
                if let Some(more) = complaint(never_taken, &outgoing.route, &topic).due(now, ONCE_A_MINUTE) {
                    connection_log::log_unfit(&topic, &fault, more);
                }
                outgoing.lease.inspect(|lease| _ = queue.discard(*lease, DropReason::Unsupported, now));
                continue;
            }
            let message = outgoing.message(now);
            let size = self.size_with(client, &message, message.payload.len());
            if client.limits().forbids(size) {
                self.outgrown(outgoing, size, client.limits(), queue, now);
                continue;
            }
            if let Err(wait) = pacer.admits(size, now) {
                self.hold(outgoing, wait);
                break;
            }
            if outgoing.lease.is_some() {
                contention.sent(&outgoing.route, now);
            }
            let record = outgoing.record();
            suspects.sent(outgoing.message(now).topic, record);
            pacer.sent(self.submit(client, outgoing, now), now);
        }
    }

    /// Most bytes of the packet of `message`, with the name of the thing in its topic where that was open.
    fn size_with(&self, client: &impl Publisher, message: &Message<'_>, payload: usize) -> usize {
        client.size_with(&Message { topic: &fill_thing(message.topic, &self.thing), ..*message }, payload)
    }

    /// Looks whether AWS IoT Core takes `topic`, if the name of the thing was not known when that was configured. It would
    /// close the connection. Returns the whole topic, and what is wrong with it.
    fn fits_thing(&self, topic: &str) -> Result<(), (String, TopicFault)> {
        match fill_thing(topic, &self.thing) {
            Cow::Borrowed(_) => Ok(()),
            Cow::Owned(whole) => check_publish_topic(&whole).map_err(|fault| (whole, fault)),
        }
    }

    /// Whether records of `route` may be leased at `now`.
    pub fn permits(&self, route: &Route, suspects: &Suspects, now: Instant) -> bool {
        let waits = self.returning.iter().any(|other| other.is_same_topic(route))
            || self.outgrown.iter().any(|(other, _)| *other == route.topic.id);
        suspects.permit_route(route, now) && !waits
    }

    /// The broker takes no packet as large as that of `outgoing`. If that may be meant so, it is dropped; else its topic waits
    /// for another connection.
    fn outgrown(&mut self, mut outgoing: OutgoingPublish, size: usize, limits: &Limits, queue: &Queue, now: Instant) {
        let Some(lease) = outgoing.lease else { return };
        if limits.is_meant() {
            queue.discard(lease, DropReason::TooLarge, now);
            return;
        }
        let topic = fill_thing(outgoing.message(now).topic, &self.thing).into_owned();
        connection_log::log_outgrown(&topic, size, limits.packet.unwrap_or_default());
        self.outgrown.push((outgoing.route.topic.id, Arc::downgrade(&outgoing.route.topic)));
        self.send_back(&outgoing.route);
        self.give_back(queue);
    }

    /// MQTT topics that wait because the broker takes no packets as large as theirs, on this connection.
    pub fn topics_outgrown(&self) -> impl Iterator<Item = String> {
        self.outgrown.iter().filter_map(|(_, topic)| Some(topic.upgrade()?.mqtt.clone()))
    }

    /// Keeps what may not be sent yet.
    fn hold(&mut self, outgoing: OutgoingPublish, wait: Wait) {
        self.in_hand = Some(outgoing);
        self.resume = match wait {
            Wait::Until(when) => Some(when),
            Wait::ForPuback => None,
        };
    }

    /// What is to be sent next: what is in hand, unless something more urgent has come, what was passed over until now, then the word that the bridge is there,
    /// then the queue's next record.
    fn next(&mut self, suspects: &mut Suspects, queue: &Queue, now: Instant) -> Option<OutgoingPublish> {
        if let Some(mut outgoing) = self.in_hand.take().or_else(|| self.overtaken.take()) {
            let Some(urgent) = self.more_urgent(&outgoing, suspects, queue, now) else { return Some(outgoing) };
            outgoing.overtaken_since.get_or_insert(now);
            self.overtaken = Some(outgoing);
            return Some(urgent);
        }
        let may_follow = |outgoing: &mut OutgoingPublish| {
            suspects.permit_route(&outgoing.route, now) && !suspects.is_passing_over(&outgoing.route)
        };
        if let Some(outgoing) = self.passed_over.pop_front_if(may_follow) {
            return Some(outgoing);
        }
        if !self.announced
            && let Some(presence) =
                self.presence.as_ref().filter(|presence| suspects.permit_route(&presence.route, now))
        {
            self.announced = true;
            return Some(OutgoingPublish::of_message(presence.route.clone(), presence.online.clone()));
        }
        loop {
            let mut outgoing =
                OutgoingPublish::of(queue.lease_where(now, &|route| self.permits(route, suspects, now))?);
            let most = suspects.passes_over(&outgoing.route, outgoing.record());
            if most == 0 || !self.passed_over.is_empty() {
                return Some(outgoing);
            }
            while self.passed_over.len() < most
                && let Some(other) = queue.lease_where(now, &|route| route.is_same_topic(&outgoing.route))
            {
                self.passed_over.push_back(std::mem::replace(&mut outgoing, OutgoingPublish::of(other)));
            }
            if !self.passed_over.is_empty() {
                return Some(outgoing);
            }
            if let Some(Verdict::SetAside { topic, wait }) = suspects.has_no_other(&outgoing.route, now) {
                connection_log::log_set_aside(&fill_thing(&topic, &self.thing), wait);
            }
            queue.requeue_topic(&outgoing.route);
        }
    }

    /// The next record of a higher priority than `outgoing` has, if that may be overtaken (still) and nothing is to be found
    /// out by either.
    fn more_urgent(
        &self,
        outgoing: &OutgoingPublish,
        suspects: &Suspects,
        queue: &Queue,
        now: Instant,
    ) -> Option<OutgoingPublish> {
        let route = &outgoing.route;
        let has_waited = outgoing.overtaken_since.is_some_and(|at| now.saturating_duration_since(at) >= OVERTAKEN);
        if self.overtaken.is_some() || has_waited || suspects.is_trial_of(route) {
            return None;
        }
        let is_it = |other: &Route| {
            let is_known = !suspects.is_trial_of(other) && !suspects.is_passing_over(other);
            !other.is_same_topic(route) && is_known && self.permits(other, suspects, now)
        };
        queue.lease_above(route.priority, now, &is_it).map(OutgoingPublish::of)
    }

    /// Hands `outgoing` to the MQTT client. Returns how many bytes its packet has.
    fn submit(&mut self, client: &mut impl Publisher, mut outgoing: OutgoingPublish, now: Instant) -> usize {
        let message = outgoing.message(now);
        let size = client.publish(&Message { topic: &fill_thing(message.topic, &self.thing), ..message });
        let (encoding, record) = (outgoing.pack().encoding, outgoing.record());
        let OutgoingPublish { lease, route, received_ns, .. } = outgoing;
        route.counters.count_published(size as u64);
        self.meter.count_published(size as u64);
        self.window.submit(Publish { lease, route, encoding, size, received_ns, record });
        size
    }

    /// Takes note of what the client reports at `now`. Fails if that means that the two do not understand each other.
    pub fn note(
        &mut self,
        event: Event,
        client: &mut impl Publisher,
        rules: &mut Rules,
        queue: &Queue,
        now: Instant,
    ) -> Result<(), Failure> {
        let (publish, answer) = match event {
            Event::Sent { packet_id } => (self.window.sent(packet_id, now), None),
            Event::Acknowledged { packet_id, answer } => (self.window.acknowledge(packet_id, now), Some(answer)),
            // What is published to the bridge is the listener's.
            Event::Tick | Event::Subscribed { .. } | Event::Arrived | Event::Missed { .. } => return Ok(()),
        };
        let Some(publish) = publish else { return Ok(()) };
        rules.pacer.arrived(publish.size, now);
        match answer {
            None => self.written(&publish, rules, queue, now),
            Some(answer) if !answer.reason.is_failure() => self.acknowledged(&publish, rules, queue, now),
            Some(answer) if answer.reason == Reason::PACKET_ID_IN_USE => return Err(Failure::Disconnected(answer)),
            Some(answer) => {
                client.was_refused(&fill_thing(publish.topic(), &self.thing));
                self.refused(&publish, &answer, rules, queue, now);
            }
        }
        self.give_back(queue);
        Ok(())
    }

    /// The broker has acknowledged `publish`.
    fn acknowledged(&mut self, publish: &Publish, rules: &mut Rules, queue: &Queue, now: Instant) {
        publish.lease.inspect(|lease| _ = queue.confirm(*lease));
        rules.suspects.has_gone(&publish.route.mqtt);
        rules.pacer.throttle.taken(now);
        publish.received_ns.iter().for_each(|ns| self.meter.observe_latency(time_since(*ns)));
        let acknowledged = match publish.route.packing.is_of_replies() {
            true => Suspects::reply_acknowledged,
            false => Suspects::acknowledged,
        };
        if acknowledged(&mut rules.suspects, publish.topic(), publish.record, now) {
            connection_log::log_taken_again(&fill_thing(publish.topic(), &self.thing));
        }
        let beside = rules.suspects.acknowledged_beside(&publish.route, publish.topic(), now);
        if let Some(Verdict::SetAside { topic, wait }) = beside {
            connection_log::log_set_aside(&fill_thing(&topic, &self.thing), wait);
            self.send_back(&publish.route);
        }
    }

    /// `publish` is written, and nothing more will be heard of it: it was sent with QoS 0, because its topic is configured
    /// so or because the broker knows nothing else.
    fn written(&mut self, publish: &Publish, rules: &mut Rules, queue: &Queue, now: Instant) {
        publish.lease.inspect(|lease| _ = queue.acknowledge(*lease));
        rules.suspects.has_gone(&publish.route.mqtt);
        match self.doubtful.get_mut(publish.topic()) {
            Some(last) => *last = now,
            None => _ = self.doubtful.insert(publish.topic().to_owned(), now),
        }
    }

    /// The broker says in words that it does not take a publish.
    fn refused(&mut self, publish: &Publish, answer: &ServerReason, rules: &mut Rules, queue: &Queue, now: Instant) {
        let (topic, records) = (publish.topic(), publish.received_ns.len());
        self.meter.count_refused(answer.reason.0);
        match answer.reason {
            Reason::QUOTA_EXCEEDED => {
                if rules.pacer.throttle.refused(now) {
                    connection_log::log_slowed();
                }
            }
            // Shorter ones, or all but one of its records, may be taken.
            Reason::PACKET_TOO_LARGE | Reason::PAYLOAD_FORMAT_INVALID if records > 1 => {
                rules.suspects.go_singly(&publish.route, records, now);
                let topic = fill_thing(topic, &self.thing);
                if rules.no_batches.entry(topic.to_string()).or_default().due(now, ONCE_A_MINUTE).is_some() {
                    connection_log::log_batch_refused(&topic, records, answer);
                }
            }
            Reason::PACKET_TOO_LARGE => {
                return self.drop_refused(publish, answer, DropReason::TooLarge, rules, queue, now);
            }
            // The topic, or the payload, is and stays wrong.
            Reason::TOPIC_NAME_INVALID | Reason::PAYLOAD_FORMAT_INVALID => {
                return self.drop_refused(publish, answer, DropReason::Refused, rules, queue, now);
            }
            Reason::NOT_AUTHORIZED if publish.route.packing.is_of_replies() => {
                rules.suspects.reply_forbidden(topic);
                return self.drop_refused(publish, answer, DropReason::Refused, rules, queue, now);
            }
            reason => {
                let forbidden = reason == Reason::NOT_AUTHORIZED;
                match rules.suspects.refused(&publish.route, publish.as_in_flight(), forbidden, now) {
                    Some(Verdict::SetAside { topic, wait }) => {
                        connection_log::log_refused(&fill_thing(&topic, &self.thing), answer, wait)
                    }
                    Some(Verdict::Poison) => {
                        return self.drop_refused(publish, answer, DropReason::Refused, rules, queue, now);
                    }
                    None => {}
                }
            }
        }
        if publish.lease.is_none() {
            self.announced = false;
            return;
        }
        self.send_back(&publish.route);
    }

    /// All of the topic of `route` goes back to the queue once what is in flight of it is answered: also what is in hand of
    /// it, which is newer, and what was passed over.
    fn send_back(&mut self, route: &Arc<Route>) {
        let goes_back =
            |outgoing: &mut OutgoingPublish| outgoing.lease.is_some() && outgoing.route.is_same_topic(route);
        self.in_hand.take_if(goes_back);
        self.overtaken.take_if(goes_back);
        self.passed_over.retain_mut(|outgoing| !goes_back(outgoing));
        if !self.returning.iter().any(|other| other.is_same_topic(route)) {
            self.returning.push(route.clone());
        }
    }

    /// Drops what the broker will never take.
    fn drop_refused(
        &self,
        publish: &Publish,
        answer: &ServerReason,
        reason: DropReason,
        rules: &mut Rules,
        queue: &Queue,
        now: Instant,
    ) {
        let topic = fill_thing(publish.topic(), &self.thing);
        if let Some(more) = complaint(&mut rules.never_taken, &publish.route, &topic).due(now, ONCE_A_MINUTE) {
            connection_log::log_never_taken(&topic, answer, more);
        }
        publish.lease.inspect(|lease| _ = queue.discard(*lease, reason, now));
    }

    /// Gives the records back that were refused for now, in their order, once no publish of their topic is in flight.
    fn give_back(&mut self, queue: &Queue) {
        let window = &self.window;
        self.returning.retain(|route| {
            let in_flight = window.in_flight().any(|publish| publish.route.is_same_topic(route));
            if !in_flight {
                queue.requeue_topic(route);
            }
            in_flight
        });
    }

    /// Takes QoS 0 publishes for taken that were sent long enough ago. To be called several times a second.
    pub fn settle(&mut self, suspects: &mut Suspects, now: Instant) {
        // Those that are left are waited for by somebody.
        self.outgrown.retain(|(_, topic)| topic.strong_count() > 0);
        self.doubtful.retain(|topic, last| {
            let in_doubt = now.saturating_duration_since(*last) < QOS_0_DOUBT;
            if !in_doubt && suspects.survived(topic, now) {
                connection_log::log_taken_again(&fill_thing(topic, &self.thing));
            }
            in_doubt
        });
    }

    /// Submits the word that the bridge is gone, and DISCONNECT behind everything else. What is in hand stays in the
    /// queue.
    pub fn leave(&mut self, client: &mut Client, suspects: &Suspects) {
        self.resume = None;
        if let Some(presence) = self.presence.take().filter(|presence| !suspects.is_trial(&presence.route.mqtt)) {
            self.submit(client, OutgoingPublish::of_message(presence.route, presence.offline), Instant::now());
        }
        client.disconnect();
    }
}

/// How long ago `received_ns` was, nanoseconds since 1970. Zero, if the clock was set back since.
fn time_since(received_ns: i64) -> Duration {
    let then = Duration::from_nanos(received_ns.try_into().unwrap_or(0));
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(then)
}

#[cfg(test)]
mod tests;
