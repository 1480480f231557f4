//! From the configuration in force to another one, without touching what stays the same.
//!
//! Topics are added, removed and changed one by one. Everything else takes a restart, which is said; so is a change of
//! what all topics depend on, and then nothing is changed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::reception::{Reception, wanted};
use crate::health::{Refusal, TopicHealth, Topics};
use crate::ros::{Change, RosThread};
use iot_bridge_core::config::{self, Settings};

/// The topics in force.
pub(super) struct Configured {
    /// Of the last configuration that was loaded, what concerns topics; of the first, everything else.
    settings: Settings,
    entries: Vec<Entry>,
    registry: Arc<Topics>,
}

/// A configured topic and its index on the ROS thread.
#[derive(Clone)]
struct Entry {
    index: usize,
    settings: config::Topic,
    health: Arc<TopicHealth>,
}

/// What becomes of the topics.
#[derive(Default)]
struct Plan {
    entries: Vec<Entry>,
    remove: Vec<usize>,
    /// Changed in what the bridge does with a message; the subscription stays.
    change: Vec<Entry>,
    /// New, or changed in what ROS is asked for.
    add: Vec<Entry>,
    added: usize,
    changed: usize,
    removed: usize,
}

impl Configured {
    /// The topics of `settings` as the bridge starts with them.
    pub fn new(settings: Settings) -> Self {
        let registry = Arc::new(Topics::default());
        let mut taken = HashSet::new();
        let entry = |(index, topic): (usize, &config::Topic)| {
            let health = Arc::new(registry.enter(&topic.ros, &topic.mqtt, |id| taken.contains(&id)).sent_as(topic));
            taken.insert(health.topic.id);
            Entry { index, settings: topic.clone(), health }
        };
        let entries: Vec<_> = settings.topics.iter().enumerate().map(entry).collect();
        registry.replace(healths(&entries));
        Configured { settings, entries, registry }
    }

    /// Who reports asks this for the topics of the moment.
    pub fn registry(&self) -> Arc<Topics> {
        Arc::clone(&self.registry)
    }

    /// Brings `settings` into force as far as that goes while the bridge runs, and says what has changed.
    ///
    /// # Errors
    /// If nothing of them is in force, which is said.
    pub fn reload(&mut self, settings: Settings, ros: &RosThread<Reception>) -> Result<(), Refusal> {
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
        ];
        for (section, _) in sections.iter().filter(|(_, changed)| *changed) {
            tracing::warn!(section, "[{section}] has changed, which a restart of the bridge brings into force.");
        }
        let plan = self.plan(&settings.topics);
        let (added, removed, changed) = (plan.added, plan.removed, plan.changed);
        let (entries, change) = plan.carry_out();
        if let Err(error) = ros.change(change) {
            tracing::error!("The topics are not reloaded: {error}.");
            return Err(Refusal { problems: 1, first: "a topic can't be subscribed to".to_owned() });
        }
        self.are_in_force(entries, settings.topics);
        let topics = if added == 1 { "topic" } else { "topics" };
        tracing::info!(
            added,
            removed,
            changed,
            "The configuration is reloaded: {added} {topics} added, {removed} removed, {changed} changed."
        );
        Ok(())
    }

    /// The thing has got its name: from now on messages carry it. Their MQTT topics had it open and still do, so that they
    /// stay in order with those before; the uplink fills it in.
    pub fn name_thing(&mut self, name: &str, ros: &RosThread<Reception>) {
        if self.settings.aws.is_named() {
            return;
        }
        self.settings.aws.name(name);
        let name = name.to_owned();
        let change = Change {
            remove: Vec::new(),
            add: Vec::new(),
            tell: Box::new(move |reception: &mut Reception| reception.name_thing(name)),
        };
        if let Err(error) = ros.change(change) {
            tracing::error!("The envelopes do not carry the name of the thing before the next start: {error}.");
        }
    }

    fn are_in_force(&mut self, entries: Vec<Entry>, topics: Vec<config::Topic>) {
        self.registry.replace(healths(&entries));
        self.entries = entries;
        self.settings.topics = topics;
    }

    fn plan(&self, topics: &[config::Topic]) -> Plan {
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
            for (slot, topic) in before.iter_mut().zip(topics).filter(|(slot, _)| slot.is_none()) {
                let Some(left) = left.get_mut(&*topic.ros) else { continue };
                let most_like = left.iter().position(|entry| same(entry, topic));
                *slot = most_like.map(|position| left.remove(position).clone());
            }
        }
        // The ROS thread gives the lowest indices that are free.
        let has_index = |(entry, topic): (&Option<Entry>, &config::Topic)| {
            entry.as_ref().filter(|entry| wanted(&entry.settings) == wanted(topic)).map(|entry| entry.index)
        };
        let kept: HashSet<_> = before.iter().zip(topics).filter_map(has_index).collect();
        let mut free = (0..).filter(|index| !kept.contains(index));
        let mut next = || free.next().unwrap_or_default();
        // Those that stay as they are have their topics.
        let stay =
            before.iter().zip(topics).filter_map(|(before, topic)| before.as_ref().filter(|b| b.settings == *topic));
        let mut taken: HashSet<_> = stay.map(|entry| entry.health.topic.id).collect();
        for (topic, before) in topics.iter().zip(before) {
            let is_taken = |id| taken.contains(&id);
            let entry = match before {
                Some(entry) if entry.settings == *topic => entry,
                Some(Entry { index, settings, health }) => {
                    plan.changed += 1;
                    let health = Arc::new(self.registry.change(&health, &topic.mqtt, is_taken).sent_as(topic));
                    let stays = wanted(&settings) == wanted(topic);
                    let entry = Entry { index: if stays { index } else { next() }, settings: topic.clone(), health };
                    if stays {
                        plan.change.push(entry.clone());
                    } else {
                        plan.remove.push(index);
                        plan.add.push(entry.clone());
                    }
                    entry
                }
                None => {
                    plan.added += 1;
                    let health = Arc::new(self.registry.enter(&topic.ros, &topic.mqtt, is_taken).sent_as(topic));
                    let entry = Entry { index: next(), settings: topic.clone(), health };
                    plan.add.push(entry.clone());
                    entry
                }
            };
            taken.insert(entry.health.topic.id);
            plan.entries.push(entry);
        }
        let left = left.values().flatten();
        plan.removed = left.clone().count();
        plan.remove.extend(left.map(|entry| entry.index));
        plan.remove.sort_unstable();
        plan
    }
}

impl Plan {
    /// The topics that are in force then, and what the ROS thread has to do for it.
    fn carry_out(self) -> (Vec<Entry>, Change<Reception>) {
        let Plan { entries, remove, change, add, .. } = self;
        let change = Change {
            remove: remove.clone(),
            add: add.iter().map(|entry| wanted(&entry.settings)).collect(),
            tell: Box::new(move |reception: &mut Reception| {
                for entry in change {
                    reception.change(entry.index, entry.settings, entry.health);
                }
                let added = add.into_iter().map(|entry| (entry.index, entry.settings, entry.health));
                reception.replace(&remove, added.collect());
            }),
        };
        (entries, change)
    }
}

fn healths(entries: &[Entry]) -> Vec<Arc<TopicHealth>> {
    entries.iter().map(|entry| Arc::clone(&entry.health)).collect()
}

#[cfg(test)]
mod tests;
