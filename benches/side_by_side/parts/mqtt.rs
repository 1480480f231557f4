//! How the parts reach the broker.

use rumqttc::{MqttOptions, Transport};

use crate::plan::Broker;

/// Options for `broker`, with mutual TLS if it asks for that.
pub fn options(broker: &Broker) -> MqttOptions {
    let mut options = MqttOptions::new(&broker.client_id, "localhost", broker.port);
    options.set_max_packet_size(16 << 20, 16 << 20);
    if let Some(tls) = &broker.tls {
        rustls::crypto::aws_lc_rs::default_provider().install_default().expect("the first one");
        let read = |path| std::fs::read(path).expect("a PEM file");
        let identity = (read(&tls.certificate), read(&tls.private_key));
        options.set_transport(Transport::tls(read(&tls.ca), Some(identity), None));
    }
    options
}
