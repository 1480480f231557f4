"""The machine, in words."""

import os
import platform
import re
import subprocess
import time
from pathlib import Path


def describe():
    read = lambda path, pattern: (re.search(pattern, Path(path).read_text(), re.M) or [None, "?"])[1]
    first_line = lambda *command: subprocess.run(command, capture_output=True, text=True).stdout.split("\n")[0].strip()
    return {
        "processor": read("/proc/cpuinfo", r"^model name\s*: (.*)$") if platform.machine() == "x86_64" else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(int(read("/proc/meminfo", r"^MemTotal:\s*(\d+)")) / 2**20),
        "virtual": first_line("systemd-detect-virt", "--vm") or "unknown",
        "kernel": platform.release(),
        "system": read("/etc/os-release", r'^PRETTY_NAME="(.*)"$'),
        "ros": os.environ.get("ROS_DISTRO", "?").capitalize(),
        "rmw": os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp"),
        "rustc": first_line("rustc", "--version").split(" ")[1],
        "python": platform.python_version(),
        "mosquitto": (re.search(r"version (\S+)", first_line("mosquitto", "-h")) or [None, "?"])[1],
        "date": time.strftime("%Y-%m-%d"),
        "load_before": os.getloadavg()[0],
        "commit": first_line("git", "describe", "--always", "--dirty"),
    }


def steal():
    """Seconds that the hypervisor gave to others, and seconds of all, summed over the processors."""
    numbers = list(map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9]))
    return numbers[7] / os.sysconf("SC_CLK_TCK"), sum(numbers) / os.sysconf("SC_CLK_TCK")
