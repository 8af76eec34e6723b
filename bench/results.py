# SPDX-License-Identifier: MIT
"""Reads results of Google Benchmark: rounds by question, peer and parameter, and what the machine was like.

    results.py RESULTS.json... --into ALL.json    puts the results of one machine and build into one file

Names are question/peer[/parameter]/…; the parameter is how many workers there were, or how many threads submitted.
Results of unlike work are refused (`Refused`), with both sides named.
"""
import json
import re
import sys
from collections import defaultdict
from typing import NamedTuple

from stats import ENOUGH, Series

# figure: unit, factor to that unit, whether more is better
FIGURES = {"items_per_second": ("M/s", 1e-6, True), "p50_us": ("p50 µs", 1, False), "p90_us": ("p90 µs", 1, False),
           "p99_us": ("p99 µs", 1, False), "p99_9_us": ("p99.9 µs", 1, False),
           "cpu_us_per_s": ("µs of CPU per s", 1, False), "cpu_ns_per_job": ("ns of CPU", 1, False),
           "arm_s": ("s to arm", 1, False), "region_ms": ("ms for the region", 1, False),
           "real_time": ("ms", 1, False), "bytes_per_task": ("bytes", 1, False), "rss_mb": ("MB", 1, False)}
PERCENTILES = ("p50_us", "p90_us", "p99_us", "p99_9_us")
MILLISECONDS = {"ns": 1e-6, "us": 1e-3, "ms": 1, "s": 1e3}
QUESTIONS = ["fib36", "fib16", "skynet", "nqueens12", "nqueens14", "matmul1024", "matmul2048", "uts_t1", "uts_t3",
             "quicksort", "pipeline", "for_tiny", "for_uneven", "for_coarse", "sort", "reduce", "throughput",
             "bulk_throughput", "inside", "relay", "fan_out", "ping_pong",
             "round_trip", "wake_up", "mixed", "resize", "idle_cpu", "paced", "bounded_fifo", "bounded_lifo",
             "bounded_priority", "cancel_waiting", "cancel_queued", "timer_fire", "timer_cancel", "sleeper_fire",
             "sleeper_cancel", "pool_post", "pool_submit", "waiting_task", "queued_job"]
# Questions whose parameter is the number of threads that submit; that of all others counts workers.
SUBMITTING = ("throughput", "bulk_throughput", "bounded_fifo", "bounded_lifo", "bounded_priority", "pool_post",
              "pool_submit")
# What has to be the same in the contexts of results that are put side by side.
SAME = {"compiler": "compiler", "build_type": "build type", "flags": "compiler options", "cpu": "CPU model",
        "num_cpus": "number of CPUs", "host_name": "host"}
LEFT_OUT = "left out: "  # how the message of a run begins that the machine is too small or too slow for
BUSY = 0.25   # load per CPU before the benchmarks that makes their figures doubtful
APART = 2     # ratio of the longest to the shortest way between CPUs that does
SPREAD = 0.1  # distance of the quartiles to the median that does


class Refused(Exception):
    """These results cannot be read or not be put side by side; the text says why."""


class Key(NamedTuple):
    question: str
    parameter: str
    figure: str

    def order(self):
        place = QUESTIONS.index(self.question) if self.question in QUESTIONS else len(QUESTIONS)
        return place, self.question, int(self.parameter or 0), list(FIGURES).index(self.figure)

    def __str__(self):
        return "/".join(part for part in (self.question, self.parameter, FIGURES[self.figure][0]) if part)


