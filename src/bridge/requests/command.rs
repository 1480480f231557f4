//! A command: an MQTT topic whose messages are published on a ROS topic.

use std::sync::Arc;
use std::time::Instant;

use super::{Handler, Outside};
use crate::health::RequestHealth;
use iot_bridge_core::config;
use iot_bridge_core::mqtt::client::Arrival;
use iot_bridge_core::uplink::Subscription;

pub(super) struct Command {
    settings: config::Command,
    health: Arc<RequestHealth>,
}

impl Command {
    pub fn new(settings: config::Command, health: Arc<RequestHealth>) -> Command {
        Command { settings, health }
    }
}

impl Handler for Command {
    fn subscriptions(&self) -> Vec<Subscription> {
        vec![Subscription { filter: self.settings.mqtt.clone(), qos: self.settings.qos }]
    }

    fn arrived(&mut self, arrival: Arrival, _outside: &Outside, _now: Instant) {
        self.health.refused("unavailable", "", None);
        arrival.taken();
    }

    fn turn(&mut self, _outside: &Outside, _now: Instant) {}

    fn end(&mut self, _outside: &Outside, _now: Instant) {}
}
