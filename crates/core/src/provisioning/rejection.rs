//! What AWS IoT Core says when it refuses, in words that say what to do.

use serde::Deserialize;

use super::api::Request;
use crate::config::Provisioning;

/// Longest text of somebody else's in a sentence of ours, in characters.
const LONGEST_QUOTE: usize = 200;

/// Shorter values of parameters prove nothing, and may be a part of any word.
const SHORTEST_SECRET: usize = 4;

/// An answer on a `rejected` topic.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rejection {
    pub status_code: u16,
    pub error_code: String,
    pub error_message: String,
}

impl Default for Rejection {
    fn default() -> Self {
        Rejection { status_code: 0, error_code: "no reason".into(), error_message: String::new() }
    }
}

/// What it comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// It is AWS IoT Core's own trouble, and passes.
    Passing,
    /// The token is too old, or was used already.
    StaleToken,
    Denied,
    NotFound,
    Conflict,
    Invalid,
}

impl Rejection {
    /// Reads an answer; one that can't be read gives no reason.
    pub fn read(payload: &[u8]) -> Rejection {
        serde_json::from_slice(payload).unwrap_or_default()
    }

    /// Whether another certificate has to be asked for, with another token.
    pub fn is_stale_token(&self) -> bool {
        self.reason() == Reason::StaleToken
    }

    /// Whether it passes without anybody doing anything.
    pub fn passes(&self) -> bool {
        self.reason() == Reason::Passing
    }

