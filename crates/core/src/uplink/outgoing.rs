//! A publish in the making: one record, or a batch that grows while it waits for its turn.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::suspects::{RecordId, Suspects};
use crate::config::{Encoding, PAYLOAD_LIMIT};
use crate::mqtt::client::Message;
use crate::packing::{CONTENT_ENCODING, Correlated, Packed};
use crate::queue::{Lease, LeaseId, Queue, Route};
use crate::topics::TopicId;

/// Most bytes of a batch of a topic that is not alone: a fiftieth of a second of the 512 KiB that AWS IoT Core takes in one.
/// Another topic waits behind two of them, one in hand and one sent. They are two of the steps of 5 KB that are billed: a
/// longer batch would save next to nothing.
const SHARED: usize = 10 << 10;

/// JSON becomes this many times smaller by compression, or more: batches that are compressed may be as much longer.
const COMPRESSED: usize = 4;

/// A topic is not alone if another one had a publish within this time.
const RECENT: Duration = Duration::from_secs(10);

/// Most bytes of a batch before compression. `is_shared`: other topics have publishes too.
pub fn batch_bytes(is_shared: bool, is_compressed: bool) -> usize {
    match (is_shared, is_compressed) {
        (false, _) => PAYLOAD_LIMIT,
        (true, false) => SHARED,
        (true, true) => SHARED * COMPRESSED,
    }
}

/// What is to be published next.
#[derive(Debug)]
pub(super) struct OutgoingPublish {
    /// Of the records; `None`, if the queue does not know of it.
    pub lease: Option<LeaseId>,
    pub route: Arc<Route>,
    /// When DDS handed each record to the bridge, nanoseconds since 1970; none, if it is not of ROS.
    pub received_ns: Vec<i64>,
    records: Vec<Bytes>,
    /// Of the request, if it is a reply to one that has it.
    correlation: Option<Bytes>,
    /// When the last of the records expires; never, if the bridge made it.
    expires: Option<Instant>,
    packed: Option<Packed>,
    /// When something more urgent was first sent before it.
    pub overtaken_since: Option<Instant>,
}

/// How far a batch may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub records: usize,
    /// Of the array, before compression.
    pub bytes: usize,
}

impl Extent {
    /// At most so many bytes, if there is such a limit.
    pub fn within(self, most: Option<usize>) -> Extent {
        Extent { bytes: self.bytes.min(most.unwrap_or(usize::MAX)), ..self }
    }
}

impl OutgoingPublish {
    /// Of a record; more may [follow](OutgoingPublish::grow).
    pub fn of(lease: Lease) -> OutgoingPublish {
        let Lease { id, record } = lease;
        let Correlated { data, payload } = record.route.packing.split(record.payload);
        OutgoingPublish {
            lease: Some(id),
            route: record.route,
            received_ns: vec![record.received_ns],
            records: vec![payload],
            correlation: data,
            expires: Some(record.expires),
            packed: None,
            overtaken_since: None,
        }
    }

    /// Of a message of the bridge's own.
    pub fn of_message(route: Arc<Route>, payload: Bytes) -> OutgoingPublish {
        OutgoingPublish {
            lease: None,
            route,
            received_ns: Vec::new(),
            records: vec![payload],
            correlation: None,
            expires: None,
            packed: None,
            overtaken_since: None,
        }
    }

    /// The record, if it is a single one of the queue's.
    pub fn record(&self) -> Option<RecordId> {
        match (&*self.received_ns, &*self.records, self.lease) {
            (&[received_ns], [record], Some(_)) => Some(RecordId { received_ns, bytes: record.len() }),
            _ => None,
        }
    }

    /// Takes what has come to the queue meanwhile and may travel with it.
    pub fn grow(&mut self, queue: &Queue, extent: Extent, now: Instant) {
        let (Some(lease), Some(batch), None) = (self.lease, self.route.packing.batch, &self.packed) else { return };
        let mut room = batch.max.min(extent.records).saturating_sub(self.records.len());
        let mut size = self.plain_size();
        let more = queue.lease_more(lease, &self.route, now, |record| {
            // A comma comes with it.
            size += record.payload.len() + 1;
            let fits = room > 0 && size <= extent.bytes;
            room = room.saturating_sub(1);
            fits
        });
        for record in more {
            self.received_ns.push(record.received_ns);
            self.records.push(record.payload);
            self.expires = self.expires.max(Some(record.expires));
        }
    }

