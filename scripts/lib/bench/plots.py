"""The plots of docs/performance.md, as SVG:  plots.py FIGURES.json DIRECTORY"""

import json
import sys
from pathlib import Path

import matplotlib
import matplotlib.ticker

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

import summary  # noqa: E402
from contestants import ALL, BRIDGE, PYTHON, RECEIVE, RUST  # noqa: E402

# Told apart in grey and by those who do not see red and green alike, too: Okabe and Ito's colours, and marks.
COLOURS = dict(zip(ALL, ("#0072B2", "#D55E00", "#E69F00", "#009E73", "#999999", "#555555")))
MARKS = dict(zip(ALL, "osvD^x"))
STYLE = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "iot-bridge", "svg.fonttype": "none"}


def in_digits(axis):
    """Has a logarithmic axis say 1,000 rather than a power of ten."""
    axis.set_major_formatter(lambda value, _: f"{value:,g}")
    axis.set_minor_formatter(matplotlib.ticker.NullFormatter())


def save(figure, path):
    # Without a date the same figures make the same file.
    figure.savefig(path, format="svg", bbox_inches="tight", facecolor="white", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    print(f"  Wrote {path}")


def cost(of, path):
    """Processor time a message over the rate."""
    figure, axes = plt.subplots(figsize=(7, 4))
    for name in (name for name in ALL if name in of):
        rates = [step["rate"] for step in summary.rounds(of[name])[0]["steps"]]
        # One that loses messages does not have the rate that is asked for.
        found = [(rate, summary.spread(summary.cost(of[name], rate))) for rate in rates if summary.lost(of[name], rate) < 0.01]
        points = [(rate, *values) for rate, values in found if values]
        if not points:
            continue
        x, y, low, high = zip(*points)
        errors = [[a - b for a, b in zip(y, low)], [b - a for a, b in zip(y, high)]]
        dashed = "--" if name in ALL[4:] else "-"
        axes.errorbar(x, y, yerr=errors, label=name, color=COLOURS[name], marker=MARKS[name], linestyle=dashed, capsize=3)
    axes.set(xscale="log", yscale="log", xlabel="messages a second", ylabel="processor time a message, µs")
    axes.set_title("String of 200 bytes: processor time a message", loc="left")
    axes.grid(True, which="both", alpha=0.25)
    in_digits(axes.xaxis)
    in_digits(axes.yaxis)
    axes.legend(frameon=False)
    save(figure, path)


def latency(of, path):
    """p50 and p99 at each rate."""
    names = [name for name in ALL if name in of and summary.latency(of[name], 10, 0)]
    figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
    for panel, (at, label) in zip(panels, ((0, "p50"), (1, "p99"))):
        # A p99 of few messages is none.
        rates = [rate for rate in (10, 100, 1000) if any(summary.latency(of[name], rate, at) for name in names)]
        for place, name in enumerate(names):
            values = [(summary.spread(summary.latency(of[name], rate, at)) or (0,))[0] for rate in rates]
            x = [group + (place - len(names) / 2 + 0.5) * 0.14 for group in range(len(rates))]
            panel.bar(x, values, width=0.13, label=name, color=COLOURS[name])
        panel.set_xticks(range(len(rates)), [f"{rate:,}/s" for rate in rates])
        panel.set(yscale="log", title=label)
        panel.grid(True, axis="y", alpha=0.25)
        in_digits(panel.yaxis)
    panels[0].set_ylim(bottom=0.1)
    panels[0].set_ylabel("ms")
    panels[1].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    save(figure, path)


def ladder(of, path):
    """The highest rates, work by work."""
    names = [name for name in (BRIDGE, PYTHON, RUST, RECEIVE) if any(name in found for found in of.values())]
    figure, axes = plt.subplots(figsize=(7, 0.9 + 0.75 * len(of)))
    for place, name in enumerate(names):
        y = [group + (place - len(names) / 2 + 0.5) * 0.2 for group in range(len(of))]
        values = [(found[name]["rate"] if name in found else None) or 0 for found in of.values()]
        bars = axes.barh(y, values, height=0.18, label=name, color=COLOURS[name])
        axes.bar_label(bars, [f"{value:,}" if value else "" for value in values], padding=3, fontsize=8)
    axes.set_yticks(range(len(of)), of.keys())
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="messages a second without loss", xlim=(10, 100_000))
    in_digits(axes.xaxis)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    save(figure, path)


def main():
    figures, directory = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    with plt.rc_context(STYLE):
        for section, name, draw in (("string", "cost", cost), ("string", "latency", latency), ("ladder", "ladder", ladder)):
            if figures.get(section):
                draw(figures[section], directory / f"{name}.svg")
            else:
                print(f"  {name}: nothing was measured of it")


if __name__ == "__main__":
    main()
