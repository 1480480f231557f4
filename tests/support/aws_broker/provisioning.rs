//! Fleet provisioning, as AWS IoT Core does it for clients that show a claim.
//!
//! - A claim opens the requests for a certificate and for a thing, their answers, and nothing else.
//! - Answers go to the connection that has asked, if it has subscribed to them.
//! - A certificate opens nothing before its thing is registered, and from then on only the client id that is the thing's
//!   name.
//! - A token is good for one thing; the same request again has the same answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};

use super::super::certificates::{Authority, Identity};
use super::AwsBroker;

/// Begins the client ids that the policy of the claim allows.
const CLAIM_CLIENTS: &str = "iot-bridge-claim-";

const CREATE: &str = "$aws/certificates/create-from-csr/json";

/// What the account is set up with.
pub struct Fleet {
    pub authority: Arc<Authority>,
    claim: CertificateDer<'static>,
    /// The name of the one template. It wants a `SerialNumber` and makes of `0012` the thing `fleet-0012`.
    pub template: String,
    /// The template's hook lets no other serial number in.
    pub allowed: Option<String>,
    /// Whether the things' policy allows any client id.
    pub any_client_id: bool,
}

impl Fleet {
    pub fn new(authority: &Arc<Authority>, claim: &Identity, template: &str) -> Fleet {
        Fleet {
            authority: Arc::clone(authority),
            claim: CertificateDer::from_pem_slice(claim.certificate.as_bytes()).unwrap(),
            template: template.into(),
            allowed: None,
            any_client_id: false,
        }
    }
}

/// A request of the provisioning API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    Certificate,
    Thing,
}

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// It is not heard.
    Ignored,
    /// What it asks for is done, and the answer is lost.
    AnswerLost,
}

/// Who a client is, by its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    Claim,
    /// Its certificate is not registered.
    Inactive,
    Thing(String),
    /// Nobody whom provisioning knows.
    Other,
}

/// What has happened.
#[derive(Debug, Clone, Default)]
pub struct FleetRecord {
    /// How often each was asked for.
    pub asked: BTreeMap<Asked, usize>,
    /// The certificates of each thing, in PEM format.
    pub things: BTreeMap<String, Vec<String>>,
    /// Tokens that were given.
    pub tokens: Vec<String>,
    /// What a policy did not allow.
    pub violations: Vec<String>,
}

/// Everything that is known of the fleet.
pub struct Desk {
    fleet: Fleet,
    mishaps: BTreeMap<Asked, Mishap>,
    /// By its token.
    issued: BTreeMap<String, Issued>,
    record: FleetRecord,
}

struct Issued {
    pem: String,
    der: CertificateDer<'static>,
    thing: Option<String>,
}

impl AwsBroker {
    /// Provisions from now on.
    pub fn provision(&self, fleet: Fleet) {
        let desk = Desk { fleet, mishaps: BTreeMap::new(), issued: BTreeMap::new(), record: FleetRecord::default() };
        self.shared.with(|state| state.desk = Some(desk));
    }

    /// Changes what the account is set up with.
    pub fn change_fleet(&self, change: impl FnOnce(&mut Fleet)) {
        self.desk(|desk| change(&mut desk.fleet));
    }

    /// From now on this happens to requests of this kind; nothing goes wrong with the others.
    pub fn mishap(&self, mishap: Option<(Asked, Mishap)>) {
        self.desk(|desk| desk.mishaps = mishap.into_iter().collect());
    }

    /// An hour passes: what is not registered is deleted, and its token with it.
    pub fn expire_tokens(&self) {
        self.desk(|desk| desk.issued.retain(|_, issued| issued.thing.is_some()));
    }

    /// What has happened so far.
    pub fn fleet(&self) -> FleetRecord {
        self.desk(|desk| desk.record.clone())
    }

    fn desk<T>(&self, look: impl FnOnce(&mut Desk) -> T) -> T {
        self.shared.with(|state| look(state.desk.as_mut().expect("it provisions")))
    }
}

impl Desk {
    pub fn principal(&self, certificate: &CertificateDer<'_>) -> Principal {
        if *certificate == self.fleet.claim {
            return Principal::Claim;
        }
        match self.issued.values().find(|issued| issued.der == *certificate) {
            Some(Issued { thing: Some(thing), .. }) => Principal::Thing(thing.clone()),
            Some(Issued { thing: None, .. }) => Principal::Inactive,
            None => Principal::Other,
        }
    }

