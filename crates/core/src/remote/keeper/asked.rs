//! What was desired and is to be taken up.

use crate::config::Section;
use crate::remote::{By, Job, Unread, Wish};
use crate::shadows::State;

/// Something desired, as it came.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Asked {
    /// The shadow's desired state, as JSON.
    Shadow(String),
    Job(Job),
}

impl Asked {
    pub fn of_shadow(desired: &State) -> Asked {
        // A map of JSON values can always be written.
        Asked::Shadow(serde_json::to_string(desired).unwrap_or_default())
    }

    pub fn by(&self) -> By {
        match self {
            Asked::Shadow(_) => By::Shadow,
            Asked::Job(job) => By::Job(job.id.clone()),
        }
    }

    /// As [`Wish::read`].
    pub fn read(&self, allow: &[Section]) -> Result<Option<Wish>, Unread> {
        match self {
            Asked::Job(job) => Wish::read(&job.document, self.by(), allow),
            Asked::Shadow(text) => match serde_json::from_str(text) {
                Ok(desired) => Wish::read(&desired, self.by(), allow),
                Err(_) => {
                    Err(Unread { version: None, problems: vec!["The desired state is nested too deep.".to_owned()] })
                }
            },
        }
    }
}
