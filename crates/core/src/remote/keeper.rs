//! Decides what is in force. The documentation of [`remote`](super) has the way of a wish, and an example.

mod asked;
mod moves;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::store::Kept;
use super::trial::Judgement;
use super::{By, Evidence, Job, Outcome, Trial, Verdict, Wish};
use crate::config::{Remote, Section};
use crate::shadows::State;
use asked::Asked;

/// In how many processes something is checked, or on trial, before it is given up because they have ended meanwhile.
const MOST_ATTEMPTS: u32 = 2;

/// What could not be kept is written again after this time.
const WRITE_AGAIN: Duration = Duration::from_secs(60);

/// What could not be put in force, though it is the way back, is tried again after this time.
const GO_BACK_AGAIN: Duration = Duration::from_secs(60);

/// After a wish of the shadow that has taken the place of what was on trial, the next is taken up after this time; each time
/// after twice as long, until something is confirmed.
const SHORTEST_PAUSE: Duration = Duration::from_secs(10);

/// The longest of these times.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What was rejected because it could not be kept is tried again after this time.
const TRY_AGAIN: Duration = Duration::from_secs(600);

/// While something is on trial evidence is due in this time.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why something is in force no more.
const NOT_ALLOWED: &str = "remote.allow does not have all of its sections any more.";

/// What is to be done. [`Step::Check`], [`Step::Keep`] and [`Step::Apply`] are answered before anything else is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Load the local configuration with this over it (`None`: alone), as `check` does, and change nothing. Answer:
    /// [`Keeper::checked`].
    Check(Option<Wish>),
    /// Write it to the disk, durably. Answer: [`Keeper::kept`].
    Keep(Box<Kept>),
    /// Load the local configuration with this over it (`None`: alone) and put it in force, as a reload does; at the start
    /// of the process, start with it. Answer: [`Keeper::applied`].
    Apply(Option<Wish>),
    /// Report this to the shadow, unless that holds it already; what was to be reported before is not any more. No answer,
    /// but [`Keeper::report_acked`] when the shadow holds it.
    Report(Outcome),
    /// The job of this id has ended: tell the Jobs service, until that has said something. No answer.
    Job { id: String, outcome: Outcome },
}

/// The configuration from the cloud: what is desired, on trial, in force.
#[derive(Debug)]
pub struct Keeper {
    /// The time that was handed in last.
    now: Instant,
    allow: Vec<Section>,
    confirm: Duration,
    /// What the disk is to hold.
    kept: Kept,
    /// What it does hold, unless that is not known.
    written: Option<Kept>,
    /// When it is written again.
    write_at: Option<Instant>,
    running: Running,
    trial: Option<Trial>,
    /// What is confirmed can't be loaded over the local configuration of today.
    is_unusable: bool,
    /// When the way back is tried again.
    back_at: Option<Instant>,
    /// What was desired and is still to be taken up, in the order in which it came: at most one of the shadow.
    waiting: VecDeque<Asked>,
    /// What is to be taken up again then.
    again: Option<(Asked, Instant)>,
    pause: Pause,
    /// The step to be handed out, after which `awaited` is answered.
    step: Option<Step>,
    awaited: Option<Awaited>,
    /// What is reported of what was desired last.
    outcome: Option<Outcome>,
    /// A report that is still to be handed out.
    report: Option<Outcome>,
    /// The last that was handed out.
    reported: Option<Outcome>,
    /// By their ids, of which that is still to be told.
    ended_jobs: BTreeMap<String, Outcome>,
    is_stopping: bool,
}

/// What is in force.
#[derive(Debug, Clone, PartialEq)]
enum Running {
    /// The process starts.
    Nothing,
    /// The local configuration, alone or with a wish over it.
    Over(Option<Wish>),
}

/// What the answer that is awaited is of.
#[derive(Debug)]
enum Awaited {
    /// At the start: that something is tried once more.
    Counted,
    /// That something is being checked.
    Noted {
        asked: Asked,
        wish: Option<Wish>,
        before: Before,
    },
    Checked {
        asked: Asked,
        wish: Option<Wish>,
    },
    /// That something is taken up.
    Taken {
        asked: Asked,
        wish: Option<Wish>,
        before: Before,
    },
    /// Of what is new, on trial or, as it is proven, not.
    InForce {
        wish: Option<Wish>,
        before: Before,
    },
    Confirmed,
    /// What may be kept later as well. What is in force is seen to next.
    Settled,
    /// Of the way back, or of what a start begins with.
    Back(Option<Wish>),
}

/// How it was before something was taken up.
#[derive(Debug)]
struct Before {
    kept: Box<Kept>,
    trial: Option<Trial>,
    pause: Pause,
}

