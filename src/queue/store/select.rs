//! Leases that pass over some topics.

use std::time::Instant;

use super::{Lease, Store};
use crate::queue::Route;

impl Store {
    /// As [`Store::lease`], of the topics that `wanted` accepts.
    pub fn lease_where(&mut self, now: Instant, wanted: &dyn Fn(&Route) -> bool) -> Option<Lease> {
        for index in 0..self.lanes.len() {
            self.drop_expired_head(index, now);
            let is_wanted = |record: &super::Record| record.expires > now && wanted(&record.route);
            let waiting = &mut self.lanes[index].waiting;
            let position = waiting.iter().position(is_wanted);
            if let Some(record) = position.and_then(|position| waiting.remove(position)) {
                return Some(self.begin_lease(index, record));
            }
        }
        None
    }

    /// Whether a record of a topic that `wanted` accepts waits.
    pub fn has_where(&self, wanted: &dyn Fn(&Route) -> bool) -> bool {
        self.lanes.iter().any(|lane| lane.waiting.iter().any(|record| wanted(&record.route)))
    }
}
