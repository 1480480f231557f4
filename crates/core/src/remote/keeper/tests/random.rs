//! Whatever is wished and whatever ends, in any order.

use std::time::Duration;

use proptest::prelude::*;
use rustix::io::Errno;
use serde_json::{Value, json};

use super::world::{CONFIRM, Network, TRIAL, World, document, key, sections, wish};
use crate::config::Section;
use crate::files::simulated::Fault;
use crate::remote::Verdict;
use crate::remote::keeper::LONGEST_PAUSE;

/// What may happen next.
#[derive(Debug, Clone)]
enum Action {
    /// The shadow desires a topic of this name, under a new version or under the last one.
    Wish(&'static str, bool),
    Nothing,
    Garbage,
    /// The shadow is asked for.
    Hear,
    /// A job, new or the last one again.
    Job(&'static str, bool),
    /// Seconds.
    Wait(u64),
    /// What is on trial has all the time that it needs.
    Judge,
    Network(Network),
    Reports(bool),
    Kill,
    PowerCut,
    Stop,
    /// Whether the local configuration can be loaded.
    Local(bool),
    /// Whether `remote.allow` has the section.
    Allow(bool),
    Reload,
    /// So many operations on the disk from now.
    DiskFault(u64, Fault),
    Heal,
}

const TOPICS: [&str; 9] = ["/a", "/a", "/b", "/c", "/invalid", "/unfit", "/deadly", "/fragile", "/poisonous"];

fn action() -> impl Strategy<Value = Action> {
    let topic = || prop::sample::select(&TOPICS[..]);
    let network = prop::sample::select(
        &[Network::Acknowledges, Network::IsMute, Network::HasNothingToSend, Network::Forbids, Network::IsDown][..],
    );
    let fault = prop_oneof![
        2 => Just(Fault::Fail(Errno::IO)),
        1 => Just(Fault::FailFrom(Errno::NOSPC)),
        4 => (0..400_usize).prop_map(|written| Fault::PowerCut { written }),
    ];
    prop_oneof![
        6 => (topic(), prop::bool::weighted(0.8)).prop_map(|(topic, is_new)| Action::Wish(topic, is_new)),
        1 => Just(Action::Nothing),
        1 => Just(Action::Garbage),
        2 => Just(Action::Hear),
        3 => (topic(), prop::bool::weighted(0.7)).prop_map(|(topic, is_new)| Action::Job(topic, is_new)),
        4 => (1..300_u64).prop_map(Action::Wait),
        4 => Just(Action::Judge),
        3 => network.prop_map(Action::Network),
        1 => any::<bool>().prop_map(Action::Reports),
        2 => Just(Action::Kill),
        1 => Just(Action::PowerCut),
        1 => Just(Action::Stop),
        1 => any::<bool>().prop_map(Action::Local),
        1 => any::<bool>().prop_map(Action::Allow),
        1 => Just(Action::Reload),
        4 => (0..24_u64, fault).prop_map(|(after, fault)| Action::DiskFault(after, fault)),
        2 => Just(Action::Heal),
    ]
}

/// What is known of the robot from outside.
struct Robot {
    world: World,
    versions: u32,
    jobs: u32,
    last_job: Option<(String, Value)>,
}

impl Robot {
    fn version(&mut self, is_new: bool) -> String {
        self.versions += u32::from(is_new);
        self.versions.to_string()
    }

    fn act(&mut self, action: Action) {
        let world = &mut self.world;
        match action {
            Action::Wish(topic, is_new) => {
                let version = self.version(is_new);
                // Another text under the same version is another wish, and has tries of its own.
                self.world.tries.retain(|tried| is_new || !tried.starts_with(&format!("{version} ")));
                self.world.desire(wish(&version, topic));
            }
            Action::Nothing => world.desire(json!({})),
            Action::Garbage => world.desire(json!({"version": ["?"], "config": 1, "mode": {}})),
            Action::Hear => world.hear(),
            Action::Job(topic, is_new) => self.job(topic, is_new),
            Action::Judge => self.judge(),
            Action::Wait(seconds) => world.wait(Duration::from_secs(seconds)),
            Action::Network(network) => world.network = network,
            Action::Reports(acknowledges) => world.acknowledges_reports = acknowledges,
            Action::Kill => world.kill(),
            Action::PowerCut => world.cut_power(),
            Action::Stop => world.stop(),
            Action::Local(is_good) => world.is_local_good = is_good,
            Action::Allow(allows) => {
                world.remote.allow = if allows { vec![Section::Topics] } else { vec![Section::Commands] };
                // What that rejects is tried anew when it is allowed again.
                world.tries.clear();
                world.reload();
            }
            Action::Reload => world.reload(),
            Action::DiskFault(after, fault) => world.files.fault_at(world.files.operations() + after, fault),
            Action::Heal => world.files.heal(),
        }
    }

    /// The jobs client hands over one job at a time: the next when the one before has ended, and that one again when it has not
    /// been heard of.
    fn job(&mut self, topic: &str, is_new: bool) {
        let has_ended = |id: &String| self.world.ended.iter().any(|(ended, _)| ended == id);
        let (id, document) = match &self.last_job {
            Some((id, document)) if !is_new || !has_ended(id) => (id.clone(), document.clone()),
            _ => {
                self.jobs += 1;
                let version = self.version(true);
                (format!("j{}", self.jobs), document(&version, topic))
            }
        };
        self.last_job = Some((id.clone(), document.clone()));
        self.world.job(&id, document);
    }

    /// What is true at any moment in which a process runs and has done what there was to do.
    fn check(&mut self) {
        let world = &mut self.world;
        let Some(keeper) = &world.keeper else { return };
        let (in_force, is_on_trial) = (sections(keeper.in_force()), keeper.trial().is_some());
        let outcome = keeper.outcome().cloned();
        // Never without a configuration, and the keeper knows which.
        assert_eq!(sections(world.running.as_ref().expect("something is in force").as_ref()), in_force);
        // What is in force was checked, and is local, on trial, or was acknowledged.
        assert!(in_force.is_empty() || world.checked.contains(&in_force), "never checked: {in_force}");
        let is_stuck = keeper.back_at.is_some();
        let is_accounted = in_force.is_empty() || is_on_trial || world.proven.contains(&in_force) || is_stuck;
        assert!(is_accounted, "neither proven nor on trial: {in_force}, {:#?}", world.steps);
        // What is told of it was reported.
        if !is_on_trial && outcome.is_some() {
            assert_eq!(world.reports.last(), outcome.as_ref(), "{:#?}", world.steps);
        }
    }

    /// The trial that runs has its evidence: it ends as that says, and in no other way.
    fn judge(&mut self) {
        let world = &mut self.world;
        let Some(keeper) = &world.keeper else { return };
        let (Some(wish), Some(_)) = (keeper.in_force().cloned(), keeper.trial()) else { return };
        if keeper.trial().is_some_and(|trial| trial.until() != trial.began() + CONFIRM) {
            // The report that it waits for was lost before.
            return;
        }
        if !keeper.waiting.is_empty() {
            // What waits comes when it is confirmed.
            return;
        }
        let (lives, reports) = (world.steps.iter().filter(|step| *step == "start").count(), world.reports.len());
        let acknowledges = world.network == Network::Acknowledges;
        let is_silent = world.network == Network::HasNothingToSend;
        let was_acknowledged = keeper.trial().is_some_and(|trial| trial.is_proven());
        let is_acknowledged = was_acknowledged || acknowledges || is_silent && world.acknowledges_reports;
        world.wait(2 * CONFIRM + Duration::from_secs(1));
        let is_same_life = world.steps.iter().filter(|step| *step == "start").count() == lives;
        let Some(keeper) = world.keeper.as_ref().filter(|_| is_same_life && world.is_local_good) else { return };
        let of_it = |outcome: &&crate::remote::Outcome| outcome.version.as_ref() == Some(&wish.version);
        let rolled_back = |outcome: &crate::remote::Outcome| outcome.state == Verdict::RolledBack;
        let was_rolled_back = world.reports[reports..].iter().filter(of_it).any(rolled_back);
        let in_force = keeper.in_force().map(key);
        // Something that was to be tried again may have taken its place.
        let was_replaced = keeper.trial().is_some() || in_force.is_some() && in_force != Some(key(&wish));
        if is_acknowledged {
            assert!(!was_rolled_back, "{:#?}", world.steps);
            assert!(in_force.is_some() || was_replaced, "{:#?}", world.steps);
        } else {
            assert!(in_force != Some(key(&wish)) || was_replaced, "{wish:?}, {:#?}", world.steps);
        }
    }
}

/// Has a robot without a past live through `actions`, and puts everything right afterwards.
fn live(actions: Vec<Action>) {
    let mut robot = Robot { world: World::new(), versions: 0, jobs: 0, last_job: None };
    for action in actions {
        robot.act(action);
        robot.world.start();
        robot.check();
    }
    let world = &mut robot.world;
    world.files.heal();
    (world.is_local_good, world.remote.allow) = (true, vec![Section::Topics]);
    (world.network, world.acknowledges_reports) = (Network::Acknowledges, true);
    world.start();
    world.reload();
    world.start();
    world.wait(LONGEST_PAUSE);
    world.start();
    robot.check();
    let version = robot.version(true);
    robot.world.desire(wish(&version, "/good"));
    robot.world.wait(TRIAL);
    robot.check();
    let world = &mut robot.world;
    assert_eq!(world.version(), Some(version.as_str()), "{:#?}", world.steps);
    let told = world.reports.last().unwrap();
    assert_eq!((told.state, told.version.as_ref(), &told.problems), (Verdict::Applied, Some(&version), &vec![]));
    world.cut_power();
    world.network = Network::IsDown;
    world.start();
    world.hear();
    world.wait(3 * CONFIRM);
    assert_eq!(world.version(), Some(version.as_str()), "{:#?}", world.steps);
    robot.check();
}

/// The power goes when a stop has kept that the trial under way does not count: it is tried twice after that, and no more.
#[test]
fn the_power_goes_at_the_end_of_a_stop() {
    let cut = |after| Action::DiskFault(after, Fault::PowerCut { written: 0 });
    let wish = |topic| Action::Wish(topic, false);
    let before = [Action::PowerCut, cut(14), wish("/a"), wish("/b"), cut(0), wish("/b"), wish("/fragile")];
    for operation in 0..30 {
        live(before.iter().cloned().chain([cut(operation), Action::Garbage, Action::Stop]).collect());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Wishes and jobs, good, bad and deadly; a disk that fails and power that goes at any operation; networks, stops, kills,
    /// reloads and local files that break: the robot is never without a configuration; nothing is in force that was not checked
    /// and kept before; what crashes the process is tried twice at most; what is in force after a start is confirmed, on trial
    /// or local; a trial is rolled back if nothing was acknowledged, and only then; what became of it is reported. And
    /// afterwards a good wish comes into force, is confirmed, and outlives the process.
    #[test]
    fn whatever_happens_there_is_a_configuration(
        actions in prop::collection::vec(action(), 0..60),
    ) {
        live(actions);
    }
}
