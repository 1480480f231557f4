//! The files of one thing, laid out as in `/etc/iot-bridge`.
//!
//! ```text
//! thing_0/config.toml            the bridge's configuration
//! thing_0/iot_config.json        the AWS sample's
//! thing_0/install.sh             puts them into /etc/iot-bridge of the robot that the directory was copied to
//! thing_0/certs/thing_0.cert.pem
//! thing_0/certs/thing_0.private.key
//! thing_0/certs/rootCA.crt
//! ```

mod install;

use std::path::{Path, PathBuf};

use serde_json::json;

use super::files::{self, PROGRAM, PUBLIC, SECRET};
use super::stop::Stop;
use super::template::verify;
use crate::config::Settings;

pub use install::install;

/// Where a thing's files are. The paths are absolute.
#[derive(Debug, Clone)]
pub struct RobotFiles {
    pub directory: PathBuf,
    pub config: PathBuf,
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

    /// Writes what is made of others: everything but certificate and key.
    pub fn write(&self, config: &str, root_ca: &str) -> Result<(), Stop> {
        let write = |path: &Path, text: &str, mode| {
            files::write(path, text.as_bytes(), mode).map_err(Stop::file("write", path))
        };
        self.make_directories()?;
        write(&self.root_ca, root_ca, PUBLIC)?;
        // What it holds shows when it is read.
        write(&self.config, config, SECRET)?;
        let settings = verify(&self.config)?;
        if !settings.hold_secrets() {
            write(&self.config, config, PUBLIC)?;
        }
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

    fn all(&self) -> [&PathBuf; 6] {
        // The key last: as long as it is there, so is what it belongs to.
        [&self.config, &self.sample, &self.installer, &self.root_ca, &self.certificate, &self.private_key]
    }

    /// A script that does on the robot what `create --install` does here.
    fn installer_text(&self) -> String {
        let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        format!(
            r#"#!/bin/sh
# Puts the configuration and the certificates beside this script into /etc/iot-bridge of this robot. As root.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
to=${{1:-/etc/iot-bridge}}
group=root mode=600
if getent group iot-bridge >/dev/null; then group=iot-bridge mode=640; fi
[ "$(id -u)" -eq 0 ] || group=$(id -g)
install -d -m 755 "$to" "$to/certs"
install -m 644 "$here/certs/{certificate}" "$here/certs/{root_ca}" "$to/certs/"
install -m "$mode" -g "$group" "$here/certs/{key}" "$to/certs/"
if [ -e "$to/config.toml" ]; then cp -p "$to/config.toml" "$to/config.toml.before"; fi
sed "s|{directory}/certs/|$to/certs/|" "$here/config.toml" >"$to/config.toml.new"
chmod 644 "$to/config.toml.new"
mv "$to/config.toml.new" "$to/config.toml"
echo "Installed into $to. Next: iot-bridge check && systemctl restart iot-bridge"
"#,
            certificate = name(&self.certificate),
            key = name(&self.private_key),
            root_ca = name(&self.root_ca),
            directory = self.directory.display(),
        )
    }
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
