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
use crate::config::{Proxy, ProxySource, Version};
use crate::mqtt::certificates::{Authority, Identity, Valid};
use crate::mqtt::client::{Client, Failure, Reason};
use crate::mqtt::{Broker, Options, tls};

/// What the server does.
struct Server<'a> {
    identity: Identity,
    /// Whose clients it accepts.
    clients: &'a Authority,
    versions: &'static [&'static SupportedProtocolVersion],
    /// What it answers to CONNECT before it closes; it closes without a word if that is empty.
    answer: &'static [u8],
    version: Version,
}

impl<'a> Server<'a> {
    fn new(authority: &'a Authority) -> Self {
        let identity = authority.issue(&["localhost"], Valid::Now);
        Server { identity, clients: authority, versions: rustls::ALL_VERSIONS, answer: &[], version: Version::V3_1_1 }
    }

    fn acceptor(&self) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
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
        let identity = authority.issue(&["robot1"], Valid::Now);
        self.fault_of(authority, &identity).await
    }

    /// The same for a client with the certificate and key `identity`.
    async fn fault_of(self, authority: &Authority, identity: &Identity) -> Fault {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (client, directory) = client(authority, "localhost", listener.local_addr().unwrap().port());
        identity.write(directory.path(), "robot1");
        let (acceptor, answer, version) = (self.acceptor(), self.answer, self.version);
        let serving = tokio::spawn(async move {
            let (connection, _) = listener.accept().await.unwrap();
            let Ok(mut tls) = acceptor.accept(connection).await else { return };
            let _ = tls.read(&mut [0; 1024]).await;
            let _ = tls.write_all(answer).await;
            let _ = tls.shutdown().await;
        });
        let fault = attempt_with(&client, version, None).await;
        serving.await.unwrap();
        fault
    }
}

fn client(authority: &Authority, host: &str, port: u16) -> (Options, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let files = authority.issue(&["robot1"], Valid::Now).write(directory.path(), "robot1");
    let root_ca = directory.path().join("rootCA.crt");
    std::fs::write(&root_ca, &authority.pem).unwrap();
    let options = Options {
        broker: Broker {
            host: host.into(),
            port,
            certificate: files.certificate,
            private_key: files.private_key,
            root_ca: Some(root_ca),
        },
        client_id: "robot1".into(),
        version: Version::V3_1_1,
        keep_alive: Duration::from_secs(1),
        ack_timeout: Duration::from_secs(1),
        proxy: None,
        last_will: None,
    };
    (options, directory)
}

async fn attempt(options: &Options) -> Fault {
    let credentials = tls::load(&options.broker, SystemTime::now()).unwrap();
    let failure = Client::connect(options, credentials.config, None).await.unwrap_err();
    classify(&failure, Peer::to(options))
}

async fn attempt_with(options: &Options, version: Version, proxy: Option<ProxySource>) -> Fault {
    attempt(&Options { version, proxy, ..options.clone() }).await
}

/// Returns one request with `answer`. Returns what it was asked.
async fn answering_proxy(answer: &'static str) -> (Proxy, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let length = connection.read(&mut request).await.unwrap();
        let _ = connection.write_all(answer.as_bytes()).await;
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    (Proxy::parse(&format!("http://robot:s%20ecret@localhost:{port}")).unwrap(), serving)
}

