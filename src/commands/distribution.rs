//! Whether the sourced ROS is the one that the program was built for.

use std::process::ExitCode;

use super::EXIT_CONFIG;
use crate::ros::{BUILT_FOR, Distribution, sourced_distribution};
use iot_bridge_core::config::Problem;

const VARIABLE: &str = "ROS_DISTRO";

/// What somebody should know of the sourced ROS, if anything: a sentence without its full stop.
///
/// # Errors
/// When it is one whose structures may be laid out otherwise.
pub(super) fn sourced() -> Result<Option<String>, Problem> {
    let sourced = std::env::var_os(VARIABLE);
    match sourced_distribution(sourced.as_deref()) {
        Distribution::Same => Ok(None),
        Distribution::Doubtful(doubt) => Ok(Some(doubt)),
        Distribution::Other => Err(Problem {
            source: VARIABLE.to_owned(),
            line: None,
            key: String::new(),
            found: format!("{:?}", sourced.unwrap_or_default()),
            allowed: format!(
                "this iot-bridge was built for {BUILT_FOR:?}: source that (for the service, ROS_SETUP in \
                 /etc/default/iot-bridge names it), or install the iot-bridge for the other"
            ),
        }),
    }
}

/// Says on standard error what there is to say.
///
/// # Errors
/// The exit status, when the program must not go on.
pub(super) fn expect_the_sourced() -> Result<(), ExitCode> {
    match sourced() {
        Ok(doubt) => {
            doubt.iter().for_each(|doubt| eprintln!("{doubt}."));
            Ok(())
        }
        Err(problem) => {
            eprintln!("{problem}");
            Err(ExitCode::from(EXIT_CONFIG))
        }
    }
}
