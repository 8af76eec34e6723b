# SPDX-License-Identifier: MIT
"""Runs peers in other languages once, beside a round of the benchmarks.

    external.py --like RESULTS.json --into FILE.json [--round N] [--filter EXPRESSION]... [--rss] PROGRAM...

A program (bench/peers/build makes them) lists what it can by --list, says its compiler by --compiler, and prints runs
as Google Benchmark's JSON has them. They are put into a file whose context is that of RESULTS.json, of the same
machine and session, with the programs' compilers. The order is random, and each run has a process of its own, so that
what one leaves behind does not meet the next. Programs that do not exist are passed over. What a program cannot do on
this machine, it says and ends with status 3: that is printed and left out, as is what kills it. A wrong result ends
everything. With --rss, runs that report no memory are left out.
"""
import argparse
import json
import os
import random
import re
import subprocess

from results import Refused, main


class LeftOut(Refused):
    """A benchmark that the machine is too small or too slow for; the text says why."""


CANNOT = 3  # the status of a program that says so


def ask(program, *arguments):
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode == CANNOT:
        raise LeftOut(f"Left out: {program} {' '.join(arguments)}: {done.stderr.strip()}")
    if done.returncode < 0:
        raise LeftOut(f"Left out: {program} {' '.join(arguments)}: killed by signal {-done.returncode}\n"
                      f"{done.stderr.strip()}")
    if done.returncode != 0:
        raise Refused(f"{program} {' '.join(arguments)}: status {done.returncode}\n{done.stderr.strip()}")
    return done.stdout


def chosen(names, filters):
    """Those that Google Benchmark's filter would choose: it sees the whole name."""
    return [name for name in names
            if any(re.search(f, f"{name}/iterations:1/manual_time") for f in filters or ["."])]


def round_of(programs, filters, number, rss=False, ask=ask):
    """The runs of one round, in random order."""
    work = [(program, name) for program in programs for name in chosen(ask(program, "--list").split(), filters)]
    random.shuffle(work)
    runs = []
    for program, name in work:
        options = ["--rss"] if rss else []
        try:
            runs += json.loads(ask(program, *options, "--round", str(number), name))
        except LeftOut as why:
            print(why)
    return [run for run in runs if "rss_mb" in run] if rss else runs


def run():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="*")
    parser.add_argument("--like", required=True)
    parser.add_argument("--into", required=True)
    parser.add_argument("--round", type=int, default=0)
    parser.add_argument("--filter", action="append", default=[])
    parser.add_argument("--rss", action="store_true")
    options = parser.parse_args()
    programs = [program for program in options.programs if os.path.exists(program)]
    with open(options.like, encoding="utf-8") as file:
        context = json.load(file)["context"]
    context.pop("line_round_trip_ns", None)  # nothing was measured here
    context["other_compilers"] = ", ".join(ask(program, "--compiler").strip() for program in programs)
    runs = round_of(programs, options.filter, options.round, options.rss)
    with open(options.into, "w", encoding="utf-8") as file:
        json.dump({"context": context, "benchmarks": runs}, file, indent=1)


if __name__ == "__main__":
    main(run)
