//! From the topics in force to others, without touching what stays the same: after a reload of the configuration, and when
//! topics that patterns mean appear on the ROS graph or vanish.
//!
//! Topics are added, removed and changed one by one. Everything else takes a restart, which is said; so is a change of
//! what all topics depend on, and then nothing is changed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::reception::{Reception, wanted};
use super::reports::{self, Report, Reports, reported};
use crate::health::{Leaves, Refusal, TopicHealth, Topics};
use crate::ros::{self, Change, Interest, Node, RosError, RosThread, Sighted, TopicState, Wanted};
use iot_bridge_core::config::{self, Assigned, Found, GraphTopic, Patterns, Settings, assign};
use iot_bridge_core::queue::{Mark, Queue};
use iot_bridge_core::tally::{Heartbeat, ONCE_A_MINUTE, Repeat, counted};

/// A configuration that is to come into force while the bridge runs.
pub struct Reload {
    /// Or why there is none: the one before stays in force, and that is shown.
    pub settings: Result<Settings, Refusal>,
    /// Whether something from the cloud is the reason. What becomes of that is shown apart.
    pub is_from_cloud: bool,
    /// Is told what has become of it.
    pub answer: oneshot::Sender<Result<Begun, Refusal>>,
}

/// A configuration is in force; what is admitted goes by it once the ROS thread says so.
#[derive(Debug)]
pub struct Begun {
    /// The first moment from which on records are of this configuration. Not told if the ROS thread ends before.
    pub since: oneshot::Receiver<Mark>,
}

/// Topics that are named in one line of the log.
const NAMED: usize = 50;

/// Names of topics beyond a limit that are remembered; of more, those are forgotten that are not on the graph.
const KNOWN: usize = 1000;

/// The topics in force.
pub(super) struct Configured {
    /// Of the last configuration that was loaded, what concerns topics; of the first, everything else.
    settings: Settings,
    /// What its patterns mean; `None` if it had none so far.
    interest: Option<Interest>,
    /// The topics of the graph that they mean.
    published: Vec<GraphTopic>,
    /// What its entries become with those.
    entries: Vec<Entry>,
    /// The topics that shadows report, with their indices on the ROS thread.
    reported: Vec<(usize, String)>,
    /// What is kept of them.
    reports: Arc<Reports>,
    registry: Arc<Topics>,
    /// What the log has said of patterns that reach their limits, by their places and the patterns.
    beyond: HashMap<(usize, String), Beyond>,
}

/// What the log has said of the topics beyond the limit of one pattern.
#[derive(Default)]
struct Beyond {
    /// Topics that were named. Kept while the pattern is at its limit, so that one that comes and goes is named once.
    named: HashSet<String>,
    said: Repeat,
}

/// A topic in force.
#[derive(Clone)]
struct Entry {
    /// On the ROS thread; `None` where AWS IoT Core takes no publish to its MQTT topic, so that it is not received.
    index: Option<usize>,
    settings: config::Topic,
    /// That has found it; `None` if it is named exactly.
    pattern: Option<String>,
    health: Arc<TopicHealth>,
}

/// What becomes of the topics.
#[derive(Default)]
struct Plan {
    entries: Vec<Entry>,
    remove: Vec<usize>,
    /// Changed in what the bridge does with a message; the subscription stays.
    change: Vec<Entry>,
    /// Changed in what ROS is asked for; the subscription goes on under the same index.
    rewant: Vec<(usize, Wanted)>,
    /// New, or of another type.
    add: Vec<Entry>,
    added: usize,
    changed: usize,
    removed: usize,
    /// The topics that shadows report then.
    reported: Vec<(usize, String)>,
    /// Of those, what is new.
    report: Vec<(usize, String, Arc<Report>)>,
    /// Indices of those that are reported no more.
    unreport: Vec<usize>,
}

/// A plan, carried out but for the ROS thread.
struct Carried {
    entries: Vec<Entry>,
    reported: Vec<(usize, String)>,
    /// What the ROS thread has to do; `None` if nothing.
    change: Option<Change<Reception>>,
}

