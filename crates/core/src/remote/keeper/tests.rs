//! The way of a wish, through every ending of the process.

mod random;
mod restless;
mod way_back;
mod world;

use std::time::Duration;

use rustix::io::Errno;
use serde_json::json;

use super::*;
use crate::files::simulated::Fault;
use crate::remote::TopicEvidence;
use world::{CONFIRM, Network, TRIAL, World, document, wish};

const SECOND: Duration = Duration::from_secs(1);

/// What is reported last: state, version, problems.
fn told(world: &World) -> (&str, Option<&str>, Vec<&str>) {
    let outcome = world.reports.last().expect("something is reported");
    (outcome.state.name(), outcome.version.as_deref(), outcome.problems.iter().map(String::as_str).collect())
}

/// What was done since the last look.
fn steps(world: &mut World) -> Vec<String> {
    std::mem::take(&mut world.steps)
}

/// With what is confirmed in force: version 1, of the topic /a.
fn confirmed() -> World {
    let mut world = World::new();
    world.desire(wish("1", "/a"));
    world.wait(TRIAL);
    assert_eq!((world.version(), told(&world)), (Some("1"), ("applied", Some("1"), vec![])));
    steps(&mut world);
    world
}

/// A wish is checked, kept, put in force, confirmed, kept and reported, in this order, and stays in force without a network.
#[test]
fn a_wish_goes_step_by_step() {
    let mut world = World::new();
    assert_eq!(steps(&mut world), ["start", "apply local", "report applied"]);
    world.network = Network::IsMute;
    world.desire(wish("1", "/a"));
    assert_eq!(steps(&mut world), ["keep", "check 1", "keep on trial", "apply 1"]);
    world.wait(CONFIRM - SECOND);
    assert_eq!((steps(&mut world), world.version()), (vec![], Some("1")));
    world.network = Network::Acknowledges;
    world.wait(SECOND);
    assert_eq!(steps(&mut world), ["keep", "report applied"]);
    assert_eq!(told(&world), ("applied", Some("1"), vec![]));
    world.kill();
    world.network = Network::IsDown;
    world.start();
    assert_eq!(steps(&mut world), ["killed", "start", "apply 1", "report applied"]);
    world.hear();
    world.wait(3 * CONFIRM);
    assert_eq!((steps(&mut world), world.version()), (vec![], Some("1")));
}

/// What can't be read, and what the check refuses, changes nothing, is told with all problems, and is not tried again until a
/// reload or another start, when it may be right.
#[test]
fn a_wrong_wish_is_rejected() {
    let mut world = confirmed();
    world.desire(json!({"version": "2", "config": {"aws": {}, "commands": []}}));
    let problems = [
        "config.aws is none that the cloud may set; allowed are topics.",
        "config.commands is not in remote.allow; allowed are topics.",
    ];
    assert_eq!((told(&world), world.version()), (("rejected", Some("2"), problems.to_vec()), Some("1")));
    assert_eq!(steps(&mut world), ["keep", "report rejected"]);
    world.desire(wish("3", "/invalid"));
    assert_eq!(steps(&mut world), ["keep", "check 3", "keep", "report rejected"]);
    let rejected = ("rejected", Some("3"), vec!["topics[0].ros is /invalid."]);
    assert_eq!((told(&world), world.version()), (rejected.clone(), Some("1")));
    world.hear();
    assert!(steps(&mut world).is_empty(), "it is known");
    world.reload();
    assert_eq!(steps(&mut world), ["keep", "check 3", "keep"]);
    world.kill();
    world.start();
    assert_eq!((told(&world), world.version()), (rejected, Some("1")));
    steps(&mut world);
    world.hear();
    assert_eq!(steps(&mut world), ["keep", "check 3", "keep"], "and the report is the same");
    world.desire(wish("4", "/b"));
    world.wait(TRIAL);
    assert_eq!((told(&world), world.version()), (("applied", Some("4"), vec![]), Some("4")));
}

