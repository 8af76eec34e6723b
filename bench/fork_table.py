# SPDX-License-Identifier: MIT
"""Prints the JSON of the benchmark `fork` as a Markdown table: medians over the rounds, weir against peers.

    fork_table.py RESULTS.json... [--into PAGE.md]    with --into, replaces what stands between the page's marks

Runs that report their memory give that column and no times.
"""
import json
import statistics
import sys
from collections import defaultdict

from table import arguments_of, machine, put

PROBLEMS = ["fib36", "skynet", "nqueens14", "matmul1024", "matmul2048", "uts_t1", "uts_t3", "for_tiny", "for_uneven",
            "for_coarse", "sort", "reduce"]
PEERS = {"serial": ["serial"], "weir functions": ["weir-functions"], "weir coroutines": ["weir-coroutines"],
         "oneTBB": ["onetbb"], "OpenMP": ["openmp-static", "openmp-dynamic", "openmp-gnu"]}


def read(paths):
    """Times in ms by (problem, workers) and peer, memory in MB likewise, and what the machine was like."""
    times, memory = (defaultdict(lambda: defaultdict(list)) for _ in range(2))
    files = [json.load(open(path, encoding="utf-8")) for path in paths]
    for run in (run for results in files for run in results["benchmarks"]):
        if run.get("run_type") == "aggregate":
            continue
        if run.get("error_occurred"):
            sys.exit(f"{run['name']}: {run['error_message']}")
        problem, peer, workers, *_ = run["name"].split("/")
        if "rss_mb" in run:
            memory[problem, workers][peer].append(run["rss_mb"])
        else:
            times[problem, workers][peer].append(run["real_time"])
    return times, memory, files[0]["context"]


def number(value):
    """Three digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def table(paths):
    times, memory, context = read(paths)
    rounds = max((len(values) for peers in times.values() for values in peers.values()), default=0)
    lines = [f"| {rounds} rounds, medians in ms | workers | " + " | ".join(PEERS) +
             " | oneTBB to functions | oneTBB to coroutines | OpenMP to functions | functions to serial | MB |",
             "|---|---|" + "---:|" * (len(PEERS) + 5)]
    for problem, workers in sorted(times, key=lambda row: (PROBLEMS.index(row[0]), row[1])):
        serial = times.get((problem, "1"), {}).get("serial", [])
        medians = {peer: min(statistics.median(times[problem, workers][kind]) for kind in kinds
                             if times[problem, workers][kind])
                   for peer, kinds in PEERS.items() if any(times[problem, workers][kind] for kind in kinds)}
        if serial:
            medians["serial"] = statistics.median(serial)

        def ratio(of, to, medians=medians):
            return f"{medians[of] / medians[to]:.2f}×" if of in medians and to in medians else "–"

        cells = [number(medians[peer]) if peer in medians and (peer != "serial" or workers == "1") else "–"
                 for peer in PEERS]
        cells += [ratio("oneTBB", "weir functions"), ratio("oneTBB", "weir coroutines"),
                  ratio("OpenMP", "weir functions"), ratio("weir functions", "serial")]
        kinds = [kind for each in PEERS.values() for kind in each]
        peaks = [statistics.median(memory[problem, workers][kind]) for kind in kinds
                 if memory[problem, workers][kind]]
        cells.append(", ".join(f"{peak:.1f}" for peak in peaks) or "–")
        lines.append(f"| {problem} | {workers} | " + " | ".join(cells) + " |")
    return "\n".join(lines + ["", machine(context)])


if __name__ == "__main__":
    results, page = arguments_of(sys.argv[1:])
    put(table(results), page, "fork table")
