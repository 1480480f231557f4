//! `iot-bridge`: the daemon and its operator's commands.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    iot_bridge::commands::execute(iot_bridge::cli::Cli::parse())
}
