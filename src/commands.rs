//! What each command of the command line does. Each answers the process's exit status.

mod bar;
mod check;
mod distribution;
mod mock;
mod preview;
mod queue;
mod run;
pub mod status;
mod topics;

use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Cli, Command};
use crate::ros;
use iot_bridge_core::config::Problems;
use iot_bridge_core::terminal::{EXIT_CONFIG, print};

/// Carries out `cli`.
pub fn execute(cli: Cli) -> ExitCode {
    let role = match cli.command {
        Command::Run(_) => Some(ros::Role::Service),
        Command::Preview { .. } | Command::Topics(_) => Some(ros::Role::Lookout),
        _ => None,
    };
    if let Some(Err(error)) = role.map(ros::meet_the_graph) {
        eprintln!(
            "The program can't be executed again, as it takes to see topics without a `type` through a discovery server, \
             and other users' nodes: {error}."
        );
    }
    match cli.command {
        Command::Run(config) => run::execute(config.config.as_deref()),
        Command::Check { config, beside_run: true, .. } => check::beside_run(config.config.as_deref()),
        Command::Check { config, connect, publish, timeout, json, quiet, .. } => {
            let wish = connect.then_some(check::Wish { publish, timeout: Duration::from_secs(timeout) });
            check::execute(config.config.as_deref(), wish, json, quiet)
        }
        Command::Status { json, watch } => status::execute(json, watch),
        Command::Preview { topic, count, explain, config } => {
            preview::execute(config.config.as_deref(), &topic, count, explain)
        }
        Command::Topics(wish) => topics::execute(&wish),
        Command::Mock { rate, topic } => mock::execute(rate, &topic),
        Command::Queue { command } => queue::execute(command),
        Command::Completions { shell } => completions(shell),
    }
}

fn completions(shell: clap_complete::Shell) -> ExitCode {
    use clap::CommandFactory;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "iot-bridge", &mut script);
    print(&script)
}

/// Prints what is wrong with the configuration and answers the exit status for it.
fn refuse(problems: &Problems) -> ExitCode {
    eprintln!("{problems}");
    ExitCode::from(EXIT_CONFIG)
}

/// Prints why the program can't go on.
fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("iot-bridge: {error}");
    ExitCode::FAILURE
}

/// Ends when the process is asked to stop, and says by what.
///
/// # Errors
/// When the signals can't be caught.
fn asked_to_stop() -> std::io::Result<impl Future<Output = &'static str>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}