/// Without an acknowledgement the one before comes back, with the reason; the same wish is not tried again, and reported again
/// after a restart. Under another version it is.
#[test]
fn an_unconfirmed_wish_is_rolled_back() {
    let mut world = confirmed();
    world.network = Network::IsMute;
    world.desire(wish("2", "/b"));
    world.wait(CONFIRM - SECOND);
    assert_eq!(world.version(), Some("2"));
    steps(&mut world);
    world.wait(SECOND);
    assert_eq!(steps(&mut world), ["keep", "apply 1", "report rolled_back"]);
    let rolled_back = ("rolled_back", Some("2"), vec!["Nothing was acknowledged within 2 min."]);
    assert_eq!((told(&world), world.version()), (rolled_back.clone(), Some("1")));
    world.network = Network::Acknowledges;
    world.hear();
    world.reload();
    assert!(steps(&mut world).is_empty(), "it is not tried again");
    world.kill();
    world.start();
    world.hear();
    assert_eq!(steps(&mut world), ["killed", "start", "apply 1", "report rolled_back"]);
    assert_eq!((told(&world), world.version()), (rolled_back, Some("1")));
    world.desire(wish("2a", "/b"));
    world.wait(TRIAL);
    assert_eq!((told(&world), world.version()), (("applied", Some("2a"), vec![]), Some("2a")));
}

/// A robot whose topics have nothing to say is confirmed by the acknowledgement of the report, or rolled back without.
#[test]
fn silence_is_confirmed_by_the_report() {
    for acknowledges in [true, false] {
        let mut world = confirmed();
        world.network = Network::HasNothingToSend;
        world.acknowledges_reports = acknowledges;
        world.desire(wish("2", "/b"));
        world.wait(CONFIRM);
        let end = if acknowledges { ["report applied", "keep"].as_slice() } else { &["report applied"] };
        assert_eq!(steps(&mut world)[4..], *end);
        world.wait(CONFIRM);
        if acknowledges {
            assert_eq!((steps(&mut world), world.version()), (vec![], Some("2")));
        } else {
            assert_eq!(steps(&mut world), ["keep", "apply 1", "report rolled_back"]);
            let reason = "None of its topics had a record within 2 min, and the report was not acknowledged within 2 min after that.";
            assert_eq!(told(&world), ("rolled_back", Some("2"), vec![reason]));
        }
    }
}

/// What was taken away brings the local configuration back at once; it needs no trial. A start does not bring it again.
#[test]
fn what_is_taken_away_brings_the_local_one_back() {
    let mut world = confirmed();
    world.network = Network::IsDown;
    world.desire(json!({}));
    assert_eq!(steps(&mut world), ["keep", "check local", "keep", "apply local", "report applied"]);
    assert_eq!((told(&world), world.version()), (("applied", None, vec![]), None));
    world.kill();
    world.start();
    assert_eq!((told(&world), world.version()), (("applied", None, vec![]), None));
    world.is_local_good = false;
    let mut world = confirmed();
    world.is_local_good = false;
    world.desire(json!({}));
    assert_eq!((told(&world), world.version()), (("rejected", None, vec!["config.toml is wrong."]), Some("1")));
}

/// Where only the version is another nothing is put in force anew, and what was proven needs no trial.
#[test]
fn what_is_in_force_needs_no_trial() {
    let mut world = confirmed();
    world.network = Network::IsDown;
    world.desire(wish("2", "/a"));
    assert_eq!(steps(&mut world), ["keep", "check 2", "keep", "report applied"]);
    assert_eq!((told(&world), world.version()), (("applied", Some("2"), vec![]), Some("2")));
    world.desire(wish("3", "/b"));
    world.wait(CONFIRM / 2);
    // Of what is on trial: it goes on, and does not begin anew.
    world.desire(wish("4", "/b"));
    world.wait(CONFIRM / 2);
    let reason = vec!["Nothing was acknowledged within 2 min; there was no connection for 2 min of it."];
    assert_eq!((told(&world), world.version()), (("rolled_back", Some("4"), reason), Some("2")));
    // Back to what was before, while something else is on trial.
    world.desire(wish("5", "/c"));
    steps(&mut world);
    world.desire(wish("6", "/a"));
    assert_eq!(steps(&mut world), ["keep on trial", "check 6", "keep", "apply 6", "report applied"]);
    assert_eq!((told(&world), world.version()), (("applied", Some("6"), vec![]), Some("6")));
}

