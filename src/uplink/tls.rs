//! TLS: who the bridge is, and whom it trusts.
//!
//! The files are read anew for every attempt to connect, so that a mended file heals the connection without a restart.

mod credential;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, InconsistentKeys, RootCertStore};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

pub use credential::{Credential, CredentialProblem};

use crate::config::Aws;

/// What AWS IoT Core asks for on port 443 to tell MQTT from HTTPS (AWS IoT Core developer guide, protocols).
const ALPN_ON_443: &[u8] = b"x-amzn-mqtt-ca";

/// Everything that a TLS connection needs.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub config: Arc<ClientConfig>,
    /// When the client certificate expires.
    pub certificate_expires: SystemTime,
}

/// What a look at the files has found.
#[derive(Debug)]
pub struct Inspection {
    /// Everything that is wrong.
    pub problems: Vec<CredentialProblem>,
    /// When the client certificate expires, if it can be read.
    pub certificate_expires: Option<SystemTime>,
}

/// Reads the files that `aws` names and makes a TLS configuration of them. Answers the first problem that prevents it.
///
/// `now` is the time that the certificate has to be valid at. Reads files: not to be called where blocking hurts.
pub fn load(aws: &Aws, now: SystemTime) -> Result<Credentials, CredentialProblem> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut problems = Vec::new();
    let parts = read(aws, now, &provider, &mut problems);
    if let Some(problem) = problems.into_iter().find(CredentialProblem::prevents_connecting) {
        return Err(problem);
    }
    let Parts { roots: Some(roots), certificate: Some(certificate), private_key: Some(private_key) } = parts else {
        unreachable!("a part is missing only with a problem that prevents connecting");
    };
    let unusable = |error: rustls::Error| CredentialProblem::Unusable {
        credential: Credential::Certificate,
        path: aws.certificate.clone(),
        reason: error.to_string(),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_root_certificates(roots).with_client_auth_cert(certificate.chain, private_key))
        .map_err(unusable)?;
    if aws.port == 443 {
        config.alpn_protocols = vec![ALPN_ON_443.to_vec()];
    }
    Ok(Credentials { config: Arc::new(config), certificate_expires: certificate.expires })
}

/// Reads the files that `aws` names and tells everything that is wrong with them at the time `now`.
pub fn inspect(aws: &Aws, now: SystemTime) -> Inspection {
    let mut problems = Vec::new();
    let parts = read(aws, now, &rustls::crypto::ring::default_provider(), &mut problems);
    problems.extend(exposed_key(&aws.private_key));
    Inspection { problems, certificate_expires: parts.certificate.map(|certificate| certificate.expires) }
}

struct Parts {
    roots: Option<RootCertStore>,
    certificate: Option<ClientCertificate>,
    private_key: Option<PrivateKeyDer<'static>>,
}

struct ClientCertificate {
    /// The client's own, then its issuers.
    chain: Vec<CertificateDer<'static>>,
    expires: SystemTime,
}

fn read(aws: &Aws, now: SystemTime, provider: &CryptoProvider, problems: &mut Vec<CredentialProblem>) -> Parts {
    let mut keep = |problem| problems.push(problem);
    let certificate = read_certificate(&aws.certificate).map_err(&mut keep).ok();
    let private_key = read_private_key(&aws.private_key).map_err(&mut keep).ok();
    let roots = match &aws.root_ca {
        Some(path) => read_roots(path),
        None => system_roots(),
    };
    let roots = roots.map_err(&mut keep).ok();
    if let Some((_, validity)) = &certificate
        && let Err(problem) = validity.check(&aws.certificate, now)
    {
        keep(problem);
    }
    if let (Some((certificate, _)), Some(key)) = (&certificate, &private_key)
        && let Err(problem) = check_pair(aws, certificate, key, provider)
    {
        keep(problem);
    }
    Parts { roots, certificate: certificate.map(|(certificate, _)| certificate), private_key }
}

fn read_file(credential: Credential, path: &Path) -> Result<Vec<u8>, CredentialProblem> {
    fs::read(path).map_err(|source| CredentialProblem::Unreadable { credential, path: path.into(), source })
}

