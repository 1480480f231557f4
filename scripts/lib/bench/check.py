#!/usr/bin/env python3
"""Checks what becomes of figures, without measuring any: medians, ratios, losses, the document. `scripts/test` runs it."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

import ladder
import life as of_life
import meter
import stage
import summary
import tables
import times
import works
from contestants import ALL, BRIDGE, PUBLISH, PYTHON, RECEIVE, RUST
from life import keeps_up, rate_of


def step(cost, lost=0, rate=100):
    return {
        "rate": rate, "asked_s": 1, "seconds": 1.0, "published": 1000, "received": 1000 - lost, "lost": lost, "missing": {"/text": lost}, "duplicates": 0,
        "payload_bytes": 200_000, "publishes": 500, "metered": 500, "behind_s": 0.1, "cpu_s": 0.1, "elapsed_s": 2.0, "idle_cpu_s_per_s": 0.0, "settled": True, "arrived": {"/text": 1000 - lost}, "cpu_us_per_message": cost,
        "wire": {"bytes_up": 300_000, "bytes_down": 30_000, "packets": 2000}, "pss_mib": [20.0],
        "latency_us": {"/text": [300, 900, 1500, 2000]},
    }  # fmt: skip


def life(*steps):
    idle = {"cpu_s_per_s": 0.001, "wakeups_per_s": 30.0, "pss_mib": [19.0], "threads": 9}
    return {"start": {"ready_s": 0.2, "first_message_s": 0.4}, "idle": idle, "steps": list(steps)}


def shares():
    """Who loses messages is waited for a second longer, and takes the same share of a core."""
    clean = step(1.0) | {"cpu_s": 0.101, "elapsed_s": 1.1, "idle_cpu_s_per_s": 0.01}
    lossy = step(1.0, lost=1) | {"cpu_s": 0.111, "elapsed_s": 2.1, "idle_cpu_s_per_s": 0.01}
    assert abs(summary.share_of_a_core(clean) - 0.1) < 1e-9 and abs(summary.share_of_a_core(lossy) - 0.1) < 1e-9


def losses(of):
    """A percentile of too few messages is none, and what is lost stands beside the latency of the others."""
    few, enough = step(1.0, lost=901), step(1.0, lost=900)
    assert summary.latency(life(few), 100, 0) == [0.3]
    assert summary.latency(life(few), 100, 1) == [] and summary.latency(life(enough), 100, 1) == [0.9]
    assert summary.latency(life(step(1.0, lost=1)), 100, 2) == [] and summary.latency(life(step(1.0)), 100, 2) == [1.5]
    assert tables.latencies(of[PYTHON], 100, 1) == "0.90, 1.0% lost" and tables.latencies(of[PYTHON], 100, 2) == "–"
    # A topic with few messages does not have a say beside one with many.
    two = {"arrived": {"/a": 1000, "/b": 20}, "latency_us": {"/a": [1, 2000, 3, 4], "/b": [1, 9000, 3, 4]}}
    assert summary.latency(life(step(1.0) | two), 100, 1) == [2.0]


def memories():
    """The memory of a round is its highest sample, in whatever table."""
    of = {name: {"rounds": [life(step(1.0) | {"pss_mib": samples}) for samples in ([1, 2, 30], [1, 2, 10], [1, 2, 20])]} for name in (BRIDGE, RECEIVE)}
    text = tables.in_short({"string": of}) + tables.string(of, {})
    assert summary.memory(of[BRIDGE]) == [30, 10, 20]
    assert "| memory at 1,000/s, MiB | 20.0 |" in text and f"| {BRIDGE} | 19.0 (19.0–19.0) | 20.0 (10.0–30.0) |" in text, text


def rates():
    """The ladder tells the rate that was published and held, and none where none was."""

    def made_of(limit, slow=1.0, confirms=True):
        def attempt(rate, seconds):
            made = step(1.0, rate=rate) | {"asked_s": seconds, "seconds": seconds * slow, "published": rate * seconds}
            return made | {"passed": rate <= limit and (confirms or seconds == 1)}

        return lambda start: ladder.search(attempt, start, probe=1, confirm=10)

    for limit, start in (5000, 1000), (700, 8000), (1, 4), (3, 100):
        found = made_of(limit)(start)
        assert 0.8 * limit <= found["rate"] <= limit and found["steps"][-1]["passed"], (limit, found["rate"])
    assert made_of(0)(1000)["rate"] is None and made_of(5000, confirms=False)(1000)["rate"] is None
    # Who queues what it can't forward yet is not tried at twice its rate, ten seconds at a time.
    assert ladder.allowed(1, 10, 1.0) == 0.25 and ladder.allowed(3, 10, 1.0) == 0.3 and ladder.allowed(10, 10, 1.0) == 1.0
    assert ladder.allowed(2, 10, 0.3) == 0.25 and ladder.allowed(10, 10, 0.3) == 0.3

    def queueing(rate, seconds):
        behind = max(0, rate / 5000 - 1) * seconds
        made = step(1.0, rate=rate) | {"asked_s": seconds, "seconds": seconds, "published": rate * seconds, "behind_s": behind}
        return made | {"passed": keeps_up(made, ladder.allowed(seconds, 10, 1.0))}

    found = ladder.search(queueing, 4000, probe=1, confirm=10)
    assert 4500 < found["rate"] < 5600 and sum(made["asked_s"] == 10 for made in found["steps"]) <= 3, found
    # A robot that took longer than it was asked to has not published at that rate.
    slow = made_of(1000, slow=1.02)(1000)
    assert slow["rate"] == int(slow["steps"][-1]["rate"] / 1.02)
    assert rate_of(step(1.0) | {"asked_s": 10, "seconds": 9.9, "published": 1000}) == 100


def sleeps():
    """A thread that has ended takes nothing out of the count."""
    assert meter.slept({"1": 100, "2": 5000}, {"1": 130, "3": 7}) == 37
    assert meter.slept({"1": 100}, {"1": 4}) == 0
    assert meter.sleeps(os.getpid()).keys() >= {str(os.getpid())}


def late_arrivals():
    """Who is slow has not lost what is still to come."""

    class Slow(of_life.Life):
        def __init__(self, arrivals):
            self.arrivals = iter(arrivals)

        def received(self):
            return next(self.arrivals)

    clock = iter(range(10_000))
    with mock.patch.object(of_life.time, "monotonic", lambda: next(clock) * 0.5), mock.patch.object(of_life.time, "sleep"):
        assert Slow(range(1000)).settle(500, longest=30) is False
        assert Slow(range(1000)).settle(20, longest=300) is True
        pause = [1] * 8 + [2]
        assert Slow(pause).settle(2, patience=10) is True
        rest = Slow([1] * 1000)
        assert rest.settle(2, patience=10) is True and len(list(rest.arrivals)) > 900


def sections():
    """A run measures something of each section that is asked for, and does not take longer than is said."""
    spec = importlib.util.spec_from_file_location("bench", Path(__file__).with_name("__main__.py"))
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    assert bench.wanted(None, times.WHOLE) == times.SECTIONS and bench.wanted(["quotas"], times.WHOLE) == ["quotas"]
    assert bench.wanted(None, times.QUICK) == ["string", "ladder", "robot", "outage"]
    for only, among in (["sensors"], times.QUICK), (["string", "quotas"], times.QUICK), (["topics"], times.QUICK), (["x"], times.WHOLE):
        try:
            bench.wanted(only, among)
        except ValueError:
            continue
        raise AssertionError(f"{only} is measured")
    assert bench.absent([BRIDGE]) == ALL[1:] and bench.absent(ALL) == []
    assert "ros " in bench.of_the_recipes()
    whole, quick = (times.seconds(times.SECTIONS, among) / 60 for among in (times.WHOLE, times.QUICK))
    assert 15 < whole < 20 and 2 < quick < 4.5, f"docs/performance.md and --help say otherwise: {whole:.1f} and {quick:.1f} minutes"


# A stage whose broker is any process, and that fails after it has been started, or stands until it is ended.
STAGE = """
import signal, subprocess, sys, time
from pathlib import Path
import stage

