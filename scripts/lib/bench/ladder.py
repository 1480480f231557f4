"""The highest rate at which nothing is lost."""

from life import Life, keeps_up

# Beyond this the robot and the broker are what is measured.
HIGHEST = 60_000


def climb(stage, name, topics, start, *, probe, confirm, tell, within=1.0, **how):
    """Goes up until something is lost, in steps of `probe` seconds; closes in on the rate; then goes down from there
    until a step of `confirm` seconds loses nothing and is over `within` seconds after the robot. Returns each step with its rate."""
    steps = []
    with Life(stage, name, topics, **how) as life:
        life.begin()
        life.idle(0.3)

        def passes(rate, seconds):
            step = life.step(rate, seconds)
            steps.append(step | {"passed": keeps_up(step, within)})
            tell(f"{rate}/s for {seconds} s: {'passed' if steps[-1]['passed'] else told_loss(step)}")
            if not steps[-1]["passed"]:
                life.settle()
            return steps[-1]["passed"]

        low, high = 0, start
        while high <= HIGHEST and passes(high, probe):
            low, high = high, round(high * 1.5)
        if not low:
            while high > 1 and not passes(high := high // 2, probe):
                pass
            low, high = high, high * 2
        for _ in range(3):
            middle = round((low * high) ** 0.5)
            low, high = (middle, high) if passes(middle, probe) else (low, middle)
        best = low
        while confirm and best > 1 and not passes(best, confirm):
            best = min(best - 1, round(best * 0.93))
    return {"rate": best, "seconds": confirm or probe, "steps": steps}


def told_loss(step):
    return f"{step['lost']} of {step['published']} lost, {step['behind_s']:.1f} s behind, robot {step['seconds']:.2f} s"
