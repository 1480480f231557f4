//! Configuration from the cloud, in the running bridge.
//!
//! ```text
//!  thread requests ── FromCloud ──► Keeping ──► Reload ──► the bridge's loop, as for SIGHUP
//!                  ◄── ToCloud ────    │  ▲
//!                             the disk ┘  └ Witness: what the broker has acknowledged
//! ```
//!
//! [`Keeper`] decides; here its steps are carried out, one after the other. What waits for the disk or reads files is done by
//! tokio's blocking threads. Whoever reloads comes this way, SIGHUP too: files that have changed come into force with what the
//! cloud has set over them.

mod loading;
mod running;
mod telling;
mod witness;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::Signal;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{sleep_until, timeout};

use super::{Begun, Reload};
use crate::health::{ConfigurationState, Refusal, logging, systemd};
use iot_bridge_core::config::{self, Loaded, Problems, Settings};
use iot_bridge_core::provisioning;
use iot_bridge_core::queue::Mark;
use iot_bridge_core::remote::store::Kept;
use iot_bridge_core::remote::{Figures, Job, Keeper, Outcome, Step, Store, Wish};
use iot_bridge_core::shadows::State;

pub use loading::{Compare, Load, reloaded};
use loading::{Memory, Remembered, check, load, overlay};
pub(super) use running::Running;
use telling::Telling;
use witness::Witness;

/// How often it is looked whether what is on trial works.
const LOOK: Duration = Duration::from_millis(500);

/// How often the figures for the fleet's index are made. They are reported far more seldom.
const FIGURES: Duration = Duration::from_secs(30);

/// How long the ROS thread may take to go by another configuration. It does so between two messages.
const BEGINS: Duration = Duration::from_secs(5);

/// Longest wait for what is kept, when the bridge stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// What has come from the cloud.
#[derive(Debug)]
pub(super) enum FromCloud {
    /// All that is desired; empty, if nothing is.
    Desired(State),
    /// The shadow holds this.
    Reported(Outcome),
    Job(Job),
}

/// What the cloud is to be told.
#[derive(Debug)]
pub(super) enum ToCloud {
    /// With the digest of the configuration in force.
    Report(Outcome, String),
    Figures(Figures),
    /// What has become of the job of this id.
    Job(String, Outcome),
}

/// The way between the keeper and the thread `requests`: the thread's end.
#[derive(Debug)]
pub(super) struct Desk {
    pub from_cloud: mpsc::UnboundedSender<FromCloud>,
    pub to_cloud: mpsc::UnboundedReceiver<ToCloud>,
    /// Wakes the thread.
    pub waker: Arc<Notify>,
}

/// The keeper's end.
#[derive(Debug)]
pub(super) struct Counter {
    from_cloud: mpsc::UnboundedReceiver<FromCloud>,
    to_cloud: mpsc::UnboundedSender<ToCloud>,
    waker: Arc<Notify>,
}

/// Both ends. What waits is bounded by the shadow's manners: it is asked for what is desired, and says nothing unasked.
pub(super) fn desk() -> (Desk, Counter) {
    let (from_cloud, to_keeper) = mpsc::unbounded_channel();
    let (to_requests, to_cloud) = mpsc::unbounded_channel();
    let waker = Arc::new(Notify::new());
    let counter = Counter { from_cloud: to_keeper, to_cloud: to_requests, waker: Arc::clone(&waker) };
    (Desk { from_cloud, to_cloud, waker }, counter)
}

/// Keeps the configuration from the cloud.
pub struct Keeping {
    keeper: Keeper,
    store: Arc<Store>,
    load: Load,
    compare: Compare,
    telling: Telling,
    /// Of the configuration in force.
    digest: String,
    memory: Memory,
    /// What is still to be told to the cloud.
    to_cloud: Vec<ToCloud>,
    /// The first configuration of the process is loaded, and the keeper not told yet that it is in force.
    is_starting: bool,
    /// The last report since the trial has begun, if there is one.
    of_trial: Option<Outcome>,
    /// When it is looked next at what is on trial, and at the figures.
    look_at: Instant,
}

/// Whether the keeping goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    NotYet,
    /// Somebody has asked the process to stop: that says nothing of what is on trial.
    Asked,
    /// A part of the bridge has died. What is on trial may be the reason: that counts as a crash does.
    Died,
}

/// What the keeping is wired to.
struct Wires {
    counter: Counter,
    witness: Witness,
    configuration: Arc<ConfigurationState>,
    /// Ends it.
    stop: watch::Receiver<Stop>,
}

/// What tells of reloads, and is told of them.
pub struct Reloading {
    pub hang_up: Signal,
    pub reloads: mpsc::Sender<Reload>,
}

/// The process is to stop.
struct Stopped;

