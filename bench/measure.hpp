// SPDX-License-Identifier: MIT
// Times one fork-join problem on one peer and checks the result.
//
// A problem is a class whose constructor prepares the data. It has
//   name             the first part of the benchmark's name
//   iterations       how often it is run in a round; more than once: after a run that is not timed
//   forks            about how many forks a run has
//   work             how many operations: results of different numbers are not compared
//   reset()          what comes before each run, not timed, where the run will be
//   serial()         a run without any library
//   solve<Peer>()    a run on a peer, for all peers that have what it needs (peers/fork_face.hpp)
//   coroutines()     a run by weir's coroutines; may be absent
//   ready_leaves()   the same, where leaves are ready tasks and no coroutines; may be absent
//   correct(result)  whether a run did what it should, not timed
//   bytes()          how much memory its data takes
//   beyond_cpus      whether more workers than CPUs say something; may be absent
#pragma once

#include "memory.hpp"
#include "peers/fork_face.hpp"
#include "peers/fork_peers.hpp"
#include "sweep.hpp"
#include "verdict.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

namespace bench {

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

/// What a round has found.
struct round_result {
  bool right = true;
  std::size_t peak_memory = 0;
  std::vector<double> seconds; // of each run
};

template <class Problem, class Peer, class Run>
round_result time_round(int workers, Run run) {
  Problem problem;
  std::optional<one_cpu> pinned;
  if (workers == 1)
    pinned.emplace();
  Peer peer(workers);
  round_result found;
  const auto time_once = [&] {
    peer.run([&] {
      problem.reset();
      return true;
    });
    const auto start = std::chrono::steady_clock::now();
    const auto result = peer.run([&] { return run(problem); });
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    found.right = found.right && problem.correct(result);
    return elapsed.count();
  };
  if (Problem::iterations > 1)
    time_once();
  for (int i = 0; i < Problem::iterations; ++i)
    found.seconds.push_back(time_once());
  const std::size_t peak = peak_memory();
  found.peak_memory = peak - std::min(peak, problem.bytes());
  return found;
}

/// Calls `round()` in a process of its own, whose end is that of the library's threads.
template <class Round>
round_result in_own_process(std::size_t runs, Round round) {
  round_result found;
  found.seconds.resize(runs);
  const auto transfer = [&](int fd, auto how) {
    const auto all = [&](auto* data, std::size_t bytes) {
      return how(fd, data, bytes) == static_cast<ssize_t>(bytes);
    };
    return all(&found.right, sizeof(found.right)) &&
           all(&found.peak_memory, sizeof(found.peak_memory)) &&
           all(found.seconds.data(), runs * sizeof(double));
  };
  int ends[2] = {};
  if (pipe(ends) != 0) {
    found.right = false;
    return found;
  }
  const pid_t child = fork();
  if (child == 0) {
    found = round();
    _exit(transfer(ends[1], write) ? 0 : 1);
  }
  close(ends[1]);
  const bool came = child > 0 && transfer(ends[0], read);
  close(ends[0]);
  int status = 0;
  const bool ended = child > 0 && waitpid(child, &status, 0) == child && status == 0;
  found.right = found.right && came && ended;
  return found;
}

template <class Problem, class Peer, class Run>
void measure(benchmark::State& state, Run run) {
  const auto workers = static_cast<int>(state.range(0));
  const auto round = [&] { return time_round<Problem, Peer>(workers, run); };
  round_result found;
  if constexpr (requires { Peer::own_process; })
    found = in_own_process(Problem::iterations, round);
  else
    found = round();
  fail_unless(state, found.right, "wrong result");
  std::size_t next = 0;
  for (auto _ : state)
    state.SetIterationTime(found.seconds[next++]);
  state.counters["work"] = static_cast<double>(Problem::work);
  if (reports_memory)
    state.counters["rss_mb"] = static_cast<double>(found.peak_memory) / 1e6;
}

/// Registers `problem/peer` for so many workers. `run(problem)` is what is timed.
template <class Problem, class Peer, class Run>
void add(const std::string& peer, const std::vector<int>& workers, Run run) {
  const std::string name = std::string(Problem::name) + "/" + peer;
  for (const int n : workers) {
    if constexpr (requires { Peer::cpus_only; }) {
      if (n > cpus())
        continue;
    }
    benchmark::RegisterBenchmark(
        name.c_str(), [run](benchmark::State& state) { measure<Problem, Peer>(state, run); })
        ->Arg(n)
        ->UseManualTime()
        ->Iterations(Problem::iterations)
        ->Unit(benchmark::kMillisecond);
  }
}

/// The calling thread alone, without any library.
struct no_library {
  explicit no_library(int) {}
  template <class F>
  auto run(F f) {
    return f();
  }
};

template <class Problem, class Peer>
concept answered_by = requires(Problem& problem) { problem.template solve<Peer>(); } &&
                      Problem::forks <= most_forks<Peer>;

/// Registers the problem for all that can answer it.
template <class Problem>
void add_all(const sweep& counts) {
  const std::vector<int> workers = counts.of(requires { Problem::beyond_cpus; });
  add<Problem, no_library>("serial", {1}, [](Problem& p) { return p.serial(); });
  if constexpr (requires(Problem& p) { p.coroutines(); })
    add<Problem, weir_coroutines>(weir_coroutines::name, workers,
                                  [](Problem& p) { return p.coroutines(); });
  if constexpr (requires(Problem& p) { p.ready_leaves(); })
    add<Problem, weir_coroutines>("weir-ready", workers,
                                  [](Problem& p) { return p.ready_leaves(); });
  for_each_fork_peer([&]<class Peer>() {
    if constexpr (answered_by<Problem, Peer>)
      add<Problem, Peer>(Peer::name, workers, [](Problem& p) { return p.template solve<Peer>(); });
  });
}

} // namespace bench
