//! The topics of a lane, and what is asked of all of them at each admission and lease: kept as it changes, not added up.

use std::collections::{BTreeSet, HashMap};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::flow::Flow;
use crate::queue::Route;
use crate::queue::record::TopicKey;

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
    flows: HashMap<TopicKey, Flow>,
    totals: Totals,
}

#[derive(Debug, Default)]
struct Totals {
    sums: Sums,
    /// Topics of which something is on the disk only.
    with_gap: BTreeSet<TopicKey>,
}

/// A topic that may change. What it adds to the figures of all is put right when this is dropped.
pub(super) struct Changing<'a> {
    key: TopicKey,
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
        self.totals.with_gap.iter().filter_map(|key| self.flows.get(key))
    }

    /// Passes over the topics of which something is on the disk only and that `wanted` does not accept.
    pub fn pass_over(&mut self, wanted: &dyn Fn(&Route) -> bool) {
        for key in &self.totals.with_gap {
            if let Some(flow) = self.flows.get_mut(key) {
                flow.is_passed_over = !wanted(&flow.route);
            }
        }
    }

    pub fn get_mut(&mut self, key: TopicKey) -> Option<Changing<'_>> {
        let flow = self.flows.get_mut(&key)?;
        let before = Sums::of(flow);
        Some(Changing { key, flow, totals: &mut self.totals, before })
    }

    /// The topic of `route`, which is new if there is none.
    pub fn of(&mut self, route: &Arc<Route>) -> Changing<'_> {
        let key = route.topic();
        let flow = self.flows.entry(key).or_insert_with(|| Flow::new(route.clone()));
        let before = Sums::of(flow);
        Changing { key, flow, totals: &mut self.totals, before }
    }

    /// Forgets the topics that `keeps` does not keep, of which there is nothing, neither in memory nor on the disk.
    pub fn retain(&mut self, mut keeps: impl FnMut(TopicKey, &Flow) -> bool) {
        self.flows.retain(|key, flow| keeps(*key, flow));
    }

    /// Gives memory free that more than `least` topics would take.
    pub fn shrink_to(&mut self, least: usize) {
        self.flows.shrink_to(least);
    }

    /// Changes every topic.
    pub fn for_each_mut(&mut self, mut change: impl FnMut(TopicKey, &mut Flow)) {
        for (&key, flow) in &mut self.flows {
            let before = Sums::of(flow);
            change(key, &mut Changing { key, flow, totals: &mut self.totals, before });
        }
    }
}

impl Deref for Flows {
    type Target = HashMap<TopicKey, Flow>;

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
            self.totals.with_gap.insert(self.key);
        } else {
            self.totals.with_gap.remove(&self.key);
        }
    }
}
