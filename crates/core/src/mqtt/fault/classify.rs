//! From the MQTT client's [`Failure`] to a [`Fault`].
//!
//! What TLS says comes wrapped in errors of the operating system, and when it comes depends: with TLS 1.3 the broker's
//! refusal of a client certificate comes after the handshake has succeeded for the client, as an error of reading the
//! CONNACK. So the chain of errors is searched for the innermost that says something.

use std::error::Error;
use std::{fmt, io};

use rustls::{AlertDescription, CertificateError};

use super::{Fault, FaultKind, reasons};
use crate::config::{Proxy, Version};
use crate::mqtt::CONNECT_TIMEOUT;
use crate::mqtt::client::Failure;
use crate::mqtt::dial::{DialFailure, ProxyFailure, authority};
use crate::mqtt::tls::is_legacy;
use crate::mqtt::{Broker, Options};

/// Whom the bridge talks to, for the sentences.
#[derive(Debug, Clone, Copy)]
pub struct Peer<'a> {
    pub options: &'a Options,
    /// Whether the broker had accepted the connection.
    pub connected: bool,
}

impl<'a> Peer<'a> {
    /// A peer that is being connected to.
    pub fn to(options: &'a Options) -> Self {
        Peer { options, connected: false }
    }

    /// A peer that has accepted the connection.
    pub fn connected(options: &'a Options) -> Self {
        Peer { options, connected: true }
    }
}

/// Tells what `failure` means.
pub fn classify(failure: &Failure, peer: Peer<'_>) -> Fault {
    let Broker { host, port, .. } = &peer.options.broker;
    let (kind, sentence) = match failure {
        Failure::Dial(failure) => return dial_fault(failure, peer),
        Failure::RefusedV4(code) => return refused_v4(*code, peer),
        Failure::Refused(answer) => return reasons::refused(answer, peer),
        Failure::Disconnected(answer) => return reasons::disconnected(answer, peer),
        Failure::TooLate => (
            FaultKind::TimedOut,
            format!("{host}:{port} has not accepted a connection within {} s", CONNECT_TIMEOUT.as_secs()),
        ),
        Failure::Stalled => {
            (FaultKind::TimedOut, format!("nothing could be sent to the broker for {} s", CONNECT_TIMEOUT.as_secs()))
        }
        Failure::NoAnswer => {
            (FaultKind::TimedOut, "the broker has not answered a ping within the keep-alive time".into())
        }
        Failure::Closed => return closed(peer, failure),
        Failure::Io(error) | Failure::Handshake(error) => {
            return match find::<rustls::Error>(error) {
                Some(tls) => tls_fault(tls, peer),
                None => io_fault(error, failure, peer),
            };
        }
        Failure::Protocol(what) => (FaultKind::Protocol, format!("the broker broke the protocol: {what}")),
    };
    Fault::new(kind, sentence)
}

fn refused_v4(code: u8, peer: Peer<'_>) -> Fault {
    let client_id = &peer.options.client_id;
    // MQTT 3.1.1, section 3.2.2.3.
    let (kind, sentence) = match code {
        1 => return other_version(Version::V3_1_1, "return code 1"),
        2 => (FaultKind::BadClientId, format!("the broker does not allow the client id {client_id}")),
        3 => (FaultKind::Unavailable, "the broker says that its MQTT service is not available".into()),
        4 | 5 => (FaultKind::NotAuthorized, format!("the broker does not authorize {client_id} to connect")),
        code => (FaultKind::Protocol, format!("the broker broke the protocol: it refuses with return code {code}")),
    };
    Fault::new(kind, sentence)
}

/// The broker refuses `version`, `as_said`.
pub(super) fn other_version(version: Version, as_said: impl fmt::Display) -> Fault {
    let sentence = format!(
        "the broker does not speak MQTT {version} ({as_said}); mqtt.version = \"auto\" finds one that it speaks"
    );
    Fault::new(FaultKind::UnsupportedVersion, sentence)
}

