# SPDX-License-Identifier: MIT
"""Prints Google Benchmark JSON as a Markdown table: medians over the repetitions, weir against peers."""
import json
import statistics
import sys
from collections import defaultdict

runs = defaultdict(list)
for path in sys.argv[1:]:
    for run in json.load(open(path))["benchmarks"]:
        if run.get("run_type") == "aggregate":
            continue
        if run.get("error_occurred"):
            sys.exit(f"{run['name']}: {run['error_message']}")
        question, peer, *arguments = run["name"].split("/")
        arguments = [a for a in arguments if a.isdigit()]
        for figure in ("items_per_second", "p50_us", "p90_us", "p99_us", "cpu_us_per_s"):
            if figure in run:
                label = " ".join([question.replace("_", " "), *([f"from {arguments[0]} threads"] if arguments else []), figure])
                runs[label, peer].append(run[figure])

wanted = {"items_per_second": ("M/s", 1e-6, True), "p50_us": ("p50 us", 1, False),
          "p90_us": ("p90 us", 1, False), "p99_us": ("p99 us", 1, False),
          "cpu_us_per_s": ("us CPU per s", 1, False)}
peers = sorted({peer for _, peer in runs}, key=lambda p: (p != "weir", p))
print("| 2 workers | unit | " + " | ".join(peers) + " | weir to best peer |")
print("|---|---|" + "---:|" * (len(peers) + 1))
for label in dict.fromkeys(label for label, _ in runs):
    question, figure = label.rsplit(" ", 1)
    unit, factor, more_is_better = wanted[figure]
    if question.startswith(("round trip", "wake up")) and figure == "items_per_second":
        continue
    medians = {p: statistics.median(runs[label, p]) * factor for p in peers if (label, p) in runs}
    cells = [f"{medians[p]:.3g}" if p in medians else "" for p in peers]
    others = [v for p, v in medians.items() if p != "weir"]
    ratio = ""
    if others and "weir" in medians:
        best = max(others) if more_is_better else min(others)
        better = medians["weir"] / best if more_is_better else best / max(medians["weir"], 1e-9)
        ratio = f"{better:.2f}×" if min(best, medians["weir"]) > 0 else ""
    print(f"| {question} | {unit} | " + " | ".join(cells) + f" | {ratio} |")
