//! The topics that are shown: those in force, which a reload and the ROS graph may change, those that still have records, and
//! for a while those that have vanished from the graph.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::TopicHealth;
use iot_bridge_core::config::{Found, may_become};
use iot_bridge_core::topics::{Registry, Topic, TopicId};

/// Everybody who reports asks for the topics of the moment.
#[derive(Debug, Default)]
pub struct Topics {
    registry: Registry,
    lists: Mutex<Lists>,
}

#[derive(Debug, Default)]
struct Lists {
    configured: Vec<Arc<TopicHealth>>,
    /// Of what is sent because the cloud has asked for it, by the `mqtt` of the entry that was asked.
    replies: Vec<Arc<TopicHealth>>,
    /// Not configured, or no longer, but the queue still holds records of theirs; or vanished from the graph. Who has left
    /// last is at the end.
    leaving: Vec<Leaving>,
    patterns: Vec<Found>,
}

/// When a topic that is not in force any more leaves what is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaves {
    /// It is not configured: as soon as nothing of it is left to be sent.
    WhenDrained,
    /// Nobody publishes it any more: a while after that.
    AfterAWhile,
}

/// How long a topic that has vanished is shown after its last record.
const VANISHED: Duration = Duration::from_secs(600);

/// Topics that have vanished and of which nothing is left that are shown at most; the longest gone leave first. Names may
/// be new ones each time.
const MOST_VANISHED: usize = 1000;

#[derive(Debug)]
struct Leaving {
    health: Arc<TopicHealth>,
    /// The queue has held records of it. It is about to, if they were just found on the disk.
    has_waited: bool,
    /// If it has vanished: when that was, or when something of it was left last.
    vanished: Option<Instant>,
}

/// A topic that is shown though it is not in force.
#[derive(Debug, Clone)]
pub struct Left {
    pub health: Arc<TopicHealth>,
    /// From the graph; otherwise it is not configured any more.
    pub has_vanished: bool,
}

impl Leaving {
    /// Whether it is to be shown at `now`.
    fn is_shown(&mut self, now: Instant) -> bool {
        let waits = self.waits();
        if let Some(vanished) = &mut self.vanished {
            if waits {
                *vanished = now;
            }
            return now.saturating_duration_since(*vanished) < VANISHED;
        }
        waits
    }

    /// Whether something of it is to be sent.
    fn waits(&mut self) -> bool {
        let waits = self.health.counters.queued() + self.health.counters.in_flight() > 0;
        self.has_waited |= waits;
        waits || !self.has_waited
    }

    /// Whether no stage has it any more, nor will have records of it.
    fn is_gone(&mut self) -> bool {
        let is_ours_alone = Arc::strong_count(&self.health) == 1 && Arc::strong_count(&self.health.topic) == 1;
        is_ours_alone && self.health.counters.queued() + self.health.counters.in_flight() == 0
    }
}

impl Topics {
    /// The configured topic that sends what it gets from `ros` to `mqtt`, for an entry of the configuration. `is_taken` says
    /// which topics are those of other entries. One that was configured before, and of which records are left, goes on
    /// counting.
    pub fn enter(&self, ros: &str, mqtt: &str, is_taken: impl Fn(TopicId) -> bool) -> TopicHealth {
        // Of one whose MQTT topic depends on the type, the queue may have the one that it became.
        let became = || mqtt.contains("{type}").then(|| self.registry.find_among(ros, |other| may_become(mqtt, other)));
        let known = self.registry.find(ros, mqtt).or_else(|| became().flatten().map(|topic| topic.towards(mqtt)));
        let topic = known.unwrap_or_else(|| self.registry.topic(ros, mqtt));
        TopicHealth::new(self.unless_taken(topic, is_taken))
    }

