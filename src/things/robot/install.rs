//! A thing's files become those of this robot.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::RobotFiles;
use crate::accounts::{SERVICE, group_id};
use crate::things::files::{self, PUBLIC, SECRET};
use crate::things::stop::Stop;

/// Mode of a private key that the service's group may read.
const FOR_GROUP: u32 = 0o640;

/// Puts the files of `thing` into the configuration directory `to`. A configuration that is there already is kept as
/// `config.toml.before`. Answers what was written.
///
/// # Errors
/// If a file can't be read or written, mostly because that takes root.
pub fn install(from: &RobotFiles, thing: &str, to: &Path) -> Result<Vec<PathBuf>, Stop> {
    let target = RobotFiles::within(to, thing);
    let read = |path: &Path| fs::read(path).map_err(Stop::file("read", path));
    let write =
        |path: &Path, content: &[u8], mode| files::write(path, content, mode).map_err(Stop::file("write", path));
    let config = fs::read_to_string(&from.config).map_err(Stop::file("read", &from.config))?;
    let config = config.replace(&from.certificates.display().to_string(), &target.certificates.display().to_string());
    target.make_directories()?;
    write(&target.private_key, &read(&from.private_key)?, SECRET)?;
    open_to_service(&target.private_key)
        .map_err(Stop::file("give to the group of the service", &target.private_key))?;
    write(&target.certificate, &read(&from.certificate)?, PUBLIC)?;
    write(&target.root_ca, &read(&from.root_ca)?, PUBLIC)?;
    match fs::read(&target.config) {
        Ok(before) if before != config.as_bytes() => {
            write(&target.config.with_extension("toml.before"), &before, PUBLIC)?;
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Stop::file("read", &target.config)(error)),
        _ => {}
    }
    write(&target.config, config.as_bytes(), PUBLIC)?;
    Ok(vec![target.config, target.certificate, target.private_key, target.root_ca])
}

/// Lets the service's group read a private key, if there is such a group and this process may.
fn open_to_service(key: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let Some(group) = group_id(SERVICE)? else { return Ok(()) };
    match std::os::unix::fs::chown(key, None, Some(group)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
        other => other?,
    }
    fs::set_permissions(key, fs::Permissions::from_mode(FOR_GROUP))
}
