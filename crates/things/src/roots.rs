//! The authorities that sign AWS IoT Core's certificates, from the system's trust store.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::stop::Stop;

/// What the names of the authorities begin with ("Server authentication", AWS IoT Core developer guide).
const AMAZON: &str = "Amazon Root CA ";

/// Amazon's authorities in PEM format.
///
/// # Errors
/// If the system does not trust any.
pub fn amazon() -> Result<String, Stop> {
    let found = rustls_native_certs::load_native_certs();
    let pem: String = found.certs.iter().filter(|der| is_amazons(der)).map(pem).collect();
    if pem.is_empty() {
        return Err(Stop::Failed(
            "the system's trust store holds no Amazon Root CA; install ca-certificates, or name a file as root_ca in [aws] \
             of the configuration that --config gives"
                .into(),
        ));
    }
    Ok(pem)
}

fn is_amazons(der: &CertificateDer<'_>) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return false };
    certificate.subject().iter_common_name().any(|name| name.as_str().is_ok_and(|name| name.starts_with(AMAZON)))
}

fn pem(der: &CertificateDer<'_>) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::pem::PemObject;

    use super::*;

    /// Debian's store carries Amazon's authorities, and what is written of them is read again as the same.
    #[test]
    fn amazons_authorities_are_found() {
        let pem = amazon().expect("ca-certificates");
        let all: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().expect("PEM");
        assert_eq!(all.len(), 4);
        assert!(all.iter().all(is_amazons));
    }
}