    /// The topic of `before` after a change of its configuration: it goes on counting, and goes to `mqtt` now.
    pub fn change(&self, before: &TopicHealth, mqtt: &str, is_taken: impl Fn(TopicId) -> bool) -> TopicHealth {
        let same = before.topic.mqtt == mqtt && !is_taken(before.topic.id);
        let topic = if same { Arc::clone(&before.topic) } else { before.topic.towards(mqtt) };
        before.succeeded_by(self.unless_taken(topic, is_taken))
    }

    fn unless_taken(&self, topic: Arc<Topic>, is_taken: impl Fn(TopicId) -> bool) -> Arc<Topic> {
        if is_taken(topic.id) { self.registry.another(&topic) } else { topic }
    }

    /// The configured topics of this moment, in the configuration's order.
    pub fn configured(&self) -> Vec<Arc<TopicHealth>> {
        self.lists().configured.clone()
    }

    /// The topic of what is sent because the cloud has asked the entry with the configured `mqtt` for something, and goes to `to`
    /// unless it is said otherwise. Where a ROS topic has its name it has `mqtt`, which never begins with a slash as those
    /// do. It is shown until [`no_replies`](Self::no_replies).
    pub fn replies(&self, mqtt: &str, to: &str) -> Arc<TopicHealth> {
        let mut lists = self.lists();
        if let Some(known) = lists.replies.iter().find(|known| known.ros == mqtt) {
            return Arc::clone(known);
        }
        let health = Arc::new(TopicHealth::new(self.registry.topic(mqtt, to)));
        // What an earlier process has left is counted with it.
        lists.leaving.retain(|leaving| !Arc::ptr_eq(&leaving.health.counters, &health.counters));
        lists.replies.push(Arc::clone(&health));
        health
    }

    /// The entry with this `mqtt` is in the configuration no more.
    pub fn no_replies(&self, mqtt: &str) {
        let mut lists = self.lists();
        let Lists { replies, leaving, .. } = &mut *lists;
        let gone = replies.extract_if(.., |known| known.ros == mqtt);
        leaving.extend(gone.map(|health| Leaving { health, has_waited: true, vanished: None }));
    }

    /// The topics of replies.
    pub fn all_replies(&self) -> Vec<Arc<TopicHealth>> {
        self.lists().replies.clone()
    }

    /// The topics that are not configured, or no longer, and of which records are still to be sent, and those that have
    /// vanished. What became of those that are gone goes to the log. To be called now and then.
    pub fn leaving(&self, now: Instant) -> Vec<Left> {
        let (gone, leaving) = {
            let mut lists = self.lists();
            let mut vanished = lists.leaving.iter().filter(|leaving| leaving.vanished.is_some()).count();
            let gone = lists.leaving.extract_if(.., |leaving| {
                let has_vanished = leaving.vanished.is_some();
                let stays = has_vanished && vanished <= MOST_VANISHED && leaving.is_shown(now);
                let is_gone = !stays && leaving.is_gone();
                vanished -= usize::from(has_vanished && is_gone);
                is_gone
            });
            let gone: Vec<_> = gone.collect();
            let shown = lists.leaving.iter_mut().filter_map(|leaving| {
                leaving
                    .is_shown(now)
                    .then(|| Left { health: leaving.health.clone(), has_vanished: leaving.vanished.is_some() })
            });
            (gone, shown.collect())
        };
        gone.iter().for_each(|leaving| leaving.health.log_account());
        leaving
    }

    /// All topics of which the log has not told yet what became of them; of those that are counted together one.
    pub fn untold(&self) -> Vec<Arc<TopicHealth>> {
        let lists = self.lists();
        let mut told = HashSet::new();
        let shown = lists.configured.iter().chain(&lists.replies);
        let shown = shown.chain(lists.leaving.iter().map(|leaving| &leaving.health));
        shown.filter(|health| told.insert(Arc::as_ptr(&health.counters))).cloned().collect()
    }

