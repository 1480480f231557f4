"""The tables of docs/performance.md, in Markdown."""

import re
from pathlib import Path

import summary
from contestants import ALL, BRIDGE, NODES, PUBLISH, PYTHON, RECEIVE, RUST
from summary import spread
from works import STRING

BEGIN, END = "<!-- scripts/bench writes what is between these two lines -->", "<!-- end of what scripts/bench writes -->"


# What did not come in the time that was measured.
NEVER = "never"


def number(value, digits=2):
    """Three significant digits, and no exponent."""
    if value is None:
        return "–"
    if value == NEVER:
        return value
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.{digits}f}"


def with_spread(values, digits=2):
    if not (found := spread(values)):
        return "–"
    middle, low, high = found
    if len(values) < 2:
        return number(middle, digits)
    return f"{number(middle, digits)} ({number(low, digits)}–{number(high, digits)})"


def table(head, rows):
    """The first column is text, the others are numbers."""
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def render(figures):
    parts = [described(figures), in_short(figures)]
    parts += [section(figures[key], figures) for key, section in SECTIONS.items() if figures.get(key)]
    return "\n\n".join(part for part in parts if part)


def described(figures):
    m, rounds = figures["machine"], figures["times"]["rounds"]
    stolen = figures.get("stolen", 0.0)
    return (
        f"Measured on {m['date']}, commit {m['commit']}, in one run of {figures['seconds'] / 60:.0f} minutes: {m['processor']}, "
        f"{m['cores']} cores ({m['virtual']}), {m['memory_gib']} GiB, {m['system']}, Linux {m['kernel']}; ROS 2 {m['ros']} with "
        f"{m['rmw']}, rustc {m['rustc']}, Python {m['python']}, Mosquitto {m['mosquitto']}. The load was {m['load_before']:.2f} "
        f"before, and {stolen:.1%} of the processors' time went to other virtual machines. Figures of Strings are medians of "
        f"{rounds} rounds with the lowest and the highest in brackets; others are of one."
    )


def in_short(figures):
    """What most people want to know, from all sections that were measured."""
    names, rows = (BRIDGE, PYTHON, RUST, RECEIVE, PUBLISH), []

    def row(label, value):
        values = {}
        for name in names:
            try:
                values[name] = value(name)
            except (KeyError, TypeError, ValueError):
                values[name] = None
        if values[BRIDGE] is not None:
            shown = [number(values[name]) for name in names]
            both = [value for value in (values[PYTHON], values[BRIDGE]) if value and value != NEVER]
            other = both[0] / both[1] if len(both) == 2 else None
            rows.append([label, *shown, number(other)])

    middle = lambda values: spread(values)[0]
    if string := figures.get("string"):
        for rate in (100, 1000):
            row(f"processor time a message at {rate:,}/s, µs", lambda name: middle(summary.cost(string[name], rate)))
        for rate, at, label in (10, 0, "p50"), (100, 0, "p50"), (1000, 1, "p99"):
            row(f"{label} at {rate:,}/s, ms", lambda name: middle(summary.latency(string[name], rate, at)))
        row("memory at 1,000/s, MiB", lambda name: middle(summary.memory(string[name])))
    if rates := figures.get("ladder", {}).get(STRING):
        row("highest rate without loss, a second", lambda name: rates[name]["rate"])
    if robot := figures.get("robot"):
        row("the ordinary robot, % of a core", lambda name: 100 * summary.share_of_a_core(robot[name]["steps"][0]))
    if outage := figures.get("outage"):
        # How long a node is silent depends on how long the outage lasts.
        seconds = outage[BRIDGE]["outage_s"] if BRIDGE in outage else None
        row(
            f"silence after an outage of {seconds} s, s",
            lambda name: silence(outage[name]) if outage[name]["outage_s"] == seconds else None,
        )
    head = ["String, 200 B", *names, "Python node ÷ iot-bridge"]
    return "### In short\n\n" + table(head, rows) if rows else ""


def silence(found):
    """Seconds after an outage; `NEVER` ended, if nothing came any more."""
    return NEVER if found["silence_s"] is None else found["silence_s"]


