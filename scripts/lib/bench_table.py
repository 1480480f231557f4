#!/usr/bin/env python3
"""Prints a table of docs/performance.md in Markdown, from what criterion has measured.

    bench_table.py codec CRITERION_DIRECTORY LOG
    bench_table.py encoder CRITERION_DIRECTORY LOG
    bench_table.py queue CRITERION_DIRECTORY
"""

import json
import re
import sys
from pathlib import Path
from statistics import median


def measured(directory):
    """{title: {function: (fastest, median)}} in nanoseconds a message, from criterion's own files.

    The fastest sample is the one that the machine's other work disturbed least.
    """
    results = {}
    for file in sorted(directory.glob("*/*/new/benchmark.json")):
        names = json.loads(file.read_text())
        samples = json.loads((file.parent / "sample.json").read_text())
        times = [time / count for time, count in zip(samples["times"], samples["iters"])]
        results.setdefault(names["group_id"], {})[names["function_id"]] = (min(times), median(times))
    return results


def microseconds(result):
    fastest, middle = (value / 1000 for value in result)
    return f"{fastest:.2f} µs ({middle:.2f})"


def codec(directory, log):
    results = measured(directory)
    text = Path(log).read_text()
    print("| message | CDR | JSON, bridge | JSON, r2r | bridge | r2r and serde_json | r2r ÷ bridge |")
    print("| --- | --: | --: | --: | --: | --: | --: |")
    for title, cdr, size in re.findall(r"^(.*): (\d+) bytes of CDR, (\d+) bytes of JSON$", text, re.M):
        if title not in results:
            continue
        bridge, r2r = results[title]["bridge"], results[title].get("r2r")
        other = re.search(rf"^{re.escape(title)}: (\d+) bytes of JSON by r2r$", text, re.M)
        columns = [title, f"{cdr} B", f"{size} B", f"{other[1]} B" if other else "–", microseconds(bridge)]
        columns += [microseconds(r2r), f"{r2r[0] / bridge[0]:.1f}"] if r2r else ["–", "–"]
        print(f"| {' | '.join(columns)} |")


def encoder(directory, log):
    results = measured(directory)
    print("| message | JSON | CDR | encoder | serde_json's tree alone | tree ÷ encoder |")
    print("| --- | --: | --: | --: | --: | --: |")
    for title, size, cdr in re.findall(
        r"^(.*): (\d+) bytes of JSON become (\d+) bytes of CDR$", Path(log).read_text(), re.M
    ):
        if result := results.get(f"from JSON: {title}"):
            mine, tree = result["encoder"], result["tree"]
            columns = [title, f"{size} B", f"{cdr} B", microseconds(mine), microseconds(tree), f"{tree[0] / mine[0]:.1f}"]
            print(f"| {' | '.join(columns)} |")


def queue(directory):
    print("| a record of 200 bytes | time |")
    print("| --- | --: |")
    for function, result in sorted(measured(directory).get("queue", {}).items()):
        print(f"| {function} | {microseconds(result)} |")


if __name__ == "__main__":
    {"codec": codec, "encoder": encoder, "queue": queue}[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