/// A new wish during a trial takes its place, and the way back stays the one before both. One that is refused leaves the trial
/// alone, whose end is told beside it.
#[test]
fn a_wish_during_a_trial() {
    let mut world = confirmed();
    world.network = Network::IsMute;
    world.desire(wish("2", "/b"));
    world.wait(CONFIRM / 2);
    world.desire(wish("3", "/c"));
    world.wait(CONFIRM - SECOND);
    assert_eq!(world.version(), Some("3"));
    world.desire(wish("4", "/invalid"));
    assert_eq!((told(&world).0, world.version()), ("rejected", Some("3")));
    world.desire(wish("5", "/unfit"));
    assert_eq!((told(&world).0, world.version()), ("rejected", Some("3")));
    world.wait(SECOND);
    let problems = vec![
        "topics[0].ros is /unfit.",
        "Version 3, which was in force, has ended: Nothing was acknowledged within 2 min.",
    ];
    assert_eq!((told(&world), world.version()), (("rejected", Some("5"), problems), Some("1")));
    // The same with an end that is good: what is told is still what was desired last.
    world.desire(wish("6", "/d"));
    world.desire(wish("7", "/invalid"));
    world.network = Network::Acknowledges;
    world.wait(TRIAL);
    assert_eq!((told(&world).0, told(&world).1, world.version()), ("rejected", Some("7"), Some("6")));
    assert_eq!(world.on_disk().confirmed.unwrap().version, "6");
}