class Broken(stage.Stage):
    def certify(self):
        pass

    def start_broker(self):
        self.mosquitto = subprocess.Popen(["sleep", "60"])
        print(self.mosquitto.pid, self.directory, self.disk, flush=True)
        if sys.argv[2] == "fails":
            raise SystemExit(7)
        time.sleep(60)

signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
with Broken({}, sys.argv[1], Path(sys.argv[1])):
    pass
"""


def stages():
    """Whatever ends a stage, nothing of it stays; its ports and its domain are its own, and the user's variables are not."""
    with tempfile.TemporaryDirectory() as directory:
        for how, status in ("fails", 7), ("stands", 143):
            command = [sys.executable, "-c", STAGE, directory, how]
            child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)})
            pid, *directories = child.stdout.readline().split()
            assert len(directories) == 2, "the stage does not start"
            if how == "stands":
                child.send_signal(signal.SIGTERM)
            assert child.wait(20) == status
            assert not Path(f"/proc/{pid}").exists() and not any(Path(path).exists() for path in directories), how
    number, port = stage.reserve_port()
    with mock.patch.object(stage.random, "sample", lambda free, _: free):
        domains = [stage.reserve_domain() for _ in range(3)]
    assert len({domain for domain, _ in domains}) == 3, domains
    listener = "import socket, sys; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(sys.argv[2])); s.bind(('127.0.0.1', int(sys.argv[1]))); s.listen()"
    bind = lambda shared: subprocess.run([sys.executable, "-c", listener, str(number), shared], stderr=subprocess.DEVNULL).returncode
    assert bind("1") == 0 and bind("0") != 0, "Mosquitto can listen on the port, and who takes any port does not get it"
    for reserved in port, *(lock for _, lock in domains):
        reserved.close()
    with mock.patch.dict(os.environ, {"IOT_BRIDGE_AWS_ENDPOINT": "elsewhere", "NOTIFY_SOCKET": "/run/x", "LANG": "C"}):
        kept = stage.environment(7, "/logs")
        assert kept["ROS_DOMAIN_ID"] == "7" and kept["LANG"] == "C"
        assert not kept.keys() & {"IOT_BRIDGE_AWS_ENDPOINT", "NOTIFY_SOCKET"}


