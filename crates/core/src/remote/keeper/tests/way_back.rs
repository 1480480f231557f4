//! Where the way back can't be loaded, and local files that change.

use super::*;

/// Local files that change under a confirmed wish: at a start the local configuration stands in, and the wish comes back when it
/// can be loaded again. `remote.allow` counts at once.
#[test]
fn local_files_may_change() {
    let mut world = confirmed();
    world.remote.allow = vec![Section::Commands];
    world.kill();
    world.start();
    assert_eq!((told(&world), world.version()), (("rejected", Some("1"), vec![NOT_ALLOWED]), None));
    world.remote.allow = vec![Section::Topics];
    world.reload();
    assert_eq!((told(&world), world.version()), (("applied", Some("1"), vec![]), Some("1")));
    world.remote.allow = vec![Section::Commands];
    world.reload();
    assert_eq!((told(&world), world.version()), (("rejected", Some("1"), vec![NOT_ALLOWED]), None));
    world.remote.allow = vec![Section::Topics];
    world.kill();
    world.start();
    assert_eq!((told(&world), world.version()), (("applied", Some("1"), vec![]), Some("1")));
    // On trial as well.
    world.network = Network::IsMute;
    world.desire(wish("2", "/b"));
    world.remote.allow = vec![];
    world.reload();
    assert_eq!((told(&world).0, told(&world).1, world.version()), ("rejected", Some("2"), None));
}

/// Where neither the one before nor the local one can be loaded, what is in force stays until one can.
#[test]
fn without_a_way_back_it_stays() {
    let mut world = confirmed();
    world.network = Network::IsMute;
    world.desire(wish("2", "/b"));
    world.is_local_good = false;
    world.wait(CONFIRM);
    let problems = vec![
        "Nothing was acknowledged within 2 min.",
        "Version 1, which was to come back, is rejected:",
        "config.toml is wrong.",
        "The local configuration can't be put in force:",
        "config.toml is wrong.",
    ];
    assert_eq!((told(&world), world.version()), (("rolled_back", Some("2"), problems), Some("2")));
    let reports = world.reports.len();
    world.wait(2 * GO_BACK_AGAIN);
    assert_eq!(world.reports.len(), reports, "it is the same");
    world.is_local_good = true;
    world.wait(GO_BACK_AGAIN);
    let problems = vec!["Nothing was acknowledged within 2 min."];
    assert_eq!((told(&world), world.version()), (("rolled_back", Some("2"), problems), Some("1")));
}

/// Local files that are mended and take the section out of `remote.allow`, while what was rolled back stays for want of a way
/// back: the local configuration is in force with that, nothing is to be done again and again, and wishes are taken up.
#[test]
fn files_that_are_mended_are_the_way_back() {
    let mut world = World::new();
    world.network = Network::IsMute;
    world.desire(wish("1", "/a"));
    world.is_local_good = false;
    world.wait(CONFIRM);
    let reason = "Nothing was acknowledged within 2 min.";
    let problems = vec![reason, "The local configuration can't be put in force:", "config.toml is wrong."];
    assert_eq!((told(&world), world.version()), (("rolled_back", Some("1"), problems), Some("1")));
    (world.is_local_good, world.remote.allow) = (true, vec![Section::Commands]);
    world.reload();
    assert_eq!((told(&world), world.version()), (("rolled_back", Some("1"), vec![reason]), None));
    world.wait(2 * GO_BACK_AGAIN);
    world.remote.allow = vec![Section::Topics];
    world.reload();
    world.desire(wish("2", "/b"));
    assert_eq!(world.version(), Some("2"));
}

/// A start without a configuration that could not be kept either waits for its time, and keeps it afterwards.
#[test]
fn a_start_without_anything_waits() {
    let mut world = confirmed();
    world.network = Network::IsMute;
    world.desire(wish("2", "/b"));
    world.kill();
    world.is_local_good = false;
    world.files.fault_at(world.files.operations(), Fault::FailFrom(Errno::ROFS));
    world.keeper = Some(Keeper::start(world.on_disk(), &world.remote, world.now));
    world.turn();
    world.wait(2 * WRITE_AGAIN);
    world.files.heal();
    world.is_local_good = true;
    world.wait(2 * GO_BACK_AGAIN);
    assert_eq!((told(&world).0, world.version(), world.on_disk().trial), ("rolled_back", Some("1"), None));
}

/// A start at which nothing can be loaded is not the end: it is tried again.
#[test]
fn a_start_without_a_configuration_is_tried_again() {
    let mut world = confirmed();
    world.kill();
    world.is_local_good = false;
    world.keeper = Some(Keeper::start(world.on_disk(), &world.remote, world.now));
    world.turn();
    assert_eq!((told(&world).0, world.running.is_none()), ("rejected", true));
    world.is_local_good = true;
    world.wait(GO_BACK_AGAIN);
    assert_eq!((told(&world), world.version()), (("applied", Some("1"), vec![]), Some("1")));
}
