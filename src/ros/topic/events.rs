//! What DDS lost or refused of a topic.

use super::super::Receiver;
use super::super::subscription::{Subscription, UNNAMED_POLICY};
use super::Topic;

impl Topic {
    /// DDS has told of an event: it is asked which, and the graph for its publishers.
    pub(in crate::ros) fn note_events(&mut self, receiver: &mut dyn Receiver) {
        self.news.come();
        self.subscriptions().for_each(Subscription::begin_events);
        self.ask_events(receiver);
    }

    /// Asks DDS what it lost or refused since the last time.
    ///
    /// Where subscriptions have to be waited for, of all that is open: with Fast DDS, what is not asked for ends each wait
    /// for its subscription at once.
    pub(in crate::ros) fn ask_events(&mut self, receiver: &mut dyn Receiver) {
        let mut has_unnamed = false;
        let topic = self.wanted.topic.as_str();
        let latched = self.open.as_ref().and_then(|open| open.latched.as_ref());
        for subscription in self.subscriptions() {
            // That volatile publishers do not suit it is meant, and what it loses, numbers tell.
            let is_latched = latched.is_some_and(|latched| {
                std::ptr::eq(&latched.subscription, subscription) || self.earlier.asks_for(latched.qos, subscription)
            });
            match subscription.newly_lost() {
                // Numbered messages tell by themselves, and also of what was overwritten here before it could be taken.
                Ok(0) => {}
                Ok(_) if self.seen.are_numbered() || is_latched => {}
                Ok(count) => receiver.lost(self.index, count),
                Err(error) => tracing::debug!(topic, "{error}."),
            }
            match subscription.newly_incompatible() {
                Ok(None) => {}
                Ok(Some(_)) if is_latched => {}
                Ok(Some((policy, count))) => {
                    has_unnamed |= policy == UNNAMED_POLICY;
                    receiver.refused(self.index, policy, count);
                }
                Err(error) => tracing::debug!(topic, "{error}."),
            }
        }
        if has_unnamed {
            self.unmatched.refused_for_unnamed();
        }
    }
}
