//! What the uplink has handed to its connections, all topics together.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::latency::{Latency, LatencyFigures};

/// Written by the uplink, read by whoever reports. It outlives every connection.
#[derive(Debug, Default)]
pub struct Meter {
    publishes: AtomicU64,
    bytes: AtomicU64,
    latency: Latency,
    /// By reason code.
    refused: Mutex<BTreeMap<u8, u64>>,
}

impl Meter {
    /// A publish whose packet has `bytes` was handed to the connection.
    pub fn count_published(&self, bytes: u64) {
        self.publishes.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The broker refused a publish with this reason code of MQTT 5.
    pub fn count_refused(&self, reason: u8) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1;
    }

    /// Publishes that the broker refused, by reason code.
    pub fn refused(&self) -> BTreeMap<u8, u64> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A record got its PUBACK, `took` after ROS had handed it over.
    pub fn observe_latency(&self, took: Duration) {
        self.latency.observe(took, Instant::now());
    }

    pub fn publishes(&self) -> u64 {
        self.publishes.load(Ordering::Relaxed)
    }

    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Latencies since the start of the process.
    pub fn latency(&self) -> LatencyFigures {
        self.latency.figures()
    }

    /// Latencies of the minute before `now`.
    pub fn latency_of_last_minute(&self, now: Instant) -> LatencyFigures {
        self.latency.last_minute(now)
    }
}
