//! Who receives at the broker what the bridge has sent.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS, TlsConfiguration, Transport};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::certificates::{Authority, Valid};

/// Longest wait for what has to come. Long enough for a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(60);

/// Subscribed directly at the broker, with QoS 0: then Mosquitto writes a message to the subscriber's socket before it
/// acknowledges it to the publisher, so that whatever is acknowledged has been observed even if the broker is killed.
pub struct Observer {
    transport: Transport,
    subscription: Option<JoinHandle<()>>,
    client: Option<AsyncClient>,
    seen: mpsc::UnboundedSender<(String, Bytes)>,
    messages: mpsc::UnboundedReceiver<(String, Bytes)>,
}

/// TLS with a certificate that `authority` has signed, to a broker whose certificate it has signed too.
pub fn transport(authority: &Authority) -> Transport {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let identity = authority.issue(&["observer"], Valid::Now);
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity.private_key.as_bytes()).unwrap();
    let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)
        .unwrap();
    Transport::Tls(TlsConfiguration::Rustls(Arc::new(tls)))
}

impl Observer {
    /// An observer whose certificate `authority` has signed, as it has the broker's.
    pub fn new(authority: &Authority) -> Self {
        let (seen, messages) = mpsc::unbounded_channel();
        Observer { transport: transport(authority), subscription: None, client: None, seen, messages }
    }

    /// Subscribes to everything at the broker on `port`, and waits for the SUBACK. After a restart of the broker:
    /// again, and before the bridge can reach it.
    pub async fn subscribe(&mut self, port: u16) {
        if let Some(before) = self.subscription.take() {
            timeout(PATIENCE, before).await.expect("the broker of before still serves").unwrap();
        }
        let mut options = MqttOptions::new("observer", "localhost", port);
        options.set_transport(self.transport.clone()).set_max_packet_size(1 << 20, 1 << 20);
        let (client, mut event_loop) = AsyncClient::new(options, 10);
        client.try_subscribe("#", QoS::AtMostOnce).unwrap();
        loop {
            let event = timeout(PATIENCE, event_loop.poll()).await.expect("no SUBACK").expect("cannot subscribe");
            if let Event::Incoming(Incoming::SubAck(_)) = event {
                break;
            }
        }
        self.client = Some(client);
        let seen = self.seen.clone();
        self.subscription = Some(tokio::spawn(async move {
            loop {
                let polled = event_loop.poll().await;
                let ended = polled.is_err();
                // Messages that came in the same read as the end of the connection are left in the client's state.
                let left = if ended { std::mem::take(&mut event_loop.state.events) } else { Default::default() };
                for event in polled.into_iter().chain(left) {
                    if let Event::Incoming(Incoming::Publish(publish)) = event {
                        let _ = seen.send((publish.topic, publish.payload));
                    }
                }
                if ended {
                    return;
                }
            }
        }));
    }

    /// Publishes to the broker that it has subscribed at, with QoS 1. It gets the message itself, too.
    pub async fn publish(&self, topic: &str, payload: &str) {
        let client = self.client.as_ref().expect("it has subscribed");
        client.publish(topic, QoS::AtLeastOnce, false, payload).await.expect("the broker is gone");
    }

    /// Takes the messages from `messages` instead of a broker.
    pub fn watch(&mut self, messages: &mut mpsc::UnboundedReceiver<(String, Bytes)>) {
        std::mem::swap(&mut self.messages, messages);
    }

    /// The next message: its topic and payload.
    pub async fn next(&mut self) -> (String, Bytes) {
        timeout(PATIENCE, self.messages.recv())
            .await
            .expect("no message arrives")
            .expect("the sender lives with the observer")
    }

    /// What has arrived and was not asked for yet.
    pub fn rest(&mut self) -> Vec<(String, Bytes)> {
        std::iter::from_fn(|| self.messages.try_recv().ok()).collect()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        if let Some(subscription) = self.subscription.take() {
            subscription.abort();
        }
    }
}
