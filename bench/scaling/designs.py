# SPDX-License-Identifier: MIT
"""What the simulation is fed with: costs with ranges, designs, and what others have published.

All times are nanoseconds. A range is (low, central, high). docs/scaling.md has the sources.
"""
from typing import NamedTuple

# Of the machine on which the libraries were measured with one thread.
THERE = {"lock": 7.9, "mfence": 17.0, "rmw": 7.8, "allocation": 8.0}

# Of the machine that is predicted: 64 cores in groups of four that share a cache.
COSTS = {
    "speed": (0.6, 0.75, 0.95),  # time of plain code, in parts of that on the machine above
    "lock": (5, 7, 9),           # a full fence as a locked instruction
    "mfence": (7, 12, 18),       # the same as mfence
    "rmw": (5, 7, 9),
    "allocation": (3, 5, 8),
    "hit": (1, 1.5, 3),
    "near": (15, 20, 25),        # a line from the same group
    "far": (75, 110, 150),       # from another one
    "pause": (10, 20, 40),
    "wake_call": (1000, 2000, 5000),
    "wake": (3000, 8000, 50000),
}
SIMULATED = ("hit", "near", "far", "rmw", "pause", "wake_call", "wake")


class Problem(NamedTuple):
    tree: str
    forks: int
    units: int  # what the published figures divide by
    leaf: float = 0.0


PROBLEMS = {"fib": Problem("fib 39", 102_334_154, 102_334_154),
            "skynet": Problem("skynet 8", 99_999_999, 111_111_111),
            "uneven": Problem("uneven 1000000", 999_999, 999_999, 180.0)}


class Use(NamedTuple):
    """One thread's time for a unit of a problem, measured, and the instructions in it that have a price of their own."""
    measured: tuple
    counts: dict = {}
    counted: bool = True  # whether `measured` has them in it

    def plain(self):
        inside = sum(THERE[name] * n for name, n in self.counts.items()) if self.counted else 0.0
        return tuple(max(value - inside, 1.0) for value in self.measured)


def around(median, least=None):
    """A range whose upper part is like its lower one; 15 % where the least of the rounds is not known."""
    least = least or median / 1.15
    return least, median, median * median / least


class Design(NamedTuple):
    flags: str
    uses: dict


DESIGNS = {
    "citor": Design("near_of_8=7", {
        "fib": Use((6.0, 17.5, 51.0), {"mfence": 1}, counted=False),
        "skynet": Use((6.8, 10.9, 17.5), {"mfence": 0.9}, counted=False)}),
    "libfork": Design("suspends=1 counted=1", {
        "fib": Use(around(43.3, 38.3), {"lock": 1}),
        "skynet": Use(around(28.3), {"lock": 0.9})}),
    "TooManyCooks": Design("suspends=1 one_word=1", {
        "fib": Use(around(73.2, 63.6), {"rmw": 3, "allocation": 2}),
        "skynet": Use(around(37.3), {"rmw": 2.1, "allocation": 1})}),
    "taskflow": Design("", {"fib": Use(around(164), {"mfence": 2, "rmw": 2, "allocation": 2})}),
    "oneTBB": Design("locked=1", {
        "fib": Use(around(209, 155), {"rmw": 4}),
        "skynet": Use(around(102), {"rmw": 3.6})}),
    "weir-functions": Design("lazy=1 parked=1", {
        "fib": Use((5.0, 6.6, 8.7)), "skynet": Use((4.0, 5.0, 6.3)), "uneven": Use((5.0, 6.6, 8.7))}),
    "weir-coroutines": Design("lazy=1 parked=1", {
        "fib": Use((21, 33, 45)), "skynet": Use((18, 27, 38))}),
}
# The same deque as citor's with the cheapest fence and weir's bodies: what laziness itself is worth.
REFERENCE = Design("", {name: Use((5.0, 6.6, 8.7), {"lock": 1}, counted=False) for name in PROBLEMS})
PEERS = [name for name in DESIGNS if not name.startswith("weir")]

# Nanoseconds of one of 64 threads for each fork (fib) or task (skynet).
PUBLISHED = {"fib": {"citor": 31.2, "libfork": 39.0, "TooManyCooks": 54.2, "taskflow": 97.9, "oneTBB": 134.8},
             "skynet": {"citor": 14.4, "libfork": 21.0, "TooManyCooks": 21.9, "oneTBB": 82.3}}


def central(ranges):
    return {name: value[1] for name, value in ranges.items()}


def request(design, problem, workers, costs=None, plain=None, tree=None, **changes):
    """The line that asks for this simulation. `plain`: the design's own cost, where it is not the central one.
    `tree`: another one than the problem's."""
    costs = costs or central(COSTS)
    use, of = design.uses[problem], PROBLEMS[problem]
    unit = (use.plain()[1] if plain is None else plain) * costs["speed"]
    unit += sum(costs[name] * n for name, n in use.counts.items())
    values = {"workers": workers, "fork": unit * of.units / of.forks * 1000, "leaf": of.leaf * costs["speed"] * 1000,
              **{name: costs[name] * 1000 for name in SIMULATED}, **changes}
    return " ".join([tree or of.tree, design.flags, *(f"{name}={value:.0f}" for name, value in values.items())])
