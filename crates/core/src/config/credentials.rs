//! Where the configuration names the files of certificate, key and authorities, and where it holds secrets itself, for
//! whoever looks into them.

use std::path::{Path, PathBuf};

use super::build::aws_so_far;
use super::credentials_directory::expand;
use super::problem::{Problem, key_part};
use super::proxy::Proxy;
use super::settings::Aws;
use super::walk::{Report, Section};

const PROXY_URL: &str = "mqtt.proxy.url";
const PROXY_FILE: &str = "mqtt.proxy.url_file";
const PARAMETERS: &str = "aws.provisioning.parameters";

/// The keys that name files, the thing that the certificate is for, and the broker that it is shown to.
const KEYS: [&str; 8] = [
    "aws.endpoint",
    "aws.thing",
    "aws.certificate",
    "aws.private_key",
    "aws.root_ca",
    "aws.provisioning.claim_certificate",
    "aws.provisioning.claim_private_key",
    PROXY_FILE,
];

/// The files that `[aws]` and the proxy name, the places that name them, and the secrets that the configuration holds.
#[derive(Debug, Clone, PartialEq)]
pub struct CredentialFiles {
    /// As far as it is right: texts of keys that have no value are empty.
    pub aws: Aws,
    /// The keys of `aws` that have no value.
    pub missing: Vec<&'static str>,
    /// What `mqtt.proxy.url_file` names.
    pub proxy_file: Option<PathBuf>,
    /// Those that are in force. One that a later file or the environment overrides stands in its file still, unseen here.
    pub secrets: Vec<Secret>,
    /// A problem for each of [`KEYS`], still without what was found and what is allowed.
    places: Vec<(&'static str, Problem)>,
}

/// A secret that stands in the configuration itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Secret {
    /// The file that holds it; `None` if it is the environment.
    pub file: Option<PathBuf>,
    /// Without what was found and what is allowed.
    place: Problem,
}

impl Secret {
    /// The environment variable that holds it, if it is one.
    pub fn variable(&self) -> Option<&str> {
        self.file.is_none().then_some(self.place.source.as_str())
    }

    /// A problem with the place that holds it.
    pub fn problem(&self, found: String, allowed: String) -> Problem {
        Problem { found, allowed, ..self.place.clone() }
    }
}

impl CredentialFiles {
    pub(super) fn find(root: &Section, report: &Report<'_>) -> Self {
        let at = |key: &str| report.problem(root.tag_of(key), key, String::new(), String::new());
        let secret = |key: &str| Secret { file: report.file(root.tag_of(key)).map(Path::to_owned), place: at(key) };
        let password = root.text(PROXY_URL).is_some_and(|url| Proxy::parse(url).is_ok_and(|p| p.credentials.is_some()));
        let parameters = root.names(PARAMETERS).into_iter().flat_map(|names| names.keys());
        let parameters = parameters.map(|name| secret(&format!("{PARAMETERS}.{}", key_part(name))));
        let (aws, missing) = aws_so_far(root);
        CredentialFiles {
            aws,
            missing,
            proxy_file: root.text(PROXY_FILE).map(Into::into),
            secrets: password.then(|| secret(PROXY_URL)).into_iter().chain(parameters).collect(),
            places: KEYS.map(|key| (key, at(key))).into(),
        }
    }

    /// A problem with the file that `key` names, at the place that names it.
    pub fn problem(&self, key: &str, found: String, allowed: String) -> Problem {
        match self.places.iter().find(|(name, _)| *name == key) {
            Some((_, place)) => Problem { found, allowed, ..place.clone() },
            None => Problem { source: String::new(), line: None, key: key.to_owned(), found, allowed },
        }
    }

    pub(super) fn find_credentials(&mut self, directory: &Path) {
        self.aws.find_credentials(directory);
        if let Some(file) = &mut self.proxy_file {
            expand(file, directory);
        }
    }
}