fn dial_fault(failure: &DialFailure, peer: Peer<'_>) -> Fault {
    let Broker { host, port, .. } = &peer.options.broker;
    match failure {
        DialFailure::Name(error) => {
            Fault::new(FaultKind::NameNotFound, format!("the name {host} is not found ({error})"))
        }
        DialFailure::Connect(error) => connect_fault(error, &format!("{host}:{port}")),
        DialFailure::ProxyFile(problem) => Fault::new(FaultKind::Credentials, problem.to_string()),
        DialFailure::NoProxy { proxy, failure } => match failure.as_ref() {
            DialFailure::Name(error) => Fault::new(
                FaultKind::NameNotFound,
                format!("the name of the proxy {} is not found ({error})", proxy.host),
            ),
            DialFailure::Connect(error) => connect_fault(error, &proxy_name(proxy)),
            other => dial_fault(other, peer),
        },
        DialFailure::Proxy { proxy, failure } => proxy_fault(failure, proxy, peer),
    }
}

fn proxy_name(proxy: &Proxy) -> String {
    format!("the proxy {}", authority(&proxy.host, proxy.port))
}

fn proxy_fault(failure: &ProxyFailure, proxy: &Proxy, peer: Peer<'_>) -> Fault {
    let Broker { host, port, .. } = &peer.options.broker;
    let has = proxy.credentials.is_some();
    let proxy = proxy_name(proxy);
    let (kind, sentence) = match failure {
        ProxyFailure::Status { code: 407, .. } => {
            let why =
                if has { "does not accept its user name and password" } else { "asks for a user name and a password" };
            (FaultKind::ProxyAuthentication, format!("{proxy} {why} (407)"))
        }
        ProxyFailure::Status { code: code @ 400..500, reason } => {
            (FaultKind::Proxy, format!("{proxy} does not allow connections to {host}:{port} ({code} {reason})"))
        }
        ProxyFailure::Status { code: code @ 500..600, reason } => {
            (FaultKind::Unreachable, format!("{proxy} does not reach {host}:{port} ({code} {reason})"))
        }
        ProxyFailure::Status { code, reason } => {
            (FaultKind::Proxy, format!("{proxy} makes no tunnel to {host}:{port} ({code} {reason})"))
        }
        ProxyFailure::NotHttp(what) => (FaultKind::Proxy, format!("{proxy} does not speak HTTP: {what}")),
        ProxyFailure::Io(error) => {
            (FaultKind::Closed, format!("{proxy} closed the connection before there was a tunnel ({error})"))
        }
    };
    Fault::new(kind, sentence)
}

fn tls_fault(error: &rustls::Error, peer: Peer<'_>) -> Fault {
    let host = &peer.options.broker.host;
    let (kind, sentence) = match error {
        rustls::Error::InvalidCertificate(error) => return broker_certificate(error, peer),
        rustls::Error::AlertReceived(alert) if blames_client_certificate(*alert) => (
            FaultKind::CertificateRejected,
            format!(
                "the broker does not accept the client certificate {} ({alert:?}); \
                 it has to be registered, active and not expired there",
                peer.options.broker.certificate.display()
            ),
        ),
        rustls::Error::NoCertificatesPresented => {
            (FaultKind::BrokerCertificateInvalid, format!("{host} shows no certificate"))
        }
        rustls::Error::InvalidMessage(_) => {
            (FaultKind::Tls, format!("{host}:{} does not speak TLS ({error})", peer.options.broker.port))
        }
        error => (FaultKind::Tls, format!("TLS with {host} failed: {error}")),
    };
    Fault::new(kind, sentence)
}

/// Alerts by which a server says that it does not like the client's certificate (RFC 8446, section 6.2).
fn blames_client_certificate(alert: AlertDescription) -> bool {
    use AlertDescription as A;
    matches!(
        alert,
        A::BadCertificate
            | A::NoCertificate
            | A::UnsupportedCertificate
            | A::CertificateRevoked
            | A::CertificateExpired
            | A::CertificateUnknown
            | A::UnknownCA
            | A::AccessDenied
            | A::CertificateRequired
    )
}