    /// The topic of records that are found on the disk, by the names of the ROS topic and of the MQTT topic. One that is
    /// not configured any more is leaving from now on.
    pub fn topic_of(&self, ros: &str, mqtt: &str) -> Arc<Topic> {
        let mut lists = self.lists();
        let found = self.registry.find(ros, mqtt).or_else(|| {
            // It went elsewhere before, or what its MQTT topic is depends on its type.
            let of_name = || lists.configured.iter().chain(&lists.replies).filter(|health| health.ros == ros);
            let known = of_name().find(|health| may_become(&health.mqtt, mqtt)).or_else(|| of_name().next());
            known.map(|health| health.topic.towards(mqtt))
        });
        let topic = found.unwrap_or_else(|| self.registry.topic(ros, mqtt));
        let shown = lists.configured.iter().chain(&lists.replies);
        let mut shown = shown.chain(lists.leaving.iter().map(|leaving| &leaving.health));
        if !shown.any(|health| Arc::ptr_eq(&health.counters, &topic.counters)) {
            let health = Arc::new(TopicHealth::new(Arc::clone(&topic)));
            lists.leaving.push(Leaving { health, has_waited: false, vanished: None });
        }
        topic
    }

    /// From `now` on `topics` are those in force. Others that were so far go as `leaves` says.
    pub fn replace(&self, topics: Vec<Arc<TopicHealth>>, leaves: Leaves, now: Instant) {
        let vanished = (leaves == Leaves::AfterAWhile).then_some(now);
        let mut lists = self.lists();
        let before = std::mem::replace(&mut lists.configured, topics);
        let Lists { configured, leaving, .. } = &mut *lists;
        leaving.extend(before.into_iter().map(|health| Leaving { health, has_waited: true, vanished }));
        // One that has changed, or is configured again, goes on counting under its new entry.
        let kept: HashSet<_> = configured.iter().map(|kept| Arc::as_ptr(&kept.counters)).collect();
        leaving.retain(|leaving| !kept.contains(&Arc::as_ptr(&leaving.health.counters)));
    }

    /// What patterns have found.
    pub fn patterns(&self) -> Vec<Found> {
        self.lists().patterns.clone()
    }

    /// From now on patterns have found this.
    pub fn set_patterns(&self, patterns: Vec<Found>) {
        self.lists().patterns = patterns;
    }

    /// How many topics are shown, and how many somebody has.
    pub fn size(&self) -> [usize; 3] {
        let (topics, slots) = self.registry.size();
        let lists = self.lists();
        [lists.configured.len() + lists.leaving.len(), topics, slots]
    }

    fn lists(&self) -> std::sync::MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iot_bridge_core::tally::TopicCounters;

    /// Configured topics with these names.
    fn configured<const N: usize>(names: [(&str, &str); N]) -> (Topics, [Arc<TopicHealth>; N]) {
        let topics = Topics::default();
        let entries = names.map(|(ros, mqtt)| Arc::new(topics.enter(ros, mqtt, |_| false)));
        topics.replace(entries.to_vec(), Leaves::WhenDrained, Instant::now());
        (topics, entries)
    }

    fn is(one: &Arc<TopicCounters>, other: &Arc<TopicCounters>) -> bool {
        Arc::ptr_eq(one, other)
    }

    /// Those that are shown though they are not in force.
    fn left(topics: &Topics) -> Vec<Arc<TopicHealth>> {
        topics.leaving(Instant::now()).into_iter().map(|left| left.health).collect()
    }

    /// A topic that has vanished is shown for ten minutes after its last record, whoever reads it then; when it comes again, it
    /// goes on counting.
    #[test]
    fn a_topic_that_has_vanished_stays_for_a_while() {
        let (topics, [kept, vanished]) = configured([("/kept", "kept"), ("/a", "a")]);
        let start = Instant::now();
        let after = |minutes: u64| start + Duration::from_secs(60 * minutes);
        vanished.counters.count_received();
        vanished.counters.enter_queue();
        topics.replace(vec![kept.clone()], Leaves::AfterAWhile, start);
        drop(vanished);
        let shown = |now| topics.leaving(now).into_iter().map(|left| left.has_vanished).collect::<Vec<_>>();
        assert_eq!(shown(after(30)), [true], "it waits");
        topics.leaving(after(30))[0].health.counters.leave_queue();
        assert_eq!(shown(after(39)), [true]);
        let again = Arc::new(topics.enter("/a", "a", |_| false));
        assert_eq!(again.counters.received(), 1);
        topics.replace(vec![kept.clone(), again], Leaves::AfterAWhile, after(39));
        assert!(shown(after(60)).is_empty());
        topics.replace(vec![kept], Leaves::AfterAWhile, after(60));
        assert_eq!(shown(after(69)), [true]);
        assert!(shown(after(71)).is_empty());
        assert_eq!(topics.size()[..2], [1, 1]);
    }

