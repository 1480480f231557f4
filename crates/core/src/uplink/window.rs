//! What is in flight on one connection, and which PUBACK belongs to which lease.
//!
//! The MQTT client numbers the packets, but does not say which number a publish got. It takes them in order, though,
//! so what was submitted waits in a line: each report of a publish sent belongs to the head of that line. From then on
//! the packet identifier names it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::suspects::{InFlight, RecordId};
use crate::config::Encoding;
use crate::queue::{LeaseId, Route};

/// With so many bytes that are not written to the socket nothing follows: batches and what is compressed are copies beside
/// the queue's memory, and on a link that stalls a full window of them would be 12.5 MiB.
const MOST_UNWRITTEN: usize = 1 << 20;

/// The window of one connection. Never used for another: packet identifiers start anew with each.
#[derive(Debug)]
pub(super) struct Window {
    capacity: usize,
    ack_timeout: Duration,
    /// Handed to the client, not reported as sent.
    submitted: VecDeque<Publish>,
    /// Bytes of their packets, which the client holds beside the queue.
    unwritten: usize,
    /// Sent with QoS 1 and not acknowledged, oldest first.
    sent: VecDeque<Sent>,
    /// Since when the head of `sent` has been its head.
    head_since: Option<Instant>,
    acknowledged: u64,
    last_puback: Option<Instant>,
}

/// A publish on its way.
#[derive(Debug, Clone)]
pub(super) struct Publish {
    /// Of the records; `None`, if the queue does not know of them.
    pub lease: Option<LeaseId>,
    pub route: Arc<Route>,
    /// How its payload is compressed, if it is.
    pub encoding: Option<Encoding>,
    /// Bytes of the packet.
    pub size: usize,
    /// When DDS handed each of its records to the bridge, nanoseconds since 1970; none, if it is not of ROS.
    pub received_ns: Vec<i64>,
    /// The record, if it is a single one of the queue's.
    pub record: Option<RecordId>,
}

impl Publish {
    /// The MQTT topic that it went to.
    pub fn topic(&self) -> &str {
        self.route.mqtt_of(self.encoding)
    }

    /// As the search for what the broker does not take looks at it.
    pub fn as_in_flight(&self) -> InFlight<'_> {
        let batch = self.lease.map(|_| (&*self.route.mqtt, self.received_ns.len()));
        let is_reply = self.route.packing.is_of_replies();
        InFlight { topic: self.topic(), batch, record: self.record, is_reply }
    }
}

#[derive(Debug)]
struct Sent {
    packet_id: u16,
    publish: Publish,
}

impl Window {
    pub fn new(capacity: usize, ack_timeout: Duration) -> Self {
        Window {
            capacity,
            ack_timeout,
            submitted: VecDeque::with_capacity(capacity),
            unwritten: 0,
            sent: VecDeque::with_capacity(capacity),
            head_since: None,
            acknowledged: 0,
            last_puback: None,
        }
    }

    /// Whether another record may be submitted.
    pub fn has_room(&self) -> bool {
        self.len() < self.capacity && self.unwritten < MOST_UNWRITTEN
    }

    /// The records that are in flight, oldest first.
    pub fn in_flight(&self) -> impl Iterator<Item = &Publish> {
        self.sent.iter().map(|sent| &sent.publish).chain(&self.submitted)
    }

    /// Records that are in flight.
    pub fn len(&self) -> usize {
        self.submitted.len() + self.sent.len()
    }

    /// PUBACKs that have come on this connection.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// When the last PUBACK came.
    pub fn last_puback(&self) -> Option<Instant> {
        self.last_puback
    }

    /// `publish` was handed to the client.
    pub fn submit(&mut self, publish: Publish) {
        self.unwritten += publish.size;
        self.submitted.push_back(publish);
    }

    /// The client has sent the next of what was submitted, with this packet identifier. Returns it if that is all that
    /// will be heard of it: QoS 0 has no packet identifier and no PUBACK.
    pub fn sent(&mut self, packet_id: Option<u16>, now: Instant) -> Option<Publish> {
        let publish = self.submitted.pop_front()?;
        self.unwritten -= publish.size;
        let Some(packet_id) = packet_id else { return Some(publish) };
        if self.sent.is_empty() {
            self.head_since = Some(now);
        }
        self.sent.push_back(Sent { packet_id, publish });
        None
    }

    /// A PUBACK has come. Returns whose; `None`, if nobody's.
    pub fn acknowledge(&mut self, packet_id: u16, now: Instant) -> Option<Publish> {
        // Brokers mostly acknowledge in order, so this looks at one or two.
        let position = self.sent.iter().position(|sent| sent.packet_id == packet_id)?;
        if position == 0 {
            self.head_since = Some(now);
        }
        self.acknowledged += 1;
        self.last_puback = Some(now);
        self.sent.remove(position).map(|sent| sent.publish)
    }

