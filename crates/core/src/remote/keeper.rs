//! Decides what is in force.

use std::time::Instant;

use super::store::Kept;
use super::{Evidence, Job, Outcome, Trial, Wish};
use crate::config::Remote;
use crate::shadows::State;

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
    kept: Kept,
}

impl Keeper {
    /// With what was kept before. Nothing is in force yet: the first steps put something in force.
    pub fn start(kept: Kept, remote: &Remote, now: Instant) -> Keeper {
        let _ = (remote, now);
        Keeper { kept }
    }

    /// What is to be done now; `None` while an answer is awaited, or if there is nothing to do.
    ///
    /// At the start: until it says `None`. If the last [`Step::Apply`] was refused then, there is no configuration.
    pub fn next(&mut self, now: Instant) -> Option<Step> {
        let _ = (now, &self.kept);
        todo!("being written")
    }

    /// When [`Keeper::next`] has something to do, or [`Keeper::evidence`] is due.
    pub fn wake_at(&self) -> Option<Instant> {
        todo!("being written")
    }

    /// What is in force over the local configuration. A reload because of local files loads them with this over them.
    pub fn in_force(&self) -> Option<&Wish> {
        todo!("being written")
    }

    /// The trial of what is in force. [`Keeper::evidence`] is due each second while there is one.
    pub fn trial(&self) -> Option<&Trial> {
        todo!("being written")
    }

    /// What was reported last.
    pub fn outcome(&self) -> Option<&Outcome> {
        todo!("being written")
    }

    /// The shadow has been asked for, and desires this: empty, if nothing or if there is no shadow.
    pub fn desired(&mut self, desired: &State, now: Instant) {
        let _ = (desired, now);
        todo!("being written")
    }

    /// A job with a configuration is to be run, and the Jobs service knows that it is in progress. Not the next before the
    /// end of this one has been told. One that was there before is not run twice.
    pub fn job(&mut self, job: Job, now: Instant) {
        let _ = (job, now);
        todo!("being written")
    }

    /// The answer to [`Step::Check`]: the problems, if there are any.
    pub fn checked(&mut self, result: Result<(), Vec<String>>, now: Instant) {
        let _ = (result, now);
        todo!("being written")
    }

    /// The answer to [`Step::Keep`]: why not, if it could not be kept.
    pub fn kept(&mut self, result: Result<(), String>, now: Instant) {
        let _ = (result, now);
        todo!("being written")
    }

    /// The answer to [`Step::Apply`]. After problems what was in force is.
    pub fn applied(&mut self, result: Result<(), Vec<String>>, now: Instant) {
        let _ = (result, now);
        todo!("being written")
    }

    /// What has become of the topics of what is on trial: decides it.
    pub fn evidence(&mut self, evidence: &Evidence, now: Instant) {
        let _ = (evidence, now);
        todo!("being written")
    }

    /// The shadow holds this report.
    pub fn report_acked(&mut self, outcome: &Outcome, now: Instant) {
        let _ = (outcome, now);
        todo!("being written")
    }

    /// The local configuration was loaded anew, with [`Keeper::in_force`] over it as far as `remote` allows its sections,
    /// and is in force.
    pub fn reloaded(&mut self, remote: &Remote, now: Instant) {
        let _ = (remote, now);
        todo!("being written")
    }

    /// The process stops in an orderly way: a last [`Step::Keep`] may follow, and then nothing.
    pub fn stopping(&mut self) {
        todo!("being written")
    }
}