fn broker_certificate(error: &CertificateError, peer: Peer<'_>) -> Fault {
    use CertificateError as C;
    let host = &peer.options.broker.host;
    let (kind, sentence) = match error {
        C::Expired | C::ExpiredContext { .. } => (
            FaultKind::BrokerCertificateExpired,
            format!("the certificate of {host} has expired, or the clock is wrong"),
        ),
        C::NotValidYet | C::NotValidYetContext { .. } => (
            FaultKind::BrokerCertificateNotYetValid,
            format!("the certificate of {host} is not valid yet; is the clock right?"),
        ),
        // An authority of the right name whose signature does not fit is another authority.
        C::UnknownIssuer | C::BadSignature => {
            let trusted = match &peer.options.broker.root_ca {
                Some(path) => format!("the root CA {}", path.display()),
                None => "any authority in the system's trust store".into(),
            };
            // What the older endpoint shows is signed by an authority that nobody trusts any more.
            let hint = if is_legacy(host) { "; aws.endpoint has to be the one with -ats in its name" } else { "" };
            let sentence = format!("the certificate of {host} is not signed by {trusted}{hint}");
            (FaultKind::BrokerAuthorityUnknown, sentence)
        }
        C::NotValidForName | C::NotValidForNameContext { .. } => {
            (FaultKind::BrokerNameMismatch, format!("the certificate that the broker shows is not for {host}"))
        }
        C::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => (
            FaultKind::BrokerCertificateInvalid,
            format!("the certificate of {host} is an authority's; it has to show one of a server (CA:FALSE)"),
        ),
        C::Other(other) if other.to_string().contains("UnsupportedCertVersion") => (
            FaultKind::BrokerCertificateInvalid,
            format!(
                "the certificate of {host} is of X.509 version 1; it has to be of version 3, which an issuer makes \
                 when it adds extensions such as the server's name"
            ),
        ),
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => (
            FaultKind::BrokerCertificateInvalid,
            format!("the certificate of {host} is not one for servers (its extended key usage lacks serverAuth)"),
        ),
        error => (FaultKind::BrokerCertificateInvalid, format!("the certificate of {host} is not valid: {error}")),
    };
    Fault::new(kind, sentence)
}

/// What keeps a TCP connection to `place` from being made.
fn connect_fault(error: &io::Error, place: &str) -> Fault {
    use io::ErrorKind as K;
    let (kind, sentence) = match error.kind() {
        K::ConnectionRefused => (FaultKind::Refused, format!("{place} refuses connections")),
        K::HostUnreachable | K::NetworkUnreachable | K::NetworkDown | K::AddrNotAvailable => {
            (FaultKind::Unreachable, format!("there is no route to {place} ({error})"))
        }
        K::TimedOut => (FaultKind::TimedOut, format!("{place} does not answer")),
        _ => (FaultKind::Network, format!("the connection to {place} failed: {error}")),
    };
    Fault::new(kind, sentence)
}

/// What ends a TCP connection that was made.
fn io_fault(error: &io::Error, failure: &Failure, peer: Peer<'_>) -> Fault {
    use io::ErrorKind as K;
    match error.kind() {
        K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe | K::UnexpectedEof | K::NotConnected => {
            closed(peer, failure)
        }
        _ => connect_fault(error, &format!("{}:{}", peer.options.broker.host, peer.options.broker.port)),
    }
}

fn closed(peer: Peer<'_>, failure: &Failure) -> Fault {
    let Options { broker: Broker { host, .. }, client_id, .. } = peer.options;
    let sentence = if peer.connected {
        "the broker closed the connection".into()
    } else if matches!(failure, Failure::Handshake(_)) {
        format!("{host} closed the connection during the TLS handshake")
    } else {
        format!(
            "{host} closed the connection without a CONNACK; its policy may not allow the client id {client_id}, or \
             one had connected with it less than a second before"
        )
    };
    Fault::new(FaultKind::Closed, sentence)
}

/// Searches the chain of `error` for an error of type `T`.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    chain(error).find_map(<dyn Error>::downcast_ref)
}

/// `error` and what caused it, outermost first. Unlike `Error::source` alone this also finds what an `io::Error`
/// carries, whose source is the source of what it carries.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(carried) => Some(carried),
        None => error.source(),
    })
}
