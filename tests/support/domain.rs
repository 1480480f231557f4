//! A DDS domain of the test's own.

use std::fs::File;
use std::sync::{Mutex, OnceLock};

/// Those above use ports of the ephemeral range.
const HIGHEST: u32 = 101;

/// Moves this process, and what it starts, into a domain and onto the loopback, so that two tests never meet and
/// nothing reaches the network. To be called before anything else of ROS.
#[allow(unsafe_code, reason = "rcl reads these variables of the process")]
pub fn enter() {
    static ENTERED: OnceLock<()> = OnceLock::new();
    ENTERED.get_or_init(|| {
        let domain = reserve();
        // SAFETY: called at the start of a test, which nextest runs in a process of its own; no other thread reads
        // the environment yet.
        unsafe {
            std::env::set_var("ROS_DOMAIN_ID", domain.to_string());
            std::env::set_var("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST");
        }
    });
}

/// Returns a domain that no other test has, nor gets before this process has ended: a locked file of the temporary directory
/// stands for it.
pub fn reserve() -> u32 {
    static RESERVED: Mutex<Vec<File>> = Mutex::new(Vec::new());
    // Domain 0 is that of whoever names none.
    let begin = std::process::id() % HIGHEST;
    let reserved = (0..HIGHEST).map(|number| 1 + (begin + number) % HIGHEST).find_map(|domain| {
        let path = std::env::temp_dir().join(format!("iot-bridge-test-domain-{domain}"));
        // Another user's can be locked, but not written.
        let file = File::open(&path).or_else(|_| File::create(&path)).ok()?;
        file.try_lock().is_ok().then_some((domain, file))
    });
    let (domain, file) = reserved.expect("a domain that no test has reserved");
    RESERVED.lock().unwrap().push(file);
    domain
}

/// A domain is reserved once.
#[test]
fn each_domain_is_reserved_once() {
    let mut domains: Vec<_> = (0..20).map(|_| reserve()).collect();
    assert!(domains.iter().all(|domain| (1..=HIGHEST).contains(domain)), "{domains:?}");
    domains.sort_unstable();
    domains.dedup();
    assert_eq!(domains.len(), 20);
}
