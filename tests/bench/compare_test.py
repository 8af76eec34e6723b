# SPDX-License-Identifier: MIT
import contextlib
import io
import subprocess
import sys

from support import TestWithFiles, runs
import compare
from results import Refused

STEADY = [100, 101, 102, 103, 104]
SLOWER = [120, 121, 122, 123, 124]


class Comparisons(TestWithFiles):
    def compare(self, old, new, *options):
        """The status and the text."""
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            status = compare.run([old, new, *options])
        return status, text.getvalue()

    def test_slower_is_a_regression(self):
        old = self.write("old.json", runs("fib36/weir-functions/1", STEADY))
        status, text = self.compare(old, self.write("new.json", runs("fib36/weir-functions/1", SLOWER)))
        self.assertEqual(status, 1)
        self.assertIn("| fib36/1/ms | weir-functions | 102 | 122 | 1.20× |", text)
        self.assertIn("| 0.004 | worse |", text)
        self.assertIn("permutation test", text)

    def test_faster_is_none(self):
        old = self.write("old.json", runs("fib36/weir-functions/1", SLOWER))
        status, text = self.compare(old, self.write("new.json", runs("fib36/weir-functions/1", STEADY)))
        self.assertEqual(status, 0)
        self.assertIn("| better |", text)

    def test_less_throughput_is_a_regression_and_more_is_none(self):
        many = self.write("many.json", runs("throughput/weir/1", [1] * 5, items_per_second=[v * 1e6 for v in SLOWER]))
        few = self.write("few.json", runs("throughput/weir/1", [1] * 5, items_per_second=[v * 1e6 for v in STEADY]))
        self.assertEqual(self.compare(many, few)[0], 1)
        self.assertEqual(self.compare(few, many)[0], 0)

    def test_noise_is_none(self):
        old = self.write("old.json", runs("fib36/weir-functions/1", [100, 140, 90, 160, 110]))
        new = self.write("new.json", runs("fib36/weir-functions/1", [150, 95, 120, 170, 105]))
        self.assertEqual(self.compare(old, new)[0], 0)

    def test_less_than_the_limit_is_none(self):
        old = self.write("old.json", runs("fib36/weir-functions/1", [1000, 1001, 1002, 1003, 1004]))
        new = self.write("new.json", runs("fib36/weir-functions/1", [1020, 1021, 1022, 1023, 1024]))
        self.assertEqual(self.compare(old, new)[0], 0)
        self.assertEqual(self.compare(old, new, "--limit", "1")[0], 1)

    def test_other_libraries_cannot_regress_but_tell_of_the_machine(self):
        same = runs("fib36/weir-functions/1", STEADY)
        old = self.write("old.json", same, runs("fib36/onetbb/1", STEADY))
        status, text = self.compare(old, self.write("new.json", same, runs("fib36/onetbb/1", SLOWER)))
        self.assertEqual(status, 0)
        self.assertIn("the machine is not as it was", text)

    def test_too_few_rounds_are_said(self):
        old = self.write("old.json", runs("fib36/weir-functions/1", STEADY[:3]))
        status, text = self.compare(old, self.write("new.json", runs("fib36/weir-functions/1", SLOWER[:3])))
        self.assertEqual(status, 0)
        self.assertIn("too few rounds", text)

    def test_single_runs_are_not_called_too_few(self):
        old = self.write("old.json", runs("fib36/weir-functions/1", [1], rss_mb=[5]))
        status, text = self.compare(old, self.write("new.json", runs("fib36/weir-functions/1", [1], rss_mb=[50])))
        self.assertEqual(status, 0)
        self.assertIn("1 figures of weir are of one run each", text)
        self.assertNotIn("too few rounds", text)

    def test_idle_that_was_nothing_and_now_is_something(self):
        old = self.write("old.json", runs("idle_cpu/weir", [1] * 5, cpu_us_per_s=[0] * 5))
        new = self.write("new.json", runs("idle_cpu/weir", [1] * 5, cpu_us_per_s=STEADY))
        self.assertEqual(self.compare(old, new)[0], 1)
        little = self.write("little.json", runs("idle_cpu/weir", [1] * 5, cpu_us_per_s=[1, 2, 3, 4, 5]))
        self.assertEqual(self.compare(old, little)[0], 0)

    def test_a_part_is_compared_with_the_whole(self):
        whole = self.write("whole.json", runs("fib36/weir-functions/1", STEADY), runs("sort/weir-functions/1", STEADY))
        part = self.write("part.json", runs("sort/weir-functions/1", STEADY))
        self.assertIn("0 of 1 figures", self.compare(whole, part)[1])

    def test_what_is_gone_is_said(self):
        old = self.write("old.json", runs("fib36/weir-functions/1", STEADY), runs("fib36/weir-coroutines/1", STEADY))
        new = self.write("new.json", runs("fib36/weir-functions/1", STEADY))
        self.assertIn("In the old results only: fib36/1/ms, weir-coroutines.", self.compare(old, new)[1])

    def assert_refused(self, old, new, *words):
        with self.assertRaises(Refused) as caught:
            self.compare(old, new)
        for word in ("old.json", "new.json", *words):
            self.assertIn(word, str(caught.exception))

    def test_unlike_work_is_refused(self):
        fib = self.write("old.json", runs("fib36/weir-functions/1", STEADY), runs("sort/weir-functions/1", STEADY))
        self.assert_refused(fib, self.write("new.json", runs("reduce/weir-functions/1", STEADY)), "fib36", "reduce")
        self.assert_refused(fib, self.write("new.json", runs("fib38/weir-functions/1", STEADY),
                                            runs("sort/weir-functions/1", STEADY)), "fib36", "fib38")
        self.assert_refused(fib, self.write("new.json", runs("fib36/weir-functions/1", STEADY, iterations=2)),
                            "2 times")
        self.assert_refused(fib, self.write("new.json", runs("fib36/weir-functions/1", STEADY), compiler="clang++ 19"),
                            "g++ 12.2.0", "clang++ 19")
        self.assert_refused(fib, self.write("new.json", runs("fib36/onetbb/1", STEADY)))

    def test_statuses_of_the_script(self):
        old = self.write("old.json", runs("fib36/weir-functions/1", STEADY))
        new = self.write("new.json", runs("fib36/weir-functions/1", SLOWER))
        other = self.write("other.json", runs("fib36/weir-functions/1", SLOWER), host_name="there")
        statuses = [subprocess.run([sys.executable, compare.__file__, old, file], capture_output=True).returncode
                    for file in (old, new, other)]
        self.assertEqual(statuses, [0, 1, 2])
