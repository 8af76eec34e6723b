// SPDX-License-Identifier: MIT
// Times one fork-join problem on one peer and checks the result.
//
// A problem is a class whose constructor prepares the data. It has
//   name             the first part of the benchmark's name
//   iterations       how often it is run in a round; more than once: after a run that is not timed
//   reset()          what comes before each run, not timed, where the run will be
//   correct(result)  whether a run did what it should, not timed
//   bytes()          how much memory its data takes
#pragma once

#include "memory.hpp"

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>

#include <benchmark/benchmark.h>
#include <sched.h>

namespace bench {

/// Whether a run has given a wrong result.
inline bool failed = false;

/// Keeps the calling thread and those that it starts on one CPU, each time on the next one. CPUs of
/// shared machines differ: without this, runs of one thread would be compared by where that was.
class one_cpu {
 public:
  one_cpu() {
    sched_getaffinity(0, sizeof(before_), &before_);
    static int cpu = -1;
    do
      cpu = (cpu + 1) % CPU_SETSIZE;
    while (!CPU_ISSET(cpu, &before_));
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET(cpu, &only);
    sched_setaffinity(0, sizeof(only), &only);
  }
  one_cpu(const one_cpu&) = delete;
  one_cpu& operator=(const one_cpu&) = delete;
  ~one_cpu() { sched_setaffinity(0, sizeof(before_), &before_); }

 private:
  cpu_set_t before_;
};

template <class Problem, class Peer, class Run>
void measure(benchmark::State& state, Run run) {
  Problem problem;
  std::optional<one_cpu> pinned;
  if (state.range(0) == 1)
    pinned.emplace();
  Peer peer(static_cast<int>(state.range(0)));
  const auto time_once = [&] {
    peer.run([&] {
      problem.reset();
      return true;
    });
    const auto start = std::chrono::steady_clock::now();
    const auto result = peer.run([&] { return run(problem); });
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    if (!problem.correct(result)) {
      failed = true;
      state.SkipWithError("wrong result");
    }
    return elapsed.count();
  };
  if (Problem::iterations > 1)
    time_once();
  for (auto _ : state)
    state.SetIterationTime(time_once());
  if (reports_memory)
    state.counters["rss_mb"] =
        (static_cast<double>(peak_memory()) - static_cast<double>(problem.bytes())) / 1e6;
}

/// Registers `problem/peer` for so many workers. `run(problem)` is what is timed.
template <class Problem, class Peer, class Run>
void add(const char* peer, std::initializer_list<int> workers, Run run) {
  const std::string name = std::string(Problem::name) + "/" + peer;
  for (const int n : workers) {
    benchmark::RegisterBenchmark(
        name.c_str(), [run](benchmark::State& state) { measure<Problem, Peer>(state, run); })
        ->Arg(n)
        ->UseManualTime()
        ->Iterations(Problem::iterations)
        ->Unit(benchmark::kMillisecond);
  }
}

} // namespace bench