    /// Whether the oldest publish in flight has been the oldest for longer than the PUBACK timeout.
    ///
    /// Time counts from when a publish became the oldest, not from when it was sent: on a slow link a publish spends
    /// most of its time behind others in the buffers of the socket, and each PUBACK before its own shows that the link
    /// works. What the broker has swallowed becomes the oldest as soon as those before it are done.
    pub fn is_overdue(&self, now: Instant) -> bool {
        !self.sent.is_empty()
            && self.head_since.is_some_and(|since| now.saturating_duration_since(since) >= self.ack_timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Overflow, Priority, Qos};
    use crate::queue::{Queue, Record, Route};
    use crate::topics::Registry;

    const TIMEOUT: Duration = Duration::from_secs(20);

    fn publishes<const N: usize>() -> [Publish; N] {
        let hour = Duration::from_secs(3600);
        let queue = Queue::in_memory(&config::Queue::in_memory(1 << 20, Overflow::DropNewest));
        let route = Route {
            topic: Registry::default().topic("/odom", "odom"),
            qos: Qos::AtLeastOnce,
            retain: false,
            priority: Priority::Normal,
            packing: Default::default(),
        };
        let (route, now) = (Arc::new(route), Instant::now());
        std::array::from_fn(|_| {
            queue.admit(Record { route: route.clone(), payload: "x".into(), received_ns: 0, expires: now + hour }, now);
            let lease = queue.lease(now).map(|lease| lease.id);
            Publish { lease, route: route.clone(), encoding: None, size: 1, received_ns: vec![0], record: None }
        })
    }

    /// Packet identifiers go to what was submitted, in order; PUBACKs may come in any order, twice, or for nobody.
    #[test]
    fn pairs_acknowledgements_in_any_order() {
        let (publishes, now) = (publishes::<4>(), Instant::now());
        let [a, b, c, d] = publishes.each_ref().map(|publish| publish.lease);
        let mut window = Window::new(4, TIMEOUT);
        publishes.into_iter().for_each(|publish| window.submit(publish));
        let lease = |publish: Option<Publish>| publish.and_then(|publish| publish.lease);
        assert!(!window.has_room());
        assert_eq!(lease(window.sent(Some(1), now)), None);
        assert_eq!(lease(window.sent(None, now)), b, "QoS 0 is done when it is sent");
        assert_eq!(lease(window.sent(Some(2), now)), None);
        assert_eq!(lease(window.sent(Some(3), now)), None);
        assert_eq!(lease(window.sent(Some(4), now)), None, "nothing was submitted any more");
        assert!(window.has_room());
        assert_eq!(lease(window.acknowledge(3, now)), d);
        assert_eq!(lease(window.acknowledge(3, now)), None);
        assert_eq!(lease(window.acknowledge(1, now)), a);
        assert_eq!(lease(window.acknowledge(2, now)), c);
        assert_eq!((window.len(), window.acknowledged()), (0, 3));
    }

    /// What waits to be written is bounded in bytes, whatever the window has room for.
    #[test]
    fn what_is_not_written_is_bounded() {
        let ([a, b, c], now) = (publishes(), Instant::now());
        let mut window = Window::new(100, TIMEOUT);
        window.submit(Publish { size: MOST_UNWRITTEN - 1, ..a });
        assert!(window.has_room());
        window.submit(Publish { size: 128 << 10, ..b });
        assert!(!window.has_room());
        window.sent(Some(1), now);
        assert!(window.has_room(), "what is written waits for its PUBACK in the socket's memory");
        window.submit(c);
        assert!(window.has_room());
    }

    /// A swallowed publish is overdue although those after it are acknowledged; a slow link on which each publish
    /// waits for those before it is not.
    #[test]
    fn the_oldest_alone_has_a_deadline() {
        let ([a, b, c, again], start) = (publishes(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut window = Window::new(3, TIMEOUT);
        assert!(!window.is_overdue(at(1000)), "nothing is in flight");
        window.submit(a);
        assert!(!window.is_overdue(at(1000)), "nothing was sent");
        [b, c].into_iter().for_each(|publish| window.submit(publish));
        (1..=3).for_each(|packet_id| _ = window.sent(Some(packet_id), at(0)));
        assert!(!window.is_overdue(at(19)));
        assert!(window.is_overdue(at(20)));
        window.acknowledge(1, at(19));
        assert!(!window.is_overdue(at(38)));
        window.acknowledge(3, at(30));
        assert!(window.is_overdue(at(39)), "2 was swallowed");
        window.acknowledge(2, at(39));
        assert!(!window.is_overdue(at(1000)));
        window.submit(again);
        window.sent(Some(4), at(1000));
        assert!(!window.is_overdue(at(1019)), "the deadline starts anew");
        assert!(window.is_overdue(at(1020)));
    }
}
