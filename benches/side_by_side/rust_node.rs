//! A node as people write it in Rust: r2r's untyped subscription, serde_json, rumqttc; a QoS 1 publish for each message.
//!
//! It is measured beside the bridge. It does what the crates' own examples do, and is not tuned.

#[allow(dead_code, reason = "shared with parts that need the rest of it")]
mod plan;

use std::error::Error;
use std::time::Duration;

use futures::StreamExt;
use r2r::QosProfile;
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS, Transport};

use plan::Plan;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let plan = Plan::read();
    let broker = plan.broker.expect("a broker");
    let tls = broker.tls.expect("certificates");
    rustls::crypto::aws_lc_rs::default_provider().install_default().expect("the first one");
    let [ca, certificate, key] = [tls.ca, tls.certificate, tls.private_key].map(std::fs::read);
    let mut options = MqttOptions::new(&broker.client_id, "localhost", broker.port);
    options
        .set_transport(Transport::tls(ca?, Some((certificate?, key?)), None))
        .set_keep_alive(Duration::from_secs(30))
        .set_clean_session(false)
        .set_max_packet_size(16 << 20, 16 << 20);
    let (client, mut event_loop) = AsyncClient::new(options, 100);

    let mut node = r2r::Node::create(r2r::Context::create()?, "rust_node", "")?;
    for topic in plan.topics {
        let mut messages = node.subscribe_untyped(&topic.ros, &topic.type_name, QosProfile::default())?;
        let client = client.clone();
        let mqtt_topic = format!("{}{}", broker.client_id, topic.ros);
        tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                let payload = serde_json::to_vec(&message.expect("a message")).expect("JSON");
                client.publish(&mqtt_topic, QoS::AtLeastOnce, false, payload).await.expect("the event loop runs");
            }
        });
    }
    tokio::task::spawn_blocking(move || {
        loop {
            node.spin_once(Duration::from_millis(100));
        }
    });

    loop {
        match event_loop.poll().await {
            Ok(Event::Incoming(Incoming::ConnAck(_))) => println!("\"ready\""),
            Ok(_) => {}
            Err(error) => {
                eprintln!("{error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}
