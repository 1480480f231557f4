//! The messages of the provisioning API, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::store::{Issued, Registered, Token};
use crate::config::{check_thing, quote};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// `CreateCertificateFromCsr`.
    Certificate,
    /// `RegisterThing`.
    Registration,
}

/// Where a request goes, and where its answer comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    pub request: String,
    pub accepted: String,
    pub rejected: String,
}

impl Topics {
    /// Those of `request`, with the provisioning template called `template`.
    pub fn of(request: Request, template: &str) -> Topics {
        let request = match request {
            Request::Certificate => "$aws/certificates/create-from-csr/json".to_owned(),
            Request::Registration => format!("$aws/provisioning-templates/{template}/provision/json"),
        };
        Topics { accepted: format!("{request}/accepted"), rejected: format!("{request}/rejected"), request }
    }
}

/// Asks for a certificate upon the signing request `csr`, in PEM format.
pub fn certificate_request(csr: &str) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Message<'a> {
        certificate_signing_request: &'a str,
    }
    json(&Message { certificate_signing_request: csr })
}

/// Asks for the thing whose certificate came with `token`.
pub fn registration_request(token: &Token, parameters: &BTreeMap<String, String>) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Message<'a> {
        certificate_ownership_token: &'a Token,
        parameters: &'a BTreeMap<String, String>,
    }
    json(&Message { certificate_ownership_token: token, parameters })
}

fn json(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("text under names is JSON")
}

/// A certificate that was issued at `now`, in seconds since 1970.
///
/// # Errors
/// When `payload` is no such answer.
pub fn read_issued(payload: &[u8], now: u64) -> serde_json::Result<Issued> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Message {
        certificate_ownership_token: Token,
        certificate_id: String,
        certificate_pem: String,
    }
    let Message { certificate_ownership_token, certificate_id, certificate_pem } = serde_json::from_slice(payload)?;
    Ok(Issued { certificate_id, certificate_pem, ownership_token: certificate_ownership_token, obtained: now })
}

/// Why an answer tells of no thing.
#[derive(Debug, thiserror::Error)]
pub enum NoThing {
    /// It is no such answer.
    #[error("the broker's answer does not name the thing")]
    NoAnswer(#[from] serde_json::Error),
    /// It has a name that no thing can have.
    #[error("the template {template} names the thing {name}, which no thing can be called: {allowed}")]
    BadName { template: String, name: String, allowed: String },
}

/// The thing that `issued` was registered for, by the template called `template`.
///
/// # Errors
/// When `payload` is no such answer, or the name in it is none: that goes into topics and into the client id.
pub fn read_registered(payload: &[u8], issued: &Issued, template: &str) -> Result<Registered, NoThing> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Message {
        thing_name: String,
        #[serde(default)]
        device_configuration: Option<serde_json::Value>,
    }
    let Message { thing_name, device_configuration } = serde_json::from_slice(payload)?;
    check_thing(&thing_name).map_err(|allowed| NoThing::BadName {
        template: template.to_owned(),
        name: quote(&thing_name),
        allowed,
    })?;
    Ok(Registered {
        thing: thing_name,
        certificate_id: issued.certificate_id.clone(),
        certificate_pem: issued.certificate_pem.clone(),
        template: template.to_owned(),
        device_configuration,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Topics and messages are those of the developer guide.
    #[test]
    fn messages_are_as_documented() {
        let topics = Topics::of(Request::Registration, "my-fleet");
        assert_eq!(topics.request, "$aws/provisioning-templates/my-fleet/provision/json");
        assert_eq!(topics.rejected, "$aws/provisioning-templates/my-fleet/provision/json/rejected");
        let accepted = "$aws/certificates/create-from-csr/json/accepted";
        assert_eq!(Topics::of(Request::Certificate, "my-fleet").accepted, accepted);
        assert_eq!(certificate_request("a\nb"), br#"{"certificateSigningRequest":"a\nb"}"#);

        let payload = br#"{"certificateOwnershipToken":"t","certificateId":"i","certificatePem":"p","more":1}"#;
        let issued = read_issued(payload, 7).unwrap();
        assert_eq!((issued.certificate_id.as_str(), issued.certificate_pem.as_str(), issued.obtained), ("i", "p", 7));
        let parameters = BTreeMap::from([("SerialNumber".to_owned(), "7".to_owned())]);
        assert_eq!(
            registration_request(&issued.ownership_token, &parameters),
            br#"{"certificateOwnershipToken":"t","parameters":{"SerialNumber":"7"}}"#
        );

        let registered = read_registered(br#"{"deviceConfiguration":{"a":"b"},"thingName":"r7"}"#, &issued, "f");
        assert_eq!(registered.unwrap().thing, "r7");
        assert_eq!(read_registered(br#"{"thingName":"r7"}"#, &issued, "f").unwrap().device_configuration, None);
        assert!(read_registered(b"{}", &issued, "f").is_err());
        for name in ["", "a/b", "a#", "r\u{1b}[31m", &"x".repeat(129)] {
            let payload = serde_json::json!({ "thingName": name }).to_string();
            let error = read_registered(payload.as_bytes(), &issued, "f").expect_err(name).to_string();
            assert!(error.contains("no thing can be called") && error.len() < 250, "{error}");
            assert!(!error.contains('\u{1b}'), "{error}");
        }
        assert!(read_issued(b"no JSON", 0).is_err());
    }
}
