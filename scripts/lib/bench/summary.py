"""From what was measured to the figures that people read: medians with their spread, and ratios."""

from statistics import median

from contestants import BRIDGE, PUBLISH, RECEIVE


def spread(values):
    """Median, lowest, highest; `None` of nothing."""
    values = [value for value in values if value is not None]
    return (median(values), min(values), max(values)) if values else None


def rounds(figures):
    """The rounds of a contestant's figures, of which there may be one alone."""
    return figures["rounds"] if "rounds" in figures else [figures]


def steps(figures, rate):
    return [step for turn in rounds(figures) for step in turn["steps"] if step["rate"] == rate]


def cost(figures, rate):
    """Microseconds of processor time a message, in each round. Of one that hardly gets any through there is none."""
    return [step["cpu_us_per_message"] for step in steps(figures, rate) if step["received"] > 10]


def lost(figures, rate):
    """The share of messages that did not arrive, over all rounds."""
    of = steps(figures, rate)
    published = sum(step["published"] for step in of)
    return sum(step["lost"] for step in of) / published if published else 0.0


def latency(figures, rate, at):
    """Milliseconds; `at` is 0 for p50, 1 for p99, 2 for p99.9, 3 for the longest. Of several topics: the median of theirs."""
    each = [step["latency_us"].values() for step in steps(figures, rate)]
    return [median(topic[at] for topic in topics) / 1000 for topics in each if topics]


def floors(of, rate):
    """Microseconds that receiving and publishing take, which a bridge does both of; `None` if one was not measured."""
    both = [spread(cost(of[name], rate)) for name in (RECEIVE, PUBLISH) if name in of]
    return sum(floor[0] for floor in both) if len(both) == 2 and all(both) else None


def ratio(of, rate, name):
    """How many times the bridge's processor time a message another one takes."""
    mine, other = (spread(cost(of[who], rate)) if who in of else None for who in (BRIDGE, name))
    return other[0] / mine[0] if mine and other and mine[0] else None
