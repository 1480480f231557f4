//! Why a command ends early.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use super::failure::Failure;
use super::policy::{TooMany, Wild};
use iot_bridge_core::config::{LoadError, Problems};
use iot_bridge_core::terminal::EXIT_CONFIG;

/// An end with words for a person, and the exit status that goes with it.
#[derive(Debug)]
pub enum Stop {
    /// Something did not work: 1.
    Failed(String),
    /// The command line asks for what can't be: 2.
    Usage(String),
    /// The configuration is wrong: 78.
    Config(Box<Problems>),
}

impl Stop {
    /// A fault of reading or writing `path`.
    pub fn file(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Stop {
        let path = path.display().to_string();
        move |error| Stop::Failed(format!("can't {what} {path}: {error}"))
    }

    /// What is wrong, without the program's name.
    pub fn sentence(&self) -> String {
        match self {
            Stop::Failed(sentence) | Stop::Usage(sentence) => sentence.clone(),
            Stop::Config(problems) => problems.to_string(),
        }
    }

    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Stop::Failed(_) => 1,
            Stop::Usage(_) => 2,
            Stop::Config(_) => EXIT_CONFIG,
        })
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Failed(sentence) | Stop::Usage(sentence) => write!(f, "iot-bridge-things: {sentence}"),
            Stop::Config(problems) => write!(f, "{problems}"),
        }
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failed(failure.sentence)
    }
}

impl From<LoadError> for Stop {
    fn from(error: LoadError) -> Stop {
        error.problems.into()
    }
}

impl From<Problems> for Stop {
    fn from(problems: Problems) -> Stop {
        Stop::Config(Box::new(problems))
    }
}

impl From<Wild> for Stop {
    fn from(error: Wild) -> Stop {
        Stop::Failed(error.to_string())
    }
}

impl From<TooMany> for Stop {
    fn from(error: TooMany) -> Stop {
        Stop::Failed(error.to_string())
    }
}