    /// Bytes that the payload has at most.
    fn plain_size(&self) -> usize {
        self.route.packing.size(&self.records)
    }

    /// The payload as it is sent. From now on nothing follows.
    pub fn pack(&mut self) -> &Packed {
        self.packed.get_or_insert_with(|| self.route.packing.pack(&self.records))
    }

    /// As far as it is known before it is packed: without its payload, and with the topic and the properties that it has if
    /// it is compressed, which are the longest.
    pub fn unpacked(&self, now: Instant) -> Message<'_> {
        static NOTHING: Bytes = Bytes::new();
        let compression = self.route.packing.compression.as_ref();
        self.as_message(compression.map(|compression| compression.encoding), &NOTHING, now)
    }

    /// As the client takes it at `now`. From now on nothing follows.
    pub fn message(&mut self, now: Instant) -> Message<'_> {
        self.pack();
        let Some(Packed { payload, encoding }) = &self.packed else { unreachable!("it is packed") };
        self.as_message(*encoding, payload, now)
    }

    fn as_message<'a>(&'a self, encoding: Option<Encoding>, payload: &'a Bytes, now: Instant) -> Message<'a> {
        let route = &self.route;
        Message {
            topic: route.mqtt_of(encoding),
            qos: route.qos,
            retain: route.retain,
            payload,
            content_type: self.lease.map(|_| route.packing.content_type()),
            user_property: encoding.map(|encoding| (CONTENT_ENCODING, encoding.label())),
            correlation_data: self.correlation.as_ref(),
            expires_in: self.expires.map(|expires| seconds_until(expires, now)),
        }
    }

    /// Whether the broker would close the connection over it, now and whenever it is sent again.
    pub fn is_too_large(&mut self) -> bool {
        self.records.iter().any(|record| record.len() > self.route.packing.longest())
            || self.pack().payload.len() > PAYLOAD_LIMIT
    }

    /// Bytes that its payload has at least, without the work of packing it.
    pub fn least_payload(&self) -> usize {
        match (&self.packed, &self.route.packing.compression) {
            (Some(packed), _) => packed.payload.len(),
            (None, None) => self.plain_size(),
            (None, Some(_)) => 0,
        }
    }
}

/// Whole seconds, so that nothing expires too early; MQTT counts up to some 136 years.
fn seconds_until(expires: Instant, now: Instant) -> u32 {
    let left = expires.saturating_duration_since(now).as_secs_f64().ceil();
    // Out of range becomes the nearer end.
    (left as u32).max(1)
}

/// Which topics have had publishes of late.
#[derive(Debug, Default)]
pub(super) struct Contention {
    /// The topic of the last publish, and when it was.
    last: Option<(TopicId, Instant)>,
    /// The last publish of another topic.
    other: Option<(TopicId, Instant)>,
}

impl Contention {
    /// A publish of `route` is sent at `now`.
    pub fn sent(&mut self, route: &Route, now: Instant) {
        match &mut self.last {
            Some((last, at)) if *last == route.topic.id => *at = now,
            last => self.other = last.replace((route.topic.id, now)),
        }
    }

    /// How far a batch of `route` may grow at `now`.
    pub fn extent(&self, route: &Route, suspects: &Suspects, now: Instant) -> Extent {
        let other = [&self.last, &self.other].into_iter().flatten().find(|(other, _)| *other != route.topic.id);
        let is_shared = other.is_some_and(|(_, at)| now.saturating_duration_since(*at) < RECENT);
        let bytes = batch_bytes(is_shared, route.packing.compression.is_some());
        Extent { records: if suspects.goes_singly(route) { 1 } else { usize::MAX }, bytes }
    }
}

#[cfg(test)]
mod tests;
