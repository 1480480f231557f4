//! The calls about certificates.

use std::time::{Duration, SystemTime};

use aws_sdk_iot::config::Config;
use aws_sdk_iot::config::retry::RetryConfig;
use aws_sdk_iot::types::CertificateStatus;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Aws;
use super::calls::{call, list, once_free};
use crate::failure::{Failure, Kind};
use crate::keys::{Key, Request};

/// A certificate as AWS has issued it.
#[derive(Debug)]
pub struct Issued {
    pub id: String,
    pub arn: String,
    pub pem: String,
}

/// What AWS knows of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateState {
    Active,
    /// Not active, for a reason that the word tells.
    Other(String),
    Missing,
}

/// How far the clocks of AWS and of this machine may be apart: with more, AWS takes no request.
const CLOCKS_APART: Duration = Duration::from_secs(600);

impl Aws {
    /// Has a certificate issued for the key of `request`. It is sent once: another time would make another certificate.
    pub async fn certificate_from_csr(&self, request: &Request) -> Result<Issued, Failure> {
        let once = Config::builder().retry_config(RetryConfig::disabled());
        self.pace.turn(CREATE).await;
        let sent = self
            .client
            .create_certificate_from_csr()
            .certificate_signing_request(&request.csr)
            .set_as_active(true)
            .customize()
            .config_override(once)
            .send()
            .await;
        let answer = sent.map_err(|error| Failure::of(CREATE, &request.mark, &error))?;
        issued(answer.certificate_id, answer.certificate_arn, answer.certificate_pem)
    }

    /// Has a key pair and a certificate made by AWS. Not active yet, so that one that gets lost on the way is of no use
    /// to anybody.
    pub async fn keys_and_certificate(&self) -> Result<(Issued, Key), Failure> {
        let once = Config::builder().retry_config(RetryConfig::disabled());
        let action = "iot:CreateKeysAndCertificate";
        self.pace.turn(action).await;
        let request = self.client.create_keys_and_certificate().set_as_active(false);
        let answer = request.customize().config_override(once).send().await;
        let answer = answer.map_err(|error| Failure::of(action, "a key pair", &error))?;
        let key = answer.key_pair.and_then(|pair| pair.private_key);
        let key = key.ok_or_else(|| Failure::other("AWS has made a certificate without a private key"))?;
        Ok((issued(answer.certificate_id, answer.certificate_arn, answer.certificate_pem)?, Key { pem: key }))
    }

    /// The certificate that was issued for `request`, asked for at `asked`, whose answer never arrived.
    pub async fn find_certificate(&self, request: &Request, asked: SystemTime) -> Result<Option<Issued>, Failure> {
        let certificates =
            list!(self, "iot:ListCertificates", "all", self.client.list_certificates(), certificates, next_marker)?;
        let from = asked.checked_sub(CLOCKS_APART).unwrap_or(SystemTime::UNIX_EPOCH);
        for certificate in certificates {
            let made = certificate.creation_date.and_then(|at| SystemTime::try_from(at).ok());
            let Some(id) = certificate.certificate_id.filter(|_| made.is_none_or(|made| made >= from)) else {
                continue;
            };
            let description = self.client.describe_certificate().certificate_id(&id);
            let description = match call!(self, "iot:DescribeCertificate", &id, description) {
                Err(failure) if failure.kind == Kind::NotFound => continue,
                other => other?.certificate_description,
            };
            let Some(description) = description else { continue };
            if description.certificate_pem().is_some_and(|pem| is_of(pem, request)) {
                return issued(Some(id), description.certificate_arn, description.certificate_pem).map(Some);
            }
        }
        Ok(None)
    }

    /// Whether the certificate is there and active.
    pub async fn certificate_state(&self, id: &str) -> Result<CertificateState, Failure> {
        let request = self.client.describe_certificate().certificate_id(id);
        match call!(self, "iot:DescribeCertificate", id, request) {
            Err(failure) if failure.kind == Kind::NotFound => Ok(CertificateState::Missing),
            Err(failure) => Err(failure),
            Ok(answer) => Ok(match answer.certificate_description.and_then(|description| description.status) {
                Some(CertificateStatus::Active) => CertificateState::Active,
                other => {
                    CertificateState::Other(other.map_or("unknown".into(), |status| status.as_str().to_lowercase()))
                }
            }),
        }
    }

    /// The certificate in PEM format, if it is there.
    pub async fn certificate_pem(&self, id: &str) -> Result<Option<String>, Failure> {
        let request = self.client.describe_certificate().certificate_id(id);
        match call!(self, "iot:DescribeCertificate", id, request) {
            Err(failure) if failure.kind == Kind::NotFound => Ok(None),
            Err(failure) => Err(failure),
            Ok(answer) => Ok(answer.certificate_description.and_then(|description| description.certificate_pem)),
        }
    }

    pub async fn activate_certificate(&self, id: &str) -> Result<(), Failure> {
        self.set_status(id, CertificateStatus::Active).await
    }

    /// Deactivates and deletes a certificate that nothing is attached to any more.
    pub async fn delete_certificate(&self, id: &str) -> Result<(), Failure> {
        match self.set_status(id, CertificateStatus::Inactive).await {
            Err(failure) if failure.kind == Kind::NotFound => return Ok(()),
            other => other?,
        }
        let delete = async || {
            call!(self, "iot:DeleteCertificate", id, self.client.delete_certificate().certificate_id(id)).map(drop)
        };
        once_free(delete).await
    }

    async fn set_status(&self, id: &str, status: CertificateStatus) -> Result<(), Failure> {
        let request = self.client.update_certificate().certificate_id(id).new_status(status);
        call!(self, "iot:UpdateCertificate", id, request).map(drop)
    }
}

const CREATE: &str = "iot:CreateCertificateFromCsr";

fn issued(id: Option<String>, arn: Option<String>, pem: Option<String>) -> Result<Issued, Failure> {
    match (id, arn, pem) {
        (Some(id), Some(arn), Some(pem)) => Ok(Issued { id, arn, pem }),
        _ => Err(Failure::other("AWS has answered with half a certificate")),
    }
}

/// Whether the certificate in `pem` was issued for `request`: it has its key, or its mark.
fn is_of(pem: &str, request: &Request) -> bool {
    let Ok(der) = CertificateDer::from_pem_slice(pem.as_bytes()) else { return false };
    let Ok((_, certificate)) = X509Certificate::from_der(&der) else { return false };
    let marked = certificate.subject().iter_common_name().any(|name| name.as_str() == Ok(&request.mark));
    marked || certificate.public_key().raw == request.public_key
}
