//! A shadow that changes again and again.

use super::*;

/// Whoever writes the shadow each second has the robot take up ever fewer of its wishes, the last one each time, so that trials
/// come to their ends. A confirmation ends that.
#[test]
fn a_restless_shadow_is_slowed_down() {
    let mut world = confirmed();
    world.network = Network::IsMute;
    for number in 0..600 {
        world.desire(wish(&format!("w{number}"), &format!("/w{number}")));
        world.wait(SECOND);
    }
    let applied: Vec<_> =
        steps(&mut world).into_iter().filter_map(|step| Some(step.strip_prefix("apply ")?.to_owned())).collect();
    // Version 1 is the way back from what was on trial for 2 min.
    assert_eq!(applied, ["w0", "w1", "w10", "w30", "w70", "w150", "1", "w310", "w311", "1"]);
    world.network = Network::Acknowledges;
    world.wait(12 * SECOND);
    assert_eq!(world.version(), Some("w599"));
    world.wait(TRIAL);
    assert_eq!(told(&world), ("applied", Some("w599"), vec![]));
    world.network = Network::IsMute;
    for (version, in_force) in [("a", "a"), ("b", "b"), ("c", "b")] {
        world.desire(wish(version, &format!("/{version}")));
        assert_eq!(world.version(), Some(in_force));
    }
    world.wait(SHORTEST_PAUSE);
    assert_eq!(world.version(), Some("c"));
}

/// A job that has come after a wish that has to wait is taken up after it, also if that is heard again: what came later is in
/// force.
#[test]
fn a_job_waits_behind_a_wish_that_has_to() {
    let mut world = confirmed();
    world.network = Network::IsMute;
    for version in ["2", "3", "4"] {
        world.desire(wish(version, &format!("/{version}")));
    }
    assert_eq!(world.version(), Some("3"));
    world.job("j1", document("5", "/5"));
    world.hear();
    assert_eq!(world.version(), Some("3"));
    steps(&mut world);
    world.wait(SHORTEST_PAUSE);
    let applied: Vec<_> = steps(&mut world).into_iter().filter(|step| step.starts_with("apply")).collect();
    assert_eq!((applied, world.version()), (vec!["apply 4".to_owned(), "apply 5".to_owned()], Some("5")));
}
