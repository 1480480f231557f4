//! A connection without a queue, in the version of MQTT that the broker takes.

use tokio::time::sleep;

use super::backoff::MIN_SPACING;
use super::{Told, VersionChoice, options};
use crate::config::{Aws, Mqtt};
use crate::mqtt::Fault;
use crate::mqtt::client::Reached;
use crate::mqtt::session::Session;

/// Connects as `aws` and `mqtt` say. With `mqtt.version = "auto"` that takes up to three attempts, a second apart.
///
/// # Errors
/// Whatever keeps the last of them from being made.
pub async fn session(aws: &Aws, mqtt: &Mqtt) -> Result<Session, Fault> {
    let (mut choice, mut reached) = (VersionChoice::new(mqtt.version), Reached::default());
    loop {
        let options = options(aws, mqtt, choice.next());
        match Session::connect_noting(&options, &mut reached).await {
            Err(fault) if choice.attempt_failed(fault.kind, &reached) != Told::Nothing => sleep(MIN_SPACING).await,
            ended => return ended,
        }
    }
}