def main():
    assert summary.spread([3, 1, 2, None]) == (2, 1, 3) and summary.spread([]) is None

    # Medians of rounds, the share that was lost, and ratios.
    of = {name: {"rounds": [life(step(10.0))]} for name in ALL}
    of[BRIDGE] = {"rounds": [life(step(cost)) for cost in (29.0, 30.0, 35.0)]}
    of[PYTHON] = {"rounds": [life(step(360.0, lost=10))]}
    assert summary.floors(of, 100) == 20.0 and tables.over_floors(of, 100) == 1.5
    assert summary.ratio(of, 100, PYTHON) == 12.0 and summary.ratio(of, 1, PYTHON) is None
    assert summary.lost(of[PYTHON], 100) == 0.01 and summary.lost(of[BRIDGE], 100) == 0
    rows = dict((row[0], row[1]) for row in tables.costs(of, [100]))
    assert rows[BRIDGE] == "30.0 (29.0–35.0)" and rows[PYTHON] == "360, 1.0% lost", rows

    shares()
    losses(of)
    memories()
    rates()
    sleeps()
    late_arrivals()
    sections()
    stages()

    # What is lost, late or slower than asked for does not pass.
    assert keeps_up(step(1.0)) and not keeps_up(step(1.0, lost=1))
    assert not keeps_up(step(1.0) | {"behind_s": 1.5}) and not keeps_up(step(1.0) | {"seconds": 1.2})

    # Everything that a run may hold is told, also with a contestant missing.
    machine = dict.fromkeys(("processor", "cores", "virtual", "memory_gib", "system", "kernel", "ros", "rmw", "rustc"), "?")
    machine |= dict.fromkeys(("python", "mosquitto", "date", "commit"), "?") | {"load_before": 0.0}
    outage = dict.fromkeys(("silence_s", "backlog_s", "cpu_s", "pss_before_mib"), 1.0) | {"pss_mib": [20.0]}
    outage |= dict.fromkeys(("lost", "published", "duplicates", "disk_written_bytes", "outage_s", "rate"), 5)
    held = {"seconds": 10, "steps": [step(1.0) | {"cores": {"contestant": 0.5, "robot": 0.25, "broker": 0.125, "subscriber": 1.0}}]}
    figures = {
        "machine": machine, "times": {"rounds": 3}, "seconds": 60, "string": of,
        "ladder": {works.STRING: {BRIDGE: held | {"rate": 20_000}, RECEIVE: held | {"rate": 25_000}, RUST: {"rate": None, "seconds": 10}}},
        "sensors": {"Imu": {BRIDGE: life(step(30.0)), RECEIVE: life(step(10.0)), PUBLISH: life(step(10.0))}},
        "robot": {BRIDGE: life(step(30.0, rate=1))},
        "outage": {BRIDGE: outage, PYTHON: outage | {"silence_s": None, "backlog_s": None}, RUST: outage | {"outage_s": 2}},
        "quotas": {
            "two lines": {"rate": 99, "steps": [step(30.0) | {"passed": False}, step(30.0) | {"passed": True}]},
            "none held": {"rate": None, "steps": [step(30.0) | {"passed": True}, step(30.0) | {"passed": False}]},
        },
        "topics": {"10": {BRIDGE: {"all_subscribed_s": 0.3, "idle": life()["idle"], "step": step(30.0)}}},
    }  # fmt: skip
    figures = json.loads(json.dumps(figures))
    text = tables.render(figures)
    assert text.count("\n### ") == 11, text.count("\n### ")
    assert "| processor time a message at 100/s, µs | 30.0 | 360 | 10.0 | 10.0 | 10.0 | 12.0 |" in text
    assert "| two lines | 99 | 2.0 | 195 | $0.5000 |" in text and "| none held | – | – | – | – |" in text
    assert "| String, 200 B | 20,000 | – | 25,000 | – | 0.80 |" in text
    assert "| String, 200 B, iot-bridge | 0.50 | 0.25 | 0.12 | 1.00 | 1.88 |" in text, text
    # One that is silent for ever says so, and one that had another outage is not beside the others.
    assert "| silence after an outage of 5 s, s | 1.00 | never | – | – | – | – |" in text, text
    assert "| Python node, 5 s | 1.0 | 20.0 | never | – |" in text
    for section in tables.SECTIONS:
        tables.render({key: value for key, value in figures.items() if key != section})

    # The document keeps what is around the tables, however often they are written.
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "page.md"
        path.write_text(f"before\n\n{tables.BEGIN}\nold\n{tables.END}\n\nafter\n")
        for _ in range(2):
            tables.into_document("new", path)
        assert path.read_text() == f"before\n\n{tables.BEGIN}\n\nnew\n\n{tables.END}\n\nafter\n"
    assert tables.BEGIN in Path("docs/performance.md").read_text(), "docs/performance.md has no place for the tables"


if __name__ == "__main__":
    main()
