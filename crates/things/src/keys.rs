//! Key pairs, made on this machine.

use std::fmt;

use rcgen::{CertificateParams, DnType, KeyPair, PublicKeyData};

use iot_bridge_core::pem;

/// A private key in PEM format. It is shown to nobody.
pub struct Key {
    pub pem: String,
}

/// Why a key is of no use. Reads as the rest of a sentence that begins with the key, and holds nothing of it.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error(transparent)]
    Text(#[from] pem::Fault),
    #[error("can't be used: {0}")]
    Signing(#[from] rcgen::Error),
}

/// A request for a certificate for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// In PEM format.
    pub csr: String,
    /// The common name that the request asks for. No other request has it.
    pub mark: String,
    /// The public key as a certificate holds it, in DER.
    pub public_key: Vec<u8>,
}

impl Key {
    /// Makes a key pair: ECDSA with P-256, which AWS IoT Core takes and small robots compute quickly.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    pub fn generate() -> Result<Key, Unusable> {
        Ok(Key { pem: KeyPair::generate()?.serialize_pem() })
    }

    /// Asks for a certificate for this key, marked with `mark`.
    ///
    /// # Errors
    /// If the key can't be used.
    pub fn request(&self, mark: &str) -> Result<Request, Unusable> {
        let key = pem::key_pair(self.pem.as_bytes())?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, mark);
        let csr = params.serialize_request(&key)?.pem()?;
        Ok(Request { csr, mark: mark.to_owned(), public_key: key.subject_public_key_info() })
    }
}

/// A mark for a certificate of `thing`: its name, as far as a common name has room (64 characters, RFC 5280), and
/// something random.
pub fn mark(thing: &str) -> String {
    let short: String = thing.chars().take(40).collect();
    format!("{short} {:016x}", rand::random::<u64>())
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key { .. }")
    }
}
