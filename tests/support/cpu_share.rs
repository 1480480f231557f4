//! A share of a core for a process, as weak hardware has it.

use std::fs;
use std::path::{Path, PathBuf};

/// A control group that gives its processes a part of a core. It is gone with this, once they have ended.
pub struct CpuShare(PathBuf);

impl CpuShare {
    /// Holds the process `pid`, and what it starts, to `percent` of a core. `None` where that can't be had: it takes root and
    /// the controller `cpu` of control groups, of either version.
    pub fn hold(pid: u32, percent: u32) -> Option<CpuShare> {
        let period = 100_000;
        let quota = period / 100 * percent;
        let v1 = ("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", quota.to_string());
        let v2 = ("/sys/fs/cgroup", "cpu.max", format!("{quota} {period}"));
        let (root, file, share) = if Path::new(v1.0).exists() { v1 } else { v2 };
        let group = Path::new(root).join(format!("iot-bridge-test-{pid}"));
        let held = fs::create_dir(&group).map(|()| CpuShare(group.clone())).and_then(|held| {
            fs::write(group.join(file), share)?;
            fs::write(group.join("cgroup.procs"), pid.to_string())?;
            Ok(held)
        });
        if let Err(error) = &held {
            eprintln!("Skipped: no process can be held to a share of a core here: {}: {error}.", group.display());
        }
        held.ok()
    }

    /// How often its processes had to wait because they had used up their share.
    pub fn throttled(&self) -> u64 {
        let stat = fs::read_to_string(self.0.join("cpu.stat")).unwrap();
        let line = stat.lines().find(|line| line.starts_with("nr_throttled ")).unwrap();
        line.split_once(' ').unwrap().1.parse().unwrap()
    }
}

impl Drop for CpuShare {
    fn drop(&mut self) {
        // Not empty, if a test has failed half-way.
        let _ = fs::remove_dir(&self.0);
    }
}
