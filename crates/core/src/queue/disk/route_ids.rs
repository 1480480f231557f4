//! The ids of routes that are in use.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use crate::queue::Route;

/// Shorter lists are not worth looking through.
const LEAST_TIDY: usize = 64;

/// The ids of routes, by the address of each. A topic that changes its type has another route, so there may be any number
/// of them one after the other; a route of which no record is left is forgotten.
#[derive(Debug)]
pub struct RouteIds {
    /// The address stays that of a route for as long as it is held, be it weakly.
    by_address: HashMap<usize, (Weak<Route>, u32)>,
    /// When there are so many, those that nobody uses are taken out.
    tidy_at: usize,
}

impl Default for RouteIds {
    fn default() -> Self {
        RouteIds { by_address: HashMap::new(), tidy_at: LEAST_TIDY }
    }
}

impl RouteIds {
    pub fn get(&self, route: &Arc<Route>) -> Option<u32> {
        self.by_address.get(&Arc::as_ptr(route).addr()).map(|(_, id)| *id)
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.by_address.len()
    }

    pub fn insert(&mut self, route: &Arc<Route>, id: u32) {
        if self.by_address.len() >= self.tidy_at {
            self.by_address.retain(|_, (route, _)| route.strong_count() > 0);
            self.tidy_at = (2 * self.by_address.len()).max(LEAST_TIDY);
        }
        self.by_address.insert(Arc::as_ptr(route).addr(), (Arc::downgrade(route), id));
    }
}
