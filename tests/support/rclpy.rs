//! Programs of tests/ros, which are real rclpy nodes.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A node. It is killed when dropped.
pub struct Rclpy(Child);

impl Rclpy {
    /// Starts tests/ros/`program` with `arguments`, in the [domain](super::domain) of the test.
    pub fn start(program: &str, arguments: &[&str]) -> Rclpy {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ros").join(program);
        let mut command = Command::new("python3");
        command.arg(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        Rclpy(command.spawn().expect("python3 starts"))
    }

    /// Has it end as Ctrl-C does, and waits for that: it says goodbye to DDS.
    pub fn end(&mut self) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-s", "INT", &pid]).status().expect("kill").success());
        self.0.wait().expect("a child");
    }
}

impl Drop for Rclpy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
