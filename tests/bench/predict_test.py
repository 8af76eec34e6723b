# SPDX-License-Identifier: MIT
import os
import random
import sys
from unittest import mock

from support import TestWithFiles

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench", "scaling"))

import predict
from designs import COSTS, DESIGNS, PROBLEMS, PUBLISHED, REFERENCE, THERE, Use, around, central, request

FORKS = {"fib 39": 102334154, "skynet 8": 99999999, "uneven 1000000": 999999}
COUNTED = ["steals", "failed", "published", "near_lines", "far_lines", "owner_lines", "wakes", "all_busy"]


def simulated(_, requests):
    """Outcomes without thefts."""
    outcomes = []
    for words in map(str.split, requests):
        values = dict(word.split("=") for word in words if "=" in word)
        forks = FORKS.get(" ".join(words[:2]), 1)
        outcomes.append({"time": forks * int(values["fork"]) // int(values["workers"]), "forks": forks,
                         **dict.fromkeys(COUNTED, 3)})
    return outcomes


class Predictions(TestWithFiles):
    def test_what_is_counted_is_taken_out_of_what_was_measured(self):
        self.assertEqual(Use((100, 100, 100), {"rmw": 2}).plain(), (100 - 2 * THERE["rmw"],) * 3)
        self.assertEqual(Use((100, 110, 120), {"rmw": 2}, counted=False).plain(), (100, 110, 120))
        self.assertEqual(around(20, 10), (10, 20, 40))

    def test_ranges_are_in_order(self):
        ranges = list(COSTS.values())
        for design in [*DESIGNS.values(), REFERENCE]:
            ranges += [use.plain() for use in design.uses.values()]
        for low, middle, high in ranges:
            self.assertTrue(0 < low < middle < high)

    def test_a_request_has_the_costs_of_the_other_machine(self):
        costs = central(COSTS)
        use = DESIGNS["TooManyCooks"].uses["fib"]
        words = request(DESIGNS["TooManyCooks"], "fib", 8).split()
        self.assertEqual(words[:4], ["fib", "39", "suspends=1", "one_word=1"])
        self.assertIn("workers=8", words)
        fork = use.plain()[1] * costs["speed"] + 3 * costs["rmw"] + 2 * costs["allocation"]
        self.assertIn(f"fork={fork * 1000:.0f}", words)
        self.assertEqual(request(DESIGNS["citor"], "fib", 8, tree="fib 20").split()[:2], ["fib", "20"])

    def test_draws_stay_in_their_range_on_both_sides(self):
        values = [predict.drawn(random.Random(seed), (1, 2, 50)) for seed in range(400)]
        self.assertTrue(all(1 <= v <= 50 for v in values))
        self.assertTrue(150 < sum(v < 2 for v in values) < 250)

    def test_pairs_in_the_published_order(self):
        published = {"a": 1, "b": 2, "c": 3}
        self.assertEqual(predict.right_pairs(published, published), (3, 3))
        self.assertEqual(predict.right_pairs({"a": 2, "b": 1, "c": 3}, published), (2, 3))
        self.assertEqual(predict.right_pairs({"a": 3, "b": 2, "c": 1}, published), (0, 3))

    def test_without_thefts_a_unit_costs_its_fork(self):
        asked = request(DESIGNS["libfork"], "skynet", 64)
        outcome = simulated(None, [asked])[0]
        fork = int(next(w for w in asked.split() if w.startswith("fork="))[5:]) / 1000
        of = PROBLEMS["skynet"]
        self.assertAlmostEqual(predict.per_unit(outcome, "skynet"), fork * of.forks / of.units, places=3)

    def test_a_simulator_that_fails_is_told_of(self):
        with self.assertRaises(RuntimeError):
            predict.simulate("false", ["fib 1"])
        self.assertEqual(predict.simulate("cat", ['{"time": 1}', '{"time": 2}']), [{"time": 1}, {"time": 2}])

    def test_the_page_gets_every_table_and_picture(self):
        names = ["validation", "counts", "growth", "predictions", "sensitivity", "real counts"]
        with open(self.path("page.md"), "w", encoding="utf-8") as page:
            page.write("\n".join(f"<!-- {name} -->\n<!-- end of {name} -->" for name in names))
        with mock.patch("predict.simulate", simulated), \
                mock.patch("predict.count", lambda *_: [dict.fromkeys(COUNTED, 3)]):
            predict.run(["simulate", "--count", "count", "--draws", "4", "--into", self.path("page.md"), "--svg",
                         self.folder])
        with open(self.path("page.md"), encoding="utf-8") as page:
            text = page.read()
        for name in names:
            self.assertRegex(text, rf"<!-- {name} -->\n\|[^<]*\|\n[^<]*<!-- end of {name} -->")
        for problem, published in PUBLISHED.items():
            for design in published:
                self.assertIn(f"| {problem} | {design} | ", text)
        for file in ("scaling-lines.svg", "scaling-time.svg"):
            with open(self.path(file), encoding="utf-8") as picture:
                self.assertIn("<polyline", picture.read())
