//! Whether the service sees what whoever asks sees. `sudo iot-bridge check` runs as the service's user, but not in its
//! sandbox.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use iot_bridge_core::accounts::{self, HOMES, SERVICE};
use iot_bridge_core::config::{CredentialFiles, Problem};
use iot_bridge_core::mqtt::tls::CredentialProblem;

/// A problem for each file that the service's user can read and the service in its sandbox can't.
///
/// Inside of the unit there is none: what its sandbox hides could not be read there, and that is reported.
pub(super) fn inspect(files: &CredentialFiles) -> Vec<Problem> {
    if accounts::own_name() != SERVICE || is_inside() {
        return Vec::new();
    }
    let aws = &files.aws;
    let claim = aws.provisioning.as_ref();
    let named = [
        ("aws.certificate", Some(&aws.certificate)),
        ("aws.private_key", Some(&aws.private_key)),
        ("aws.root_ca", aws.root_ca.as_ref()),
        ("aws.provisioning.claim_certificate", claim.map(|claim| &claim.claim_certificate)),
        ("aws.provisioning.claim_private_key", claim.map(|claim| &claim.claim_private_key)),
        ("mqtt.proxy.url_file", files.proxy_file.as_ref()),
    ];
    let files = named.into_iter().filter_map(|(key, path)| {
        let path = path?;
        Some(files.problem(key, format!("{} in {}", path.display(), hides(path)?), advice()))
    });
    let setup = std::env::var("ROS_SETUP").unwrap_or_default();
    let setup = setup.split_whitespace().filter_map(|file| setup_problem(Path::new(file)));
    let hidden: Vec<Problem> = files.chain(setup).collect();
    if hidden.is_empty() || !sandbox().is_some_and(|shown| hides_home(&shown)) {
        return Vec::new();
    }
    hidden
}

/// A problem with a setup file that the service's launcher will not find.
fn setup_problem(file: &Path) -> Option<Problem> {
    Some(Problem {
        source: "ROS_SETUP".to_owned(),
        line: None,
        key: String::new(),
        found: format!("{} in {}", file.display(), hides(file)?),
        allowed: "the service does not see it, because its sandbox hides the users' directories: put the workspace \
                  elsewhere, or `systemctl edit iot-bridge` with ProtectHome=read-only under [Service]"
            .to_owned(),
    })
}

/// Whether this process is one of the unit's: systemd sets this for them (systemd.exec(5)), and sudo takes it away.
fn is_inside() -> bool {
    std::env::var_os("INVOCATION_ID").is_some()
}

/// What systemd says of the unit's sandbox, drop-ins included; `None` without systemd.
fn sandbox() -> Option<String> {
    let output = Command::new("systemctl")
        .args(["show", "--property=ProtectHome,BindPaths,BindReadOnlyPaths", "iot-bridge.service"])
        // That of ROS is for ROS.
        .env_remove("LD_LIBRARY_PATH")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    output.ok().map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether [`sandbox`] hides all of [`HOMES`]: with what is bound into it, some of that may be there.
fn hides_home(shown: &str) -> bool {
    let is_hidden = shown.lines().any(|line| matches!(line, "ProtectHome=yes" | "ProtectHome=tmpfs"));
    let binds = |line: &str| line.starts_with("Bind") && !line.ends_with('=');
    is_hidden && !shown.lines().any(binds)
}

/// What of [`HOMES`] `path` leads into.
fn hides(path: &Path) -> Option<&'static str> {
    let real = path.canonicalize();
    HOMES.into_iter().find(|home| path.starts_with(home) || real.as_ref().is_ok_and(|real| real.starts_with(home)))
}

fn advice() -> String {
    "the service does not see it, because its sandbox hides the users' directories: move it to /etc/iot-bridge/certs, or \
     `systemctl edit iot-bridge` with ProtectHome=read-only under [Service]"
        .to_owned()
}

/// What to do about a file that could not be read, if it was for want of permission.
pub(super) fn remedy(problem: &CredentialProblem) -> Option<String> {
    let CredentialProblem::Unreadable { path, source, .. } = problem else { return None };
    if source.kind() != io::ErrorKind::PermissionDenied {
        return None;
    }
    let permission = accounts::permission(path);
    // Inside of the unit either may be why.
    let may_be_hidden = accounts::own_name() == SERVICE && is_inside() && hides(path).is_some();
    Some(if may_be_hidden { format!("{permission}; or else {}", advice()) } else { permission })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the sandbox hides is seen behind links as well.
    #[test]
    fn the_users_directories_are_hidden() {
        assert_eq!(hides(Path::new("/home/robot/certs/robot1.private.key")), Some("/home"));
        assert_eq!(hides(Path::new("/etc/iot-bridge/certs/robot1.private.key")), None);
        assert_eq!(hides(Path::new("/homes/key")), None);
        let outside = tempfile::tempdir().unwrap();
        let link = outside.path().join("certs");
        std::os::unix::fs::symlink("/root", &link).unwrap();
        assert_eq!(hides(&link), Path::new("/root").exists().then_some("/root"));
    }

    /// A workspace in somebody's home is named, with what makes the service see it.
    #[test]
    fn a_hidden_workspace_is_a_problem() {
        let problem = setup_problem(Path::new("/home/robot/ws/install/setup.bash")).unwrap().to_string();
        assert!(problem.starts_with("ROS_SETUP\n    found /home/robot/ws/install/setup.bash in /home; "), "{problem}");
        assert!(problem.ends_with("with ProtectHome=read-only under [Service]"), "{problem}");
        assert_eq!(setup_problem(Path::new("/opt/ros/jazzy/setup.bash")), None);
    }

    /// The advice that is given puts an end to the problem.
    #[test]
    fn what_systemd_shows_to_the_service_is_not_hidden() {
        let shown = |home: &str, bind: &str| format!("ProtectHome={home}\nBindPaths=\nBindReadOnlyPaths={bind}\n");
        assert!(hides_home(&shown("yes", "")));
        assert!(hides_home(&shown("tmpfs", "")));
        for seen in [shown("read-only", ""), shown("no", ""), shown("yes", "/home/robot/certs"), String::new()] {
            assert!(!hides_home(&seen), "{seen}");
        }
    }
}