/// How long the shadow has to wait.
#[derive(Debug, Clone, Copy, Default)]
struct Pause {
    /// The last time.
    length: Duration,
    /// Until then no wish of it is taken up, nor what came after that.
    until: Option<Instant>,
}

impl Pause {
    /// The one after it, which begins.
    fn longer(self, now: Instant) -> Pause {
        let length = (2 * self.length).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        Pause { length, until: Some(now + length) }
    }
}

impl Keeper {
    /// With what was kept before. Nothing is in force yet: the first steps put something in force.
    pub fn start(kept: Kept, remote: &Remote, now: Instant) -> Keeper {
        let mut kept = kept;
        if kept.shadow != remote.shadow {
            kept.forget_the_shadow();
            kept.shadow.clone_from(&remote.shadow);
        }
        if kept.checking.is_none() && kept.refused.as_ref().is_some_and(Outcome::may_be_mended) {
            // Another program, or other local files, may take it.
            kept.desired = None;
        }
        let mut keeper = Keeper {
            now,
            allow: remote.allow.clone(),
            confirm: remote.confirm,
            written: Some(kept.clone()),
            kept,
            write_at: None,
            running: Running::Nothing,
            trial: None,
            is_unusable: false,
            back_at: None,
            waiting: VecDeque::new(),
            again: None,
            pause: Pause::default(),
            step: None,
            awaited: None,
            outcome: None,
            report: None,
            reported: None,
            ended_jobs: BTreeMap::new(),
            is_stopping: false,
        };
        match &mut keeper.kept.trial {
            None => keeper.settle(),
            Some(trying) if !trying.wish.is_allowed(&remote.allow) => {
                keeper.end_trial(Verdict::Rejected, NOT_ALLOWED.to_owned());
                keeper.write(Awaited::Settled);
            }
            Some(trying) if trying.attempts >= MOST_ATTEMPTS => {
                let times = trying.attempts;
                keeper.end_trial(
                    Verdict::RolledBack,
                    format!("The process ended {times} times while this was in force, before it was confirmed."),
                );
                keeper.write(Awaited::Settled);
            }
            Some(trying) => {
                trying.attempts += 1;
                keeper.write(Awaited::Counted);
            }
        }
        keeper
    }

    /// What is to be done now; `None` while an answer is awaited, or if there is nothing to do.
    ///
    /// At the start: until it says `None`. If no [`Step::Apply`] has gone well then, there is no
    /// configuration, and the local one is tried again later.
    pub fn next(&mut self, now: Instant) -> Option<Step> {
        self.now = now;
        if self.step.is_none() && self.awaited.is_none() && !self.is_stopping {
            if self.report.is_none() && self.ended_jobs.is_empty() {
                self.begin();
            }
            // What has just ended is told before anything else begins.
            if self.step.is_none() {
                return self.told();
            }
        }
        self.step.take()
    }

    /// What is to be told.
    fn told(&mut self) -> Option<Step> {
        if let Some(outcome) = self.report.take() {
            self.reported = Some(outcome.clone());
            return Some(Step::Report(outcome));
        }
        let (id, outcome) = self.ended_jobs.pop_first()?;
        Some(Step::Job { id, outcome })
    }

    /// Begins what is due, when nothing else is under way.
    fn begin(&mut self) {
        let now = self.now;
        if self.trial.as_ref().is_some_and(|trial| trial.has_passed(self.now)) {
            self.confirm();
            return self.write(Awaited::Confirmed);
        }
        if self.back_at.is_some_and(|at| at <= now) {
            self.is_unusable = false;
            self.settle();
        }
        if self.awaited.is_some() || !self.is_running() {
            return;
        }
        if let Some((asked, _)) = self.again.take_if(|(_, at)| *at <= now) {
            self.kept.desired = None;
            self.waiting.push_back(asked);
        }
        while !self.pauses()
            && let Some(asked) = self.waiting.pop_front()
        {
            self.take_up(asked);
            if self.awaited.is_some() {
                return;
            }
        }
        if self.write_at.is_some_and(|at| at <= now) {
            self.write(Awaited::Settled);
        }
    }

    /// When [`Keeper::next`] has something to do, or [`Keeper::evidence`] is due.
    pub fn wake_at(&self) -> Option<Instant> {
        let look = self.trial.as_ref().map(|trial| trial.looked() + LOOK_EVERY);
        // Without a configuration that comes first.
        let again = self.again.as_ref().map(|(_, at)| *at).filter(|_| self.is_running());
        let write = self.write_at.filter(|_| self.is_running());
        let pause = self.pause.until.filter(|_| self.is_running() && !self.waiting.is_empty());
        [look, again, write, pause, self.back_at].into_iter().flatten().min()
    }