fn read_certificates(credential: Credential, path: &Path) -> Result<Vec<CertificateDer<'static>>, CredentialProblem> {
    let text = read_file(credential, path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(credential, path, &error))?;
    if certificates.is_empty() {
        return Err(CredentialProblem::Empty { credential, path: path.into() });
    }
    Ok(certificates)
}

/// From when to when the client certificate is valid.
struct Validity {
    from: ASN1Time,
    until: ASN1Time,
}

impl Validity {
    fn check(&self, path: &Path, now: SystemTime) -> Result<(), CredentialProblem> {
        if now < system_time(&self.from) {
            return Err(CredentialProblem::NotYetValid { path: path.into(), from: self.from.to_string() });
        }
        if now > system_time(&self.until) {
            return Err(CredentialProblem::Expired { path: path.into(), on: self.until.to_string() });
        }
        Ok(())
    }
}

fn read_certificate(path: &Path) -> Result<(ClientCertificate, Validity), CredentialProblem> {
    let chain = read_certificates(Credential::Certificate, path)?;
    let (_, own) =
        X509Certificate::from_der(&chain[0]).map_err(|error| unusable(Credential::Certificate, path, &error))?;
    let validity = Validity { from: own.validity().not_before, until: own.validity().not_after };
    let expires = system_time(&validity.until);
    Ok((ClientCertificate { chain, expires }, validity))
}

fn read_private_key(path: &Path) -> Result<PrivateKeyDer<'static>, CredentialProblem> {
    const ENCRYPTED: [&[u8]; 2] = [b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED"];
    let credential = Credential::PrivateKey;
    let text = read_file(credential, path)?;
    if ENCRYPTED.iter().any(|mark| text.windows(mark.len()).any(|window| window == *mark)) {
        return Err(CredentialProblem::EncryptedKey { path: path.into() });
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        pem::Error::NoItemsFound => CredentialProblem::Empty { credential, path: path.into() },
        error => unusable(credential, path, &error),
    })
}

fn check_pair(
    aws: &Aws,
    certificate: &ClientCertificate,
    key: &PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<(), CredentialProblem> {
    let signing_key = provider
        .key_provider
        .load_private_key(key.clone_key())
        .map_err(|error| unusable(Credential::PrivateKey, &aws.private_key, &error))?;
    match CertifiedKey::new(certificate.chain.clone(), signing_key).keys_match() {
        // Unknown: the key cannot tell its public half. The broker will.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => Err(CredentialProblem::KeyMismatch {
            certificate: aws.certificate.clone(),
            private_key: aws.private_key.clone(),
        }),
        Err(error) => Err(unusable(Credential::Certificate, &aws.certificate, &error)),
    }
}

fn read_roots(path: &Path) -> Result<RootCertStore, CredentialProblem> {
    let mut roots = RootCertStore::empty();
    let mut refused = None;
    for certificate in read_certificates(Credential::RootCa, path)? {
        refused = roots.add(certificate).err().or(refused);
    }
    match refused {
        // One of several that can't be used does not stand in the way of the others.
        Some(error) if roots.is_empty() => Err(unusable(Credential::RootCa, path, &error)),
        _ => Ok(roots),
    }
}

fn system_roots() -> Result<RootCertStore, CredentialProblem> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reason = found.errors.first().map_or("none is installed".into(), ToString::to_string);
        return Err(CredentialProblem::NoSystemRoots { reason });
    }
    Ok(roots)
}

/// The key is for the owner, and a group that the administrator chose.
fn exposed_key(path: &Path) -> Option<CredentialProblem> {
    // A file that is not there is a problem already.
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o007 != 0).then(|| CredentialProblem::ExposedKey { path: path.into(), mode })
}

fn unusable(credential: Credential, path: &Path, reason: &dyn std::fmt::Display) -> CredentialProblem {
    CredentialProblem::Unusable { credential, path: path.into(), reason: reason.to_string() }
}

fn system_time(time: &ASN1Time) -> SystemTime {
    let seconds = time.timestamp();
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let time = match seconds {
        0.. => SystemTime::UNIX_EPOCH.checked_add(distance),
        _ => SystemTime::UNIX_EPOCH.checked_sub(distance),
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests;
