"""What topics cost on which nothing happens."""

import time

import works
from life import Life


def endure(stage, name, count, idle, rate, seconds):
    """A contestant with `count` topics of which one is published."""
    with Life(stage, name, works.quiet_topics(count)) as life:
        contestant = life.contestant
        matched = life.robot.ask("match", patience=180)
        ready = contestant.await_ready()
        contestant.start_anew(0)
        # Discovery of so many is not at rest before.
        time.sleep(min(10, 1 + count / 100))
        at_rest = life.idle(idle)
        return {
            "topics": count,
            "ready_s": ready,
            "all_subscribed_s": (matched - contestant.part.started_at) / 1e9,
            "idle": at_rest,
            "step": life.step(rate, seconds, samples=3),
        }
