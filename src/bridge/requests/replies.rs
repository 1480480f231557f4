//! Replies as records of the queue, so that the account, the quotas and the rules of the disk hold for them.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::health::Topics;
use iot_bridge_core::config::{PAYLOAD_LIMIT, Priority, Qos};
use iot_bridge_core::mqtt::client::Properties;
use iot_bridge_core::packing::{Correlated, Packing};
use iot_bridge_core::queue::{Queue, Record, Route, Routes};
use iot_bridge_core::requests::{ResponseTopicFault, reply_topic};
use iot_bridge_core::tally::DropReason;

/// Sends replies.
pub(in crate::bridge) struct Replies {
    queue: Arc<Queue>,
    topics: Arc<Topics>,
    routes: RefCell<Routes>,
}

/// Where a reply goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::bridge) struct ReplyTo {
    /// MQTT topic. The name of the thing may be open.
    pub topic: String,
    /// What it brings back, so that it is known what it answers.
    pub correlation: Option<Bytes>,
}

impl ReplyTo {
    /// Where the reply to a request goes: to the response topic that came with it, or else to the `configured` one. `None` if there
    /// is neither.
    ///
    /// # Errors
    /// For a response topic that nothing is published to: there is no reply then.
    pub fn of(properties: &Properties, configured: Option<&str>) -> Result<Option<ReplyTo>, ResponseTopicFault> {
        let topic = reply_topic(properties.response_topic.as_deref(), configured)?;
        let correlation = properties.correlation_data.clone();
        Ok(topic.map(|topic| ReplyTo { topic: topic.to_owned(), correlation }))
    }
}

/// A reply, or whatever else is sent because the cloud has asked for it.
#[derive(Debug)]
pub(in crate::bridge) struct Reply<'a> {
    /// The configured `mqtt` of the entry: all that it sends is counted together, whatever topics it goes to.
    pub of: &'a str,
    pub to: &'a ReplyTo,
    /// JSON.
    pub payload: &'a [u8],
    /// How long it is worth being sent.
    pub max_age: Duration,
}

impl Replies {
    pub(super) fn new(queue: Arc<Queue>, topics: Arc<Topics>) -> Replies {
        Replies { queue, topics, routes: RefCell::default() }
    }

    /// Has `reply` sent, at least once if it is acknowledged in time. Returns whether the queue has taken it: if not, it is
    /// too large ([`PAYLOAD_LIMIT`], or [`MOST_CORRELATION`](iot_bridge_core::packing::MOST_CORRELATION)) or the queue is full,
    /// and counted as dropped.
    pub fn send(&self, reply: Reply<'_>, now: Instant) -> bool {
        let Reply { of, to: ReplyTo { topic, correlation }, payload, max_age } = reply;
        let counted = self.topics.replies(of, topic);
        counted.counters.count_received();
        let record = Correlated::join(correlation.as_deref(), payload).filter(|_| payload.len() <= PAYLOAD_LIMIT);
        let Some(payload) = record else {
            counted.counters.count_dropped(DropReason::TooLarge);
            return false;
        };
        let route = self.routes.borrow_mut().share(Route {
            topic: counted.topic.towards(topic),
            qos: Qos::AtLeastOnce,
            retain: false,
            priority: Priority::High,
            packing: Packing::of_replies(),
        });
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let received_ns = since_1970.as_nanos().try_into().unwrap_or(i64::MAX);
        let expires = now.checked_add(max_age).unwrap_or(now);
        self.queue.admit(Record { route, payload, received_ns, expires }, now)
    }

    /// The entry with this `mqtt` sends no more.
    pub(super) fn leave(&self, of: &str) {
        self.topics.no_replies(of);
    }
}