    /// By the code, as far as it says something, and else by the status, as HTTP counts.
    fn reason(&self) -> Reason {
        let code = self.error_code.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| code.contains(word));
        if says(&["ownershiptoken"]) {
            Reason::StaleToken
        } else if says(&["thrott", "limitexceeded", "internal", "unavailable"]) {
            Reason::Passing
        } else if says(&["accessdenied", "unauthorized", "forbidden"]) {
            Reason::Denied
        } else if says(&["notfound"]) {
            Reason::NotFound
        } else if says(&["conflict", "alreadyexists"]) {
            Reason::Conflict
        } else {
            match self.status_code {
                401 | 403 => Reason::Denied,
                404 => Reason::NotFound,
                409 => Reason::Conflict,
                429 | 500.. => Reason::Passing,
                _ => Reason::Invalid,
            }
        }
    }

    /// The whole as a sentence without its capital and full stop.
    pub fn sentence(&self, request: Request, provisioning: &Provisioning) -> String {
        let Provisioning { template, parameters, .. } = provisioning;
        let what = match request {
            Request::Certificate => "AWS IoT Core issues no certificate".to_owned(),
            Request::Registration => format!("AWS IoT Core does not register the robot by the template {template}"),
        };
        let names: Vec<&str> = parameters.keys().map(String::as_str).collect();
        let given = match &names[..] {
            [] => "there are none in aws.provisioning.parameters".to_owned(),
            names => format!("aws.provisioning.parameters has {}", names.join(", ")),
        };
        let advice = match (self.reason(), request) {
            (Reason::Passing, _) => "this passes, and it is asked again".to_owned(),
            (Reason::StaleToken, _) => "another certificate is asked for".to_owned(),
            (Reason::Denied, Request::Certificate) => {
                "is the claim certificate still active, and does its policy allow this?".to_owned()
            }
            (Reason::NotFound, Request::Certificate) => {
                "is aws.endpoint that of the account that the claim certificate belongs to?".to_owned()
            }
            (Reason::Conflict | Reason::Invalid, Request::Certificate) => {
                "does the private key suit AWS IoT Core? It takes RSA from 2048 bits on, and the curves P-256, P-384 and \
                 P-521"
                    .to_owned()
            }
            (Reason::Denied, Request::Registration) => format!(
                "the template's pre-provisioning hook has to let this robot in ({given}), and its provisioning role has \
                 to be allowed to make things, certificates and policies"
            ),
            (Reason::NotFound, Request::Registration) => format!(
                "is there a template called {template}, in this account and region, and does what it names exist? \
                 aws.provisioning.template says which one is used"
            ),
            (Reason::Conflict, Request::Registration) => {
                "the thing is there already, and the template does not say what to do about that (OverrideSettings)"
                    .to_owned()
            }
            (Reason::Invalid, Request::Registration) => format!(
                "is the template {template} there and enabled, and are these the parameters that it wants? {given}"
            ),
        };
        format!("{what}: {} ({}); {advice}", self.quoted(provisioning), self.code())
    }

    /// What AWS IoT Core says, without the values of the parameters: a template's hook may take one as a proof.
    fn quoted(&self, provisioning: &Provisioning) -> String {
        let mut message = self.error_message.clone();
        for value in provisioning.parameters.values().filter(|value| value.len() >= SHORTEST_SECRET) {
            message = message.replace(value.as_str(), "…");
        }
        let message = message.trim().trim_end_matches('.');
        let message = if message.is_empty() { "it does not say why" } else { message };
        let clean = message.chars().map(|c| if c.is_control() { ' ' } else { c });
        clean.take(LONGEST_QUOTE).collect()
    }

    fn code(&self) -> String {
        let code: String = self.error_code.chars().filter(|c| !c.is_control()).take(LONGEST_QUOTE).collect();
        if self.status_code == 0 { code } else { format!("{code}, {}", self.status_code) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn sentence(request: Request, status: u16, code: &str, message: &str) -> (Rejection, String) {
        let provisioning = Provisioning {
            template: "my-fleet".into(),
            claim_certificate: "c".into(),
            claim_private_key: "k".into(),
            parameters: BTreeMap::from([("SerialNumber".to_owned(), "a secret".to_owned())]),
        };
        let rejection = Rejection { status_code: status, error_code: code.into(), error_message: message.into() };
        let sentence = rejection.sentence(request, &provisioning);
        assert!(!sentence.contains("a secret"), "{sentence}");
        assert!(!sentence.ends_with('.') && !sentence.contains('\n'), "{sentence}");
        (rejection, sentence)
    }

    /// Each kind of refusal says what it is, in AWS IoT Core's words too, and what to look at.
    #[test]
    fn each_refusal_says_what_to_do() {
        use Request::{Certificate, Registration};
        for (request, status, code, message, word) in [
            (Registration, 404, "ResourceNotFound", "No template.", "a template called my-fleet"),
            (Registration, 400, "InvalidParameters", "Missing: Location", "has SerialNumber"),
            (Registration, 403, "AccessDenied", "Denied by\nhook: a secret", "pre-provisioning hook"),
            (Registration, 409, "ResourceConflict", "Thing exists", "OverrideSettings"),
            (Registration, 403, "", "", "pre-provisioning hook"),
            (Certificate, 403, "Unauthorized", "No", "claim certificate still active"),
            (Certificate, 400, "InvalidCSR", "Bad CSR", "P-256"),
        ] {
            let (rejection, sentence) = sentence(request, status, code, message);
            assert!(sentence.contains(word), "{sentence}");
            assert!(sentence.contains(&format!("{status})")) && sentence.contains(code), "{sentence}");
            assert!(!rejection.passes() && !rejection.is_stale_token(), "{sentence}");
        }
    }

    /// What passes by itself is told from what needs somebody, and a token that is too old from both.
    #[test]
    fn what_passes_is_told_apart() {
        for (status, code) in [(429, "Throttling"), (500, "InternalFailure"), (503, "x"), (400, "LimitExceeded")] {
            let (rejection, sentence) = sentence(Request::Registration, status, code, "busy");
            assert!(rejection.passes() && sentence.contains("passes"), "{sentence}");
        }
        let (stale, _) = sentence(Request::Registration, 400, "InvalidCertificateOwnershipToken", "expired");
        assert!(stale.is_stale_token() && !stale.passes());
    }

    /// Whatever the answer holds, it becomes a sentence of bounded length.
    #[test]
    fn nonsense_is_a_rejection_too() {
        for payload in [&b"no JSON"[..], b"{}", br#"{"statusCode":"many"}"#, b"\xff"] {
            assert!(Rejection::read(payload).sentence(Request::Certificate, &empty()).contains("does not say why"));
        }
        let (_, long) = sentence(Request::Certificate, 400, &"c".repeat(5000), &"m".repeat(5000));
        assert!(long.len() < 1000, "{}", long.len());
        let known = br#"{"statusCode":400,"errorCode":"A","errorMessage":"B","more":true}"#;
        let read = Rejection { status_code: 400, error_code: "A".into(), error_message: "B".into() };
        assert_eq!(Rejection::read(known), read);
    }

    fn empty() -> Provisioning {
        Provisioning {
            template: String::new(),
            claim_certificate: "c".into(),
            claim_private_key: "k".into(),
            parameters: BTreeMap::new(),
        }
    }
}