    /// Topics with ever new names are not remembered without a bound.
    #[test]
    fn not_all_that_have_vanished_are_shown() {
        let (topics, []) = configured([]);
        let now = Instant::now();
        for round in 0..3 {
            let names = (0..MOST_VANISHED).map(|number| format!("/{round}/{number}"));
            let entries = names.map(|name| Arc::new(topics.enter(&name, &name, |_| false))).collect();
            topics.replace(entries, Leaves::AfterAWhile, now);
            topics.replace(vec![], Leaves::AfterAWhile, now);
            let shown = topics.leaving(now);
            assert_eq!(shown.len(), MOST_VANISHED);
            assert_eq!(shown[0].health.ros, format!("/{round}/0"), "the oldest are gone");
        }
    }

    /// A topic that is configured no more stays until nothing of its is queued; one that has changed does not count twice.
    #[test]
    fn a_removed_topic_stays_until_it_is_drained() {
        let names = ["/kept", "/changed", "/removed"].map(|name| (name, name));
        let (topics, [kept, changed, removed]) = configured(names);
        removed.counters.enter_queue();
        changed.counters.enter_queue();
        let successor = Arc::new(topics.change(&changed, "elsewhere", |_| false));
        let counters = removed.counters.clone();
        topics.replace(vec![kept, successor], Leaves::WhenDrained, Instant::now());
        drop((changed, removed));
        let names = |topics: Vec<Arc<TopicHealth>>| topics.iter().map(|topic| topic.mqtt.clone()).collect::<Vec<_>>();
        assert_eq!(names(topics.configured()), ["/kept", "elsewhere"]);
        assert_eq!(names(left(&topics)), ["/removed"]);
        counters.leave_queue();
        assert!(left(&topics).is_empty());
        assert_eq!(topics.size()[..2], [2, 2]);
    }

    /// One of which reception may have messages still, or the queue records, is not forgotten, though it is not shown.
    #[test]
    fn a_removed_topic_is_known_as_long_as_a_stage_has_it() {
        let (topics, [reception]) = configured([("/odom", "odom")]);
        topics.replace(vec![], Leaves::WhenDrained, Instant::now());
        assert!(left(&topics).is_empty());
        let queue = reception.topic.clone();
        queue.counters.enter_queue();
        assert!(is(&left(&topics)[0].counters, &queue.counters));
        drop(reception);
        queue.counters.leave_queue();
        assert!(left(&topics).is_empty());
        assert_eq!(topics.size(), [1, 1, 1]);
        drop(queue);
        assert!(left(&topics).is_empty());
        assert_eq!(topics.size(), [0, 0, 0]);
    }

    /// Records on the disk are counted by their topic, by the one that is configured for its name, or by one that is
    /// leaving, which is shown as long as something of it is left.
    #[test]
    fn what_is_found_on_the_disk_is_shown() {
        let (topics, [here, there]) = configured([("/odom", "here"), ("/odom", "there")]);
        let counters_of = |ros: &str, mqtt: &str| topics.topic_of(ros, mqtt).counters.clone();
        assert!(Arc::ptr_eq(&topics.topic_of("/odom", "there"), &there.topic));
        assert!(Arc::ptr_eq(&topics.topic_of("/odom", "here"), &here.topic));
        assert!(is(&counters_of("/odom", "where it went before"), &here.counters));
        let gone = topics.topic_of("/gone", "gone");
        assert!(Arc::ptr_eq(&topics.topic_of("/gone", "gone"), &gone));
        // Nothing of it has been counted yet.
        assert!(is(&gone.counters, &left(&topics)[0].counters));
        gone.counters.enter_queue();
        assert!(is(&gone.counters, &left(&topics)[0].counters));
        gone.counters.leave_queue();
        assert!(left(&topics).is_empty());
        // At the end its account is told as well, once.
        assert_eq!(topics.untold().len(), 3);
        drop(gone);
        assert!(left(&topics).is_empty());
        assert_eq!(topics.untold().len(), 2);
    }

