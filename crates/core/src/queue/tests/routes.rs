use super::*;
use crate::files::simulated::SimulatedFiles;
use crate::queue::disk::clock::Clock;
use crate::queue::disk::log::{Log, Options};
use crate::queue::disk::survey::go_on;

/// A topic may alternate between two types for as long as the robot runs, with a new route each time: the log knows its
/// two routes, and those that records are left of.
#[test]
fn a_topic_that_changes_without_end_does_not_grow_the_log() {
    let now = Instant::now();
    let adopted = route(Priority::Normal);
    let topic = adopted.topic.clone();
    let types = [0, 1].map(|number| topic.towards(&format!("type/{number}")));
    let options =
        Options { bound: 64 << 20, clock: Clock::of_boot(1, now), adopt: Arc::new(move |_, _| Arc::clone(&adopted)) };
    let (mut log, ..) = Log::open(Arc::new(SimulatedFiles::new()), options, &mut go_on).unwrap();
    let mut waiting = Vec::new();
    for number in 0..10_000 {
        let plain = Arc::into_inner(route(Priority::Normal)).unwrap();
        let (topic, retain) = (types[number % 2].clone(), number % 2 == 0);
        let route = Arc::new(Route { topic, retain, ..plain });
        assert_eq!(log.append(Priority::Normal, &[record(&route, 1, now)], now).unwrap(), 1);
        if number % 100 == 0 {
            waiting.push(route);
        }
    }
    let [known, adopted, by_topic, all] = log.registers();
    assert!(known <= 4 * waiting.len(), "{known} routes are known");
    assert_eq!((adopted, by_topic, all), (2, 2, 2));
}
