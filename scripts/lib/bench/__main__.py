"""Measures iot-bridge beside what people would use instead, in one run. `scripts/bench` builds the programs and calls this.

    python3 scripts/lib/bench --programs PROGRAMS.json --out DIRECTORY [--quick] [--only SECTION,…] [--docs]
"""

import argparse
import json
import re
import sys
import time
from pathlib import Path

import ladder
import machine
import many
import outage
import prove
import tables
import works
from contestants import ALL, BRIDGE, PUBLISH, PYTHON, PYTHON_LOG, RECEIVE, RUST
from life import Life
from stage import Stage

SECTIONS = ["string", "ladder", "sensors", "robot", "outage", "quotas", "topics"]

SENSORS = list(works.SINGLE)[1:]
# Who and for how many seconds: the whole of it a good quarter of an hour, the quick one three minutes.
WHOLE = {
    "rounds": 3, "idle": 2, "step": {10: 4, 100: 3, 1000: 3, 5000: 2},
    "ladder": [BRIDGE, PYTHON, RUST, RECEIVE], "ladder_of_sensors": [BRIDGE, PYTHON, RECEIVE], "probe": 1, "confirm": 20,
    "sensors": [BRIDGE, PYTHON, RUST, RECEIVE, PUBLISH], "sensors_step": 2,
    "robot": [BRIDGE, PYTHON, RUST, RECEIVE, PUBLISH], "cameras": [BRIDGE, PYTHON], "robot_step": 6,
    "outage": {BRIDGE: 60, PYTHON: 60, RUST: 20}, "after": 10,
    "quotas": 20, "topics": [10, 100, 1000], "topics_step": 4,
}  # fmt: skip
QUICK = {
    "rounds": 1, "idle": 1.5, "step": {10: 2, 100: 2, 1000: 2, 5000: 1.5},
    "ladder": [BRIDGE, PYTHON, RECEIVE], "ladder_of_sensors": [], "probe": 1, "confirm": 3,
    "sensors": [], "sensors_step": 1,
    "robot": [BRIDGE, PYTHON], "cameras": [], "robot_step": 4,
    "outage": {BRIDGE: 6, PYTHON: 6}, "after": 5,
    "quotas": 0, "topics": [], "topics_step": 1,
}  # fmt: skip
# Messages a second at which the other works are measured: what sensors do, and more.
WORK_RATES = {"LaserScan, 1080 beams": (10, 100), "PointCloud2, 64 KiB": (10, 50)}
# Where each begins to climb.
CLIMB_FROM = {BRIDGE: 2000, RECEIVE: 2000, RUST: 1000, PYTHON: 250, PYTHON_LOG: 250}


