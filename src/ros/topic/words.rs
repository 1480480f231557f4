//! What is said of a topic in the log.

use std::time::Instant;

use super::super::{TopicState, another_definition};
use super::Topic;
use iot_bridge_core::tally::ONCE_A_MINUTE;

impl Topic {
    /// Says in the log what is another in `state` than before.
    pub(super) fn log(&mut self, state: &TopicState) {
        let (topic, now) = (self.wanted.topic.as_str(), Instant::now());
        self.is_untold = false;
        let (type_name, publishers, incompatible, redefined, unmatched) = match state {
            TopicState::Trouble(trouble) => {
                self.is_untold = self.told.trouble.due(now, ONCE_A_MINUTE).is_none();
                if !self.is_untold {
                    let reason = trouble.as_str();
                    tracing::error!(topic, reason, "Topic {topic} can't be received: {trouble}.");
                }
                return;
            }
            TopicState::Unknown => return,
            TopicState::Subscribed { type_name, publishers, incompatible, redefined, unmatched } => {
                (type_name.as_str(), *publishers, *incompatible, *redefined, *unmatched)
            }
        };
        let before = match &self.state {
            TopicState::Subscribed { type_name, incompatible, redefined, unmatched, .. } => {
                Some((type_name.as_str(), *incompatible, *redefined, *unmatched))
            }
            TopicState::Unknown | TopicState::Trouble(_) => None,
        };
        if before.is_none_or(|(before, ..)| before != type_name)
            && self.told.subscribed.due(now, ONCE_A_MINUTE).is_some()
        {
            tracing::info!(topic, r#type = type_name, "Subscribed to {topic} ({type_name}).");
        }
        if redefined > before.map_or(0, |(_, _, before, _)| before)
            && self.told.redefined.due(now, ONCE_A_MINUTE).is_some()
        {
            let reason = another_definition(type_name, redefined, publishers);
            tracing::error!(topic, reason, redefined, "Topic {topic} can't be read: {reason}.");
        }
        if let Some(unmatched) = unmatched
            && before.and_then(|(.., before)| before) != Some(unmatched)
            && self.told.unmatched.due(now, ONCE_A_MINUTE).is_some()
        {
            let reason = unmatched.sentence();
            tracing::error!(topic, reason, "Topic {topic}: {reason}.");
        }
        if incompatible > before.map_or(0, |(_, before, ..)| before)
            && self.told.incompatible.due(now, ONCE_A_MINUTE).is_some()
        {
            tracing::error!(
                topic,
                incompatible,
                "Nothing arrives from {} less than the configured reliability or durability. Set those of this topic to \
                 \"auto\".",
                match incompatible {
                    1 => format!("1 publisher of {topic}: it offers"),
                    more => format!("{more} publishers of {topic}: they offer"),
                }
            );
        }
    }
}
