//! Where the configuration from the cloud is kept.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::config;

/// The service's state directory. systemd names it (`StateDirectory=`, systemd.exec(5)); without that it is the directory that the
/// queue's is in, which is the same one in the package.
pub fn state_directory(queue: &config::Queue) -> PathBuf {
    of(std::env::var_os("STATE_DIRECTORY"), &queue.directory)
}

fn of(named: Option<OsString>, queue: &Path) -> PathBuf {
    let named = named.filter(|named| !named.is_empty());
    // Of several, which a drop-in may add, the first is the package's.
    let first = named.and_then(|named| std::env::split_paths(&named).next());
    first.unwrap_or_else(|| queue.parent().filter(|parent| *parent != Path::new("")).unwrap_or(queue).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_systemd_says_or_beside_the_queue() {
        let queue = Path::new("/var/lib/iot-bridge/queue");
        assert_eq!(of(None, queue), Path::new("/var/lib/iot-bridge"));
        assert_eq!(of(Some("".into()), queue), Path::new("/var/lib/iot-bridge"));
        assert_eq!(of(Some("/var/lib/robot:/var/lib/more".into()), queue), Path::new("/var/lib/robot"));
        assert_eq!(of(None, Path::new("queue")), Path::new("queue"));
        assert_eq!(of(None, Path::new("/")), Path::new("/"));
    }
}
