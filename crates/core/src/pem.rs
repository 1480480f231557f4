//! Certificates and private keys in PEM files (RFC 7468), and what is wrong with them.
//!
//! What is said of a file holds nothing of what is in it: such sentences reach the log, `check`, systemd's status line
//! and `/diagnostics`, and the libraries that read PEM quote what they do not understand, which may be a private key.

mod damage;
mod key;

use std::fmt;

use rcgen::KeyPair;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub use key::explain_key;

/// What a file is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    Certificate,
    PrivateKey,
}

/// What is wrong with a file. Reads as the rest of a sentence that begins with the file: "the private key FILE …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("is empty")]
    Empty,
    /// Nothing of the kind, and nothing that is known either.
    #[error("holds no {0} in PEM format")]
    Nothing(Wanted),
    #[error("is UTF-16 text; save it as UTF-8")]
    Utf16,
    #[error("is in DER format; `openssl {} -inform der` makes PEM of it", .0.openssl())]
    Der(Wanted),
    #[error("is a PKCS#12 archive; `openssl pkcs12` takes certificate and key out of it")]
    Pkcs12,
    #[error("is no text")]
    Binary,
    #[error("is JSON; the PEM text in it has to stand in a file of its own, with its line breaks")]
    Json,
    #[error("is a web page")]
    Html,
    #[error("lacks its first and last line, -----BEGIN …----- and -----END …-----")]
    Bare,
    #[error("has no line -----BEGIN …-----, with five hyphens on each side")]
    NoBegin,
    /// Spaces, or nothing, where the line breaks were.
    #[error("is damaged: its lines are run together; -----BEGIN …----- and -----END …----- need lines of their own")]
    RunTogether,
    #[error("is damaged: its line breaks are the two characters \\n; `printf '%b'` makes line breaks of them")]
    EscapedBreaks,
    #[error("is damaged: its lines are indented; take the blanks before -----BEGIN …----- and -----END …----- away")]
    Indented,
    #[error("is damaged: the block of line {line} has no end, a line -----END …-----")]
    NoEnd { line: usize },
    #[error("is damaged: the block of line {line} begins with another word than it ends with")]
    OtherEnd { line: usize },
    #[error("is damaged: line {line} is no base64")]
    NotBase64 { line: usize },
    #[error("is damaged: the base64 of the block of line {line} is incomplete")]
    Incomplete { line: usize },
    /// It holds something else, which PEM files are used for as well.
    #[error("holds {found}, where a {wanted} belongs")]
    Other { found: Label, wanted: Wanted },
    #[error("is encrypted; the bridge needs it without a passphrase")]
    Encrypted,
    #[error("begins with BEGIN TRUSTED CERTIFICATE, OpenSSL's own form; `openssl x509 -in FILE` makes it ordinary")]
    Trusted,
    /// The text is PEM, its content is not what the label says.
    #[error("is damaged: its text is PEM, but what that stands for is no {0}")]
    Content(Wanted),
    #[error("is damaged: a part of it is missing, or there is something behind its end")]
    Length,
    /// The content is a key in another format than the label says.
    #[error("holds a {format} key under the label {says}; its first and last line have to say {should_say}")]
    Mislabelled { format: &'static str, says: &'static str, should_say: &'static str },
    /// No certificate can be asked for with it.
    #[error(
        "holds a key in another format than PKCS#8 (-----BEGIN PRIVATE KEY-----), which asking for a certificate takes"
    )]
    NotPkcs8,
    #[error("is an RSA key of {bits} bits; allowed are 2048 to {MOST_RSA_BITS}")]
    RsaBits { bits: usize },
    #[error("is a key for the curve {0}; {ALLOWED_KEYS}")]
    Curve(&'static str),
    #[error("is {0} key; {ALLOWED_KEYS}")]
    Algorithm(&'static str),
    #[error("is a key of a kind that is not supported; {ALLOWED_KEYS}")]
    UnknownKey,
    #[error(
        "is an X.509 certificate of version 1; allowed is version 3, which an issuer makes when it adds extensions"
    )]
    Version1,
}

