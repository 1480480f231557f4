//! TLS: who the bridge is, and whom it trusts.
//!
//! The files are read anew for every attempt to connect, so that a mended file heals the connection without a restart.

mod credential;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, InconsistentKeys, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};
use x509_parser::time::ASN1Time;

pub(super) use credential::is_legacy;
pub use credential::{Credential, CredentialProblem};

use super::Broker;
use crate::pem::{self, Wanted};

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

/// Reads the files that `broker` names and makes a TLS configuration of them. Returns the first problem that prevents it.
///
/// `now` is the time that the certificate has to be valid at. Reads files: not to be called where blocking hurts.
pub fn load(broker: &Broker, now: SystemTime) -> Result<Credentials, CredentialProblem> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut problems = Vec::new();
    let parts = read(broker, now, &provider, &mut problems);
    if let Some(problem) = problems.into_iter().find(CredentialProblem::prevents_connecting) {
        return Err(problem);
    }
    let Parts { roots: Some(roots), certificate: Some(certificate), private_key: Some(private_key) } = parts else {
        unreachable!("a part is missing only with a problem that prevents connecting");
    };
    // What is wrong with certificate or key was found above, so that this is for what nobody has thought of.
    let unusable = |_: rustls::Error| {
        damaged(Credential::Certificate, &broker.certificate, pem::Fault::Content(Wanted::Certificate))
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_root_certificates(roots).with_client_auth_cert(certificate.chain, private_key))
        .map_err(unusable)?;
    if broker.port == 443 {
        config.alpn_protocols = vec![ALPN_ON_443.to_vec()];
    }
    Ok(Credentials { config: Arc::new(config), certificate_expires: certificate.expires })
}

/// Reads the files that `broker` names and tells everything that is wrong with them at the time `now`.
pub fn inspect(broker: &Broker, now: SystemTime) -> Inspection {
    let mut problems = Vec::new();
    let parts = read(broker, now, &rustls::crypto::aws_lc_rs::default_provider(), &mut problems);
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

fn read(broker: &Broker, now: SystemTime, provider: &CryptoProvider, problems: &mut Vec<CredentialProblem>) -> Parts {
    let mut keep = |problem| problems.push(problem);
    let certificate = read_certificate(&broker.certificate).map_err(&mut keep).ok();
    let private_key = read_private_key(&broker.private_key).map_err(&mut keep).ok();
    let roots = match &broker.root_ca {
        Some(path) => read_roots(path, &mut keep),
        None => system_roots(),
    };
    let roots = roots.map_err(&mut keep).ok();
    if let Some((_, validity)) = &certificate
        && let Err(problem) = validity.check(&broker.certificate, now)
    {
        keep(problem);
    }
    if let (Some((certificate, _)), Some(key)) = (&certificate, &private_key)
        && let Err(problem) = check_pair(broker, certificate, key, provider)
    {
        keep(problem);
    }
    if is_legacy(&broker.host) && (broker.root_ca.is_none() || roots.as_ref().is_some_and(are_amazons)) {
        keep(CredentialProblem::LegacyEndpoint { endpoint: broker.host.clone() });
    }
    Parts { roots, certificate: certificate.map(|(certificate, _)| certificate), private_key }
}

fn read_file(credential: Credential, path: &Path) -> Result<Vec<u8>, CredentialProblem> {
    fs::read(path).map_err(|source| CredentialProblem::Unreadable { credential, path: path.into(), source })
}

fn damaged(credential: Credential, path: &Path, fault: pem::Fault) -> CredentialProblem {
    CredentialProblem::Damaged { credential, path: path.into(), fault }
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
    let credential = Credential::Certificate;
    let pem::Bundle { certificates: chain, fault } = pem::certificates(&read_file(credential, path)?);
    if let Some(fault) = fault {
        return Err(damaged(credential, path, fault));
    }
    let Ok((_, own)) = X509Certificate::from_der(&chain[0]) else {
        return Err(damaged(credential, path, pem::Fault::Content(Wanted::Certificate)));
    };
    // rustls reads no older ones.
    if own.version() != X509Version::V3 {
        return Err(damaged(credential, path, pem::Fault::Version1));
    }
    let validity = Validity { from: own.validity().not_before, until: own.validity().not_after };
    let expires = system_time(&validity.until);
    Ok((ClientCertificate { chain, expires }, validity))
}

fn read_private_key(path: &Path) -> Result<PrivateKeyDer<'static>, CredentialProblem> {
    let credential = Credential::PrivateKey;
    pem::private_key(&read_file(credential, path)?).map_err(|fault| damaged(credential, path, fault))
}