impl Configured {
    /// The topics of `settings` as the bridge starts with them: those that are named exactly.
    pub fn new(settings: Settings) -> Self {
        let registry = Arc::new(Topics::default());
        let mut taken = HashSet::new();
        let Assigned { topics, patterns } = assign(&settings.topics, &[], |_| false);
        let entry = |(index, (topic, _)): (usize, (config::Topic, _))| {
            let health = Arc::new(registry.enter(&topic.ros, &topic.mqtt, |id| taken.contains(&id)).sent_as(&topic));
            taken.insert(health.topic.id);
            Entry { index: Some(index), settings: topic, pattern: None, health }
        };
        let entries: Vec<_> = topics.into_iter().enumerate().map(entry).collect();
        registry.replace(healths(&entries), Leaves::WhenDrained, Instant::now());
        registry.set_patterns(patterns);
        let interest = interest(&settings.topics);
        let reported = (entries.len()..).zip(reported(&settings)).collect();
        let (published, reports, beyond) = (Vec::new(), Arc::default(), HashMap::new());
        Configured { settings, interest, published, entries, reported, reports, registry, beyond }
    }

    /// Starts the ROS thread, which receives the topics in force into `queue`, and looks for what patterns mean.
    ///
    /// # Errors
    /// When ROS can't be started.
    pub fn receive(
        &self,
        node: Node,
        queue: Arc<Queue>,
        heartbeat: Arc<Heartbeat>,
    ) -> Result<RosThread<Reception>, RosError> {
        let ros = ros::spawn(node, self.wanted(), self.reception(queue, heartbeat))?;
        self.look_for(&ros)?;
        Ok(ros)
    }

    /// What the bridge does with what it receives, as it starts.
    fn reception(&self, queue: Arc<Queue>, heartbeat: Arc<Heartbeat>) -> Reception {
        let topics = self.entries.iter().map(|entry| (&entry.settings, &entry.health));
        let mut reception = Reception::new(&self.settings.aws.thing, topics, queue, heartbeat);
        let reports = self.reported.iter().map(|(index, topic)| (*index, self.reports.of(topic)));
        reception.replace_reports(&[], reports.collect());
        reception
    }

    /// What the ROS thread is asked for as the bridge starts, in the order of the indices.
    fn wanted(&self) -> Vec<Wanted> {
        let reported = self.reported.iter().map(|(_, topic)| reports::wanted(topic));
        self.entries.iter().map(|entry| wanted(&entry.settings)).chain(reported).collect()
    }

    /// What is kept of the topics that shadows report.
    pub fn reports(&self) -> Arc<Reports> {
        Arc::clone(&self.reports)
    }

    /// Has the ROS thread look for what patterns mean, if there are any.
    ///
    /// # Errors
    /// When the thread refuses, which it has no reason to.
    fn look_for(&self, ros: &RosThread<Reception>) -> Result<(), RosError> {
        let interest = self.interest.clone();
        if interest.is_some() { ros.change(Change { interest, ..Change::default() }) } else { Ok(()) }
    }

    /// Follows the graph: takes in what has appeared of what patterns mean, and lets go of what has vanished.
    pub fn follow(&mut self, sighted: Sighted, ros: &RosThread<Reception>) {
        let is_ours = |interest: &Interest| self.interest.as_ref().is_some_and(|ours| Arc::ptr_eq(ours, interest));
        if !sighted.interest.as_ref().is_some_and(is_ours) {
            // What was looked for before a reload.
            return;
        }
        let published = sighted.topics;
        let assigned = self.assign(&self.settings.topics, &published);
        let plan = self.plan(&assigned);
        let (added, removed, changed) = (plan.added, plan.removed, plan.changed);
        let Carried { entries, change, .. } = plan.carry_out();
        // Each change has the ROS thread look at the graph at once. If it got one with nothing to do, a topic that comes and
        // goes all the time would have it look all the time.
        if let Some(change) = change
            && let Err(error) = ros.change(change)
        {
            tracing::error!("The topics that have appeared or vanished are not followed: {error}.");
            return;
        }
        self.published = published;
        self.are_in_force(entries, assigned.patterns, Leaves::AfterAWhile);
        if added + removed + changed > 0 {
            let topics = counted(added as u64, "topic", "topics");
            tracing::info!(
                added,
                removed,
                changed,
                "Patterns have found {topics} on the ROS graph; {removed} let go, {changed} changed."
            );
        }
    }

    /// Who reports asks this for the topics of the moment.
    pub fn registry(&self) -> Arc<Topics> {
        Arc::clone(&self.registry)
    }