/// The longest RSA key that the bridge signs with.
const MOST_RSA_BITS: usize = 8192;

/// The keys that the bridge signs with.
const ALLOWED_KEYS: &str = "allowed are RSA from 2048 bits on, and the curves P-256, P-384 and P-521";

/// What the first line of a block says that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    Certificate,
    PrivateKey,
    PublicKey,
    SigningRequest,
    RevocationList,
    OpenSshKey,
    Parameters,
    Unknown,
}

/// The certificates of a file, in its order.
#[derive(Debug, Default)]
pub struct Bundle {
    pub certificates: Vec<CertificateDer<'static>>,
    /// What is wrong with a block that could not be read, or with the whole file if none could.
    pub fault: Option<Fault>,
}

/// The end of a block and the beginning of the next in one line.
const JOINED: &[u8] = b"----------BEGIN ";

/// Reads every certificate in `text`.
pub fn certificates(text: &[u8]) -> Bundle {
    let text = without_mark(text);
    let mut bundle = Bundle::default();
    // Where files were put together of which one does not end with a line break, what follows would be overlooked.
    let mut is_damaged = text.windows(JOINED.len()).any(|window| window == JOINED);
    for certificate in CertificateDer::pem_slice_iter(text) {
        match certificate {
            Ok(certificate) => bundle.certificates.push(certificate),
            Err(_) => is_damaged = true,
        }
    }
    if is_damaged || bundle.certificates.is_empty() {
        bundle.fault = Some(damage::find(text, Wanted::Certificate));
    }
    bundle
}

/// Reads the first private key in `text`. Whether it is one that can be used is for whoever signs with it, and for
/// [`explain_key`] if it can't.
///
/// # Errors
/// What is wrong if there is none.
pub fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, Fault> {
    let text = without_mark(text);
    if damage::is_encrypted(text) {
        return Err(Fault::Encrypted);
    }
    // The library's error quotes the file.
    PrivateKeyDer::from_pem_slice(text).map_err(|_| damage::find(text, Wanted::PrivateKey))
}

/// Reads the first private key in `text` for somebody who asks for a certificate.
///
/// # Errors
/// What is wrong if there is none, or none that can be used so.
pub fn key_pair(text: &[u8]) -> Result<KeyPair, Fault> {
    let key = private_key(text)?;
    // rcgen's own reading of PEM quotes the file as well.
    KeyPair::try_from(&key).map_err(|_| match explain_key(&key) {
        Fault::Content(_) if !matches!(key, PrivateKeyDer::Pkcs8(_)) => Fault::NotPkcs8,
        fault => fault,
    })
}

/// `text` without the byte order mark that some editors put before UTF-8.
fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

impl Wanted {
    /// The subcommand of `openssl` for it.
    fn openssl(self) -> &'static str {
        match self {
            Wanted::Certificate => "x509",
            Wanted::PrivateKey => "pkey",
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Wanted::Certificate => "certificate",
            Wanted::PrivateKey => "private key",
        })
    }
}

impl Label {
    fn of(label: &str) -> Label {
        match label {
            "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => Label::Certificate,
            "OPENSSH PRIVATE KEY" => Label::OpenSshKey,
            "PUBLIC KEY" | "RSA PUBLIC KEY" => Label::PublicKey,
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Label::SigningRequest,
            "X509 CRL" => Label::RevocationList,
            "EC PARAMETERS" | "DH PARAMETERS" => Label::Parameters,
            label if label.ends_with("PRIVATE KEY") => Label::PrivateKey,
            _ => Label::Unknown,
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Label::Certificate => "a certificate",
            Label::PrivateKey => "a private key",
            Label::PublicKey => "a public key",
            Label::SigningRequest => "a certificate signing request",
            Label::RevocationList => "a revocation list",
            Label::OpenSshKey => "a key of OpenSSH",
            Label::Parameters => "parameters without a key",
            Label::Unknown => "something else",
        })
    }
}

#[cfg(test)]
#[path = "../../../tests/support/leaks.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
pub(crate) mod leaks;
#[cfg(test)]
mod tests;
