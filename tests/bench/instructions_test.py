# SPDX-License-Identifier: MIT
import json
import os
import unittest

from support import TestWithFiles
import instructions
from instructions import Operation
from results import Refused


class Counting(unittest.TestCase):
    def test_what_starts_and_ends_the_program_does_not_count(self):
        runs = {15: (100, 1_000_000 + 100 * 42), 20: (1_100, 1_000_000 + 1_100 * 42)}
        found = instructions.count(Operation("count", "fib/weir-functions", 15, 20), lambda _, size: runs[size])
        self.assertEqual(found, 42)

    def test_table_puts_weir_first(self):
        lines = instructions.table({"fib/weir-join": 291.6, "fib/onetbb": 964.2, "post/mutex": 280, "post/weir": 339,
                                    "timer_fire/weir": 5}).splitlines()
        self.assertEqual(lines[2:], ["| fib | join 292 | onetbb 964 |", "| post | 339 | mutex 280 |",
                                     "| timer fire | 5 | – |"])


class Checking(unittest.TestCase):
    def check(self, figure, *others, recorded=100):
        left = list(others)
        said = instructions.check({"post/weir": figure}, {"post/weir": recorded}, lambda _: left.pop(0))
        return said, left

    def test_three_percent_are_allowed_both_ways(self):
        for figure in (97.1, 100, 102.9):
            self.assertEqual(self.check(figure), ([], []))

    def test_more_is_an_error(self):
        said, left = self.check(103.2, 103.1, 103.3)
        self.assertEqual(left, [])
        self.assertEqual(said, ["post/weir: 103.3 instructions, 3.3 % more than the 100.0 recorded: find out why."])

    def test_fewer_asks_to_be_recorded(self):
        said, _ = self.check(90, 90, 90)
        self.assertEqual(said, ["post/weir: 90.0 instructions, 10.0 % fewer than the 100.0 recorded: record it anew."])

    def test_a_run_that_differs_by_chance_is_repeated(self):
        self.assertEqual(self.check(110, 101, 110), ([], [110]))

    def test_figures_of_other_libraries_are_not_checked(self):
        self.assertEqual(instructions.check({"post/asio": 5}, {}, None), [])

    def test_an_operation_without_a_record_is_an_error(self):
        self.assertIn("no figure recorded", instructions.check({"post/weir": 5}, {}, None)[0])


class Recording(TestWithFiles):
    def test_only_this_compiler_and_only_weir(self):
        path = self.path("recorded.json")
        instructions.record(path, "GCC 12", {"gone/weir": 1})
        instructions.record(path, "Clang 19", {"post/weir": 296.04, "post/asio": 650})
        instructions.record(path, "GCC 12", {"post/weir": 333})
        with open(path, encoding="utf-8") as file:
            self.assertEqual(json.load(file), {"licence": "SPDX-License-Identifier: MIT", "GCC 12": {"post/weir": 333},
                                               "Clang 19": {"post/weir": 296.0}})


class Programs(TestWithFiles):
    """With a program and a valgrind that are scripts: 100 instructions an operation and 12,345 besides."""

    def setUp(self):
        super().setUp()
        self.script("count", """case $1 in
  --list) echo 'post/weir 10 20'; echo 'post/asio 10 20' ;;
  --compiler) echo 'GCC 12' ;;
  *) echo "$2" ;;
esac""")
        self.script("valgrind", """for size; do :; done
echo "Collected : $((12345 + 100 * size))" >&2
echo "$size\"""")
        before = os.environ["PATH"]
        self.addCleanup(os.environ.__setitem__, "PATH", before)
        os.environ["PATH"] = f"{self.folder}:{before}"
        self.program = self.path("count")

    def script(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\n" + text + "\n")
        os.chmod(self.path(name), 0o755)

    def test_all_are_counted(self):
        self.assertEqual(instructions.count_all(self.program), {"post/weir": 100, "post/asio": 100})
        self.assertEqual(instructions.count_all(self.program, "/weir"), {"post/weir": 100})

    def test_nothing_to_count(self):
        with self.assertRaises(Refused):
            instructions.count_all(self.program, "none")

    def test_check_of_a_program(self):
        path = self.path("recorded.json")
        figures = instructions.count_all(self.program)
        self.assertIn("no figures of GCC 12", instructions.check_program(self.program, figures, path)[0])
        instructions.record(path, "GCC 12", figures)
        self.assertEqual(instructions.check_program(self.program, figures, path), [])
        instructions.record(path, "GCC 12", {**figures, "submit/weir": 3})
        self.assertIn("submit/weir", instructions.check_program(self.program, figures, path)[0])

    def test_a_program_that_fails_is_refused_with_its_words(self):
        self.script("count", "echo wrong result >&2; exit 1")
        with self.assertRaises(Refused) as caught:
            instructions.count_all(self.program)
        self.assertIn("wrong result", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