    /// Whether what comes next has to wait because the shadow changes too often.
    fn pauses(&self) -> bool {
        self.waiting.front().is_some_and(|asked| asked.by() == By::Shadow)
            && self.pause.until.is_some_and(|until| until > self.now)
    }

    /// Whether anything is in force.
    fn is_running(&self) -> bool {
        self.running != Running::Nothing
    }

    /// What is in force over the local configuration. A reload because of local files loads them with this over them, if
    /// their `remote.allow` has its sections.
    pub fn in_force(&self) -> Option<&Wish> {
        match &self.running {
            Running::Over(wish) => wish.as_ref(),
            Running::Nothing => None,
        }
    }

    /// The trial of what is in force. [`Keeper::evidence`] is due each second while there is one.
    pub fn trial(&self) -> Option<&Trial> {
        self.trial.as_ref()
    }

    /// Whether what is confirmed is told to be so and not to be kept.
    fn complains(&self) -> bool {
        self.outcome.as_ref().is_some_and(|told| told.state == Verdict::Applied && !told.problems.is_empty())
    }

    /// What is reported of what was desired last; `None` as long as the first is on trial.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// The shadow has been asked for, and desires this: empty, if nothing or if there is no shadow.
    pub fn desired(&mut self, desired: &State, now: Instant) {
        self.now = now;
        let asked = Asked::of_shadow(desired);
        match &self.again {
            Some((again, _)) if *again == asked => self.waiting.retain(|asked| asked.by() != By::Shadow),
            _ => {
                self.again = None;
                // What waits already keeps its place before what came after it.
                if !self.waiting.contains(&asked) {
                    self.ask_for(asked);
                }
            }
        }
    }

    /// A job with a configuration is to be run, and the Jobs service knows that it is in progress. Not the next before the
    /// end of this one has been told. One that has ended is not run again: its end is told again.
    pub fn job(&mut self, job: Job, now: Instant) {
        self.now = now;
        self.ask_for(Asked::Job(job));
    }

    /// It is taken up after what has come before, in the place of what has come the same way.
    fn ask_for(&mut self, asked: Asked) {
        self.waiting.retain(|other| other.by() != asked.by());
        self.waiting.push_back(asked);
    }

    /// The answer to [`Step::Check`]: the problems, if there are any.
    pub fn checked(&mut self, result: Result<(), Vec<String>>, now: Instant) {
        self.now = now;
        match self.awaited.take() {
            Some(Awaited::Checked { asked, wish }) => match result {
                Ok(()) => self.take(asked, wish),
                Err(problems) => {
                    self.kept.checking = None;
                    self.refuse(asked.by(), wish.map(|wish| wish.version), problems);
                    self.write(Awaited::Settled);
                }
            },
            other => self.awaited = other,
        }
    }

    /// The answer to [`Step::Keep`]: why not, if it could not be kept.
    pub fn kept(&mut self, result: Result<(), String>, now: Instant) {
        self.now = now;
        if self.is_stopping {
            return;
        }
        self.write_at = result.is_err().then_some(now + WRITE_AGAIN);
        self.written = result.is_ok().then(|| self.kept.clone());
        match (self.awaited.take(), result) {
            (Some(Awaited::Counted), Ok(())) => {
                let kept = Box::new(Kept { trial: None, ..self.kept.clone() });
                let before = Before { kept, trial: None, pause: self.pause };
                let wish = self.kept.trial.as_ref().map(|trying| trying.wish.clone());
                self.ask(Step::Apply(wish.clone()), Awaited::InForce { wish, before });
            }
            (Some(Awaited::Counted), Err(reason)) => {
                let reason = format!("That it is tried once more could not be kept: {reason}.");
                self.end_trial(Verdict::RolledBack, reason);
                self.settle();
            }
            (Some(Awaited::Noted { asked, wish, .. }), Ok(())) => {
                self.ask(Step::Check(wish.clone()), Awaited::Checked { asked, wish });
            }
            (Some(Awaited::Taken { wish, before, .. }), Ok(())) => self.put_in_force(wish, before),
            (Some(Awaited::Noted { asked, wish, before } | Awaited::Taken { asked, wish, before }), Err(reason)) => {
                self.restore(before);
                self.refuse(
                    asked.by(),
                    wish.map(|wish| wish.version),
                    vec![format!("It could not be kept: {reason}.")],
                );
                // A job has failed with that.
                if let Asked::Shadow(desired) = &asked {
                    self.kept.desired = Some(desired.clone());
                    self.again = Some((asked, now + TRY_AGAIN));
                }
                self.settle();
            }
            (Some(Awaited::Confirmed), result) => {
                self.trial = None;
                if self.kept.refused.is_none() {
                    let problems =
                        result.err().map(|reason| format!("It is confirmed, and that could not be kept: {reason}."));
                    self.tell_applied(problems);
                }
            }
            (Some(Awaited::Settled), result) => {
                // What was told of a confirmation that could not be kept.
                if result.is_ok() && self.complains() {
                    self.tell_applied(None);
                }
                self.settle();
            }
            (other, _) => self.awaited = other,
        }
    }

