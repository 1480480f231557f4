//! A DDS domain of the test's own.

use std::sync::OnceLock;

/// Moves this process, and what it starts, into a domain and onto the loopback, so that two tests never meet and
/// nothing reaches the network. To be called before anything else of ROS.
#[allow(unsafe_code, reason = "rcl reads these variables of the process")]
pub fn enter() {
    static ENTERED: OnceLock<()> = OnceLock::new();
    ENTERED.get_or_init(|| {
        // Domains above 101 use ports of the ephemeral range.
        let domain = 1 + std::process::id() % 100;
        // SAFETY: called at the start of a test, which nextest runs in a process of its own; no other thread reads
        // the environment yet.
        unsafe {
            std::env::set_var("ROS_DOMAIN_ID", domain.to_string());
            std::env::set_var("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST");
        }
    });
}
