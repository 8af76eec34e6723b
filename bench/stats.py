# SPDX-License-Identifier: MIT
"""Medians of few rounds: how sure they are, and whether two sets of rounds differ."""
import itertools
import math
import random
import statistics
import zlib
from functools import cached_property

RESAMPLES = 2000
CONFIDENCE = 0.95
ENOUGH = 5  # rounds; the interval of fewer holds the true median less often than it should: of 3, three times in 4
EXACT = 20000  # up to so many ways to divide the rounds, all are tried


class Series:
    """The rounds of one figure. `name` seeds the bootstrap, so that the same rounds give the same interval."""

    def __init__(self, name, values=()):
        self.name = name
        self.values = list(values)

    @cached_property
    def median(self):
        return statistics.median(self.values)

    @cached_property
    def resampled(self):
        """Medians of rounds drawn from these, with repetition."""
        generator = random.Random(zlib.crc32(self.name.encode()))
        count = len(self.values)
        return [statistics.median(generator.choices(self.values, k=count)) for _ in range(RESAMPLES)]

    @cached_property
    def interval(self):
        """The percentile bootstrap's confidence interval of the median; None of a single round."""
        return percentiles(self.resampled) if len(self.values) > 1 else None

    @cached_property
    def spread(self):
        """The distance of the quartiles as a part of the median; 0 of a single round or a median of 0."""
        if len(self.values) < 2 or self.median == 0:
            return 0.0
        first, _, third = statistics.quantiles(self.values, n=4, method="inclusive")
        return (third - first) / abs(self.median)


def percentiles(values, confidence=CONFIDENCE):
    """What lies between the tails that are outside the confidence."""
    ordered = sorted(values)
    cut = int(len(ordered) * (1 - confidence) / 2)
    return ordered[cut], ordered[-1 - cut]


def ratio(above, below):
    """The ratio of two medians and its bootstrap interval: (value, low, high), or None if it would divide by 0.

    The bounds are None where one of both is a single round."""
    if below.median <= 0 or above.median <= 0:
        return None
    if above.interval is None or below.interval is None:
        return above.median / below.median, None, None
    pairs = [a / b for a, b in zip(above.resampled, below.resampled) if b > 0]
    return (above.median / below.median, *percentiles(pairs))


def ranks(values):
    """Ranks from 1; equal values share the mean of theirs."""
    ordered = sorted(values)
    first, count = {}, {}
    for place, value in enumerate(ordered, 1):
        first.setdefault(value, place)
        count[value] = count.get(value, 0) + 1
    return [first[v] + (count[v] - 1) / 2 for v in values]


def smallest_p(before, after):
    """The least that `p_of_greater` can give for so many rounds."""
    return 1 / math.comb(before + after, after)


def p_of_greater(before, after, seed="rounds"):
    """How likely ranks as high as those of `after` are if both come from the same distribution.

    A one-sided permutation test of the sum of ranks: exact for few rounds, otherwise RESAMPLES drawn divisions."""
    ranked = ranks([*before, *after])
    seen = sum(ranked[len(before):]) - 1e-9
    if math.comb(len(ranked), len(after)) <= EXACT:
        sums = [sum(chosen) for chosen in itertools.combinations(ranked, len(after))]
        return sum(s >= seen for s in sums) / len(sums)
    generator = random.Random(zlib.crc32(seed.encode()))
    hits = sum(sum(generator.sample(ranked, len(after))) >= seen for _ in range(RESAMPLES))
    return (hits + 1) / (RESAMPLES + 1)
