//! From the MQTT client's error to a [`Fault`].
//!
//! The client wraps what it gets from TLS and the operating system in layers of its own, and which layers depends on
//! when it happens: with TLS 1.3 the broker's refusal of a client certificate comes after the handshake has succeeded
//! for the client, as an error of reading the CONNACK. So the chain of errors is searched for the innermost that says
//! something.

use std::error::Error;
use std::io;

use rumqttc::{ConnectReturnCode, ConnectionError, StateError};
use rustls::{AlertDescription, CertificateError};

use super::{Fault, FaultKind};
use crate::config::Aws;
use crate::uplink::CONNECT_TIMEOUT;

/// Whom the bridge talks to, for the sentences.
#[derive(Debug, Clone, Copy)]
pub(in crate::uplink) struct Peer<'a> {
    pub aws: &'a Aws,
    /// Whether the broker had accepted the connection.
    pub connected: bool,
}

/// Tells what `error` means.
pub(in crate::uplink) fn classify(error: &ConnectionError, peer: Peer<'_>) -> Fault {
    let Aws { endpoint, port, client_id, .. } = peer.aws;
    let (kind, sentence) = match error {
        ConnectionError::ConnectionRefused(code) => return refused(*code, peer),
        ConnectionError::NetworkTimeout => (
            FaultKind::TimedOut,
            format!("{endpoint}:{port} has not accepted a connection within {} s", CONNECT_TIMEOUT.as_secs()),
        ),
        ConnectionError::FlushTimeout => {
            (FaultKind::TimedOut, format!("nothing could be sent to the broker for {} s", CONNECT_TIMEOUT.as_secs()))
        }
        ConnectionError::MqttState(StateError::AwaitPingResp) => {
            (FaultKind::TimedOut, "the broker has not answered a ping within the keep-alive time".into())
        }
        ConnectionError::MqttState(StateError::ConnectionAborted) => return closed(peer, error),
        other => {
            if let Some(tls) = find::<rustls::Error>(other) {
                return tls_fault(tls, peer);
            }
            if let Some(io) = innermost_io(other) {
                return io_fault(io, other, peer);
            }
            (FaultKind::Protocol, format!("the broker broke the protocol with {client_id}: {other}"))
        }
    };
    Fault::new(kind, sentence)
}

fn refused(code: ConnectReturnCode, peer: Peer<'_>) -> Fault {
    let client_id = &peer.aws.client_id;
    let (kind, sentence) = match code {
        ConnectReturnCode::NotAuthorized | ConnectReturnCode::BadUserNamePassword => {
            (FaultKind::NotAuthorized, format!("the broker does not authorize {client_id} to connect"))
        }
        ConnectReturnCode::BadClientId => {
            (FaultKind::BadClientId, format!("the broker does not allow the client id {client_id}"))
        }
        ConnectReturnCode::ServiceUnavailable => {
            (FaultKind::Unavailable, "the broker says that its MQTT service is not available".into())
        }
        ConnectReturnCode::RefusedProtocolVersion | ConnectReturnCode::Success => {
            (FaultKind::Protocol, "the broker does not speak MQTT 3.1.1".into())
        }
    };
    Fault::new(kind, sentence)
}

