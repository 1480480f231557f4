//! How it gets from one state to the next.

use super::asked::Asked;
use super::{Awaited, Before, GO_BACK_AGAIN, Keeper, MOST_ATTEMPTS, NOT_ALLOWED, Pause, Running, Step};
use crate::remote::store::{Checking, KeptJob, Trying};
use crate::remote::{By, Outcome, Trial, Verdict, Wish};

/// Before the problems of the local configuration.
const NO_LOCAL: &str = "The local configuration can't be put in force:";

impl Keeper {
    /// Takes up what was desired: reads it, and has it checked if it is new and says something else than what is in force.
    pub(super) fn take_up(&mut self, asked: Asked) {
        let by = asked.by();
        let before = Before { kept: Box::new(self.kept.clone()), trial: None, pause: self.pause };
        let checking = self.kept.checking.as_ref();
        let was_checked = checking.filter(|checking| checking.by == by).map(|checking| checking.attempts);
        let is_interrupted = |checking: &Checking| checking.by == By::Shadow && checking.attempts < MOST_ATTEMPTS;
        let is_shadow_interrupted = by != By::Shadow && checking.is_some_and(is_interrupted);
        let attempts = match &asked {
            Asked::Shadow(text) if self.kept.desired.as_ref() != Some(text) => 0,
            // What was seen before is nothing new, unless the process has ended over it.
            Asked::Shadow(_) if was_checked.is_none() => return,
            Asked::Job(job) if self.is_known(&job.id) => return,
            Asked::Shadow(_) | Asked::Job(_) => was_checked.unwrap_or_default(),
        };
        match &asked {
            Asked::Shadow(text) => {
                self.kept.desired = Some(text.clone());
                self.again = None;
            }
            Asked::Job(job) => {
                let other = self.kept.job.take_if(|other| other.id != job.id && other.outcome.is_none());
                if let Some(other) = other {
                    let replaced = Outcome::new(By::Job(other.id.clone()), None, Verdict::Replaced, Vec::new());
                    self.ended_jobs.insert(other.id, replaced);
                }
                self.kept.job = Some(KeptJob { id: job.id.clone(), outcome: None });
            }
        }
        if is_shadow_interrupted {
            // The process ended while that was checked, and it was not heard since: it is to be new when it is.
            self.kept.desired = None;
        }
        // What was refused before is not what was desired last any more.
        (self.kept.checking, self.kept.refused) = (None, None);
        let wish = match asked.read(&self.allow) {
            Ok(wish) => wish,
            Err(unread) => {
                self.refuse(by, unread.version, unread.problems);
                return self.write(Awaited::Settled);
            }
        };
        if attempts >= MOST_ATTEMPTS {
            // It stays noted, so that the next process does not begin anew.
            self.kept.checking = Some(Checking { by: by.clone(), attempts });
            let problem = format!("The process ended {attempts} times while this was checked.");
            self.refuse(by, wish.map(|wish| wish.version), vec![problem]);
            return self.write(Awaited::Settled);
        }
        if wish.is_none() && self.is_nothing_taken_away(&before) {
            if self.in_force().is_none() {
                self.tell_applied(None);
            }
            return self.write(Awaited::Settled);
        }
        self.kept.checking = Some(Checking { by, attempts: attempts + 1 });
        self.write(Awaited::Noted { asked, wish, before });
    }

    /// Whether nothing changes though nothing is desired: nothing was, or the shadow was never seen and has not brought what is
    /// in force.
    fn is_nothing_taken_away(&self, before: &Before) -> bool {
        let has_nothing = self.kept.confirmed.is_none() && self.kept.trial.is_none();
        let is_by_job = self.in_force().is_some_and(|wish| wish.by != By::Shadow);
        self.in_force().is_none() && has_nothing || before.kept.desired.is_none() && is_by_job
    }

    /// Whether a job has ended before, which is told again, or is on trial.
    fn is_known(&mut self, id: &str) -> bool {
        let Some(job) = self.kept.job.as_ref().filter(|job| job.id == id) else { return false };
        if let Some(outcome) = &job.outcome {
            self.ended_jobs.insert(job.id.clone(), outcome.clone());
            return true;
        }
        self.kept.trial.as_ref().is_some_and(|trying| trying.wish.by == By::Job(id.to_owned()))
    }

