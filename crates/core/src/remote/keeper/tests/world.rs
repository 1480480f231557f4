//! A robot around a [`Keeper`]: its disk, its bridge, its network and its clock.
//!
//! What a wish does is in the name of its topic: `/invalid…` is refused by the check, `/unfit…` only when it is to be put in
//! force, `/deadly…` ends the process when it is, `/fragile…` 5 s later, `/poisonous…` when it is checked.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::config::{Remote, Section};
use crate::files::Files;
use crate::files::simulated::SimulatedFiles;
use crate::remote::{Evidence, Job, Keeper, Outcome, Step, Store, TopicEvidence, Wish};
use crate::shadows::State;

pub const CONFIRM: Duration = Duration::from_secs(120);

/// How long what is acknowledged at once is on trial.
pub const TRIAL: Duration = Duration::from_secs(10);

/// What becomes of records of the topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    Acknowledges,
    /// Records are sent, and nothing comes back.
    IsMute,
    /// There are no records, and the connection stands.
    HasNothingToSend,
    Forbids,
    IsDown,
}

pub struct World {
    pub files: SimulatedFiles,
    pub remote: Remote,
    /// Whether the local configuration can be loaded.
    pub is_local_good: bool,
    pub network: Network,
    /// Whether reports are acknowledged while the connection stands.
    pub acknowledges_reports: bool,
    pub now: Instant,
    /// `None` while there is no process.
    pub keeper: Option<Keeper>,
    /// What the bridge runs with, over the local configuration.
    pub running: Option<Option<Wish>>,
    /// What the shadow desires.
    pub desired: State,
    pub steps: Vec<String>,
    pub reports: Vec<Outcome>,
    pub ended: Vec<(String, Outcome)>,
    /// Sections that a check has found right.
    pub checked: BTreeSet<String>,
    /// Sections of which something was acknowledged, and with which the process has lived.
    pub proven: BTreeSet<String>,
    /// What was put in force on trial, each time, without processes that were stopped in an orderly way.
    pub tries: Vec<String>,
    /// Seeds what a power cut leaves.
    pub seed: u64,
}

/// The process has ended.
struct Ended;

impl World {
    /// A robot without a past, that has started.
    pub fn new() -> World {
        let remote =
            Remote { shadow: "iot-bridge".to_owned(), allow: vec![Section::Topics], confirm: CONFIRM, jobs: true };
        let mut world = World {
            files: SimulatedFiles::new(),
            remote,
            is_local_good: true,
            network: Network::Acknowledges,
            acknowledges_reports: true,
            now: Instant::now(),
            keeper: None,
            running: None,
            desired: State::new(),
            steps: Vec::new(),
            reports: Vec::new(),
            ended: Vec::new(),
            checked: BTreeSet::new(),
            proven: BTreeSet::new(),
            tries: Vec::new(),
            seed: 0,
        };
        world.start();
        world
    }

    fn store(&self) -> Store {
        Store::on(Arc::new(self.files.clone()), PathBuf::from("/state"))
    }

    /// What the disk holds.
    pub fn on_disk(&self) -> crate::remote::store::Kept {
        self.store().look().unwrap()
    }

    pub fn keeper(&mut self) -> &mut Keeper {
        self.keeper.as_mut().expect("the process runs")
    }

    /// The version in force; `None` for the local configuration.
    pub fn version(&self) -> Option<&str> {
        let running = self.running.as_ref().expect("something is in force");
        let in_force = self.keeper.as_ref().unwrap().in_force();
        assert_eq!(sections(running.as_ref()), sections(in_force), "the keeper knows what is in force");
        in_force.map(|wish| wish.version.as_str())
    }

    /// A process starts, if none runs, and goes on until nothing is left to do. What ends it is started again, as systemd does.
    pub fn start(&mut self) {
        let mut starts = 0;
        while self.keeper.is_none() {
            starts += 1;
            assert!(starts < 10, "it can't be started: {:#?}", self.steps);
            let found = self.store().open();
            assert_eq!(found.problem, None);
            self.steps.push("start".to_owned());
            self.keeper = Some(Keeper::start(found.kept, &self.remote, self.now));
            self.turn();
            if self.keeper.as_ref().is_some_and(|keeper| !keeper.is_running()) {
                assert!(!self.is_local_good, "without a configuration: {:#?}", self.steps);
                self.kill();
                return;
            }
        }
    }

    /// Carries out what is to be done.
    pub fn turn(&mut self) {
        while let Some(keeper) = &mut self.keeper {
            let Some(step) = keeper.next(self.now) else {
                // Otherwise whoever runs it never rests.
                assert!(keeper.wake_at().is_none_or(|at| at > self.now), "{keeper:#?}, {:#?}", self.steps);
                return;
            };
            assert!(self.steps.len() < 10_000, "it does not come to an end");
            if self.carry_out(step).is_err() {
                return;
            }
        }
    }

