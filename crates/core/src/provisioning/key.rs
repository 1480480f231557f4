//! The robot's own key.

use std::fmt;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PublicKeyData};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::pem;

/// A private key, which nothing but its file gets to see.
pub struct Key(KeyPair);

/// What keeps a key from being made, or from signing.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct KeyProblem(#[from] rcgen::Error);

impl Key {
    /// Makes one, for ECDSA on the curve P-256.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn generate() -> Result<Key, KeyProblem> {
        Ok(Key(KeyPair::generate()?))
    }

    /// Reads one, in PEM format.
    ///
    /// # Errors
    /// When there is none that can sign.
    pub fn from_pem(pem: &[u8]) -> Result<Key, pem::Fault> {
        pem::key_pair(pem).map(Key)
    }

    pub(super) fn to_pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// A certificate signing request in PEM format, for somebody who is called `name`.
    ///
    /// # Errors
    /// When the key does not sign.
    pub fn signing_request(&self, name: &str) -> Result<String, KeyProblem> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        Ok(params.serialize_request(&self.0)?.pem()?)
    }

    /// Whether the certificate `pem` is for this key.
    pub fn fits(&self, pem: &str) -> bool {
        let Ok(der) = CertificateDer::from_pem_slice(pem.as_bytes()) else { return false };
        let certificate = X509Certificate::from_der(&der);
        certificate.is_ok_and(|(_, certificate)| certificate.public_key().raw == self.0.subject_public_key_info())
    }
}

/// Says nothing of what it is.
impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Key").finish_non_exhaustive()
    }
}
