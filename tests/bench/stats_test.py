# SPDX-License-Identifier: MIT
import random
import unittest

import support  # noqa: F401  finds the modules under test
import stats


class Intervals(unittest.TestCase):
    def test_same_rounds_give_the_same_interval(self):
        values = [3.0, 1.0, 2.0, 5.0, 4.0]
        self.assertEqual(stats.Series("a", values).interval, stats.Series("a", values).interval)

    def test_series_are_resampled_independently(self):
        values = [3.0, 1.0, 2.0, 5.0, 4.0]
        self.assertNotEqual(stats.Series("a", values).resampled, stats.Series("b", values).resampled)

    def test_interval_holds_the_median_and_stays_within_the_rounds(self):
        series = stats.Series("a", [10.0, 11.0, 12.0, 13.0, 30.0])
        low, high = series.interval
        self.assertLessEqual(low, series.median)
        self.assertGreaterEqual(high, series.median)
        self.assertGreaterEqual(low, 10.0)
        self.assertLessEqual(high, 30.0)
        self.assertLess(low, high)

    def test_interval_covers_the_true_median_about_as_often_as_it_says(self):
        generator = random.Random(1)
        covered = 0
        for i in range(100):
            low, high = stats.Series(str(i), [generator.gauss(100, 10) for _ in range(15)]).interval
            covered += low <= 100 <= high
        self.assertGreater(covered, 85)

    def test_one_round_has_no_interval_and_no_spread(self):
        series = stats.Series("a", [7.0])
        self.assertIsNone(series.interval)
        self.assertEqual(series.spread, 0.0)

    def test_spread_is_the_distance_of_the_quartiles(self):
        self.assertAlmostEqual(stats.Series("a", [80.0, 90.0, 100.0, 110.0, 120.0]).spread, 0.2)

    def test_ratio_has_an_interval_around_it(self):
        value, low, high = stats.ratio(stats.Series("a", [19.0, 20.0, 21.0]), stats.Series("b", [9.0, 10.0, 11.0]))
        self.assertEqual(value, 2.0)
        self.assertTrue(19 / 11 <= low <= 2.0 <= high <= 21 / 9)

    def test_ratio_to_nothing_is_none(self):
        self.assertIsNone(stats.ratio(stats.Series("a", [1.0]), stats.Series("b", [0.0])))
        self.assertEqual(stats.ratio(stats.Series("a", [3.0]), stats.Series("b", [2.0])), (1.5, None, None))


class Permutations(unittest.TestCase):
    def test_five_rounds_that_are_all_greater(self):
        self.assertAlmostEqual(stats.p_of_greater([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]), 1 / 252)
        self.assertAlmostEqual(stats.smallest_p(5, 5), 1 / 252)

    def test_all_less_is_sure_not_to_be_greater(self):
        self.assertEqual(stats.p_of_greater([6, 7, 8], [1, 2, 3]), 1.0)

    def test_equal_rounds_say_nothing(self):
        self.assertEqual(stats.p_of_greater([5, 5, 5], [5, 5, 5]), 1.0)

    def test_ties_share_their_ranks(self):
        self.assertEqual(stats.ranks([10, 20, 20, 30]), [1, 2.5, 2.5, 4])

    def test_an_outlier_counts_no_more_than_its_rank(self):
        self.assertEqual(stats.p_of_greater([1, 2, 3], [4, 5, 6]), stats.p_of_greater([1, 2, 3], [4, 5, 1000]))

    def test_many_rounds_are_drawn_and_agree_with_all_divisions(self):
        before, after = [1, 3, 5, 7, 9, 11], [4, 6, 8, 10, 12, 14]
        exact = stats.p_of_greater(before, after)
        limit, stats.EXACT = stats.EXACT, 0
        try:
            self.assertAlmostEqual(stats.p_of_greater(before, after), exact, delta=0.04)
        finally:
            stats.EXACT = limit

    def test_false_alarms_are_as_rare_as_the_level(self):
        generator = random.Random(2)
        draw = lambda: [generator.random() for _ in range(5)]  # noqa: E731
        alarms = sum(stats.p_of_greater(draw(), draw()) <= 0.05 for _ in range(400))
        self.assertLess(alarms, 36)
        self.assertGreater(alarms, 4)
