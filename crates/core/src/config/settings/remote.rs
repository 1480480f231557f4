//! Configuration from the cloud: `[remote]`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Shadow;
use crate::config::units::serialize_duration;

/// Where the cloud says what the robot sends and obeys, and how much of that it may say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Remote {
    /// Name of the shadow whose desired state is the configuration: never that of one of `[[shadows]]`.
    pub shadow: String,
    /// Sections that the cloud may set, each once, in the order of [`Section::ALL`]. Of none, nothing is taken.
    pub allow: Vec<Section>,
    /// How long a new configuration has until the broker acknowledges something of it, before the one before comes back.
    #[serde(serialize_with = "serialize_duration")]
    pub confirm: Duration,
    /// Whether IoT Jobs with a configuration are taken as well.
    pub jobs: bool,
}

/// A section that the cloud may set, if `[remote]` allows it. No other ever is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Section {
    Topics,
    Commands,
    Services,
    Actions,
    Shadows,
}

impl Section {
    /// All of them, in the order of the documentation.
    pub const ALL: [Section; 5] =
        [Section::Topics, Section::Commands, Section::Services, Section::Actions, Section::Shadows];

    /// Its key in the configuration: `topics`.
    pub const fn name(self) -> &'static str {
        match self {
            Section::Topics => "topics",
            Section::Commands => "commands",
            Section::Services => "services",
            Section::Actions => "actions",
            Section::Shadows => "shadows",
        }
    }

    /// The section whose key is `name`.
    pub fn of(name: &str) -> Option<Section> {
        Section::ALL.into_iter().find(|section| section.name() == name)
    }
}

impl Remote {
    /// What all topics of its shadow begin with, for the thing called `thing`.
    pub fn prefix(&self, thing: &str) -> String {
        Shadow::prefix_of(&self.shadow, thing)
    }

    /// How many subscriptions it needs.
    pub fn filters(&self) -> usize {
        Shadow::HEARD.len() + usize::from(self.jobs)
    }
}
