# SPDX-License-Identifier: MIT
"""Compares the results of two runs of the same benchmarks on one machine and lists what has become worse.

    compare.py OLD.json NEW.json [--limit PERCENT] [--level P]

A regression is a figure of weir whose rounds rank worse than before at the level (0.01) by a one-sided permutation
test of the sum of ranks, and whose median is worse by more than the limit (5 %). Figures of other libraries cannot
be regressions of weir; they tell how much the machine itself has changed.
Exit status: 0 no regression, 1 at least one, 2 the results cannot be compared.
"""
import argparse
import math
import statistics
from typing import NamedTuple

from results import FIGURES, Key, Refused, Results, check_contexts, check_work, is_weir, load_of, main, number, percent
from stats import Series, p_of_greater, percentiles, smallest_p

LEAST = {"cpu_us_per_s": 50}  # differences up to this are nothing, whatever their ratio
DRIFT = 0.05  # change of the other libraries' figures that says the machine has changed


class Change(NamedTuple):
    key: Key
    peer: str
    old: Series
    new: Series
    factor: float  # above 1: worse; infinite where it was 0
    bounds: tuple  # interval of the factor, or None
    p_worse: float
    p_better: float


def change_of(key, peer, old, new):
    worse_is_more = not FIGURES[key.figure][2]
    above, below = (new, old) if worse_is_more else (old, new)
    if below.median > 0:
        factor = above.median / below.median
    else:
        factor = math.inf if above.median > 0 else 1.0
    pairs = [a / b for a, b in zip(above.resampled, below.resampled) if b > 0]
    bounds = percentiles(pairs) if pairs and min(len(old.values), len(new.values)) > 1 else None
    sign = 1 if worse_is_more else -1
    before, after = ([sign * v for v in s.values] for s in (old, new))
    return Change(key, peer, old, new, factor, bounds, p_of_greater(before, after), p_of_greater(after, before))


def changes(old, new):
    """What both have, in the order of pages."""
    check_contexts(old.context, ", ".join(old.paths), new.context, ", ".join(new.paths))
    check_work(old, new)
    return [change_of(key, peer, old.runs[key][peer], new.runs[key][peer])
            for key in new.keys() if key in old.runs for peer in sorted(new.runs[key]) if peer in old.runs[key]]


def verdict(change, limit, level):
    if abs(change.new.median - change.old.median) <= LEAST.get(change.key.figure, 0):
        return ""
    if change.p_worse <= level and change.factor > 1 + limit:
        return "worse"
    if change.p_better <= level and change.factor < 1 / (1 + limit):
        return "better"
    return ""


def line(change, limit, level):
    bounds = " to ".join(f"{b:.2f}" for b in change.bounds) if change.bounds else "–"
    return (f"| {change.key} | {change.peer} | {number(change.old.median)} | {number(change.new.median)} | "
            f"{change.factor:.2f}× | {bounds} | {change.p_worse:.3f} | {verdict(change, limit, level)} |")


def notes(old, new, all_changes, level):
    """What a reader should know before believing the table."""
    said = check_contexts(old.context, ", ".join(old.paths), new.context, ", ".join(new.paths))
    said += [f"{', '.join(r.paths)}: {w}" for r in (old, new) for w in r.warnings()]
    mine = [c for c in all_changes if is_weir(c.peer)]
    once = [c for c in mine if len(c.old.values) == len(c.new.values) == 1]
    if once:
        said.append(f"{len(once)} figures of weir are of one run each ({once[0].key}, …) and never called worse.")
    few = [c for c in mine if c not in once and smallest_p(len(c.old.values), len(c.new.values)) > level]
    if few:
        said.append(f"{len(few)} figures of weir have too few rounds to be significant at {level:g} "
                    f"({few[0].key}: {len(few[0].old.values)} and {len(few[0].new.values)}; 5 and 5 are enough for "
                    "0.01). Run more rounds.")
    others = [math.log(c.factor) for c in all_changes if not is_weir(c.peer) and 0 < c.factor < math.inf]
    drift = math.exp(statistics.median(others)) if others else 1.0
    if abs(math.log(drift)) > math.log(1 + DRIFT):
        said.append(f"The figures of the other libraries have changed too, by a median of {drift:.2f}× (above 1 is "
                    "worse): the machine is not as it was. Repeat both runs.")
    return said


def report(old, new, limit, level):
    """The text, and the regressions."""
    found = changes(old, new)
    if not found:
        raise Refused(f"{old.paths[0]} and {new.paths[0]} have no peer with the same figure.")
    mine = [c for c in found if is_weir(c.peer)]
    worse = [c for c in mine if verdict(c, limit, level) == "worse"]
    lines = [f"Old: {', '.join(old.paths)}, {old.context['date'][:16]}, load {load_of(old.context):.2f}, "
             f"revision {old.context.get('revision', 'not recorded')}.",
             f"New: {', '.join(new.paths)}, {new.context['date'][:16]}, load {load_of(new.context):.2f}, "
             f"revision {new.context.get('revision', 'not recorded')}.", ""]
    lines += [f"Warning: {note}" for note in notes(old, new, found, level)]
    lines += ["", "| figure | peer | old | new | times as bad | 95 % interval | p worse | |",
              "|---|---|---:|---:|---:|---:|---:|---|"]
    lines += [line(c, limit, level) for c in mine]
    lines += ["", f"{len(worse)} of {len(mine)} figures of weir are worse: p at most {level:g} (one-sided permutation "
              f"test of the sum of ranks over the rounds) and the median worse by more than {percent(limit)}."]
    lost = [f"{k}, {p}" for k in old.keys() for p in old.runs[k]
            if is_weir(p) and k.question in new.work and p not in new.runs.get(k, {})]
    if lost:
        lines.append(f"In the old results only: {'; '.join(lost)}.")
    return "\n".join(lines), worse


def run(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--limit", type=float, default=5, metavar="PERCENT")
    parser.add_argument("--level", type=float, default=0.01, metavar="P")
    options = parser.parse_args(arguments)
    text, worse = report(Results([options.old]), Results([options.new]), options.limit / 100, options.level)
    print(text)
    return 1 if worse else 0


if __name__ == "__main__":
    main(run)
