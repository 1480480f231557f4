//! What to do about a fault of the connection.

use iot_bridge_core::mqtt::FaultKind;

/// A sentence that follows the fault's, or nothing. `topic`: what was published or subscribed to, once connected.
pub fn advice(kind: FaultKind, topic: Option<&str>) -> String {
    use FaultKind as K;
    let advice = match (kind, topic) {
        (K::Refused | K::Unreachable | K::TimedOut, _) => {
            "Look at the network and at the firewall; where only HTTPS gets out, set port = 443 in [aws]".to_owned()
        }
        (K::NameNotFound, _) => "Look at the network, and at endpoint in [aws] of the thing's config.toml".to_owned(),
        (K::BrokerAuthorityUnknown | K::BrokerNameMismatch | K::BrokerCertificateInvalid, _) => {
            "Look at endpoint and root_ca in [aws], and whether something on the way opens TLS".to_owned()
        }
        (K::BrokerCertificateExpired | K::BrokerCertificateNotYetValid, _) => "Look at the clock".to_owned(),
        (K::CertificateRejected, _) => {
            "`iot-bridge-things list` shows whether the certificate is active; `iot-bridge-things create` activates it"
                .to_owned()
        }
        (K::Closed | K::NotAuthorized | K::AckOverdue, Some(topic)) => {
            format!(
                "The thing's policy may not allow {topic}; `iot-bridge-things policy` prints what it has to allow. Or the \
                 thing is connected elsewhere too, as the robot itself or by another command"
            )
        }
        (K::Closed | K::NotAuthorized | K::BadClientId, None) => {
            "`iot-bridge-things create` attaches the policy that allows it; right after that AWS takes some seconds"
                .to_owned()
        }
        _ => return String::new(),
    };
    format!(". {advice}.")
}
