//! The routes that are in use.

use std::sync::{Arc, Weak};

use super::Route;
use crate::topics::TopicMap;

/// Shorter lists are not worth looking through.
const LEAST_TIDY: usize = 64;

/// The routes that are in use, so that equal ones are one: a topic whose publishers alternate between two types has
/// two.
#[derive(Debug, Default)]
pub struct Routes {
    by_topic: TopicMap<Vec<Weak<Route>>>,
    /// When there are so many topics, those that nobody uses are taken out.
    tidy_at: usize,
}

impl Routes {
    /// The route that is in use and equals `route`, or `route`, which is in use from now on.
    pub fn share(&mut self, route: Route) -> Arc<Route> {
        if self.by_topic.len() >= self.tidy_at {
            self.by_topic.retain(|_, known| known.iter().any(|route| route.strong_count() > 0));
            self.tidy_at = (2 * self.by_topic.len()).max(LEAST_TIDY);
        }
        let known = self.by_topic.entry(route.topic.id).or_default();
        known.retain(|route| route.strong_count() > 0);
        if let Some(same) = known.iter().filter_map(Weak::upgrade).find(|known| known.is_equal(&route)) {
            return same;
        }
        let route = Arc::new(route);
        known.push(Arc::downgrade(&route));
        route
    }
}

impl Route {
    /// Whether nothing tells the records of this and of `other` apart.
    fn is_equal(&self, other: &Route) -> bool {
        let Route { topic, qos, retain, priority, packing } = self;
        (topic.id, qos, retain) == (other.topic.id, &other.qos, &other.retain)
            && (priority, packing) == (&other.priority, &other.packing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Priority, Qos};
    use crate::topics::Registry;

    #[test]
    fn equal_routes_are_one_and_those_out_of_use_are_forgotten() {
        let registry = Registry::default();
        let route = |mqtt: &str, retain| Route {
            topic: registry.topic("/scan", mqtt),
            qos: Qos::AtLeastOnce,
            retain,
            priority: Priority::Normal,
            packing: Default::default(),
        };
        let mut routes = Routes::default();
        let kept = routes.share(route("a", false));
        for _ in 0..10_000 {
            assert!(Arc::ptr_eq(&kept, &routes.share(route("a", false))));
            assert!(routes.share(route("a", true)).retain);
        }
        assert_eq!(routes.share(route("b", false)).mqtt, "b");
        assert!(routes.by_topic.values().all(|known| known.len() <= 2));
        (0..1000).for_each(|number| _ = routes.share(route(&number.to_string(), false)));
        assert!(routes.by_topic.len() <= LEAST_TIDY);
        assert!(Arc::ptr_eq(&kept, &routes.share(route("a", false))));
    }
}