def costs(of, rates):
    """A row for each contestant: processor time a message at each rate, and what did not arrive."""
    rows = []
    for name in (name for name in ALL if name in of):
        row = [name]
        for rate in rates:
            share = summary.lost(of[name], rate)
            row.append(with_spread(summary.cost(of[name], rate), 1) + (f", {share:.1%} lost" if share else ""))
        rows.append(row)
    for label, value in (
        ("iot-bridge ÷ (receive-only + publish-only)", lambda rate: over_floors(of, rate)),
        ("Python node ÷ iot-bridge", lambda rate: summary.ratio(of, rate, PYTHON)),
        ("Rust node ÷ iot-bridge", lambda rate: summary.ratio(of, rate, RUST)),
    ):
        rows.append([label, *(number(value(rate)) for rate in rates)])
    return rows


def over_floors(of, rate):
    floors, mine = summary.floors(of, rate), spread(summary.cost(of[BRIDGE], rate)) if BRIDGE in of else None
    return mine[0] / floors if floors and mine else None


def string(of, figures):
    rates = [step["rate"] for step in summary.rounds(next(iter(of.values())))[0]["steps"]]
    text = "### Processor time a message\n\nString of 200 bytes, microseconds of processor time a message, less what the process takes without one:\n\n"
    text += table(["", *(f"{rate:,}/s" for rate in rates)], costs(of, rates))
    text += "\n\n![Processor time a message](performance/cost.svg)"
    slow = [rate for rate in rates if rate <= 1000]
    text += "\n\n### Latency\n\nFrom the publication on ROS to the arrival at a subscriber of the broker, in milliseconds:\n\n"
    columns = [(rate, at, label) for rate in slow for at, label in enumerate(("p50", "p99", "p99.9"))]
    rows = [
        [name, *(latencies(of[name], rate, at) for rate, at, _ in columns)]
        for name in ALL
        if name in of and summary.latency(of[name], slow[0], 0)
    ]
    text += table(["", *(f"{label} at {rate:,}/s" for rate, _, label in columns)], rows)
    first = summary.rounds(next(iter(of.values())))[0]["steps"]
    samples = ", ".join(f"{step['published']:,} at {step['rate']:,}/s" for step in first if step["rate"] in slow)
    text += f"\n\nMessages of each contestant in each round: {samples}. There is no p99 of fewer than {summary.ENOUGH[1]} messages that "
    text += f"arrived in a round, and no p99.9 of fewer than {summary.ENOUGH[2]:,}."
    text += "\n\n![Latency](performance/latency.svg)"
    text += "\n\n### Memory, start and idleness\n\nPSS in MiB, the highest sample of each round; seconds from the start of the process; per second of silence:\n\n"
    rows = []
    for name in (name for name in ALL if name in of):
        turns = summary.rounds(of[name])
        idle = lambda key: [turn["idle"][key] for turn in turns]
        rows.append([
            name,
            with_spread([max(turn["idle"]["pss_mib"]) for turn in turns], 1),
            with_spread(summary.memory(of[name]), 1),
            with_spread([turn["start"]["first_message_s"] for turn in turns]),
            with_spread(idle("wakeups_per_s"), 0),
            with_spread([seconds * 1000 for seconds in idle("cpu_s_per_s")], 2),
            round(spread(idle("threads"))[0]),
        ])  # fmt: skip
    head = ["", "idle", "at 1,000/s", "first message", "wake-ups", "processor time, ms", "threads"]
    text += table(head, rows)
    if BRIDGE in of:
        ready = number(spread([turn["start"]["ready_s"] for turn in summary.rounds(of[BRIDGE])])[0])
        text += f"\n\niot-bridge tells systemd that it is ready after {ready} s; it does not wait for a broker to say so, and the nodes do."
    return text + "\n\n" + on_the_wire(of, rates)


def latencies(figures, rate, at):
    """The latency of what arrived, and what did not."""
    share, text = summary.lost(figures, rate), with_spread(summary.latency(figures, rate, at))
    return f"{text}, {share:.1%} lost" if share and text != "–" else text


