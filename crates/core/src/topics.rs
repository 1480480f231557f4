//! One identity for a topic: what all stages mean when they speak of the same one.
//!
//! A *topic* is a ROS topic and the MQTT topic that it goes to. Whoever configures it, finds records of it on the disk or
//! makes records of it asks the [`Registry`] for it by these two names and gets the same [`Topic`], with the same counters,
//! as long as anybody has it. Everything that is kept of a topic is kept by its [`TopicId`].
//!
//! ```text
//!  [[topics]]          who has it                     its MQTT topic
//!  /odom → a/odom      configuration, ROS, queue      a/odom
//!  /odom → a/{type}    configuration, ROS             a/{type}, until the type is known
//!                      queue                          a/Odometry     the same counters, another topic: another order
//!  (no more)           queue, until it is empty       a/old          found on the disk, or taken out by a reload
//! ```
//!
//! **It is gone with the last who has it.** Configuration and reception let go of a topic when a reload takes it out, the
//! queue when nothing of it is left in memory and on the disk. Then its id means nothing any more: its slot goes to the
//! next topic, under another generation. So no list of topics only grows. What is kept for an id and does not have the
//! topic itself keeps a [`Weak`] beside it, and goes when that is dead.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rustc_hash::FxHashMap;

use crate::tally::TopicCounters;

/// Names a topic, for as long as anybody has it. Never given twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId {
    /// The lowest that was free.
    slot: u32,
    /// Another one for each topic of the process. It comes round after four thousand million of them.
    generation: u32,
}

impl TopicId {
    /// Of messages of the bridge's own, which are of no ROS topic.
    const OWN: TopicId = TopicId { slot: u32::MAX, generation: 0 };
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

/// By topic. Ids are of the bridge's own making, so their hash has to be quick and nothing else.
pub type TopicMap<V> = FxHashMap<TopicId, V>;

/// A topic that somebody has.
#[derive(Debug)]
pub struct Topic {
    pub id: TopicId,
    /// Name of the ROS topic, for log and status.
    pub ros: String,
    /// MQTT topic, ready to publish to but for what was not known: the name of the thing, and `{type}` where only the
    /// configuration has the topic.
    pub mqtt: String,
    pub counters: Arc<TopicCounters>,
    /// `None` if it is of the bridge's own.
    registry: Option<Registry>,
    /// Who asks for it by its names gets it.
    is_named: bool,
}

impl Topic {
    /// The topic of messages of the bridge's own that go to `mqtt`.
    pub fn of_the_bridge(mqtt: &str) -> Arc<Topic> {
        let (mqtt, counters) = (mqtt.to_owned(), Arc::default());
        Arc::new(Topic { id: TopicId::OWN, ros: String::new(), mqtt, counters, registry: None, is_named: false })
    }

    /// The topic of the same messages that go to `mqtt`, because their type is known or the configuration has changed:
    /// they are counted together. If somebody has it already, it goes on counting where it does.
    pub fn towards(self: &Arc<Self>, mqtt: &str) -> Arc<Topic> {
        if self.mqtt == mqtt && self.is_named {
            return Arc::clone(self);
        }
        match &self.registry {
            Some(registry) => registry.named(&self.ros, mqtt, || Arc::clone(&self.counters)),
            None => Topic::of_the_bridge(mqtt),
        }
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.take() {
            let name = (std::mem::take(&mut self.ros), std::mem::take(&mut self.mqtt));
            lock(&registry.0).forget(self.id, name);
        }
    }
}

/// Every topic that somebody has.
#[derive(Debug, Clone, Default)]
pub struct Registry(Arc<Mutex<Topics>>);

#[derive(Debug, Default)]
struct Topics {
    by_name: HashMap<(String, String), Weak<Topic>>,
    /// Below `slots`.
    free: BTreeSet<u32>,
    slots: u32,
}

impl Registry {
    /// The messages of `ros` that go to `mqtt`. A topic that nobody has yet begins to count.
    pub fn topic(&self, ros: &str, mqtt: &str) -> Arc<Topic> {
        self.named(ros, mqtt, Arc::default)
    }

    /// The messages of `ros` that go to `mqtt`, if anybody has that topic.
    pub fn find(&self, ros: &str, mqtt: &str) -> Option<Arc<Topic>> {
        lock(&self.0).by_name.get(&(ros.to_owned(), mqtt.to_owned())).and_then(Weak::upgrade)
    }

    /// A topic that somebody has, of the messages of `ros`, whose MQTT topic `may_be` accepts.
    pub fn find_among(&self, ros: &str, may_be: impl Fn(&str) -> bool) -> Option<Arc<Topic>> {
        let topics = lock(&self.0);
        let mut of_ros = topics.by_name.iter().filter(|((of, mqtt), _)| of == ros && may_be(mqtt));
        of_ros.find_map(|(_, topic)| topic.upgrade())
    }

    /// The second entry of the configuration with the same names as `topic`. ROS is asked for both, so the two have ids of
    /// their own; their records are of `topic`, and counted together.
    pub fn another(&self, topic: &Topic) -> Arc<Topic> {
        let id = lock(&self.0).take_slot();
        let mut another = self.make(id, &topic.ros, &topic.mqtt, Arc::clone(&topic.counters));
        another.is_named = false;
        Arc::new(another)
    }

