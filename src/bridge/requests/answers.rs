//! How requests of one service or action are answered, and accounted for.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Outside, Reply, ReplyTo};
use crate::health::RequestHealth;
use crate::ros::RosError;
use iot_bridge_core::mqtt::client::Arrival;
use iot_bridge_core::requests::{Detail, Identity, Ids, Key, Received};
use iot_bridge_core::tally::{ONCE_A_MINUTE, Repeat};

/// How long a reply is worth being sent: whoever has asked a minute ago does not wait for it any more.
pub(super) const REPLY_MAX_AGE: Duration = Duration::from_secs(60);

/// As metrics name a request that has come already.
pub(super) const DUPLICATE: &str = "duplicate";

/// As metrics name what ROS has for the bridge and does not hand out.
pub(super) const LOST: &str = "lost";

/// As metrics name a request to end a goal that goes on.
pub(super) const NOT_CANCELED: &str = "not_canceled";

/// As metrics name feedback that can't be sent.
pub(super) const FEEDBACK: &str = "feedback";

/// What has come, as far as a request of it is concerned.
pub(super) fn received(arrival: &Arrival) -> Received<'_> {
    let correlation_data = arrival.properties.correlation_data.as_deref();
    Received { payload: &arrival.payload, retain: arrival.retain, correlation_data }
}

/// Who is answered, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asker {
    pub identity: Identity,
    /// `None` where there is nobody to tell.
    pub to: Option<ReplyTo>,
}

impl Asker {
    /// Who has sent `arrival`, and is answered to its response topic or else to the `configured` one.
    pub fn of(arrival: &Arrival, identity: Identity, configured: &str) -> Asker {
        let to = ReplyTo::of(&arrival.properties, Some(configured)).unwrap_or_else(|fault| {
            tracing::debug!("A request to {} gets no reply: {fault}.", arrival.topic);
            None
        });
        Asker { identity, to }
    }
}

/// What was asked for of late. With QoS 1 a broker may bring a request twice, as two messages.
#[derive(Default)]
pub(super) struct Known(Ids<u64>);

impl Known {
    /// Whether the request with this payload is there already.
    pub fn is_repeat(&self, key: &Key, payload: &[u8], now: Instant) -> bool {
        self.0.get(key, now) == Some(&hash(payload))
    }

    pub fn note(&mut self, key: Key, payload: &[u8], now: Instant) {
        self.0.note(key, hash(payload), now);
    }

    /// Who has asked was told that nothing came of it, and may ask again.
    pub fn forget(&mut self, key: &Key) {
        self.0.forget(key);
    }
}

fn hash(payload: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    payload.hash(&mut hasher);
    hasher.finish()
}

/// Sends the replies of one entry; counts and logs how its requests end.
pub(super) struct Answers {
    health: Arc<RequestHealth>,
    /// What was said of those that ended badly, by reason.
    said: BTreeMap<&'static str, Repeat>,
    lost: Repeat,
}

impl Answers {
    pub fn new(health: Arc<RequestHealth>) -> Answers {
        Answers { health, said: BTreeMap::new(), lost: Repeat::default() }
    }

    /// Sends `payload` to who has asked.
    pub fn send(&self, asker: &Asker, payload: &[u8], max_age: Duration, outside: &Outside, now: Instant) {
        if let Some(to) = &asker.to {
            outside.replies.send(Reply { of: &self.health.mqtt, to, payload, max_age }, now);
        }
    }

    /// Counts a request that was accepted, or has ended well.
    pub fn ended_well(&self, outcome: &'static str, asker: &Asker) {
        self.health.accepted(outcome, asker.identity.shown());
    }

    /// Counts what has gone wrong with a request, and says so, once a minute for each `reason`.
    pub fn ended_badly(&mut self, reason: &'static str, detail: &Detail, asker: &Asker, now: Instant) {
        self.health.refused(reason, detail.as_str(), asker.identity.shown());
        if let Some(more) = self.said.entry(reason).or_default().due(now, ONCE_A_MINUTE) {
            let (mqtt, kind, ros) = (&self.health.mqtt, self.health.kind, &self.health.ros);
            tracing::warn!(
                command = mqtt,
                reason,
                more,
                "A request for the {kind} {ros} by {mqtt}: {reason}: {detail}."
            );
        }
    }

    /// Counts a request that has come already, and says so.
    pub fn count_repeat(&mut self, asker: &Asker, now: Instant) {
        self.ended_badly(DUPLICATE, &Detail::new("the same request has come already"), asker, now);
    }

    /// Counts what can't be taken from ROS, and says so, once a minute: where that lasts, each turn finds it again.
    pub fn lost(&mut self, error: &RosError, now: Instant) {
        self.health.outcomes().count(LOST);
        if let Some(more) = self.lost.due(now, ONCE_A_MINUTE) {
            let (mqtt, kind, ros) = (&self.health.mqtt, self.health.kind, &self.health.ros);
            tracing::error!(
                command = mqtt,
                more,
                "Something that the {kind} {ros} has sent can't be taken from ROS, and is lost: {error} ({more} more since \
                 this was last said)."
            );
        }
    }

    /// Tells how it stands with ROS: whether there `is_served`, and what can't be had.
    pub fn stands(&self, is_served: bool, trouble: Option<&str>) {
        let trouble = trouble.map(str::to_owned);
        self.health.stands(crate::health::Standing { peers: Some(is_served.into()), trouble });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Requests;
    use crate::ros::Node;

    /// A fault of ROS that lasts is counted each time that it is found, and said once a minute.
    #[test]
    fn what_is_lost_is_counted_each_time() {
        let health = Requests::default().enter("service", "a", "/a");
        let mut answers = Answers::new(Arc::clone(&health));
        let (error, now) = (Node::create("no name", "").map(drop).unwrap_err(), Instant::now());
        (0..3).for_each(|_| answers.lost(&error, now));
        assert_eq!(health.outcomes().read(), BTreeMap::from([(LOST, 3)]));
        assert_eq!(answers.lost.due(now + ONCE_A_MINUTE, ONCE_A_MINUTE), Some(2));
    }
}