def on_the_wire(of, rates):
    rows = []
    for name in (name for name in (*NODES, PUBLISH) if name in of):
        row = [name]
        for rate in [rate for rate in rates if rate in (10, 1000)]:
            found = [step for step in summary.steps(of[name], rate) if step["received"]]
            each = lambda key: [step["wire"][key] / step["received"] for step in found]
            row += [with_spread(each("bytes_up"), 0), with_spread(each("bytes_down"), 0), with_spread(each("packets"))]
        row.append(with_spread([s["payload_bytes"] / s["received"] for s in summary.steps(of[name], 1000) if s["received"]], 0))
        rows.append(row)
    columns = [f"{what} at {rate:,}/s" for rate in rates if rate in (10, 1000) for what in ("bytes up", "bytes down", "packets")]
    text = "### On the wire\n\nA message: bytes within TCP to the broker and back, TLS included; packets in both directions, each of "
    return text + "which has 40 bytes of IP and TCP besides or more:\n\n" + table(["", *columns, "payload"], rows)


def ladder(of, figures):
    names = [name for name in (BRIDGE, PYTHON, RUST, RECEIVE) if any(name in found for found in of.values())]
    head = ["messages a second", *names, "iot-bridge ÷ Python node", "iot-bridge ÷ receive-only"]
    rows = []
    for work, found in of.items():
        rate = lambda name: found[name]["rate"] if name in found else None
        over = lambda name: rate(BRIDGE) / rate(name) if rate(BRIDGE) and rate(name) else None
        rows.append([work, *(f"{rate(name):,}" if rate(name) else "–" for name in names), number(over(PYTHON)), number(over(RECEIVE))])
    seconds = "; ".join(f"{work}: {next(iter(found.values()))['seconds']} s" for work, found in of.items() if found)
    text = "### Highest rate without loss\n\nThe highest rate of a ladder at which not one message was missing, and all had "
    text += f"arrived within a second of the last. It is the rate that the robot published, and was held for so long: {seconds}. "
    text += "Receive-only counts messages and does not look at their numbers.\n\n"
    text += table(head, rows) + "\n\n![Highest rate without loss](performance/ladder.svg)"
    held = [[f"{work}, {name}", *cores(found[name])] for work, found in of.items() for name in names if name in found and found[name]["rate"]]
    text += "\n\nWho has the processors at that rate, in processors (1.00 is one of them all the time):\n\n"
    return text + table(["", *SHARERS, "together"], held)


SHARERS = ("contestant", "robot", "broker", "subscriber")


def cores(found):
    """What each process took of the processors in the step that held, and all together."""
    shares = [found["steps"][-1]["cores"].get(who) for who in SHARERS]
    return [*(number(share) for share in shares), number(sum(share for share in shares if share))]


def sensors(of, figures):
    names = [name for name in (BRIDGE, PYTHON, RUST, RECEIVE, PUBLISH) if any(name in found for found in of.values())]
    text = "### Other messages\n\nMicroseconds of processor time a message, and p50 and p99 of the latency in milliseconds (no p99 of fewer "
    text += f"than {summary.ENOUGH[1]} messages):\n\n"
    rows = []
    for work, found in of.items():
        for rate in [step["rate"] for step in summary.rounds(next(iter(found.values())))[0]["steps"]]:
            row = [f"{work}, {rate:,}/s"]
            for name in names:
                if name not in found:
                    row.append("–")
                    continue
                share = summary.lost(found[name], rate)
                text_of = number((spread(summary.cost(found[name], rate)) or [None])[0], 1)
                p50, p99 = (spread(summary.latency(found[name], rate, at)) for at in (0, 1))
                text_of += f"; {number(p50[0])}, {number(p99[0] if p99 else None)}" if p50 and name not in (RECEIVE, PUBLISH) else ""
                row.append(text_of + (f"; {share:.0%} lost" if share else ""))
            rows.append([*row, number(over_floors(found, rate)), number(summary.ratio(found, rate, PYTHON))])
    head = ["", *names, "iot-bridge ÷ (receive-only + publish-only)", "Python node ÷ iot-bridge"]
    return text + table(head, rows)


