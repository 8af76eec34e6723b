# SPDX-License-Identifier: MIT
import subprocess
import sys
import unittest

from support import TestWithFiles, runs
import fork_table
import results
import table
from results import Key, Refused, Results


class Reading(TestWithFiles):
    def test_rounds_are_grouped_by_question_peer_and_workers(self):
        path = self.write("a.json", runs("fib36/weir-functions/1", [3, 1, 2]), runs("fib36/weir-functions/2", [4]),
                          runs("fib36/serial/1", [9]))
        found = Results([path])
        self.assertEqual(found.runs[Key("fib36", "1", "real_time")]["weir-functions"].median, 2)
        self.assertEqual(found.runs[Key("fib36", "2", "real_time")]["weir-functions"].values, [4])
        self.assertEqual(found.serial(Key("fib36", "2", "real_time")).values, [9])
        self.assertEqual(found.rounds, 3)

    def test_aggregates_are_left_out(self):
        mean = {**runs("fib36/onetbb/1", [50])[0], "run_type": "aggregate"}
        found = Results([self.write("a.json", runs("fib36/onetbb/1", [1, 2]), [mean])])
        self.assertEqual(found.runs[Key("fib36", "1", "real_time")]["onetbb"].values, [1, 2])

    def test_times_become_milliseconds(self):
        found = Results([self.write("a.json", runs("sort/serial/1", [2], unit="s"))])
        self.assertEqual(found.runs[Key("sort", "1", "real_time")]["serial"].values, [2000])

    def test_runs_with_figures_of_their_own_give_no_times(self):
        found = Results([self.write(
            "a.json", runs("throughput/weir/2", [5], items_per_second=[3e6]),
            runs("round_trip/weir", [5], items_per_second=[1], p50_us=[1.5], p99_us=[9]),
            runs("fib36/weir-functions/1", [5], rss_mb=[6]))])
        self.assertEqual(sorted(k.figure for k in found.runs), ["items_per_second", "p50_us", "p99_us", "rss_mb"])
        self.assertAlmostEqual(found.runs[Key("throughput", "2", "items_per_second")]["weir"].median, 3)

    def test_files_of_one_machine_are_read_together(self):
        found = Results([self.write("a.json", runs("fib36/serial/1", [1])),
                         self.write("b.json", runs("sort/serial/1", [1]))])
        self.assertEqual(set(found.work), {"fib36", "sort"})
        self.assertEqual(found.context["compiler"], "g++ 12.2.0")

    def test_best_peer_is_neither_weir_nor_serial(self):
        times = (("weir-functions", 1), ("serial", 2), ("onetbb", 4), ("libgomp-gnu", 3))
        found = Results([self.write("a.json", *(runs(f"sort/{peer}/1", [t]) for peer, t in times))])
        self.assertEqual(results.best_peer(found.runs[Key("sort", "1", "real_time")], "real_time"), "libgomp-gnu")

    def test_best_throughput_is_the_greatest(self):
        found = Results([self.write("a.json", runs("throughput/mutex/1", [1], items_per_second=[3]),
                                    runs("throughput/asio/1", [1], items_per_second=[2]))])
        key = Key("throughput", "1", "items_per_second")
        self.assertEqual(results.best_peer(found.runs[key], key.figure), "mutex")

    def test_compilers_of_other_languages_are_kept(self):
        ours = self.write("a.json", runs("inside/weir/1", [1], items_per_second=[2e6]))
        others = self.write("go.json", runs("inside/go/1", [1], items_per_second=[1]), other_compilers="go 1.19")
        subprocess.run([sys.executable, results.__file__, ours, others, "--into", self.path("all.json")], check=True)
        self.assertEqual(Results([self.path("all.json")]).context["other_compilers"], "go 1.19")

    def test_runs_may_have_several_figures(self):
        found = Results([self.write("a.json", runs("throughput/weir/2", [5], items_per_second=[3e6],
                                                   cpu_ns_per_job=[40], work=[2e6]))])
        self.assertEqual([k.figure for k in found.keys()], ["items_per_second", "cpu_ns_per_job"])

    def test_parameters_are_said_by_what_they_count(self):
        self.assertEqual(results.parameter_words(Key("throughput", "2", "items_per_second")), "2 submitting")
        self.assertEqual(results.parameter_words(Key("inside", "1", "items_per_second")), "1 worker")
        self.assertEqual(results.parameter_words(Key("relay", "", "items_per_second")), "")

    def test_merged_file_has_the_same_rounds(self):
        a = self.write("a.json", runs("fib36/serial/1", [1, 2]))
        b = self.write("b.json", runs("sort/serial/1", [3]))
        subprocess.run([sys.executable, results.__file__, a, b, "--into", self.path("all.json")], check=True)
        merged = Results([self.path("all.json")])
        self.assertEqual(merged.work, Results([a, b]).work)
        self.assertEqual(merged.runs[Key("fib36", "1", "real_time")]["serial"].values, [1, 2])


