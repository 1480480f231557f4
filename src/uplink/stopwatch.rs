//! Times what one connection publishes, and counts it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::Qos;
use crate::health::Meter;
use crate::queue::{Lease, LeaseId};

/// Knows when ROS handed over what is in flight. It ends with its connection, as the leases do.
#[derive(Debug)]
pub(super) struct Stopwatch {
    meter: Arc<Meter>,
    /// Nanoseconds since 1970, for each record that waits for its PUBACK.
    received_ns: HashMap<LeaseId, i64>,
}

impl Stopwatch {
    pub fn new(meter: Arc<Meter>) -> Self {
        Stopwatch { meter, received_ns: HashMap::new() }
    }

    /// `lease` was handed to the client.
    pub fn submitted(&mut self, lease: &Lease) {
        let route = &lease.record.route;
        // MQTT adds 4 to 9 bytes of its own, TLS and TCP some dozens to however many travel together.
        let bytes = (route.mqtt.len() + lease.record.payload.len()) as u64;
        route.counters.count_published(bytes);
        self.meter.count_published(bytes);
        if route.qos == Qos::AtLeastOnce {
            self.received_ns.insert(lease.id, lease.record.received_ns);
        }
    }

    /// All that will be heard of `lease` has been heard.
    pub fn done(&mut self, lease: LeaseId) {
        if let Some(received_ns) = self.received_ns.remove(&lease) {
            let now_ns = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            // A clock that was set back makes it nothing.
            let took_ns = u64::try_from(now_ns).unwrap_or(u64::MAX).saturating_sub(received_ns.try_into().unwrap_or(0));
            self.meter.observe_latency(Duration::from_nanos(took_ns));
        }
    }
}