    /// Of two entries of one ROS topic whose MQTT topics depend on the type, each finds its own records; and what the queue
    /// holds of a topic goes on counting where it does when the disk is looked at again.
    #[test]
    fn two_entries_of_one_ros_topic_count_apart() {
        let (topics, [all, errors]) = configured([("/log", "all/{type}"), ("/log", "errors/{type}/x")]);
        let found = topics.topic_of("/log", "errors/rcl_interfaces/msg/Log/x");
        assert!(is(&found.counters, &errors.counters) && found.id != errors.topic.id);
        assert!(is(&topics.topic_of("/log", "all/rcl_interfaces/msg/Log").counters, &all.counters));
        // Its topic is in the queue when an entry of that very name comes.
        let held = topics.topic_of("/log", "gone");
        assert!(is(&held.counters, &all.counters));
        let entry = topics.enter("/log", "gone", |_| false);
        assert!(Arc::ptr_eq(&entry.topic, &held) && Arc::ptr_eq(&topics.topic_of("/log", "gone"), &held));
    }

    /// A topic that is taken out and put in again while records of it are queued goes on counting where it was.
    #[test]
    fn a_topic_that_comes_back_goes_on_counting() {
        let (topics, [first]) = configured([("/odom", "odom")]);
        first.counters.enter_queue();
        topics.replace(vec![], Leaves::WhenDrained, Instant::now());
        let again = Arc::new(topics.enter("/odom", "odom", |_| false));
        topics.replace(vec![again.clone()], Leaves::WhenDrained, Instant::now());
        assert!(is(&again.counters, &first.counters));
        assert!(left(&topics).is_empty());
        let elsewhere = topics.enter("/odom", "elsewhere", |_| false);
        assert!(!is(&elsewhere.counters, &first.counters));
    }

    /// An entry whose MQTT topic depends on the type goes on counting where the queue counts what it became.
    #[test]
    fn a_topic_by_its_type_comes_back_to_what_it_became() {
        let (topics, [other]) = configured([("/log", "errors/{type}/x")]);
        let held = topics.topic_of("/odom", "all/nav_msgs/msg/Odometry");
        let entry = topics.enter("/odom", "all/{type}", |_| false);
        assert!(is(&entry.counters, &held.counters));
        assert!(Arc::ptr_eq(&entry.topic.towards("all/nav_msgs/msg/Odometry"), &held));
        assert!(!is(&topics.enter("/odom", "errors/{type}/x", |_| false).counters, &other.counters));
    }

    /// Two entries that say the same have an id each; their records are of one topic.
    #[test]
    fn two_entries_that_say_the_same_are_told_apart() {
        let (topics, [first]) = configured([("/odom", "odom")]);
        let second = topics.enter("/odom", "odom", |id| id == first.topic.id);
        let twice = Arc::new(topics.enter("/odom", "odom", |id| id == first.topic.id));
        topics.replace(vec![first.clone(), twice], Leaves::WhenDrained, Instant::now());
        assert_eq!(topics.untold().len(), 1, "they are counted together");
        assert_ne!(first.topic.id, second.topic.id);
        assert!(Arc::ptr_eq(&second.topic.towards("odom"), &first.topic));
        let kept = topics.change(&second, "odom", |id| id == first.topic.id);
        assert_eq!(kept.topic.id, second.topic.id);
    }
}