/// Each thing that a proxy can have against a connection is said, and never its password.
#[tokio::test]
async fn a_proxy_that_makes_no_connection() {
    let (options, _directory) = client(&Authority::new("Test CA"), "broker.invalid", 8883);
    for (answer, kind, words) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n",
            FaultKind::ProxyAuthentication,
            "does not accept its user name and password (407)",
        ),
        (
            "HTTP/1.1 403 Forbidden\r\n\r\npage",
            FaultKind::Proxy,
            "does not allow connections to broker.invalid:8883 (403 Forbidden)",
        ),
        (
            "HTTP/1.1 403 Who is cm9ib3Q6cyBlY3JldA== with s ecret?\r\n\r\n",
            FaultKind::Proxy,
            "does not allow connections to broker.invalid:8883 (403 Who is … with …?)",
        ),
        (
            "HTTP/1.0 502 Bad Gateway\r\n\r\n",
            FaultKind::Unreachable,
            "does not reach broker.invalid:8883 (502 Bad Gateway)",
        ),
        ("HTTP/1.1 301 Moved\r\n\r\n", FaultKind::Proxy, "makes no tunnel to broker.invalid:8883 (301 Moved)"),
        ("SSH-2.0-OpenSSH\r\n", FaultKind::Proxy, "does not speak HTTP"),
        ("", FaultKind::Closed, "closed the connection before there was a tunnel"),
    ] {
        let (proxy, serving) = answering_proxy(answer).await;
        let place = format!("the proxy localhost:{} ", proxy.port);
        let fault = attempt_with(&options, Version::V5, Some(ProxySource::Url(proxy))).await;
        assert_eq!(fault.kind, kind, "{fault}");
        assert!(fault.sentence.starts_with(&place) && fault.sentence.contains(words), "{fault}");
        assert!(!fault.sentence.contains("ecret"), "{fault}");
        let request = serving.await.unwrap();
        assert!(
            request.starts_with("CONNECT broker.invalid:8883 HTTP/1.1\r\nHost: broker.invalid:8883\r\n"),
            "{request}"
        );
        // robot:s ecret
        assert!(request.contains("\r\nProxy-Authorization: Basic cm9ib3Q6cyBlY3JldA==\r\n"), "{request}");
    }
    let nobody = Proxy::parse("http://localhost:9").unwrap();
    let fault = attempt_with(&options, Version::V3_1_1, Some(ProxySource::Url(nobody))).await;
    assert_eq!(fault, Fault::new(FaultKind::Refused, "the proxy localhost:9 refuses connections".into()));
    let nowhere = Proxy::parse("http://proxy.invalid:3128").unwrap();
    let fault = attempt_with(&options, Version::V3_1_1, Some(ProxySource::Url(nowhere))).await;
    assert_eq!(fault.kind, FaultKind::NameNotFound, "{fault}");
    assert!(fault.sentence.starts_with("the name of the proxy proxy.invalid is not found"), "{fault}");
    let no_url = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&no_url, "robot:s ecret@localhost").unwrap();
    let file = ProxySource::File { url_file: no_url.path().to_owned() };
    let fault = attempt_with(&options, Version::V5, Some(file)).await;
    assert_eq!(fault.kind, FaultKind::Credentials, "{fault}");
    assert!(fault.sentence.contains("holds no URL of a proxy") && !fault.sentence.contains("ecret"), "{fault}");
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
    let (options, _directory) = client(&authority, "broker.invalid", 8883);
    let fault = attempt(&options).await;
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

