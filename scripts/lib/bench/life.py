"""The life of a contestant: its start, its idleness, and what it does at one rate after the other."""

import math
import time

import meter
from contestants import RECEIVE, Contestant

# What has not arrived so long after the last that did is lost.
GIVEN_UP = 1.0


class Life:
    """A robot that publishes `topics` and a contestant that forwards them."""

    def __init__(self, stage, name, topics, **how):
        self.stage = stage
        self.robot = None if name == "publish-only" else stage.start_robot(topics)
        self.contestant = Contestant(stage, name, topics, **how)
        self.source = self.robot or self.contestant.part
        self.first = 0  # the number that comes next

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.contestant.end()
        if self.robot:
            self.robot.end()
            self.stage.parts.remove(self.robot)

    def begin(self, rate=100):
        """Seconds from the contestant's start to its being ready, and to the arrival of the first message; the robot has
        published at `rate` all the time."""
        contestant, spawned = self.contestant, self.contestant.part.started_at
        if contestant.name != RECEIVE:
            contestant.start_anew(0)
        if self.robot:
            self.robot.tell("publish", rate=rate, seconds=60)
        ready = contestant.await_ready()
        if not self.robot:
            self.source.tell("publish", rate=rate, seconds=60)
        deadline = time.monotonic() + 50
        while not (arrived := contestant.arrived()) or not any(figures["received"] for figures in arrived.values()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing of {contestant.name} arrives")
            time.sleep(0.02)
        at = min((figures["first_at"] for figures in arrived.values() if "first_at" in figures), default=time.monotonic_ns())
        self.source.tell("stop")
        self.note(self.source.next()[1])
        self.settle()
        return {"ready_s": ready, "first_message_s": (at - spawned) / 1e9}

    def note(self, published):
        self.first = published["first"] + max(published["counts"])
        return published

    def idle(self, seconds):
        """What it takes while nothing comes."""
        pid = self.contestant.pid
        cpu, sleeps, start = meter.cpu(pid), meter.sleeps(pid), time.monotonic()
        samples = []
        for _ in range(3):
            time.sleep(seconds / 3)
            samples.append(meter.memory(pid))
        elapsed = time.monotonic() - start
        self.idle_cpu = (meter.cpu(pid) - cpu) / elapsed
        return {
            "cpu_s_per_s": self.idle_cpu,
            "wakeups_per_s": meter.slept(sleeps, meter.sleeps(pid)) / elapsed,
            "pss_mib": samples,
            "threads": meter.threads(pid),
        }

    def cpu_of_all(self):
        """Seconds of processor time so far, of each process that a message passes."""
        pids = {"contestant": self.contestant.pid, "broker": self.stage.mosquitto.pid, "subscriber": self.stage.cloud.pid}
        if self.robot:
            pids["robot"] = self.robot.pid
        return {who: meter.cpu(pid) for who, pid in pids.items()}

    def received(self):
        return sum(figures["received"] for figures in self.contestant.arrived().values())

    def settle(self, wanted=None, longest=30, patience=GIVEN_UP):
        """Waits until `wanted` messages have arrived, or none has for `patience` seconds. Returns `False` if messages still
        arrive after `longest` seconds: those that have not come are late and not lost."""
        end, last, changed = time.monotonic() + longest, -1, time.monotonic()
        while time.monotonic() < end:
            now = self.received()
            if now != last:
                last, changed = now, time.monotonic()
            if now == wanted or time.monotonic() - changed > patience:
                return True
            time.sleep(0.02)
        return False

    def step(self, rate, seconds, samples=0):
        """What becomes of messages at `rate` for each topic's share, for `seconds`."""
        contestant, pid = self.contestant, self.contestant.pid
        contestant.start_anew(self.first)
        wire = meter.wire(contestant.broker["port"])
        cpu, sleeps, start = meter.cpu(pid), meter.sleeps(pid), time.monotonic()
        before = self.cpu_of_all()
        self.source.tell("publish", rate=rate, seconds=seconds)
        memory = []
        for _ in range(samples):
            time.sleep(0.9 * seconds / samples)
            memory.append(meter.memory(pid))
        published = self.note(self.source.next(seconds + 60)[1])
        total, ended = sum(published["counts"]), time.monotonic()
        cores = {who: (used - before[who]) / (ended - start) for who, used in self.cpu_of_all().items()}
        settled = self.settle(total)
        behind = time.monotonic() - ended
        cpu, elapsed = meter.cpu(pid) - cpu, time.monotonic() - start
        sleeps = meter.slept(sleeps, meter.sleeps(pid))
        wire = [after - before for before, after in zip(wire, meter.wire(contestant.broker["port"]))]
        figures = contestant.arrived(latency=True)
        received = sum(of["received"] for of in figures.values())
        counts = zip((topic["ros"] for topic in contestant.topics), published["counts"])
        return {
            "rate": rate,
            "asked_s": seconds,
            "seconds": published["seconds"],
            "published": total,
            "received": received,
            "lost": total - received,
            # `False`: messages still arrived when the figures were taken, and what is lost is not known.
            "settled": settled,
            # By topic, which a receiver does not tell. What has arrived is what latencies are of.
            "arrived": {ros: of["received"] for ros, of in figures.items()},
            "missing": {ros: count - figures.get(ros, {}).get("received", 0) for ros, count in counts},
            "duplicates": sum(of.get("duplicates", 0) for of in figures.values()),
            "publishes": sum(of.get("publishes", 0) for of in figures.values()),
            "metered": sum(of.get("metered", 0) for of in figures.values()),
            "payload_bytes": sum(of.get("bytes", 0) for of in figures.values()),
            # Until the last arrived, or nothing did for a while.
            "behind_s": behind,
            "cpu_s": cpu,
            "elapsed_s": elapsed,
            # What each process took of a processor while messages were published.
            "cores": cores,
            "idle_cpu_s_per_s": self.idle_cpu,
            # What it would have taken without a message is not the messages'.
            "cpu_us_per_message": max(0.0, cpu - self.idle_cpu * elapsed) * 1e6 / max(1, received),
            "wakeups_per_message": sleeps / max(1, received),
            "wire": dict(zip(("bytes_up", "bytes_down", "packets"), wire)),
            "pss_mib": memory,
            "latency_us": {topic: of["latency_us"] for topic, of in figures.items() if of.get("latency_us")},
        }


def keeps_up(step, within=1.0):
    """Whether everything arrived, so many seconds after the robot's last message at most, and the robot kept its rate."""
    return step["lost"] == 0 and step["behind_s"] < within and step["seconds"] < 1.02 * step["asked_s"] + 0.05


def rate_of(step):
    """Messages a second that were published, which may be fewer than were asked for."""
    return math.floor(step["published"] / max(step["seconds"], step["asked_s"]))