def robot(of, figures):
    rows = []
    for case, found in of.items():
        step = found["steps"][0]
        p99 = spread(summary.latency(found, step["rate"], 1))
        fitting = step["lost"] - (step["missing"].get("/image", 0) if RECEIVE not in case else 0)
        counted = "–" if "recipes" in case else f"{fitting:,}"
        up = step["wire"]["bytes_up"] / step["seconds"] / 1024
        rows.append([
            case, f"{summary.share_of_a_core(step):.1%}", number(p99[0] if p99 else None), counted, number(up, 1),
            number(max(found["idle"]["pss_mib"]), 1),
        ])  # fmt: skip
    text = "### An ordinary robot\n\nIMU at 100 Hz, odometry and joints 50 Hz, commands 20 Hz, camera info 15 Hz, scan 10 Hz, fix 5 Hz, battery "
    text += "and diagnostics 1 Hz; *cameras too*: with clouds of 64 KiB and images of 640×480 at 5 Hz, which are larger than "
    text += "AWS IoT Core takes: iot-bridge refuses images, the other nodes publish them to Mosquitto, and they do not count as lost. "
    text += "The Python node has DDS's defaults ([shared memory](#shared-memory-and-images)). "
    text += "*As in the recipes*: [the whole robot](recipes.md#the-whole-robot), with AWS's "
    text += "quotas, where what is held back is no loss. The p99 is the median of the topics' of which "
    text += f"{summary.ENOUGH[1]} messages or more arrived.\n\n"
    return text + table(["", "of one core", "p99, ms", "lost", "KiB/s to the broker", "PSS, MiB"], rows)


def outage(of, figures):
    rows = [
        [
            f"{name.removesuffix(', longer')}, {found['outage_s']} s", number(found["pss_before_mib"], 1), with_spread(found["pss_mib"], 1),
            number(silence(found)), number(found["backlog_s"]), f"{found['lost']:,} of {found['published']:,}",
            f"{found['duplicates']:,}", number(found["disk_written_bytes"] / 2**20, 1), f"{found['cpu_s'] / found['outage_s']:.1%}",
        ]
        for name, found in of.items()
    ]  # fmt: skip
    text = f"### An outage\n\nThe way to the broker is cut while {next(iter(of.values()))['rate']} Strings a second come. PSS in MiB before "
    text += "it and at its end; seconds from the return to the first message, and until the last arrived that was more than a second old:\n\n"
    head = ["", "before", "at the end", "silence", "backlog gone", "lost", "twice", "MiB to the disk", "of one core meanwhile"]
    return text + table(head, rows)


def quotas(of, figures):
    price = float(re.search(r"^price = ([\d.]+)", Path("crates/core/src/price/us-east-1.toml").read_text(), re.M)[1])
    rows = []
    for case, found in of.items():
        # The last step is the one that was held, if one was.
        step = found["steps"][-1]
        if found["rate"] is None:
            rows.append([case, "–", "–", "–", "–"])
            continue
        each = step["received"] / step["publishes"]
        rows.append([
            case, f"{found['rate']:,}", number(each, 1), number(step["payload_bytes"] / step["seconds"] / 1024, 1),
            f"${step['metered'] / step['received'] * price:.4f}",
        ])  # fmt: skip
    text = "### Through AWS IoT Core's quotas\n\n100 publishes and 512 KiB a second. The highest rate of Strings that iot-bridge gets through without "
    text += f"falling behind, and what a million of them costs at ${price:.2f} for a million steps of 5 KB:\n\n"
    return text + table(["", "messages a second", "messages a publish", "KiB/s of payload", "a million messages"], rows)


def topics(of, figures):
    rows = [
        [
            f"{int(count):,}, {name}", number(found["all_subscribed_s"]), number(found["idle"]["wakeups_per_s"], 0),
            number(found["idle"]["cpu_s_per_s"] * 1000), number(found["step"]["cpu_us_per_message"], 1), number(max(found["step"]["pss_mib"]), 1),
        ]
        for count, contestants in of.items()
        for name, found in contestants.items()
    ]  # fmt: skip
    text = "### Many topics\n\nOf so many topics one gets 200 Strings a second. Seconds from the start of the process until the last topic is "
    text += "subscribed; per second of silence wake-ups and milliseconds of processor time; microseconds a message; PSS in MiB:\n\n"
    return text + table(["topics", "all subscribed", "wake-ups", "processor time", "a message", "PSS"], rows)


SECTIONS = {"ladder": ladder, "string": string, "sensors": sensors, "robot": robot, "outage": outage}
SECTIONS |= {"quotas": quotas, "topics": topics}


def into_document(text, path):
    """Puts the tables where the last ones are."""
    document = path.read_text()
    before, rest = document.split(BEGIN)
    _, after = rest.split(END)
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