impl Keeping {
    /// What is in force as the process starts, and who goes on with it: what `store` has kept, over the local configuration; the
    /// `local` one alone if nothing is or that can't be. It waits for the disk.
    pub fn start(
        local: Loaded,
        remote: &config::Remote,
        store: Store,
        load: Load,
        compare: Compare,
    ) -> (Keeping, Settings) {
        let found = store.open();
        if let Some(problem) = found.problem {
            tracing::error!("{problem}");
        }
        let keeper = Keeper::start(found.kept, remote, Instant::now());
        let (telling, digest) = (Telling::new(remote), local.digest.clone());
        let store = Arc::new(store);
        let (to_cloud, is_starting) = (Vec::new(), false);
        let (memory, of_trial, look_at) = (Memory::of(&local), None, Instant::now());
        let mut keeping =
            Keeping { keeper, store, load, compare, telling, digest, memory, to_cloud, is_starting, of_trial, look_at };
        while let Some(step) = keeping.keeper.next(Instant::now()) {
            match step {
                Step::Check(wish) => {
                    let result = check(&keeping.load, compare, &keeping.telling.shadow, wish.as_ref());
                    keeping.keeper.checked(result, Instant::now());
                }
                Step::Keep(kept) => {
                    let result = keep(&keeping.store, &kept);
                    keeping.keeper.kept(result, Instant::now());
                }
                Step::Apply(wish) => match keeping.loaded(wish.as_ref()) {
                    Ok(loaded) => {
                        keeping.memory.remember(wish.as_ref(), (&loaded).into());
                        keeping.digest = loaded.digest;
                        // It is in force once the bridge runs: until then nothing can be acknowledged.
                        keeping.is_starting = true;
                        return (keeping, loaded.settings);
                    }
                    Err(problems) => keeping.keeper.applied(Err(problems), Instant::now()),
                },
                Step::Report(outcome) => keeping.report(outcome),
                Step::Job { id, outcome } => keeping.to_cloud.push(ToCloud::Job(id, outcome)),
            }
        }
        (keeping, local.settings)
    }

    fn loaded(&self, wish: Option<&Wish>) -> Result<Loaded, Vec<String>> {
        load(&self.load, &self.telling.shadow, wish)
    }

    /// This is to be reported.
    fn report(&mut self, outcome: Outcome) {
        self.telling.log(&outcome, &self.keeper);
        self.of_trial = self.keeper.trial().map(|_| outcome.clone());
        self.to_cloud.push(ToCloud::Report(outcome, self.digest.clone()));
    }

    /// The bridge runs with what it was started with: from now on it is on trial, if it is.
    fn begin(&mut self, configuration: &ConfigurationState) {
        if std::mem::take(&mut self.is_starting) {
            self.keeper.applied(Ok(()), Instant::now());
            self.telling.begun(self.keeper.in_force(), self.keeper.trial());
        }
        self.telling.show(&self.keeper, configuration);
    }

    /// Carries out what the keeper says, until `wires.stop` says that the process ends. The attempt with what is on trial is
    /// taken back if the process was asked to, and only then.
    async fn run(mut self, mut reloading: Reloading, mut wires: Wires) {
        while self.turn(&mut reloading, &mut wires).await.is_ok() {}
        if *wires.stop.borrow() == Stop::Asked {
            self.leave().await;
        }
    }

    /// The process ends before the bridge runs, for a reason that has nothing to do with what is on trial: nothing of that
    /// was looked at. What crashes the process before it runs counts.
    pub(super) async fn abandon(mut self) {
        let _ = timeout(STOP_TIMEOUT, self.leave()).await;
    }

    /// Takes back the attempt that is counted against what is on trial.
    async fn leave(&mut self) {
        self.keeper.stopping();
        while let Some(step) = self.keeper.next(Instant::now()) {
            if let Step::Keep(kept) = step {
                let result = self.keep(kept).await;
                self.keeper.kept(result, Instant::now());
            }
        }
    }

    /// Carries out all steps of the moment, and waits for what comes next.
    async fn turn(&mut self, reloading: &mut Reloading, wires: &mut Wires) -> Result<(), Stopped> {
        while let Some(step) = self.keeper.next(Instant::now()) {
            self.carry_out(step, &reloading.reloads, wires).await?;
        }
        if let Some(outcome) = self.keeper.outcome() {
            self.telling.log(outcome, &self.keeper);
        }
        self.telling.show(&self.keeper, &wires.configuration);
        for order in self.to_cloud.drain(..) {
            // An error means that the thread of requests is gone, which is found out elsewhere.
            let _ = wires.counter.to_cloud.send(order);
            wires.counter.waker.notify_one();
        }
        let now = Instant::now();
        if now >= self.look_at {
            // However many events there are.
            self.look(wires);
            self.look_at = now + if self.keeper.trial().is_some() { LOOK } else { FIGURES };
            return Ok(());
        }
        if self.keeper.trial().is_some() {
            self.look_at = self.look_at.min(now + LOOK);
        }
        let wake_at = self.keeper.wake_at().map_or(self.look_at, |at| at.min(self.look_at));
        let event = tokio::select! {
            biased;
            () = stopped(&mut wires.stop) => return Err(Stopped),
            Some(()) = reloading.hang_up.recv() => None,
            Some(event) = wires.counter.from_cloud.recv() => Some(event),
            () = sleep_until(wake_at.into()) => return Ok(()),
        };
        match event {
            Some(event) => self.heard(event),
            None => self.reload(&reloading.reloads, wires).await?,
        }
        Ok(())
    }

