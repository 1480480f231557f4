//! The configured topics, which a reload may change.

use std::sync::{Arc, Mutex, PoisonError};

use super::TopicHealth;
use iot_bridge_core::tally::TopicCounters;

/// Everybody who reports asks for the topics of the moment.
#[derive(Debug, Default)]
pub struct Topics(Mutex<Lists>);

#[derive(Debug, Default)]
struct Lists {
    configured: Vec<Arc<TopicHealth>>,
    /// No longer configured, but the queue still holds records of theirs.
    leaving: Vec<Leaving>,
}

#[derive(Debug)]
struct Leaving {
    topic: Arc<TopicHealth>,
    /// The queue has held records of it. It is about to, if they were just found on the disk.
    has_waited: bool,
}

impl Leaving {
    /// Whether something of it is to be sent.
    fn waits(&mut self) -> bool {
        let waits = self.topic.counters.queued() + self.topic.counters.in_flight() > 0;
        self.has_waited |= waits;
        waits || !self.has_waited
    }
}

impl Topics {
    pub fn new(topics: Vec<Arc<TopicHealth>>) -> Self {
        Topics(Mutex::new(Lists { configured: topics, leaving: Vec::new() }))
    }

    /// The configured topics of this moment, in the configuration's order.
    pub fn configured(&self) -> Vec<Arc<TopicHealth>> {
        self.lists().configured.clone()
    }

    /// The topics that are not configured, or no longer, and of which records are still to be sent. What became of those
    /// of which nothing is left goes to the log.
    pub fn leaving(&self) -> Vec<Arc<TopicHealth>> {
        let (gone, leaving) = {
            let mut lists = self.lists();
            let gone: Vec<_> = lists.leaving.extract_if(.., |leaving| !leaving.waits()).collect();
            (gone, lists.leaving.iter().map(|leaving| Arc::clone(&leaving.topic)).collect())
        };
        gone.iter().for_each(|leaving| leaving.topic.log_account());
        leaving
    }

    /// The counters of records that are found on the disk, of the ROS topic `ros` and for the MQTT topic `mqtt`. One that
    /// is not configured any more is leaving from now on.
    pub fn counters_of(&self, ros: &str, mqtt: &str) -> Arc<TopicCounters> {
        let mut lists = self.lists();
        let is_same = |topic: &&Arc<TopicHealth>| topic.name == ros && topic.mqtt == mqtt;
        let leaving = lists.leaving.iter().map(|leaving| &leaving.topic);
        let known = lists.configured.iter().chain(leaving).find(is_same);
        // It went elsewhere before, or what its MQTT topic is depends on its type.
        let known = known.or_else(|| lists.configured.iter().find(|topic| topic.name == ros));
        if let Some(topic) = known {
            return Arc::clone(&topic.counters);
        }
        let topic = Arc::new(TopicHealth::new(ros, mqtt));
        let counters = Arc::clone(&topic.counters);
        lists.leaving.push(Leaving { topic, has_waited: false });
        counters
    }

    /// Health of a topic that is configured from now on. Of one that is leaving it goes on counting: what the queue holds
    /// of it is counted there.
    pub fn enter(&self, ros: &str, mqtt: &str) -> TopicHealth {
        let lists = self.lists();
        let mut leaving = lists.leaving.iter().map(|leaving| &leaving.topic);
        let before = leaving.find(|topic| topic.name == ros && topic.mqtt == mqtt);
        before.map_or_else(|| TopicHealth::new(ros, mqtt), |topic| topic.succeeded_by(mqtt))
    }

    /// From now on `topics` are the configured ones. Others go as soon as nothing of theirs is left to be sent.
    pub fn replace(&self, topics: Vec<Arc<TopicHealth>>) {
        let mut lists = self.lists();
        let before = std::mem::replace(&mut lists.configured, topics);
        let Lists { configured, leaving } = &mut *lists;
        leaving.extend(before.into_iter().map(|topic| Leaving { topic, has_waited: true }));
        // One that has changed, or is configured again, goes on counting under its new entry.
        leaving.retain(|Leaving { topic, .. }| {
            !configured.iter().any(|kept| Arc::ptr_eq(&kept.counters, &topic.counters))
        });
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

    /// Records on the disk are counted by their topic, by the one that is configured for its name, or by one that is
    /// leaving, which is shown as long as something of it is left.
    #[test]
    fn what_is_found_on_the_disk_is_shown() {
        let [here, there] = ["here", "there"].map(|mqtt| Arc::new(TopicHealth::new("/odom", mqtt)));
        let topics = Topics::new(vec![here.clone(), there.clone()]);
        let is = |counters: &Arc<TopicCounters>, topic: &Arc<TopicHealth>| Arc::ptr_eq(counters, &topic.counters);
        assert!(is(&topics.counters_of("/odom", "there"), &there));
        assert!(is(&topics.counters_of("/odom", "here"), &here));
        assert!(is(&topics.counters_of("/odom", "where it went before"), &here));
        let counters = topics.counters_of("/gone", "gone");
        assert!(Arc::ptr_eq(&topics.counters_of("/gone", "gone"), &counters));
        // Nothing of it has been counted yet.
        assert!(is(&counters, &topics.leaving()[0]));
        counters.enter_queue();
        assert!(is(&counters, &topics.leaving()[0]));
        counters.leave_queue();
        assert!(topics.leaving().is_empty());
    }

    /// A topic that is taken out and put in again while records of it are queued goes on counting where it was.
    #[test]
    fn a_topic_that_comes_back_goes_on_counting() {
        let first = Arc::new(TopicHealth::new("/odom", "odom"));
        let topics = Topics::new(vec![first.clone()]);
        first.counters.enter_queue();
        topics.replace(vec![]);
        let again = Arc::new(topics.enter("/odom", "odom"));
        topics.replace(vec![again.clone()]);
        assert!(Arc::ptr_eq(&again.counters, &first.counters));
        assert!(topics.leaving().is_empty());
        let elsewhere = topics.enter("/odom", "elsewhere");
        assert!(!Arc::ptr_eq(&elsewhere.counters, &first.counters));
    }
}
