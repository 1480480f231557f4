//! What can be wrong with the files.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::accounts::{self, Obstacle, SERVICE};
use crate::pem;

/// One of the files that `[aws]` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    Certificate,
    PrivateKey,
    RootCa,
}

impl Credential {
    /// The key in the configuration.
    pub fn key(self) -> &'static str {
        match self {
            Credential::Certificate => "aws.certificate",
            Credential::PrivateKey => "aws.private_key",
            Credential::RootCa => "aws.root_ca",
        }
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credential::Certificate => "client certificate",
            Credential::PrivateKey => "private key",
            Credential::RootCa => "root CA",
        })
    }
}

/// Something wrong with the files. Each message names the file and reads as a sentence without its full stop. It is one
/// line of at most 200 bytes and holds nothing of what is in the file.
#[derive(Debug, thiserror::Error)]
pub enum CredentialProblem {
    /// The file is not there or may not be read.
    #[error("the {credential} {} cannot be read{}", short(path), unread(path, source))]
    Unreadable { credential: Credential, path: PathBuf, source: io::Error },
    /// The file holds nothing of the kind, or nothing that could be used.
    #[error("the {credential} {} {fault}", short(path))]
    Damaged { credential: Credential, path: PathBuf, fault: pem::Fault },
    /// Some of the authorities can't be read.
    #[error("the root CA {} {fault}; the others are used", short(path))]
    PartlyDamaged { path: PathBuf, fault: pem::Fault },
    /// None of the certificates may sign others.
    #[error("the root CA {} holds no authority's certificate, but one that an authority has issued", short(path))]
    NoAuthority { path: PathBuf },
    /// The client's own certificate does not come first.
    #[error(
        "the client certificate {} begins with another one than the client's own, which has to come first",
        short(path)
    )]
    Order { path: PathBuf },
    /// The certificate is that of an authority, and the key is not.
    #[error("the client certificate {} is an authority's certificate, not the client's own", short(path))]
    Authority { path: PathBuf },
    /// The private key is that of another certificate.
    #[error("the private key {} does not belong to the client certificate {}", short(private_key), short(certificate))]
    KeyMismatch { certificate: PathBuf, private_key: PathBuf },
    /// The client certificate is not valid any more.
    #[error("the client certificate {} expired on {on}", short(path))]
    Expired { path: PathBuf, on: String },
    /// The client certificate is not valid yet, by the robot's clock.
    #[error("the client certificate {} is not valid before {from}; is the clock right?", short(path))]
    NotYetValid { path: PathBuf, from: String },
    /// There is no `root_ca`, and the system trusts nobody.
    #[error("the system's trust store holds no certificate ({reason})")]
    NoSystemRoots { reason: String },
    /// AWS IoT Core's older endpoint, whose authority is not among those that are trusted.
    #[error("the endpoint {endpoint} is the one without -ats, which Amazon's root CAs have not signed")]
    LegacyEndpoint { endpoint: String },
}

/// Why a file could not be read, and what would help.
fn unread(path: &Path, source: &io::Error) -> String {
    let user = accounts::own_name();
    match (source.kind(), accounts::obstacle(path)) {
        (io::ErrorKind::PermissionDenied, Some(Obstacle::Directory(directory))) => {
            format!(": {user} can't enter {}", short(&directory))
        }
        (io::ErrorKind::PermissionDenied, _) => {
            format!(" by {user}; `chgrp {SERVICE}` and `chmod 640` let the service read it")
        }
        _ => format!(": {source}"),
    }
}

/// Longest path in a sentence, in characters; of a longer one the end is shown.
const LONGEST_PATH: usize = 56;

/// `path` for a sentence.
fn short(path: &Path) -> String {
    let shown: String = path.display().to_string().chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    match shown.char_indices().rev().nth(LONGEST_PATH - 1) {
        Some((from, _)) if from > 0 => format!("…{}", &shown[from..]),
        _ => shown,
    }
}

impl CredentialProblem {
    /// The key of the configuration that names the file at fault.
    pub fn key(&self) -> &'static str {
        use CredentialProblem as P;
        match self {
            P::Unreadable { credential, .. } | P::Damaged { credential, .. } => credential.key(),
            P::KeyMismatch { .. } => Credential::PrivateKey.key(),
            P::Expired { .. } | P::NotYetValid { .. } | P::Order { .. } | P::Authority { .. } => {
                Credential::Certificate.key()
            }
            P::NoSystemRoots { .. } | P::PartlyDamaged { .. } | P::NoAuthority { .. } => Credential::RootCa.key(),
            P::LegacyEndpoint { .. } => "aws.endpoint",
        }
    }

    /// What has to be so instead.
    pub fn remedy(&self) -> String {
        use CredentialProblem as P;
        match self {
            P::Unreadable { .. } => "the service has to be able to read this file",
            P::Damaged { fault: pem::Fault::Encrypted, .. } => {
                "allowed is a key without a passphrase, which only the service can read"
            }
            P::Damaged { .. } => "allowed is a file in PEM format, as AWS IoT Core issues it",
            P::PartlyDamaged { .. } => "allowed is a file of which every certificate can be read",
            P::NoAuthority { .. } => "allowed are the authorities that sign the broker's certificate",
            P::Order { .. } | P::Authority { .. } => {
                "allowed is the certificate of the private key, and behind it those of its issuers"
            }
            P::KeyMismatch { .. } => "the two have to be made for each other",
            P::Expired { .. } | P::NotYetValid { .. } => "the certificate has to be valid now",
            P::NoSystemRoots { .. } => "install ca-certificates, or set aws.root_ca",
            P::LegacyEndpoint { endpoint } => {
                return format!("allowed is {:?}, as `{DESCRIBE_ENDPOINT}` tells it", with_ats(endpoint));
            }
        }
        .to_owned()
    }

    /// Whether there can be no connection because of it. What is not sure to prevent one is for `check` to refuse.
    pub fn prevents_connecting(&self) -> bool {
        use CredentialProblem as P;
        !matches!(self, P::PartlyDamaged { .. } | P::NoAuthority { .. } | P::LegacyEndpoint { .. })
    }
}

/// Tells an account's endpoint.
const DESCRIBE_ENDPOINT: &str = "aws iot describe-endpoint --endpoint-type iot:Data-ATS";

/// Whether `endpoint` is an account's endpoint of AWS IoT Core whose certificate is signed by an authority that is no
/// longer trusted, as `describe-endpoint` tells it without an `--endpoint-type`. ("Server authentication" in the developer
/// guide. In China the other one has `.ats.` in its name.)
pub fn is_legacy(endpoint: &str) -> bool {
    let endpoint = endpoint.to_ascii_lowercase();
    let Some((account, rest)) = endpoint.split_once('.') else { return false };
    rest.starts_with("iot.") && rest.ends_with(".amazonaws.com") && !account.ends_with("-ats")
}

/// The endpoint of the same account that Amazon's authorities have signed.
fn with_ats(endpoint: &str) -> String {
    endpoint.replacen('.', "-ats.", 1)
}
