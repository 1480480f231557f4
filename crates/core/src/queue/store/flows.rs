//! The topics of a lane, and what is asked of all of them at each admission and lease: kept as it changes, not added up.

use std::collections::{BTreeSet, HashMap};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::flow::Flow;
use crate::queue::Route;
use crate::topics::TopicId;

/// Figures of all topics of a lane together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    /// Records, waiting or leased, that are not on the disk.
    pub memory_only: u64,
    /// Bytes in memory that are sent before a gap is read.
    pub ahead: u64,
}

impl Sums {
    pub fn of(flow: &Flow) -> Sums {
        let ahead = if flow.gap.is_some() { flow.front_bytes() } else { 0 };
        Sums { memory_only: flow.memory_only, ahead }
    }

    fn replace(&mut self, before: Sums, after: Sums) {
        self.memory_only = self.memory_only - before.memory_only + after.memory_only;
        self.ahead = self.ahead - before.ahead + after.ahead;
    }
}

/// The topics of a lane; reads are those of a map.
#[derive(Debug, Default)]
pub(super) struct Flows {
    flows: HashMap<TopicId, Flow>,
    totals: Totals,
}

#[derive(Debug, Default)]
struct Totals {
    sums: Sums,
    /// Topics of which something is on the disk only.
    with_gap: BTreeSet<TopicId>,
}

/// A topic that may change. What it adds to the figures of all is put right when this is dropped.
pub(super) struct Changing<'a> {
    topic: TopicId,
    flow: &'a mut Flow,
    totals: &'a mut Totals,
    before: Sums,
}

impl Flows {
    /// The figures of all topics.
    pub fn sums(&self) -> Sums {
        self.totals.sums
    }

    /// Whether something is on the disk only.
    pub fn has_gaps(&self) -> bool {
        !self.totals.with_gap.is_empty()
    }

    /// The topics of which something is on the disk only.
    pub fn with_gap(&self) -> impl Iterator<Item = &Flow> {
        self.totals.with_gap.iter().filter_map(|topic| self.flows.get(topic))
    }

    /// Passes over the topics of which something is on the disk only and that `wanted` does not accept.
    pub fn pass_over(&mut self, wanted: &dyn Fn(&Route) -> bool) {
        for topic in &self.totals.with_gap {
            if let Some(flow) = self.flows.get_mut(topic) {
                flow.is_passed_over = !wanted(&flow.route);
            }
        }
    }

    pub fn get_mut(&mut self, topic: TopicId) -> Option<Changing<'_>> {
        let flow = self.flows.get_mut(&topic)?;
        let before = Sums::of(flow);
        Some(Changing { topic, flow, totals: &mut self.totals, before })
    }

    /// The topic of `route`, which is new if there is none.
    pub fn of(&mut self, route: &Arc<Route>) -> Changing<'_> {
        let topic = route.topic.id;
        let flow = self.flows.entry(topic).or_insert_with(|| Flow::new(route.clone()));
        let before = Sums::of(flow);
        Changing { topic, flow, totals: &mut self.totals, before }
    }

    /// Forgets the topics that `keeps` does not keep, of which there is nothing, neither in memory nor on the disk.
    pub fn retain(&mut self, mut keeps: impl FnMut(TopicId, &Flow) -> bool) {
        self.flows.retain(|topic, flow| keeps(*topic, flow));
    }

    /// Gives memory free that more than `least` topics would take.
    pub fn shrink_to(&mut self, least: usize) {
        self.flows.shrink_to(least);
    }

    /// Changes every topic.
    pub fn for_each_mut(&mut self, mut change: impl FnMut(TopicId, &mut Flow)) {
        for (&topic, flow) in &mut self.flows {
            let before = Sums::of(flow);
            change(topic, &mut Changing { topic, flow, totals: &mut self.totals, before });
        }
    }
}

impl Deref for Flows {
    type Target = HashMap<TopicId, Flow>;

    fn deref(&self) -> &Self::Target {
        &self.flows
    }
}

impl Deref for Changing<'_> {
    type Target = Flow;

    fn deref(&self) -> &Flow {
        self.flow
    }
}

impl DerefMut for Changing<'_> {
    fn deref_mut(&mut self) -> &mut Flow {
        self.flow
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.totals.sums.replace(self.before, Sums::of(self.flow));
        if self.flow.gap.is_some() {
            self.totals.with_gap.insert(self.topic);
        } else {
            self.totals.with_gap.remove(&self.topic);
        }
    }
}
