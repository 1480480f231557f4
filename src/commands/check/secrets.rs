//! Who else can read a secret, or exchange it: of the files that hold one, `check` refuses what is open to others.

use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use iot_bridge_core::accounts::{self, SERVICE};
use iot_bridge_core::config::{CredentialFiles, Problem, Secret};

/// Where systemd and `/usr/bin/iot-bridge` get the environment from.
const ENVIRONMENT_FILE: &str = "/etc/default/iot-bridge";

/// A problem for each file with a secret that others can read or exchange: private keys, the file with the proxy's URL,
/// and what holds a password or the parameters of provisioning itself. Files that are not there are no problem of this
/// kind.
pub(super) fn inspect(files: &CredentialFiles) -> Vec<Problem> {
    let insiders = Insiders::of_this_process();
    let claim_key = files.aws.provisioning.as_ref().map(|claim| claim.claim_private_key.as_path());
    let mut problems: Vec<Problem> = [
        ("aws.private_key", Some(files.aws.private_key.as_path()), "the private key"),
        ("aws.provisioning.claim_private_key", claim_key, "the private key"),
        ("mqtt.proxy.url_file", files.proxy_file.as_deref(), "the file of the proxy's URL"),
    ]
    .into_iter()
    .filter_map(|(key, path, what)| {
        let exposure = exposure(path?, &insiders)?;
        Some(files.problem(key, format!("that {what} {exposure}"), exposure.remedy()))
    })
    .collect();
    problems.extend(files.secrets.iter().filter_map(|secret| of_configuration(secret, &insiders)));
    problems
}

/// The problem with the place where the configuration itself holds a secret.
fn of_configuration(secret: &Secret, insiders: &Insiders) -> Option<Problem> {
    let elsewhere = "or keep the secret in a file of its own: `url_file`, a file in conf.d";
    if let Some(file) = &secret.file {
        let exposure = exposure(file, insiders)?;
        return Some(secret.problem(
            format!("a secret in a file that others can get at: {exposure}"),
            format!("{}; {elsewhere}", exposure.remedy()),
        ));
    }
    // Where else the environment comes from is not known here.
    let variable = secret.variable()?;
    let text = fs::read_to_string(ENVIRONMENT_FILE).ok()?;
    text.lines().find(|line| sets(line, variable))?;
    let exposure = exposure(Path::new(ENVIRONMENT_FILE), insiders)?;
    let found = format!("a secret of {ENVIRONMENT_FILE}, and others can get at that: {exposure}");
    Some(secret.problem(found, format!("{}; {elsewhere}", exposure.remedy())))
}

/// Whether a line of the environment's file sets `variable`: systemd and `/usr/bin/iot-bridge` take white space around
/// the name.
fn sets(line: &str, variable: &str) -> bool {
    line.trim_start().strip_prefix(variable).is_some_and(|rest| rest.trim_start().starts_with('='))
}

/// Who may have a say about a secret: root, the service, and whoever asks.
struct Insiders {
    users: Vec<u32>,
    groups: Vec<u32>,
}

impl Insiders {
    fn of_this_process() -> Insiders {
        let service = accounts::user_id(SERVICE).ok().flatten();
        let own = rustix::process::geteuid().as_raw();
        Insiders {
            users: [0, own].into_iter().chain(service).collect(),
            groups: vec![0, rustix::process::getegid().as_raw()],
        }
    }
}

/// How others get at a file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Exposure {
    #[error("{} is open to every user (mode {mode:04o})", path.display())]
    Open { path: PathBuf, mode: u32 },
    #[error("{} can be changed by its group (mode {mode:04o})", path.display())]
    GroupWrites { path: PathBuf, mode: u32 },
    #[error("{} belongs to {owner}, who can change it", path.display())]
    Foreign { path: PathBuf, owner: String },
    #[error("{} is in {}, where {who} can put another file in its place", path.display(), directory.display())]
    Replaceable { path: PathBuf, directory: PathBuf, who: String },
    #[error("{} is in {} of {owner}, who can put another file in its place", path.display(), directory.display())]
    InForeign { path: PathBuf, directory: PathBuf, owner: String },
}

impl Exposure {
    /// What to do.
    fn remedy(&self) -> String {
        match self {
            Exposure::Open { path, .. } => {
                let path = path.display();
                format!("only the service may read it: chgrp {SERVICE} {path} && chmod 640 {path}")
            }
            Exposure::GroupWrites { path, .. } => format!("only its owner may change it: chmod g-w {}", path.display()),
            Exposure::Foreign { path, .. } => {
                let path = path.display();
                format!("it has to be root's or the service's: chown root:{SERVICE} {path} && chmod 640 {path}")
            }
            Exposure::Replaceable { directory, .. } => format!(
                "the directories above it have to be root's or the service's, and writable for their owner alone: \
                 chmod go-w {}",
                directory.display()
            ),
            // Nobody's home is to become root's.
            Exposure::InForeign { path, .. } => format!(
                "the directories above it have to be root's or the service's: move {} to /etc/iot-bridge/certs",
                path.display()
            ),
        }
    }
}

