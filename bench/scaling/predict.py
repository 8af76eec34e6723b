# SPDX-License-Identifier: MIT
"""Simulates fork and join on 1 to 64 workers, and prints what docs/scaling.md argues from.

    predict.py SIMULATE [--count COUNT_SCALING] [--draws N] [--into PAGE.md] [--svg FOLDER]

SIMULATE and COUNT_SCALING are the programs that bench/meson.build makes. --count also runs real workers. With --into,
the tables replace what stands between the page's marks; --svg writes the pictures.
"""
import argparse
import itertools
import json
import math
import os
import random
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import plots
from designs import COSTS, DESIGNS, PEERS, PROBLEMS, PUBLISHED, REFERENCE, central, request
from results import number
from stats import percentiles
from table import put

SWEEP = [1, 2, 4, 8, 16, 32, 64]
MOST = SWEEP[-1]
SEEDS = 5
REAL = (("fib 36", 4.2), ("uneven 1000000", 40.0))  # trees that real workers run, and ns a fork here


def simulate(program, requests):
    """The outcomes of these requests, in their order."""
    run = subprocess.run([program], input="\n".join(requests) + "\n", capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise RuntimeError(f"{program}: {run.stderr.strip()}")
    return [json.loads(line) for line in run.stdout.splitlines()]


def count(program, tree, workers):
    """What the runtime has counted in each of as many rounds as there are seeds."""
    run = subprocess.run([program, *tree.split(), str(workers), str(SEEDS)], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in run.stdout.splitlines()]


def per_unit(outcome, problem, workers=MOST):
    """Nanoseconds of one worker for a unit of the problem."""
    return outcome["time"] / 1000 * workers / PROBLEMS[problem].units


def lines_of(outcome):
    return outcome["near_lines"] + outcome["far_lines"]


def drawn(generator, bounds):
    """A value between the bounds: half of them below the central one, even on a logarithmic scale."""
    low, middle, high = bounds
    ends = (low, middle) if generator.random() < 0.5 else (middle, high)
    return math.exp(generator.uniform(*map(math.log, ends)))


def draw(program, names, problem, count):
    """So many times all costs at once: lists of the designs' results, of the same machine at the same place."""
    generator = random.Random(f"{problem} {count}")
    requests = []
    for seed in range(1, count + 1):
        costs = {name: drawn(generator, bounds) for name, bounds in COSTS.items()}
        requests += [request(DESIGNS[name], problem, MOST, costs,
                             drawn(generator, DESIGNS[name].uses[problem].plain()), seed=seed) for name in names]
    found = iter(simulate(program, requests))
    results = {name: [] for name in names}
    for _ in range(count):
        for name in names:
            results[name].append(next(found))
    return results


def right_pairs(predicted, published):
    """How many pairs of designs stand in the published order, and how many there are."""
    pairs = list(itertools.combinations(published, 2))
    return sum((predicted[a] < predicted[b]) == (published[a] < published[b]) for a, b in pairs), len(pairs)


def validation(program, draws):
    rows = ["| | design | published | predicted | 90 % of the draws | error |", "|---|---|---:|---:|---:|---:|"]
    orders = []
    for problem, published in PUBLISHED.items():
        middle = dict(zip(published, simulate(program, [request(DESIGNS[name], problem, MOST) for name in published])))
        middle = {name: per_unit(outcome, problem) for name, outcome in middle.items()}
        spread = {name: [per_unit(o, problem) for o in outcomes]
                  for name, outcomes in draw(program, published, problem, draws).items()}
        for name, value in published.items():
            low, high = percentiles(spread[name], 0.9)
            rows.append(f"| {problem} | {name} | {number(value)} | {number(middle[name])} | {number(low)} to "
                        f"{number(high)} | {(middle[name] / value - 1) * 100:+.0f} % |")
        right, of = right_pairs(middle, published)
        shares = [right_pairs({n: spread[n][i] for n in published}, published)[0] / of for i in range(draws)]
        at_worst = request(DESIGNS["citor"], problem, MOST, plain=DESIGNS["citor"].uses[problem].plain()[2])
        worst = per_unit(simulate(program, [at_worst])[0], problem)
        inverted = right_pairs({**middle, "citor": worst}, published)[0]
        orders.append(f"{problem}: {right} of {of} pairs in the published order with central costs, "
                      f"{sum(shares) / draws * 100:.0f} % over the draws; {inverted} of {of} if citor costs what its "
                      f"one-thread run was measured at (then {number(worst)} ns).")
    return "\n".join(rows + [""] + ["- " + order for order in orders])


def counts(program):
    """What happens for each million forks of fib."""
    names = [("Chase-Lev", REFERENCE), ("citor", DESIGNS["citor"]), ("libfork", DESIGNS["libfork"]),
             ("oneTBB", DESIGNS["oneTBB"]), ("weir", DESIGNS["weir-functions"])]
    rows = ["| of fib(39), for a million forks | workers | steals | attempts that failed | forks published | lines moved "
            "| of these, the owner waited | wake-ups |", "|---|---:|---:|---:|---:|---:|---:|---:|"]
    for name, design in names:
        for workers, o in zip(SWEEP, simulate(program, [request(design, "fib", p) for p in SWEEP])):
            if workers in (1, 2, 8, 64):
                million = o["forks"] / 1e6
                cells = (o["steals"], o["failed"], o["published"], lines_of(o), o["owner_lines"], o["wakes"])
                rows.append(f"| {name} | {workers} | " + " | ".join(f"{c / million:.3g}" if c < 1e6 * million else "all"
                                                                    for c in cells) + " |")
    return "\n".join(rows)


def growth(program):
    """Trees of different size on 64 workers: steals follow the depth, not the forks."""
    rows = ["| weir, 64 workers | forks | steals | forks published | lines moved | lines a steal | "
            "lines for 1,000 forks |",
            "|---|---:|---:|---:|---:|---:|---:|"]
    trees = ("fib 27", "fib 31", "fib 35", "fib 39", "fib 43", "skynet 6", "skynet 8")
    outcomes = simulate(program, [request(DESIGNS["weir-functions"], "fib", MOST, tree=tree) for tree in trees])
    for tree, o in zip(trees, outcomes):
        rows.append(f"| {tree} | {o['forks']:,} | {o['steals']:,} | {o['published']:,} | {lines_of(o):,} | "
                    f"{lines_of(o) / max(o['steals'], 1):.1f} | {lines_of(o) / o['forks'] * 1000:.3g} |")
    return "\n".join(rows)


def predictions(program, draws):
    rows = ["| 64 workers | | ms | 90 % of the draws | ns a unit | of 64 times one worker | all have begun after µs |",
            "|---|---|---:|---:|---:|---:|---:|"]

    def row(problem, label, outcome, spread, one):
        low, high = percentiles([o["time"] / 1e9 for o in spread], 0.9) if spread else (None, None)
        bounds = f"{number(low)} to {number(high)}" if spread else "–"
        rows.append(f"| {problem} | {label} | {number(outcome['time'] / 1e9)} | {bounds} | "
                    f"{number(per_unit(outcome, problem))} | {one['time'] / outcome['time'] / MOST * 100:.0f} % | "
                    f"{number(outcome['all_busy'] / 1e6)} |")

    for problem in PROBLEMS:
        names = [name for name in ("weir-functions", "weir-coroutines") if problem in DESIGNS[name].uses]
        spread = draw(program, names, problem, draws)
        asked = [(name, DESIGNS[name], {}) for name in names]
        asked += [("weir-functions, if more than one wake-up were under way", DESIGNS["weir-functions"], {"wake_many": 1}),
                  ("Chase-Lev, fence in each pop, otherwise as weir-functions", REFERENCE, {})]
        for label, design, changes in asked:
            one, all_of_them = simulate(program, [request(design, problem, p, **changes) for p in (1, MOST)])
            row(problem, label, all_of_them, spread.get(label), one)
    return "\n".join(rows)


def sensitivity(program):
    """Each cost alone at both ends of its range."""
    problems = ("fib", "skynet", "uneven")
    rows = ["| weir-functions, 64 workers, ms | range | fib | skynet | uneven |", "|---|---|---:|---:|---:|"]
    design = DESIGNS["weir-functions"]
    used = [name for name in COSTS if name not in ("lock", "mfence", "allocation")]
    for name in used:
        cells = []
        for problem in problems:
            asked = [request(design, problem, MOST, {**central(COSTS), name: COSTS[name][end]}) for end in (0, 2)]
            cells.append(" to ".join(number(o["time"] / 1e9) for o in simulate(program, asked)))
        rows.append(f"| {name.replace('_', ' ')} | {COSTS[name][0]:g} to {COSTS[name][2]:g} | " + " | ".join(cells) + " |")
    cells = []
    for problem in problems:
        asked = [request(design, problem, MOST, plain=design.uses[problem].plain()[end]) for end in (0, 2)]
        cells.append(" to ".join(number(o["time"] / 1e9) for o in simulate(program, asked)))
    rows.append("| un-stolen fork | as above | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def real(program, counter):
    """The runtime's own statistics beside the simulation of the same tree: least to greatest of the rounds."""
    rows = ["| tree | workers | steals, real | simulated | forks published, real | simulated | wake-ups, real | simulated |",
            "|---|---:|---:|---:|---:|---:|---:|---:|"]
    for (tree, fork), workers in itertools.product(REAL, (1, 2, 4, 8, 16)):
        seen = count(counter, tree, workers)
        made = simulate(program, [f"{tree} workers={workers} lazy=1 parked=1 group=64 fork={fork * 1000:.0f} seed={seed}"
                                  for seed in range(1, SEEDS + 1)])
        cells = []
        for what in ("steals", "published", "wakes"):
            for outcomes in (seen, made):
                values = [o[what] for o in outcomes]
                cells.append(f"{min(values):,} to {max(values):,}")
        rows.append(f"| {tree} | {workers} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def pictures(program, folder):
    shown = (("weir-functions", DESIGNS["weir-functions"]), ("libfork", DESIGNS["libfork"]),
             ("citor", DESIGNS["citor"]), ("chase-lev", REFERENCE))
    lines, times = [], []
    for name, design in shown:
        outcomes = dict(zip(SWEEP, simulate(program, [request(design, "fib", p) for p in SWEEP])))
        lines.append(plots.Line(name, {str(p): (lines_of(o) / o["forks"] * 1e6, None, None)
                                       for p, o in outcomes.items() if p > 1}))
        times.append(plots.Line(name, {str(p): (o["time"] / 1e9, None, None) for p, o in outcomes.items()}))
    places = [str(p) for p in SWEEP]
    for file, svg in (
            ("scaling-lines.svg", plots.lines_over("Lines moved for a million forks", lines, places[1:],
                                                   "lines for a million forks of fib(39)", "workers", True)),
            ("scaling-time.svg", plots.lines_over("Predicted time of fib(39)", times, places, "ms, fib(39)", "workers",
                                                  True))):
        with open(os.path.join(folder, file), "w", encoding="utf-8") as out:
            out.write(plots.standalone(svg))


def run(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("simulate")
    parser.add_argument("--count")
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--into")
    parser.add_argument("--svg")
    said = parser.parse_args(arguments)
    tables = {"validation": lambda: validation(said.simulate, said.draws), "counts": lambda: counts(said.simulate),
              "growth": lambda: growth(said.simulate), "predictions": lambda: predictions(said.simulate, said.draws),
              "sensitivity": lambda: sensitivity(said.simulate)}
    if said.count:
        tables["real counts"] = lambda: real(said.simulate, said.count)
    for name, make in tables.items():
        put(make() + ("" if said.into else "\n"), said.into, name)
    if said.svg:
        pictures(said.simulate, said.svg)


if __name__ == "__main__":
    run(sys.argv[1:])