    /// Takes what was checked: it is to be kept, and then put in force.
    pub(super) fn take(&mut self, asked: Asked, wish: Option<Wish>) {
        self.kept.checking = None;
        if self.trial.as_ref().is_some_and(|trial| trial.has_passed(self.now)) {
            self.trial = None;
            self.confirm();
        }
        let before = Box::new(self.kept.clone());
        let trying = self.kept.trial.take();
        let is_same = |other: &Wish| wish.as_ref().is_some_and(|wish| wish.sections == other.sections);
        let is_same_trial = trying.as_ref().is_some_and(|trying| is_same(&trying.wish));
        let is_replaced = trying.is_some() && !is_same_trial;
        let is_proven = self.way_back().is_some_and(is_same);
        match (&wish, &trying) {
            (Some(wish), Some(trying)) if is_same_trial => {
                self.kept.trial = Some(Trying { wish: wish.clone(), attempts: trying.attempts });
            }
            (Some(wish), _) if !is_proven => self.kept.trial = Some(Trying { wish: wish.clone(), attempts: 1 }),
            (wish, _) => {
                self.kept.confirmed.clone_from(wish);
                self.is_unusable = false;
                self.end_job(&asked.by(), |_| Outcome::applied(asked.by(), wish.as_ref()));
            }
        }
        if let Some(trying) = trying.filter(|trying| trying.wish.by != asked.by()) {
            let later = match &wish {
                Some(wish) => {
                    format!("What was desired later has taken its place: {}.", wish.source(&self.kept.shadow))
                }
                None => "Nothing was desired any more.".to_owned(),
            };
            let version = Some(trying.wish.version.clone());
            self.end_job(&trying.wish.by, |by| Outcome::new(by, version, Verdict::Replaced, vec![later]));
        }
        let (trial, pause) = (if is_same_trial { None } else { self.trial.take() }, self.pause);
        if is_replaced && asked.by() == By::Shadow {
            self.pause = self.pause.longer(self.now);
        }
        self.write(Awaited::Taken { asked, wish, before: Before { kept: before, trial, pause } });
    }

    /// What was taken is kept.
    pub(super) fn put_in_force(&mut self, wish: Option<Wish>, before: Before) {
        if let Some(job) = self.kept.job.as_ref().filter(|job| before.kept.job.as_ref() != Some(job))
            && let Some(outcome) = &job.outcome
        {
            self.ended_jobs.insert(job.id.clone(), outcome.clone());
        }
        let is_in_force = match (&wish, &self.running) {
            (Some(wish), Running::Over(Some(running))) => wish.sections == running.sections,
            (None, Running::Over(None)) => true,
            _ => false,
        };
        if !is_in_force {
            return self.ask(Step::Apply(wish.clone()), Awaited::InForce { wish, before });
        }
        // Its version alone is another.
        self.is_in_force(wish);
    }

    /// What was taken is in force. A trial that is under way goes on.
    pub(super) fn is_in_force(&mut self, wish: Option<Wish>) {
        self.running = Running::Over(wish);
        self.back_at = None;
        if self.kept.trial.is_some() {
            self.trial.get_or_insert_with(|| Trial::new(self.confirm, self.now));
        } else {
            self.trial = None;
            self.tell_applied(None);
        }
    }

    /// Forgets what was taken and is not put in force.
    pub(super) fn restore(&mut self, before: Before) {
        (self.kept, self.pause) = (*before.kept, before.pause);
        if before.trial.is_some() {
            self.trial = before.trial;
        }
    }

    /// Something was acknowledged: what is on trial is the way back from now on.
    pub(super) fn confirm(&mut self) {
        let Some(Trying { wish, .. }) = self.kept.trial.take() else { return };
        self.end_and_tell_job(&wish.by.clone(), Outcome::applied(wish.by.clone(), Some(&wish)));
        self.kept.confirmed = Some(wish);
        self.is_unusable = false;
        self.pause = Pause::default();
    }

    /// What is on trial is given up: what is to be kept is that the one before is in force.
    pub(super) fn end_trial(&mut self, verdict: Verdict, reason: String) {
        self.trial = None;
        let Some(Trying { wish, .. }) = self.kept.trial.take() else { return };
        let outcome = Outcome::new(wish.by.clone(), Some(wish.version.clone()), verdict, vec![reason.clone()]);
        self.end_and_tell_job(&wish.by, outcome.clone());
        let told = match self.kept.refused.take() {
            None => outcome,
            // Something that came later was refused meanwhile: that is what is told.
            Some(refused) => refused.and(format!("Version {}, which was in force, has ended: {reason}", wish.version)),
        };
        self.kept.refused = Some(told.clone());
        self.tell(told);
    }

    /// What was desired is not put in force.
    pub(super) fn refuse(&mut self, by: By, version: Option<String>, problems: Vec<String>) {
        let outcome = Outcome::new(by.clone(), version, Verdict::Rejected, problems);
        self.end_and_tell_job(&by, outcome.clone());
        self.kept.refused = Some(outcome.clone());
        self.tell(outcome);
    }