    /// The answer to [`Step::Apply`]. After problems what was in force is.
    pub fn applied(&mut self, result: Result<(), Vec<String>>, now: Instant) {
        self.now = now;
        match (self.awaited.take(), result) {
            (Some(Awaited::InForce { wish, .. }), Ok(())) => self.is_in_force(wish),
            (Some(Awaited::InForce { wish, before }), Err(problems)) => {
                let by = wish.as_ref().map_or(By::Shadow, |wish| wish.by.clone());
                self.restore(before);
                self.refuse(by, wish.map(|wish| wish.version), problems);
                self.write(Awaited::Settled);
            }
            (Some(Awaited::Back(wish)), Ok(())) => {
                self.running = Running::Over(wish);
                self.trial = None;
                self.back_at = None;
                match (&self.kept.refused, self.is_unusable) {
                    (Some(refused), false) => self.tell(refused.clone()),
                    (None, false) => self.tell_applied(None),
                    // That was told when it was found.
                    (_, true) => self.complain_of_local(Vec::new()),
                }
            }
            (Some(Awaited::Back(wish)), Err(problems)) => self.can_not_go_back(wish, problems),
            (other, _) => self.awaited = other,
        }
    }

    /// What has become of the topics of what is on trial: decides it.
    pub fn evidence(&mut self, evidence: &Evidence, now: Instant) {
        self.now = now;
        let Some(trial) = self.trial.as_mut().filter(|trial| trial.began() == evidence.began) else { return };
        match trial.judge(evidence, now) {
            // Where something else is under way it is seen to afterwards.
            Judgement::Open | Judgement::Proven => {}
            Judgement::NeedsReport => {
                let outcome = self
                    .kept
                    .refused
                    .clone()
                    .or_else(|| self.in_force().map(|wish| Outcome::applied(wish.by.clone(), Some(wish))));
                self.reported = None;
                self.report = outcome;
            }
            Judgement::Failed(_) if self.awaited.is_some() || self.is_stopping => {}
            Judgement::Failed(reason) => {
                self.end_trial(Verdict::RolledBack, reason);
                self.write(Awaited::Settled);
            }
        }
    }

    /// The shadow holds this report.
    pub fn report_acked(&mut self, outcome: &Outcome, now: Instant) {
        self.now = now;
        if let Some(trial) = self.trial.as_mut()
            && self.reported.as_ref() == Some(outcome)
        {
            trial.report_acked();
        }
    }

    /// The local configuration was loaded anew, with [`Keeper::in_force`] over it as far as `remote` allows its sections,
    /// and is in force. Not while an answer is awaited.
    pub fn reloaded(&mut self, remote: &Remote, now: Instant) {
        self.now = now;
        (self.allow, self.confirm) = (remote.allow.clone(), remote.confirm);
        let mut has_ended = false;
        if self.in_force().is_some_and(|wish| !wish.is_allowed(&remote.allow)) {
            self.running = Running::Over(None);
            has_ended = self.trial.is_some();
            if has_ended {
                self.end_trial(Verdict::Rejected, NOT_ALLOWED.to_owned());
            }
        }
        // What was refused may be taken now, and what could not be loaded may be loaded.
        self.is_unusable = false;
        if self.kept.refused.as_ref().is_some_and(Outcome::may_be_mended)
            && let Some(asked) = self.kept.desired.take()
            && !self.waiting.iter().any(|asked| asked.by() == By::Shadow)
        {
            self.waiting.push_back(Asked::Shadow(asked));
        }
        if has_ended { self.write(Awaited::Settled) } else { self.settle() }
    }

    /// The process stops in an orderly way: what was tried so far does not count. A last [`Step::Keep`] may follow, whose
    /// answer changes nothing.
    pub fn stopping(&mut self) {
        if self.is_stopping {
            return;
        }
        if self.trial.as_ref().is_some_and(|trial| trial.has_passed(self.now)) {
            self.confirm();
        }
        if let Some(trying) = &mut self.kept.trial {
            trying.attempts = trying.attempts.saturating_sub(1);
        }
        if let Some(checking) = &mut self.kept.checking
            && matches!(self.awaited, Some(Awaited::Noted { .. } | Awaited::Checked { .. }))
        {
            checking.attempts = checking.attempts.saturating_sub(1);
        }
        self.is_stopping = true;
        self.awaited = None;
        self.step = (self.written.as_ref() != Some(&self.kept)).then(|| Step::Keep(Box::new(self.kept.clone())));
    }
}

#[cfg(test)]
mod tests;
