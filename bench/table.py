# SPDX-License-Identifier: MIT
"""Prints results, but for those of fork and join, as a Markdown table: medians over the rounds, weir against peers.

    table.py RESULTS.json... [--short] [--into PAGE.md]
        --short    the best peer only, and the main figures
        --into     replaces what stands between the page's marks: "flat table", with --short "table"
"""
import argparse
import re

from results import (FIGURES, SUBMITTING, Results, best_peer, factor, is_weir, main, number, parameter_words,
                     remarks)
from stats import ratio


def label(key):
    return ", ".join(filter(None, (key.question.replace("_", " "), parameter_words(key))))


def keys_of(results):
    return [key for key in results.keys() if key.figure != "real_time"
            and (key.figure != "rss_mb" or any(k.figure == "items_per_second" for k in results.keys()
                                               if k.question == key.question))]


def times(found):
    """A ratio, marked if its interval leaves open which side is better."""
    if found is None:
        return "–"
    value, low, high = found
    undecided = low is not None and low < 1 < high
    return f"{'≈ ' if undecided else ''}{factor(value)}×"


def better_by(mine, other, figure):
    """How many times better `mine` is: (value, low, high), or None."""
    return ratio(mine, other) if FIGURES[figure][2] else ratio(other, mine)


def times_better(by_peer, mine, best, figure):
    return times(better_by(by_peer[mine], by_peer[best], figure) if best else None)


def full_table(results):
    """A row for each question and figure with a column for each peer; of weir's own ways the plain one is compared, or
    the best where there is none."""
    keys = keys_of(results)
    peers = sorted({p for key in keys for p in results.runs[key]}, key=lambda p: (not is_weir(p), p))
    lines = [f"| {results.rounds} rounds, medians | unit | " + " | ".join(peers) + " | weir to the best peer |",
             "|---|---|" + "---:|" * (len(peers) + 1)]
    for key in keys:
        unit, _, more_is_better = FIGURES[key.figure]
        by_peer = results.runs[key]
        mine = [p for p in peers if is_weir(p) and p in by_peer]
        best_of_mine = (max if more_is_better else min)(mine, key=lambda p: by_peer[p].median) if mine else None
        if "weir" in mine:
            best_of_mine = "weir"
        cells = [number(by_peer[p].median) if p in by_peer else "–" for p in peers]
        if results.rounds > 1 and all(len(series.values) == 1 for series in by_peer.values()):
            unit += ", one run"
        compared = times_better(by_peer, best_of_mine, best_peer(by_peer, key.figure), key.figure) if mine else "–"
        lines.append(f"| {label(key)} | {unit} | " + " | ".join(cells) + f" | {compared} |")
    return lines


def is_short(key):
    """Whether a page that shows little shows this: the answer itself, with two workers, or 1 or 4 who submit."""
    if key.parameter and key.parameter not in (("1", "4") if key.question in SUBMITTING else ("2",)):
        return False
    if key.question.startswith("timer_"):
        return False  # below what users of weir see
    return key.figure in ("items_per_second", "p50_us", "p99_us", "cpu_us_per_s", "bytes_per_task") or \
        key.question == "paced"


def short_table(results):
    """A row for each of weir's ways, with the best peer beside it, of the main figures; see `is_short`."""
    lines = [f"| {results.rounds} rounds, medians | unit | weir | best peer | | weir to the best peer |",
             "|---|---|---:|---:|---|---:|"]
    for key in keys_of(results):
        if not is_short(key):
            continue
        by_peer = results.runs[key]
        best = best_peer(by_peer, key.figure)
        if best is None:
            continue
        for mine in sorted(filter(is_weir, by_peer)):
            way = mine.removeprefix("weir").removeprefix("-")
            lines.append(f"| {label(key)}{f' ({way})' if way else ''} | {FIGURES[key.figure][0]} | "
                         f"{number(by_peer[mine].median)} | {number(by_peer[best].median)} | {best} | "
                         f"{times_better(by_peer, mine, best, key.figure)} |")
    return lines


def table(paths, short=False):
    results = Results(paths)
    return "\n".join([*(short_table if short else full_table)(results), "", remarks(results)])


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


def run(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--into", metavar="PAGE.md")
    options = parser.parse_args(arguments)
    put(table(options.results, options.short), options.into, "table" if options.short else "flat table")


if __name__ == "__main__":
    main(run)