    /// What is in force unless something is on trial.
    fn way_back(&self) -> Option<&Wish> {
        self.kept.confirmed.as_ref().filter(|wish| !self.is_unusable && wish.is_allowed(&self.allow))
    }

    /// Sees to it that what is to be in force is.
    pub(super) fn settle(&mut self) {
        // Either it is, or what is asked for now says when to try again.
        self.back_at = None;
        if self.trial.is_some() {
            return;
        }
        let wish = self.way_back().cloned();
        if wish.is_none()
            && !self.is_unusable
            && let Some(confirmed) = &self.kept.confirmed
        {
            self.is_unusable = true;
            let (by, version) = (confirmed.by.clone(), Some(confirmed.version.clone()));
            self.can_not_use(Outcome::new(by, version, Verdict::Rejected, vec![NOT_ALLOWED.to_owned()]));
        }
        if self.running != Running::Over(wish.clone()) {
            self.ask(Step::Apply(wish.clone()), Awaited::Back(wish));
        } else {
            self.complain_of_local(Vec::new());
        }
    }

    /// The way back can't be loaded: then the local configuration, and if that can't either what is in force stays.
    pub(super) fn can_not_go_back(&mut self, wish: Option<Wish>, problems: Vec<String>) {
        let Some(wish) = wish else {
            self.complain_of_local(problems);
            self.back_at = Some(self.now + GO_BACK_AGAIN);
            return;
        };
        self.is_unusable = true;
        self.can_not_use(Outcome::new(wish.by.clone(), Some(wish.version), Verdict::Rejected, problems));
        self.settle();
    }

    /// Tells why what was confirmed can't be in force, beside what has become of what was desired last.
    fn can_not_use(&mut self, outcome: Outcome) {
        let told = match &self.kept.refused {
            None => outcome,
            Some(refused) => {
                let version = outcome.version.unwrap_or_default();
                let head = format!("Version {version}, which was to come back, is rejected:");
                outcome.problems.into_iter().fold(refused.clone().and(head), Outcome::and)
            }
        };
        self.tell(told);
    }

    /// Tells why the local configuration can't be in force though it is to be, beside what is told anyway. Without `problems`
    /// that is over.
    pub(super) fn complain_of_local(&mut self, problems: Vec<String>) {
        let told = self.outcome.clone().filter(|told| told.state != Verdict::Applied);
        let place = told.as_ref().and_then(|told| told.problems.iter().position(|problem| problem == NO_LOCAL));
        if problems.is_empty() && place.is_none() {
            return;
        }
        let local = Outcome::new(By::Shadow, None, Verdict::Rejected, problems);
        let mut told = told.unwrap_or_else(|| Outcome { problems: Vec::new(), ..local.clone() });
        told.problems.truncate(place.unwrap_or(told.problems.len()));
        let head = (!local.problems.is_empty()).then(|| NO_LOCAL.to_owned());
        self.tell(head.into_iter().chain(local.problems).fold(told, Outcome::and));
    }

    /// The job that has brought something has ended, if it was one: that is to be kept.
    fn end_job(&mut self, by: &By, outcome: impl FnOnce(By) -> Outcome) {
        if let By::Job(id) = by
            && let Some(job) = self.kept.job.as_mut().filter(|job| job.id == *id)
        {
            job.outcome = Some(outcome(by.clone()));
        }
    }

    /// The same, which is told once it was written, or could not be.
    fn end_and_tell_job(&mut self, by: &By, outcome: Outcome) {
        if let By::Job(id) = by {
            self.ended_jobs.insert(id.clone(), outcome.clone());
        }
        self.end_job(by, |_| outcome);
    }

    /// What is in force is what was desired last, but for a complaint.
    pub(super) fn tell_applied(&mut self, complaint: Option<String>) {
        let applied = Outcome::applied(By::Shadow, self.in_force());
        self.tell(complaint.into_iter().fold(applied, Outcome::and));
    }

    pub(super) fn tell(&mut self, outcome: Outcome) {
        self.report = (self.reported.as_ref() != Some(&outcome)).then(|| outcome.clone());
        self.outcome = Some(outcome);
    }

    /// Has everything written. What may be written later is not, if it is.
    pub(super) fn write(&mut self, awaited: Awaited) {
        if matches!(awaited, Awaited::Settled) && self.written.as_ref() == Some(&self.kept) {
            return self.settle();
        }
        self.ask(Step::Keep(Box::new(self.kept.clone())), awaited);
    }

    pub(super) fn ask(&mut self, step: Step, awaited: Awaited) {
        self.step = Some(step);
        self.awaited = Some(awaited);
    }
}