    /// Looks at what has become of what is on trial.
    fn look(&mut self, wires: &mut Wires) {
        if let Some(trial) = self.keeper.trial() {
            let sets_topics = self.keeper.in_force().is_some_and(|wish| wish.sections.contains_key("topics"));
            let evidence = wires.witness.evidence(trial.began(), sets_topics);
            self.keeper.evidence(&evidence, Instant::now());
        }
        self.to_cloud.extend(wires.witness.figures(Instant::now()).map(ToCloud::Figures));
    }

    fn heard(&mut self, event: FromCloud) {
        let now = Instant::now();
        match event {
            FromCloud::Desired(desired) => {
                self.telling.heard(&desired);
                self.keeper.desired(&desired, now);
            }
            FromCloud::Reported(outcome) => self.keeper.report_acked(&outcome, now),
            FromCloud::Job(job) => self.keeper.job(job, now),
        }
    }

    async fn carry_out(
        &mut self,
        step: Step,
        reloads: &mpsc::Sender<Reload>,
        wires: &mut Wires,
    ) -> Result<(), Stopped> {
        match step {
            Step::Check(wish) => {
                let (how, compare, shadow) = (Arc::clone(&self.load), self.compare, self.telling.shadow.clone());
                let result = beside(move || check(&how, compare, &shadow, wish.as_ref()), wires).await?;
                self.keeper.checked(result, Instant::now());
            }
            Step::Keep(kept) => {
                self.memory.forget_others(&kept);
                let result = self.keep(kept).await;
                self.keeper.kept(result, Instant::now());
            }
            Step::Apply(wish) => {
                let (how, shadow, wished) = (Arc::clone(&self.load), self.telling.shadow.clone(), wish.clone());
                let result = match beside(move || load(&how, &shadow, wished.as_ref()), wires).await? {
                    Ok(loaded) => self.put_in_force(wish.as_ref(), (&loaded).into(), reloads, wires).await?,
                    Err(problems) => Err(problems),
                };
                let result = match result {
                    Ok(()) => Ok(()),
                    Err(problems) => self.bring_back(wish.as_ref(), problems, reloads, wires).await?,
                };
                let is_applied = result.is_ok();
                self.telling.is_stuck = !is_applied && wish.is_none();
                self.keeper.applied(result, Instant::now());
                if is_applied {
                    self.of_trial = None;
                    self.telling.begun(self.keeper.in_force(), self.keeper.trial());
                }
            }
            Step::Report(outcome) => self.report(outcome),
            Step::Job { id, outcome } => self.to_cloud.push(ToCloud::Job(id, outcome)),
        }
        Ok(())
    }

    /// Has the bridge go by `loaded`, which is the local configuration with `wish` over it.
    async fn put_in_force(
        &mut self,
        wish: Option<&Wish>,
        loaded: Remembered,
        reloads: &mpsc::Sender<Reload>,
        wires: &mut Wires,
    ) -> Result<Result<(), Vec<String>>, Stopped> {
        logging::warnings(&loaded.settings);
        let applied = apply(Ok(loaded.settings.clone()), true, reloads, wires).await?;
        Ok(applied.map(|mark| {
            self.digest.clone_from(&loaded.digest);
            self.memory.remember(wish, loaded);
            wires.witness.since(mark);
        }))
    }

    /// What the files of today do not do for, because of `problems`, comes back as it was in force, if it was.
    async fn bring_back(
        &mut self,
        wish: Option<&Wish>,
        problems: Vec<String>,
        reloads: &mpsc::Sender<Reload>,
        wires: &mut Wires,
    ) -> Result<Result<(), Vec<String>>, Stopped> {
        let Some(mut before) = self.memory.recall(wish) else { return Ok(Err(problems)) };
        let named = beside(
            move || {
                // It may have got its name since.
                provisioning::identify(&mut before.settings.aws);
                Ok(before)
            },
            wires,
        );
        let result = match named.await? {
            Ok(before) => self.put_in_force(wish, before, reloads, wires).await?,
            Err(problems) => Err(problems),
        };
        if result.is_ok() {
            let why = problems.join(" ");
            tracing::warn!(
                "The configuration that comes back can't be put in force as the files are now: {why} It is as it was."
            );
        }
        // What is wrong with the files is what can be mended.
        Ok(result.map_err(|_| problems))
    }

