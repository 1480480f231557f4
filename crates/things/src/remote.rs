//! `iot-bridge-things config`: the sections of the configuration that robots take from their shadow, sent and looked at.
//!
//! ```text
//!  FILE ─► Configuration ─► checked for each thing ─┬─► shadow NAME: desired ──► robot ──► reported ─┐
//!                                                   │   shadow NAME-before: what was desired before  ├─► outcomes
//!                                                   └─► IoT job ──────────────► robot ──► execution ─┘
//! ```
//!
//! The robot's side of it is `iot_bridge_core::remote`.

mod before;
mod configuration;
mod job;
mod outcome;
mod push;
mod robot;
mod rollback;
mod send;
mod show;
mod targets;
mod wait;

pub use before::LONGEST_NAME;

use std::process::ExitCode;

use super::cli::{AwsArgs, ConfigCommand};
use super::stop::Stop;

pub async fn execute(command: ConfigCommand, aws: &AwsArgs) -> Result<ExitCode, Stop> {
    match command {
        ConfigCommand::Push(arguments) => push::execute(arguments, aws).await,
        ConfigCommand::Show(arguments) => show::execute(arguments, aws).await,
        ConfigCommand::Rollback(arguments) => rollback::execute(arguments, aws).await,
    }
}
