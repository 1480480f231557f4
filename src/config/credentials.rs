//! Where the configuration names the files of certificate, key and authorities, for whoever looks into them.

use super::build::aws;
use super::problem::Problem;
use super::settings::Aws;
use super::walk::{Report, Section};

/// The keys that name files, the thing that the certificate is for, and the broker that it is shown to.
const KEYS: [&str; 7] = [
    "aws.endpoint",
    "aws.thing",
    "aws.certificate",
    "aws.private_key",
    "aws.root_ca",
    "aws.provisioning.claim_certificate",
    "aws.provisioning.claim_private_key",
];

/// The files that `[aws]` names, and the places that name them.
#[derive(Debug, Clone, PartialEq)]
pub struct CredentialFiles {
    pub aws: Aws,
    /// A problem for each of [`KEYS`], still without what was found and what is allowed.
    places: Vec<(&'static str, Problem)>,
}

impl CredentialFiles {
    pub(super) fn find(root: &Section, report: &Report<'_>) -> Option<Self> {
        let place = |key| (key, report.problem(root.tag_of(key), key, String::new(), String::new()));
        Some(CredentialFiles { aws: aws(root)?, places: KEYS.map(place).into() })
    }

    /// A problem with the file that `key` names, at the place that names it.
    pub fn problem(&self, key: &str, found: String, allowed: String) -> Problem {
        match self.places.iter().find(|(name, _)| *name == key) {
            Some((_, place)) => Problem { found, allowed, ..place.clone() },
            None => Problem { source: String::new(), line: None, key: key.to_owned(), found, allowed },
        }
    }
}