/// What was acknowledged is the way back, also if the next wish comes in the same moment.
#[test]
fn what_was_acknowledged_is_the_way_back() {
    let mut world = confirmed();
    world.network = Network::IsMute;
    world.desire(wish("2", "/b"));
    world.wait(TRIAL);
    let now = world.now;
    let began = world.keeper().trial().unwrap().began();
    let topic = TopicEvidence { name: "/b".to_owned(), had_record: true, is_acknowledged: true, is_forbidden: false };
    world.keeper().desired(wish("3", "/c").as_object().unwrap(), now);
    let step = world.keeper().next(now);
    assert!(matches!(step, Some(Step::Keep(_))), "{step:?}");
    world.keeper().evidence(&Evidence { began, is_connected: true, topics: vec![topic] }, now);
    world.keeper().kept(Ok(()), now);
    world.proven.insert(r#"{"topics":[{"ros":"/b"}]}"#.to_owned());
    world.checked.insert(r#"{"topics":[{"ros":"/c"}]}"#.to_owned());
    assert!(matches!(world.keeper().next(now), Some(Step::Check(_))));
    world.keeper().checked(Ok(()), now);
    world.turn();
    assert_eq!(world.version(), Some("3"));
    world.wait(CONFIRM);
    assert_eq!((told(&world).0, world.version()), ("rolled_back", Some("2")));
}

/// What was looked at before a trial began says nothing of it.
#[test]
fn evidence_of_another_trial_is_ignored() {
    let mut world = confirmed();
    world.network = Network::IsMute;
    world.desire(wish("2", "/b"));
    let (now, before) = (world.now, world.keeper().trial().unwrap().began());
    world.wait(SECOND);
    world.desire(wish("3", "/c"));
    let topic = TopicEvidence { name: "/b".to_owned(), had_record: true, is_acknowledged: true, is_forbidden: false };
    let mut evidence = Evidence { began: before, is_connected: true, topics: vec![topic] };
    world.keeper().evidence(&evidence, now + SECOND);
    world.turn();
    assert!(!world.keeper().trial().unwrap().is_proven(), "of the one before");
    evidence.began = world.keeper().trial().unwrap().began();
    world.keeper().evidence(&evidence, now + SECOND);
    assert!(world.keeper().trial().unwrap().is_proven(), "of this one");
    world.wait(TRIAL);
    assert!(world.keeper().trial().is_none());
}

/// What crashes the process is tried in two processes, and the third starts with the one before; what crashes the check is
/// checked in two, and never again.
#[test]
fn a_crash_is_not_repeated_a_third_time() {
    let mut world = confirmed();
    world.desire(wish("2", "/deadly"));
    assert_eq!(world.tries.iter().filter(|tried| tried.starts_with("2 ")).count(), 1);
    world.start();
    world.start();
    assert_eq!(world.tries.iter().filter(|tried| tried.starts_with("2 ")).count(), 2);
    let reason = "The process ended 2 times while this was in force, before it was confirmed.";
    assert_eq!((told(&world), world.version()), (("rolled_back", Some("2"), vec![reason]), Some("1")));
    world.hear();
    world.kill();
    world.start();
    world.hear();
    assert_eq!((told(&world).0, world.version()), ("rolled_back", Some("1")));

    steps(&mut world);
    world.desire(wish("3", "/poisonous"));
    for _ in 0..6 {
        world.start();
        world.hear();
    }
    let checks = steps(&mut world).iter().filter(|step| *step == "check 3").count();
    let reason = "The process ended 2 times while this was checked.";
    assert_eq!((checks, told(&world), world.version()), (2, ("rejected", Some("3"), vec![reason]), Some("1")));
    world.kill();
    world.start();
    world.hear();
    assert_eq!((steps(&mut world).contains(&"check 3".to_owned()), world.version()), (false, Some("1")));
}

/// What works at first and ends the process a few seconds later is as bad: it is tried in two processes as well, though it was
/// acknowledged in both.
#[test]
fn a_crash_after_an_acknowledgement_counts() {
    let mut world = confirmed();
    world.desire(wish("2", "/fragile"));
    for _ in 0..2 {
        assert_eq!(world.version(), Some("2"));
        world.wait(CONFIRM);
        assert!(world.keeper.is_none(), "it has crashed");
        world.start();
    }
    let reason = "The process ended 2 times while this was in force, before it was confirmed.";
    assert_eq!((told(&world), world.version()), (("rolled_back", Some("2"), vec![reason]), Some("1")));
}

/// A check that the end of the process has interrupted is made up for, though a job comes first.
#[test]
fn an_interrupted_check_is_not_forgotten() {
    let mut world = confirmed();
    let operations = world.files.operations();
    world.files.fault_at(operations + 7, Fault::PowerCut { written: 0 });
    world.desire(wish("2", "/b"));
    assert_eq!(steps(&mut world), ["keep", "check 2", "keep on trial", "power cut"]);
    world.start();
    world.job("j1", document("3", "/invalid"));
    assert_eq!((told(&world).0, world.version()), ("rejected", Some("1")));
    world.hear();
    world.wait(TRIAL);
    assert_eq!((told(&world), world.version()), (("applied", Some("2"), vec![]), Some("2")));
}

/// Three orderly stops end no trial: what has not ended badly is tried again.
#[test]
fn an_orderly_stop_does_not_count() {
    let mut world = confirmed();
    world.network = Network::IsMute;
    world.desire(wish("2", "/b"));
    for _ in 0..3 {
        world.wait(CONFIRM / 2);
        world.stop();
        world.start();
        assert_eq!(world.version(), Some("2"));
    }
    world.network = Network::Acknowledges;
    world.wait(TRIAL);
    assert_eq!((told(&world), world.version()), (("applied", Some("2"), vec![]), Some("2")));
}

/// What can't be kept is not put in force, is told with the reason, and tried again after a while.
#[test]
fn what_can_not_be_kept_is_not_put_in_force() {
    for fails in 0..2 {
        let mut world = confirmed();
        let operations = world.files.operations();
        // One for each Keep: noting the check, and the trial.
        let at = operations + fails * 6;
        world.files.fault_at(at, Fault::FailFrom(Errno::NOSPC));
        world.desire(wish("2", "/b"));
        let (state, version, problems) = told(&world);
        assert_eq!((state, version, world.version()), ("rejected", Some("2"), Some("1")));
        let reason =
            "It could not be kept: /state/remote.json cannot be written (No space left on device (os error 28)).";
        assert_eq!(problems, [reason]);
        world.wait(TRY_AGAIN + SECOND);
        assert_eq!(world.version(), Some("1"));
        world.files.heal();
        world.wait(TRY_AGAIN + TRIAL);
        assert_eq!((told(&world), world.version()), (("applied", Some("2"), vec![]), Some("2")));
    }
}

/// A reload tries again at once what could not be kept: what comes of that is not tried once more when its time has come.
#[test]
fn what_a_reload_has_tried_again_is_done() {
    let mut world = confirmed();
    world.network = Network::IsMute;
    world.files.fault_at(world.files.operations(), Fault::Fail(Errno::NOSPC));
    world.desire(wish("2", "/b"));
    assert_eq!((told(&world).0, world.version()), ("rejected", Some("1")));
    world.reload();
    assert_eq!(world.version(), Some("2"));
    world.wait(CONFIRM);
    assert_eq!((told(&world).0, world.version()), ("rolled_back", Some("1")));
    steps(&mut world);
    world.wait(TRY_AGAIN);
    assert!(steps(&mut world).is_empty());
}

/// The way back and a confirmation do not wait for the disk, and are kept when it can.
#[test]
fn going_back_does_not_wait_for_the_disk() {
    for network in [Network::IsMute, Network::Acknowledges] {
        let mut world = confirmed();
        world.network = Network::IsMute;
        world.desire(wish("2", "/b"));
        world.files.fault_at(world.files.operations(), Fault::FailFrom(Errno::IO));
        world.network = network;
        world.wait(CONFIRM);
        let problem = "It is confirmed, and that could not be kept: /state/remote.json cannot be written (Input/output error (os error 5)).";
        let (state, version, expected) = match network {
            Network::IsMute => ("rolled_back", "1", "Nothing was acknowledged within 2 min."),
            _ => ("applied", "2", problem),
        };
        assert_eq!((told(&world), world.version()), ((state, Some("2"), vec![expected]), Some(version)));
        world.files.heal();
        world.wait(WRITE_AGAIN);
        assert_eq!((told(&world).2.len(), world.on_disk().trial), (usize::from(network == Network::IsMute), None));
        assert_eq!(world.on_disk().confirmed.unwrap().version, version);
        world.kill();
        world.start();
        assert_eq!(world.version(), Some(version));
    }
}

/// A start that can't count its attempt does not try it.
#[test]
fn a_start_that_can_not_count_goes_back() {
    let mut world = confirmed();
    world.network = Network::IsMute;
    world.desire(wish("2", "/b"));
    world.kill();
    world.files.fault_at(world.files.operations(), Fault::FailFrom(Errno::ROFS));
    world.start();
    assert_eq!((told(&world).0, world.version()), ("rolled_back", Some("1")));
}

/// Of a job and the shadow the later wins: the shadow's old wish is nothing new afterwards, its next is.
#[test]
fn a_job_and_the_shadow_take_turns() {
    let mut world = confirmed();
    world.job("j1", document("2", "/b"));
    world.wait(TRIAL);
    assert_eq!((told(&world), world.version()), (("applied", Some("2"), vec![]), Some("2")));
    assert_eq!((world.ended[0].0.as_str(), world.ended[0].1.state), ("j1", Verdict::Applied));
    world.kill();
    world.start();
    world.hear();
    assert_eq!(world.version(), Some("2"));
    // It was not heard that it had ended: it is told again, and not run.
    steps(&mut world);
    world.job("j1", document("2", "/b"));
    assert_eq!(steps(&mut world), ["job applied"]);
    world.network = Network::IsMute;
    world.job("j2", document("3", "/c"));
    world.desire(wish("4", "/d"));
    let replaced = &world.ended[2];
    assert_eq!((replaced.0.as_str(), replaced.1.state, world.version()), ("j2", Verdict::Replaced, Some("4")));
    assert_eq!(replaced.1.problems, ["What was desired later has taken its place: the shadow iot-bridge, version 4."]);
    world.wait(CONFIRM);
    assert_eq!(world.version(), Some("2"));
    world.desire(json!({}));
    assert_eq!((told(&world), world.version()), (("applied", None, vec![]), None));
}

/// A shadow that was never heard and desires nothing takes nothing away from a job.
#[test]
fn a_shadow_without_a_wish_leaves_a_job_alone() {
    let mut world = World::new();
    world.job("j1", document("1", "/a"));
    world.wait(TRIAL);
    world.hear();
    assert_eq!((told(&world), world.version()), (("applied", Some("1"), vec![]), Some("1")));
}

/// A job ends badly in each way, is told so after a restart as well, and is not run again.
#[test]
fn a_job_fails_honestly() {
    for (topic, state) in
        [("/invalid", Verdict::Rejected), ("/b", Verdict::RolledBack), ("/deadly", Verdict::RolledBack)]
    {
        let mut world = confirmed();
        world.network = Network::IsMute;
        world.job("j1", document("2", topic));
        world.start();
        world.job("j1", document("2", topic));
        world.start();
        world.job("j1", document("2", topic));
        world.wait(CONFIRM);
        assert_eq!((world.ended.last().unwrap().1.state, world.version()), (state, Some("1")), "{topic}");
        world.kill();
        world.start();
        steps(&mut world);
        world.job("j1", document("2", topic));
        assert_eq!(steps(&mut world), [format!("job {}", state.name())], "{topic}");
    }
}

/// What another shadow has brought is not for this one.
#[test]
fn another_shadow_begins_anew() {
    let mut world = confirmed();
    world.kill();
    world.remote.shadow = "other".to_owned();
    world.start();
    assert_eq!((told(&world), world.version()), (("applied", None, vec![]), None));
    world.hear();
    world.wait(TRIAL);
    assert_eq!(world.version(), Some("1"));
}
