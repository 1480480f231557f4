//! Tells the program which ROS distribution it is built for.
//!
//! That is what `ROS_DISTRO` says, unless `BUILT_FOR_ROS_DISTRO` names another: r2r's own build refuses names that it does
//! not know, and has to be told that of a distribution that is laid out alike (`ROS_DISTRO=jazzy` for Kilted).

use std::env;

/// Distributions whose graph does not tell the hashes of types, and whose subscriptions do not tell of publishers that come
/// and go; both do since Iron.
const BEFORE_IRON: [&str; 3] = ["foxy", "galactic", "humble"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // So that the libraries that it loads get the program's own (src/ros/shared_memory.rs).
    println!("cargo::rustc-link-arg-bin=iot-bridge=-Wl,--export-dynamic-symbol=shm_open");
    println!("cargo::rustc-check-cfg=cfg(type_hashes)");
    println!("cargo::rustc-check-cfg=cfg(matched_events)");
    let named = |name| {
        println!("cargo::rerun-if-env-changed={name}");
        env::var(name).ok().filter(|name| !name.is_empty())
    };
    let (own, sourced) = (named("BUILT_FOR_ROS_DISTRO"), named("ROS_DISTRO"));
    // Without either, r2r's build ends with its own words.
    let distribution = own.or(sourced).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=BUILT_FOR_ROS_DISTRO={distribution}");
    if !BEFORE_IRON.contains(&distribution.as_str()) {
        println!("cargo::rustc-cfg=type_hashes");
        println!("cargo::rustc-cfg=matched_events");
    }
}
