# SPDX-License-Identifier: MIT
"""Prints results of `fork` as a Markdown table: medians over the rounds, weir against its peers.

    fork_table.py RESULTS.json... [--brief] [--into PAGE.md]

--brief gives weir and the best of the others only, with one and two workers. With --into, the table replaces what
stands between the page's marks `fork table`, or `fork summary` if brief. Runs that report their memory give that
column, of weir only, and no times.
"""
import sys

from results import Results, arguments_of, best_peer, is_weir, main, number, remarks
from stats import ratio
from table import put, times

FIRST = ["serial", "weir-functions", "weir-coroutines", "weir-ready", "onetbb"]  # the other columns follow by name


def column(peer):
    """Whose column: that of the peer, but the ways of one OpenMP library share theirs."""
    library = peer.partition("-")[0]
    return library if library in ("libgomp", "libomp") else peer


def best_of(by_peer, belongs):
    """The name of the one with the least median among those that belong, or None."""
    return min((p for p in by_peer if belongs(p)), key=lambda p: by_peer[p].median, default=None)


def of_weir(by_peer):
    """weir's functions, or the best of its other ways where they do not answer."""
    return "weir-functions" if "weir-functions" in by_peer else best_of(by_peer, is_weir)


def times_as_fast(by_peer, weir, other):
    return times(ratio(other, by_peer[weir])) if weir and other else "–"


def to_best(by_peer):
    """How many times as fast weir is as the best other library."""
    other = best_peer(by_peer, "real_time")
    return times_as_fast(by_peer, of_weir(by_peer), by_peer[other] if other else None)


def full(results):
    peers = {p for key in results.keys("real_time") for p in results.runs[key]}
    columns = sorted({column(p) for p in peers}, key=lambda c: (FIRST.index(c) if c in FIRST else len(FIRST), c))
    lines = [f"| {results.rounds} rounds, medians in ms | workers | " + " | ".join(columns) +
             " | weir to the best peer | weir to serial | MB |", "|---|---|" + "---:|" * (len(columns) + 3)]
    for key in results.keys("real_time"):
        by_peer, serial = results.runs[key], results.serial(key)
        best = [best_of(by_peer, lambda p, c=c: column(p) == c) for c in columns]
        cells = [number(by_peer[p].median) if p else "–" for p in best]
        cells += [to_best(by_peer), times_as_fast(by_peer, of_weir(by_peer), serial)]
        memory = results.runs.get(key._replace(figure="rss_mb"), {})
        cells.append(", ".join(f"{memory[p].median:.1f}" for p in columns if p in memory and is_weir(p)) or "–")
        lines.append(f"| {key.question} | {key.parameter} | " + " | ".join(cells) + " |")
    return lines


def brief(results):
    lines = [f"| {results.rounds} rounds, medians in ms | workers | serial | weir | best peer | weir to the best peer |",
             "|---|---|---:|---:|---:|---:|"]
    for key in results.keys("real_time"):
        if key.parameter not in ("1", "2"):
            continue
        by_peer, serial = results.runs[key], results.serial(key)
        weir, other = of_weir(by_peer), best_peer(by_peer, "real_time")
        cells = [number(serial.median) if serial else "–",
                 number(by_peer[weir].median) + ("" if weir == "weir-functions" else f" ({weir.removeprefix('weir-')})")
                 if weir else "–",
                 f"{number(by_peer[other].median)} ({other})" if other else "–", to_best(by_peer)]
        lines.append(f"| {key.question} | {key.parameter} | " + " | ".join(cells) + " |")
    return lines


def table(paths, is_brief=False):
    results = Results(paths)
    return "\n".join((brief if is_brief else full)(results) + ["", remarks(results)])


def run():
    arguments = sys.argv[1:]
    is_brief = "--brief" in arguments
    paths, page = arguments_of([a for a in arguments if a != "--brief"])
    put(table(paths, is_brief), page, "fork summary" if is_brief else "fork table")


if __name__ == "__main__":
    main(run)
