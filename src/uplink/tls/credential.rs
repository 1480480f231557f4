//! What can be wrong with the files.

use std::fmt;
use std::io;
use std::path::PathBuf;

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

    fn content(self) -> &'static str {
        match self {
            Credential::Certificate | Credential::RootCa => "certificate",
            Credential::PrivateKey => "private key",
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

/// Something wrong with the files. Each message names the file and reads as a sentence without its full stop.
#[derive(Debug, thiserror::Error)]
pub enum CredentialProblem {
    /// The file is not there or may not be read.
    #[error("the {credential} {} cannot be read: {source}", path.display())]
    Unreadable { credential: Credential, path: PathBuf, source: io::Error },
    /// The file holds nothing of the kind, in PEM format.
    #[error("the {credential} {} holds no {} in PEM format", path.display(), credential.content())]
    Empty { credential: Credential, path: PathBuf },
    /// What the file holds is damaged or of a kind that is not supported.
    #[error("the {credential} {} cannot be used: {reason}", path.display())]
    Unusable { credential: Credential, path: PathBuf, reason: String },
    /// The private key needs a passphrase, which nobody is there to type.
    #[error("the private key {} is encrypted; the bridge needs it without a passphrase", path.display())]
    EncryptedKey { path: PathBuf },
    /// The private key is that of another certificate.
    #[error(
        "the private key {} does not belong to the client certificate {}",
        private_key.display(),
        certificate.display()
    )]
    KeyMismatch { certificate: PathBuf, private_key: PathBuf },
    /// The client certificate is not valid any more.
    #[error("the client certificate {} expired on {on}", path.display())]
    Expired { path: PathBuf, on: String },
    /// The client certificate is not valid yet, by the robot's clock.
    #[error("the client certificate {} is not valid before {from}; is the clock right?", path.display())]
    NotYetValid { path: PathBuf, from: String },
    /// There is no `root_ca`, and the system trusts nobody.
    #[error("the system's trust store holds no certificate ({reason})")]
    NoSystemRoots { reason: String },
    /// Every user of the robot may read, change or replace the private key.
    #[error("the private key {} is open to every user (mode {mode:04o}); chmod o= closes it", path.display())]
    ExposedKey { path: PathBuf, mode: u32 },
}

impl CredentialProblem {
    /// The key of the configuration that names the file at fault.
    pub fn key(&self) -> &'static str {
        use CredentialProblem as P;
        match self {
            P::Unreadable { credential, .. } | P::Empty { credential, .. } | P::Unusable { credential, .. } => {
                credential.key()
            }
            P::EncryptedKey { .. } | P::KeyMismatch { .. } | P::ExposedKey { .. } => Credential::PrivateKey.key(),
            P::Expired { .. } | P::NotYetValid { .. } => Credential::Certificate.key(),
            P::NoSystemRoots { .. } => Credential::RootCa.key(),
        }
    }

    /// What has to be so instead.
    pub fn remedy(&self) -> &'static str {
        use CredentialProblem as P;
        match self {
            P::Unreadable { .. } => "the service has to be able to read this file",
            P::Empty { .. } | P::Unusable { .. } => "allowed is a file in PEM format, as AWS IoT Core issues it",
            P::EncryptedKey { .. } => "allowed is a key without a passphrase, which only the service can read",
            P::KeyMismatch { .. } => "the two have to be made for each other",
            P::Expired { .. } | P::NotYetValid { .. } => "the certificate has to be valid now",
            P::NoSystemRoots { .. } => "install ca-certificates, or set aws.root_ca",
            P::ExposedKey { .. } => "only the service, and at most its group, may read the key",
        }
    }

    /// Whether there can be no connection because of it. An exposed key is for `check` to refuse; it would connect.
    pub fn prevents_connecting(&self) -> bool {
        !matches!(self, CredentialProblem::ExposedKey { .. })
    }
}