    fn carry_out(&mut self, step: Step) -> Result<(), Ended> {
        let now = self.now;
        match step {
            Step::Check(wish) => {
                self.steps.push(format!("check {}", name(wish.as_ref())));
                if does(wish.as_ref(), "/poisonous") {
                    self.kill();
                    return Err(Ended);
                }
                let result = self.load(wish.as_ref(), "/invalid");
                if result.is_ok() {
                    self.checked.insert(sections(wish.as_ref()));
                }
                self.keeper().checked(result, now);
            }
            Step::Keep(kept) => {
                let trial = kept.trial.as_ref().map_or("", |_| " on trial");
                self.steps.push(format!("keep{trial}"));
                let result = self.store().keep(&kept);
                if self.files.list("").is_err() {
                    self.cut_power();
                    return Err(Ended);
                }
                self.keeper().kept(result, now);
            }
            Step::Apply(wish) => {
                self.steps.push(format!("apply {}", name(wish.as_ref())));
                self.check_before(wish.as_ref());
                if does(wish.as_ref(), "/deadly") {
                    self.kill();
                    return Err(Ended);
                }
                let result = self.load(wish.as_ref(), "/invalid").and_then(|()| self.load(wish.as_ref(), "/unfit"));
                match (&result, wish) {
                    (Ok(()), wish) => self.running = Some(wish),
                    // It is rejected, and begins anew when it can be loaded.
                    (Err(_), Some(wish)) => self.tries.retain(|tried| *tried != key(&wish)),
                    (Err(_), None) => {}
                }
                self.keeper().applied(result, now);
            }
            Step::Report(outcome) => {
                self.steps.push(format!("report {}", outcome.state.name()));
                self.reports.push(outcome.clone());
                if self.acknowledges_reports && self.network != Network::IsDown {
                    let keeper = self.keeper();
                    keeper.report_acked(&outcome, now);
                    let has_passed = keeper.trial().is_some_and(|trial| trial.has_passed(now));
                    let on_trial = has_passed.then(|| sections(keeper.in_force()));
                    self.proven.extend(on_trial);
                }
            }
            Step::Job { id, outcome } => {
                self.steps.push(format!("job {}", outcome.state.name()));
                self.ended.push((id, outcome));
            }
        }
        Ok(())
    }

    /// What has to be true before something is put in force.
    fn check_before(&mut self, wish: Option<&Wish>) {
        let Some(wish) = wish else { return };
        let what = sections(Some(wish));
        assert!(self.checked.contains(&what), "never checked: {what}, {:#?}", self.steps);
        if self.proven.contains(&what) {
            return;
        }
        // Whatever becomes of the power: it is known that it is on trial.
        for seed in 0..4 {
            let files = Arc::new(self.files.after_power_cut(seed));
            let kept = Store::on(files, PathBuf::from("/state")).look().unwrap();
            let trying = kept.trial.unwrap_or_else(|| panic!("not kept: {what}, {:#?}", self.steps));
            assert_eq!((&trying.wish, trying.attempts > 0), (wish, true), "{:#?}", self.steps);
        }
        let key = key(wish);
        let tries = self.tries.iter().filter(|tried| **tried == key).count() + 1;
        self.tries.push(key);
        assert!(tries <= 2, "tried {tries} times: {what}, {:#?}", self.steps);
    }

    fn forget_try(&mut self, key: &str) {
        if let Some(place) = self.tries.iter().rposition(|tried| tried == key) {
            self.tries.remove(place);
        }
    }

    /// Loads a configuration, in which `fault` is one.
    fn load(&self, wish: Option<&Wish>, fault: &str) -> Result<(), Vec<String>> {
        if !self.is_local_good {
            return Err(vec!["config.toml is wrong.".to_owned()]);
        }
        if does(wish, fault) { Err(vec![format!("topics[0].ros is {fault}.")]) } else { Ok(()) }
    }

    /// The process ends, and nothing else does.
    pub fn kill(&mut self) {
        self.steps.push("killed".to_owned());
        (self.keeper, self.running) = (None, None);
        self.files = self.files.after_kill();
    }

    /// The power goes.
    pub fn cut_power(&mut self) {
        self.steps.push("power cut".to_owned());
        (self.keeper, self.running) = (None, None);
        self.seed += 1;
        self.files = self.files.after_power_cut(self.seed);
    }

