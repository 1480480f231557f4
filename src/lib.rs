//! iot-bridge forwards ROS 2 telemetry to AWS IoT Core.
//!
//! ```text
//!  DDS ── ros ──► codec ──► shaping ──► queue ──► uplink ──► AWS IoT Core
//!                          health watches every stage
//! ```
//!
//! `ros`, `health`, `bridge` and the commands are here; what needs no ROS is in `iot_bridge_core`.
//! `docs/architecture.md` tells the whole.

pub mod bridge;
pub mod cli;
pub mod commands;
pub mod health;
#[allow(unsafe_code, reason = "rcl is C")]
pub mod ros;
