"""What an outage costs: memory, disk, silence, and the time until all has been told."""

import time

import meter
from life import Life

# Seconds for a backlog, and without a message before what has not come is lost.
LONGEST_DRAIN, PATIENCE = 300, 10


def endure(stage, name, topics, rate, seconds, after, tell):
    """Cuts the way to the broker for `seconds`, while messages come at `rate` and go on coming for `after`."""
    link = stage.start_part("link", {"topics": [], "broker": stage.broker("link")})
    port = link.next()[1]
    with Life(stage, name, topics, port=port) as life:
        life.begin()
        contestant, pid = life.contestant, life.contestant.pid
        contestant.start_anew(life.first)
        before = meter.memory(pid)
        disk = meter.written(pid)
        # Some seconds with a connection first.
        life.source.tell("publish", rate=rate, seconds=2 + seconds + after)
        time.sleep(2)
        cpu = meter.cpu(pid)
        link.ask("shut")
        time.sleep(seconds - 0.5)
        memory = []
        for _ in range(3):
            memory.append(meter.memory(pid))
            time.sleep(0.5 / 3)
        cpu = meter.cpu(pid) - cpu
        disk = meter.written(pid) - disk
        queued = sum(file.stat().st_size for file in contestant.queue.rglob("*") if file.is_file()) if name == "iot-bridge" else 0
        opened = link.ask("open")
        # The first message after the outage is the next that arrives.
        silent_until = await_arrival(contestant, opened, after + 60)
        published = life.note(life.source.next(after + 60)[1])
        total = sum(published["counts"])
        # Who connects again late, or drains slowly, has not lost what is to come.
        if not life.settle(total, longest=LONGEST_DRAIN, patience=PATIENCE):
            raise TimeoutError(f"the backlog still comes {LONGEST_DRAIN} s after the last message")
        figures = contestant.arrived()
        received = sum(of["received"] for of in figures.values())
        late = [of["late_at"] for of in figures.values() if of["late_at"]]
        result = {
            "rate": rate,
            "outage_s": seconds,
            "pss_before_mib": before,
            "pss_mib": memory,
            "disk_written_bytes": disk,
            "disk_bytes": queued,
            "cpu_s": cpu,
            "published": total,
            "lost": total - received,
            "duplicates": sum(of["duplicates"] for of in figures.values()),
            "silence_s": (silent_until - opened) / 1e9 if silent_until else None,
            "backlog_s": (max(late) - opened) / 1e9 if late and max(late) > opened else None,
        }
    link.end()
    stage.parts.remove(link)
    silence = f"{result['silence_s']:.2f} s" if result["silence_s"] is not None else "for ever"
    tell(f"{result['lost']} of {total} lost, silent for {silence} after the return, PSS {max(memory):.1f} MiB")
    return result


def await_arrival(contestant, opened, longest):
    """When the first message arrived after `opened`, within 5 ms; `None` if none does."""
    end = time.monotonic() + longest
    while time.monotonic() < end:
        figures = contestant.arrived().values()
        latest = max((of["last_at"] or 0 for of in figures), default=0)
        if latest > opened:
            return latest
        time.sleep(0.005)
    return None
