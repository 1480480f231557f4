//! The routes that the queue uses of those on the disk, and their ids.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Weak};

use rustc_hash::FxHashMap;

use crate::config::Priority;
use crate::queue::Route;
use crate::topics::TopicId;

/// Shorter lists are not worth looking through.
const LEAST_TIDY: usize = 64;

/// What the log knows of the topics that the queue has. When the queue forgets a topic, so does it.
#[derive(Debug)]
pub struct RouteIds {
    /// The ids of routes, by the address of each, which stays that of a route for as long as it is held, be it weakly.
    /// A topic that changes its type has another route, so there may be any number of them one after the other; a route
    /// of which no record is left is forgotten.
    by_address: FxHashMap<usize, (Weak<Route>, u32)>,
    /// When there are so many, those that nobody uses are taken out.
    tidy_at: usize,
    /// By id and lane.
    known: FxHashMap<(u32, Priority), Known>,
    /// All ids of a topic of a lane: it has another one after a change of its configuration.
    by_topic: FxHashMap<(Priority, TopicId), BTreeSet<u32>>,
}

#[derive(Debug)]
struct Known {
    topic: TopicId,
    /// One that the queue uses, if it still does.
    route: Weak<Route>,
}

impl Default for RouteIds {
    fn default() -> Self {
        let (by_address, known, by_topic) = Default::default();
        RouteIds { by_address, tidy_at: LEAST_TIDY, known, by_topic }
    }
}

impl RouteIds {
    /// The id of `route`, if it has one.
    pub fn get(&self, route: &Arc<Route>) -> Option<u32> {
        self.by_address.get(&Arc::as_ptr(route).addr()).map(|(_, id)| *id)
    }

    /// The topic of the records of `lane` with the route `id`, if the queue has it.
    pub fn topic(&self, id: u32, lane: Priority) -> Option<TopicId> {
        self.known.get(&(id, lane)).map(|known| known.topic)
    }

    /// The route that the queue uses for records of `lane` with the route `id`; `None` if it uses none now.
    pub fn route(&self, id: u32, lane: Priority) -> Option<Arc<Route>> {
        self.known.get(&(id, lane))?.route.upgrade()
    }

    /// Whether records of any lane with the route `id` are known.
    pub fn knows(&self, id: u32) -> bool {
        crate::queue::disk::LANES.into_iter().any(|lane| self.known.contains_key(&(id, lane)))
    }

    /// All ids of `topic`.
    pub fn of_topic(&self, lane: Priority, topic: TopicId) -> impl Iterator<Item = u32> {
        self.by_topic.get(&(lane, topic)).into_iter().flatten().copied()
    }

    /// How many ids are known, by lane.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// The queue uses `route` for records with the route `id`.
    pub fn insert(&mut self, id: u32, route: &Arc<Route>) {
        if self.by_address.len() >= self.tidy_at {
            self.by_address.retain(|_, (route, _)| route.strong_count() > 0);
            self.tidy_at = (2 * self.by_address.len()).max(LEAST_TIDY);
        }
        self.by_address.insert(Arc::as_ptr(route).addr(), (Arc::downgrade(route), id));
        let topic = route.topic.id;
        let known = Known { topic, route: Arc::downgrade(route) };
        if let Some(before) = self.known.insert((id, route.priority), known)
            && before.topic != topic
            && let Some(ids) = self.by_topic.get_mut(&(route.priority, before.topic))
        {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_topic.remove(&(route.priority, before.topic));
            }
        }
        self.by_topic.entry((route.priority, topic)).or_default().insert(id);
    }

    /// The queue has forgotten these topics.
    pub fn forget(&mut self, topics: &HashSet<(Priority, TopicId)>) {
        for topic in topics {
            for id in self.by_topic.remove(topic).into_iter().flatten() {
                self.known.remove(&(id, topic.0));
            }
        }
        let is_left = |route: Arc<Route>| !topics.contains(&(route.priority, route.topic.id));
        self.by_address.retain(|_, (route, _)| route.upgrade().is_some_and(is_left));
    }

    /// How many routes are known by address, by id, and by topic.
    #[cfg(test)]
    pub fn sizes(&self) -> [usize; 3] {
        [self.by_address.len(), self.known.len(), self.by_topic.values().map(BTreeSet::len).sum()]
    }
}