/// How others get at the file at `path`; `None` if they do not, or it can't be seen.
fn exposure(path: &Path, insiders: &Insiders) -> Option<Exposure> {
    let real = fs::canonicalize(path).ok()?;
    let metadata = fs::metadata(&real).ok()?;
    let (path, mode) = (path.to_owned(), metadata.permissions().mode() & 0o777);
    if mode & 0o007 != 0 {
        return Some(Exposure::Open { path, mode });
    }
    if group_writes(&metadata, insiders) {
        return Some(Exposure::GroupWrites { path, mode });
    }
    if !insiders.users.contains(&metadata.uid()) {
        return Some(Exposure::Foreign { path, owner: accounts::user_name(metadata.uid()) });
    }
    real.ancestors().skip(1).find_map(|directory| {
        let metadata = fs::metadata(directory).ok()?;
        let mode = metadata.permissions().mode();
        if !insiders.users.contains(&metadata.uid()) {
            let owner = accounts::user_name(metadata.uid());
            return Some(Exposure::InForeign { path: path.clone(), directory: directory.to_owned(), owner });
        }
        // In a sticky directory each may exchange only what is his own (unlink(2)).
        let shared = mode & 0o1000 == 0;
        let who = match () {
            () if shared && mode & 0o002 != 0 => "every user".to_owned(),
            () if shared && group_writes(&metadata, insiders) => "its group".to_owned(),
            () => return None,
        };
        Some(Exposure::Replaceable { path: path.clone(), directory: directory.to_owned(), who })
    })
}

/// Whether a group that is not the asker's own may write.
fn group_writes(metadata: &Metadata, insiders: &Insiders) -> bool {
    metadata.permissions().mode() & 0o020 != 0 && !insiders.groups.contains(&metadata.gid())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;

    /// A key in a directory of its own, and what others can do with it.
    #[test]
    fn each_way_to_a_secret_is_seen() {
        let outside = tempfile::tempdir().unwrap();
        let directory = outside.path().join("certs");
        let key = directory.join("robot.key");
        fs::create_dir(&directory).unwrap();
        fs::write(&key, "").unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let us = || Insiders { groups: Vec::new(), ..Insiders::of_this_process() };
        let look = |key_mode, directory_mode| {
            set(&key, key_mode);
            set(&directory, directory_mode);
            exposure(&key, &us())
        };
        assert_eq!(look(0o600, 0o700), None);
        assert_eq!(look(0o640, 0o750), None);
        assert_eq!(look(0o640, 0o1777), None, "a sticky directory is for everybody");
        assert_eq!(look(0o644, 0o700), Some(Exposure::Open { path: key.clone(), mode: 0o644 }));
        assert_eq!(look(0o602, 0o700), Some(Exposure::Open { path: key.clone(), mode: 0o602 }));
        assert_eq!(look(0o660, 0o700), Some(Exposure::GroupWrites { path: key.clone(), mode: 0o660 }));
        for (mode, who) in [(0o777, "every user"), (0o702, "every user"), (0o770, "its group")] {
            let expected = Exposure::Replaceable { path: key.clone(), directory: directory.clone(), who: who.into() };
            assert_eq!(look(0o600, mode), Some(expected), "{mode:o}");
        }
        set(&directory, 0o700);
        // Through a link it is the file behind it that counts.
        let link = outside.path().join("link");
        std::os::unix::fs::symlink(&key, &link).unwrap();
        set(&key, 0o604);
        assert_eq!(exposure(&link, &us()), Some(Exposure::Open { path: link, mode: 0o604 }));
        // The owner is somebody, but none of those who may.
        set(&key, 0o600);
        let nobody = Insiders { users: Vec::new(), groups: Vec::new() };
        let owner = accounts::user_name(fs::metadata(&key).unwrap().uid());
        assert_eq!(exposure(&key, &nobody), Some(Exposure::Foreign { path: key.clone(), owner }));
        assert_eq!(exposure(&directory.join("none"), &us()), None);
    }

    /// No mode makes somebody else's directory safe: the file has to go.
    #[test]
    fn a_directory_of_somebody_else_is_left() {
        let path = PathBuf::from("/home/alice/certs/robot.key");
        let in_foreign = Exposure::InForeign { path, directory: "/home/alice".into(), owner: "alice".into() };
        assert_eq!(
            format!("{in_foreign}; {}", in_foreign.remedy()),
            "/home/alice/certs/robot.key is in /home/alice of alice, who can put another file in its place; the \
             directories above it have to be root's or the service's: move /home/alice/certs/robot.key to \
             /etc/iot-bridge/certs"
        );
        let outside = tempfile::tempdir().unwrap();
        let (directory, key) = (outside.path().join("certs"), outside.path().join("certs/robot.key"));
        fs::create_dir(&directory).unwrap();
        fs::write(&key, "").unwrap();
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        let own = fs::metadata(&key).unwrap().uid();
        if own == 0 {
            std::os::unix::fs::chown(&directory, Some(65534), None).unwrap();
        }
        // Who is not root finds root's directories above, and root is none of those who may here.
        let found = exposure(&key, &Insiders { users: vec![own], groups: vec![0] });
        assert!(matches!(found, Some(Exposure::InForeign { .. })), "{found:?}");
    }

    /// What systemd and the launcher take for an assignment is one here.
    #[test]
    fn a_variable_may_have_space_around_its_name() {
        let name = "IOT_BRIDGE_MQTT__PROXY__URL";
        for line in ["IOT_BRIDGE_MQTT__PROXY__URL=x", "  IOT_BRIDGE_MQTT__PROXY__URL =x"] {
            assert!(sets(line, name), "{line}");
        }
        for line in
            ["IOT_BRIDGE_MQTT__PROXY__URL_FILE=x", "#IOT_BRIDGE_MQTT__PROXY__URL=x", "IOT_BRIDGE_MQTT__PROXY__URL"]
        {
            assert!(!sets(line, name), "{line}");
        }
    }
}
