//! An MQTT client over mutual TLS, for one connection at a time.
//!
//! ```text
//!  Session ─► Client ─► wire (CONNECT, PUBLISH, PUBACK … of 3.1.1 and 5) ─► TLS ─► dial ─► (proxy) ─► broker
//!                 └─► Failure ─► classify ─► Fault: what it means, in a sentence, and its kind
//! ```
//!
//! - [`Client`] is the connection itself: who publishes from a queue uses it.
//! - [`session::Session`] is for whoever tries things out, one publish at a time.
//! - [`tls`] reads certificate, key and authorities, and says what is wrong with them.
//! - [`Fault`] is why there is no connection, or no more.

pub mod client;
mod dial;
mod fault;
#[cfg(feature = "fuzzing")]
pub mod hostile;
mod options;
pub mod session;
pub mod tls;

#[cfg(test)]
#[path = "../../../tests/support/certificates.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod certificates;

use std::time::Duration;

pub use client::Client;
pub use fault::{Fault, FaultKind, Peer, classify};
pub use options::{Broker, Options};

/// Longest time for an attempt to connect, from the name look-up to the CONNACK, and for one publish to be taken by
/// the socket. Generous, for cellular links.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Most bytes of an MQTT packet, as AWS IoT Core announces it.
const MAX_PACKET: usize = 149_504;

/// How often [`Client::next`] tells a tick, at least.
pub(crate) const TICK: Duration = Duration::from_millis(500);
