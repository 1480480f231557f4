//! `iot-bridge-things`: provisioning of things in AWS IoT Core.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    iot_bridge_things::execute(iot_bridge_things::cli::Cli::parse())
}
