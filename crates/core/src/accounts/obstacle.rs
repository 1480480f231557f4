//! What of a path keeps this process from a file, and what would help.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

use super::{SERVICE, own_name, user_id};

/// What `ProtectHome=` of the unit hides (systemd.exec(5)).
pub const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];

/// Most links on the way to a file, as for Linux (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// The first thing on the way to a file that this process has no permission for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// A directory that it may not enter.
    Directory(PathBuf),
    /// The file itself, which it may not read.
    File(PathBuf),
}

/// What keeps this process from reading the file at `path`: every directory on the way is looked at, those that links lead
/// through as well. `None` if it may read it, or something else is wrong.
pub fn obstacle(path: &Path) -> Option<Obstacle> {
    obstacle_by(path, is_denied)
}

fn obstacle_by(path: &Path, is_denied: impl Fn(&Path, Access) -> bool) -> Option<Obstacle> {
    let path = std::path::absolute(path).ok()?;
    let mut left: VecDeque<OsString> = path.components().map(|part| part.as_os_str().to_owned()).collect();
    let (mut at, mut links) = (PathBuf::from("/"), 0);
    while let Some(part) = left.pop_front() {
        if is_denied(&at, Access::EXEC_OK) {
            return Some(Obstacle::Directory(at));
        }
        let next = match Path::new(&part).components().next()? {
            Component::CurDir => continue,
            Component::ParentDir => at.parent().unwrap_or(&at).to_owned(),
            _ => at.join(part),
        };
        match fs::read_link(&next) {
            Ok(target) if links < MOST_LINKS => {
                links += 1;
                for part in target.components().rev() {
                    left.push_front(part.as_os_str().to_owned());
                }
            }
            _ => at = next,
        }
    }
    is_denied(&at, Access::READ_OK).then_some(Obstacle::File(at))
}

fn is_denied(path: &Path, access: Access) -> bool {
    accessat(CWD, path, access, AtFlags::EACCESS) == Err(Errno::ACCESS)
}

/// What to do about the file at `path`, which this process has no permission to read, as the end of a sentence.
pub fn permission(path: &Path) -> String {
    let asker = own_name();
    if asker != SERVICE {
        return format!(
            "{asker} can't, which says nothing of the service: `sudo iot-bridge check` looks as the user {SERVICE}"
        );
    }
    for_service(path, obstacle(path).as_ref())
}

fn for_service(path: &Path, obstacle: Option<&Obstacle>) -> String {
    match obstacle {
        // Nobody's home is to become the service's.
        Some(Obstacle::Directory(directory)) if is_somebodys(directory) => {
            let (path, directory) = (path.display(), directory.display());
            format!("the service can't enter {directory}: move {path} to /etc/iot-bridge/certs")
        }
        Some(Obstacle::Directory(directory)) => {
            let directory = directory.display();
            format!(
                "the service has to be able to enter {directory}: chgrp {SERVICE} {directory} && chmod 750 {directory}"
            )
        }
        _ => {
            let foreign = fs::metadata(path)
                .is_ok_and(|file| file.uid() != 0 && user_id(SERVICE).ok().flatten() != Some(file.uid()));
            // Its owner could change it.
            let give = if foreign { "chown root:" } else { "chgrp " };
            let path = path.display();
            format!("the service has to be able to: {give}{SERVICE} {path} && chmod 640 {path}")
        }
    }
}

fn is_somebodys(directory: &Path) -> bool {
    directory == Path::new("/") || HOMES.iter().any(|home| directory.starts_with(home))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each obstacle has the commands that take it away.
    #[test]
    fn what_helps_depends_on_what_is_in_the_way() {
        let key = Path::new("/etc/iot-bridge/certs/robot1.private.key");
        let directory = |path: &str| Obstacle::Directory(path.into());
        for (obstacle, helps) in [
            (
                None,
                "to: chgrp iot-bridge /etc/iot-bridge/certs/robot1.private.key && chmod 640 /etc/iot-bridge/certs/robot1.private.key",
            ),
            (
                Some(directory("/etc/iot-bridge/certs")),
                "enter /etc/iot-bridge/certs: chgrp iot-bridge /etc/iot-bridge/certs && chmod 750 /etc/iot-bridge/certs",
            ),
            (
                Some(directory("/home/robot")),
                "enter /home/robot: move /etc/iot-bridge/certs/robot1.private.key to /etc/iot-bridge/certs",
            ),
            (
                Some(directory("/root")),
                "enter /root: move /etc/iot-bridge/certs/robot1.private.key to /etc/iot-bridge/certs",
            ),
        ] {
            let said = for_service(key, obstacle.as_ref());
            assert!(said.ends_with(helps), "{said}");
        }
    }

    /// Who may read everything has nothing in the way; so has a file that is not there.
    #[test]
    fn no_obstacle_where_there_is_none() {
        let outside = tempfile::tempdir().unwrap();
        let (file, link) = (outside.path().join("file"), outside.path().join("link"));
        fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink("../link", &link).unwrap();
        assert_eq!(obstacle(&file), None);
        assert_eq!(obstacle(&outside.path().join("none")), None);
        // A link that leads round ends.
        std::os::unix::fs::symlink(outside.path().join("round"), outside.path().join("round")).unwrap();
        assert_eq!(obstacle(&outside.path().join("round")), None);
    }

    /// The first directory that may not be entered is the one to open, behind links too.
    #[test]
    fn the_first_directory_in_the_way_is_found() {
        let outside = tempfile::tempdir().unwrap();
        let outside = outside.path().canonicalize().unwrap();
        let (closed, link) = (outside.join("closed"), outside.join("link"));
        let key = closed.join("deeper/key");
        fs::create_dir_all(closed.join("deeper")).unwrap();
        fs::write(&key, "").unwrap();
        std::os::unix::fs::symlink("./closed/../closed/deeper", &link).unwrap();
        let look = |denied: &Path| obstacle_by(&link.join("key"), |path, _| path == denied);
        assert_eq!(look(&closed), Some(Obstacle::Directory(closed.clone())));
        assert_eq!(look(&closed.join("deeper")), Some(Obstacle::Directory(closed.join("deeper"))));
        assert_eq!(look(&key), Some(Obstacle::File(key.clone())));
        assert_eq!(look(Path::new("/")), Some(Obstacle::Directory("/".into())));
        assert_eq!(look(&outside.join("elsewhere")), None);
    }
}
