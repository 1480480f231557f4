//! A thing's files become those of this robot.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use toml_edit::DocumentMut;

use super::{RobotFiles, refer};
use crate::files::{self, PUBLIC, SECRET};
use crate::stop::Stop;
use iot_bridge_core::accounts::{SERVICE, group_id};
use iot_bridge_core::config;

/// Mode of a file that the service's group may read.
const FOR_GROUP: u32 = 0o640;

/// Where the configuration of a robot goes, in its configuration directory `to`.
fn drop_in(to: &Path) -> PathBuf {
    to.join("conf.d/robot.toml")
}

/// Puts the files of `thing` into the configuration directory `to`. What was configured there is kept beside it, as
/// `robot.toml.before`, `config.toml.before` and `config.json.before`. Returns what was written.
///
/// # Errors
/// If a file can't be read or written, mostly because that takes root.
pub fn install(from: &RobotFiles, thing: &str, to: &Path) -> Result<Vec<PathBuf>, Stop> {
    let target = RobotFiles { robot: drop_in(to), ..RobotFiles::within(to, thing) };
    let read = |path: &Path| fs::read(path).map_err(Stop::file("read", path));
    let write =
        |path: &Path, content: &[u8], mode| files::write(path, content, mode).map_err(Stop::file("write", path));
    let config = fs::read_to_string(&from.robot).map_err(Stop::file("read", &from.robot))?;
    let config: DocumentMut =
        config.parse().map_err(|error| Stop::Failed(format!("{}: {error}", from.robot.display())))?;
    let config = refer(config, &target);
    target.make_directories()?;
    let drop_ins = to.join("conf.d");
    files::make_directory(&drop_ins).map_err(Stop::file("make the directory", &drop_ins))?;
    put_credentials(from, &target)?;
    write(&target.root_ca, &read(&from.root_ca)?, PUBLIC)?;
    keep(&target.robot, |before| before != config)?;
    // A file with secrets is for its owner alone, here for the service.
    match mode_of(&from.robot)? & 0o004 {
        0 => {
            write(&target.robot, config.as_bytes(), SECRET)?;
            open_to_service(&target.robot)?;
        }
        _ => write(&target.robot, config.as_bytes(), PUBLIC)?,
    }
    // Whatever these set would be added to that, and beside the AWS sample's file it is not read.
    for name in ["config.toml", "config.json"] {
        let main = to.join(name);
        if keep(&main, is_edited)? {
            files::remove(&main).map_err(Stop::file("delete", &main))?;
            println!("What {} said is in force no more; it is in {name}.before.", main.display());
        }
    }
    Ok(vec![target.robot, target.certificate, target.private_key, target.root_ca])
}

/// Puts another private key and certificate of `thing` in the place of those in the configuration directory `to`, where
/// it [is installed](is_installed). The configuration, which may have been edited since, stays as it is.
///
/// # Errors
/// If a file can't be read or written, mostly because that takes root.
pub fn renew(from: &RobotFiles, thing: &str, to: &Path) -> Result<(), Stop> {
    put_credentials(from, &RobotFiles::within(to, thing))
}

fn put_credentials(from: &RobotFiles, target: &RobotFiles) -> Result<(), Stop> {
    for (from, to, mode) in
        [(&from.private_key, &target.private_key, SECRET), (&from.certificate, &target.certificate, PUBLIC)]
    {
        let content = fs::read(from).map_err(Stop::file("read", from))?;
        files::write(to, &content, mode).map_err(Stop::file("write", to))?;
    }
    open_to_service(&target.private_key)
}

/// Whether the configuration directory `to` is that of `thing`: all of its files together make a configuration that
/// connects as this thing, with the key and the certificate that [`install`] has put there.
pub fn is_installed(thing: &str, to: &Path) -> bool {
    let target = RobotFiles::within(to, thing);
    let same = |one: &Path, other: &Path| place(one).is_some_and(|place_of_one| place(other) == Some(place_of_one));
    config::load_directory(to, std::iter::empty()).is_ok_and(|loaded| {
        let aws = loaded.settings.aws;
        aws.thing == thing && same(&aws.private_key, &target.private_key) && same(&aws.certificate, &target.certificate)
    })
}

/// Where writing to `path` makes a file, whatever links lead into its directory.
fn place(path: &Path) -> Option<PathBuf> {
    Some(fs::canonicalize(path.parent()?).ok()?.join(path.file_name()?))
}

/// Whether a configuration, TOML or JSON, sets anything: the example that the package brings does not.
fn is_edited(config: &str) -> bool {
    let sets =
        |line: &str| line.starts_with("[[") || line.starts_with(['{', '"']) || line.starts_with(char::is_alphabetic);
    config.lines().map(str::trim_start).any(sets)
}

/// Keeps a copy of the file at `path` beside it, as `.before` and for nobody else than before, if it is worth that.
/// Returns whether it is.
fn keep(path: &Path, worth: impl FnOnce(&str) -> bool) -> Result<bool, Stop> {
    let before = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other.map_err(Stop::file("read", path))?,
    };
    let worth = worth(&before);
    if worth {
        let mut to = path.as_os_str().to_owned();
        to.push(".before");
        let to = PathBuf::from(to);
        files::write(&to, before.as_bytes(), mode_of(path)?).map_err(Stop::file("write", &to))?;
    }
    Ok(worth)
}

fn mode_of(path: &Path) -> Result<u32, Stop> {
    let metadata = fs::metadata(path).map_err(Stop::file("look at", path))?;
    Ok(metadata.permissions().mode() & 0o777)
}

/// Lets the service's group read a file, if there is such a group and this process may.
fn open_to_service(path: &Path) -> Result<(), Stop> {
    let open = || {
        let Some(group) = group_id(SERVICE)? else { return Ok(()) };
        match std::os::unix::fs::chown(path, None, Some(group)) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
            other => other?,
        }
        fs::set_permissions(path, fs::Permissions::from_mode(FOR_GROUP))
    };
    open().map_err(Stop::file("give to the group of the service", path))
}