    /// Brings `settings` into force as far as that goes while the bridge runs, and says what has changed.
    ///
    /// # Errors
    /// If nothing of them is in force, which is said.
    pub fn reload(&mut self, settings: Settings, ros: &RosThread<Reception>) -> Result<Begun, Refusal> {
        let (before, after) = (&self.settings, &settings);
        if before.aws.thing != after.aws.thing || before.ros != after.ros {
            tracing::warn!(
                "The thing's name or [ros] has changed, on which every topic depends: nothing is reloaded. Restart the \
                 bridge."
            );
            let first = "the thing's name or [ros] has changed, which takes a restart".to_owned();
            return Err(Refusal { problems: 1, first });
        }
        let sections = [
            ("aws", before.aws != after.aws),
            ("mqtt", before.mqtt != after.mqtt),
            ("queue", before.queue != after.queue),
            ("health", before.health != after.health),
            ("remote", !is_same_way(before.remote.as_ref(), after.remote.as_ref())),
        ];
        for (section, _) in sections.iter().filter(|(_, changed)| *changed) {
            tracing::warn!(section, "[{section}] has changed, which a restart of the bridge brings into force.");
        }
        let published = self.published_or_received();
        let assigned = self.assign(&settings.topics, &published);
        let plan = self.plan_with(&assigned, reported(&settings));
        let (added, removed, changed) = (plan.added, plan.removed, plan.changed);
        let Carried { entries, reported, change } = plan.carry_out();
        let mut change = change.unwrap_or_default();
        let interest = interest(&settings.topics).or_else(|| self.interest.as_ref().map(|_| nothing()));
        change.interest.clone_from(&interest);
        let (begun, since) = oneshot::channel();
        let tell = std::mem::replace(&mut change.tell, Box::new(|_| {}));
        change.tell = Box::new(move |reception: &mut Reception| {
            tell(reception);
            // Nobody may want to know.
            let _ = begun.send(reception.mark());
        });
        if let Err(error) = ros.change(change) {
            tracing::error!("The topics are not reloaded: {error}.");
            return Err(Refusal { problems: 1, first: "a topic can't be subscribed to".to_owned() });
        }
        (self.settings.topics, self.interest, self.published) = (settings.topics, interest, published);
        self.settings.shadows = settings.shadows;
        self.reports.keep(&reported.iter().map(|(_, topic)| topic.clone()).collect::<Vec<_>>());
        self.reported = reported;
        self.are_in_force(entries, assigned.patterns, Leaves::WhenDrained);
        let topics = if added == 1 { "topic" } else { "topics" };
        tracing::info!(
            added,
            removed,
            changed,
            "The configuration is reloaded: {added} {topics} added, {removed} removed, {changed} changed."
        );
        Ok(Begun { since })
    }

    /// The thing has got its name: from now on messages carry it. Their MQTT topics had it open and still do, so that they
    /// stay in order with those before; the uplink fills it in.
    pub fn name_thing(&mut self, name: &str, ros: &RosThread<Reception>) {
        if self.settings.aws.is_named() {
            return;
        }
        self.settings.aws.name(name);
        let name = name.to_owned();
        let tell = Box::new(move |reception: &mut Reception| reception.name_thing(name));
        let change = Change { tell, ..Change::default() };
        if let Err(error) = ros.change(change) {
            tracing::error!("The envelopes do not carry the name of the thing before the next start: {error}.");
        }
    }

    fn are_in_force(&mut self, entries: Vec<Entry>, patterns: Vec<Found>, others: Leaves) {
        entries.iter().for_each(|entry| entry.health.set_pattern(entry.pattern.clone()));
        self.registry.replace(healths(&entries), others, Instant::now());
        self.entries = entries;
        self.name_waiting(&patterns);
        self.registry.set_patterns(patterns);
    }

    /// Names each topic beyond a limit once; each pattern has its line once a minute.
    fn name_waiting(&mut self, patterns: &[Found]) {
        let mut before = std::mem::take(&mut self.beyond);
        for found in patterns {
            let Found { place, ros, limit, .. } = found;
            let key = (*place, ros.clone());
            let mut beyond = before.remove(&key).unwrap_or_default();
            for names in beyond.take_new(found, Instant::now()).chunks(NAMED) {
                let (topics, names) = (counted(names.len() as u64, "topic is", "topics are"), names.join(", "));
                tracing::warn!(
                    pattern = ros,
                    limit,
                    "{ros} has reached its limit of {limit}: {topics} not subscribed: {names}. Raise its `limit`, or leave \
                     topics out with `except` or `type`."
                );
            }
            self.beyond.insert(key, beyond);
        }
    }

    /// What patterns may mean after a reload: also the topics that were named exactly so far, until it is known who publishes
    /// them.
    fn published_or_received(&self) -> Vec<GraphTopic> {
        let mut published = self.published.clone();
        published.extend(self.entries.iter().filter(|entry| entry.pattern.is_none()).filter_map(|entry| {
            match entry.health.state() {
                TopicState::Subscribed { type_name, publishers: 1.., .. } => {
                    Some(GraphTopic { name: entry.settings.ros.clone(), types: vec![type_name] })
                }
                _ => None,
            }
        }));
        published.sort_unstable();
        published.dedup_by(|one, other| one.name == other.name);
        published
    }

