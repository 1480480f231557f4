//! Where `scripts/lib/setup` keeps what the tests need.

use std::env;
use std::path::PathBuf;

/// The directory.
pub fn directory() -> PathBuf {
    let cache = env::var_os("XDG_CACHE_HOME").filter(|cache| !cache.is_empty()).map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache"));
    cache.join("iot-bridge")
}
