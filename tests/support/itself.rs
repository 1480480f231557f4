//! The test program itself: its memory, and once more, for what has to happen in a process of its own.

use std::path::PathBuf;
use std::process::Command;

/// The test program.
pub fn program() -> PathBuf {
    std::env::current_exe().unwrap()
}

/// Has the program run the one test with this full name, such as `kills::always_loses_nothing_that_was_durable`.
///
/// # Panics
/// When there is no such test: the program would run none and say that all is well.
pub fn arguments(test: &str) -> [&str; 3] {
    let listed = Command::new(program()).args(["--list", "--exact", test]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&listed.stdout).lines().next(), Some(&*format!("{test}: test")));
    [test, "--exact", "--nocapture"]
}

/// The program `name` of this workspace, which cargo builds before its end-to-end tests.
///
/// # Panics
/// When it is not there: the tests of one package alone do not build the programs of another.
pub fn beside(name: &str) -> PathBuf {
    let program = program().ancestors().nth(2).unwrap().join(name);
    assert!(program.exists(), "{} is missing; `cargo build` makes it", program.display());
    program
}

/// Bytes of memory that this process has.
pub fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
