# SPDX-License-Identifier: MIT
"""Prints Google Benchmark JSON as a Markdown table: medians over the repetitions, weir against peers.

    table.py RESULTS.json... [--into PAGE.md]    with --into, replaces what stands between the page's marks
"""
import json
import re
import statistics
import sys
from collections import defaultdict

FIGURES = {"items_per_second": ("M/s", 1e-6, True), "p50_us": ("p50 µs", 1, False),
           "p90_us": ("p90 µs", 1, False), "p99_us": ("p99 µs", 1, False),
           "cpu_us_per_s": ("µs of CPU per s", 1, False)}
QUESTIONS = ["throughput", "bulk_throughput", "round_trip", "wake_up", "idle_cpu", "timer_fire", "timer_cancel",
             "sleeper_fire", "sleeper_cancel"]
HAS_PERCENTILES = ("round_trip", "wake_up")


def read(paths):
    """Lists of figures by (question, threads, figure) and peer, and the number of rounds."""
    files = [json.load(open(path, encoding="utf-8")) for path in paths]
    runs = defaultdict(lambda: defaultdict(list))
    for run in (run for results in files for run in results["benchmarks"]):
        if run.get("run_type") == "aggregate":
            continue
        if run.get("error_occurred"):
            sys.exit(f"{run['name']}: {run['error_message']}")
        question, peer, *rest = run["name"].split("/")
        threads = rest[0] if rest and rest[0].isdigit() else ""
        for figure in FIGURES:
            if figure in run and not (question in HAS_PERCENTILES and figure == "items_per_second"):
                runs[question, threads, figure][peer].append(run[figure])
    rounds = max(len(values) for peers in runs.values() for values in peers.values())
    return runs, rounds, files[0]["context"]


def table(paths):
    runs, rounds, context = read(paths)
    peers = sorted({p for by_peer in runs.values() for p in by_peer}, key=lambda p: (p != "weir", p))
    lines = [f"| {rounds} rounds, medians | unit | " + " | ".join(peers) + " | weir to the best peer |",
             "|---|---|" + "---:|" * (len(peers) + 1)]
    order = sorted(runs, key=lambda k: (QUESTIONS.index(k[0]), k[1], list(FIGURES).index(k[2])))
    for question, threads, figure in order:
        unit, factor, more_is_better = FIGURES[figure]
        medians = {p: statistics.median(v) * factor for p, v in runs[question, threads, figure].items()}
        name = question.replace("_", " ") + (f", {threads} submitting" if threads else "")
        cells = [f"{medians[p]:.3g}" if p in medians else "–" for p in peers]
        others = [v for p, v in medians.items() if p != "weir"]
        ratio = "–"
        if others and min(*others, medians["weir"]) > 0:
            best = max(others) if more_is_better else min(others)
            ratio = f"{medians['weir'] / best if more_is_better else best / medians['weir']:.2f}×"
        lines.append(f"| {name} | {unit} | " + " | ".join(cells) + f" | {ratio} |")
    return "\n".join(lines + ["", machine(context)])


def machine(context):
    """What ran the benchmarks, and when."""
    cpu = re.search(r"^model name\s*:\s*(.*)$", open("/proc/cpuinfo", encoding="utf-8").read(), re.M)
    return (f"{context['date'][:10]}, {context['num_cpus']} CPUs ({cpu.group(1) if cpu else 'unknown'}), "
            f"load {context['load_avg'][0]:.2f} at the start.")


def arguments_of(arguments):
    """The files of results, and the page to put the table into or None."""
    return (arguments[:-2], arguments[-1]) if "--into" in arguments[-2:-1] else (arguments, None)


def put(text, page, mark):
    """Prints the text, or puts it between two comments of the page: `mark` and "end of `mark`"."""
    if page is None:
        print(text)
        return
    before = open(page, encoding="utf-8").read()
    marked = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- end of {mark} -->)", re.S)
    open(page, "w", encoding="utf-8").write(marked.sub(lambda m: m[1] + text + "\n" + m[2], before))


if __name__ == "__main__":
    results, into = arguments_of(sys.argv[1:])
    put(table(results), into, "table")
