//! A publish in the making: one record, or a batch that grows while it waits for its turn.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::suspects::{RecordId, Suspects};
use crate::config::PAYLOAD_LIMIT;
use crate::config::Qos;
use crate::mqtt::client::{Limits, Message};
use crate::packing::Packed;
use crate::queue::{Lease, LeaseId, Queue, Route};

/// Most bytes of a batch of a topic that is not alone: a fiftieth of a second of the 512 KiB that AWS IoT Core takes in one.
/// Another topic waits behind two of them, one in hand and one sent. They are two of the steps of 5 KB that are billed: a
/// longer batch would save next to nothing.
const SHARED: usize = 10 << 10;

/// JSON becomes this many times smaller by compression, or more: batches that are compressed may be as much longer.
const COMPRESSED: usize = 4;

/// A topic is not alone if another one had a publish within this time.
const COMPANY: Duration = Duration::from_secs(10);

/// Bytes of a PUBLISH of MQTT 5 around its payload, at most: a topic of 256, and headers and properties of fewer than 128.
const AROUND: usize = 384;

/// The name of the property that tells how a payload is compressed, as HTTP has it: MQTT has none of its own.
const CONTENT_ENCODING: &str = "content-encoding";

/// What is to be published next.
#[derive(Debug)]
pub(super) struct Parcel {
    /// Of the records; nothing, if the queue does not know of it.
    pub lease: Option<LeaseId>,
    pub route: Arc<Route>,
    /// When DDS handed each record to the bridge, nanoseconds since 1970; none, if it is not of ROS.
    pub received_ns: Vec<i64>,
    records: Vec<Bytes>,
    /// When the last of the records expires; never, if the bridge made it.
    expires: Option<Instant>,
    packed: Option<Packed>,
}

/// How far a batch may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub records: usize,
    /// Of the array, before compression.
    pub bytes: usize,
}

impl Extent {
    /// As far as a packet goes that keeps to `limits`.
    pub fn within(self, limits: &Limits) -> Extent {
        let most = limits.packet.map_or(usize::MAX, |packet| packet.saturating_sub(AROUND));
        Extent { bytes: self.bytes.min(most), ..self }
    }
}

impl Parcel {
    /// Of a record; more may [follow](Parcel::grow).
    pub fn of(lease: Lease) -> Parcel {
        let Lease { id, record } = lease;
        Parcel {
            lease: Some(id),
            route: record.route,
            received_ns: vec![record.received_ns],
            records: vec![record.payload],
            expires: Some(record.expires),
            packed: None,
        }
    }

    /// Of a message of the bridge's own.
    pub fn of_message(route: Arc<Route>, payload: Bytes) -> Parcel {
        Parcel { lease: None, route, received_ns: Vec::new(), records: vec![payload], expires: None, packed: None }
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

    /// As the client takes it at `now`. From now on nothing follows.
    pub fn message(&mut self, now: Instant) -> Message<'_> {
        let route = &self.route;
        let packed = self.packed.get_or_insert_with(|| route.packing.pack(&self.records));
        Message {
            topic: route.mqtt_of(packed.encoding),
            qos: route.qos,
            retain: route.retain,
            payload: &packed.payload,
            content_type: self.lease.map(|_| route.packing.content_type()),
            user_property: packed.encoding.map(|encoding| (CONTENT_ENCODING, encoding.label())),
            expires_in: self.expires.map(|expires| seconds_until(expires, now)),
        }
    }

    /// Whether the broker would close the connection over it, now and whenever it is sent again.
    pub fn is_too_large(&mut self) -> bool {
        self.records.iter().any(|record| record.len() > self.route.packing.longest())
            || self.pack().payload.len() > PAYLOAD_LIMIT
    }

    /// Bytes that its packet has at least, without the work of packing it.
    pub fn least_size(&self) -> usize {
        let payload = match (&self.packed, &self.route.packing.compression) {
            (Some(packed), _) => packed.payload.len(),
            (None, None) => self.plain_size(),
            (None, Some(_)) => 0,
        };
        packet_size(&self.route.mqtt, self.route.qos, payload)
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
pub(super) struct Company {
    /// The topic of the last publish, and when it was.
    last: Option<(Arc<Route>, Instant)>,
    /// The last publish of another topic.
    other: Option<(Arc<Route>, Instant)>,
}

impl Company {
    /// A publish of `route` is sent at `now`.
    pub fn sent(&mut self, route: &Arc<Route>, now: Instant) {
        match &mut self.last {
            Some((last, at)) if last.mqtt == route.mqtt => *at = now,
            last => self.other = last.replace((route.clone(), now)),
        }
    }

    /// How far a batch of `route` may grow at `now`.
    pub fn extent(&self, route: &Route, suspects: &Suspects, now: Instant) -> Extent {
        let other = [&self.last, &self.other].into_iter().flatten().find(|(other, _)| other.mqtt != route.mqtt);
        let is_shared = other.is_some_and(|(_, at)| now.saturating_duration_since(*at) < COMPANY);
        let bytes = match (is_shared, &route.packing.compression) {
            (false, _) => PAYLOAD_LIMIT,
            (true, None) => SHARED,
            (true, Some(_)) => SHARED * COMPRESSED,
        };
        Extent { records: if suspects.goes_singly(route) { 1 } else { usize::MAX }, bytes }
    }
}

/// Bytes of a PUBLISH packet of MQTT 3.1.1.
pub(super) fn packet_size(topic: &str, qos: Qos, payload: usize) -> usize {
    let packet_id = match qos {
        Qos::AtMostOnce => 0,
        Qos::AtLeastOnce => 2,
    };
    let remaining = 2 + topic.len() + packet_id + payload;
    let length = match remaining {
        0..128 => 1,
        128..16_384 => 2,
        16_384..2_097_152 => 3,
        _ => 4,
    };
    1 + length + remaining
}

#[cfg(test)]
mod tests;
