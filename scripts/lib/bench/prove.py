"""Sees that the figures can come out wrong: a node with a fault has to show it, and one without must not."""

import works
from contestants import PYTHON
from life import Life

RATE, SECONDS = 100, 4
# Of each fault: the figure that it concerns, and what it is with the fault rather than without.
EXPECTED = {
    "loses": ("loss", lambda now, before: 0.008 < now < 0.012),
    "waits": ("p50, µs", lambda now, before: now > before + 1500),
    "burns": ("processor time a message, µs", lambda now, before: now > before + 900),
    "hoards": ("memory, MiB", lambda now, before: 18 < now - before < 25),
}


def run(stage):
    """The exit status."""
    if not stage.programs.get("awsiotsdk"):
        print("SKIPPED: the nodes with faults are Python nodes, and AWS's SDK is missing.")
        return 0
    sound, status = figures(stage, None), 0
    if sound["loss"]:
        print(f"This machine is too busy: a node without a fault loses {sound['loss']:.1%} of {RATE} messages a second.")
        return 1
    for fault, (figure, shows) in EXPECTED.items():
        now, before = figures(stage, fault)[figure], sound[figure]
        seen = shows(now, before)
        print(f"{'seen' if seen else 'NOT SEEN'}: a node that {fault}: {figure} {before:.4g} -> {now:.4g}", flush=True)
        status |= not seen
    return status


def figures(stage, fault):
    with Life(stage, PYTHON, works.SINGLE[works.STRING], fault=fault) as life:
        life.begin()
        life.idle(0.6)
        step = life.step(RATE, SECONDS, samples=3)
        return {
            "loss": step["lost"] / step["published"],
            "p50, µs": next(iter(step["latency_us"].values()))[0],
            "processor time a message, µs": step["cpu_us_per_message"],
            "memory, MiB": max(step["pss_mib"]),
        }
