//! What iot-bridge is made of and needs no ROS for, shared with the tool that provisions its things.
//!
//! ```text
//!  CDR bytes ──► codec ──► shaping ──► queue ──► uplink ──► AWS IoT Core
//!            ◄── codec ◄── requests ◄────────── uplink ◄──
//! ```

pub mod accounts;
pub mod codec;
pub mod config;
pub mod files;
pub mod mqtt;
pub mod packing;
pub mod pem;
pub mod price;
pub mod provisioning;
pub mod queue;
pub mod remote;
pub mod requests;
pub mod shadows;
pub mod shaping;
pub mod tally;
pub mod terminal;
pub mod time_of_day;
pub mod topics;
pub mod uplink;
