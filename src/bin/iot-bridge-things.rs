//! `iot-bridge-things`: provisioning of things in AWS IoT Core.

#![deny(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    iot_bridge::things::execute(iot_bridge::things::cli::Cli::parse())
}