class Results:
    """Figures by `Key` and peer (`runs`), the first file's context, and all that is to be warned of."""

    def __init__(self, paths):
        if not paths:
            raise Refused("No files of results given.")
        self.paths = list(paths)
        self.runs = defaultdict(dict)
        self.benchmarks = []
        self._work = {}
        self._operations = {}
        self._warnings = []
        self.context = None
        for path in self.paths:
            self._read(path)
        if not self.runs:
            raise Refused(f"{', '.join(self.paths)}: no results in there; does the filter match a benchmark?")

    def _read(self, path):
        try:
            with open(path, encoding="utf-8") as file:
                content = json.load(file)
            context, benchmarks = content["context"], content["benchmarks"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Refused(f"{path}: not the JSON of Google Benchmark ({error})") from error
        if self.context is None:
            self.context = context
        else:
            self._warnings += check_contexts(self.context, self.paths[0], context, path)
            # Those of programs in other languages.
            if context.get("other_compilers"):
                self.context = {**self.context, "other_compilers": context["other_compilers"]}
            if context.get("line_round_trip_ns"):
                trips = f'{self.context.get("line_round_trip_ns", "")} {context["line_round_trip_ns"]}'
                self.context = {**self.context, "line_round_trip_ns": trips.strip()}
        for run in benchmarks:
            if run.get("run_type") == "aggregate":
                continue
            why = run.get("error_message", "failed")
            if run.get("error_occurred") and why.startswith(LEFT_OUT):
                self._warnings.append(f"{run['name']} was {why}.")
                continue
            if run.get("error_occurred"):
                raise Refused(f"{path}: {run['name']}: {why}")
            self._add(run, path)
            self.benchmarks.append(run)

    def _add(self, run, path):
        question, peer, *rest = run["name"].split("/")
        parameter = rest[0] if rest and rest[0].isdigit() else ""
        self._check_amount(question, "times", run["iterations"], path, self._work)
        if "work" in run:
            self._check_amount(question, "operations", round(run["work"]), path, self._operations)
        for figure in figures_of(run):
            value = run[figure] * (MILLISECONDS[run["time_unit"]] if figure == "real_time" else FIGURES[figure][1])
            by_peer = self.runs[Key(question, parameter, figure)]
            if figure == "cpu_us_per_s":
                value = round(value, 3)  # a difference of sums, which leaves residues instead of 0
            name = "/".join(filter(None, (question, peer, parameter, figure)))
            by_peer.setdefault(peer, Series(name)).values.append(value)

    @staticmethod
    def _check_amount(question, unit, amount, path, known):
        first, where = known.setdefault(question, (amount, path))
        if first != amount:
            raise Refused(f"{question} runs {first} {unit} a round in {where} and {amount} {unit} in {path}: "
                          "that is not the same work.")

    @property
    def operations(self):
        """How many operations a run of each question does, where it says that."""
        return {question: amount for question, (amount, _) in self._operations.items()}

    @property
    def work(self):
        """How often each question's work is done in a round."""
        return {question: iterations for question, (iterations, _) in self._work.items()}

    @property
    def rounds(self):
        return max(len(series.values) for by_peer in self.runs.values() for series in by_peer.values())

    def keys(self, *figures):
        """Keys of these figures, or of all, in the order of pages."""
        return sorted((k for k in self.runs if not figures or k.figure in figures), key=Key.order)

    def serial(self, key):
        """The same problem without any library, or None."""
        return self.runs.get(key._replace(parameter="1"), {}).get("serial")

    def warnings(self):
        """Sentences that a reader of the figures should know."""
        said = list(dict.fromkeys(self._warnings))
        load, cpus = load_of(self.context), self.context["num_cpus"]
        if load > BUSY * cpus:
            said.append(f"The machine was busy: load {load:.2f} on {cpus} CPUs before the start, more than "
                        f"{BUSY * cpus:.2f}. Only differences much larger than the intervals mean something.")
        if self.context.get("cpu_scaling_enabled"):
            said.append("The CPUs change their frequency (cpu_scaling_enabled).")
        trips = trips_of(self.context)
        if trips and max(trips) > APART * min(trips):
            said.append(f"The CPUs were not always equally near: {nearness(self.context)}. Figures of threads that "
                        "share data are from several machines, as it were.")
        if self.rounds < ENOUGH:
            said.append(f"{self.rounds} round{'' if self.rounds == 1 else 's'} only: intervals of fewer than {ENOUGH} "
                        "rounds are narrower than they should be.")
        times = [(s.spread, s.name) for by_peer in self.runs.values() for s in by_peer.values() if len(s.values) > 1]
        noisy = sorted((t for t in times if t[0] > SPREAD), reverse=True)
        if len(noisy) > len(times) / 10:
            worst = ", ".join(f"{name} {percent(spread)}" for spread, name in noisy[:3])
            said.append(f"{len(noisy)} of {len(times)} figures spread by more than {percent(SPREAD)} of their median "
                        f"from quartile to quartile; the worst: {worst}.")
        return said


def figures_of(run):
    """Which figures a run is about: its own, or its time. Runs that report memory or percentiles give only those."""
    if "rss_mb" in run:
        return ["rss_mb"]
    if "bytes_per_task" in run:
        return ["bytes_per_task"]
    own = [f for f in FIGURES if f != "real_time" and f in run]
    return [f for f in own if f != "items_per_second" or "p50_us" not in own] or ["real_time"]


def check_contexts(one, one_name, other, other_name):
    """Refuses results of different machines or builds; returns warnings about what was not recorded."""
    unknown = []
    for key, words in SAME.items():
        if key not in one or key not in other:
            unknown.append(words)
        elif one[key] != other[key]:
            raise Refused(f"Different {words}: {one[key]} in {one_name}, {other[key]} in {other_name}. "
                          "Results are put side by side only if they come from one machine and one kind of build.")
    return [f"Not recorded, so not known to be the same in all files: {', '.join(unknown)}."] if unknown else []


def stem(question):
    """The question without the size of its problem."""
    return re.sub(r"\d+$", "", question)


def check_work(old, new):
    """Refuses two results that share no question, or whose questions differ in size or repetition."""
    names = ", ".join(old.paths), ", ".join(new.paths)
    for question in sorted(old.work.keys() - new.work.keys()):
        others = [q for q in new.work if stem(q) == stem(question)]
        if others and not any(q in old.work for q in others):
            raise Refused(f"Different sizes: {question} in {names[0]}, {', '.join(others)} in {names[1]}.")
    both = old.work.keys() & new.work.keys()
    if not both:
        raise Refused(f"Different problems: {', '.join(sorted(old.work))} in {names[0]}, "
                      f"{', '.join(sorted(new.work))} in {names[1]}.")
    for question in sorted(both):
        for unit, before, after in (("times", old.work, new.work), ("operations", old.operations, new.operations)):
            if question in before and question in after and before[question] != after[question]:
                raise Refused(f"{question} runs {before[question]} {unit} a round in {names[0]} and "
                              f"{after[question]} {unit} in {names[1]}: that is not the same work.")


def is_weir(peer):
    return peer.split("-")[0] == "weir"


def best_peer(by_peer, figure):
    """The peer (not weir, not serial) with the best median, or None."""
    others = [p for p in by_peer if not is_weir(p) and p != "serial"]
    choose = max if FIGURES[figure][2] else min
    return choose(others, key=lambda p: by_peer[p].median) if others else None


def parameter_words(key):
    """What the parameter of a key counts, with the number; "" without one."""
    if not key.parameter:
        return ""
    if key.question in SUBMITTING:
        return f"{key.parameter} submitting"
    return f"{key.parameter} worker{'' if key.parameter == '1' else 's'}"


def load_of(context):
    """The load before the benchmarks, if it was recorded, or before this program."""
    return float(context.get("load_before", context["load_avg"][0]))


def trips_of(context):
    """Nanoseconds from CPU to CPU and back, before each program."""
    return [float(trip) for trip in context.get("line_round_trip_ns", "").split()]


def nearness(context):
    """The same as words; "" if it was not recorded."""
    trips = trips_of(context)
    if not trips:
        return ""
    low, high = number(min(trips)), number(max(trips))
    return f"{low if low == high else f'{low} to {high}'} ns for a cache line to another CPU and back"


def machine(context):
    """What ran the benchmarks, and when."""
    near = nearness(context)
    built = ", ".join(context[k] for k in ("compiler", "build_type", "other_compilers") if context.get(k))
    of = f", revision {context['revision']}" if context.get("revision") else ""
    return (f"{context['date'][:10]}, {context['num_cpus']} CPUs ({context.get('cpu', 'model not recorded')}), "
            f"{built + ', ' if built else ''}load {load_of(context):.2f} at the start{', ' + near if near else ''}{of}.")


def remarks(results):
    """What stands below a table: the machine, and what a reader should know."""
    said = "".join(f"\n- {warning}" for warning in results.warnings())
    return machine(results.context) + (f"\n{said}" if said else "")


def number(value):
    """Three digits, without an exponent."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def factor(value):
    """A ratio with as many digits as mean something: 0.18, 2.35, 17.4, 230."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def percent(part):
    return f"{part * 100:.0f} %"


def arguments_of(arguments):
    """The files of results, and the file to write to or None."""
    return (arguments[:-2], arguments[-1]) if "--into" in arguments[-2:-1] else (arguments, None)


def main(run):
    """Runs a script; refusals end it with status 2."""
    try:
        sys.exit(run())
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        sys.exit(2)


def merge():
    paths, into = arguments_of(sys.argv[1:])
    if into is None:
        raise Refused(__doc__)
    results = Results(paths)
    with open(into, "w", encoding="utf-8") as file:
        json.dump({"context": results.context, "benchmarks": results.benchmarks}, file, indent=1)


if __name__ == "__main__":
    main(merge)