class Run:
    def __init__(self, stage, times, contestants, out):
        self.stage, self.times, self.contestants, self.out = stage, times, contestants, out
        self.figures = {"machine": machine.describe(), "times": {**times, "step": {str(k): v for k, v in times["step"].items()}}}
        self.begin, self.stolen = time.monotonic(), machine.steal()
        self.failed = []

    def tell(self, text):
        print(f"[{time.monotonic() - self.begin:4.0f} s] {text}", flush=True)

    def measure(self, what, *where, measurement):
        """Does one measurement and keeps its figures; one that fails is told, and the others go on."""
        try:
            figures = measurement()
        except Exception as error:
            # Whatever it is, hours of somebody's quiet machine are not lost with it.
            self.tell(f"{what}: not measured: {type(error).__name__}: {error}")
            self.failed.append(what)
            for part in self.stage.parts[1:]:
                part.end()
            del self.stage.parts[1:]
            return
        at = self.figures
        for name in where[:-1]:
            at = at.setdefault(name, {})
        if isinstance(where[-1], str):
            at[where[-1]] = figures
        else:
            at.setdefault("rounds", []).append(figures)
        self.save()

    def save(self):
        now = machine.steal()
        self.figures["stolen"] = (now[0] - self.stolen[0]) / max(1e-9, now[1] - self.stolen[1])
        self.figures["seconds"] = time.monotonic() - self.begin
        self.figures["failed"] = self.failed
        (self.out / "figures.json").write_text(json.dumps(self.figures, indent=1))

    def with_(self, names):
        return [name for name in names if name in self.contestants]

    def live(self, name, topics, rates, *, idle, memory_at=None, **how):
        """A whole life: start, idleness, a step for each rate."""
        with Life(self.stage, name, topics, **how) as life:
            figures = {"start": life.begin(min(100, max(rates))), "idle": life.idle(idle), "steps": []}
            for rate, seconds in rates.items():
                figures["steps"].append(life.step(rate, seconds, samples=3 if rate == memory_at else 0))
            return figures

    def string(self):
        """Start, idleness, cost and latency: Strings at four rates, all contestants in turns."""
        for turn in range(self.times["rounds"]):
            for name in self.contestants:
                # What it takes beside the one without logging is plain enough.
                if name == PYTHON_LOG and turn:
                    continue

                def measurement():
                    topics = works.SINGLE[works.STRING]
                    figures = self.live(name, topics, self.times["step"], idle=self.times["idle"], memory_at=1000)
                    self.tell(f"round {turn + 1}, {name}: {told_steps(figures['steps'])}")
                    return figures

                self.measure(f"{name}, Strings", "string", name, turn, measurement=measurement)

    def ladder(self):
        """The highest rate without loss."""
        times = self.times
        for work, topics in works.SINGLE.items():
            # The long confirmation is for Strings, which are the table's first row.
            confirm, names = (times["confirm"], times["ladder"]) if work == works.STRING else (3, times["ladder_of_sensors"])
            for name in self.with_(names):
                start = CLIMB_FROM[name]
                start = start if work == works.STRING else max(10, start // (20 if work in WORK_RATES else 2))

                def measurement():
                    # What is below the last attempts is of no interest to whoever watches.
                    return ladder.climb(
                        self.stage, name, topics, start, probe=times["probe"], confirm=confirm, tell=lambda _: None
                    )

                self.measure(f"{name}, ladder of {work}", "ladder", work, name, measurement=measurement)
                if found := self.figures.get("ladder", {}).get(work, {}).get(name):
                    self.tell(f"ladder, {work}, {name}: {found['rate']}/s without loss")

    def quotas(self):
        """The highest rate that AWS IoT Core's quotas let through, and what a message costs then."""
        topics = works.SINGLE[works.STRING]
        for case, lines in QUOTAS.items():
            if not self.times["quotas"]:
                continue

            def measurement():
                how = {"probe": 3, "confirm": self.times["quotas"], "within": 0.3, "configuration": as_text(lines)}
                return ladder.climb(self.stage, BRIDGE, topics, 60, tell=lambda _: None, **how)

            self.measure(f"quotas, {case}", "quotas", case, measurement=measurement)
            if found := self.figures.get("quotas", {}).get(case):
                self.tell(f"through AWS's quotas, {case}: {found['rate']}/s")

    def sensors(self):
        """Cost and latency of other messages."""
        for work in SENSORS:
            rates = dict.fromkeys(WORK_RATES.get(work, (100, 1000)), self.times["sensors_step"])
            for name in self.with_(self.times["sensors"]):
                def measurement():
                    figures = self.live(name, works.SINGLE[work], rates, idle=1)
                    self.tell(f"{work}, {name}: {told_steps(figures['steps'])}")
                    return figures

                self.measure(f"{name}, {work}", "sensors", work, name, measurement=measurement)

    def robot(self):
        """The ordinary robot, at its own rates."""
        plain, all_topics = works.robot(), works.robot() + works.cameras()
        # Its batches wait for half a minute, and what they cost is to be in it.
        recipe, patient = {"configuration": of_the_recipes()}, max(35, self.times["robot_step"])
        cases = {name: (name, plain, self.times["robot_step"], {}) for name in self.with_(self.times["robot"])}
        for name in self.with_(self.times["cameras"]):
            cases[f"{name}, cameras too"] = (name, all_topics, self.times["robot_step"], {})
        if self.times["cameras"]:
            cases["iot-bridge, as in the recipes"] = (BRIDGE, plain, patient, recipe)
            cases["iot-bridge, as in the recipes, cameras too"] = (BRIDGE, all_topics, patient, recipe)
        for case, (name, topics, seconds, how) in cases.items():
            def measurement():
                figures = self.live(name, topics, {1: seconds}, idle=1, **how)
                self.tell(f"robot, {case}: {tables.share_of_a_core(figures['steps'][0]):.1%} of a core")
                return figures

            self.measure(f"the robot, {case}", "robot", case, measurement=measurement)

    def outage(self):
        """What an outage costs."""
        for name in self.with_(self.times["outage"]):
            def measurement():
                topics, seconds = works.SINGLE[works.STRING], self.times["outage"][name]
                tell = lambda text: self.tell(f"outage of {seconds} s, {name}: {text}")
                return outage.endure(self.stage, name, topics, 500, seconds, self.times["after"], tell)

            self.measure(f"{name}, outage", "outage", name, measurement=measurement)

    def topics(self):
        """Topics on which nothing happens."""
        for count in self.times["topics"]:
            for name in (BRIDGE, RECEIVE):
                def measurement():
                    figures = many.endure(self.stage, name, count, self.times["idle"], 200, self.times["topics_step"])
                    self.tell(
                        f"{count} topics, {name}: {figures['idle']['wakeups_per_s']:.0f} wake-ups a second of silence, "
                        f"{figures['step']['cpu_us_per_message']:.0f} µs a message"
                    )
                    return figures

                self.measure(f"{name}, {count} topics", "topics", str(count), name, measurement=measurement)


# Lines beside `ros` and `mqtt`, with AWS IoT Core's quotas.
QUOTAS = {
    "two lines": "",
    "`batch = { max = 100 }`": "batch = { max = 100 }",
    "`batch = { max = 1000 }`, zstd": 'batch = { max = 1000 }\ncompression = "zstd"',
}


def as_text(lines):
    return f'[[topics]]\nros = "/text"\nmqtt = "iot-bridge{{ros}}"\n{lines}\n'


def of_the_recipes():
    """The configuration of the whole robot in docs/recipes.md, for the MQTT topics that are counted here."""
    page = Path("docs/recipes.md").read_text()
    lines = re.search(r"^## The whole robot$.*?^```toml$(.*?)^```$", page, re.M | re.S)[1]
    return re.sub(r"^(ros +=.*)$", r'\1\nmqtt = "iot-bridge{ros}"', lines, flags=re.M)


def told_steps(steps):
    tell = lambda step: f"{step['rate']}/s {step['cpu_us_per_message']:.0f} µs" + (f" ({step['lost']} lost)" if step["lost"] else "")
    return ", ".join(map(tell, steps))


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench")
    parser.add_argument("--programs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--docs", action="store_true")
    parser.add_argument("--prove", action="store_true")
    parser.add_argument("--only", type=lambda text: text.split(","), default=SECTIONS)
    options = parser.parse_args()
    if unknown := set(options.only) - set(SECTIONS):
        parser.error(f"there is no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    programs = json.loads(options.programs.read_text())
    contestants = [name for name in ALL if programs.get("awsiotsdk") or not name.startswith("Python")]
    logs = options.out / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    for log in logs.iterdir():
        log.unlink()
    with Stage(programs, options.out, logs) as stage:
        if options.prove:
            sys.exit(prove.run(stage))
        run = Run(stage, QUICK if options.quick else WHOLE, contestants, options.out)
        for section in options.only:
            getattr(run, section)()
        run.save()
    text = tables.render(run.figures)
    print(f"\n{text}")
    if options.docs and not run.failed:
        tables.into_document(text, Path("docs/performance.md"))
    if run.failed:
        print(f"\nNot measured: {', '.join(run.failed)}. What the processes said is in {logs}.", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
