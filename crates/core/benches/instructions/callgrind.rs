//! The run under callgrind.

use std::path::Path;
use std::process::{Command, Stdio};

/// Set in the process whose instructions are counted.
const INSIDE: &str = "INSTRUCTIONS_ARE_COUNTED";

/// Whether this is the process whose instructions are counted.
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Runs this program under callgrind. Returns the names of its cases with the instructions each takes once.
///
/// # Errors
/// A sentence, where valgrind is missing or has counted something else.
pub fn run() -> Result<Vec<(String, f64)>, String> {
    let directory = tempfile::tempdir().map_err(|error| format!("there is no directory for callgrind: {error}"))?;
    let program = std::env::current_exe().map_err(|error| format!("this program is not found: {error}"))?;
    let function = "instructions::counted";
    let output = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind", "--combine-dumps=no", "--separate-threads=no"])
        .arg(format!("--dump-before={function}"))
        .arg(format!("--dump-after={function}"))
        .arg(format!("--callgrind-out-file={}", directory.path().join("counts").display()))
        .arg(program)
        .env(INSIDE, "")
        // Whatever somebody has set for their own runs.
        .env("VALGRIND_OPTS", "")
        // Another malloc arena for each thread would make counts depend on which thread runs first.
        .env("GLIBC_TUNABLES", "glibc.malloc.arena_max=1")
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("valgrind can't be run ({error}); apt-get install valgrind"))?;
    if !output.status.success() {
        return Err(format!("valgrind has ended with {}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let cases: Vec<(f64, &str)> = text
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter_map(|(times, name)| Some((times.parse().ok()?, name)))
        .collect();
    let mut counts = Vec::new();
    for (index, (times, name)) in cases.into_iter().enumerate() {
        // One file is of what was before the call, and one of the call.
        let total = total(&directory.path().join(format!("counts.{}", 2 * (index + 1))))
            .ok_or_else(|| format!("callgrind has not counted {name}"))?;
        counts.push((name.to_owned(), total / times));
    }
    Ok(counts)
}

/// The instructions in a file that callgrind has written.
fn total(path: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(path).ok()?;
    // The file of a count says why it was written; there is one more at the end of the process.
    text.lines().find(|line| line.starts_with("desc: Trigger: --dump-after"))?;
    text.lines().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}
