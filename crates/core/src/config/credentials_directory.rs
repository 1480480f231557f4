//! systemd's directory of credentials.
//!
//! systemd hands secrets to a service as files in a directory that nobody else sees (`LoadCredential=`), whose place is
//! known in the service only: a path may begin with [`CREDENTIALS_DIRECTORY`].

use std::path::{Path, PathBuf};

/// Stands at the start of a path for systemd's directory of credentials, if the environment names one.
pub const CREDENTIALS_DIRECTORY: &str = "${CREDENTIALS_DIRECTORY}";

/// Puts `directory` in the place of [`CREDENTIALS_DIRECTORY`], if `path` begins with that.
pub(super) fn expand(path: &mut PathBuf, directory: &Path) {
    if let Ok(name) = path.strip_prefix(CREDENTIALS_DIRECTORY) {
        *path = directory.join(name);
    }
}
