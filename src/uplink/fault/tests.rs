//! Faults made for real, on the loopback.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::config::{Aws, Mqtt, Quotas, Reconnect, Version};
use crate::uplink::certificates::{Authority, Identity, Valid};
use crate::uplink::client::Client;
use crate::uplink::tls;

/// What the server does.
struct Server<'a> {
    identity: Identity,
    /// Whose clients it accepts.
    clients: &'a Authority,
    versions: &'static [&'static SupportedProtocolVersion],
    /// What it answers to CONNECT before it closes; it closes without a word if that is empty.
    answer: &'static [u8],
}

impl<'a> Server<'a> {
    fn new(authority: &'a Authority) -> Self {
        let identity = authority.issue(&["localhost"], Valid::Now);
        Server { identity, clients: authority, versions: rustls::ALL_VERSIONS, answer: &[] }
    }

    fn acceptor(&self) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.clients.pem.as_bytes()).unwrap()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(self.identity.certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(self.identity.private_key.as_bytes()).unwrap(),
            )
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// The fault that a client of `authority` meets.
    async fn fault(self, authority: &Authority) -> Fault {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (client, _directory) = client(authority, "localhost", listener.local_addr().unwrap().port());
        let (acceptor, answer) = (self.acceptor(), self.answer);
        let serving = tokio::spawn(async move {
            let (connection, _) = listener.accept().await.unwrap();
            let Ok(mut tls) = acceptor.accept(connection).await else { return };
            let _ = tls.read(&mut [0; 1024]).await;
            let _ = tls.write_all(answer).await;
            let _ = tls.shutdown().await;
        });
        let fault = attempt(&client).await;
        serving.await.unwrap();
        fault
    }
}

fn client(authority: &Authority, endpoint: &str, port: u16) -> (Aws, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let files = authority.issue(&["robot1"], Valid::Now).write(directory.path(), "robot1");
    let root_ca = directory.path().join("rootCA.crt");
    std::fs::write(&root_ca, &authority.pem).unwrap();
    let aws = Aws {
        endpoint: endpoint.into(),
        port,
        thing: "robot1".into(),
        client_id: "robot1".into(),
        certificate: files.certificate,
        private_key: files.private_key,
        root_ca: Some(root_ca),
        provisioning: None,
    };
    (aws, directory)
}

async fn attempt(aws: &Aws) -> Fault {
    let second = Duration::from_secs(1);
    let mqtt = Mqtt {
        version: Version::V3_1_1,
        keep_alive: second,
        ack_timeout: second,
        reconnect: Reconnect { initial: second, max: second, stable_after: second },
        quotas: Quotas { publishes_per_second: None, bytes_per_second: None, in_flight: 100 },
        last_will: None,
        presence: None,
        proxy: None,
    };
    let credentials = tls::load(aws, SystemTime::now()).unwrap();
    let failure = Client::connect(aws, &mqtt, credentials.config).await.unwrap_err();
    classify(&failure, Peer::to(aws, &mqtt))
}

#[tokio::test]
async fn a_port_without_a_broker() {
    let authority = Authority::new("Test CA");
    // Bound, so that nobody else gets the port, and never listening.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    let fault = attempt(&client(&authority, "localhost", port).0).await;
    assert_eq!(fault, Fault::new(FaultKind::Refused, format!("localhost:{port} refuses connections")));
}

/// `.invalid` never resolves (RFC 6761); without a name service the system says something else, of the same kind.
#[tokio::test]
async fn a_name_that_nobody_has() {
    let authority = Authority::new("Test CA");
    let (aws, _directory) = client(&authority, "broker.invalid", 8883);
    let fault = attempt(&aws).await;
    assert_eq!(fault.kind, FaultKind::NameNotFound, "{fault}");
    assert!(fault.sentence.starts_with("the name broker.invalid is not found"), "{fault}");
}

#[tokio::test]
async fn an_expired_broker() {
    let authority = Authority::new("Test CA");
    let identity = authority.issue(&["localhost"], Valid::NoLonger);
    let fault = Server { identity, ..Server::new(&authority) }.fault(&authority).await;
    assert_eq!(fault.kind, FaultKind::BrokerCertificateExpired, "{fault}");
}

#[tokio::test]
async fn a_broker_of_the_future() {
    let authority = Authority::new("Test CA");
    let identity = authority.issue(&["localhost"], Valid::NotYet);
    let fault = Server { identity, ..Server::new(&authority) }.fault(&authority).await;
    assert_eq!(fault.kind, FaultKind::BrokerCertificateNotYetValid, "{fault}");
}

