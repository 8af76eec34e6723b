// SPDX-License-Identifier: MIT
// What the questions about flat work have in common. Each is a file that registers its benchmarks
// as question/peer[/parameter] by an object of the class `question`; one run is one round.
#pragma once

#include "peers/flat_peers.hpp"
#include "verdict.hpp"

#include <algorithm>
#include <chrono>
#include <initializer_list>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <sys/resource.h>

namespace bench {

/// How many workers a peer has where the question does not vary that.
constexpr std::size_t usual_workers = 2;

using clock_type = std::chrono::steady_clock;

inline double seconds(clock_type::duration d) {
  return std::chrono::duration<double>(d).count();
}
inline double seconds_since(clock_type::time_point start) {
  return seconds(clock_type::now() - start);
}

/// CPU time of the process, or of the calling thread, in seconds.
inline double cpu_seconds(int who = RUSAGE_SELF) {
  rusage usage{};
  getrusage(who, &usage);
  const auto of = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

/// Says how much a run does; results of different amounts are not put side by side.
inline void set_work(benchmark::State& state, long operations) {
  state.counters["work"] = static_cast<double>(operations);
}
/// The same, where the operations a second are the answer.
inline void set_items(benchmark::State& state, long operations) {
  set_work(state, operations);
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * operations);
}

/// Waits by short sleeps, so that the watcher takes no CPU from the workers.
template <class Condition>
void wait_until(const Condition& condition) {
  while (!condition())
    std::this_thread::sleep_for(std::chrono::microseconds(100));
}

inline void report_percentiles(benchmark::State& state, std::vector<double>& microseconds) {
  std::sort(microseconds.begin(), microseconds.end());
  const auto at = [&](double share) {
    return microseconds[static_cast<std::size_t>(share *
                                                 static_cast<double>(microseconds.size() - 1))];
  };
  state.counters["p50_us"] = at(0.5);
  state.counters["p90_us"] = at(0.9);
  state.counters["p99_us"] = at(0.99);
  if (microseconds.size() >= 1000)
    state.counters["p99_9_us"] = at(0.999);
}

class question {
 public:
  /// `add` registers the benchmarks.
  template <class Add>
  explicit question(Add add) {
    add();
  }

  /// Registers `name/Peer`, once for each parameter, which is state.range(0), or once without.
  template <class Peer, class Run>
  static void add(const char* name, std::initializer_list<int> parameters, Run run) {
    const auto full = std::string(name) + "/" + Peer::name;
    auto* const made = benchmark::RegisterBenchmark(full.c_str(), run);
    made->UseManualTime()->Iterations(1)->Unit(benchmark::kMillisecond);
    for (const int p : parameters)
      made->Arg(p);
  }

  /// Registers `name/Peer` for numbers of workers, as far as the peer leaves them to choose.
  template <class Peer, class Run>
  static void add_for_workers(const char* name, std::initializer_list<int> workers, Run run) {
    if constexpr (requires { Peer::only_workers; })
      add<Peer>(name, {static_cast<int>(Peer::only_workers)}, run);
    else if constexpr (std::is_same_v<Peer, serial_calls>)
      add<Peer>(name, {1}, run);
    else
      add<Peer>(name, workers, run);
  }
};

} // namespace bench
