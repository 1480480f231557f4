#!/usr/bin/env python3
"""Checks what becomes of figures, without measuring any: medians, ratios, losses, the document. `scripts/test` runs it."""

import json
import tempfile
from pathlib import Path

import summary
import tables
import works
from contestants import ALL, BRIDGE, PUBLISH, PYTHON, RECEIVE
from life import keeps_up


def step(cost, lost=0, rate=100):
    return {
        "rate": rate, "asked_s": 1, "seconds": 1.0, "published": 1000, "received": 1000 - lost, "lost": lost, "missing": {"/text": lost}, "duplicates": 0,
        "payload_bytes": 200_000, "publishes": 500, "metered": 500, "behind_s": 0.1, "cpu_s": 0.1, "elapsed_s": 2.0, "cpu_us_per_message": cost,
        "wire": {"bytes_up": 300_000, "bytes_down": 30_000, "packets": 2000}, "pss_mib": [20.0],
        "latency_us": {"/text": [300, 900, 1500, 2000]},
    }  # fmt: skip


def life(*steps):
    idle = {"cpu_s_per_s": 0.001, "wakeups_per_s": 30.0, "pss_mib": [19.0], "threads": 9}
    return {"start": {"ready_s": 0.2, "first_message_s": 0.4}, "idle": idle, "steps": list(steps)}


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

    # What is lost, late or slower than asked for does not pass.
    assert keeps_up(step(1.0)) and not keeps_up(step(1.0, lost=1))
    assert not keeps_up(step(1.0) | {"behind_s": 1.5}) and not keeps_up(step(1.0) | {"seconds": 1.2})

    # Everything that a run may hold is told, also with a contestant missing.
    machine = dict.fromkeys(("processor", "cores", "virtual", "memory_gib", "system", "kernel", "ros", "rmw", "rustc"), "?")
    machine |= dict.fromkeys(("python", "mosquitto", "date", "commit"), "?") | {"load_before": 0.0}
    outage = dict.fromkeys(("silence_s", "backlog_s", "cpu_s", "pss_before_mib"), 1.0) | {"pss_mib": [20.0]}
    outage |= dict.fromkeys(("lost", "published", "duplicates", "disk_written_bytes", "outage_s", "rate"), 5)
    figures = {
        "machine": machine, "times": {"rounds": 3}, "seconds": 60, "string": of,
        "ladder": {works.STRING: {BRIDGE: {"rate": 20_000, "seconds": 20}, RECEIVE: {"rate": 25_000, "seconds": 20}}},
        "sensors": {"Imu": {BRIDGE: life(step(30.0)), RECEIVE: life(step(10.0)), PUBLISH: life(step(10.0))}},
        "robot": {BRIDGE: life(step(30.0, rate=1))},
        "outage": {BRIDGE: outage, PYTHON: outage | {"silence_s": None, "backlog_s": None}},
        "quotas": {"two lines": {"rate": 100, "steps": [step(30.0) | {"passed": True}, step(30.0) | {"passed": False}]}},
        "topics": {"10": {BRIDGE: {"ready_s": 0.2, "all_subscribed_s": 0.3, "idle": life()["idle"], "step": step(30.0)}}},
    }  # fmt: skip
    figures = json.loads(json.dumps(figures))
    text = tables.render(figures)
    assert text.count("\n### ") == 11, text.count("\n### ")
    assert "| processor time a message at 100/s, µs | 30.0 | 360 | 10.0 | 10.0 | 10.0 | 12.0 |" in text
    assert "| two lines | 100 | 2.0 | 195 | $0.5000 |" in text
    assert "| String, 200 B | 20,000 | 25,000 | – | 0.80 |" in text
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
