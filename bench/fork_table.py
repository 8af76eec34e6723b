# SPDX-License-Identifier: MIT
"""Prints results of `fork` as a Markdown table: medians over the rounds, weir against peers.

    fork_table.py RESULTS.json... [--into PAGE.md]    with --into, replaces what stands between the page's marks

Runs that report their memory give that column, of weir only, and no times.
"""
import sys

from results import Results, arguments_of, is_weir, machine, main, number
from stats import ratio
from table import put

PEERS = {"serial": ["serial"], "weir functions": ["weir-functions"], "weir coroutines": ["weir-coroutines"],
         "oneTBB": ["onetbb"], "OpenMP": ["openmp-static", "openmp-dynamic", "openmp-gnu"]}


def best_of(by_peer, kinds):
    """The kind with the least median, or None."""
    return min((by_peer[kind] for kind in kinds if kind in by_peer), key=lambda s: s.median, default=None)


def table(paths):
    results = Results(paths)
    lines = [f"| {results.rounds} rounds, medians in ms | workers | " + " | ".join(PEERS) +
             " | oneTBB to functions | oneTBB to coroutines | OpenMP to functions | functions to serial | MB |",
             "|---|---|" + "---:|" * (len(PEERS) + 5)]
    for key in results.keys("real_time"):
        times = {name: best_of(results.runs[key], kinds) for name, kinds in PEERS.items()}
        cells = [number(times[name].median) if times[name] else "–" for name in PEERS]
        times["serial"] = results.serial(key)

        def ratio_of(above, below, times=times):
            both = times[above] and times[below]
            return f"{ratio(times[above], times[below])[0]:.2f}×" if both else "–"

        cells += [ratio_of("oneTBB", "weir functions"), ratio_of("oneTBB", "weir coroutines"),
                  ratio_of("OpenMP", "weir functions"), ratio_of("weir functions", "serial")]
        memory = results.runs.get(key._replace(figure="rss_mb"), {})
        peaks = [memory[kind].median for kinds in PEERS.values() for kind in kinds if kind in memory and is_weir(kind)]
        cells.append(", ".join(f"{peak:.1f}" for peak in peaks) or "–")
        lines.append(f"| {key.question} | {key.parameter} | " + " | ".join(cells) + " |")
    return "\n".join(lines + ["", machine(results.context)])


def run():
    paths, page = arguments_of(sys.argv[1:])
    put(table(paths), page, "fork table")


if __name__ == "__main__":
    main(run)
