//! What this process uses.

use std::path::Path;
use std::time::{Duration, Instant};

/// Magic number of tmpfs (statfs(2)).
const TMPFS: i64 = 0x0102_1994;

/// What something has cost.
#[derive(Debug)]
pub struct Cost {
    pub records: u64,
    pub elapsed: Duration,
    pub cpu: Duration,
    pub written: u64,
}

#[derive(Debug)]
pub struct Meter {
    start: Instant,
    cpu: Duration,
    written: u64,
}

impl Meter {
    pub fn start() -> Meter {
        Meter { start: Instant::now(), cpu: cpu_time(), written: written() }
    }

    pub fn stop(self, records: u64) -> Cost {
        Cost { records, elapsed: self.start.elapsed(), cpu: cpu_time() - self.cpu, written: written() - self.written }
    }
}

/// Whether what is written below `path` shows in [`Cost::written`].
pub fn counts_writes(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|fs| fs.f_type != TMPFS)
}

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Bytes that were to go to a disk: pages, each time that one turns dirty.
fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").expect("/proc is mounted");
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).expect("write_bytes");
    line.parse().expect("a number")
}
