//! What the cloud has set, as the bridge has kept it on the disk, over the configuration in files.

use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

use serde::Serialize;

use iot_bridge_core::accounts::permission;
use iot_bridge_core::config::{self, Loaded, Overlaid, Overlay, Section};
use iot_bridge_core::remote::store::{FILE, Kept};
use iot_bridge_core::remote::{By, Outcome, Store, Verdict, Wish, state_directory};
use iot_bridge_core::tally::counted;

/// How it stands with the configuration from the cloud.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Remote {
    /// The shadow that it comes by.
    shadow: String,
    /// The sections that it may set.
    allow: Vec<Section>,
    state: State,
    /// That of what the cloud has set; nothing, where the files alone are in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// The job that it came by, if it is not the shadow.
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<String>,
    /// What it sets.
    sections: Vec<Set>,
    /// Why it is not known or does not fit, each a sentence.
    problems: Vec<String>,
    /// What was desired last, if it is not in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<Outcome>,
    /// How problems call it.
    #[serde(skip)]
    source: String,
}

/// A section that comes from the cloud.
#[derive(Debug, PartialEq, Serialize)]
struct Set {
    section: Section,
    /// The files whose entries of it are out of force therefore.
    instead_of: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// What the bridge has kept can't be read here.
    Unknown,
    /// The configuration is that of files.
    Local,
    /// Something is in force and not confirmed.
    Trial,
    /// Something is in force and confirmed.
    Applied,
    /// What is kept does not fit the files: the next start of the bridge goes by these alone.
    Unfit,
}

/// How it stands with the configuration from the cloud, if `local`, which `config` is the path of, takes any; and what is
/// loaded with it, where something comes from there.
pub(super) fn look(config: Option<&Path>, local: &Loaded) -> Option<(Remote, Option<Loaded>)> {
    let of = local.settings.remote.as_ref()?;
    let directory = state_directory(&local.settings.queue);
    let mut remote = Remote {
        shadow: of.shadow.clone(),
        allow: of.allow.clone(),
        state: State::Local,
        version: None,
        job: None,
        sections: Vec::new(),
        problems: Vec::new(),
        refused: None,
        source: String::new(),
    };
    let kept = match Store::new(directory.clone()).look() {
        Ok(kept) => kept,
        Err(why) => {
            let path = directory.join(FILE);
            let is_closed = std::fs::File::open(&path).is_err_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied);
            let remedy =
                if is_closed { permission(&path) } else { "`iot-bridge status` tells what is in force".to_owned() };
            remote.state = State::Unknown;
            remote.problems.push(format!("{why}; {remedy}"));
            return Some((remote, None));
        }
    };
    let is_ours = |by: &By| *by != By::Shadow || kept.shadow == of.shadow;
    remote.refused = kept.refused.clone().filter(|refused| is_ours(&refused.by));
    let Some((wish, state)) = in_force(&kept).filter(|(wish, _)| is_ours(&wish.by)) else {
        return Some((remote, None));
    };
    remote.source = wish.source(&of.shadow);
    remote.version = Some(wish.version.clone());
    remote.job = match &wish.by {
        By::Shadow => None,
        By::Job(id) => Some(id.clone()),
    };
    let overlay = Overlay { name: remote.source.clone(), sections: wish.sections.clone() };
    match config::load_over(config, std::env::vars_os(), Some(&overlay)) {
        Ok(loaded) => {
            remote.state = state;
            let set = |set: &Overlaid| Set { section: set.section, instead_of: set.hidden.clone() };
            remote.sections = loaded.overlaid.iter().map(set).collect();
            Some((remote, Some(loaded)))
        }
        Err(error) => {
            remote.state = State::Unfit;
            remote.problems = error.problems.iter().map(config::Problem::sentence).collect();
            Some((remote, None))
        }
    }
}

/// What is in force by what is kept, and whether it is confirmed.
fn in_force(kept: &Kept) -> Option<(&Wish, State)> {
    let trial = kept.trial.as_ref().map(|trying| (&trying.wish, State::Trial));
    trial.or(kept.confirmed.as_ref().map(|wish| (wish, State::Applied)))
}

impl Remote {
    /// What somebody should know and would not look for: sentences without their full stops.
    pub fn warnings(&self) -> Vec<String> {
        match self.state {
            State::Unknown => {
                vec![format!("What comes from the cloud is not known here: {}", self.problems.join("; "))]
            }
            State::Unfit => {
                let what =
                    format!("What {} says does not fit this configuration, so that the files alone count", self.source);
                self.problems.iter().map(|problem| format!("{what}: {}", problem.trim_end_matches('.'))).collect()
            }
            State::Local | State::Trial | State::Applied => Vec::new(),
        }
    }

    /// A line for each section that comes from the cloud, as for files that were read.
    pub fn sources(&self) -> impl Iterator<Item = String> {
        self.sections.iter().map(|Set { section, instead_of }| {
            let files: Vec<String> = instead_of.iter().map(|path| path.display().to_string()).collect();
            let instead = if files.is_empty() { String::new() } else { format!(", not from {}", files.join(", ")) };
            format!("from {}: {}{instead}", self.source, section.name())
        })
    }
}

/// How it stands, as sentences on lines of a comment.
impl Display for Remote {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Remote { shadow, allow, source, .. } = self;
        let names: Vec<&str> = allow.iter().map(|section| section.name()).collect();
        let may = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        match self.state {
            State::Unknown | State::Unfit => {}
            State::Local => writeln!(f, "# All of it is from files. The shadow {shadow} may set {may}.")?,
            State::Trial => writeln!(
                f,
                "# What {source} says is on trial: unless it is confirmed, what was in force before comes back."
            )?,
            State::Applied => writeln!(f, "# What {source} says is in force and confirmed.")?,
        }
        let Some(Outcome { by, version, state, problems }) = &self.refused else { return Ok(()) };
        let from = match by {
            By::Shadow => format!("the shadow {shadow}"),
            By::Job(id) => format!("the job {id}"),
        };
        let version = version.as_ref().map(|version| format!(", version {version},")).unwrap_or_default();
        let what = match state {
            Verdict::Rejected => "was rejected",
            Verdict::RolledBack => "was rolled back",
            Verdict::Applied | Verdict::Replaced => return Ok(()),
        };
        writeln!(
            f,
            "# What {from}{version} said last {what}, {}:",
            counted(problems.len() as u64, "problem", "problems")
        )?;
        problems.iter().try_for_each(|problem| writeln!(f, "#   {problem}"))
    }
}
