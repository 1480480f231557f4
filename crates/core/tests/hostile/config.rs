//! Any bytes at all, as a configuration file.
//!
//! `fuzz/fuzz_targets/config.rs` feeds the same function, led by coverage.

use std::cell::RefCell;
use std::fs;
use std::path::Path;

use iot_bridge_core::config::{Settings, load_file};
use tempfile::TempDir;

/// Longest that one problem may say, in bytes.
const LONGEST: usize = 4096;

thread_local! {
    /// Where the file is written, again and again: in memory where that is to be had.
    static DIRECTORY: RefCell<TempDir> = RefCell::new(
        tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary directory")
    );
}

/// Loads `data` as a file, JSON if it begins with a brace, and checks that
///
/// - what is wrong is said in printable words of bounded length,
/// - what is valid is printed as a file that is valid and says the same.
pub fn load(data: &[u8]) {
    let is_json = data.trim_ascii_start().starts_with(b"{");
    let name = if is_json { "config.json" } else { "config.toml" };
    DIRECTORY.with_borrow(|directory| {
        let Some(settings) = load_as(&directory.path().join(name), data) else { return };
        let Ok(printed) = settings.to_toml() else { panic!("the settings cannot be printed: {settings:?}") };
        let again = load_as(&directory.path().join("printed.toml"), printed.as_bytes());
        let again = again.unwrap_or_else(|| panic!("what is printed is not valid:\n{printed}"));
        assert_eq!(again.to_toml().ok(), Some(printed), "what is printed says something else");
    });
}

fn load_as(path: &Path, data: &[u8]) -> Option<Settings> {
    fs::write(path, data).expect("a file");
    match load_file(path, []) {
        Ok(loaded) => Some(loaded.settings),
        Err(error) => {
            assert!(error.problems.iter().count() > 0, "refused without a problem");
            for problem in error.problems.iter() {
                let said = problem.to_string();
                assert!(said.len() <= LONGEST, "{} bytes: {said}", said.len());
                assert!(!said.contains(|character: char| character.is_control() && character != '\n'), "{said:?}");
            }
            None
        }
    }
}
