//! A test with mounts of its own, which nobody else sees and which are gone with it.

use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::itself;

use rustix::ioctl::{Opcode, Setter, ioctl};
use tempfile::TempDir;

/// Set in the process that has its own mounts.
const INSIDE: &str = "IOT_BRIDGE_TEST_OWN_MOUNTS";

/// Runs the test function called `test`, in which this is called first, again in a mount namespace of its own. Returns
/// whether this is that one; if not, the test is done, or was skipped because there can be no such namespace.
pub fn enter(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]);
        command
    };
    let is_possible = unshare().arg("true").status().is_ok_and(|status| status.success());
    if !rustix::process::geteuid().is_root() || !is_possible {
        eprintln!("Skipped: mounting takes root and a mount namespace, which are not to be had here.");
        return false;
    }
    let inside = unshare().arg(itself::program()).args(itself::arguments(test)).env(INSIDE, "1").status().unwrap();
    assert!(inside.success(), "{inside}");
    false
}

/// A disk of the test's own: an ext4 file system in a file, on a loop device.
pub struct Disk {
    directory: TempDir,
}

impl Disk {
    /// A new disk of this size, mounted. Nothing where there are no loop devices.
    pub fn new(megabytes: u64) -> Option<Disk> {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let disk = Disk { directory };
        File::create(disk.image()).unwrap().set_len(megabytes << 20).unwrap();
        let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(disk.image()).status().unwrap();
        assert!(made.success(), "mkfs.ext4: {made}");
        std::fs::create_dir(disk.path()).unwrap();
        if !Command::new("losetup").arg("--find").output().is_ok_and(|found| found.status.success()) {
            eprintln!("Skipped: loop devices are not to be had here.");
            return None;
        }
        disk.mount();
        Some(disk)
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("mounted")
    }

    /// The device that it is on.
    pub fn device(&self) -> PathBuf {
        let found = Command::new("findmnt").args(["-n", "-o", "SOURCE"]).arg(self.path()).output().unwrap();
        PathBuf::from(String::from_utf8(found.stdout).unwrap().trim_end())
    }

    /// What was not synced stays off the device for half a minute.
    pub fn mount(&self) {
        mount(&["-t", "ext4", "-o", "loop,commit=30"], &self.image(), &self.path());
    }

    pub fn unmount(&self) {
        unmount(&self.path());
    }

    /// The power goes: the file system writes nothing any more, neither what it has in memory nor its journal.
    #[allow(unsafe_code, reason = "an ioctl of one file system")]
    pub fn cut_power(&self) {
        /// `EXT4_IOC_SHUTDOWN` of linux/fs/ext4/ext4.h, with `EXT4_GOING_FLAGS_NOLOGFLUSH`.
        const SHUTDOWN: Opcode = rustix::ioctl::opcode::read::<u32>(b'X', 125);
        const NO_LOG_FLUSH: u32 = 2;
        let root = File::open(self.path()).unwrap();
        // SAFETY: the request reads a u32 through the pointer that it is given, and writes nothing.
        unsafe { ioctl(&root, Setter::<SHUTDOWN, u32>::new(NO_LOG_FLUSH)) }.unwrap();
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Not there any more, if the test has failed half-way.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).output();
    }
}

/// `mount OPTIONS what where`.
pub fn mount(options: &[&str], what: &Path, at: &Path) {
    let mounted = Command::new("mount").args(options).args([what, at]).status().unwrap();
    assert!(mounted.success(), "mount {what:?}: {mounted}");
}

/// Unmounts what is mounted at `path`; its users have to be gone.
pub fn unmount(path: &Path) {
    assert!(!path.as_os_str().as_bytes().is_empty());
    let unmounted = Command::new("umount").arg(path).status().unwrap();
    assert!(unmounted.success(), "umount {path:?}: {unmounted}");
}

/// Takes away what is mounted at `path`; who has something open there keeps that.
pub fn unmount_lazily(path: &Path) {
    let unmounted = Command::new("umount").arg("--lazy").arg(path).status().unwrap();
    assert!(unmounted.success(), "umount {path:?}: {unmounted}");
}
