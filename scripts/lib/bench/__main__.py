"""Measures iot-bridge beside what people would use instead, in one run. `scripts/bench` builds the programs and calls this.

    python3 scripts/lib/bench --programs PROGRAMS.json --out DIRECTORY [--quick] [--only SECTION,…] [--docs]
"""

import argparse
import json
import re
import signal
import sys
import time
from pathlib import Path

import ladder
import machine
import many
import outage
import prove
import summary
import tables
import works
from contestants import ALL, BRIDGE, PYTHON, PYTHON_LOG, RECEIVE, RUST
from life import Life
from stage import Stage
from times import OF_SENSORS, ORDINARY_RATES, QUICK, QUOTAS, SECTIONS, WHOLE, WORK_RATES, is_measured, seconds

# Where each begins to climb.
CLIMB_FROM = {BRIDGE: 4000, RECEIVE: 4000, RUST: 1000, PYTHON: 250}


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
                step = life.step(rate, seconds, samples=3 if rate == memory_at else 0)
                if not step["settled"]:
                    raise TimeoutError(f"at {rate} a second messages still come half a minute after the last")
                figures["steps"].append(step)
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
        times, work = self.times, works.STRING
        for name in self.with_(times["ladder"]):
            how = {"probe": times["probe"], "confirm": times["confirm"]}
            measurement = lambda: ladder.climb(self.stage, name, works.SINGLE[work], CLIMB_FROM[name], **how)
            self.measure(f"{name}, ladder of {work}", "ladder", work, name, measurement=measurement)
            if found := self.figures.get("ladder", {}).get(work, {}).get(name):
                self.tell(f"ladder, {work}, {name}: {told_rate(found)} without loss")

    def quotas(self):
        """The highest rate that AWS IoT Core's quotas let through, and what a message costs then."""
        topics = works.SINGLE[works.STRING]
        for case, (lines, start) in QUOTAS.items() if self.times["quotas"] else ():
            how = {"probe": 2, "confirm": self.times["quotas"], "within": 0.3, "configuration": as_text(lines)}
            measurement = lambda: ladder.climb(self.stage, BRIDGE, topics, start, **how)
            self.measure(f"quotas, {case}", "quotas", case, measurement=measurement)
            if found := self.figures.get("quotas", {}).get(case):
                self.tell(f"through AWS's quotas, {case}: {told_rate(found)}")

    def sensors(self):
        """Cost and latency of other messages."""
        for work in self.times["sensors"]:
            rates = dict.fromkeys(WORK_RATES.get(work, ORDINARY_RATES), self.times["sensors_step"])
            for name in self.with_(OF_SENSORS):
                def measurement():
                    figures = self.live(name, works.SINGLE[work], rates, idle=1)
                    self.tell(f"{work}, {name}: {told_steps(figures['steps'])}")
                    return figures

                self.measure(f"{name}, {work}", "sensors", work, name, measurement=measurement)

    def robot(self):
        """The ordinary robot, at its own rates."""
        plain, all_topics = works.robot(), works.robot() + works.cameras()
        cases = {name: (name, plain, self.times["robot_step"], False) for name in self.with_(self.times["robot"])}
        for name in self.with_(self.times["cameras"]):
            cases[f"{name}, cameras too"] = (name, all_topics, self.times["robot_step"], False)
        if self.times["recipes"]:
            # Its batches wait for half a minute, and what they cost is to be in it.
            cases["iot-bridge, as in the recipes"] = (BRIDGE, plain, self.times["recipes"], True)
        for case, (name, topics, seconds, is_recipe) in cases.items():
            def measurement():
                how = {"configuration": of_the_recipes()} if is_recipe else {}
                figures = self.live(name, topics, {1: seconds}, idle=1, **how)
                self.tell(f"robot, {case}: {summary.share_of_a_core(figures['steps'][0]):.1%} of a core")
                return figures

            self.measure(f"the robot, {case}", "robot", case, measurement=measurement)

    def outage(self):
        """What an outage costs."""
        cases = {name: (name, self.times["outage_s"]) for name in self.with_(self.times["outage"])}
        cases |= {f"{name}, longer": (name, self.times["long_outage_s"]) for name in self.with_(self.times["long_outage"])}
        for case, (name, seconds) in cases.items():
            def measurement():
                topics = works.SINGLE[works.STRING]
                tell = lambda text: self.tell(f"outage of {seconds} s, {name}: {text}")
                return outage.endure(self.stage, name, topics, 500, seconds, self.times["after"], tell)

            self.measure(f"{case}, outage", "outage", case, measurement=measurement)

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


def as_text(lines):
    return f'[[topics]]\nros = "/text"\nmqtt = "iot-bridge{{ros}}"\n{lines}\n'


def of_the_recipes():
    """The configuration of the whole robot in docs/recipes.md, for the MQTT topics that are counted here."""
    page = Path("docs/recipes.md").read_text()
    lines = re.search(r"^## The whole robot$.*?^```toml$(.*?)^```$", page, re.M | re.S)[1]
    return re.sub(r"^(ros +=.*)$", r'\1\nmqtt = "iot-bridge{ros}"', lines, flags=re.M)


def told_rate(found):
    return f"{found['rate']}/s" if found["rate"] is not None else "no rate"


def told_steps(steps):
    tell = lambda step: f"{step['rate']}/s {step['cpu_us_per_message']:.0f} µs" + (f" ({step['lost']} lost)" if step["lost"] else "")
    return ", ".join(map(tell, steps))


def wanted(only, times):
    """The sections to measure: those named, or all that `times` has something of."""
    if unknown := set(only or ()) - set(SECTIONS):
        raise ValueError(f"there is no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    measured = [section for section in SECTIONS if is_measured(section, times)]
    if nothing := [section for section in only or () if section not in measured]:
        raise ValueError(f"--quick measures nothing of {', '.join(nothing)}, but of {', '.join(measured)}; leave --quick away")
    return only or measured


def absent(contestants):
    return [name for name in ALL if name not in contestants]


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench")
    parser.add_argument("--programs", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--docs", action="store_true")
    parser.add_argument("--prove", action="store_true")
    parser.add_argument("--only", action="extend", type=lambda text: text.split(","), help="sections of: " + ", ".join(SECTIONS))
    options = parser.parse_args()
    times = QUICK if options.quick else WHOLE
    try:
        sections = wanted(options.only, times)
    except ValueError as error:
        parser.error(str(error))
    # A signal that ends it must not leave a broker and a robot behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    programs = json.loads(options.programs.read_text())
    contestants = [name for name in ALL if programs.get("awsiotsdk") or not name.startswith("Python")]
    logs = options.out / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    for log in logs.iterdir():
        log.unlink()
    if missing := absent(contestants):
        print(f"Not there: {', '.join(missing)}, for want of AWS's SDK for Python.", file=sys.stderr)
    with Stage(programs, options.out, logs) as stage:
        if options.prove:
            sys.exit(prove.run(stage))
        run = Run(stage, times, contestants, options.out)
        run.tell(f"This takes about {seconds(sections, times) / 60:.0f} minutes on a quiet machine.")
        if options.docs:
            # Tables without one of them are no tables for the page.
            run.failed += absent(contestants)
        for section in sections:
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