    /// How many topics somebody has, and how many slots there are for them.
    pub fn size(&self) -> (usize, usize) {
        let topics = lock(&self.0);
        (topics.slots as usize - topics.free.len(), topics.slots as usize)
    }

    fn named(&self, ros: &str, mqtt: &str, counters: impl FnOnce() -> Arc<TopicCounters>) -> Arc<Topic> {
        let mut topics = lock(&self.0);
        let name = (ros.to_owned(), mqtt.to_owned());
        if let Some(known) = topics.by_name.get(&name).and_then(Weak::upgrade) {
            return known;
        }
        let id = topics.take_slot();
        let topic = Arc::new(self.make(id, ros, mqtt, counters()));
        topics.by_name.insert(name, Arc::downgrade(&topic));
        topic
    }

    fn make(&self, id: TopicId, ros: &str, mqtt: &str, counters: Arc<TopicCounters>) -> Topic {
        Topic { id, ros: ros.to_owned(), mqtt: mqtt.to_owned(), counters, registry: Some(self.clone()), is_named: true }
    }
}

impl Topics {
    fn take_slot(&mut self) -> TopicId {
        let slot = self.free.pop_first().unwrap_or_else(|| {
            self.slots += 1;
            self.slots - 1
        });
        TopicId { slot, generation: GENERATION.fetch_add(1, Ordering::Relaxed) }
    }

    /// Nobody has the topic `id` with these names any more.
    fn forget(&mut self, id: TopicId, name: (String, String)) {
        // Another one may have come to its name in between.
        if self.by_name.get(&name).is_some_and(|topic| topic.strong_count() == 0) {
            self.by_name.remove(&name);
        }
        self.free.insert(id.slot);
        while self.slots > 0 && self.free.remove(&(self.slots - 1)) {
            self.slots -= 1;
        }
        if self.by_name.capacity() > 4 * self.by_name.len().max(LEAST) {
            self.by_name.shrink_to(2 * self.by_name.len());
        }
    }
}

/// A table for fewer topics is not worth shrinking.
const LEAST: usize = 64;

/// Of the next topic.
static GENERATION: AtomicU32 = AtomicU32::new(0);

fn lock(topics: &Mutex<Topics>) -> MutexGuard<'_, Topics> {
    // Nothing in here panics half-way.
    topics.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever asks by the same names gets the same topic, as long as somebody has it; then its id is gone, and its slot
    /// goes to the next one under another id.
    #[test]
    fn a_topic_is_one_for_as_long_as_somebody_has_it() {
        let registry = Registry::default();
        let odom = registry.topic("/odom", "a/odom");
        assert!(Arc::ptr_eq(&odom, &registry.topic("/odom", "a/odom")));
        assert!(Arc::ptr_eq(&odom, &registry.find("/odom", "a/odom").unwrap()));
        assert!(registry.find("/odom", "a/other").is_none());
        let other = registry.topic("/odom", "a/other");
        assert_ne!(odom.id, other.id);
        odom.counters.count_received();
        let before = odom.id;
        drop(odom);
        assert!(registry.find("/odom", "a/odom").is_none());
        let again = registry.topic("/odom", "a/odom");
        assert_eq!((again.id.slot, again.counters.received()), (before.slot, 0));
        assert_ne!(again.id, before);
        drop((again, other));
        assert_eq!(registry.size(), (0, 0));
        assert!(lock(&registry.0).by_name.is_empty());
    }

    /// Towards another MQTT topic messages have another order, but are counted together; what is there already keeps its
    /// counters.
    #[test]
    fn messages_of_one_ros_topic_count_together_wherever_they_go() {
        let registry = Registry::default();
        let configured = registry.topic("/odom", "a/{type}");
        let sent = configured.towards("a/Odometry");
        assert_ne!(configured.id, sent.id);
        assert!(Arc::ptr_eq(&configured.counters, &sent.counters));
        assert!(Arc::ptr_eq(&configured.towards("a/{type}"), &configured));
        assert!(Arc::ptr_eq(&registry.topic("/odom", "a/Odometry"), &sent));
        let apart = registry.topic("/odom", "b");
        assert!(Arc::ptr_eq(&configured.towards("b").counters, &apart.counters));
        let twice = registry.another(&sent);
        assert!(twice.id != sent.id && Arc::ptr_eq(&twice.counters, &sent.counters));
        assert!(Arc::ptr_eq(&twice.towards("a/Odometry"), &sent));
        drop(twice);
        assert!(Arc::ptr_eq(&registry.topic("/odom", "a/Odometry"), &sent));
        assert!(Arc::ptr_eq(&registry.topic("/odom", "a/{type}"), &configured));
    }

    /// Two thousand topics come and go, in any order: nothing is left of them.
    #[test]
    fn the_registry_shrinks() {
        let registry = Registry::default();
        let kept = registry.topic("/kept", "kept");
        let mut topics: Vec<_> = (0..2000).map(|number| registry.topic(&format!("/{number}"), "a")).collect();
        assert_eq!(registry.size(), (2001, 2001));
        let mut ids: Vec<_> = topics.iter().map(|topic| topic.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 2000);
        while !topics.is_empty() {
            topics.swap_remove(topics.len() / 3);
        }
        assert_eq!(registry.size(), (1, 1));
        let by_name = lock(&registry.0).by_name.capacity();
        assert!(by_name <= 4 * LEAST, "{by_name}");
        assert!(Arc::ptr_eq(&registry.topic("/kept", "kept"), &kept));
    }
}