class Refusals(TestWithFiles):
    def assert_refused(self, paths, *words):
        with self.assertRaises(Refused) as caught:
            Results(paths)
        for word in words:
            self.assertIn(word, str(caught.exception))

    def test_other_contexts(self):
        for key, value in (("compiler", "clang++ 19"), ("build_type", "debug"), ("cpu", "Another CPU"), ("num_cpus", 8),
                           ("host_name", "there"), ("flags", "-O0")):
            with self.subTest(key):
                a = self.write("a.json", runs("fib36/serial/1", [1]))
                b = self.write("b.json", runs("sort/serial/1", [1]), **{key: value})
                self.assert_refused([a, b], "a.json", "b.json", results.SAME[key], str(value))

    def test_other_work_in_a_round(self):
        a = self.write("a.json", runs("for_tiny/serial/1", [1], iterations=10))
        b = self.write("b.json", runs("for_tiny/onetbb/1", [1], iterations=5))
        self.assert_refused([a, b], "for_tiny", "10 times", "5 times", "a.json", "b.json")

    def test_other_amounts_of_work(self):
        a = self.write("a.json", runs("inside/weir/1", [1], items_per_second=[1], work=[1e6]))
        b = self.write("b.json", runs("inside/go/1", [1], items_per_second=[1], work=[2e6]))
        self.assert_refused([a, b], "inside", "1000000 operations", "2000000 operations", "a.json", "b.json")

    def test_amounts_that_are_not_recorded_are_not_compared(self):
        a = self.write("a.json", runs("inside/weir/1", [1], items_per_second=[1], work=[1e6]))
        b = self.write("b.json", runs("inside/go/1", [1], items_per_second=[1]))
        self.assertEqual(Results([a, b]).operations, {"inside": 1000000})

    def test_failed_run(self):
        failed = {**runs("sort/onetbb/1", [1])[0], "error_occurred": True, "error_message": "wrong result"}
        self.assert_refused([self.write("a.json", [failed])], "sort/onetbb/1", "wrong result")

    def test_a_run_for_which_the_machine_is_too_slow_is_left_out_and_said(self):
        slow = {**runs("sleeper_fire/asio", [1])[0], "error_occurred": True, "error_message": "left out: too slow"}
        found = Results([self.write("a.json", [slow], runs("sleeper_fire/weir", [1]))])
        self.assertEqual([peer for by_peer in found.runs.values() for peer in by_peer], ["weir"])
        self.assertTrue(any("sleeper_fire/asio" in w and "too slow" in w for w in found.warnings()))

    def test_not_results(self):
        with open(self.path("a.json"), "w", encoding="utf-8") as file:
            file.write('{"context": ')
        self.assert_refused([self.path("a.json")], "a.json")
        self.assert_refused([self.path("none.json")], "none.json")
        self.assert_refused([self.write("b.json")], "no results", "b.json")
        self.assert_refused([])

    def test_scripts_end_with_status_2_and_say_why(self):
        done = subprocess.run([sys.executable, table.__file__, self.path("none.json")], capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("none.json", done.stderr)
        self.assertNotIn("Traceback", done.stderr)


class Warnings(TestWithFiles):
    def warnings(self, *benchmarks, **context):
        return " ".join(Results([self.write("a.json", *benchmarks, **context)]).warnings())

    def test_quiet_machine(self):
        self.assertEqual(self.warnings(runs("sort/serial/1", [100, 101, 102, 103, 104])), "")

    def test_few_rounds(self):
        self.assertIn("4 rounds only", self.warnings(runs("sort/serial/1", [100, 101, 102, 103])))

    def test_residues_of_idle_time_are_nothing(self):
        self.assertNotIn("idle_cpu", self.warnings(runs("idle_cpu/weir", [1, 1], cpu_us_per_s=[8.9e-10, 0])))

    def test_load(self):
        self.assertIn("load 3.00 on 2 CPUs", self.warnings(runs("sort/serial/1", [1]), load_avg=[3.0, 1, 1]))

    def test_load_of_the_earlier_benchmarks_is_not_held_against_the_later_ones(self):
        self.assertEqual(self.warnings(runs("sort/serial/1", [1] * 5), load_avg=[2.0, 1, 1], load_before="0.1"), "")

    def test_cpus_that_move_apart(self):
        a = self.write("a.json", runs("sort/serial/1", [1] * 5), line_round_trip_ns="60.5")
        b = self.write("b.json", runs("fib36/serial/1", [1] * 5), line_round_trip_ns="530.2")
        self.assertNotIn("near", " ".join(Results([a]).warnings()))
        self.assertIn("60.5 to 530 ns", " ".join(Results([a, b]).warnings()))
        into = self.path("all.json")
        subprocess.run([sys.executable, results.__file__, a, b, "--into", into], check=True)
        self.assertIn("60.5 to 530 ns", " ".join(Results([into]).warnings()))
        self.assertIn("60.5 to 530 ns for a cache line", results.machine(Results([into]).context))

    def test_spread(self):
        self.assertIn("sort/serial/1", self.warnings(runs("sort/serial/1", [100, 150, 200])))

    def test_what_was_not_recorded(self):
        a = self.write("a.json", runs("sort/serial/1", [1]))
        b = self.write("b.json", runs("fib36/serial/1", [1]), compiler=None)
        self.assertIn("compiler", " ".join(Results([a, b]).warnings()))


class Tables(TestWithFiles):
    def test_flat(self):
        path = self.write("a.json", runs("throughput/weir/2", [1, 1], items_per_second=[30e6, 34e6]),
                          runs("throughput/asio/2", [1, 1], items_per_second=[8e6, 8e6]),
                          runs("round_trip/weir", [1], p50_us=[4]), runs("round_trip/asio", [1], p50_us=[2]))
        lines = table.table([path]).splitlines()
        self.assertEqual(lines[0], "| 2 rounds, medians | unit | weir | asio | weir to the best peer |")
        self.assertEqual(lines[2], "| throughput, 2 submitting | M/s | 32 | 8 | 4.00× |")
        self.assertEqual(lines[3], "| round trip | p50 µs, one run | 4 | 2 | 0.50× |")
        self.assertIn("A CPU", lines[5])
        self.assertIn("2 rounds only", lines[-1])

    def test_ratios_that_may_be_wins_or_losses_are_marked(self):
        path = self.write("a.json", runs("relay/weir", [1] * 5, items_per_second=[3e6, 4e6, 5e6, 6e6, 7e6]),
                          runs("relay/asio", [1] * 5, items_per_second=[4e6, 4e6, 4e6, 6e6, 6e6]))
        self.assertIn("| ≈ 1.25× |", table.table([path]))

    def test_a_busy_machine_is_said_below_tables(self):
        path = self.write("a.json", runs("sort/serial/1", [1]), load_before="9.5")
        for text in (table.table([path]), fork_table.table([path])):
            self.assertIn("load 9.50", text.splitlines()[-2])
            self.assertIn("busy", text)

    def test_short_table_has_a_row_for_each_way_of_weir_with_losses(self):
        path = self.write("a.json", runs("bounded_fifo/weir-fixed/1", [1], items_per_second=[4e6]),
                          runs("bounded_fifo/weir-autoscale/1", [1], items_per_second=[1e6]),
                          runs("bounded_fifo/mutex/1", [1], items_per_second=[2e6]),
                          runs("bounded_fifo/asio-gate/1", [1], items_per_second=[1e6]),
                          runs("wake_up/weir", [1], p50_us=[4], p90_us=[5], p99_us=[6]),
                          runs("wake_up/asio", [1], p50_us=[2], p90_us=[6], p99_us=[9]),
                          runs("idle_cpu/weir", [1], cpu_us_per_s=[0]), runs("idle_cpu/asio", [1], cpu_us_per_s=[0]),
                          runs("fib36/weir-functions/1", [3]), runs("fib36/onetbb/1", [4]))
        rows = [line for line in table.table([path], short=True).splitlines() if line.startswith("|")][2:]
        self.assertEqual(rows, [
            "| wake up | p50 µs | 4 | 2 | asio | 0.50× |", "| wake up | p99 µs | 6 | 9 | asio | 1.50× |",
            "| idle cpu | µs of CPU per s | 0 | 0 | asio | – |",
            "| bounded fifo, 1 submitting (autoscale) | M/s | 1 | 2 | mutex | 0.50× |",
            "| bounded fifo, 1 submitting (fixed) | M/s | 4 | 2 | mutex | 2.00× |"])

    def test_full_table_compares_the_plain_way_of_weir(self):
        path = self.write("a.json", runs("mixed/weir/1", [1], p50_us=[8]), runs("mixed/weir-jobs/1", [1], p50_us=[4]),
                          runs("mixed/asio/1", [1], p50_us=[2]))
        self.assertTrue(table.table([path]).splitlines()[2].endswith("| 8 | 4 | 2 | 0.25× |"))

    def test_fork(self):
        path = self.write("a.json", runs("sort/serial/1", [600]), runs("sort/weir-functions/2", [200]),
                          runs("sort/onetbb/2", [400]), runs("sort/libgomp-static/2", [500]),
                          runs("sort/libgomp-gnu/2", [300]))
        memory = self.write("m.json", runs("sort/weir-functions/2", [200], rss_mb=[5.5]),
                            runs("sort/onetbb/2", [200], rss_mb=[9]))
        lines = fork_table.table([path, memory]).splitlines()
        self.assertIn("| workers | serial | weir-functions | onetbb | libgomp | weir to the best peer | weir to serial |",
                      lines[0])
        self.assertEqual(lines[2], "| sort | 1 | 600 | – | – | – | – | – | – |")
        self.assertEqual(lines[3], "| sort | 2 | – | 200 | 400 | 300 | 1.50× | 3.00× | 5.5 |")

    def test_brief_fork_table_names_the_best_peer_and_shows_losses(self):
        path = self.write("a.json", runs("sort/serial/1", [600]), runs("sort/weir-functions/2", [200]),
                          runs("sort/onetbb/2", [400]), runs("sort/libgomp-gnu/2", [100]),
                          runs("pipeline/weir-coroutines/2", [50]))
        lines = fork_table.table([path], is_brief=True).splitlines()
        self.assertEqual(lines[2], "| pipeline | 2 | – | 50 (coroutines) | – | – |")
        self.assertEqual(lines[3], "| sort | 1 | 600 | – | – | – |")
        self.assertEqual(lines[4], "| sort | 2 | 600 | 200 | 100 (libgomp-gnu) | 0.50× |")

    def test_only_what_stands_between_the_marks_is_replaced(self):
        with open(self.path("page.md"), "w", encoding="utf-8") as file:
            file.write("before\n<!-- table -->\nold\n<!-- end of table -->\nafter\n")
        table.put("new", self.path("page.md"), "table")
        with open(self.path("page.md"), encoding="utf-8") as file:
            self.assertEqual(file.read(), "before\n<!-- table -->\nnew\n<!-- end of table -->\nafter\n")


if __name__ == "__main__":
    unittest.main()