/// A certificate that `openssl req -x509` has made without more is an authority's, which no server may show.
#[tokio::test]
async fn a_broker_that_shows_an_authority() {
    let mut authority = Authority::new("Test CA");
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let identity = Identity { certificate: params.self_signed(&key).unwrap().pem(), private_key: key.serialize_pem() };
    // The client has left before it would be looked at.
    let others = Authority::new("Another CA");
    let server = Server { identity, ..Server::new(&others) };
    authority.pem.clone_from(&server.identity.certificate);
    let fault = server.fault(&authority).await;
    assert_eq!(fault.kind, FaultKind::BrokerCertificateInvalid, "{fault}");
    let expected = "the certificate of localhost is an authority's; it has to show one of a server (CA:FALSE)";
    assert_eq!(fault.sentence, expected);
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

/// A key on P-521, which AWS IoT Core takes since 2023, gets as far as to the CONNACK.
#[tokio::test]
async fn a_key_on_p_521_is_shown() {
    let authority = Authority::new("Test CA");
    static ONE: [[&SupportedProtocolVersion; 1]; 2] = [[&rustls::version::TLS12], [&rustls::version::TLS13]];
    for versions in &ONE {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
        let identity = authority.issue_for(key, &["robot1"], Valid::Now);
        let server = Server { versions, answer: &[0x20, 2, 0, 5], ..Server::new(&authority) };
        assert_eq!(server.fault_of(&authority, &identity).await.kind, FaultKind::NotAuthorized);
    }
}

#[tokio::test]
async fn a_connack_that_refuses() {
    let authority = Authority::new("Test CA");
    for (answer, kind) in [
        (&[0x20, 2, 0, 1], FaultKind::UnsupportedVersion),
        (&[0x20, 2, 0, 2], FaultKind::BadClientId),
        (&[0x20, 2, 0, 3], FaultKind::Unavailable),
        (&[0x20, 2, 0, 4], FaultKind::NotAuthorized),
        (&[0x20, 2, 0, 5], FaultKind::NotAuthorized),
    ] {
        let fault = Server { answer, ..Server::new(&authority) }.fault(&authority).await;
        assert_eq!(fault.kind, kind, "{fault}");
    }
}

/// Each reason of an MQTT 5 CONNACK is a fault of its own kind, in words and with its number.
#[tokio::test]
async fn a_connack_that_gives_a_reason() {
    let authority = Authority::new("Test CA");
    let answers: [(&'static [u8], FaultKind, &str); 12] = [
        (&[0x20, 3, 0, 0x80, 0], FaultKind::Protocol, "unspecified error, 0x80"),
        (&[0x20, 3, 0, 0x84, 0], FaultKind::UnsupportedVersion, "mqtt.version = \"auto\""),
        (&[0x20, 2, 0, 1], FaultKind::UnsupportedVersion, "does not speak MQTT 5"),
        (&[0x20, 3, 0, 0x85, 0], FaultKind::BadClientId, "client id robot1"),
        (&[0x20, 3, 0, 0x86, 0], FaultKind::NotAuthorized, "bad user name or password"),
        (&[0x20, 3, 0, 0x87, 0], FaultKind::NotAuthorized, "does not authorize robot1"),
        (&[0x20, 3, 0, 0x89, 0], FaultKind::Unavailable, "server busy"),
        (&[0x20, 3, 0, 0x8a, 0], FaultKind::NotAuthorized, "has banned robot1"),
        (&[0x20, 8, 0, 0x97, 5, 0x1f, 0, 2, b'n', b'o'], FaultKind::QuotaExceeded, "0x97); it says \"no\""),
        (&[0x20, 3, 0, 0x9a, 0], FaultKind::Protocol, "keeps no retained messages"),
        (&[0x20, 8, 0, 0x9c, 5, 0x1c, 0, 2, b'e', b'u'], FaultKind::UseAnotherServer, "elsewhere at \"eu\""),
        (&[0xe0, 1, 0x8b], FaultKind::Unavailable, "server shutting down"),
    ];
    for (answer, kind, words) in answers {
        let fault = Server { answer, version: Version::V5, ..Server::new(&authority) }.fault(&authority).await;
        assert_eq!(fault.kind, kind, "{fault}");
        assert!(fault.sentence.contains(words), "{fault}");
    }
}

/// What the broker says when it ends a connection decides what is made of it.
#[test]
fn a_disconnect_that_gives_a_reason() {
    let (options, _directory) = client(&Authority::new("Test CA"), "localhost", 8883);
    for (reason, kind, words) in [
        (0x8e, FaultKind::TakenOver, "another client has connected with the client id robot1"),
        (0x8d, FaultKind::TimedOut, "keep alive timeout"),
        (0x95, FaultKind::Disconnected, "packet too large"),
        (0x87, FaultKind::Disconnected, "not authorized"),
        (0x97, FaultKind::QuotaExceeded, "quota exceeded"),
        (0x96, FaultKind::QuotaExceeded, "message rate too high"),
        (0x94, FaultKind::Protocol, "topic alias invalid"),
        (0x89, FaultKind::Unavailable, "server busy"),
        (0x98, FaultKind::Network, "administrative action"),
        (0x9d, FaultKind::UseAnotherServer, "server moved"),
        (0xff, FaultKind::Disconnected, "reason 0xff"),
    ] {
        let failure = Failure::Disconnected(Reason(reason).into());
        let fault = classify(&failure, Peer::connected(&options));
        assert_eq!(fault.kind, kind, "{fault}");
        assert!(fault.sentence.contains(words), "{fault}");
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
        let expected = "localhost closed the connection without a CONNACK; its policy may not allow the client id \
                        robot1, or one had connected with it less than a second before";
        assert_eq!(fault, Fault::new(FaultKind::Closed, expected.into()));
    }
}

/// A server without TLS, and one that hangs up during the handshake.
#[tokio::test]
async fn a_server_that_speaks_no_tls() {
    let authority = Authority::new("Test CA");
    for (answer, kind) in [(&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], FaultKind::Tls), (b"", FaultKind::Closed)] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (options, _directory) = client(&authority, "localhost", listener.local_addr().unwrap().port());
        let serving = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let _ = connection.read(&mut [0; 4096]).await;
            let _ = connection.write_all(answer).await;
        });
        let fault = attempt(&options).await;
        assert_eq!(fault.kind, kind, "{fault}");
        serving.await.unwrap();
    }
}

/// A missing file is a fault of the credentials, with the file's name.
#[test]
fn a_credential_problem() {
    let path = PathBuf::from("/etc/iot-bridge/certs/robot1.private.key");
    let private_key = PathBuf::from("/elsewhere");
    let fault = Fault::from(CredentialProblem::KeyMismatch { certificate: path, private_key });
    assert_eq!(fault.kind, FaultKind::Credentials);
    assert!(fault.sentence.contains("/etc/iot-bridge/certs/robot1.private.key"), "{fault}");
}
