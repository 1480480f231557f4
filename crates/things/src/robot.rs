//! The files of one thing.
//!
//! ```text
//! thing_0/config.toml            the bridge's configuration, with the files here
//! thing_0/robot.toml             the same with those of a robot: /etc/iot-bridge/conf.d/robot.toml
//! thing_0/iot_config.json        the AWS sample's
//! thing_0/install.sh             puts them into /etc/iot-bridge of the robot that the directory was copied to
//! thing_0/certs/thing_0.cert.pem
//! thing_0/certs/thing_0.private.key
//! thing_0/certs/rootCA.crt
//! ```

mod install;

use std::path::{Path, PathBuf};

use serde_json::json;
use toml_edit::{DocumentMut, value};

use super::files::{self, PROGRAM, PUBLIC, SECRET};
use super::stop::Stop;
use super::template::verify;
use iot_bridge_core::accounts::SERVICE;
use iot_bridge_core::config::{DEFAULT_DIRECTORY, Settings};

pub use install::{install, is_installed, renew};

/// Where a thing's files are. The paths are absolute.
#[derive(Debug, Clone)]
pub struct RobotFiles {
    pub directory: PathBuf,
    pub config: PathBuf,
    pub robot: PathBuf,
    pub sample: PathBuf,
    pub installer: PathBuf,
    pub certificates: PathBuf,
    pub certificate: PathBuf,
    pub private_key: PathBuf,
    pub root_ca: PathBuf,
}

impl RobotFiles {
    /// Those of `thing` in the directory of things.json.
    pub fn new(directory: &Path, thing: &str) -> RobotFiles {
        RobotFiles::within(&directory.join(thing), thing)
    }

    /// Those in `directory`, of which there is one for a robot.
    pub fn within(directory: &Path, thing: &str) -> RobotFiles {
        let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
        let certificates = directory.join("certs");
        RobotFiles {
            config: directory.join("config.toml"),
            robot: directory.join("robot.toml"),
            sample: directory.join("iot_config.json"),
            installer: directory.join("install.sh"),
            certificate: certificates.join(format!("{thing}.cert.pem")),
            private_key: certificates.join(format!("{thing}.private.key")),
            root_ca: certificates.join("rootCA.crt"),
            certificates,
            directory,
        }
    }

    /// The key that is to take the place of the one in use.
    pub fn next_private_key(&self) -> PathBuf {
        self.private_key.with_extension("key.next")
    }

    /// The certificate that is to take the place of the one in use.
    pub fn next_certificate(&self) -> PathBuf {
        self.certificate.with_extension("pem.next")
    }

    pub fn make_directories(&self) -> Result<(), Stop> {
        files::make_directory(&self.certificates).map_err(Stop::file("make the directory", &self.certificates))
    }

    /// Whether everything is there.
    pub fn are_there(&self) -> bool {
        self.all().iter().all(|path| path.is_file())
    }

    /// Writes what is made of others: everything but certificate and key. `config` is what the bridge is told.
    pub fn write(&self, config: &DocumentMut, thing: &str, root_ca: &str) -> Result<(), Stop> {
        let write = |path: &Path, text: &str, mode| {
            files::write(path, text.as_bytes(), mode).map_err(Stop::file("write", path))
        };
        self.make_directories()?;
        write(&self.root_ca, root_ca, PUBLIC)?;
        let here = refer(config.clone(), self);
        // What it holds shows when it is read.
        write(&self.config, &here, SECRET)?;
        let settings = verify(&self.config)?;
        let mode = if settings.hold_secrets() { SECRET } else { PUBLIC };
        write(&self.config, &here, mode)?;
        write(&self.robot, &refer(config.clone(), &RobotFiles::within(DEFAULT_DIRECTORY.as_ref(), thing)), mode)?;
        write(&self.sample, &sample(&settings), PUBLIC)?;
        write(&self.installer, &self.installer_text(), PROGRAM)
    }

