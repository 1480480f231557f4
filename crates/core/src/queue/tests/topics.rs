//! Many topics at once.

use super::robot::{Robot, number_of, settings};
use super::*;
use crate::config::QueueDurability::Always;

/// Of thousands of topics one is set aside: its records wait on the disk, before those of all others. What was
/// acknowledged of the others does not come again after a restart, and no more than fit the window may do so when the
/// process is killed at any time.
#[test]
fn one_topic_set_aside_among_thousands_brings_nothing_back() {
    const TOPICS: u64 = 3000;
    let mut robot = Robot::new(settings(Always));
    let aside = robot.route("/aside", Priority::Normal);
    (0..10).for_each(|number| assert!(robot.admit(&aside, number, 20)));
    robot.work();
    for topic in 1..=TOPICS {
        let route = robot.route(&format!("/topic_{topic:04}"), Priority::Normal);
        assert!(robot.admit(&route, topic * 100, 20));
    }
    robot.work();
    let wanted = |route: &Route| route.ros != "/aside";
    let mut acknowledged = 0;
    while acknowledged < TOPICS {
        let Some(lease) = robot.queue.lease_where(robot.now, &wanted) else {
            robot.work();
            continue;
        };
        assert!(number_of(&lease) >= 100 && robot.queue.acknowledge(lease.id));
        acknowledged += 1;
        if acknowledged == TOPICS / 2 {
            // The most that may be done without the disk knowing it.
            let mut killed = Robot::on(robot.files.after_kill(), robot.settings.clone());
            let twice = killed.drain().len() as u64 - 10 - (TOPICS - acknowledged);
            assert!(twice <= super::robot::WINDOW as u64, "{twice} came again");
        }
    }
    robot.work();
    assert!(robot.queue.figures().disk.unwrap().trouble.is_none());
    for mut next in
        [robot.files.after_kill(), robot.files.after_power_cut(3)].map(|files| Robot::on(files, robot.settings.clone()))
    {
        assert_eq!(next.drain(), (0..10).collect::<Vec<_>>());
        next.check_accounts();
        // Once nothing pins it, nothing of all that is left to be known.
        next.work();
        assert_eq!(next.drain(), Vec::<u64>::new());
    }
}