/// Another authority, be it of another name or of the same.
#[tokio::test]
async fn a_broker_of_an_unknown_authority() {
    let authority = Authority::new("Test CA");
    for name in ["Another CA", "Test CA"] {
        let identity = Authority::new(name).issue(&["localhost"], Valid::Now);
        let fault = Server { identity, ..Server::new(&authority) }.fault(&authority).await;
        assert_eq!(fault.kind, FaultKind::BrokerAuthorityUnknown, "{fault}");
    }
}

#[tokio::test]
async fn a_broker_of_another_name() {
    let authority = Authority::new("Test CA");
    let identity = authority.issue(&["broker.example"], Valid::Now);
    let fault = Server { identity, ..Server::new(&authority) }.fault(&authority).await;
    assert_eq!(fault.kind, FaultKind::BrokerNameMismatch, "{fault}");
    assert_eq!(fault.sentence, "the certificate that the broker shows is not for localhost");
}

/// With TLS 1.2 the refusal comes within the handshake, with TLS 1.3 after it.
#[tokio::test]
async fn a_client_certificate_that_the_broker_does_not_accept() {
    let (authority, others) = (Authority::new("Test CA"), Authority::new("Another CA"));
    static ONE: [[&SupportedProtocolVersion; 1]; 2] = [[&rustls::version::TLS12], [&rustls::version::TLS13]];
    for versions in &ONE {
        let fault = Server { clients: &others, versions, ..Server::new(&authority) }.fault(&authority).await;
        assert_eq!(fault.kind, FaultKind::CertificateRejected, "{fault}");
    }
}

#[tokio::test]
async fn a_connack_that_refuses() {
    let authority = Authority::new("Test CA");
    for (answer, kind) in [
        (&[0x20, 2, 0, 1], FaultKind::Protocol),
        (&[0x20, 2, 0, 2], FaultKind::BadClientId),
        (&[0x20, 2, 0, 3], FaultKind::Unavailable),
        (&[0x20, 2, 0, 4], FaultKind::NotAuthorized),
        (&[0x20, 2, 0, 5], FaultKind::NotAuthorized),
    ] {
        let fault = Server { answer, ..Server::new(&authority) }.fault(&authority).await;
        assert_eq!(fault.kind, kind, "{fault}");
    }
}

#[tokio::test]
async fn something_that_is_no_connack() {
    let authority = Authority::new("Test CA");
    for answer in [&[0xd0, 0][..], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff]] {
        let fault = Server { answer, ..Server::new(&authority) }.fault(&authority).await;
        assert_eq!(fault.kind, FaultKind::Protocol, "{fault}");
    }
}

/// AWS IoT Core closes without a CONNACK if the policy does not allow the client id; be it between or within packets.
#[tokio::test]
async fn a_close_instead_of_a_connack() {
    let authority = Authority::new("Test CA");
    for answer in [&[][..], &[0x20, 2]] {
        let fault = Server { answer, ..Server::new(&authority) }.fault(&authority).await;
        let expected =
            "localhost closed the connection without a CONNACK; its policy may not allow the client id robot1";
        assert_eq!(fault, Fault::new(FaultKind::Closed, expected.into()));
    }
}

/// A server without TLS, and one that hangs up during the handshake.
#[tokio::test]
async fn a_server_that_speaks_no_tls() {
    let authority = Authority::new("Test CA");
    for (answer, kind) in [(&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], FaultKind::Tls), (b"", FaultKind::Closed)] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (aws, _directory) = client(&authority, "localhost", listener.local_addr().unwrap().port());
        let serving = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let _ = connection.read(&mut [0; 4096]).await;
            let _ = connection.write_all(answer).await;
        });
        let fault = attempt(&aws).await;
        assert_eq!(fault.kind, kind, "{fault}");
        serving.await.unwrap();
    }
}

/// A missing file is a fault of the credentials, with the file's name.
#[test]
fn a_credential_problem() {
    let path = PathBuf::from("/etc/iot-bridge/certs/robot1.private.key");
    let fault = Fault::from(CredentialProblem::EncryptedKey { path });
    assert_eq!(fault.kind, FaultKind::Credentials);
    assert!(fault.sentence.contains("/etc/iot-bridge/certs/robot1.private.key"), "{fault}");
}
