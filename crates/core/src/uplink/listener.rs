//! What is published to the bridge: what is subscribed to on each connection, and who gets what comes.
//!
//! ```text
//!  Subscriptions::set ──► Filters ── SUBSCRIBE ──► broker
//!       handler ◄──── bounded channel of Arrival ◄── PUBLISH ── broker
//!       handler ───────── Arrival::taken ─────────── PUBACK ──► broker
//! ```
//!
//! Who handles it asks [`Uplink::listen`](super::Uplink::listen) once, before the uplink runs:
//!
//! - [`Subscriptions::set`] says which filters are wanted, at any time. They are subscribed to at once on a connection that
//!   stands, and on each that follows, before anything else is sent: telemetry waits for the SUBACK, at most 5 s. A filter
//!   that the broker does not take is set aside, logged, shown in [`UplinkState`](super::UplinkState) and tried again ever
//!   more rarely; the others and all telemetry go on.
//! - The receiver brings each [`Arrival`], with the retain flag and, in MQTT 5, response topic, correlation data, content type
//!   and expiry. It may be of any topic: AWS IoT Core's SendDirectMessage needs no subscription, and what was subscribed to
//!   before may still come. With QoS 1 the broker gets its PUBACK once the handler has called [`Arrival::taken`]. One that is
//!   dropped without it was not taken, as MQTT 5 says to the broker; it may come again on this connection only: sessions are
//!   never resumed.
//! - No more arrivals wait than there is `room` for. What comes beyond is missed: counted, logged, and, in MQTT 5, refused as
//!   over the quota. In MQTT 3.1.1 it gets its PUBACK: without, the broker would send nothing more of QoS 1 after so many.

use std::collections::BTreeMap;
use std::time::Instant;

use tokio::sync::{mpsc, watch};

use super::connection_log;
use super::filters::{Blame, Filters, News, Subscription};
use super::suspects::FORGOTTEN;
use crate::config::Qos;
use crate::config::fill_thing;
use crate::mqtt::client::{Arrival, Client, Failure, Reason};
use crate::tally::{ONCE_A_MINUTE, Repeat};

/// Says what is to be subscribed to.
#[derive(Debug, Clone)]
pub struct Subscriptions(watch::Sender<Vec<Subscription>>);

impl Subscriptions {
    /// These take the place of those before. AWS IoT Core takes 50 on a connection, and of wildcards `+` and `#`.
    pub fn set(&self, wanted: Vec<Subscription>) {
        self.0.send_if_modified(|before| {
            let is_other = *before != wanted;
            *before = wanted;
            is_other
        });
    }
}

/// The uplink's end of it, over all connections.
#[derive(Debug)]
pub(super) struct Listener {
    wanted: watch::Receiver<Vec<Subscription>>,
    handler: mpsc::Sender<Arrival>,
    filters: Filters,
    missed: u64,
    /// What was said of what was missed, by topic.
    said: BTreeMap<String, Repeat>,
}

/// Most topics of which it is remembered that something was missed: anybody may publish to any.
const TOPICS: usize = 100;

impl Listener {
    /// With room for so many arrivals that the handler has not received or, with QoS 1, not taken.
    pub fn new(room: usize) -> (Self, Subscriptions, mpsc::Receiver<Arrival>) {
        let (set, wanted) = watch::channel(Vec::new());
        let (handler, arrivals) = mpsc::channel(room);
        let (filters, said) = (Filters::default(), BTreeMap::new());
        (Listener { wanted, handler, filters, missed: 0, said }, Subscriptions(set), arrivals)
    }

    pub fn handler(&self) -> mpsc::Sender<Arrival> {
        self.handler.clone()
    }

    /// A connection begins.
    pub fn connected(&mut self) {
        // The name of the thing may be known only now.
        self.wanted.mark_changed();
    }

    /// Asks `client` for what is wanted, if `is_clear`: nothing is in flight over which the broker could close the connection.
    /// Returns whether nothing else may be sent for now.
    pub fn hold(&mut self, client: &mut Client, thing: &str, is_clear: bool, now: Instant) -> Result<bool, Failure> {
        if self.filters.is_asking() {
            return Ok(true);
        }
        if self.wanted.has_changed().unwrap_or(false) {
            let filled = |Subscription { filter, qos }: &Subscription| Subscription {
                filter: fill_thing(filter, thing).into_owned(),
                qos: *qos,
            };
            let wanted: Vec<_> = self.wanted.borrow_and_update().iter().map(filled).collect();
            let gone = self.filters.want(&wanted);
            for gone in gone.chunks(super::filters::PER_SUBSCRIBE) {
                let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
                client.unsubscribe(&gone)?;
            }
        }
        let next = self.filters.next(now);
        self.filters.hold(next.is_some(), now);
        let Some(next) = next else { return Ok(false) };
        if is_clear {
            let filters: Vec<_> = next.iter().map(|(filter, qos)| (filter.as_str(), *qos)).collect();
            let packet_id = client.subscribe(&filters)?;
            self.filters.asked(packet_id, next, now);
        }
        Ok(true)
    }

    /// A SUBACK has come.
    pub fn answered(&mut self, packet_id: u16, answers: &[Result<Qos, Reason>], now: Instant) {
        tell(&self.filters.answered(packet_id, answers, now));
    }

    /// Something has come to `topic` for which there was no room.
    pub fn missed(&mut self, topic: &str, now: Instant) {
        self.missed += 1;
        if self.said.len() >= TOPICS && !self.said.contains_key(topic) {
            return;
        }
        if let Some(more) = self.said.entry(topic.to_owned()).or_default().due(now, ONCE_A_MINUTE) {
            connection_log::log_missed(topic, more);
        }
    }

    /// To be called several times a second while a connection stands.
    pub fn tick(&mut self, now: Instant) {
        tell(&self.filters.tick(now));
        self.said.retain(|_, repeat| !repeat.is_over(now, FORGOTTEN));
    }

    /// The connection has ended; `closed` says whether by the broker. Returns whether that was over a filter.
    pub fn connection_ended(&mut self, closed: bool, now: Instant) -> Blame {
        let (blame, news) = self.filters.connection_ended(closed, now);
        tell(&news);
        blame
    }

    /// The filters that the broker does not take.
    pub fn refused(&self) -> Vec<String> {
        self.filters.refused()
    }

    /// How much was missed.
    pub fn missed_in_all(&self) -> u64 {
        self.missed
    }
}

fn tell(news: &[News]) {
    for news in news {
        match news {
            News::Refused { filter, why, wait } => connection_log::log_filter_refused(filter, *why, *wait),
            News::Granted { filter } => connection_log::log_filter_granted(filter),
        }
    }
}
