# SPDX-License-Identifier: MIT
"""Results as Google Benchmark writes them, made up for tests."""
import json
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench"))

CONTEXT = {"date": "2026-01-02T03:04:05+00:00", "host_name": "here", "executable": "fork", "num_cpus": 2,
           "mhz_per_cpu": 2000, "cpu_scaling_enabled": False, "caches": [], "load_avg": [0.1, 0.1, 0.1],
           "library_build_type": "release", "compiler": "g++ 12.2.0", "build_type": "release", "flags": "-O3",
           "cpu": "A CPU", "command": "bench/run --quick"}


def runs(name, values, iterations=1, unit="ms", **counters):
    """One run for each value. Counters are lists as long as the values."""
    full = f"{name}/iterations:{iterations}/manual_time"
    return [{"name": full, "run_name": full, "run_type": "iteration", "repetition_index": i, "iterations": iterations,
             "real_time": value, "cpu_time": 0.0, "time_unit": unit, **{c: v[i] for c, v in counters.items()}}
            for i, value in enumerate(values)]


class TestWithFiles(unittest.TestCase):
    """Has a folder for files of results."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, *benchmarks, **context):
        """Writes a file with these lists of runs and returns its path. A context of None leaves the key out."""
        said = {k: v for k, v in {**CONTEXT, **context}.items() if v is not None}
        with open(self.path(name), "w", encoding="utf-8") as file:
            json.dump({"context": said, "benchmarks": [run for group in benchmarks for run in group]}, file)
        return self.path(name)
