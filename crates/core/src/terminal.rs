//! What the command lines of both programs share.

pub mod printable;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

/// EX_CONFIG of sysexits(3): the unit does not restart on it.
pub const EXIT_CONFIG: u8 = 78;

/// Where the configuration is.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Configuration file, TOML or JSON; the AWS sample's iot_config.json works as it is
    /// [default: /etc/iot-bridge/config.toml, else /etc/iot-bridge/config.json]
    #[arg(long, value_name = "PATH")]
    pub config: Option<PathBuf>,
}

/// Writes `text` to standard output. A reader that does not want all of it is no error.
pub fn print(text: &[u8]) -> ExitCode {
    match io::stdout().write_all(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("iot-bridge: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