fn check_pair(
    broker: &Broker,
    certificate: &ClientCertificate,
    key: &PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<(), CredentialProblem> {
    let path = &broker.certificate;
    let signing_key = provider
        .key_provider
        .load_private_key(key.clone_key())
        .map_err(|_| damaged(Credential::PrivateKey, &broker.private_key, pem::explain_key(key)))?;
    let matches = |certificate: &CertificateDer<'static>| {
        CertifiedKey::new(vec![certificate.clone()], Arc::clone(&signing_key)).keys_match()
    };
    match matches(&certificate.chain[0]) {
        // Unknown: the key cannot tell its public half. The broker will.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(if certificate.chain[1..].iter().any(|other| matches(other).is_ok()) {
                CredentialProblem::Order { path: path.clone() }
            } else if is_authority(&certificate.chain[0]) == Some(true) {
                CredentialProblem::Authority { path: path.clone() }
            } else {
                CredentialProblem::KeyMismatch { certificate: path.clone(), private_key: broker.private_key.clone() }
            })
        }
        Err(_) => Err(damaged(Credential::Certificate, path, pem::Fault::Content(Wanted::Certificate))),
    }
}

/// Whether a certificate is one that others may be signed with. `None` if it does not say.
fn is_authority(certificate: &CertificateDer<'_>) -> Option<bool> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let says = certificate.basic_constraints().ok()?.is_some_and(|constraints| constraints.value.ca);
    // One that has signed itself is its own authority, and before version 3 nothing is said of it.
    let may_be = certificate.version() != X509Version::V3 || certificate.issuer() == certificate.subject();
    if !says && may_be { None } else { Some(says) }
}

fn read_roots(path: &Path, keep: &mut impl FnMut(CredentialProblem)) -> Result<RootCertStore, CredentialProblem> {
    let credential = Credential::RootCa;
    let pem::Bundle { certificates, mut fault } = pem::certificates(&read_file(credential, path)?);
    let mut roots = RootCertStore::empty();
    if !certificates.is_empty() && certificates.iter().all(|one| is_authority(one) == Some(false)) {
        keep(CredentialProblem::NoAuthority { path: path.into() });
    }
    for certificate in certificates {
        if roots.add(certificate).is_err() {
            fault = fault.or(Some(pem::Fault::Content(Wanted::Certificate)));
        }
    }
    match fault {
        Some(fault) if roots.is_empty() => Err(damaged(credential, path, fault)),
        // One of several that can't be used does not stand in the way of the others.
        Some(fault) => {
            keep(CredentialProblem::PartlyDamaged { path: path.into(), fault });
            Ok(roots)
        }
        None => Ok(roots),
    }
}

fn system_roots() -> Result<RootCertStore, CredentialProblem> {
    use rustls_native_certs::ErrorKind;
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let reason = match found.errors.first().map(|error| &error.kind) {
            Some(ErrorKind::Io { inner, path }) => format!("{}: {inner}", path.display()),
            // What it says of PEM quotes the file.
            Some(_) => "what is there can't be read".to_owned(),
            None => "none is installed".to_owned(),
        };
        return Err(CredentialProblem::NoSystemRoots { reason });
    }
    Ok(roots)
}

/// Whether nobody but Amazon is trusted: "Amazon Root CA 1" to 4, and the one by which Starfield has signed those.
fn are_amazons(roots: &RootCertStore) -> bool {
    let names = ["Amazon Root CA", "Starfield Services Root Certificate Authority"];
    let is_amazons =
        |subject: &[u8]| names.iter().any(|name| subject.windows(name.len()).any(|window| window == name.as_bytes()));
    roots.roots.iter().all(|root| is_amazons(&root.subject))
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
