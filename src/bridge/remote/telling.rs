//! What the log and the status say of the configuration from the cloud.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::health::ConfigurationState;
use crate::health::report::{Remote, RemoteState};
use iot_bridge_core::config;
use iot_bridge_core::remote::{By, Keeper, Outcome, Trial, Verdict, Wish};
use iot_bridge_core::shadows::State;
use iot_bridge_core::tally::{Span, counted};

/// Says each change once.
pub(super) struct Telling {
    /// As the process has started with it.
    pub remote: config::Remote,
    pub shadow: String,
    /// What comes back could not be put in force: what was in force stays.
    pub is_stuck: bool,
    /// And whether it was stuck.
    said: Option<(Outcome, bool)>,
    shown: Option<Remote>,
    /// Whether anything is desired; `None` until the cloud was heard.
    is_desired: Option<bool>,
}

impl Telling {
    pub fn new(remote: &config::Remote) -> Telling {
        Telling {
            remote: remote.clone(),
            shadow: remote.shadow.clone(),
            is_stuck: false,
            said: None,
            shown: None,
            is_desired: None,
        }
    }

    /// The cloud desires this.
    pub fn heard(&mut self, desired: &State) {
        self.is_desired = Some(desired.get("config").is_some_and(|config| !config.is_null()));
    }

    /// `wish`, over the local configuration, has come into force.
    pub fn begun(&self, wish: Option<&Wish>, trial: Option<&Trial>) {
        let (Some(wish), Some(_)) = (wish, trial) else { return };
        let (source, version) = (wish.source(&self.shadow), &wish.version);
        let confirm = Span(self.remote.confirm.as_secs());
        tracing::info!(
            version,
            "The configuration of {source}, is in force on trial: if the broker acknowledges nothing of it within {confirm}, the \
             one before comes back."
        );
    }

    /// Logs what has become of what is desired, as `keeper` knows it.
    pub fn log(&mut self, outcome: &Outcome, keeper: &Keeper) {
        let in_force = keeper.in_force();
        if outcome.state == Verdict::Applied && keeper.trial().is_some() {
            // It is reported so that the report confirms it.
            return;
        }
        let is_nothing = outcome.state == Verdict::Applied && outcome.version.is_none();
        let is_said =
            self.said.as_ref().is_some_and(|(said, was_stuck)| said == outcome && *was_stuck == self.is_stuck);
        if is_said || is_nothing && self.is_desired != Some(false) {
            return;
        }
        self.said = Some((outcome.clone(), self.is_stuck));
        let source = self.source(outcome);
        let version = outcome.version.as_deref().unwrap_or_default();
        match outcome.state {
            Verdict::Applied if is_nothing => {
                tracing::info!("Nothing is desired in {source}: the local configuration is in force.");
            }
            Verdict::Applied => {
                tracing::info!(version, "The configuration of {source}, is confirmed.");
                // That it could not be kept.
                outcome.problems.iter().for_each(|problem| tracing::warn!(version, "{problem}"));
            }
            Verdict::Rejected => {
                for problem in &outcome.problems {
                    tracing::error!(source, version, "{problem}");
                }
                let problems = counted(outcome.problems.len() as u64, "problem", "problems");
                let stays = self.stays(in_force);
                tracing::warn!(
                    version,
                    "The configuration of {source}, is rejected, for {problems}; {stays} stays in force."
                );
            }
            Verdict::RolledBack if self.is_stuck => {
                let why = outcome.problems.join(" ");
                tracing::error!(
                    version,
                    "The configuration of {source}, is to be rolled back and stays in force, as the one before can't come back; \
                     that is tried again each minute. {why}"
                );
            }
            Verdict::RolledBack => {
                let (why, stays) = (outcome.problems.join(" "), self.stays(in_force));
                tracing::error!(
                    version,
                    "The configuration of {source}, is rolled back; {stays} is in force again. {why}"
                );
            }
            Verdict::Replaced => {
                tracing::info!(version, "The configuration of {source}, was replaced before it was confirmed.");
            }
        }
    }

    fn source(&self, outcome: &Outcome) -> String {
        let by = match &outcome.by {
            By::Shadow => format!("the shadow {}", self.shadow),
            By::Job(id) => format!("the job {id}"),
        };
        outcome.version.as_ref().map(|version| format!("{by}, version {version}")).unwrap_or(by)
    }

    /// What is in force.
    fn stays(&self, in_force: Option<&Wish>) -> String {
        in_force.map_or_else(|| "the local one".to_owned(), |wish| format!("that of {},", wish.source(&self.shadow)))
    }

    /// Shows how it stands.
    pub fn show(&mut self, keeper: &Keeper, configuration: &ConfigurationState) {
        let (in_force, outcome) = (keeper.in_force(), keeper.outcome());
        let state = match outcome {
            _ if keeper.trial().is_some() => RemoteState::Trial,
            None => RemoteState::Unknown,
            Some(Outcome { state: Verdict::Applied, version: None, .. }) if self.is_desired.is_none() => {
                RemoteState::Unknown
            }
            Some(outcome) => match outcome.state {
                Verdict::Applied => RemoteState::Applied,
                Verdict::Rejected => RemoteState::Rejected,
                Verdict::RolledBack | Verdict::Replaced => RemoteState::RolledBack,
            },
        };
        let of = |wish: &Wish| (Some(wish.version.clone()), wish.by.clone(), Vec::new());
        let (version, by, problems) = match (state, outcome, in_force) {
            (RemoteState::Applied | RemoteState::Rejected | RemoteState::RolledBack, Some(outcome), _) => {
                (outcome.version.clone(), outcome.by.clone(), outcome.problems.clone())
            }
            (_, _, Some(wish)) => of(wish),
            (..) => (None, By::Shadow, Vec::new()),
        };
        let job = match by {
            By::Shadow => None,
            By::Job(id) => Some(id),
        };
        let mut shown = Remote {
            shadow: self.shadow.clone(),
            version,
            job,
            state,
            since: self.shown.as_ref().map_or(0, |shown| shown.since),
            problems,
            in_force: in_force.map(|wish| wish.version.clone()),
            sections: in_force.map(|wish| wish.sections.keys().cloned().collect()).unwrap_or_default(),
        };
        if self.shown.as_ref() == Some(&shown) {
            return;
        }
        let is_state =
            |before: &Remote| (&before.version, &before.job, before.state) == (&shown.version, &shown.job, shown.state);
        if !self.shown.as_ref().is_some_and(is_state) {
            shown.since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        }
        configuration.set_remote(shown.clone());
        self.shown = Some(shown);
    }
}
