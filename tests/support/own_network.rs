//! A test with a network of its own, which is gone with it: this machine, and another one at the end of a cable.

use std::process::{Child, Command, Stdio};

use super::itself;

/// Set in the process that has its own network.
const INSIDE: &str = "IOT_BRIDGE_TEST_OWN_NETWORK";

/// This machine's end of the cable.
const HERE: &str = "here";

/// Runs the test function called `test`, in which this is called first, again in a network namespace of its own, in which
/// there is a loopback only. Returns whether this is that one; if not, the test is done, or was skipped because there can
/// be no such namespace.
pub fn enter(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        ip("link set lo up");
        return true;
    }
    let unshare = || {
        let mut command = Command::new("unshare");
        command.arg("--net");
        command
    };
    let makes_cables = "ip link add one type veth peer name other";
    let tried = unshare().args(["sh", "-c", makes_cables]).stderr(Stdio::null()).status();
    if !tried.is_ok_and(|status| status.success()) {
        eprintln!(
            "Skipped: a network of its own takes root, ip and a network namespace, which are not to be had here."
        );
        return false;
    }
    let inside = unshare().arg(itself::program()).args(itself::arguments(test)).env(INSIDE, "1").status().unwrap();
    assert!(inside.success(), "{inside}");
    false
}

/// Another machine, to which a cable goes.
pub struct Machine {
    /// Holds its network.
    holder: Child,
}

impl Machine {
    pub fn at_a_cable() -> Machine {
        let holder = Command::new("unshare").args(["--net", "sleep", "infinity"]).spawn().unwrap();
        let machine = Machine { holder };
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        let there = format!("/proc/{}/ns/net", machine.holder.id());
        while std::fs::read_link(&there).unwrap() == own {
            std::thread::yield_now();
        }
        ip(&format!("link add {HERE} type veth peer name there netns {}", machine.holder.id()));
        ip(&format!("link set {HERE} up"));
        for line in ["link set lo up", "link set there up"] {
            run(machine.command("ip").args(line.split(' ')));
        }
        machine
    }

    /// Gives it this address and its mask.
    pub fn add_address(&self, address: &str) {
        run(self.command("ip").args(["address", "add", address, "dev", "there"]));
    }

    /// A command that will run there.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.holder.id())).arg(program);
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Gives this machine's end of the cable an address and its mask.
pub fn add_address(address: &str) {
    ip(&format!("address add {address} dev {HERE}"));
}

/// Takes an address away from it.
pub fn remove_address(address: &str) {
    ip(&format!("address del {address} dev {HERE}"));
}

fn ip(line: &str) {
    run(Command::new("ip").args(line.split(' ')));
}

fn run(command: &mut Command) {
    let status = command.status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}
