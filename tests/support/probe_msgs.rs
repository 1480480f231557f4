//! `probe_msgs`: a message package that the bridge was not built with.

use std::path::Path;
use std::process::{Command, Stdio};

/// What to set to have the package in the environment, beside the sourced ROS.
pub type Environment = Vec<(String, String)>;

/// The package with all its types.
pub fn whole() -> Environment {
    build("whole", "")
}

/// A build of it where another field is the first of each type.
pub fn revised() -> Environment {
    build("revised", "int32 revision")
}

/// Builds it, unless that has been done: scripts/test does so beforehand.
fn build(name: &str, field: &str) -> Environment {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("probe_msgs").join(name);
    let built = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ros/custom_package.sh"))
        .args([directory.as_os_str(), field.as_ref()])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let environment = std::fs::read_to_string(directory.join("environment")).unwrap();
    let variables = environment.lines().filter_map(|line| line.split_once('='));
    variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
