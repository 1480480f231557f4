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


# Messages that p50, p99, p99.9 and the longest are of at least: of fewer a p99 is the slowest message.
ENOUGH = (1, 100, 1000, 1)


def latency(figures, rate, at):
    """Milliseconds in each round; `at` is 0 for p50, 1 for p99, 2 for p99.9, 3 for the longest. Of several topics: the median of
    theirs. A topic on which too few messages arrived in a round has none."""
    enough = lambda step, topic: step["arrived"].get(topic, 0) >= ENOUGH[at]
    each = [[of[at] for topic, of in step["latency_us"].items() if enough(step, topic)] for step in steps(figures, rate)]
    return [median(topics) / 1000 for topics in each if topics]


def memory(figures):
    """MiB of PSS while messages come, the highest sample of each round."""
    sampled = [[value for step in turn["steps"] for value in step["pss_mib"]] for turn in rounds(figures)]
    return [max(samples) for samples in sampled if samples]


def share_of_a_core(step):
    """What it takes of one core while messages come. It is measured until the last has arrived, or none has for a while: of that
    time only what the messages take counts, so that who loses messages, and is waited for, does not seem cheaper or dearer."""
    waited = max(0.0, step["elapsed_s"] - step["seconds"])
    return max(0.0, step["cpu_s"] - step["idle_cpu_s_per_s"] * waited) / step["seconds"]


def floors(of, rate):
    """Microseconds that receiving and publishing take, which a bridge does both of; `None` if one was not measured."""
    both = [spread(cost(of[name], rate)) for name in (RECEIVE, PUBLISH) if name in of]
    return sum(floor[0] for floor in both) if len(both) == 2 and all(both) else None


def ratio(of, rate, name):
    """How many times the bridge's processor time a message another one takes."""
    mine, other = (spread(cost(of[who], rate)) if who in of else None for who in (BRIDGE, name))
    return other[0] / mine[0] if mine and other and mine[0] else None