    pub fn may_connect(&mut self, principal: &Principal, client_id: &str) -> bool {
        let may = match principal {
            Principal::Claim => client_id.starts_with(CLAIM_CLIENTS),
            Principal::Inactive => false,
            Principal::Thing(thing) => self.fleet.any_client_id || client_id == thing,
            Principal::Other => true,
        };
        self.note(may, || format!("{principal:?} connects as {client_id}"))
    }

    pub fn may_publish(&mut self, principal: &Principal, topic: &str) -> bool {
        let may = *principal != Principal::Claim || topic == CREATE || topic == self.provision();
        self.note(may, || format!("{principal:?} publishes to {topic}"))
    }

    pub fn may_subscribe(&mut self, principal: &Principal, filter: &str) -> bool {
        let answers = [CREATE.to_owned(), self.provision()];
        let is_answer = answers.iter().any(|request| {
            filter.strip_prefix(request.as_str()).is_some_and(|rest| ["/accepted", "/rejected"].contains(&rest))
        });
        let may = *principal != Principal::Claim || is_answer;
        self.note(may, || format!("{principal:?} subscribes to {filter}"))
    }

    fn provision(&self) -> String {
        format!("$aws/provisioning-templates/{}/provision/json", self.fleet.template)
    }

    fn note(&mut self, may: bool, what: impl FnOnce() -> String) -> bool {
        if !may {
            self.record.violations.push(what());
        }
        may
    }

    /// The answer to a publish: nothing, if it is no request; and nothing to say, if a mishap comes between.
    pub fn answer(&mut self, topic: &str, payload: &[u8]) -> Option<Option<(String, Bytes)>> {
        let asked = match topic {
            CREATE => Asked::Certificate,
            _ if topic.starts_with("$aws/provisioning-templates/") && topic.ends_with("/provision/json") => {
                Asked::Thing
            }
            _ => return None,
        };
        *self.record.asked.entry(asked).or_default() += 1;
        let mishap = self.mishaps.get(&asked).copied();
        if mishap == Some(Mishap::Ignored) {
            return Some(None);
        }
        let request: Value = serde_json::from_slice(payload).unwrap_or_default();
        let answer = match asked {
            Asked::Certificate => self.issue(&request),
            Asked::Thing => self.register(&request),
        };
        let (outcome, answer) = match answer {
            Ok(answer) => ("accepted", answer),
            Err((status, code, message)) => {
                ("rejected", json!({"statusCode": status, "errorCode": code, "errorMessage": message}))
            }
        };
        let answer = (format!("{topic}/{outcome}"), Bytes::from(serde_json::to_vec(&answer).unwrap()));
        Some((mishap != Some(Mishap::AnswerLost)).then_some(answer))
    }

    fn issue(&mut self, request: &Value) -> Result<Value, (u16, &'static str, String)> {
        let csr = request["certificateSigningRequest"].as_str().unwrap_or_default();
        let invalid = |reason: String| (400, "InvalidCertificateSigningRequest", reason);
        let pem = self.fleet.authority.sign(csr).map_err(invalid)?;
        let number = self.record.tokens.len();
        let (token, id) = (format!("ownership-{number}-{:032x}", rand::random::<u128>()), format!("{number:064x}"));
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        self.record.tokens.push(token.clone());
        self.issued.insert(token.clone(), Issued { pem: pem.clone(), der, thing: None });
        Ok(json!({"certificateOwnershipToken": token, "certificateId": id, "certificatePem": pem}))
    }

    fn register(&mut self, request: &Value) -> Result<Value, (u16, &'static str, String)> {
        let token = request["certificateOwnershipToken"].as_str().unwrap_or_default();
        let stale = || (400, "InvalidCertificateOwnershipToken", format!("The token {token} is not valid."));
        let issued = self.issued.get_mut(token).ok_or_else(stale)?;
        let parameters = request["parameters"].as_object().cloned().unwrap_or_default();
        let serial = parameters.get("SerialNumber").and_then(Value::as_str);
        let serial = serial.ok_or((400, "InvalidParameters", "Missing parameter: SerialNumber.".to_owned()))?;
        if self.fleet.allowed.as_ref().is_some_and(|allowed| allowed != serial) {
            return Err((403, "AccessDenied", "The pre-provisioning hook denies it.".into()));
        }
        let thing = format!("fleet-{serial}");
        if issued.thing.is_none() {
            issued.thing = Some(thing.clone());
            self.record.things.entry(thing.clone()).or_default().push(issued.pem.clone());
        }
        Ok(json!({"deviceConfiguration": {"Room": "12"}, "thingName": thing}))
    }
}
