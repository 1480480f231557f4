//! The client against a broker that does what a test says, byte by byte, over TLS on the loopback.

use std::net::Ipv4Addr;
use std::time::SystemTime;

use rumqttc::v5::mqttbytes::v5::Packet;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server;

use bytes::Bytes;

use super::*;
use crate::mqtt::certificates::{Authority, Valid};
use crate::mqtt::tls;

struct Broker {
    stream: server::TlsStream<TcpStream>,
    read: BytesMut,
}

impl Broker {
    async fn sends(&mut self, packets: &[&[u8]]) {
        self.stream.write_all(&packets.concat()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// All that has come up to the packet that ends with `end`, which may not have come yet.
    async fn hears(&mut self, end: &[u8]) -> Vec<u8> {
        while !self.read.ends_with(end) {
            assert!(self.stream.read_buf(&mut self.read).await.unwrap() > 0);
        }
        std::mem::take(&mut self.read).into()
    }
}

/// A place for a broker, what a client of `version` needs for it, and how the broker does TLS.
async fn place(version: Version) -> (TcpListener, Options, Arc<ClientConfig>, TlsAcceptor) {
    let authority = Authority::new("Test CA");
    let directory = tempfile::tempdir().unwrap();
    let files = authority.issue(&["robot1"], Valid::Now).write(directory.path(), "robot1");
    let root_ca = directory.path().join("rootCA.crt");
    std::fs::write(&root_ca, &authority.pem).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let options = Options {
        broker: crate::mqtt::Broker {
            host: "localhost".into(),
            port: listener.local_addr().unwrap().port(),
            certificate: files.certificate,
            private_key: files.private_key,
            root_ca: Some(root_ca),
        },
        client_id: "robot1".into(),
        version,
        keep_alive: Duration::from_secs(60),
        ack_timeout: Duration::from_secs(60),
        proxy: None,
        last_will: None,
    };
    let own = authority.issue(&["localhost"], Valid::Now);
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(own.private_key.as_bytes()).unwrap(),
        )
        .unwrap();
    let tls = tls::load(&options.broker, SystemTime::now()).unwrap().config;
    (listener, options, tls, TlsAcceptor::from(Arc::new(config)))
}

/// A client of `version` whose handler has room for `room` arrivals, its broker, and the CONNECT that came.
async fn connected(version: Version, room: usize) -> (Client, mpsc::Receiver<Arrival>, Broker, BytesMut) {
    let (listener, options, tls, acceptor) = place(version).await;
    let accepting = async {
        let (stream, _) = listener.accept().await.unwrap();
        let stream = acceptor.accept(stream).await.unwrap();
        let mut broker = Broker { stream, read: BytesMut::new() };
        let connect = broker.hears(b"robot1").await;
        let connack: &[u8] = if version == Version::V5 { &[0x20, 3, 0, 0, 0] } else { &[0x20, 2, 0, 0] };
        broker.sends(&[connack]).await;
        (broker, BytesMut::from(&*connect))
    };
    let (handler, arrivals) = mpsc::channel(room);
    let (client, (broker, connect)) = tokio::join!(Client::connect(&options, tls, Some(handler)), accepting);
    (client.unwrap(), arrivals, broker, connect)
}

/// A PUBLISH of QoS 1 to `a`, in the words of `version`.
fn publish(version: Version, packet_id: u8) -> Vec<u8> {
    let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    [&[0x32, 6 + properties.len() as u8, 0, 1, b'a', 0, packet_id], properties, b"x"].concat()
}

/// What the client publishes, with QoS 1.
fn message(payload: &Bytes) -> Message<'_> {
    Message::new("b", Qos::AtLeastOnce, payload)
}

async fn next(client: &mut Client) -> Event {
    loop {
        match client.next().await.unwrap() {
            Event::Tick => {}
            event => return event,
        }
    }
}

/// The broker gets a PUBACK for what the handler has taken, in whatever order it takes it. What there is no room for, and what
/// the handler drops, takes none of what the broker may send without PUBACK: in MQTT 5 the PUBACK says why it was not taken.
/// Once something is taken or dropped there is room again.
#[tokio::test]
async fn the_broker_hears_what_becomes_of_what_it_sends() {
    for version in [Version::V3_1_1, Version::V5] {
        let (mut client, mut arrivals, mut broker, _) = connected(version, 2).await;
        let [one, two, three, four] = [1, 2, 3, 4].map(|packet_id| publish(version, packet_id));
        broker.sends(&[&one, &two, &three]).await;
        let missed = Event::Missed { topic: "a".into() };
        assert_eq!([next(&mut client).await, next(&mut client).await], [Event::Arrived, Event::Arrived]);
        assert_eq!(next(&mut client).await, missed);
        let [first, second] = [arrivals.try_recv().unwrap(), arrivals.try_recv().unwrap()];
        assert_eq!((&*first.topic, &*first.payload), ("a", &b"x"[..]));
        broker.sends(&[&four]).await;
        assert_eq!(next(&mut client).await, missed, "those in the handler's hands count");
        second.taken();
        broker.sends(&[&four]).await;
        assert_eq!(next(&mut client).await, Event::Arrived);
        broker.sends(&[&one]).await;
        assert_eq!(next(&mut client).await, Event::Arrived);
        assert_eq!(arrivals.try_recv().map(Arrival::taken), Ok(()));
        assert!(arrivals.try_recv().is_err(), "what comes again is not handed over again");
        drop(first);
        client.disconnect();
        let (said, end) = tokio::join!(broker.hears(wire::DISCONNECT), async {
            tokio::time::timeout(Duration::from_millis(300), next(&mut client)).await
        });
        assert!(end.is_err(), "{end:?}");
        let (missed, dropped): ([&[u8]; 2], &[u8]) = match version {
            Version::V3_1_1 => ([&[0x40, 2, 0, 3], &[0x40, 2, 0, 4]], &[]),
            Version::V5 => ([&[0x40, 3, 0, 3, 0x97], &[0x40, 3, 0, 4, 0x97]], &[0x40, 3, 0, 1, 0x83]),
        };
        let taken: &[u8] = &[0x40, 2, 0, 2, 0x40, 2, 0, 4];
        assert_eq!(said, [missed[0], missed[1], taken, dropped, wire::DISCONNECT].concat(), "{version:?}");
    }
}

