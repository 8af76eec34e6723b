# SPDX-License-Identifier: MIT
"""Prints results of `flat` and `timers` as a Markdown table: medians over the rounds, weir against peers.

    table.py RESULTS.json... [--into PAGE.md]    with --into, replaces what stands between the page's marks
"""
import re
import sys

from results import FIGURES, Results, arguments_of, best_peer, machine, main
from stats import ratio


def table(paths):
    results = Results(paths)
    peers = sorted({p for by_peer in results.runs.values() for p in by_peer}, key=lambda p: (p != "weir", p))
    lines = [f"| {results.rounds} rounds, medians | unit | " + " | ".join(peers) + " | weir to the best peer |",
             "|---|---|" + "---:|" * (len(peers) + 1)]
    for key in results.keys():
        unit, _, more_is_better = FIGURES[key.figure]
        by_peer = results.runs[key]
        name = key.question.replace("_", " ") + (f", {key.parameter} submitting" if key.parameter else "")
        cells = [f"{by_peer[p].median:.3g}" if p in by_peer else "–" for p in peers]
        best = best_peer(by_peer, key.figure)
        found = None
        if best and "weir" in by_peer:
            found = ratio(*((by_peer["weir"], by_peer[best]) if more_is_better else (by_peer[best], by_peer["weir"])))
        lines.append(f"| {name} | {unit} | " + " | ".join(cells) + f" | {f'{found[0]:.2f}×' if found else '–'} |")
    return "\n".join(lines + ["", machine(results.context)])


def put(text, page, mark):
    """Prints the text, or puts it between two comments of the page: `mark` and "end of `mark`"."""
    if page is None:
        print(text)
        return
    with open(page, encoding="utf-8") as file:
        before = file.read()
    marked = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- end of {mark} -->)", re.S)
    with open(page, "w", encoding="utf-8") as file:
        file.write(marked.sub(lambda m: m[1] + text + "\n" + m[2], before))


def run():
    paths, page = arguments_of(sys.argv[1:])
    put(table(paths), page, "table")


if __name__ == "__main__":
    main(run)
