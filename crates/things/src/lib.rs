//! Provisioning through the AWS control plane: `iot-bridge-things`. Knows nothing of the running bridge, and uses its
//! configuration and its connection code.
//!
//! ```text
//!  template ──► policy (what it needs) ──┐
//!                                        ├─► create / rotate / clean ──► aws (calls, paced) ──► AWS IoT Core
//!  register (things.json: each step      │         └──► robot (files)
//!  before it is taken) ──────────────────┘
//!                    send, subscribe ──► mqtt::session  ──► the things' endpoint
//!                    config ──► aws (shadows, jobs) ──► robots that take their configuration from there
//! ```
//!
//! The rules:
//!
//! - Private keys are made here and do not leave this machine, unless AWS is asked to make them.
//! - What is about to be made is recorded first. A call whose answer is lost leaves a trace by which the next run finds
//!   what it has made.
//! - Only what is recorded as made here is deleted, unless somebody insists.

mod aws;
mod clean;
pub mod cli;
mod create;
mod each;
mod failure;
mod files;
mod keys;
mod list;
mod pace;
pub mod policy;
mod policy_command;
mod register;
mod remote;
mod robot;
mod roots;
mod rotate;
mod rule;
mod stop;
mod template;
mod traffic;

use std::process::ExitCode;

use clap::CommandFactory;

use self::cli::{Cli, Command};
use self::stop::Stop;
use iot_bridge_core::terminal::print;

/// Carries out `cli`.
pub fn execute(cli: Cli) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let stop = Stop::Failed(format!("can't start: {error}"));
            eprintln!("{stop}");
            return stop.exit_code();
        }
    };
    match runtime.block_on(carry_out(cli)) {
        Ok(status) => status,
        Err(stop) => {
            eprintln!("{stop}");
            stop.exit_code()
        }
    }
}

async fn carry_out(cli: Cli) -> Result<ExitCode, Stop> {
    let aws = &cli.aws;
    match cli.command {
        Command::Create(arguments) => create::execute(arguments, aws).await?,
        Command::Send(arguments) => traffic::send(arguments).await?,
        Command::Subscribe(arguments) => traffic::subscribe(arguments).await?,
        Command::List { directory, json } => list::execute(&directory.output, json, aws).await?,
        Command::Clean(arguments) => clean::execute(arguments, aws).await?,
        Command::Policy(arguments) => return policy_command::execute(arguments, aws).await,
        Command::Config { command } => return remote::execute(*command, aws).await,
        Command::Rule { command } => return rule::execute(command, aws).await,
        Command::Rotate { name, directory } => rotate::execute(&name, &directory.output, aws).await?,
        Command::Completions { shell } => return Ok(completions(shell)),
    }
    Ok(ExitCode::SUCCESS)
}

fn completions(shell: clap_complete::Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "iot-bridge-things", &mut script);
    print(&script)
}

/// `3 things`, `1 thing`.
fn plural(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
