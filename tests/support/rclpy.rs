//! Real rclpy nodes.

use std::path::Path;
use std::process::{Command, Stdio};

use super::killed_on_drop::KilledOnDrop;

pub struct Rclpy(KilledOnDrop);

impl Rclpy {
    /// Starts tests/ros/`program` with `arguments`, in the [domain](super::domain) of the test.
    pub fn start(program: &str, arguments: &[&str]) -> Rclpy {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ros").join(program);
        let mut command = Command::new("python3");
        Rclpy::spawn(command.arg(program).args(arguments))
    }

    /// Starts `program`, which is Python's text.
    pub fn run(program: &str) -> Rclpy {
        Rclpy::spawn(Command::new("python3").args(["-c", program]))
    }

    fn spawn(command: &mut Command) -> Rclpy {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Rclpy(KilledOnDrop(child.expect("python3 starts")))
    }

    /// Has it end as Ctrl-C does, and waits for that: it says goodbye to DDS.
    pub fn end(&mut self) {
        let pid = self.0.0.id().to_string();
        assert!(Command::new("kill").args(["-s", "INT", &pid]).status().expect("kill").success());
        self.0.0.wait().expect("a child");
    }
}

/// tests/ros/publish_all.py, where `environment` is sourced.
pub fn publish_all(arguments: &[&str], environment: &[(String, String)]) -> Command {
    let mut command = Command::new("python3");
    command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ros/publish_all.py"))
        .args(arguments)
        .envs(environment.iter().cloned())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}