    /// Writes `kept` to the disk. It is waited for, also if the process stops meanwhile.
    async fn keep(&self, kept: Box<Kept>) -> Result<(), String> {
        let store = Arc::clone(&self.store);
        spawn_blocking(move || keep(&store, &kept)).await.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// Reads the local configuration anew, with what is in force from the cloud over it, as SIGHUP asks for.
    async fn reload(&mut self, reloads: &mpsc::Sender<Reload>, wires: &mut Wires) -> Result<(), Stopped> {
        systemd::reloading();
        let (how, shadow) = (Arc::clone(&self.load), self.telling.shadow.clone());
        let wish = self.keeper.in_force().cloned();
        let loading = spawn_blocking(move || {
            let local = how(None)?;
            let remote = local.settings.remote.clone();
            let is_allowed = |wish: &Wish| remote.as_ref().is_some_and(|remote| wish.is_allowed(&remote.allow));
            let wish = wish.filter(is_allowed);
            let before = Remembered::from(&local);
            let loaded = wish.as_ref().map_or(Ok(local), |wish| how(Some(&overlay(wish, &shadow))))?;
            Ok::<_, Problems>((before, wish, loaded, remote))
        });
        match reloaded(loading.await) {
            Ok((local, wish, loaded, remote)) => {
                logging::warnings(&loaded.settings);
                let loaded = Remembered::from(&loaded);
                if apply(Ok(loaded.settings.clone()), false, reloads, wires).await?.is_ok() {
                    self.digest.clone_from(&loaded.digest);
                    self.memory.remember(None, local);
                    self.memory.remember(wish.as_ref(), loaded);
                    let nothing = || config::Remote { allow: Vec::new(), ..self.telling.remote.clone() };
                    let remote = remote.unwrap_or_else(nothing);
                    self.keeper.reloaded(&remote, Instant::now());
                    self.telling.remote = remote;
                    // The configuration has another hash. What is on trial is reported when the keeper says so: its report may
                    // be what confirms it, and another would take its place.
                    let is_trial = self.keeper.trial().is_some();
                    let outcome = if is_trial { self.of_trial.clone() } else { self.keeper.outcome().cloned() };
                    self.to_cloud.extend(outcome.map(|outcome| ToCloud::Report(outcome, self.digest.clone())));
                }
            }
            // The bridge shows it.
            Err(refusal) => _ = apply(Err(refusal), false, reloads, wires).await?,
        }
        Ok(())
    }
}

/// Ends when the process is to stop.
async fn stopped(stop: &mut watch::Receiver<Stop>) {
    // Without a sender it is to stop as well.
    let _ = stop.wait_for(|stop| *stop != Stop::NotYet).await;
}

/// Has the bridge put `settings` in force. Returns the moment from which on records go by them.
async fn apply(
    settings: Result<Settings, Refusal>,
    is_from_cloud: bool,
    reloads: &mpsc::Sender<Reload>,
    wires: &mut Wires,
) -> Result<Result<Mark, Vec<String>>, Stopped> {
    let (answer, answered) = oneshot::channel();
    let reload = Reload { settings, is_from_cloud, answer };
    let applying = async {
        reloads.send(reload).await.map_err(|_| Stopped)?;
        match answered.await.map_err(|_| Stopped)? {
            // The watchdog has an eye on the ROS thread.
            Ok(Begun { since }) => Ok(Ok(timeout(BEGINS, since).await.ok().and_then(Result::ok))),
            Err(refusal) => Ok(Err(vec![refusal.first])),
        }
    };
    let applied = tokio::select! {
        biased;
        () = stopped(&mut wires.stop) => return Err(Stopped),
        applied = applying => applied?,
    };
    Ok(applied.map(|mark| mark.unwrap_or_else(|| wires.witness.now())))
}

fn keep(store: &Store, kept: &Kept) -> Result<(), String> {
    store.keep(kept).map_err(|error| error.to_string())
}

/// What `work` returns, which tokio's blocking threads do.
async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Vec<String>> + Send + 'static,
    wires: &mut Wires,
) -> Result<Result<T, Vec<String>>, Stopped> {
    let working = spawn_blocking(work);
    tokio::select! {
        biased;
        () = stopped(&mut wires.stop) => Err(Stopped),
        done = working => Ok(done.unwrap_or_else(|error| Err(vec![format!("it could not be read: {error}")]))),
    }
}

#[cfg(test)]
mod tests;
