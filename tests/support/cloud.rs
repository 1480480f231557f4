//! Who asks robots for something: an MQTT client that publishes.

use std::time::Duration;

use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::certificates::Authority;
use super::observer::{Observer, transport};

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Connected to the broker directly.
pub struct Cloud {
    client: AsyncClient,
    connection: JoinHandle<()>,
}

impl Cloud {
    /// Connects to the broker on `port`, with a certificate that `authority` has signed.
    pub async fn connect(authority: &Authority, port: u16) -> Cloud {
        let mut options = MqttOptions::new("cloud", "localhost", port);
        options.set_transport(transport(authority)).set_max_packet_size(1 << 20, 1 << 20);
        let (client, mut event_loop) = AsyncClient::new(options, 100);
        loop {
            let event = timeout(PATIENCE, event_loop.poll()).await.expect("no CONNACK").expect("cannot connect");
            if let Event::Incoming(Incoming::ConnAck(_)) = event {
                break;
            }
        }
        let connection = tokio::spawn(async move { while event_loop.poll().await.is_ok() {} });
        Cloud { client, connection }
    }

    /// Publishes `payload` to `topic`.
    pub async fn ask(&self, topic: &str, payload: &str) {
        self.client.publish(topic, QoS::AtLeastOnce, false, payload.to_owned()).await.unwrap();
    }

    /// Publishes `payload` to `topic` until `observer` sees an answer that is `wanted`. What else it sees is forgotten.
    pub async fn ask_until(
        &self,
        topic: &str,
        payload: &str,
        observer: &mut Observer,
        wanted: impl Fn(&str, &Value) -> bool,
    ) {
        let answered = async {
            loop {
                self.ask(topic, payload).await;
                let heard = async {
                    loop {
                        let (of, answer) = observer.next().await;
                        if of != topic && wanted(&of, &serde_json::from_slice(&answer).unwrap_or_default()) {
                            return;
                        }
                    }
                };
                if timeout(Duration::from_millis(500), heard).await.is_ok() {
                    return;
                }
            }
        };
        timeout(PATIENCE, answered).await.expect("the wanted answer never comes");
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
