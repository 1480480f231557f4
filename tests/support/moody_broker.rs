//! A broker that acknowledges as it likes, within what MQTT allows and a little beyond.

use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rumqttc::tokio_rustls::TlsAcceptor;
use rumqttc::{ConnAck, ConnectReturnCode, Packet, PubAck};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::certificates::{Authority, Valid};

/// Acknowledges what one read brought in the opposite order, and on its first connections swallows a publish's PUBACK.
pub struct MoodyBroker {
    pub port: u16,
    /// What has arrived, in order: topic and payload.
    pub messages: mpsc::UnboundedReceiver<(String, Bytes)>,
    serving: JoinHandle<()>,
}

impl MoodyBroker {
    /// Shows a certificate for `localhost`. On each of the first `swallowing` connections the PUBACK of the publish
    /// number `swallowed` is never sent.
    pub async fn start(authority: &Authority, swallowing: usize, swallowed: usize) -> Self {
        let identity = authority.issue(&["localhost"], Valid::Now);
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(identity.private_key.as_bytes()).unwrap(),
            )
            .unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, messages) = mpsc::unbounded_channel();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let serving = tokio::spawn(async move {
            for connection in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let swallowed = (connection < swallowing).then_some(swallowed);
                // One at a time, as a broker has one connection for a client id.
                let _ = serve(&acceptor, stream, &seen, swallowed).await;
            }
        });
        MoodyBroker { port, messages, serving }
    }
}

impl Drop for MoodyBroker {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    seen: &mpsc::UnboundedSender<(String, Bytes)>,
    swallowed: Option<usize>,
) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let (mut unread, mut publishes) = (BytesMut::new(), 0);
    while stream.read_buf(&mut unread).await? > 0 {
        let (mut answer, mut acks) = (BytesMut::new(), Vec::new());
        while let Ok(packet) = Packet::read(&mut unread, usize::MAX) {
            match packet {
                Packet::Connect(_) => _ = ConnAck::new(ConnectReturnCode::Success, false).write(&mut answer).unwrap(),
                Packet::Publish(publish) => {
                    publishes += 1;
                    if swallowed != Some(publishes) {
                        acks.push(publish.pkid);
                    }
                    let _ = seen.send((publish.topic, publish.payload));
                }
                Packet::PingReq => answer.extend_from_slice(&[0xd0, 0]),
                Packet::Disconnect => return Ok(()),
                other => panic!("the bridge sent {other:?}"),
            }
        }
        for packet_id in acks.into_iter().rev() {
            PubAck::new(packet_id).write(&mut answer).unwrap();
        }
        stream.write_all(&answer).await?;
        stream.flush().await?;
    }
    Ok(())
}
