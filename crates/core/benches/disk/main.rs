//! What the queue's disk costs, and what an embedded database in its place would: records of 200 bytes, from admission
//! to the disk and back. Prints the tables of docs/performance.md.
//!
//! The directory is one below cargo's target directory, on a real file system: on tmpfs nothing counts as written.
//! Processor time is that of the whole process, in user and kernel mode, the thread that admits and the one that writes
//! included; bytes are those that the process has had written (`write_bytes` of `/proc/self/io`).

mod database;
mod log;
mod meter;

use std::path::{Path, PathBuf};
use std::time::Duration;

use meter::{Cost, Meter};
use tempfile::TempDir;

/// Bytes of a payload.
const PAYLOAD: usize = 200;

/// Records of a measurement without a rate.
const RECORDS: u64 = 1_000_000;

/// How often it is looked whether something has happened.
const LOOK: Duration = Duration::from_millis(1);

/// How often records come at a rate: waking up to admit costs as much as some records.
const BEAT: Duration = Duration::from_millis(10);

fn main() {
    let work = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(&work).expect("the target directory can be written to");
    if !meter::counts_writes(&work) {
        eprintln!("{} is on a file system that does not count what is written; so bytes read 0.", work.display());
    }
    println!("| a record of {PAYLOAD} bytes | records a second | processor time a record | written ÷ payload |");
    println!("| --- | --: | --: | --: |");
    row("queue, `memory`: admitted", &log::admitted_to_memory());
    row("queue, `spill`, link up: admitted, sent", &log::passed_by(&directory(&work)));
    row("queue, `spill`, link down: admitted, on the disk", &log::written(&directory(&work), log::Durability::Spill));
    row("queue, `always`: admitted, on the disk", &log::written(&directory(&work), log::Durability::Always));
    row("redb: on the disk", &database::written(&directory(&work)));
    for rate in [500, 5000] {
        row(&format!("queue, `always`, {rate} a second"), &log::written_at(&directory(&work), rate));
        row(&format!("redb, {rate} a second"), &database::written_at(&directory(&work), rate));
    }
    row("queue, `spill`: to the disk, back, sent, done", &log::through(&directory(&work)));
    row("redb: to the disk, back, done", &database::through(&directory(&work)));

    println!("\n| after a kill, in the page cache | seconds a GiB of payload | file bytes ÷ payload |");
    println!("| --- | --: | --: |");
    recovery("queue", &log::recovered(&directory(&work)));
    recovery("redb", &database::recovered(&directory(&work)));
}

fn directory(work: &Path) -> TempDir {
    tempfile::tempdir_in(work).expect("a directory")
}

fn row(what: &str, cost: &Cost) {
    let Cost { records, elapsed, cpu, written } = cost;
    println!(
        "| {what} | {:.0} | {:.2} µs | {:.2} |",
        *records as f64 / elapsed.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / *records as f64,
        *written as f64 / (records * PAYLOAD as u64) as f64,
    );
}

/// `cost` is that of opening a queue of so many records, and `written` the bytes of its files.
fn recovery(what: &str, cost: &Cost) {
    let payload = (cost.records * PAYLOAD as u64) as f64;
    let seconds = cost.elapsed.as_secs_f64() / payload * f64::from(1 << 30);
    println!("| {what} | {seconds:.2} s | {:.2} |", cost.written as f64 / payload);
}

/// Payloads that differ, and do not compress.
fn payload(number: u64) -> bytes::Bytes {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut payload = vec![0; PAYLOAD];
    for chunk in payload.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
    }
    payload.into()
}

/// Measures what `work` does with so many records.
fn measured(records: u64, work: impl FnOnce()) -> Cost {
    let meter = Meter::start();
    work();
    meter.stop(records)
}
