//! Why there is no connection, in words.

mod classify;
mod reasons;

use std::fmt;

pub use classify::{Peer, classify};

use super::tls::CredentialProblem;

/// Why an attempt to connect failed, or a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub kind: FaultKind,
    /// A sentence without its capital and full stop, to stand after a colon.
    pub sentence: String,
}

/// What kind of fault it is: the label in metrics and status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// Nothing listens at the broker's address.
    Refused,
    /// The broker's name has no address, or there is no name service.
    NameNotFound,
    /// No way leads to the broker's address.
    Unreachable,
    /// The broker does not answer in time.
    TimedOut,
    /// The broker's certificate is not valid any more.
    BrokerCertificateExpired,
    /// The broker's certificate is not valid yet, by the robot's clock.
    BrokerCertificateNotYetValid,
    /// The broker's certificate is signed by nobody whom the bridge trusts.
    BrokerAuthorityUnknown,
    /// The broker's certificate is for another name.
    BrokerNameMismatch,
    /// The broker's certificate is wrong in another way.
    BrokerCertificateInvalid,
    /// The broker does not accept the client certificate.
    CertificateRejected,
    /// A file of the client's own is missing or wrong.
    Credentials,
    /// TLS failed in another way.
    Tls,
    /// CONNACK: the client may not connect.
    NotAuthorized,
    /// CONNACK: the client id is not allowed.
    BadClientId,
    /// CONNACK, or an answer to a request: the service is not available.
    Unavailable,
    /// The broker, or something on the way, closed the connection.
    Closed,
    /// The broker keeps closing the connection because, it seems, another client has the same client id.
    TakenOver,
    /// A PUBACK did not come in time.
    AckOverdue,
    /// CONNACK: the broker does not speak this version of MQTT.
    UnsupportedVersion,
    /// Broker and bridge do not understand each other.
    Protocol,
    /// AWS IoT Core refuses to provision the robot.
    ProvisioningRejected,
    /// The broker does not let the claim ask for that, and says so.
    ProvisioningForbidden,
    /// The broker closes the connection upon what the claim asks for, or the link breaks.
    ProvisioningClosed,
    /// What provisioning brings can't be stored.
    ProvisioningStorage,
    /// The operating system, or the broker, reports something else.
    Network,
    /// The broker, speaking MQTT 5, closed the connection over something that it has received.
    Disconnected,
    /// The broker takes no more for now.
    QuotaExceeded,
    /// The broker is to be looked for elsewhere.
    UseAnotherServer,
    /// The proxy wants a user name and a password, or others.
    ProxyAuthentication,
    /// The proxy makes no connection.
    Proxy,
}

impl FaultKind {
    /// The label in metrics, status and log.
    pub fn label(self) -> &'static str {
        match self {
            FaultKind::Refused => "refused",
            FaultKind::NameNotFound => "name_not_found",
            FaultKind::Unreachable => "unreachable",
            FaultKind::TimedOut => "timed_out",
            FaultKind::BrokerCertificateExpired => "broker_certificate_expired",
            FaultKind::BrokerCertificateNotYetValid => "broker_certificate_not_yet_valid",
            FaultKind::BrokerAuthorityUnknown => "broker_authority_unknown",
            FaultKind::BrokerNameMismatch => "broker_name_mismatch",
            FaultKind::BrokerCertificateInvalid => "broker_certificate_invalid",
            FaultKind::CertificateRejected => "certificate_rejected",
            FaultKind::Credentials => "credentials",
            FaultKind::Tls => "tls",
            FaultKind::NotAuthorized => "not_authorized",
            FaultKind::BadClientId => "bad_client_id",
            FaultKind::Unavailable => "unavailable",
            FaultKind::Closed => "closed",
            FaultKind::TakenOver => "taken_over",
            FaultKind::AckOverdue => "ack_overdue",
            FaultKind::UnsupportedVersion => "unsupported_version",
            FaultKind::Protocol => "protocol",
            FaultKind::ProvisioningRejected => "provisioning_rejected",
            FaultKind::ProvisioningForbidden => "provisioning_forbidden",
            FaultKind::ProvisioningClosed => "provisioning_closed",
            FaultKind::ProvisioningStorage => "provisioning_storage",
            FaultKind::Network => "network",
            FaultKind::Disconnected => "disconnected",
            FaultKind::QuotaExceeded => "quota_exceeded",
            FaultKind::UseAnotherServer => "use_another_server",
            FaultKind::ProxyAuthentication => "proxy_authentication",
            FaultKind::Proxy => "proxy",
        }
    }

    /// Whether it stays until somebody mends something; the others pass by themselves, as outages do.
    pub fn needs_somebody(self) -> bool {
        match self {
            FaultKind::BrokerCertificateExpired
            | FaultKind::BrokerCertificateNotYetValid
            | FaultKind::BrokerAuthorityUnknown
            | FaultKind::BrokerNameMismatch
            | FaultKind::BrokerCertificateInvalid
            | FaultKind::CertificateRejected
            | FaultKind::Credentials
            | FaultKind::Tls
            | FaultKind::NotAuthorized
            | FaultKind::BadClientId
            | FaultKind::UnsupportedVersion
            | FaultKind::ProvisioningRejected
            | FaultKind::ProvisioningForbidden
            | FaultKind::ProvisioningStorage
            | FaultKind::TakenOver
            | FaultKind::UseAnotherServer
            | FaultKind::ProxyAuthentication
            | FaultKind::Proxy => true,
            FaultKind::Refused
            | FaultKind::NameNotFound
            | FaultKind::Unreachable
            | FaultKind::TimedOut
            | FaultKind::Unavailable
            | FaultKind::Closed
            | FaultKind::ProvisioningClosed
            | FaultKind::AckOverdue
            | FaultKind::Protocol
            | FaultKind::Network
            | FaultKind::Disconnected
            | FaultKind::QuotaExceeded => false,
        }
    }
}

impl Fault {
    /// Whether the broker has closed the connection over something that it may have received.
    pub fn is_close(&self) -> bool {
        matches!(self.kind, FaultKind::Closed | FaultKind::Disconnected)
    }

    pub fn new(kind: FaultKind, sentence: String) -> Self {
        Fault { kind, sentence }
    }
}

impl From<CredentialProblem> for Fault {
    fn from(problem: CredentialProblem) -> Self {
        Fault::new(FaultKind::Credentials, problem.to_string())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

#[cfg(test)]
mod tests;
