//! Fleet provisioning by claim: how a robot that has only a claim gets a certificate of its own.
//!
//! What the robot has to have at its first start is a certificate that is good for nothing but this, the *claim*, the same
//! for a whole fleet. From then on:
//!
//! ```text
//!  key made here ──► CSR ──► certificate, with an ownership token ──► token and parameters ──► the thing's name
//!       │                          │                                                                │
//!    its file                provisioning.json                                    provisioning.json, then the
//!                                                                                    certificate's file
//! ```
//!
//! - Whether the robot is provisioned is told by the certificate's file: where it is, nothing of this happens.
//! - What is got is stored durably before the next is asked for, each file at once or not at all ([`Store`]). So the
//!   process may end at any moment, and the next start goes on from there: the key stays, a certificate that was not
//!   registered yet is registered as long as its token lasts, and one that was registered without an answer is
//!   registered again. At worst a new certificate is asked for, with the same key; AWS IoT Core deletes one that nobody
//!   registers.
//! - The private key is made here and never leaves its file.
//!
//! The exchange itself, over MQTT, is the uplink's: it is a step before the first connection. Topics, messages and the
//! hour of the token are from "Device provisioning MQTT API" in the AWS IoT Core developer guide.

mod api;
mod key;
mod rejection;
mod store;

pub use api::{NoThing, Request, Topics, certificate_request, read_issued, read_registered, registration_request};
pub use key::{Key, KeyProblem};
pub use rejection::Rejection;
pub use store::{Issued, Progress, Registered, Store, StoreProblem, Token};

use crate::config::Aws;

/// Begins the client id of every connection with a claim, so that a policy can allow it nothing else.
pub const CLIENT_ID_PREFIX: &str = "iot-bridge-claim-";

/// How it stands with the provisioning that the configuration asks for.
#[derive(Debug)]
pub enum Standing {
    /// There is a certificate. It comes from provisioning if it is known for which thing.
    Done(Option<Registered>),
    /// There is none yet.
    Waiting,
}

/// Looks how it stands, and changes nothing. Nothing, where the configuration asks for no provisioning or it can't be
/// seen, which whoever uses the files will say. Reads files.
pub fn standing(aws: &Aws) -> Option<Standing> {
    aws.provisioning.as_ref()?;
    match std::fs::metadata(&aws.certificate) {
        Ok(_) => Some(Standing::Done(Store::new(aws).registered().ok().flatten())),
        Err(error) if crate::files::is_absence(&error) => Some(Standing::Waiting),
        Err(_) => None,
    }
}

/// `aws` as the claim connects: with its certificate and key, and with a client id that nobody else has, so that robots
/// which are provisioned at the same time do not close each other's connections. `None` without a claim.
pub fn as_claim(aws: &Aws) -> Option<Aws> {
    let provisioning = aws.provisioning.as_ref()?;
    Some(Aws {
        client_id: format!("{CLIENT_ID_PREFIX}{:016x}", rand::random::<u64>()),
        certificate: provisioning.claim_certificate.clone(),
        private_key: provisioning.claim_private_key.clone(),
        ..aws.clone()
    })
}

/// Gives the thing the name that provisioning gave it, if the configuration leaves it to that and it has. Reads files.
pub fn identify(aws: &mut Aws) {
    if !aws.is_named()
        && let Some(Standing::Done(Some(registered))) = standing(aws)
    {
        aws.name(&registered.thing);
    }
}
