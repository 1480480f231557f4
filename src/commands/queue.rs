//! `iot-bridge queue`: the queue on disk, while nobody works with it.
//!
//! Everything here goes by what [`disk::survey`](iot_bridge_core::queue::disk::survey) finds, so that it sees what the bridge
//! would see at its start. Only `purge` changes anything.

mod export;
mod purge;
mod show;

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};

use super::bar::Bar;
use super::{fail, refuse};
use crate::cli::{QueueArgs, QueueCommand};
use iot_bridge_core::config::{self, Problems};
use iot_bridge_core::files::OsFiles;
use iot_bridge_core::queue::disk::survey::{Survey, survey};

pub fn execute(command: QueueCommand) -> ExitCode {
    let (QueueCommand::Show { queue, .. } | QueueCommand::Export { queue, .. } | QueueCommand::Purge { queue, .. }) =
        &command;
    let directory = match directory(queue) {
        Ok(directory) => directory,
        Err(problems) => return refuse(&problems),
    };
    let done = match command {
        QueueCommand::Show { json, .. } => show::execute(&directory, json),
        QueueCommand::Export { output, .. } => export::execute(&directory, output.as_deref()),
        QueueCommand::Purge { yes, .. } => purge::execute(&directory, yes),
    };
    match done {
        Ok(status) => status,
        // A reader that does not want all of it is no error.
        Err(error) if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) => {
            ExitCode::SUCCESS
        }
        Err(error) => fail(&format!("{error:#}")),
    }
}

fn directory(queue: &QueueArgs) -> Result<PathBuf, Problems> {
    match &queue.directory {
        Some(directory) => Ok(directory.clone()),
        None => Ok(config::load(queue.config.config.as_deref(), std::env::vars_os())?.settings.queue.directory),
    }
}

/// The files of the queue in `directory`, if there is such a directory.
fn files(directory: &Path) -> anyhow::Result<OsFiles> {
    match directory.metadata() {
        Ok(metadata) if metadata.is_dir() => Ok(OsFiles::new(directory.to_owned())),
        Ok(_) => Err(anyhow!("there is no queue: {} is not a directory", directory.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(anyhow!("there is no queue: the directory {} does not exist", directory.display()))
        }
        Err(error) => Err(error).with_context(|| cannot_read(directory)),
    }
}

/// What `lock` answers, with its error in the words of somebody who wants to use the queue in `directory`.
fn held<L>(lock: io::Result<L>, directory: &Path) -> anyhow::Result<L> {
    lock.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => anyhow!(
            "another process, the bridge perhaps, has the queue in {}; stop it first (systemctl stop iot-bridge)",
            directory.display()
        ),
        _ => anyhow::Error::new(error).context(format!("can't lock the queue in {}", directory.display())),
    })
}

/// Looks at everything in `directory`.
fn look(files: &OsFiles, directory: &Path) -> anyhow::Result<Survey> {
    let mut bar = Bar::new("Reading the queue");
    survey(files, &mut |progress| {
        bar.at(progress.read, progress.of);
        ControlFlow::Continue(())
    })
    .with_context(|| cannot_read(directory))
}

fn cannot_read(directory: &Path) -> String {
    format!("can't read the queue in {}", directory.display())
}
