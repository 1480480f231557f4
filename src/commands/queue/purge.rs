//! `iot-bridge queue purge`: deletes what is in the queue.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use indicatif::HumanBytes;

use super::{cannot_read, files, held, look};
use iot_bridge_core::files::Files;
use iot_bridge_core::queue::disk::LOCK;
use iot_bridge_core::queue::disk::purge::Doomed;
use iot_bridge_core::tally::counted;

pub fn execute(directory: &Path, yes: bool) -> anyhow::Result<ExitCode> {
    let files = files(directory)?;
    // Not even a lock is made where there is nothing.
    if Doomed::find(&files).with_context(|| cannot_read(directory))?.is_empty() {
        println!("There is nothing to delete in {}.", directory.display());
        return Ok(ExitCode::SUCCESS);
    }
    let _lock = held(files.lock(LOCK), directory)?;
    let survey = look(&files, directory)?;
    let doomed = Doomed::find(&files).with_context(|| cannot_read(directory))?;
    let records: u64 = survey.lanes.iter().flat_map(|lane| lane.pending.values()).map(|waiting| waiting.records).sum();
    let what = format!(
        "{} not sent, {} and {} set aside, {} in all, in {}",
        counted(records, "record that was", "records that were"),
        counted(doomed.segments.len() as u64, "segment", "segments"),
        counted(doomed.set_aside.len() as u64, "file that is", "files that are"),
        HumanBytes(doomed.bytes()),
        directory.display()
    );
    if !yes && !confirmed(&format!("This deletes {what}. They can't be brought back. Delete them? [y/N] "))? {
        eprintln!("Nothing was deleted.");
        return Ok(ExitCode::FAILURE);
    }
    doomed
        .purge(&files, &survey)
        .with_context(|| format!("can't delete all of the queue in {}", directory.display()))?;
    println!("Deleted: {what}.");
    Ok(ExitCode::SUCCESS)
}

/// Asks on standard error. The end of the input is a no.
fn confirmed(question: &str) -> io::Result<bool> {
    eprint!("{question}");
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}