    /// What `topics` become with `published`; those that are in force keep their places.
    fn assign(&self, topics: &[config::Topic], published: &[GraphTopic]) -> Assigned {
        let found = self.entries.iter().filter(|entry| entry.pattern.is_some());
        let in_force: HashSet<&str> = found.map(|entry| entry.settings.ros.as_str()).collect();
        assign(topics, published, |name| in_force.contains(name))
    }

    /// How to come to what the entries have become.
    fn plan(&self, assigned: &Assigned) -> Plan {
        self.plan_with(assigned, self.reported.iter().map(|(_, topic)| topic.clone()).collect())
    }

    /// As [`plan`](Self::plan), where shadows report these topics then.
    fn plan_with(&self, assigned: &Assigned, reported: Vec<String>) -> Plan {
        let topics = &assigned.topics;
        let pattern_at = |place: usize| assigned.patterns.iter().find(|found| found.place == place);
        let mut plan = Plan::default();
        // Each takes the entry that is most like it: the very same, one to the same MQTT topic, one of the same topic.
        let same: [fn(&Entry, &config::Topic) -> bool; 3] =
            [|entry, topic| entry.settings == *topic, |entry, topic| entry.settings.mqtt == topic.mqtt, |_, _| true];
        let mut left: HashMap<&str, Vec<&Entry>> = HashMap::with_capacity(self.entries.len());
        for entry in &self.entries {
            left.entry(&entry.settings.ros).or_default().push(entry);
        }
        let mut before: Vec<Option<Entry>> = vec![None; topics.len()];
        for same in same {
            for (slot, (topic, _)) in before.iter_mut().zip(topics).filter(|(slot, _)| slot.is_none()) {
                let Some(left) = left.get_mut(&*topic.ros) else { continue };
                let most_like = left.iter().position(|entry| same(entry, topic));
                *slot = most_like.map(|position| left.remove(position).clone());
            }
        }
        // The ROS thread gives the lowest indices that are free.
        let has_index = |(entry, (topic, _)): (&Option<Entry>, &(config::Topic, _))| {
            entry.as_ref().filter(|entry| is_received(topic) && goes_on(&entry.settings, topic))?.index
        };
        let report_stays = |(_, topic): &&(usize, String)| reported.contains(topic);
        let reports_stay = self.reported.iter().filter(report_stays).map(|(index, _)| *index);
        let kept: HashSet<_> = before.iter().zip(topics).filter_map(has_index).chain(reports_stay).collect();
        let mut free = (0..).filter(|index| !kept.contains(index));
        let mut next = || free.next().unwrap_or_default();
        // Those that stay as they are have their topics.
        let stay = before.iter().zip(topics);
        let stay = stay.filter_map(|(before, (topic, _))| before.as_ref().filter(|before| before.settings == *topic));
        let mut taken: HashSet<_> = stay.map(|entry| entry.health.topic.id).collect();
        for ((topic, place), before) in topics.iter().zip(before) {
            let pattern = place.and_then(pattern_at).map(|found| found.ros.clone());
            let is_taken = |id| taken.contains(&id);
            let entry = match before {
                Some(entry) if entry.settings == *topic => Entry { pattern, ..entry },
                Some(before) => {
                    plan.changed += 1;
                    let health = Arc::new(self.registry.change(&before.health, &topic.mqtt, is_taken).sent_as(topic));
                    let stays = before.index.filter(|_| is_received(topic) && goes_on(&before.settings, topic));
                    let index = stays.or_else(|| is_received(topic).then(&mut next));
                    let entry = Entry { index, settings: topic.clone(), pattern, health };
                    match stays {
                        Some(index) => {
                            if wanted(&before.settings) != wanted(topic) {
                                plan.rewant.push((index, wanted(topic)));
                            }
                            plan.change.push(entry.clone());
                        }
                        None => {
                            plan.remove.extend(before.index);
                            plan.add.push(entry.clone());
                        }
                    }
                    entry
                }
                None => {
                    plan.added += 1;
                    let health = Arc::new(self.registry.enter(&topic.ros, &topic.mqtt, is_taken).sent_as(topic));
                    let index = is_received(topic).then(&mut next);
                    let entry = Entry { index, settings: topic.clone(), pattern, health };
                    plan.add.push(entry.clone());
                    entry
                }
            };
            taken.insert(entry.health.topic.id);
            plan.entries.push(entry);
        }
        let left = left.values().flatten();
        plan.removed = left.clone().count();
        plan.remove.extend(left.filter_map(|entry| entry.index));
        plan.remove.sort_unstable();
        plan.unreport.extend(self.reported.iter().filter(|known| !report_stays(known)).map(|(index, _)| *index));
        for topic in &reported {
            let known = self.reported.iter().find(|(_, known)| known == topic).map(|(index, _)| *index);
            let index = known.unwrap_or_else(|| {
                let index = next();
                plan.report.push((index, topic.clone(), self.reports.of(topic)));
                index
            });
            plan.reported.push((index, topic.clone()));
        }
        plan
    }
}

