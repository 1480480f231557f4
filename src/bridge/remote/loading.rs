//! Loading a configuration: the local files, with what is wished over them.

use std::sync::Arc;

use tokio::task::JoinError;

use crate::health::{Refusal, logging};
use iot_bridge_core::config::{Loaded, Overlay, Problem, Problems, Settings};
use iot_bridge_core::remote::Wish;
use iot_bridge_core::remote::store::Kept;
use iot_bridge_core::tally::counted;

/// Loads the local configuration, with something over it.
pub type Load = Arc<dyn Fn(Option<&Overlay>) -> Result<Loaded, Problems> + Send + Sync>;

/// What is wrong with what was loaded beside the types of ROS that are sourced.
pub type Compare = fn(&Loaded) -> Vec<Problem>;

/// What was loaded and put in force last, of each configuration that may have to come back. The files of today may not do
/// for that: they may be half edited, or of a robot that is to be started again with another `[ros]`.
pub(super) struct Memory {
    of: Vec<(Option<Wish>, Remembered)>,
}

/// What a configuration was when it was in force.
#[derive(Clone)]
pub(super) struct Remembered {
    pub settings: Settings,
    pub digest: String,
}

impl From<&Loaded> for Remembered {
    fn from(loaded: &Loaded) -> Remembered {
        Remembered { settings: loaded.settings.clone(), digest: loaded.digest.clone() }
    }
}

impl Memory {
    /// Of the local configuration.
    pub fn of(local: &Loaded) -> Memory {
        Memory { of: vec![(None, local.into())] }
    }

    /// The local configuration with `wish` over it is in force as this.
    pub fn remember(&mut self, wish: Option<&Wish>, remembered: Remembered) {
        self.of.retain(|(other, _)| other.as_ref() != wish);
        self.of.push((wish.cloned(), remembered));
    }

    /// Forgets what does not come back, by what is `kept`. The local configuration may always.
    pub fn forget_others(&mut self, kept: &Kept) {
        let trial = kept.trial.as_ref().map(|trying| &trying.wish);
        let may_come = [kept.confirmed.as_ref(), trial];
        self.of.retain(|(wish, _)| wish.is_none() || may_come.contains(&wish.as_ref()));
    }

    /// What the local configuration with `wish` over it was, if it was in force.
    pub fn recall(&self, wish: Option<&Wish>) -> Option<Remembered> {
        self.of.iter().find(|(other, _)| other.as_ref() == wish).map(|(_, remembered)| remembered.clone())
    }
}

pub(super) fn overlay(wish: &Wish, shadow: &str) -> Overlay {
    Overlay { name: wish.source(shadow), sections: wish.sections.clone() }
}

/// What was loaded to be reloaded; of what can't be, all problems go to the log.
///
/// # Errors
/// As the bridge shows it.
pub fn reloaded<T>(loaded: Result<Result<T, Problems>, JoinError>) -> Result<T, Refusal> {
    let refusal = match loaded {
        Ok(Ok(loaded)) => return Ok(loaded),
        Ok(Err(problems)) => {
            logging::problems(&problems);
            Refusal::of(&problems)
        }
        Err(error) => {
            tracing::error!("The configuration could not be read: {error}.");
            Refusal { problems: 1, first: "it could not be read".to_owned() }
        }
    };
    tracing::warn!("The configuration is not reloaded; the one before stays in force.");
    Err(refusal)
}

/// Whether `wish` is right, as `iot-bridge check` finds it: by itself, and beside the types that are sourced. What is
/// in force already stays so if a package is missing later: that concerns one topic.
pub(super) fn check(how: &Load, compare: Compare, shadow: &str, wish: Option<&Wish>) -> Result<(), Vec<String>> {
    let loaded = load(how, shadow, wish)?;
    let Some(source) = wish.map(|wish| overlay(wish, shadow).source().into_owned()) else { return Ok(()) };
    // What is wrong with the files was so before.
    let problems = compare(&loaded).into_iter().filter(|problem| problem.source == source);
    let problems: Vec<String> = problems.map(|problem| told(&problem, &source)).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// What `load` makes of `wish`, or its problems, each a sentence. They go to the cloud: of what is wrong with the robot's own
/// files, which is no business of those who read there, only how much; the log has it.
pub(super) fn load(load: &Load, shadow: &str, wish: Option<&Wish>) -> Result<Loaded, Vec<String>> {
    let overlay = wish.map(|wish| overlay(wish, shadow));
    let source = overlay.as_ref().map(Overlay::source).unwrap_or_default();
    load(overlay.as_ref()).map_err(|problems| {
        let (of_wish, of_files) = problems.iter().partition::<Vec<&Problem>, _>(|problem| problem.source == source);
        let mut told: Vec<String> = of_wish.into_iter().map(|problem| told(problem, &source)).collect();
        if !of_files.is_empty() {
            let problems = counted(of_files.len() as u64, "problem", "problems");
            told.push(format!("The robot's own files have {problems}, which its log tells."));
            logging::problems(of_files);
        }
        told
    })
}

/// A problem, without its source if that is what is told of anyway.
fn told(problem: &Problem, of: &str) -> String {
    let sentence = problem.sentence();
    let short = sentence.strip_prefix(of).and_then(|rest| rest.strip_prefix(": ")).filter(|_| problem.source == of);
    short.map(str::to_owned).unwrap_or(sentence)
}
