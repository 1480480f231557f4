//! What the log and the status say of the configuration from the cloud.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::health::ConfigurationState;
use crate::health::report::{Remote, RemoteState};
use iot_bridge_core::config;
use iot_bridge_core::remote::{By, Keeper, Outcome, Trial, Verdict, Wish};
use iot_bridge_core::tally::{Span, counted};

/// Says each change once.
pub(super) struct Telling {
    /// As the process has started with it.
    pub remote: config::Remote,
    pub shadow: String,
    said: Option<Outcome>,
    shown: Option<Remote>,
}

impl Telling {
    pub fn new(remote: &config::Remote) -> Telling {
        Telling { remote: remote.clone(), shadow: remote.shadow.clone(), said: None, shown: None }
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

    /// Logs what has become of what is desired, with `in_force` over the local configuration now.
    pub fn log(&mut self, outcome: &Outcome, in_force: Option<&Wish>) {
        if self.said.as_ref() == Some(outcome) {
            return;
        }
        self.said = Some(outcome.clone());
        let source = self.source(outcome);
        let version = outcome.version.as_deref().unwrap_or_default();
        match outcome.state {
            Verdict::Applied if outcome.version.is_none() => {
                tracing::info!("Nothing is desired in {source}: the local configuration is in force.");
            }
            Verdict::Applied => tracing::info!(version, "The configuration of {source}, is confirmed."),
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
        in_force.map_or_else(|| "the local one".to_owned(), |wish| format!("that of {}", wish.source(&self.shadow)))
    }

    /// Shows how it stands.
    pub fn show(&mut self, keeper: &Keeper, configuration: &ConfigurationState) {
        let (in_force, outcome) = (keeper.in_force(), keeper.outcome());
        let state = match outcome {
            _ if keeper.trial().is_some() => RemoteState::Trial,
            None => RemoteState::Unknown,
            Some(outcome) => match outcome.state {
                Verdict::Applied => RemoteState::Applied,
                Verdict::Rejected => RemoteState::Rejected,
                Verdict::RolledBack | Verdict::Replaced => RemoteState::RolledBack,
            },
        };
        let (version, problems) = match (state, outcome) {
            (RemoteState::Trial, _) | (_, None) => (in_force.map(|wish| wish.version.clone()), Vec::new()),
            (_, Some(outcome)) => (outcome.version.clone(), outcome.problems.clone()),
        };
        let mut shown = Remote {
            shadow: self.shadow.clone(),
            version,
            state,
            since: self.shown.as_ref().map_or(0, |shown| shown.since),
            problems,
            in_force: in_force.map(|wish| wish.version.clone()),
            sections: in_force.map(|wish| wish.sections.keys().cloned().collect()).unwrap_or_default(),
        };
        if self.shown.as_ref() == Some(&shown) {
            return;
        }
        let is_state = |before: &Remote| (&before.version, before.state) == (&shown.version, shown.state);
        if !self.shown.as_ref().is_some_and(is_state) {
            shown.since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        }
        configuration.set_remote(shown.clone());
        self.shown = Some(shown);
    }
}
