//! Where a test of `iot-bridge-things` works: an AWS API, a directory, and the program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::aws_api::{AwsApi, REGION};
use crate::support::certificates::Authority;

pub struct Bench {
    pub authority: Arc<Authority>,
    pub api: AwsApi,
    pub directory: TempDir,
}

impl Bench {
    pub fn set() -> Bench {
        let authority = Arc::new(Authority::new("authority of the test"));
        let api = AwsApi::start(Arc::clone(&authority));
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("authority.pem"), &authority.pem).unwrap();
        Bench { authority, api, directory }
    }

    /// `iot-bridge-things` with credentials for the API, in the directory.
    pub fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_iot-bridge-things"));
        let home = self.directory.path();
        command
            .current_dir(home)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", home)
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "a secret of the test")
            .env("AWS_REGION", REGION)
            .env("AWS_ENDPOINT_URL", self.api.url())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_MAX_ATTEMPTS", "1")
            .stdin(Stdio::null());
        // The program links against ROS, which the library path may have.
        for name in ["LD_LIBRARY_PATH", "AMENT_PREFIX_PATH"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }

    /// Runs it, and answers what it said, standard output and error together.
    pub fn run(&self, arguments: &[&str]) -> (i32, String) {
        said(self.program(arguments).output().unwrap())
    }

    /// Runs it, and answers what it said. It has to succeed.
    pub fn succeed(&self, arguments: &[&str]) -> String {
        let (status, text) = self.run(arguments);
        assert_eq!(status, 0, "{arguments:?}: {text}");
        text
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn register(&self) -> Value {
        serde_json::from_slice(&fs::read(self.path("things/things.json")).unwrap()).unwrap()
    }

    /// Writes a configuration whose things trust the test's authority and connect to `port`.
    pub fn template(&self, port: u16, rest: &str) -> PathBuf {
        let path = self.path("fleet.toml");
        let root_ca = self.path("authority.pem");
        fs::write(&path, format!("{rest}\n[aws]\nport = {port}\nroot_ca = {:?}\n", root_ca.display())).unwrap();
        path
    }
}

pub fn said(output: Output) -> (i32, String) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text)
}

/// Every file below `directory`.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all
}
