//! iot-bridge forwards ROS 2 telemetry to AWS IoT Core.
//!
//! The modules stand in the order of the data's way:
//!
//! ```text
//!  DDS ── ros ──► codec ──► shaping ──► queue ──► uplink ──► AWS IoT Core
//!                          health watches every stage
//! ```
//!
//! `docs/architecture.md` tells the whole.

#![deny(unsafe_code)]

pub mod accounts;
pub mod bridge;
pub mod cli;
pub mod codec;
pub mod commands;
pub mod config;
pub mod files;
pub mod health;
pub mod packing;
pub mod pem;
pub mod provisioning;
pub mod queue;
#[allow(unsafe_code, reason = "rcl is C")]
pub mod ros;
pub mod shaping;
pub mod tally;
pub mod terminal;
#[cfg(feature = "things")]
pub mod things;
pub mod uplink;
