//! Which RMW the bridge has is the robot's choice, not that of the machine which has built it.

use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_iot-bridge");

/// The libraries that the program notes for ld.so.
fn needed() -> Vec<String> {
    let output = Command::new("readelf").args(["--dynamic", "--wide", PROGRAM]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let entries = text.lines().filter(|line| line.contains("(NEEDED)"));
    entries.map(|line| line.split(['[', ']']).nth(1).unwrap().to_owned()).collect()
}

/// The program is linked to the library that finds the RMW by `RMW_IMPLEMENTATION`, and neither to an RMW nor to anything
/// that only the ROS from Python wheels has: with those it would start on robots with that RMW alone, or on none.
#[test]
fn no_rmw_is_linked() {
    let needed = needed();
    assert!(needed.iter().any(|library| library == "librmw_implementation.so"), "{needed:?}");
    for library in &needed {
        let is_rmw = library.starts_with("librmw_") && library.contains("_cpp");
        let is_dds = ["libfastrtps", "libfastdds", "libfastcdr", "libddsc", "libzenoh"]
            .iter()
            .any(|name| library.starts_with(name));
        // auditwheel gives what it bundles names with a hash: libspdlog-a0a9d586.so.1.5.0.
        let is_bundled =
            library.split_once(".so").is_some_and(|(name, _)| name.contains('-') && !name.starts_with("ld-"));
        assert!(!is_rmw && !is_dds && !is_bundled, "{library} in {needed:?}");
    }
}

/// An RMW that the ROS environment does not have ends the program before it does anything, in words that name it.
#[test]
fn a_missing_rmw_is_named() {
    let output = Command::new(PROGRAM).arg("--version").env("RMW_IMPLEMENTATION", "rmw_missing_cpp").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty(), "{:?}: {said}", output.status);
    assert!(said.contains("rmw_missing_cpp"), "{said}");
}
