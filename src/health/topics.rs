//! The configured topics, which a reload may change.

use std::sync::{Arc, Mutex, PoisonError};

use super::TopicHealth;

/// Everybody who reports asks for the topics of the moment.
#[derive(Debug, Default)]
pub struct Topics(Mutex<Lists>);

#[derive(Debug, Default)]
struct Lists {
    configured: Vec<Arc<TopicHealth>>,
    /// No longer configured, but the queue still holds records of theirs.
    leaving: Vec<Arc<TopicHealth>>,
}

impl Topics {
    pub fn new(topics: Vec<Arc<TopicHealth>>) -> Self {
        Topics(Mutex::new(Lists { configured: topics, leaving: Vec::new() }))
    }

    /// The configured topics of this moment, in the configuration's order.
    pub fn configured(&self) -> Vec<Arc<TopicHealth>> {
        self.lists().configured.clone()
    }

    /// The topics that are no longer configured and of which records are still to be sent.
    pub fn leaving(&self) -> Vec<Arc<TopicHealth>> {
        let mut lists = self.lists();
        lists.leaving.retain(|topic| topic.counters.queued() + topic.counters.in_flight() > 0);
        lists.leaving.clone()
    }

    /// From now on `topics` are the configured ones. Others go as soon as nothing of theirs is left to be sent.
    pub fn replace(&self, topics: Vec<Arc<TopicHealth>>) {
        let mut lists = self.lists();
        let before = std::mem::replace(&mut lists.configured, topics);
        let gone = before.into_iter().filter(|topic| {
            // One that has changed goes on counting under its new entry.
            !lists.configured.iter().any(|kept| Arc::ptr_eq(&kept.counters, &topic.counters))
        });
        let gone: Vec<_> = gone.collect();
        lists.leaving.extend(gone);
    }

    fn lists(&self) -> std::sync::MutexGuard<'_, Lists> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A topic that is configured no more stays until nothing of its is queued; one that has changed does not count twice.
    #[test]
    fn a_removed_topic_stays_until_it_is_drained() {
        let [kept, changed, removed] =
            ["/kept", "/changed", "/removed"].map(|name| Arc::new(TopicHealth::new(name, name)));
        let topics = Topics::new(vec![kept.clone(), changed.clone(), removed.clone()]);
        removed.counters.enter_queue();
        changed.counters.enter_queue();
        let successor = Arc::new(changed.succeeded_by("elsewhere"));
        topics.replace(vec![kept, successor]);
        let names = |topics: Vec<Arc<TopicHealth>>| topics.iter().map(|topic| topic.mqtt.clone()).collect::<Vec<_>>();
        assert_eq!(names(topics.configured()), ["/kept", "elsewhere"]);
        assert_eq!(names(topics.leaving()), ["/removed"]);
        removed.counters.leave_queue();
        assert!(topics.leaving().is_empty());
    }
}