fn tls_fault(error: &rustls::Error, peer: Peer<'_>) -> Fault {
    let endpoint = &peer.aws.endpoint;
    let (kind, sentence) = match error {
        rustls::Error::InvalidCertificate(error) => return broker_certificate(error, peer),
        rustls::Error::AlertReceived(alert) if blames_client_certificate(*alert) => (
            FaultKind::CertificateRejected,
            format!(
                "the broker does not accept the client certificate {} ({alert:?}); \
                 it has to be registered, active and not expired there",
                peer.aws.certificate.display()
            ),
        ),
        rustls::Error::NoCertificatesPresented => {
            (FaultKind::BrokerCertificateInvalid, format!("{endpoint} shows no certificate"))
        }
        rustls::Error::InvalidMessage(_) => {
            (FaultKind::Tls, format!("{endpoint}:{} does not speak TLS ({error})", peer.aws.port))
        }
        error => (FaultKind::Tls, format!("TLS with {endpoint} failed: {error}")),
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
    let endpoint = &peer.aws.endpoint;
    let (kind, sentence) = match error {
        C::Expired | C::ExpiredContext { .. } => (
            FaultKind::BrokerCertificateExpired,
            format!("the certificate of {endpoint} has expired, or the clock is wrong"),
        ),
        C::NotValidYet | C::NotValidYetContext { .. } => (
            FaultKind::BrokerCertificateNotYetValid,
            format!("the certificate of {endpoint} is not valid yet; is the clock right?"),
        ),
        // An authority of the right name whose signature does not fit is another authority.
        C::UnknownIssuer | C::BadSignature => {
            let trusted = match &peer.aws.root_ca {
                Some(path) => format!("the root CA {}", path.display()),
                None => "any authority in the system's trust store".into(),
            };
            (FaultKind::BrokerAuthorityUnknown, format!("the certificate of {endpoint} is not signed by {trusted}"))
        }
        C::NotValidForName | C::NotValidForNameContext { .. } => {
            (FaultKind::BrokerNameMismatch, format!("the certificate that the broker shows is not for {endpoint}"))
        }
        error => (FaultKind::BrokerCertificateInvalid, format!("the certificate of {endpoint} is not valid: {error}")),
    };
    Fault::new(kind, sentence)
}

fn io_fault(io: &io::Error, whole: &ConnectionError, peer: Peer<'_>) -> Fault {
    use io::ErrorKind as K;
    let Aws { endpoint, port, .. } = peer.aws;
    let (kind, sentence) = match io.kind() {
        K::ConnectionRefused => (FaultKind::Refused, format!("{endpoint}:{port} refuses connections")),
        K::HostUnreachable | K::NetworkUnreachable | K::NetworkDown | K::AddrNotAvailable => {
            (FaultKind::Unreachable, format!("there is no route to {endpoint}:{port} ({io})"))
        }
        K::TimedOut => (FaultKind::TimedOut, format!("{endpoint}:{port} does not answer")),
        K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe | K::UnexpectedEof | K::NotConnected => {
            return closed(peer, whole);
        }
        // The codec's word for an end in the middle of a packet.
        _ if io.to_string() == "bytes remaining on stream" => return closed(peer, whole),
        // The standard library gives failed look-ups no kind of their own.
        _ if io.to_string().starts_with("failed to lookup address information")
            || io.to_string() == "could not resolve to any address" =>
        {
            (FaultKind::NameNotFound, format!("the name {endpoint} is not found ({io})"))
        }
        _ => (FaultKind::Network, format!("the connection to {endpoint}:{port} failed: {io}")),
    };
    Fault::new(kind, sentence)
}

fn closed(peer: Peer<'_>, error: &ConnectionError) -> Fault {
    let Aws { endpoint, client_id, .. } = peer.aws;
    let sentence = if peer.connected {
        "the broker closed the connection".into()
    } else if matches!(error, ConnectionError::Tls(_)) {
        format!("{endpoint} closed the connection during the TLS handshake")
    } else {
        format!(
            "{endpoint} closed the connection without a CONNACK; its policy may not allow the client id {client_id}"
        )
    };
    Fault::new(FaultKind::Closed, sentence)
}

/// Searches the chain of `error` for an error of type `T`.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    chain(error).find_map(<dyn Error>::downcast_ref)
}

fn innermost_io<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    chain(error).filter_map(<dyn Error>::downcast_ref).last()
}

/// `error` and what caused it, outermost first. Unlike `Error::source` alone this also finds what an `io::Error`
/// carries, whose source is the source of what it carries.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(carried) => Some(carried),
        None => error.source(),
    })
}