    /// The process stops in an orderly way.
    pub fn stop(&mut self) {
        if let Some(keeper) = &mut self.keeper {
            let attempts = keeper.kept.trial.as_ref().map_or(0, |trying| trying.attempts);
            keeper.stopping();
            let on_trial = keeper.trial().and(keeper.in_force()).map(key);
            let operations = self.files.operations();
            self.turn();
            let is_of = |wish: &Wish| Some(key(wish)) == on_trial;
            let is_kept = match &self.keeper {
                Some(_) => self.files.operations() > operations,
                // The power has gone meanwhile, before it was kept or after.
                None => self.on_disk().trial.is_some_and(|trying| is_of(&trying.wish) && trying.attempts < attempts),
            };
            if let Some(key) = on_trial.filter(|_| is_kept) {
                self.forget_try(&key);
            }
        }
        if self.keeper.is_some() {
            self.kill();
        }
    }

    /// The shadow desires this from now on, and the robot hears it.
    pub fn desire(&mut self, desired: Value) {
        self.desired = desired.as_object().unwrap().clone();
        self.hear();
    }

    /// The shadow is asked for.
    pub fn hear(&mut self) {
        let (now, desired) = (self.now, self.desired.clone());
        if let Some(keeper) = &mut self.keeper {
            keeper.desired(&desired, now);
        }
        self.turn();
    }

    pub fn job(&mut self, id: &str, document: Value) {
        let job = Job { id: id.to_owned(), document: document.as_object().unwrap().clone() };
        let now = self.now;
        if let Some(keeper) = &mut self.keeper {
            keeper.job(job, now);
        }
        self.turn();
    }

    /// The local files are read anew.
    pub fn reload(&mut self) {
        let Some(keeper) = &mut self.keeper else { return };
        let wish = keeper.in_force().filter(|wish| wish.is_allowed(&self.remote.allow)).cloned();
        if self.is_local_good && !does(wish.as_ref(), "/unfit") {
            self.running = Some(wish);
            let (remote, now) = (self.remote.clone(), self.now);
            self.keeper().reloaded(&remote, now);
        }
        self.turn();
    }

    /// So much time passes, and each second it is looked at what is on trial.
    pub fn wait(&mut self, time: Duration) {
        for _ in 0..time.as_secs() {
            self.now += Duration::from_secs(1);
            self.look();
            self.turn();
            let began = self.keeper.as_ref().and_then(|keeper| Some(keeper.trial()?.began()));
            if began.is_some_and(|began| self.now >= began + Duration::from_secs(5))
                && does(self.keeper().in_force(), "/fragile")
            {
                self.kill();
            }
        }
    }

    fn look(&mut self) {
        let (network, now) = (self.network, self.now);
        let Some(keeper) = &mut self.keeper else { return };
        let Some(trial) = keeper.trial() else { return };
        let topic = |had_record, is_acknowledged, is_forbidden| TopicEvidence {
            name: "/odom".to_owned(),
            had_record,
            is_acknowledged,
            is_forbidden,
        };
        let evidence = Evidence {
            began: trial.began(),
            is_connected: network != Network::IsDown,
            topics: vec![match network {
                Network::Acknowledges => topic(true, true, false),
                Network::IsMute | Network::IsDown => topic(true, false, false),
                Network::HasNothingToSend => topic(false, false, false),
                Network::Forbids => topic(true, false, true),
            }],
        };
        let (on_trial, was_proven) = (sections(keeper.in_force()), trial.is_proven());
        keeper.evidence(&evidence, now);
        let is_proven = keeper.trial().is_some_and(|trial| trial.is_proven());
        assert_eq!(is_proven, was_proven || network == Network::Acknowledges, "{:#?}", self.steps);
        if keeper.trial().is_some_and(|trial| trial.has_passed(now)) {
            self.proven.insert(on_trial);
        }
    }
}

/// A desired state with one topic of this name.
pub fn wish(version: &str, topic: &str) -> Value {
    json!({"version": version, "config": {"topics": [{"ros": topic}]}})
}

/// The document of a job that wishes the same.
pub fn document(version: &str, topic: &str) -> Value {
    json!({"operation": "iot-bridge/config", "version": version, "config": {"topics": [{"ros": topic}]}})
}

fn name(wish: Option<&Wish>) -> String {
    wish.map_or("local".to_owned(), |wish| wish.version.clone())
}

/// What a wish is known by.
pub fn key(wish: &Wish) -> String {
    format!("{} {:?} {}", wish.version, wish.by, sections(Some(wish)))
}

pub fn sections(wish: Option<&Wish>) -> String {
    wish.map_or(String::new(), |wish| serde_json::to_string(&wish.sections).unwrap())
}

fn does(wish: Option<&Wish>, what: &str) -> bool {
    sections(wish).contains(what)
}
