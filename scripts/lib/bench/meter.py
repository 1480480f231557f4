"""What the kernel says of a process."""

import ctypes
import re
import subprocess
import time
from pathlib import Path

libc = ctypes.CDLL(None, use_errno=True)


def cpu(pid):
    """Seconds of processor time, user and system, of all threads so far, those that have ended included."""
    clock = ctypes.c_int()
    if error := libc.clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise OSError(error, f"no processor time of process {pid}")
    return time.clock_gettime_ns(clock.value) / 1e9


def sleeps(pid):
    """How often each of its threads went to sleep so far, by thread id."""
    counts = {}
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        try:
            counts[status.parent.name] = int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", status.read_text(), re.M)[1])
        except (FileNotFoundError, ProcessLookupError):
            pass
    return counts


def slept(before, after):
    """How often the threads of `after` went to sleep since `before`. One that has ended since takes nothing away."""
    return sum(max(0, count - before.get(thread, 0)) for thread, count in after.items())


def memory(pid):
    """MiB: its proportional share of what it maps (PSS)."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s*(\d+)", rollup, re.M)[1]) / 1024


def written(pid):
    """Bytes that it caused to be written to a disk."""
    return int(re.search(r"^write_bytes: (\d+)", Path(f"/proc/{pid}/io").read_text(), re.M)[1])


def threads(pid):
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def wire(port):
    """Of all connections to the broker at `port`: bytes within TCP to it and from it, and packets in both directions."""
    told = subprocess.run(
        ["ss", "-tinH", "state", "established", f"( sport = :{port} )"], capture_output=True, text=True, check=True
    ).stdout
    total = lambda field: sum(map(int, re.findall(rf"\b{field}:(\d+)", told)))
    return total("bytes_received"), total("bytes_sent"), total("segs_in") + total("segs_out")
