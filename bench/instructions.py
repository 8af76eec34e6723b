# SPDX-License-Identifier: MIT
"""Counts the instructions of operations under valgrind's callgrind: a figure without the machine's noise.

    instructions.py PROGRAM...                  prints instructions per operation, by question and peer
    instructions.py --check FILE PROGRAM...     also ends with status 1 if weir's differ from those in FILE by more than 3 %
    instructions.py --record FILE PROGRAM...    also writes weir's into FILE, for the programs' compilers
    --filter EXPRESSION                         only operations whose names match

A program is bench/count of a release build, or one that answers as it does. Two runs of different size are
subtracted, so that what starts and ends the program does not count.
"""
import argparse
import json
import os
import re
import subprocess
import sys
from typing import NamedTuple

from results import Refused, is_weir, main

TOLERANCE = 0.03
TRIES = 3  # of a figure that is not as recorded


class Operation(NamedTuple):
    program: str
    name: str
    small: int
    large: int

    @property
    def question(self):
        return self.name.split("/")[0]

    @property
    def peer(self):
        return self.name.split("/")[1]


def output_of(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise Refused(f"{' '.join(command)}: {error.strerror}") from error
    if done.returncode != 0:
        raise Refused(f"{' '.join(command)}: status {done.returncode}\n{done.stderr.strip()}")
    return done


def operations_of(program):
    lines = output_of(program, "--list").stdout.splitlines()
    return [Operation(program, name, int(small), int(large)) for name, small, large in map(str.split, lines)]


def compiler_of(program):
    return output_of(program, "--compiler").stdout.strip()


def run_once(operation, size):
    """How many operations a run of this size has done, and how many instructions that took."""
    done = output_of("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", operation.program,
                     operation.name, str(size))
    return int(done.stdout), int(re.search(r"Collected : (\d+)", done.stderr)[1])


def count(operation, run=run_once):
    """Instructions per operation."""
    few, instructions_of_few = run(operation, operation.small)
    many, instructions_of_many = run(operation, operation.large)
    return (instructions_of_many - instructions_of_few) / (many - few)


def difference(figure, recorded):
    """In parts of the recorded figure."""
    return figure / recorded - 1


def check(figures, recorded, again):
    """Sentences about those of weir's figures that are not as recorded. `again(name)` counts anew: nothing that a
    single run does by chance makes a figure fail."""
    said = []
    for name, figure in figures.items():
        if not is_weir(name.split("/")[1]):
            continue
        if name not in recorded:
            said.append(f"{name}: {figure:.1f} instructions, and no figure recorded.")
            continue
        for _ in range(TRIES - 1):
            if abs(difference(figure, recorded[name])) <= TOLERANCE:
                break
            figure = again(name)
        off = difference(figure, recorded[name])
        if abs(off) > TOLERANCE:
            said.append(f"{name}: {figure:.1f} instructions, {abs(off) * 100:.1f} % {'more' if off > 0 else 'fewer'} than "
                        f"the {recorded[name]:.1f} recorded" + (": find out why." if off > 0 else ": record it anew."))
    return said


def table(figures):
    """Markdown: a line for each question, weir's figures first and then the others'."""
    lines = ["| instructions per operation | weir | others |", "|---|---:|---:|"]
    for question in dict.fromkeys(name.split("/")[0] for name in figures):
        of = {name.split("/")[1]: figure for name, figure in figures.items() if name.split("/")[0] == question}

        def cell(wanted, of=of):
            some = [f"{peer.removeprefix('weir-')} {figure:.0f}" if peer != "weir" else f"{figure:.0f}"
                    for peer, figure in of.items() if is_weir(peer) == wanted]
            return ", ".join(some) or "–"

        lines.append(f"| {question.replace('_', ' ')} | {cell(True)} | {cell(False)} |")
    return "\n".join(lines)


def read(path):
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def record(path, compiler, figures):
    """Replaces what the file says of this compiler."""
    known = read(path)
    known["licence"] = "SPDX-License-Identifier: MIT"
    known[compiler] = {name: round(figure, 1) for name, figure in figures.items() if is_weir(name.split("/")[1])}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(known, file, indent=1, sort_keys=True)
        file.write("\n")


def count_all(program, expression=""):
    """Instructions per operation by name."""
    figures = {o.name: count(o) for o in operations_of(program) if re.search(expression, o.name)}
    if not figures:
        raise Refused(f"{program}: no operation matches {expression}")
    return figures


def check_program(program, figures, path):
    """What `check` says of a program's figures."""
    compiler = compiler_of(program)
    recorded = read(path).get(compiler)
    if recorded is None:
        return [f"{path} has no figures of {compiler}."]
    operations = {o.name: o for o in operations_of(program)}
    gone = [f"{name}: is recorded, but is not there any more." for name in recorded if name not in operations]
    return gone + check(figures, recorded, lambda name: count(operations[name]))


def run():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs", nargs="+")
    parser.add_argument("--check")
    parser.add_argument("--record")
    parser.add_argument("--filter", default="")
    options = parser.parse_args()
    status = 0
    for program in options.programs:
        figures = count_all(program, options.filter)
        print(f"{compiler_of(program)}\n\n{table(figures)}\n", flush=True)
        if options.record:
            record(options.record, compiler_of(program), figures)
        if options.check:
            said = check_program(program, figures, options.check)
            print("\n".join(said), end="\n" if said else "")
            status = status or int(bool(said))
    return status


if __name__ == "__main__":
    main(run)