/// A handler that takes nothing stops no PUBACK of what the client has published, however much comes, and no more waits for
/// it than there is room for.
#[tokio::test]
async fn a_slow_handler_stops_no_puback() {
    for version in [Version::V3_1_1, Version::V5] {
        let (mut client, mut arrivals, mut broker, _) = connected(version, 3).await;
        let payload = Bytes::from_static(b"telemetry");
        let message = message(&payload);
        client.publish(&message);
        assert_eq!(next(&mut client).await, Event::Sent { packet_id: Some(1) });
        broker.hears(&payload).await;
        for packet_id in 1..=200 {
            broker.sends(&[&publish(version, packet_id)]).await;
        }
        broker.sends(&[&[0x40, 2, 0, 1]]).await;
        let (mut arrived, mut missed) = (0, 0);
        loop {
            match next(&mut client).await {
                Event::Arrived => arrived += 1,
                Event::Missed { .. } => missed += 1,
                event => {
                    assert_eq!(event, Event::Acknowledged { packet_id: 1, answer: Reason::SUCCESS.into() });
                    break;
                }
            }
        }
        assert_eq!((arrived, missed), (3, 197), "{version:?}");
        assert_eq!(std::iter::from_fn(|| arrivals.try_recv().ok()).count(), 3);
    }
}

/// MQTT 5 tells the broker how much there is room for, so that nothing is missed that a broker could keep.
#[tokio::test]
async fn the_broker_is_told_of_the_room() {
    let (.., mut connect) = connected(Version::V5, 7).await;
    let Packet::Connect(connect, ..) = Packet::read(&mut connect, None).unwrap() else { panic!("no CONNECT") };
    assert_eq!(connect.properties.unwrap().receive_maximum, Some(7));
}

/// When the broker says why it goes and then can't be written to, all that it has said is told, the reason last.
#[tokio::test]
async fn what_has_come_is_told_when_nothing_can_be_written() {
    let (mut client, _arrivals, mut broker, _) = connected(Version::V5, 1).await;
    let payload = Bytes::from_static(b"telemetry");
    let message = message(&payload);
    (0..4).for_each(|_| _ = client.publish(&message));
    for packet_id in 1..5 {
        assert_eq!(next(&mut client).await, Event::Sent { packet_id: Some(packet_id) });
    }
    let pubacks: Vec<[u8; 4]> = (1..5).map(|packet_id| [0x40, 2, 0, packet_id]).collect();
    broker.sends(&[&pubacks.concat(), &[0xe0, 1, 0x8e]]).await;
    assert!(matches!(next(&mut client).await, Event::Acknowledged { packet_id: 1, .. }));
    broker.stream.get_ref().0.set_zero_linger().unwrap();
    drop(broker);
    client.publish(&message);
    for expected in 2..5 {
        assert!(matches!(next(&mut client).await, Event::Acknowledged { packet_id, .. } if packet_id == expected));
    }
    let end = client.next().await;
    assert!(matches!(end, Err(Failure::Disconnected(_))), "{end:?}");
}

/// How far an attempt has got is noted: whether the broker was asked, which it was not if it closes before, and whether it
/// has answered, be it by a refusal.
#[tokio::test]
async fn how_far_an_attempt_gets_is_noted() {
    let (listener, options, tls, acceptor) = place(Version::V5).await;
    let answers: [Option<&[u8]>; 4] = [None, Some(&[]), Some(&[0x20, 3, 0, 0x87, 0]), Some(&[0x20, 3, 0, 0, 0])];
    let mut reached = Reached::default();
    let mut noted = Vec::new();
    for answer in answers {
        let answering = async {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = answer?;
            let mut broker = Broker { stream: acceptor.accept(stream).await.unwrap(), read: BytesMut::new() };
            broker.hears(b"robot1").await;
            broker.sends(&[answer]).await;
            Some(broker)
        };
        let connecting = Client::connect_noting(&options, tls.clone(), None, &mut reached);
        let (connected, _) = tokio::join!(connecting, async { drop(answering.await) });
        assert!(reached.connected);
        noted.push((reached.tls.is_some(), reached.asked, reached.answered, connected.is_ok()));
        reached.tls = None;
    }
    let (closed_before, asked) = ((false, false, false, false), (true, true, false, false));
    assert_eq!(noted, [closed_before, asked, (true, true, true, false), (true, true, true, true)]);
}
