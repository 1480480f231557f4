//! Certificates made for a test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// Signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub pem: String,
}

/// When a certificate is valid.
#[derive(Debug, Clone, Copy)]
pub enum Valid {
    Now,
    /// Until 2020.
    NoLonger,
    /// From 4000 on.
    NotYet,
    /// From 2020 on, and for so many days from now.
    ForDays(u64),
}

/// A certificate with its key, in PEM format.
pub struct Identity {
    pub certificate: String,
    pub private_key: String,
}

/// The files of an [`Identity`].
#[derive(Debug, Clone)]
pub struct IdentityFiles {
    pub certificate: PathBuf,
    pub private_key: PathBuf,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for the key of a signing request in PEM format, or what is wrong with that.
    pub fn sign(&self, csr: &str) -> Result<String, String> {
        let request = CertificateSigningRequestParams::from_pem(csr).map_err(|error| error.to_string())?;
        Ok(request.signed_by(&self.issuer).map_err(|error| error.to_string())?.pem())
    }

    /// A certificate for a server with these names, or for a client that is called so.
    pub fn issue(&self, names: &[&str], valid: Valid) -> Identity {
        self.issue_for(KeyPair::generate().unwrap(), names, valid)
    }

    /// As [`Authority::issue`], with a key of the caller's.
    pub fn issue_for(&self, key: KeyPair, names: &[&str], valid: Valid) -> Identity {
        let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(DnType::CommonName, names[0]);
        (params.not_before, params.not_after) = match valid {
            Valid::Now => (date_time_ymd(2020, 1, 1), date_time_ymd(2999, 1, 1)),
            Valid::NoLonger => (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1)),
            Valid::NotYet => (date_time_ymd(4000, 1, 1), date_time_ymd(4001, 1, 1)),
            Valid::ForDays(days) => {
                (date_time_ymd(2020, 1, 1), (SystemTime::now() + Duration::from_secs(days * 86_400)).into())
            }
        };
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { certificate, private_key: key.serialize_pem() }
    }
}

impl Identity {
    /// Writes the two files into `directory`, the key for the owner only.
    pub fn write(&self, directory: &Path, name: &str) -> IdentityFiles {
        let certificate = directory.join(format!("{name}.cert.pem"));
        let private_key = directory.join(format!("{name}.private.key"));
        fs::write(&certificate, &self.certificate).unwrap();
        fs::write(&private_key, &self.private_key).unwrap();
        fs::set_permissions(&private_key, fs::Permissions::from_mode(0o600)).unwrap();
        IdentityFiles { certificate, private_key }
    }
}