    /// Deletes them, and the directories if nothing else is in there.
    pub fn delete(&self) -> Result<(), Stop> {
        for path in [&self.next_certificate(), &self.next_private_key()].into_iter().chain(self.all()) {
            files::remove(path).map_err(Stop::file("delete", path))?;
        }
        for directory in [&self.certificates, &self.directory] {
            files::remove_directory(directory).map_err(Stop::file("delete", directory))?;
        }
        Ok(())
    }

    fn all(&self) -> [&PathBuf; 7] {
        // The key last: as long as it is there, so is what it belongs to.
        [&self.config, &self.robot, &self.sample, &self.installer, &self.root_ca, &self.certificate, &self.private_key]
    }

    /// A script that does on the robot what `create --install` does here.
    fn installer_text(&self) -> String {
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // Names of things have no character that a shell knows.
        format!(
            r#"#!/bin/sh
# Puts the configuration and the certificates beside this script into /etc/iot-bridge of this robot, or into the directory
# that is given. As root.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
to=${{1:-{DEFAULT_DIRECTORY}}}
case $to in
  /*) ;;
  *) to=$(pwd)/$to ;;
esac
case $to in
  *[!A-Za-z0-9/._+@-]*) echo "The directory may have letters, digits and /._+@- in its name: $to" >&2; exit 2 ;;
esac
group=root mode=600
if getent group {SERVICE} >/dev/null; then group={SERVICE} mode=640; fi
[ "$(id -u)" -eq 0 ] || group=$(id -g)
# What is there keeps its mode: the package closes certs to others.
for directory in "$to" "$to/conf.d" "$to/certs"; do
  [ -d "$directory" ] || install -d -m 755 "$directory"
done
install -m 644 "$here/certs/{certificate}" "$here/certs/{root_ca}" "$to/certs/"
install -m "$mode" -g "$group" "$here/certs/{key}" "$to/certs/"
# A file with secrets is for its owner alone, and on the robot for the service.
if [ -z "$(find "$here/robot.toml" -perm -004)" ]; then config="-m $mode -g $group"; else config='-m 644'; fi
sed "s|{DEFAULT_DIRECTORY}/certs/|$to/certs/|" "$here/robot.toml" |
  install $config /dev/stdin "$to/conf.d/robot.toml.new"
if [ -e "$to/conf.d/robot.toml" ]; then cp -p "$to/conf.d/robot.toml" "$to/conf.d/robot.toml.before"; fi
mv "$to/conf.d/robot.toml.new" "$to/conf.d/robot.toml"
# Whatever these set would be added to that, and beside the AWS sample's file it is not read.
for main in config.toml config.json; do
  if [ -e "$to/$main" ] && grep -Eq '^ *([a-z]|\[\[|[{{"])' "$to/$main"; then
    mv "$to/$main" "$to/$main.before"
    echo "What $to/$main said is in force no more; it is in $main.before."
  fi
done
echo "Installed into $to. Next: iot-bridge check && systemctl restart iot-bridge"
"#,
            certificate = name(&self.certificate),
            key = name(&self.private_key),
            root_ca = name(&self.root_ca),
        )
    }
}

/// The text of `config` with the files of `robot`.
fn refer(mut config: DocumentMut, robot: &RobotFiles) -> String {
    for (key, file) in
        [("certificate", &robot.certificate), ("private_key", &robot.private_key), ("root_ca", &robot.root_ca)]
    {
        config["aws"][key] = value(file.display().to_string());
    }
    config.to_string()
}

/// The AWS sample's configuration that says the same.
fn sample(settings: &Settings) -> String {
    let aws = &settings.aws;
    let sample = json!({
        "endpoint": aws.endpoint,
        "port": aws.port,
        "rootCAPath": aws.root_ca,
        "certificatePath": aws.certificate,
        "privateKeyPath": aws.private_key,
        "clientID": aws.client_id,
    });
    format!("{sample:#}\n")
}
