"""The highest rate at which nothing is lost."""

from life import Life, keeps_up, rate_of

# Beyond this the robot and the broker are what is measured.
HIGHEST = 60_000
# How often a rate is tried for `confirm` seconds, each time a tenth lower.
ATTEMPTS = 8


def climb(stage, name, topics, start, *, probe, confirm, within=1.0, **how):
    """Goes up until something is lost, in steps of `probe` seconds; closes in on the rate; then goes down from there
    until a step of `confirm` seconds loses nothing and is over `within` seconds after the robot. Returns the rate that was
    published in that step, `None` if there was none, and each step."""
    with Life(stage, name, topics, **how) as life:
        life.begin()
        life.idle(0.3)

        def attempt(rate, seconds):
            step = life.step(rate, seconds)
            if not (passed := keeps_up(step, allowed(seconds, confirm, within))):
                # What is still on its way is not to come into the next step.
                life.settle(longest=120)
            return step | {"passed": passed}

        return search(attempt, start, probe=probe, confirm=confirm)


def allowed(seconds, confirm, within):
    """How far behind the robot a step of `seconds` may be. In a second whoever queues messages gets twice its highest rate through
    within another one, so a probe has to be nearer; a quarter of a second is what a busy machine may take."""
    return min(within, max(0.25, within * seconds / confirm))


def search(attempt, start, *, probe, confirm):
    """The same with `attempt(rate, seconds)`, which makes a step."""
    steps = []

    def passes(rate, seconds):
        steps.append(attempt(rate, seconds))
        return steps[-1]["passed"]

    low, high = 0, start
    while high <= HIGHEST and passes(high, probe):
        low, high = high, round(high * 1.5)
    while not low and high > 1:
        half = high // 2
        low, high = (half, high) if passes(half, probe) else (0, half)
    for _ in range(3):
        middle = round((low * high) ** 0.5)
        if low < middle < high:
            low, high = (middle, high) if passes(middle, probe) else (low, middle)
    held, rate = None, low
    for _ in range(ATTEMPTS):
        if rate < 1:
            break
        if passes(rate, confirm):
            held = rate_of(steps[-1])
            break
        rate = min(rate - 1, round(rate * 0.9))
    return {"rate": held, "seconds": confirm, "steps": steps}