/// Whether the configuration from the cloud comes by the same way. What it may set, and when it is confirmed, changes with a
/// reload.
fn is_same_way(before: Option<&config::Remote>, after: Option<&config::Remote>) -> bool {
    let way = |remote: &config::Remote| (remote.shadow.clone(), remote.jobs);
    before.map(way) == after.map(way)
}

/// Whether messages of `topic` can be sent, so that it is received.
fn is_received(topic: &config::Topic) -> bool {
    topic.refusal().is_none()
}

/// Whether a subscription that was made for `before` can go on for `after`. Of another type a new one is made.
fn goes_on(before: &config::Topic, after: &config::Topic) -> bool {
    match (&before.type_name, &after.type_name) {
        (Some(before), Some(after)) => before == after,
        _ => true,
    }
}

impl Beyond {
    /// The topics beyond the limit of `found` that the log has to name at `now`.
    fn take_new<'a>(&mut self, found: &'a Found, now: Instant) -> Vec<&'a str> {
        if found.topics < found.limit {
            self.named.clear();
        }
        let new: Vec<_> = found.waiting.iter().map(String::as_str).filter(|name| !self.named.contains(*name)).collect();
        if new.is_empty() || self.said.due(now, ONCE_A_MINUTE).is_none() {
            return Vec::new();
        }
        if self.named.len() + new.len() > KNOWN {
            let waiting: HashSet<_> = found.waiting.iter().collect();
            self.named.retain(|name| waiting.contains(name));
        }
        self.named.extend(new.iter().map(|name| (*name).to_owned()));
        new
    }
}

impl Plan {
    /// What is in force then, and what the ROS thread has to do for it. A topic that is not received is told.
    fn carry_out(self) -> Carried {
        let Plan { entries, remove, change, rewant, add, reported, report, unreport, .. } = self;
        for entry in add.iter().filter(|entry| entry.index.is_none()) {
            let config::Topic { ros: topic, mqtt, .. } = &entry.settings;
            let why = entry.settings.refusal().unwrap_or_default();
            let trouble = format!("it is not forwarded: its MQTT topic {mqtt} is refused: {why}");
            tracing::error!(topic, "Topic {topic} is not subscribed: {trouble}.");
            entry.health.set_state(TopicState::Trouble(trouble));
        }
        let add: Vec<_> =
            add.into_iter().filter_map(|entry| Some((entry.index?, entry.settings, entry.health))).collect();
        let is_nothing = remove.is_empty() && change.is_empty() && rewant.is_empty() && add.is_empty();
        if is_nothing && report.is_empty() && unreport.is_empty() {
            return Carried { entries, reported, change: None };
        }
        let wanted_reports = report.iter().map(|(_, topic, _)| reports::wanted(topic));
        let new_reports = report.iter().map(|(index, _, report)| (*index, Arc::clone(report))).collect();
        let change = Change {
            remove: remove.iter().chain(&unreport).copied().collect(),
            change: rewant,
            add: add.iter().map(|(_, settings, _)| wanted(settings)).chain(wanted_reports).collect(),
            tell: Box::new(move |reception: &mut Reception| {
                for Entry { index, settings, health, .. } in change {
                    if let Some(index) = index {
                        reception.change(index, settings, health);
                    }
                }
                reception.replace(&remove, add);
                reception.replace_reports(&unreport, new_reports);
            }),
            ..Change::default()
        };
        Carried { entries, reported, change: Some(change) }
    }
}

/// What the patterns among `topics` mean; `None` where there are none.
fn interest(topics: &[config::Topic]) -> Option<Interest> {
    let patterns = Patterns::of(topics);
    (!patterns.is_empty()).then(|| -> Interest { Arc::new(move |name: &str| patterns.may_have(name)) })
}

/// What is meant where patterns were, and are no more.
fn nothing() -> Interest {
    Arc::new(|_: &str| false)
}

fn healths(entries: &[Entry]) -> Vec<Arc<TopicHealth>> {
    entries.iter().map(|entry| Arc::clone(&entry.health)).collect()
}

#[cfg(test)]
mod tests;
